/*
 * elements.h - messages that add and delete elements of sets and maps.
 */
#pragma once

#include "nat/netlink.h"
#include "nat/plan.h"
#include "nat/state.h"

/* Only deletes what the kernel has and the plan has not, or only adds what it has not.  `now` NULL:
 * the kernel's set is empty. */
void elements_put_deletes(struct batch *batch, const char *table, const struct plan_set *set,
	const struct state_set *now);
void elements_put_adds(struct batch *batch, const char *table, const struct plan_set *set,
	const struct state_set *now);

/* Collects in `out`, a scratch set, what either of the two would touch.  False without memory. */
bool elements_changed(
	struct plan_set *out, const struct plan_set *set, const struct state_set *now) WARN_UNUSED;
