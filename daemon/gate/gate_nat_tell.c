/*
 * gate_nat_tell.c - what is in force in the kernel, and whether it is there: for the control
 * socket.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/ascii_json.h"
#include "daemon/gate/gate_parts.h"
#include "nat/counts.h"
#include "nat/table.h"
#include "nat/wireguard.h"

/* ---- show ---- */

static json_t *section_name(const struct datapath *d, int section)
{
	return section < 0 ? json_null()
			   : json_string(policy_section(d->policy, (size_t)section)->name);
}

static bool is_managed(const struct datapath *d, const struct addr *addr)
{
	for (size_t i = 0; i < d->n_managed; i++)
		if (addr_equal(&d->managed[i], addr))
			return true;
	return false;
}

static json_t *owner(const struct gate *g, const struct addr *addr)
{
	const struct datapath *d = g->now->datapath;

	for (size_t i = 0; i < d->n_owners; i++)
		if (addr_equal(&d->owners[i].addr, addr))
			return json_string(g->now->config->gateways.at[d->owners[i].gateway].name);
	return json_null();
}

static json_t *egress(const struct gate *g)
{
	const struct datapath *d = g->now->datapath;
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (size_t i = 0; i < d->n_wanted; i++)
		json_array_append_new(list,
			json_pack("{s:s, s:b, s:b, s:o}", "address",
				addr_print(&d->wanted[i], text), "here",
				plan_address_is_in(d->addresses, d->n_addresses, &d->wanted[i]),
				"managed", is_managed(d, &d->wanted[i]), "gateway",
				owner(g, &d->wanted[i])));
	return list;
}

static json_t *classes(const struct datapath *d)
{
	json_t *list = json_array();
	char mark[16];

	for (size_t i = 0; i < d->plan->n_classes; i++) {
		const struct plan_class *c = &d->plan->classes[i];

		snprintf(mark, sizeof(mark), "0x%08x", c->mark);
		json_array_append_new(
			list, json_pack("{s:s, s:o, s:b}", "mark", mark, "section",
				      section_name(d, c->section), "local", c->local));
	}
	return list;
}

static json_t *sets(const struct datapath *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->plan->n_sets; i++)
		if (d->plan->sets[i]->kind != PLAN_DYNAMIC)
			json_array_append_new(
				list, json_pack("{s:s, s:I}", "name", d->plan->sets[i]->name,
					      "elements", (json_int_t)d->plan->sets[i]->n_ranges));
	return list;
}

struct denials {
	const struct datapath *datapath;
	json_t *list;
};

static void on_counter(void *arg, const char *name, uint64_t packets)
{
	const struct denials *d = arg;
	const struct plan_counter *counter = plan_counter(d->datapath->plan, name);

	if (counter)
		json_array_append_new(
			d->list, json_pack("{s:o, s:s, s:I}", "section",
					 section_name(d->datapath, counter->section), "reason",
					 counter->reason, "packets", (json_int_t)packets));
}

static json_t *denied(const struct gate *g)
{
	struct denials d = {g->now->datapath, json_array()};

	if (d.datapath && counts_counters(d.datapath->plan->table, on_counter, &d, NULL) < 0)
		json_array_clear(d.list);
	return d.list;
}

static void on_partner(void *arg, const struct flows_partner *p)
{
	json_array_append_new(arg, json_pack("{s:s, s:I, s:f}", "section", p->name, "flows",
					   (json_int_t)p->started, "last", p->last));
}

json_t *gate_nat_counts(const struct gate *g)
{
	json_t *flows = json_array();

	if (g->flows)
		flows_partners(g->flows, on_partner, flows);
	return json_pack("{s:o, s:o}", "denied", denied(g), "flows", flows);
}

static json_t *repairs(const struct gate *g)
{
	json_t *all = json_object();

	for (int part = 0; part < KEEPER_PARTS; part++)
		json_object_set_new(all, keeper_part_names[part],
			json_integer((json_int_t)keeper_repairs(g->keeper, part)));
	return all;
}

json_t *gate_nat_show(const struct gate *g)
{
	const struct datapath *d = g->now->datapath;
	const char *trouble = keeper_trouble(g->keeper);

	return json_pack("{s:s, s:f, s:o, s:o, s:o, s:I, s:o, s:I, s:o, s:o, s:o}", "table",
		d->plan->table, "applied", keeper_applied(g->keeper), "trouble",
		trouble ? ascii_json(trouble) : json_null(), "egress", egress(g), "classes",
		classes(d), "chains", (json_int_t)d->plan->n_chains, "sets", sets(d), "learnt",
		(json_int_t)d->n_learnt, "denied", denied(g), "repairs", repairs(g), "way_trouble",
		d->ways.trouble[0] ? ascii_json(d->ways.trouble) : json_null());
}

/* ---- verify ---- */

static int routes_match(const struct datapath *d, struct error *e)
{
	int matches = routing_matches(&d->guard.routing, e);

	for (size_t i = 0; i < d->ways.n_routes && matches > 0; i++)
		matches = routing_matches(&d->ways.routes[i], e);
	for (size_t v = 0; v < 2 && matches > 0; v++) {
		const struct way_lead *lead = &d->ways.leads[v];

		if (lead->device[0])
			matches = wireguard_leads(lead->device, &lead->to, e);
	}
	return matches;
}

static int addresses_match(const struct gate *g, struct error *e)
{
	const struct datapath *d = g->now->datapath;
	struct address_list here = {0};
	int matches = address_list_load(&here, e);

	if (matches == 0)
		matches = 1;
	for (size_t i = 0; i < d->n_managed && matches > 0; i++)
		matches = released_has(&g->released, &d->managed[i]) ||
			  address_is_present(&here, &d->managed[i]);
	address_list_fini(&here);
	return matches;
}

/* `matches`: 1, 0, or -errno with `e`. */
static bool put_part(json_t *list, enum keeper_part part, int matches, const struct error *e)
{
	json_array_append_new(list,
		json_pack("{s:s, s:b, s:o}", "part", keeper_part_names[part], "ok", matches == 1,
			"error", matches < 0 ? ascii_json(e->text) : json_null()));
	return matches == 1;
}

json_t *gate_nat_verify(const struct gate *g)
{
	const struct datapath *d = g->now->datapath;
	json_t *list = json_array();
	struct error e = {""};
	bool ok;

	ok = put_part(list, KEEPER_TABLE, table_matches(d->plan, &e), &e);
	ok &= put_part(list, KEEPER_ROUTES, routes_match(d, &e), &e);
	ok &= put_part(list, KEEPER_ADDRESSES, addresses_match(g, &e), &e);
	ok &= put_part(list, KEEPER_SYSCTLS, sysctl_matches(d->sysctls, d->n_sysctls, &e), &e);
	return json_pack("{s:b, s:o}", "ok", ok, "parts", list);
}
