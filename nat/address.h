/*
 * address.h - the egress addresses on this node: which are here, and adding and removing them.
 */
#pragma once

#include "nat/rtnetlink.h"

struct address_list {
	struct rtnetlink_address *at;
	size_t n, room;
	struct addr sources[2]; /* what the kernel takes towards the default routes */
	size_t n_sources;
	bool tells_protocol; /* the kernel knows IFA_PROTO */
};

/* All addresses of this network namespace.  0 or -errno; address_list_fini() in every case. */
int address_list_load(struct address_list *list, struct error *e) WARN_UNUSED;
void address_list_fini(struct address_list *list);

/* On some interface, and usable: not while duplicate address detection is under way or has failed
 * (RFC 4862 5.4). */
bool address_is_present(const struct address_list *list, const struct addr *addr);

struct address_place {
	char device[16]; /* its number, when it has just gone */
	uint8_t prefix_length;
	bool ours; /* egret added it; where the kernel cannot tell, every /32 and /128 */
};

/* On some interface, usable or not: the first place where it is. */
bool address_find(
	const struct address_list *list, const struct addr *addr, struct address_place *place);

/* Present, and not the node's own: its own are those that came with a network (not /32 or /128, and
 * not secondary), and the one that its own connections get towards the outside. */
bool address_is_dedicated(const struct address_list *list, const struct addr *addr);

/* Adds it as /32, or as /128 without duplicate address detection, such that the node's own
 * connections do not take it, and tags it as ours where the kernel can (Linux 5.18).  1; 0 when the
 * device has it already, whoever gave it; -EADDRINUSE when the device has it, but another node on
 * the link did before; -errno. */
int address_add(const char *device, const struct addr *addr, struct error *e) WARN_UNUSED;

/* Takes away the /32 or /128, unless the kernel says that it is not ours.  1; 0 when there was
 * none; -errno. */
int address_remove(const char *device, const struct addr *addr, struct error *e) WARN_UNUSED;
