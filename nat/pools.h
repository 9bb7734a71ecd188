/*
 * pools.h - where the flows of each class get their source address: here, or at another gateway.
 */
#pragma once

#include "nat/build.h"

/* What one version has; index 0 is IPv4, 1 IPv6.  `ok` NULL: no pod has this version. */
struct pool_sets {
	struct plan_set *ok;              /* pairs of class and egress address */
	struct plan_set *steer, *steered; /* NULL: there are no other gateways */
};

/* Fills the sets, and `pools`, the map from a class to its translation. */
void pools_put(struct build *b, const struct policy *policy, const struct plan_facts *facts,
	struct plan_set *pools, const struct pool_sets sets[2]);
