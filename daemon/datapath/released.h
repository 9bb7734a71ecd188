/*
 * released.h - egress addresses that this node is not to have, whatever egret.ini says: those that
 * `egretctl release` named, and among several gateways those about which the others were not heard
 * out yet.
 *
 * A plain value without a clock: times are the caller's, in monotonic seconds.
 */
#pragma once

#include "base/addr.h"
#include "base/check.h"

/* An address that this node may add. */
struct heard {
	struct addr addr;
	bool decided;
	double until; /* until then it waits; decided: until then it is a newcomer */
};

struct released {
	bool all; /* whatever else is said */
	struct addr *at;
	size_t n;
	struct heard *heard;
	size_t n_heard;
};

/* Each once.  0 or -ENOMEM. */
int released_add(struct released *released, const struct addr *addr) WARN_UNUSED;
void released_remove(struct released *released, const struct addr *addr);
void released_set_all(struct released *released, bool all);                  /* names none */
bool released_has(const struct released *released, const struct addr *addr); /* by command */
void released_fini(struct released *released); /* releases nothing from then on */

/* Another one, for released_fini(), with the same in it.  0 or -ENOMEM. */
int released_copy(const struct released *released, struct released *copy) WARN_UNUSED;

/* These may be added, and no others: what is known of them stays, the others are forgotten, and
 * those that are new wait.  Their number; or -ENOMEM, and all is as it was. */
int released_follow(
	struct released *released, const struct addr *addrs, size_t n, double until) WARN_UNUSED;
/* It waits no more, and is a newcomer until then. */
void released_decide(struct released *released, const struct addr *addr, double until);
bool released_waits(const struct released *released, const struct addr *addr); /* or is unknown */
bool released_is_newcomer(const struct released *released, const struct addr *addr, double now);
bool released_next(const struct released *released, double *until); /* false: nothing waits */
