/*
 * ways.c - the ways from this node to the other gateways of the cluster.
 */
#include "daemon/peers/ways.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nat/way.h"

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

static void set_trouble(struct ways *ways, const char *gateway, size_t v, const char *why, ...)
{
	char reason[128];
	va_list args;

	if (ways->trouble[0])
		return;
	va_start(args, why);
	vsnprintf(reason, sizeof(reason), why, args);
	va_end(args);
	snprintf(ways->trouble, sizeof(ways->trouble), "no way to gateway %s over IPv%d: %s",
		gateway, v ? 6 : 4, reason);
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
	route->pods = cidr_everything + first;
	for (size_t v = 0; v < 2 && !error; v++) {
		struct way way;

		error = way_find(&way, gateway->has_pod[v] ? &gateway->pod[v] : NULL,
			gateway->has_node[v] ? &gateway->node[v] : NULL, e);
		if (way.tunnel[0])
			set_trouble(ways, gateway->name, v,
				"%s takes no packets but those between pods (want Flannel's "
				"vxlan, host-gw or wireguard-native)",
				way.tunnel);
		ways->wireguard[number - WAYS_FIRST][v] = way.wireguard;
		memcpy(route->ways[v].device, way.device, sizeof(way.device));
		route->ways[v].via = way.via;
		ways->gateways[number - WAYS_FIRST].link[v] = way.link;
	}
	return error;
}

static bool is_owner(unsigned gateway, size_t v, const struct plan_owner *owners, size_t n_owners)
{
	for (size_t i = 0; i < n_owners; i++)
		if (owners[i].gateway == gateway && addr_is_v4(&owners[i].addr) == (v == 0))
			return true;
	return false;
}

static size_t index_of(const struct routing *route)
{
	return route->mark / (route->mark_mask & -route->mark_mask) - WAYS_FIRST;
}

/* The first owner that WireGuard's device could lead to; to the others there is no way then. */
static void choose_lead(struct ways *ways, size_t v, const struct config *config,
	const struct plan_owner *owners, size_t n_owners)
{
	struct way_lead *lead = &ways->leads[v];
	const char *leader = NULL;

	for (size_t i = 0; i < ways->n_routes; i++) {
		struct routing_way *way = &ways->routes[i].ways[v];
		size_t gateway = index_of(&ways->routes[i]);

		if (!ways->wireguard[gateway][v] ||
			!is_owner((unsigned)gateway, v, owners, n_owners))
			continue;
		if (!leader) {
			leader = config->gateways.at[gateway].name;
			memcpy(lead->device, way->device, sizeof(lead->device));
			lead->to = way->via;
			continue;
		}
		set_trouble(ways, config->gateways.at[gateway].name, v,
			"%s leads to one gateway at a time, now %s (want all egress addresses on "
			"one gateway)",
			way->device, leader);
		way->device[0] = '\0';
	}
}

/* The plan's side of the routes.  Devices are those of the routes, in their place. */
static void tie(struct ways *ways)
{
	for (size_t i = 0; i < ways->n_routes; i++) {
		const struct routing *route = &ways->routes[i];
		struct plan_gateway *gateway = &ways->gateways[index_of(route)];

		for (size_t v = 0; v < 2; v++) {
			gateway->device[v] =
				route->ways[v].device[0] ? route->ways[v].device : NULL;
			gateway->via[v] = route->ways[v].via;
		}
	}
}

int ways_find(struct ways *ways, const struct config *config, const struct config *running,
	const struct address_list *here, const struct plan_owner *owners, size_t n_owners,
	struct error *e)
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
	for (size_t v = 0; v < 2; v++)
		choose_lead(ways, v, config, owners, n_owners);
	tie(ways);
	return error;
}

void ways_print_leads(const struct ways *ways, FILE *out)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < ways->n_routes; i++)
		for (size_t v = 0; v < 2; v++) {
			const struct routing_way *way = &ways->routes[i].ways[v];

			if (way->device[0] && ways->wireguard[index_of(&ways->routes[i])][v])
				fprintf(out,
					"wg set %s peer KEY-OF-%s allowed-ips +%s # when it has "
					"the egress addresses\n",
					way->device, addr_print(&way->via, text),
					v ? "::/0" : "0.0.0.0/0");
		}
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
	return memcmp(a->leads, b->leads, sizeof(a->leads)) == 0;
}
