/*
 * pools.c - where the flows of each class get their source address.
 *
 * Egress addresses that are on this node translate here.  When none of a class is, and another
 * gateway has one, the class is steered: its packets are marked with the gateway's number, which
 * routing follows, and keep the pod's address, which an identity translation saves from others'
 * masquerades.  When nobody has one, the class is in no set, and the guard drops.
 */
#include "nat/pools.h"

#include <stdlib.h>
#include <string.h>

struct pooling {
	struct build *build;
	const struct plan_facts *facts;
	const struct pool_sets *sets;
	const struct addr *addrs; /* of the class at hand */
	size_t n_addrs;
	enum spread spread;
	struct plan_rule *rules; /* its translation */
	size_t n_rules;
};

static bool is_version(const struct addr *addr, uint8_t version)
{
	return addr_is_v4(addr) == (version == 4);
}

static bool is_here(const struct plan_facts *facts, const struct addr *addr)
{
	return plan_address_is_in(facts->addresses, facts->n_addresses, addr);
}

/* Of n addresses the i-th: by hash, so that a source keeps its address, or with equal chances. */
static struct plan_step choose(enum spread spread, size_t i, size_t n)
{
	if (spread == SPREAD_SOURCE)
		return (struct plan_step){
			.op = PLAN_HASHED, .number = (uint32_t)i, .other = (uint32_t)n};
	return (struct plan_step){.op = PLAN_RANDOM, .other = (uint32_t)(n - i)};
}

static size_t count_here(const struct pooling *p, uint8_t version)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_addrs; i++)
		n += is_version(&p->addrs[i], version) && is_here(p->facts, &p->addrs[i]);
	return n;
}

static void translate_here(struct pooling *p, uint32_t mark, uint8_t version, size_t n)
{
	size_t i = 0;

	for (size_t j = 0; j < p->n_addrs; j++) {
		struct plan_step snat = {.op = PLAN_SNAT, .net = {.addr = p->addrs[j]}};

		if (!is_version(&p->addrs[j], version) || !is_here(p->facts, &p->addrs[j]))
			continue;
		build_mark(p->build, p->sets[version == 6].ok, mark, &p->addrs[j], NULL);
		p->rules[p->n_rules++] =
			++i == n ? build_rule_of(
					   p->build, version, STEPS({.op = PLAN_VERSION}, snat))
				 : build_rule_of(p->build, version,
					   STEPS({.op = PLAN_VERSION}, choose(p->spread, i - 1, n),
						   snat));
	}
}

static int by_address(const void *key, const void *owner)
{
	return memcmp(key, &((const struct plan_owner *)owner)->addr, sizeof(struct addr));
}

/* The gateway that has the first address of the class that one has, with a way to it. */
static const struct plan_gateway *owner_of(const struct pooling *p, uint8_t version)
{
	for (size_t i = 0; i < p->n_addrs; i++) {
		const struct plan_owner *owner =
			is_version(&p->addrs[i], version) && p->facts->n_owners > 0
				? bsearch(&p->addrs[i], p->facts->owners, p->facts->n_owners,
					  sizeof(*owner), by_address)
				: NULL;
		const struct plan_gateway *g = owner ? &p->facts->gateways[owner->gateway] : NULL;

		if (g && g->device[version == 6])
			return g;
	}
	return NULL;
}

static void steer(struct pooling *p, uint32_t mark, uint8_t version)
{
	const struct pool_sets *sets = &p->sets[version == 6];
	const struct plan_gateway *g = sets->steer ? owner_of(p, version) : NULL;
	uint32_t mask = p->facts->mark_mask;
	struct plan_rule rule;
	const struct plan_chain *chain;

	if (!g)
		return;
	rule = build_rule_of(p->build, 0,
		STEPS({.op = PLAN_SET_MARK, .number = g->number * (mask & -mask), .other = mask},
			{.op = PLAN_ACCEPT}));
	chain = build_share_chain(p->build, "gateway", &rule, 1);
	build_rule_fini(&rule);
	if (!chain)
		return;
	build_mark(p->build, sets->steer, mark, NULL, chain->name);
	build_mark(p->build, sets->steered, mark, &g->via[version == 6], NULL);
	p->rules[p->n_rules++] = build_rule_of(
		p->build, version, STEPS({.op = PLAN_VERSION}, {.op = PLAN_SNAT_SELF}));
}

static void put_spares(const struct pooling *p, uint32_t mark)
{
	for (size_t i = 0; p->facts->flow_sync && i < p->n_addrs; i++)
		if (!is_here(p->facts, &p->addrs[i]))
			build_spare(p->build, mark, &p->addrs[i]);
}

static void put_class(struct pooling *p, struct plan_set *pools, uint32_t mark)
{
	const struct plan_chain *chain;

	p->n_rules = 0;
	p->rules = calloc(p->n_addrs + 2, sizeof(*p->rules));
	if (!p->rules) {
		p->build->failed = true;
		return;
	}
	put_spares(p, mark);
	for (uint8_t version = 4; version <= 6; version += 2) {
		size_t n = count_here(p, version);

		if (!p->sets[version == 6].ok)
			continue;
		if (n > 0)
			translate_here(p, mark, version, n);
		else
			steer(p, mark, version);
	}
	chain = p->n_rules > 0 ? build_share_chain(p->build, "pool", p->rules, p->n_rules) : NULL;
	if (chain)
		build_mark(p->build, pools, mark, NULL, chain->name);
	while (p->n_rules > 0)
		build_rule_fini(&p->rules[--p->n_rules]);
	free(p->rules);
}

void pools_put(struct build *b, const struct policy *policy, const struct plan_facts *facts,
	struct plan_set *pools, const struct pool_sets sets[2])
{
	for (size_t i = 0; i < b->plan->n_classes && !b->failed; i++) {
		const struct plan_class *class = &b->plan->classes[i];
		const struct section *own =
			class->section < 0 ? NULL : policy_section(policy, (size_t) class->section);
		struct pooling p = {.build = b,
			.facts = facts,
			.sets = sets,
			.addrs = own ? own->egress : facts->egress,
			.n_addrs = own ? own->n_egress : facts->n_egress,
			.spread = own ? own->spread : facts->spread};

		if (!class->local)
			put_class(&p, pools, class->mark);
	}
	build_set_finish(pools);
	for (size_t i = 0; i < 2; i++) {
		build_set_finish(sets[i].ok);
		build_set_finish(sets[i].steer);
		build_set_finish(sets[i].steered);
	}
}
