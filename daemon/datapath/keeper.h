/*
 * keeper.h - brings the kernel to a datapath and keeps it there, whoever else changes it.
 *
 * The kernel tells of every change of nftables, routing rules, routes and addresses (netlink
 * groups); one that is not ours is put right within milliseconds.  Kernel parameters are looked at
 * every second, and all is compared every minute, to find what was not told.
 */
#pragma once

#include <ev.h>

#include "base/check.h"
#include "base/error.h"
#include "daemon/datapath/datapath.h"

enum keeper_part { KEEPER_TABLE, KEEPER_ROUTES, KEEPER_ADDRESSES, KEEPER_SYSCTLS, KEEPER_PARTS };

extern const char *const keeper_part_names[KEEPER_PARTS]; /* "table", "routes" ... */

struct keeper;

/* Called from the loop. */
struct keeper_events {
	void (*on_change)(void *arg);    /* keeper_repairs() or keeper_trouble() changed */
	void (*on_addresses)(void *arg); /* addresses or devices of the node did */
	void (*on_marks)(void *arg);     /* flows go on as another class */
	void *arg;
};

/* NULL: no memory. */
struct keeper *keeper_new(struct ev_loop *loop, const struct keeper_events *events);
void keeper_free(struct keeper *keeper); /* what is in the kernel stays; accepts NULL */

/* Brings the kernel to `datapath` and keeps it there: new flows follow it, flows whose egress
 * address or permission changed are gone when this returns, all others go on.  It stays the
 * caller's and must live until the next call or keeper_free().  On -errno the kernel is brought
 * back to the one before, and kept there. */
int keeper_apply(
	struct keeper *keeper, const struct datapath *datapath, struct error *e) WARN_UNUSED;

/* The way back: keeps the kernel at `datapath` from now on, and tries until it is there. */
void keeper_revert(struct keeper *keeper, const struct datapath *datapath);

/* The managed addresses that `released` has leave this node now, before anything else, and are not
 * added again as long as it has them.  Those in `addrs`, which are to go as well, may be here
 * though they are not managed: egretd has not added them, or not yet.  0, or -errno with `e`, which
 * says which of them stay on which device, and why.  `released` stays the caller's, who may change
 * it, and must live until keeper_free(). */
int keeper_release(struct keeper *keeper, const struct released *released, const struct addr *addrs,
	size_t n, struct error *e) WARN_UNUSED;

/* Times that a part was put right. */
uint64_t keeper_repairs(const struct keeper *keeper, enum keeper_part part);
const char *keeper_trouble(const struct keeper *keeper); /* why it is not right now; NULL: it is */
ev_tstamp keeper_applied(const struct keeper *keeper); /* when the last datapath came into force */
