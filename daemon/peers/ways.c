/*
 * ways.c - the ways from this node to the other gateways of the cluster.
 */
#include "daemon/peers/ways.h"

#include <stdio.h>
#include <string.h>

#include "nat/way.h"

static const struct cidr everything[] = {
	{{{[10] = 0xff, [11] = 0xff}}, 96}, /* 0.0.0.0/0 */
	{{{0}}, 0},                         /* ::/0 */
};

static bool is_here(const struct gateway_peer *gateway, const struct address_list *here)
{
	for (size_t i = 0; i < gateway->n_given; i++)
		if (address_is_present(here, &gateway->given[i]))
			return true;
	return false;
}

/* The versions that pods have: first, and how many. */
static size_t versions_of(const struct cidr_list *pods, size_t *first)
{
	bool has[2] = {false, false};

	for (size_t i = 0; i < pods->n; i++)
		has[!cidr_is_v4(&pods->at[i])] = true;
	*first = !has[0];
	return (size_t)has[0] + has[1];
}

static int add_route(struct ways *ways, const struct gateway_peer *gateway, uint32_t number,
	const struct config *config, const struct config *running, struct error *e)
{
	struct routing *route = &ways->routes[ways->n_routes++];
	uint32_t bit = running->mark_mask & -running->mark_mask;
	size_t first;
	int error = 0;

	*route = (struct routing){
		.table = running->route_table + number,
		.priority = running->rule_priority - number,
		.mark_mask = running->mark_mask,
		.mark = bit * number,
		.n_pods = versions_of(&config->pod_cidr, &first),
	};
	route->pods = everything + first;
	for (size_t v = 0; v < 2 && !error; v++) {
		struct way way;

		error = way_find(&way, gateway->has_pod[v] ? &gateway->pod[v] : NULL,
			gateway->has_node[v] ? &gateway->node[v] : NULL, e);
		if (way.tunnel[0] && !ways->trouble[0])
			snprintf(ways->trouble, sizeof(ways->trouble),
				"no way to gateway %s over IPv%d: %s takes no packets but those "
				"between pods (want Flannel's backend vxlan or host-gw)",
				gateway->name, v ? 6 : 4, way.tunnel);
		memcpy(route->ways[v].device, way.device, sizeof(way.device));
		route->ways[v].via = way.via;
		ways->gateways[number - WAYS_FIRST].link[v] = way.link;
	}
	return error;
}

/* The plan's side of the routes.  Devices are those of the routes, in their place. */
static void tie(struct ways *ways)
{
	for (size_t i = 0; i < ways->n_routes; i++) {
		const struct routing *route = &ways->routes[i];
		uint32_t bit = route->mark_mask & -route->mark_mask;
		struct plan_gateway *gateway = &ways->gateways[route->mark / bit - WAYS_FIRST];

		for (size_t v = 0; v < 2; v++) {
			gateway->device[v] =
				route->ways[v].device[0] ? route->ways[v].device : NULL;
			gateway->via[v] = route->ways[v].via;
		}
	}
}

int ways_find(struct ways *ways, const struct config *config, const struct config *running,
	const struct address_list *here, struct error *e)
{
	int error = 0;

	*ways = (struct ways){0};
	for (size_t i = 0; i < config->gateways.n && !error; i++) {
		uint32_t number = WAYS_FIRST + (uint32_t)i;

		ways->gateways[ways->n_gateways++] = (struct plan_gateway){.number = number};
		if (!is_here(&config->gateways.at[i], here))
			error = add_route(
				ways, &config->gateways.at[i], number, config, running, e);
	}
	tie(ways);
	return error;
}

static bool same_links(const struct plan_gateway *a, const struct plan_gateway *b)
{
	bool same = true;

	for (size_t v = 0; v < 2; v++)
		same = same && a->link[v].bits == b->link[v].bits &&
		       addr_equal(&a->link[v].addr, &b->link[v].addr);
	return same;
}

bool ways_equal(const struct ways *a, const struct ways *b)
{
	if (a->n_gateways != b->n_gateways || a->n_routes != b->n_routes)
		return false;
	for (size_t i = 0; i < a->n_routes; i++)
		if (a->routes[i].table != b->routes[i].table ||
			memcmp(a->routes[i].ways, b->routes[i].ways, sizeof(a->routes[i].ways)) !=
				0)
			return false;
	for (size_t i = 0; i < a->n_gateways; i++)
		if (!same_links(&a->gateways[i], &b->gateways[i]))
			return false;
	return true;
}
