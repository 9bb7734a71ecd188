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
	bool wireguard[GATEWAYS_MOST][2]; /* over whose device the way to that gateway leads */
	/* For IPv4 and IPv6: the device of WireGuard that leads there.  It leads to one gateway at
	 * a time: the first that has an egress address of the version. */
	struct way_lead {
		char device[16]; /* "": none is needed */
		struct addr to;
	} leads[2];
	char trouble[192]; /* why there is no way that could be expected; "": there are all */
};

/* `running`: what needs a restart.  `here`: this node's addresses.  `owners`: of egress addresses.
 * 0 or -errno. */
int ways_find(struct ways *ways, const struct config *config, const struct config *running,
	const struct address_list *here, const struct plan_owner *owners, size_t n_owners,
	struct error *e) WARN_UNUSED;
/* What a peer of WireGuard gets whose gateway has the egress addresses: lines of a shell script. */
void ways_print_leads(const struct ways *ways, FILE *out);
bool ways_equal(const struct ways *a, const struct ways *b);
