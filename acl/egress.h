/*
 * egress.h - which of several egress addresses a connection leaves from.
 *
 * Pure, so that the proxy's workers, a proxy started anew and the kernel's rules agree.
 */
#pragma once

#include "acl/policy.h"

/* `jhash ip saddr mod N seed EGRESS_SEED`, and `ip6 saddr`, is the place in nftables of a source
 * among N addresses of a version, in the order in which they are written. */
#define EGRESS_SEED 0x65677265

/* One of the `n` addresses, of `like`'s version: with SPREAD_SOURCE the one that belongs to
 * `source`, of whatever version that is, else the one that the number `random` falls on.  NULL:
 * there is none of that version. */
const struct addr *egress_choose(const struct addr *at, size_t n, enum spread spread,
	const struct addr *like, const struct addr *source, uint32_t random);
