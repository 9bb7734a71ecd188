/*
 * change.c - the messages that lead from what the kernel has to a plan.
 *
 * The order is the kernel's: what is referred to is there first and goes last.
 *
 *     sets, chains that are missing
 *     elements that are too many
 *     rules of chains that are different or too many
 *     elements that are missing; rules
 *     sets, chains that are too many
 *
 * A chain or set that has our name but another nature (hook, key) cannot be changed.  Then, and for
 * a table with flags, the whole table is deleted and made anew, in the same transaction.
 */
#include "nat/change.h"

#include <arpa/inet.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#include "nat/build.h"
#include "nat/rule.h"

#define ELEMENTS_ROOM (48 * 1024) /* of one message: the length of an attribute has 16 bits */

struct change {
	struct batch *batch;
	const struct plan *plan;
	const struct state *state;
	const char **wanted_sets, **wanted_chains; /* names, sorted */
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_wanted(const char *const *names, size_t n, const char *name)
{
	return bsearch(&name, names, n, sizeof(*names), by_name);
}

/* A message that names one thing of the table: what is deleted or flushed needs no more. */
static void put_name(
	struct change *c, uint16_t type, const char *what, uint16_t attr, const char *name)
{
	struct label label = {what, name ? name : c->plan->table, NULL};
	struct nlmsghdr *message = batch_open(c->batch, type, 0, &label);

	if (!message)
		return;
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, c->plan->table); /* 1 in every message */
	if (name)
		mnl_attr_put_strz(message, attr, name);
	batch_close(c->batch);
}

static void put_table(struct change *c)
{
	struct label label = {"add table", c->plan->table, NULL};
	struct nlmsghdr *message = batch_open(c->batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, &label);

	if (!message)
		return;
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, c->plan->table);
	batch_close(c->batch);
}

static uint32_t flags_of(const struct plan_set *set)
{
	return NFT_SET_INTERVAL | (set->map ? NFT_SET_MAP : 0);
}

static void put_set(struct change *c, const struct plan_set *set)
{
	struct label label = {set->map ? "add map" : "add set", set->name, NULL};
	struct nlmsghdr *message = batch_open(c->batch, NFT_MSG_NEWSET, NLM_F_CREATE, &label);

	if (!message)
		return;
	mnl_attr_put_strz(message, NFTA_SET_TABLE, c->plan->table);
	mnl_attr_put_strz(message, NFTA_SET_NAME, set->name);
	mnl_attr_put_u32(message, NFTA_SET_FLAGS, htonl(flags_of(set)));
	mnl_attr_put_u32(message, NFTA_SET_KEY_TYPE, htonl(plan_keys[set->key].number));
	mnl_attr_put_u32(message, NFTA_SET_KEY_LEN, htonl((uint32_t)plan_keys[set->key].size));
	mnl_attr_put_u32(message, NFTA_SET_ID, htonl(c->batch->n_labels));
	if (set->map)
		mnl_attr_put_u32(message, NFTA_SET_DATA_TYPE, htonl(NFT_DATA_VERDICT));
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
		mnl_attr_put_u32(message, NFTA_HOOK_PRIORITY, htonl((uint32_t)hook->priority));
		mnl_attr_nest_end(message, nest);
	}
	batch_close(c->batch);
}

/* Elements of one set, over as many messages as they need. */
struct elements {
	struct change *change;
	const struct plan_set *set;
	uint16_t type; /* NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM */
	struct nlmsghdr *message;
	struct nlattr *list;
};

static void end_message(struct elements *e)
{
	if (!e->message)
		return;
	mnl_attr_nest_end(e->message, e->list);
	batch_close(e->change->batch);
	e->message = NULL;
}

static bool begin_message(struct elements *e)
{
	bool add = e->type == NFT_MSG_NEWSETELEM;
	struct label label = {add ? "add elements to" : "delete elements of", e->set->name, NULL};

	if (e->message && e->message->nlmsg_len < ELEMENTS_ROOM)
		return true;
	end_message(e);
	e->message = batch_open(e->change->batch, e->type, add ? NLM_F_CREATE : 0, &label);
	if (!e->message)
		return false;
	mnl_attr_put_strz(e->message, NFTA_SET_ELEM_LIST_TABLE, e->change->plan->table);
	mnl_attr_put_strz(e->message, NFTA_SET_ELEM_LIST_SET, e->set->name);
	e->list = mnl_attr_nest_start(e->message, NFTA_SET_ELEM_LIST_ELEMENTS);
	return true;
}

static void put_jump(struct nlmsghdr *message, const char *chain)
{
	struct nlattr *data = mnl_attr_nest_start(message, NFTA_SET_ELEM_DATA);
	struct nlattr *verdict = mnl_attr_nest_start(message, NFTA_DATA_VERDICT);

	mnl_attr_put_u32(message, NFTA_VERDICT_CODE, htonl((uint32_t)NFT_JUMP));
	mnl_attr_put_strz(message, NFTA_VERDICT_CHAIN, chain);
	mnl_attr_nest_end(message, verdict);
	mnl_attr_nest_end(message, data);
}

static void put_element(struct elements *e, const struct addr *at, bool end, const char *jump)
{
	size_t size = plan_keys[e->set->key].size;
	struct nlattr *element, *key;

	if (!begin_message(e))
		return;
	element = mnl_attr_nest_start(e->message, NFTA_LIST_ELEM);
	if (end)
		mnl_attr_put_u32(e->message, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
	key = mnl_attr_nest_start(e->message, NFTA_SET_ELEM_KEY);
	mnl_attr_put(e->message, NFTA_DATA_VALUE, size, at->bytes + sizeof(at->bytes) - size);
	mnl_attr_nest_end(e->message, key);
	if (jump)
		put_jump(e->message, jump);
	mnl_attr_nest_end(e->message, element);
}

/* The key behind the range; false when the range reaches to the last key of all. */
static bool end_of(const struct plan_set *set, const struct plan_range *range, struct addr *end)
{
	static const struct addr zero;
	size_t size = plan_keys[set->key].size;

	*end = range->last;
	build_next(end);
	return memcmp(end->bytes + sizeof(end->bytes) - size, zero.bytes, size) != 0;
}

static bool same_range(const struct plan_range *a, const struct plan_range *b)
{
	return addr_equal(&a->first, &b->first) && addr_equal(&a->last, &b->last) &&
	       !a->jump == !b->jump && (!a->jump || strcmp(a->jump, b->jump) == 0);
}

static void delete_range(struct elements *e, const struct plan_range *range)
{
	struct addr end;

	put_element(e, &range->first, false, NULL);
	if (end_of(e->set, range, &end))
		put_element(e, &end, true, NULL);
}

static void add_range(struct elements *e, const struct plan_range *range)
{
	struct addr end;

	put_element(e, &range->first, false, range->jump);
	if (end_of(e->set, range, &end))
		put_element(e, &end, true, NULL);
}

/* Which of two ranges comes first; NULL is behind the last. */
static int place(const struct plan_range *have, const struct plan_range *want)
{
	if (!have || !want)
		return have ? -1 : 1;
	return memcmp(&have->first, &want->first, sizeof(want->first));
}

/* Walks both sorted lists: deletes what only the kernel has, or adds what only the plan has. */
static void put_ranges(struct change *c, const struct plan_set *set, uint16_t type)
{
	const struct state_set *now = state_set(c->state, set->name);
	struct elements e = {.change = c, .set = set, .type = type};
	size_t i = 0, j = 0, n = now ? now->n_ranges : 0;

	while (i < n || j < set->n_ranges) {
		const struct plan_range *have = i < n ? &now->ranges[i] : NULL;
		const struct plan_range *want = j < set->n_ranges ? &set->ranges[j] : NULL;
		int order = place(have, want);
		bool same = order == 0 && same_range(have, want);

		if (order <= 0 && !same && type == NFT_MSG_DELSETELEM)
			delete_range(&e, have);
		if (order >= 0 && !same && type == NFT_MSG_NEWSETELEM)
			add_range(&e, want);
		i += order <= 0;
		j += order >= 0;
	}
	end_message(&e);
}

static void put_matches(struct rule *r, const struct plan_rule *rule)
{
	uint8_t v = rule->version;

	if (rule->established)
		rule_ct_state(
			r, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
	if (rule->from || rule->except || rule->action == PLAN_MAP)
		rule_nfproto(r, v == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	if (rule->from)
		rule_saddr_in(r, v, rule->from);
	if (rule->except)
		rule_daddr_not_in(r, v, rule->except);
	if (rule->protocol)
		rule_l4proto(r, rule->protocol);
	if (rule->protocols)
		rule_l4proto_in(r, rule->protocols);
	if (rule->ports)
		rule_dport_in(r, rule->ports);
}

static struct nftnl_rule *make_rule(
	struct change *c, const struct plan_chain *chain, const struct plan_rule *rule)
{
	struct rule r;

	rule_begin(&r, c->plan->table, chain->name);
	put_matches(&r, rule);
	switch (rule->action) {
	case PLAN_ACCEPT:
		rule_verdict(&r, NF_ACCEPT);
		break;
	case PLAN_DROP:
		rule_verdict(&r, NF_DROP);
		break;
	case PLAN_REJECT:
		rule_reject(&r);
		break;
	case PLAN_SNAT:
		rule_snat(&r, &rule->address);
		break;
	case PLAN_MAP:
		rule_daddr_vmap(&r, rule->version, rule->map);
		break;
	}
	return rule_finish(&r);
}

static void put_rule(struct change *c, const struct plan_chain *chain, const struct plan_rule *rule)
{
	struct label label = {"add rule to", chain->name, rule->text};
	struct nftnl_rule *nftnl = make_rule(c, chain, rule);
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

static bool same_rule(struct change *c, const struct plan_chain *chain,
	const struct plan_rule *rule, const char *now)
{
	struct nftnl_rule *nftnl = make_rule(c, chain, rule);
	char *text = nftnl ? rule_describe(nftnl) : NULL;
	bool same = text && strcmp(text, now) == 0;

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

static void put_rules(struct change *c, const struct plan_chain *chain)
{
	for (size_t i = 0; i < chain->n_rules; i++)
		put_rule(c, chain, &chain->rules[i]);
}

static void put_missing(struct change *c)
{
	const struct plan *p = c->plan;

	for (size_t i = 0; i < p->n_sets; i++)
		if (!state_set(c->state, p->sets[i]->name))
			put_set(c, p->sets[i]);
	for (size_t i = 0; i < p->n_chains; i++)
		if (!state_chain(c->state, p->chains[i]->name))
			put_chain(c, p->chains[i]);
}

/* Empties the chains that are too many, then deletes them and the sets that are. */
static void put_flushes(struct change *c)
{
	for (size_t i = 0; i < c->state->n_chains; i++)
		if (!is_wanted(c->wanted_chains, c->plan->n_chains, c->state->chains[i].name) &&
			c->state->chains[i].n_rules > 0)
			put_name(c, NFT_MSG_DELRULE, "flush chain", NFTA_RULE_CHAIN,
				c->state->chains[i].name);
}

static void put_deletes(struct change *c)
{
	for (size_t i = 0; i < c->state->n_sets; i++)
		if (!is_wanted(c->wanted_sets, c->plan->n_sets, c->state->sets[i].name))
			put_name(c, NFT_MSG_DELSET, "delete set", NFTA_SET_NAME,
				c->state->sets[i].name);
	for (size_t i = 0; i < c->state->n_chains; i++)
		if (!is_wanted(c->wanted_chains, c->plan->n_chains, c->state->chains[i].name))
			put_name(c, NFT_MSG_DELCHAIN, "delete chain", NFTA_CHAIN_NAME,
				c->state->chains[i].name);
}

static void put_differences(struct change *c)
{
	const struct plan *p = c->plan;
	bool *same = calloc(p->n_chains + 1, sizeof(*same));

	if (!same) {
		c->batch->failed = true;
		return;
	}
	for (size_t i = 0; i < p->n_sets; i++)
		put_ranges(c, p->sets[i], NFT_MSG_DELSETELEM);
	put_flushes(c);
	for (size_t i = 0; i < p->n_chains; i++) {
		const struct state_chain *now = state_chain(c->state, p->chains[i]->name);

		same[i] = same_rules(c, p->chains[i]);
		if (!same[i] && now && now->n_rules > 0)
			put_name(c, NFT_MSG_DELRULE, "flush chain", NFTA_RULE_CHAIN, now->name);
	}
	for (size_t i = 0; i < p->n_sets; i++)
		put_ranges(c, p->sets[i], NFT_MSG_NEWSETELEM);
	for (size_t i = 0; i < p->n_chains; i++)
		if (!same[i])
			put_rules(c, p->chains[i]);
	free(same);
}

static bool set_fits(const struct plan_set *set, const struct state_set *now)
{
	return !now ||
	       (now->flags == flags_of(set) && now->key_type == plan_keys[set->key].number &&
		       (!set->map || now->data_type == NFT_DATA_VERDICT));
}

static bool chain_fits(const struct plan_chain *chain, const struct state_chain *now)
{
	const struct plan_hook_info *hook = &plan_hooks[chain->hook];

	if (!now)
		return true;
	if (chain->hook == PLAN_NO_HOOK || !now->type)
		return chain->hook == PLAN_NO_HOOK && !now->type;
	return strcmp(now->type, hook->type) == 0 && now->hook == hook->number &&
	       now->priority == hook->priority && now->policy == NF_ACCEPT;
}

static bool nature_fits(const struct change *c)
{
	const struct plan *p = c->plan;

	if (c->state->flags)
		return false;
	for (size_t i = 0; i < p->n_sets; i++)
		if (!set_fits(p->sets[i], state_set(c->state, p->sets[i]->name)))
			return false;
	for (size_t i = 0; i < p->n_chains; i++)
		if (!chain_fits(p->chains[i], state_chain(c->state, p->chains[i]->name)))
			return false;
	return true;
}

static bool sort_names(struct change *c)
{
	const struct plan *p = c->plan;

	c->wanted_sets = calloc(p->n_sets + 1, sizeof(char *));
	c->wanted_chains = calloc(p->n_chains + 1, sizeof(char *));
	if (!c->wanted_sets || !c->wanted_chains)
		return false;
	for (size_t i = 0; i < p->n_sets; i++)
		c->wanted_sets[i] = p->sets[i]->name;
	for (size_t i = 0; i < p->n_chains; i++)
		c->wanted_chains[i] = p->chains[i]->name;
	qsort(c->wanted_sets, p->n_sets, sizeof(char *), by_name);
	qsort(c->wanted_chains, p->n_chains, sizeof(char *), by_name);
	return true;
}

void change_put(struct batch *batch, const struct plan *plan, const struct state *state)
{
	static const struct state nothing;
	struct change c = {.batch = batch, .plan = plan, .state = state};

	if (!sort_names(&c)) {
		batch->failed = true;
		goto out;
	}
	if (state->exists && !nature_fits(&c)) {
		put_name(&c, NFT_MSG_DELTABLE, "delete table", 0, NULL);
		c.state = &nothing;
	}
	if (!c.state->exists)
		put_table(&c);
	put_missing(&c);
	put_differences(&c);
	put_deletes(&c);
out:
	free(c.wanted_sets);
	free(c.wanted_chains);
}
