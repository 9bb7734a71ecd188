#include "daemon/datapath/drop.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "daemon/log/log.h"
#include "nat/wireguard.h"

/* ---- addresses ---- */

static bool wants_address(const struct datapath *d, const struct datapath *before, size_t i)
{
	if (strcmp(d->device, before->device) != 0)
		return false;
	for (size_t j = 0; j < d->n_managed; j++)
		if (addr_equal(&d->managed[j], &before->managed[i]))
			return true;
	return false;
}

static bool is_manageable(const struct datapath *d, const struct addr *addr)
{
	for (size_t i = 0; i < d->n_manageable; i++)
		if (addr_equal(&d->manageable[i], addr))
			return true;
	return false;
}

static void drop_managed(const struct datapath *d, const struct datapath *before)
{
	struct error e;

	for (size_t i = 0; i < before->n_managed; i++)
		if (!wants_address(d, before, i) &&
			address_remove(before->device, &before->managed[i], &e) < 0)
			log_warn("%s", e.text);
}

/* Of an egretd before, by its tag: what this one would not add. */
static void drop_left(const struct datapath *d)
{
	struct address_list list = {0};
	char device[IF_NAMESIZE];
	struct error e;
	int result = address_list_load(&list, &e);

	for (size_t i = 0; i < list.n && result >= 0 && list.tells_protocol; i++) {
		const struct rtnetlink_address *a = &list.at[i];

		if (a->protocol != RTNETLINK_PROTOCOL || is_manageable(d, &a->addr) ||
			!if_indextoname(a->device, device))
			continue;
		result = address_remove(device, &a->addr, &e);
	}
	if (result < 0)
		log_warn("%s", e.text);
	address_list_fini(&list);
}

/* NULL: it does not. */
static const char *why_it_stays(const char *device, const struct addr *addr,
	const struct address_place *place, struct error *e)
{
	if (!place->ours)
		return "egretd did not add it";
	if (strcmp(place->device, device) != 0) {
		error_set(e, 0, "egretd adds to %.15s", device[0] ? device : "no device");
		return e->text;
	}
	return address_remove(device, addr, e) < 0 ? e->text : NULL;
}

int drop_addresses(const char *device, const struct addr *addrs, size_t n, struct error *e)
{
	struct address_list here = {0};
	struct address_place place;
	char stays[ERROR_TEXT - 128] = "", text[ADDR_TEXT];
	struct error why;
	size_t length = 0;
	int error = address_list_load(&here, e);

	for (size_t i = 0; i < n && !error; i++) {
		const char *reason = address_find(&here, &addrs[i], &place)
					     ? why_it_stays(device, &addrs[i], &place, &why)
					     : NULL;

		if (reason && length < sizeof(stays))
			length += (size_t)snprintf(stays + length, sizeof(stays) - length,
				"%s%s/%u on %s (%s)", length ? ", " : "",
				addr_print(&addrs[i], text), place.prefix_length, place.device,
				reason);
	}
	address_list_fini(&here);
	if (!error && length > 0)
		error = error_set(e, -EADDRINUSE,
			"still on this node, so do not claim it elsewhere before `ip addr del` "
			"here: %s",
			stays);
	return error;
}

/* ---- ways to gateways ---- */

static bool is_lead(const struct datapath *d, const char *device)
{
	return strcmp(d->ways.leads[0].device, device) == 0 ||
	       strcmp(d->ways.leads[1].device, device) == 0;
}

/* From devices over which nothing is steered any more. */
static void drop_leads(const struct datapath *d, const struct datapath *before)
{
	struct error e;

	for (size_t v = 0; v < 2; v++) {
		const char *device = before->ways.leads[v].device;

		if (device[0] && !is_lead(d, device) && if_nametoindex(device) &&
			wireguard_release(device, &e) < 0)
			log_warn("%s", e.text);
	}
}

static bool has_way(const struct datapath *d, uint32_t table)
{
	for (size_t i = 0; i < d->ways.n_routes; i++)
		if (d->ways.routes[i].table == table)
			return true;
	return false;
}

static int remove_way(const struct routing *guard, uint32_t number, struct error *e)
{
	const struct routing way = {
		.table = guard->table + number, .priority = guard->priority - number, .mark = 1};

	return routing_remove(&way, e);
}

/* At the start, of a configuration before: pods would not get past its guard. */
static void drop_stale_routes(const struct datapath *d)
{
	struct error e;
	int changes = routing_remove_stale(
		d->guard.routing.table, d->guard.routing.priority, WAYS_FIRST + GATEWAYS_MOST, &e);

	if (changes < 0)
		log_warn("%s", e.text);
	else if (changes > 0)
		log_info("rules and routes of another route-table or rule-priority: %d removed",
			changes);
}

/* To gateways that are none any more; at the start, of a configuration before. */
static void drop_ways(const struct datapath *d, const struct datapath *before)
{
	const struct routing *guard = &d->guard.routing;
	struct error e;

	for (uint32_t i = WAYS_FIRST; i < WAYS_FIRST + GATEWAYS_MOST; i++)
		if (!has_way(d, guard->table + i) &&
			(!before || has_way(before, guard->table + i)) &&
			remove_way(guard, i, &e) < 0)
			log_warn("%s", e.text);
}

void drop_unwanted(const struct datapath *d, const struct datapath *before)
{
	if (before)
		drop_managed(d, before);
	else
		drop_left(d);
	drop_ways(d, before);
	if (before)
		drop_leads(d, before);
	else
		drop_stale_routes(d);
}
