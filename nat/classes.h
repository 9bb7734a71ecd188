/*
 * classes.h - destinations that the sections of a policy treat alike.
 *
 * First match in file order, compiled: the networks of all sections cut the address space into
 * ranges; for each range the sections that name it are known, and usually that is one.  A map sends
 * a packet to its range's chain, so its cost grows with the sections that name its destination,
 * not with the policy.
 */
#pragma once

#include "nat/build.h"

/* Fills the maps of `version`: `partners` with who gives the source address, `blocks` with who
 * refuses.  `pods` are the sources that get here; `egress` is the gateway's address or NULL. */
void classes_compile(struct build *b, const struct policy *policy, const struct plan_set *pods,
	const struct addr *egress, uint8_t version, struct plan_set *partners,
	struct plan_set *blocks);
