/*
 * rtnetlink.h - addresses and questions in the kernel's routing messages.
 */
#pragma once

#include "base/addr.h"
#include "nat/netlink.h"

#define RTNETLINK_PROTOCOL                                                                         \
	230                    /* marks our rules, routes and addresses: RTPROT_, FRA_, IFA_PROTO  \
				*/
#define RTNETLINK_IFA_PROTO 11 /* IFA_PROTO, which headers before Linux 5.18 do not have */
#define RTNETLINK_ATTEMPTS 10  /* of a dump that is torn by changes */

/* An address of 4 or 16 bytes; false when it is neither. */
bool rtnetlink_addr(const struct nlattr *attr, struct addr *out);

/* The network of an address and a prefix length as the kernel counts it, for AF_INET or AF_INET6;
 * `attr` NULL: all of the family. */
bool rtnetlink_cidr(
	uint8_t family, const struct nlattr *attr, uint8_t prefix_length, struct cidr *out);
uint8_t rtnetlink_family(const struct addr *addr);
uint8_t rtnetlink_prefix_length(const struct cidr *cidr);
void rtnetlink_put_addr(struct nlmsghdr *message, uint16_t type, const struct addr *addr);

/* A request in `buffer`, which is zeroed, with the family's header of `size` bytes, which is zero
 * but for the family, its first byte. */
struct nlmsghdr *rtnetlink_request(
	void *buffer, uint16_t type, uint16_t flags, uint8_t family, size_t size);

struct rtnetlink_address {
	struct addr addr; /* the own one of a point-to-point link */
	uint32_t device;  /* index */
	uint8_t prefix_length;
	uint8_t protocol; /* IFA_PROTO; 0 where there is none, and before Linux 5.18 */
	uint32_t flags;   /* IFA_F_... */
};

/* False when the message is no RTM_NEWADDR with an IP address. */
bool rtnetlink_read_address(const struct nlmsghdr *message, struct rtnetlink_address *address);

/* All addresses of the family or, with AF_UNSPEC, all.  As netlink_ask(). */
int rtnetlink_ask_addresses(
	struct mnl_socket *socket, uint8_t family, mnl_cb_t each, void *arg) WARN_UNUSED;

/* "static", "bird" ... or the number.  Returns one of them or `out`. */
const char *rtnetlink_protocol_name(uint8_t protocol, char out[4]);
