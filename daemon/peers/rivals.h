/*
 * rivals.h - other nodes of the link that have an egress address which is here, too.
 *
 * Asked on the wire (nat/probe.h) when an address comes, and every 10 seconds from then on.  What
 * peers.h tells is what gateways say of themselves; this finds any node, and a gateway whose egretd
 * is not there any more.
 */
#pragma once

#include <ev.h>

#include "base/addr.h"
#include "base/check.h"

#define RIVALS_MOST 128 /* addresses that are watched */

struct rivals;

/* `on_change`: rivals_trouble() is another.  NULL: no memory. */
struct rivals *rivals_new(struct ev_loop *loop, void (*on_change)(void *arg), void *arg);
void rivals_free(struct rivals *rivals); /* accepts NULL */

/* The egress addresses that are here now.  Those on devices without neighbours (lo, dummies) are
 * not watched: their address is announced by somebody else, if at all. */
void rivals_follow(struct rivals *rivals, const struct addr *addrs, size_t n);

/* "egress address 203.0.113.10 is on another node, too: 02:00:00:00:00:02"; NULL: none is.  Valid
 * until the next call. */
const char *rivals_trouble(struct rivals *rivals);
