/*
 * probe.h - asks the link whether another node has an egress address, too.
 *
 * An ARP probe (RFC 5227 2.1.1: no sender address, so no neighbour learns from it), or a neighbour
 * solicitation (RFC 4861 7.2.2) from the device's link-local address.  One without a source, as in
 * duplicate address detection, would be answered to all nodes (7.2.4), which would send to whoever
 * answered last.  Whoever answers has the address.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"

#define PROBE_MAC 6
#define PROBE_MAC_TEXT 18 /* with its NUL */
#define PROBE_MOST 128    /* addresses that a socket listens for */

struct probe_answer {
	struct addr addr;
	uint8_t mac[PROBE_MAC]; /* who says that it has the address */
};

/* A socket that hears, of all that comes in on the device with this number, only who says that it
 * has one of `addrs`, which are of one version.  An fd, -ENOTSUP on devices without neighbours,
 * -errno.  Needs CAP_NET_RAW. */
int probe_open(uint32_t device, const struct addr *addrs, size_t n, struct error *e) WARN_UNUSED;

/* Asks once, through a socket of probe_open().  0 or -errno. */
int probe_send(int fd, uint32_t device, const struct addr *addr) WARN_UNUSED;

/* What was heard of another node; this node's own link-layer addresses, of whatever device, are
 * passed over.  False: nothing now. */
bool probe_take(int fd, struct probe_answer *answer) WARN_UNUSED;

const char *probe_print_mac(const uint8_t mac[PROBE_MAC], char out[PROBE_MAC_TEXT]); /* `out` */
