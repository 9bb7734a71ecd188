/*
 * ranges.h - destinations that the sections of a policy treat alike.
 *
 * First match in file order, compiled: the networks of all sections cut the address space into
 * ranges; for each range the sections that name it are known, and usually that is one.  A map sends
 * the first packet of a flow to its range's chain, so its cost grows with the sections that name
 * its destination, not with the policy.
 */
#pragma once

#include "nat/outcome.h"

/* Fills `map` with chains for the destinations of the version, and the plan with the sections of
 * each range.  */
void ranges_compile(const struct outcomes *all, const struct policy *policy, struct plan_set *map);
