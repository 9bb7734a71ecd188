/*
 * ways.h - the ways from this node to the other gateways of the cluster: found from the kernel's
 * routes, for the plan and as routing tables.
 */
#pragma once

#include "daemon/config/config.h"
#include "nat/address.h"
#include "nat/plan.h"
#include "nat/routing.h"

/* The mark, route table and rule priority of gateway i count from here: [nat] mark-mask's lowest
 * bit times it, route-table plus, rule-priority minus. */
#define WAYS_FIRST 2

struct ways {
	struct plan_gateway gateways[GATEWAYS_MOST]; /* as in the configuration */
	size_t n_gateways;
	struct routing routes[GATEWAYS_MOST]; /* to those that are not this node */
	size_t n_routes;
	char trouble[160]; /* why there is no way that could be expected; "": there are all */
};

/* `running`: what needs a restart.  `here`: this node's addresses.  0 or -errno. */
int ways_find(struct ways *ways, const struct config *config, const struct config *running,
	const struct address_list *here, struct error *e) WARN_UNUSED;
bool ways_equal(const struct ways *a, const struct ways *b);
