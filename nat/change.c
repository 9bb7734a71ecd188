/*
 * change.c - the messages that lead from what the kernel has to a plan.
 *
 * Within each transaction the order is the kernel's: what is referred to is there first and goes
 * last.  Chains with the hash of their content as name never change, so their rules can be there
 * before a map jumps to them; chains with a name of their own change in SWITCH.
 *
 * A chain or set that has our name but another nature (hook, key) cannot be changed.  Then, and for
 * a table with other flags, the whole table is deleted and made anew; meanwhile the routing guard
 * holds.  One that an earlier gate had locked is locked again as it is; one that never was cannot
 * be.
 */
#include "nat/change.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/rule.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#include "nat/build.h"
#include "nat/elements.h"
#include "nat/hold.h"
#include "nat/rule.h"

struct change {
	struct batch *batch;
	const struct plan *plan;
	const struct state *state;
	uint32_t flags; /* of the table */
	enum change_phase phase;
};

/* A message that names one thing of the table: what is deleted or flushed needs no more, but for
 * an object, whose type (else 0) is half of its name. */
static void put_typed_name(struct change *c, uint16_t type, const char *what, uint16_t attr,
	const char *name, uint32_t object)
{
	struct label label = {what, name ? name : c->plan->table, NULL};
	struct nlmsghdr *message = batch_open(c->batch, type, 0, &label);

	if (!message)
		return;
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, c->plan->table); /* 1 in every message */
	if (name)
		mnl_attr_put_strz(message, attr, name);
	if (object)
		mnl_attr_put_u32(message, NFTA_OBJ_TYPE, htonl(object));
	batch_close(c->batch);
}

static void put_name(
	struct change *c, uint16_t type, const char *what, uint16_t attr, const char *name)
{
	put_typed_name(c, type, what, attr, name, 0);
}

static void put_table(struct change *c)
{
	static const uint8_t comment[] = "\0\0" PLAN_COMMENT;
	struct label label = {"add table", c->plan->table, NULL};
	struct nlmsghdr *message = batch_open(c->batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, &label);
	uint8_t data[sizeof(comment)];

	if (!message)
		return;
	memcpy(data, comment, sizeof(data));
	data[0] = NFTNL_UDATA_TABLE_COMMENT;
	data[1] = sizeof(PLAN_COMMENT);
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, c->plan->table);
	mnl_attr_put(message, NFTA_TABLE_USERDATA, sizeof(data), data);
	if (c->flags)
		mnl_attr_put_u32(message, NFTA_TABLE_FLAGS, htonl(c->flags));
	batch_close(c->batch);
}

static void put_counter(struct change *c, const char *name)
{
	struct label label = {"add counter", name, NULL};
	struct nlmsghdr *message = batch_open(c->batch, NFT_MSG_NEWOBJ, NLM_F_CREATE, &label);
	struct nlattr *data;

	if (!message)
		return;
	mnl_attr_put_strz(message, NFTA_OBJ_TABLE, c->plan->table);
	mnl_attr_put_strz(message, NFTA_OBJ_NAME, name);
	mnl_attr_put_u32(message, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
	data = mnl_attr_nest_start(message, NFTA_OBJ_DATA);
	mnl_attr_nest_end(message, data);
	batch_close(c->batch);
}

static size_t say_order(uint8_t *out, uint8_t type, uint32_t order)
{
	out[0] = type;
	out[1] = sizeof(order);
	memcpy(out + 2, &order, sizeof(order));
	return 2 + sizeof(order);
}

/* nft wants to know in which byte order to print a key, and a number. */
static void put_order(struct nlmsghdr *message, const struct plan_set *set)
{
	uint8_t data[2 * (2 + sizeof(uint32_t))];
	size_t n = say_order(data, NFTNL_UDATA_SET_KEYBYTEORDER, plan_keys[set->key].order);

	if (set->numbers)
		n += say_order(
			data + n, NFTNL_UDATA_SET_DATABYTEORDER, plan_keys[PLAN_KEY_NUMBER].order);
	mnl_attr_put(message, NFTA_SET_USERDATA, n, data);
}

static void put_set(struct change *c, const struct plan_set *set)
{
	const struct plan_key_info *key = &plan_keys[set->key];
	struct label label = {set->map ? "add map" : "add set", set->name, NULL};
	struct nlmsghdr *message = batch_open(c->batch, NFT_MSG_NEWSET, NLM_F_CREATE, &label);
	struct nlattr *nest;

	if (!message)
		return;
	mnl_attr_put_strz(message, NFTA_SET_TABLE, c->plan->table);
	mnl_attr_put_strz(message, NFTA_SET_NAME, set->name);
	mnl_attr_put_u32(message, NFTA_SET_FLAGS, htonl(plan_set_flags(set)));
	mnl_attr_put_u32(message, NFTA_SET_KEY_TYPE, htonl(key->number));
	mnl_attr_put_u32(
		message, NFTA_SET_KEY_LEN, htonl((uint32_t)(key->mark + key->n * key->size)));
	mnl_attr_put_u32(message, NFTA_SET_ID, htonl(c->batch->n_labels));
	if (set->map)
		mnl_attr_put_u32(message, NFTA_SET_DATA_TYPE, htonl(plan_set_data(set)));
	if (set->numbers)
		mnl_attr_put_u32(message, NFTA_SET_DATA_LEN, htonl(sizeof(uint32_t)));
	if (set->timeout)
		mnl_attr_put_u64(message, NFTA_SET_TIMEOUT, htobe64(set->timeout * 1000ull));
	if (set->kind == PLAN_DYNAMIC) {
		nest = mnl_attr_nest_start(message, NFTA_SET_DESC);
		mnl_attr_put_u32(message, NFTA_SET_DESC_SIZE, htonl(PLAN_DYNAMIC_SIZE));
		mnl_attr_nest_end(message, nest);
	}
	if (key->order)
		put_order(message, set);
	batch_close(c->batch);
}

static void put_chain(struct change *c, const struct plan_chain *chain)
{
	const struct plan_hook_info *hook = &plan_hooks[chain->hook];
	struct label label = {"add chain", chain->name, NULL};
	struct nlmsghdr *message = batch_open(c->batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE, &label);
	struct nlattr *nest;

	if (!message)
		return;
	mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, c->plan->table);
	mnl_attr_put_strz(message, NFTA_CHAIN_NAME, chain->name);
	if (chain->hook != PLAN_NO_HOOK) {
		mnl_attr_put_strz(message, NFTA_CHAIN_TYPE, hook->type);
		mnl_attr_put_u32(message, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
		nest = mnl_attr_nest_start(message, NFTA_CHAIN_HOOK);
		mnl_attr_put_u32(message, NFTA_HOOK_HOOKNUM, htonl(hook->number));
		mnl_attr_put_u32(message, NFTA_HOOK_PRIORITY, htonl((uint32_t)chain->priority));
		mnl_attr_nest_end(message, nest);
	}
	batch_close(c->batch);
}

static void put_rule(struct change *c, const struct plan_chain *chain, const struct plan_rule *rule)
{
	struct label label = {"add rule to", chain->name, rule->text};
	struct nftnl_rule *nftnl = rule_make(c->plan->table, chain->name, rule);
	struct nlmsghdr *message;

	if (!nftnl) {
		c->batch->failed = true;
		return;
	}
	message = batch_open(c->batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, &label);
	if (message) {
		nftnl_rule_nlmsg_build_payload(message, nftnl);
		batch_close(c->batch);
	}
	nftnl_rule_free(nftnl);
}

static void put_rules(struct change *c, const struct plan_chain *chain)
{
	for (size_t i = 0; i < chain->n_rules; i++)
		put_rule(c, chain, &chain->rules[i]);
}

static bool same_rule(struct change *c, const struct plan_chain *chain,
	const struct plan_rule *rule, const char *now)
{
	struct nftnl_rule *nftnl;
	bool same;
	char *text;

	if (c->state->planned)
		return strcmp(rule->text, now) == 0;
	nftnl = rule_make(c->plan->table, chain->name, rule);
	text = nftnl ? rule_describe(nftnl) : NULL;
	same = text && strcmp(text, now) == 0;
	if (!text)
		c->batch->failed = true;
	if (nftnl)
		nftnl_rule_free(nftnl);
	free(text);
	return same;
}

static bool same_rules(struct change *c, const struct plan_chain *chain)
{
	const struct state_chain *now = state_chain(c->state, chain->name);

	if (!now || now->n_rules != chain->n_rules)
		return false;
	for (size_t i = 0; i < chain->n_rules; i++)
		if (!same_rule(c, chain, &chain->rules[i], now->rules[i]))
			return false;
	return true;
}

/* ---- the phases ---- */

/* What nothing refers to yet: whole, so that it is complete before anything does. */
static void put_new(struct change *c)
{
	const struct plan *p = c->plan;

	for (size_t i = 0; i < p->n_counters; i++)
		if (!state_has_counter(c->state, p->counters[i]->name))
			put_counter(c, p->counters[i]->name);
	for (size_t i = 0; i < p->n_sets; i++)
		if (!state_set(c->state, p->sets[i]->name))
			put_set(c, p->sets[i]);
	for (size_t i = 0; i < p->n_chains; i++)
		if (!state_chain(c->state, p->chains[i]->name))
			put_chain(c, p->chains[i]);
	for (size_t i = 0; i < p->n_sets; i++)
		if (p->sets[i]->guard || !state_set(c->state, p->sets[i]->name))
			elements_put_adds(c->batch, p->table, p->sets[i],
				state_set(c->state, p->sets[i]->name));
	for (size_t i = 0; i < p->n_chains; i++)
		if (p->chains[i]->hook == PLAN_NO_HOOK &&
			!state_chain(c->state, p->chains[i]->name))
			put_rules(c, p->chains[i]);
}

static const char *const holds[] = {"hold4", "hold6"};

/* GUARD: held is what changes in the sets that classify, and nothing that an update before left.
 * RELEASE: nothing. */
static void put_hold(struct change *c, size_t i)
{
	const struct plan_set *set = plan_set(c->plan, holds[i]);
	struct plan_set held;
	struct state_set now = {0};

	if (!set)
		return;
	held = *set;
	if (!hold_collect(&held, c->plan, c->state))
		c->batch->failed = true;
	if (c->phase == CHANGE_GUARD) {
		elements_put_deletes(
			c->batch, c->plan->table, &held, state_set(c->state, set->name));
		elements_put_adds(c->batch, c->plan->table, &held, state_set(c->state, set->name));
	} else {
		now.ranges = held.ranges;
		now.n_ranges = held.n_ranges;
		elements_put_deletes(c->batch, c->plan->table, set, &now);
	}
	free(held.ranges);
}

static bool is_hold(const struct plan_set *set)
{
	for (size_t i = 0; i < COUNT_OF(holds); i++)
		if (strcmp(set->name, holds[i]) == 0)
			return true;
	return false;
}

/* Whether SWITCH brings the set's elements up to date. */
static bool is_switched(const struct change *c, const struct plan_set *set)
{
	return set->kind != PLAN_DYNAMIC && !set->guard && !is_hold(set) &&
	       state_set(c->state, set->name);
}

static void put_switch(struct change *c)
{
	const struct plan *p = c->plan;
	bool *same = calloc(p->n_chains + 1, sizeof(*same));

	if (!same) {
		c->batch->failed = true;
		return;
	}
	for (size_t i = 0; i < p->n_sets; i++)
		if (is_switched(c, p->sets[i]))
			elements_put_deletes(c->batch, p->table, p->sets[i],
				state_set(c->state, p->sets[i]->name));
	for (size_t i = 0; i < p->n_chains; i++) {
		const struct plan_chain *chain = p->chains[i];
		const struct state_chain *now = state_chain(c->state, chain->name);

		same[i] = now ? same_rules(c, chain) : chain->hook == PLAN_NO_HOOK;
		if (!same[i] && now && now->n_rules > 0)
			put_name(c, NFT_MSG_DELRULE, "flush chain", NFTA_RULE_CHAIN, now->name);
	}
	for (size_t i = 0; i < p->n_sets; i++)
		if (is_switched(c, p->sets[i]))
			elements_put_adds(c->batch, p->table, p->sets[i],
				state_set(c->state, p->sets[i]->name));
	for (size_t i = 0; i < p->n_chains; i++)
		if (!same[i])
			put_rules(c, p->chains[i]);
	free(same);
}

/* One that is bound to a rule is left to go with it: the kernel takes it from nobody. */
static bool is_foreign(const struct plan *plan, const struct state_chain *chain)
{
	return !chain->bound && !plan_chain(plan, chain->name);
}

static void put_clean(struct change *c)
{
	const struct plan *p = c->plan;
	const struct state *s = c->state;

	for (size_t i = 0; i < p->n_sets; i++)
		if (p->sets[i]->guard)
			elements_put_deletes(
				c->batch, p->table, p->sets[i], state_set(s, p->sets[i]->name));
	for (size_t i = 0; i < s->n_chains; i++)
		if (is_foreign(p, &s->chains[i]) && s->chains[i].n_rules > 0)
			put_name(c, NFT_MSG_DELRULE, "flush chain", NFTA_RULE_CHAIN,
				s->chains[i].name);
	for (size_t i = 0; i < s->n_sets; i++)
		if (!plan_set(p, s->sets[i].name))
			put_name(c, NFT_MSG_DELSET, "delete set", NFTA_SET_NAME, s->sets[i].name);
	for (size_t i = 0; i < s->n_chains; i++)
		if (is_foreign(p, &s->chains[i]))
			put_name(c, NFT_MSG_DELCHAIN, "delete chain", NFTA_CHAIN_NAME,
				s->chains[i].name);
	for (size_t i = 0; i < s->n_counters; i++)
		if (!plan_counter(p, s->counters[i]))
			put_typed_name(c, NFT_MSG_DELOBJ, "delete counter", NFTA_OBJ_NAME,
				s->counters[i], NFT_OBJECT_COUNTER);
	for (size_t i = 0; i < s->n_objects; i++)
		put_typed_name(c, NFT_MSG_DELOBJ, "delete object", NFTA_OBJ_NAME,
			s->objects[i].name, s->objects[i].type);
	for (size_t i = 0; i < s->n_flowtables; i++)
		put_name(c, NFT_MSG_DELFLOWTABLE, "delete flowtable", NFTA_FLOWTABLE_NAME,
			s->flowtables[i]);
}

/* ---- what cannot be changed ---- */

static bool set_fits(const struct plan_set *set, const struct state_set *now)
{
	return !now ||
	       (now->flags == plan_set_flags(set) && now->key_type == plan_keys[set->key].number &&
		       (!set->map || now->data_type == plan_set_data(set)));
}

static bool chain_fits(const struct plan_chain *chain, const struct state_chain *now)
{
	const struct plan_hook_info *hook = &plan_hooks[chain->hook];

	if (!now)
		return true;
	if (chain->hook == PLAN_NO_HOOK || !now->type)
		return chain->hook == PLAN_NO_HOOK && !now->type;
	return strcmp(now->type, hook->type) == 0 && now->hook == hook->number &&
	       now->priority == chain->priority && now->policy == NF_ACCEPT;
}

/* An unlocked table that was locked once is as good as any. */
static bool flags_fit(const struct change *c)
{
	uint32_t flags = c->state->flags;

	return flags == TABLE_PERSIST || flags == c->flags;
}

static bool nature_fits(const struct change *c)
{
	const struct plan *p = c->plan;

	if (!flags_fit(c) || !c->state->own)
		return false;
	for (size_t i = 0; i < p->n_sets; i++)
		if (!set_fits(p->sets[i], state_set(c->state, p->sets[i]->name)))
			return false;
	for (size_t i = 0; i < p->n_chains; i++)
		if (!chain_fits(p->chains[i], state_chain(c->state, p->chains[i]->name)))
			return false;
	return true;
}

void change_put(struct batch *batch, const struct plan *plan, const struct state *state,
	uint32_t flags, enum change_phase phase)
{
	static const struct state nothing;
	struct change c = {
		.batch = batch, .plan = plan, .state = state, .flags = flags, .phase = phase};

	if (state->exists && !nature_fits(&c)) {
		if (phase == CHANGE_GUARD)
			put_name(&c, NFT_MSG_DELTABLE, "delete table", 0, NULL);
		c.state = &nothing;
	}
	switch (phase) {
	case CHANGE_GUARD:
		if (!c.state->exists || (flags && c.state->flags != flags))
			put_table(&c);
		put_new(&c);
		for (size_t i = 0; i < COUNT_OF(holds); i++)
			put_hold(&c, i);
		break;
	case CHANGE_SWITCH:
		put_switch(&c);
		break;
	case CHANGE_RELEASE:
		for (size_t i = 0; i < COUNT_OF(holds); i++)
			put_hold(&c, i);
		break;
	case CHANGE_CLEAN:
	case CHANGE_N_PHASES:
		put_clean(&c);
		break;
	}
}
