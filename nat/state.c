/*
 * state.c - what the kernel's table is.
 *
 * Dumps of flowtables, objects, chains, rules, sets, and the elements of each set.  An interval set
 * is dumped as single elements, a start and behind the last key an end; they are paired to ranges
 * here.  The end at key 0 that nft puts in front has no start and means nothing.
 */
#include "nat/state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "nat/build.h"
#include "nat/rule.h"

#define ATTEMPTS 20 /* of one dump */

/* One element as it is dumped. */
struct element {
	uint32_t mark;
	struct addr key;
	bool end;
	const char *jump;
	uint32_t number;
};

/* Of a chain: NFT_CHAIN_BINDING (Linux 5.9). */
#define CHAIN_BOUND 0x4u

struct load {
	struct state *state;
	struct mnl_socket *socket;
	const char *table;
	struct element *elements; /* of the set at hand */
	size_t n_elements, elements_room;
	bool catch_all;                  /* is among them */
	const struct plan_key_info *key; /* of it */
};

/* Names first in both structures, so one comparison serves. */
static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* bsearch() does not take the NULL of an empty array. */
static const void *find(const void *array, size_t n, size_t size, const char *name)
{
	return n > 0 ? bsearch(&name, array, n, size, by_name) : NULL;
}

const struct state_set *state_set(const struct state *state, const char *name)
{
	return find(state->sets, state->n_sets, sizeof(*state->sets), name);
}

const struct state_chain *state_chain(const struct state *state, const char *name)
{
	return find(state->chains, state->n_chains, sizeof(*state->chains), name);
}

bool state_has_counter(const struct state *state, const char *name)
{
	return find(state->counters, state->n_counters, sizeof(*state->counters), name);
}

/* A zeroed place at the end of an array, or NULL. */
static void *append(void **array, size_t *n, size_t *room, size_t size)
{
	size_t want = *room ? 2 * *room : 8;
	void *grown;

	if (*n == *room) {
		grown = reallocarray(*array, want, size);
		if (!grown)
			return NULL;
		*array = grown;
		*room = want;
	}
	return memset((char *)*array + (*n)++ * size, 0, size);
}

/* The attribute of `type` of a message, or NULL. */
static const struct nlattr *attribute(const struct nlmsghdr *message, uint16_t type)
{
	const struct nlattr *attr;

	mnl_attr_for_each (attr, message, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

static const char *string_of(const struct nlattr *attr)
{
	return attr ? mnl_attr_get_str(attr) : "";
}

static uint32_t number_of(const struct nlattr *attr)
{
	return attr ? ntohl(mnl_attr_get_u32(attr)) : 0;
}

static int on_generation(const struct nlmsghdr *message, void *arg)
{
	struct load *load = arg;

	load->state->generation = number_of(attribute(message, NFTA_GEN_ID));
	return MNL_CB_OK;
}

/* nft's user data: type, length, text with its NUL. */
static bool has_comment(const struct nftnl_table *table)
{
	uint32_t size;
	const uint8_t *data = nftnl_table_get_data(table, NFTNL_TABLE_USERDATA, &size);

	return data && size == 2 + sizeof(PLAN_COMMENT) && data[0] == NFTNL_UDATA_TABLE_COMMENT &&
	       memcmp(data + 2, PLAN_COMMENT, sizeof(PLAN_COMMENT)) == 0;
}

static int on_table(const struct nlmsghdr *message, void *arg)
{
	struct load *load = arg;
	struct nftnl_table *table = nftnl_table_alloc();
	bool ok = table && nftnl_table_nlmsg_parse(message, table) == 0;

	if (ok) {
		load->state->exists = true;
		load->state->flags = nftnl_table_get_u32(table, NFTNL_TABLE_FLAGS);
		load->state->own = has_comment(table);
		if (nftnl_table_is_set(table, NFTNL_TABLE_OWNER))
			load->state->owner = nftnl_table_get_u32(table, NFTNL_TABLE_OWNER);
	}
	if (table)
		nftnl_table_free(table);
	return ok ? MNL_CB_OK : MNL_CB_ERROR;
}

static bool take_name(char ***names, size_t *n, size_t *room, const char *name)
{
	char **place = append((void **)names, n, room, sizeof(*place));

	return place && (*place = strdup(name));
}

static bool take_counter(struct state *s, const char *name)
{
	return take_name(&s->counters, &s->n_counters, &s->counters_room, name);
}

static bool take_object(struct state *s, const char *name, uint32_t type)
{
	struct state_object *object =
		append((void **)&s->objects, &s->n_objects, &s->objects_room, sizeof(*object));

	if (!object)
		return false;
	object->type = type;
	return (object->name = strdup(name));
}

static int on_object(const struct nlmsghdr *message, void *arg)
{
	struct load *load = arg;
	const char *name = string_of(attribute(message, NFTA_OBJ_NAME));
	uint32_t type = number_of(attribute(message, NFTA_OBJ_TYPE));
	bool ok;

	if (strcmp(string_of(attribute(message, NFTA_OBJ_TABLE)), load->table) != 0)
		return MNL_CB_OK;
	ok = type == NFT_OBJECT_COUNTER ? take_counter(load->state, name)
					: take_object(load->state, name, type);
	return ok ? MNL_CB_OK : MNL_CB_ERROR;
}

static int on_flowtable(const struct nlmsghdr *message, void *arg)
{
	struct load *load = arg;
	struct state *s = load->state;

	if (strcmp(string_of(attribute(message, NFTA_FLOWTABLE_TABLE)), load->table) != 0)
		return MNL_CB_OK;
	return take_name(&s->flowtables, &s->n_flowtables, &s->flowtables_room,
		       string_of(attribute(message, NFTA_FLOWTABLE_NAME)))
		       ? MNL_CB_OK
		       : MNL_CB_ERROR;
}

static bool take_chain(struct load *load, const struct nftnl_chain *chain)
{
	struct state *s = load->state;
	const char *table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE);
	const char *name = nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME);
	const char *type = nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE);
	struct state_chain *c;

	if (!table || !name)
		return false;
	if (strcmp(table, load->table) != 0)
		return true;
	c = append((void **)&s->chains, &s->n_chains, &s->chains_room, sizeof(*c));
	if (!c)
		return false;
	c->name = strdup(name);
	c->bound = nftnl_chain_get_u32(chain, NFTNL_CHAIN_FLAGS) & CHAIN_BOUND;
	if (type) {
		c->type = strdup(type);
		c->hook = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM);
		c->priority = nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO);
		c->policy = nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY);
	}
	return c->name && (!type || c->type);
}

static int on_chain(const struct nlmsghdr *message, void *arg)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	bool ok = chain && nftnl_chain_nlmsg_parse(message, chain) == 0 && take_chain(arg, chain);

	if (chain)
		nftnl_chain_free(chain);
	return ok ? MNL_CB_OK : MNL_CB_ERROR;
}

static bool take_rule(struct load *load, const struct nftnl_rule *rule)
{
	const char *table = nftnl_rule_get_str(rule, NFTNL_RULE_TABLE);
	const char *name = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
	struct state_chain *c;
	char **text;

	if (!table || !name)
		return false;
	if (strcmp(table, load->table) != 0)
		return true;
	c = (struct state_chain *)state_chain(load->state, name);
	if (!c) {
		errno = EINTR;
		return false;
	}
	text = append((void **)&c->rules, &c->n_rules, &c->room, sizeof(*text));
	if (text)
		*text = rule_describe(rule);
	return text && *text;
}

static int on_rule(const struct nlmsghdr *message, void *arg)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	bool ok = rule && nftnl_rule_nlmsg_parse(message, rule) == 0 && take_rule(arg, rule);

	if (rule)
		nftnl_rule_free(rule);
	return ok ? MNL_CB_OK : MNL_CB_ERROR;
}

static bool take_set(struct load *load, const struct nftnl_set *set)
{
	struct state *s = load->state;
	const char *table = nftnl_set_get_str(set, NFTNL_SET_TABLE);
	const char *name = nftnl_set_get_str(set, NFTNL_SET_NAME);
	uint32_t flags = nftnl_set_get_u32(set, NFTNL_SET_FLAGS);
	struct state_set *out;

	if (!table || !name)
		return false;
	if (flags & NFT_SET_ANONYMOUS || strcmp(table, load->table) != 0)
		return true;
	out = append((void **)&s->sets, &s->n_sets, &s->sets_room, sizeof(*out));
	if (!out)
		return false;
	out->name = strdup(name);
	out->flags = flags;
	out->key_type = nftnl_set_get_u32(set, NFTNL_SET_KEY_TYPE);
	out->data_type = nftnl_set_get_u32(set, NFTNL_SET_DATA_TYPE);
	return out->name;
}

static int on_set(const struct nlmsghdr *message, void *arg)
{
	struct nftnl_set *set = nftnl_set_alloc();
	bool ok = set && nftnl_set_nlmsg_parse(message, set) == 0 && take_set(arg, set);

	if (set)
		nftnl_set_free(set);
	return ok ? MNL_CB_OK : MNL_CB_ERROR;
}

/* The attribute of `type` inside a nest, or NULL. */
static const struct nlattr *inside(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *attr;

	if (nest)
		mnl_attr_for_each_nested (attr, nest)
			if (mnl_attr_get_type(attr) == type)
				return attr;
	return NULL;
}

/* The name of the chain that an element jumps to, as the state holds it. */
static const char *jump_of(const struct load *load, const struct nlattr *data)
{
	const struct nlattr *verdict = inside(data, NFTA_DATA_VERDICT);
	const struct nlattr *code = inside(verdict, NFTA_VERDICT_CODE);
	const struct nlattr *name = inside(verdict, NFTA_VERDICT_CHAIN);
	const struct state_chain *chain;

	if (!data)
		return NULL;
	if (!code || !name || (int32_t)ntohl(mnl_attr_get_u32(code)) != NFT_JUMP)
		return "";
	chain = state_chain(load->state, mnl_attr_get_str(name));
	return chain ? chain->name : "";
}

static void take_data(const struct load *load, const struct nlattr *data, struct element *e)
{
	const struct nlattr *value = inside(data, NFTA_DATA_VALUE);

	if (value && mnl_attr_get_payload_len(value) == sizeof(e->number))
		memcpy(&e->number, mnl_attr_get_payload(value), sizeof(e->number));
	else
		e->jump = jump_of(load, data);
}

/* A key is the mark, then the address, port or protocol; a part that is shorter than 4 bytes is
 * alone. */
static void take_key(const struct load *load, const uint8_t *bytes, struct element *e)
{
	const struct plan_key_info *key = load->key;

	if (key->mark)
		memcpy(&e->mark, bytes, sizeof(e->mark));
	if (key->n == 0)
		return;
	memcpy(e->key.bytes + sizeof(e->key) - key->size, bytes + key->mark, key->size);
	if (key->size == 4)
		e->key.bytes[10] = e->key.bytes[11] = 0xff;
}

static bool take_element(struct load *load, const struct nlattr *nest)
{
	const struct nlattr *key = inside(inside(nest, NFTA_SET_ELEM_KEY), NFTA_DATA_VALUE);
	uint32_t flags = number_of(inside(nest, NFTA_SET_ELEM_FLAGS));
	struct element *e;

	if (flags & ELEMENT_CATCH_ALL) {
		load->catch_all = true;
		return true;
	}
	e = append((void **)&load->elements, &load->n_elements, &load->elements_room, sizeof(*e));
	if (!e)
		return false;
	if (key && mnl_attr_get_payload_len(key) == load->key->mark + load->key->size)
		take_key(load, mnl_attr_get_payload(key), e);
	e->end = flags & NFT_SET_ELEM_INTERVAL_END;
	take_data(load, inside(nest, NFTA_SET_ELEM_DATA), e);
	return true;
}

static int on_elements(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attr, *element;

	mnl_attr_for_each (attr, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested (element, attr)
			if (!take_element(arg, element))
				return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

/* By key; where one range ends and another starts, the end first. */
static int by_key(const void *a, const void *b)
{
	const struct element *x = a, *y = b;
	int order = memcmp(&x->key, &y->key, sizeof(x->key));

	if (x->mark != y->mark)
		return x->mark < y->mark ? -1 : 1;
	return order ? order : y->end - x->end;
}

/* The last key of the range that begins at `at`: in front of what comes next, or the last of all.
 */
static struct addr end_of(
	const struct load *load, const struct element *at, const struct element *behind)
{
	struct addr last = at->key;

	if (at + 1 < behind) {
		last = at[1].key;
		build_previous(&last);
	} else {
		memset(last.bytes + sizeof(last) - load->key->size, 0xff, load->key->size);
	}
	return last;
}

static bool pair_elements(struct load *load, struct state_set *set)
{
	const struct element *at = load->elements, *behind = at + load->n_elements;
	bool interval = set->flags & NFT_SET_INTERVAL;

	set->catch_all = load->catch_all;
	set->ranges = calloc(load->n_elements + 1, sizeof(*set->ranges));
	if (!set->ranges)
		return false;
	if (load->n_elements > 0)
		qsort(load->elements, load->n_elements, sizeof(*load->elements), by_key);
	for (; at < behind; at++)
		if (!at->end)
			set->ranges[set->n_ranges++] = (struct plan_range){.mark = at->mark,
				.first = at->key,
				.last = interval ? end_of(load, at, behind) : at->key,
				.jump = at->jump,
				.number = at->number};
	return true;
}

/* Asks about the table, or one set of it. */
static int ask(struct load *load, uint16_t type, uint16_t flags, const char *set, mnl_cb_t each)
{
	_Alignas(struct nlmsghdr) char request[1024] = {0};
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(
		request, type, type == NFT_MSG_GETGEN ? AF_UNSPEC : NFPROTO_INET, flags, 0);

	if (type != NFT_MSG_GETGEN)
		mnl_attr_put_strz(message, NFTA_TABLE_NAME, load->table); /* 1 in every message */
	if (set)
		mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
	return netlink_ask(load->socket, message, each, load);
}

static void forget_rules(struct load *load)
{
	for (size_t i = 0; i < load->state->n_chains; i++) {
		struct state_chain *c = &load->state->chains[i];

		while (c->n_rules > 0)
			free(c->rules[--c->n_rules]);
	}
}

static void forget_chains(struct load *load)
{
	struct state *s = load->state;

	forget_rules(load);
	while (s->n_chains > 0) {
		struct state_chain *c = &s->chains[--s->n_chains];

		free(c->rules);
		free(c->type);
		free(c->name);
	}
}

static void forget_sets(struct load *load)
{
	struct state *s = load->state;

	while (s->n_sets > 0) {
		free(s->sets[--s->n_sets].name);
		free(s->sets[s->n_sets].ranges);
	}
}

static void forget_elements(struct load *load)
{
	load->n_elements = 0;
	load->catch_all = false;
}

/* A dump is torn when anybody changes any table meanwhile: what came is forgotten and asked for
 * again, each dump for itself, so that a busy neighbour cannot hold up a long row of them for ever.
 */
static int dump(struct load *load, uint16_t type, const char *set, mnl_cb_t each,
	void (*forget)(struct load *))
{
	int error = -EINTR;

	for (int i = 0; i < ATTEMPTS && error == -EINTR; i++) {
		forget(load);
		error = ask(load, type, NLM_F_DUMP, set, each);
	}
	return error;
}

static const struct plan_key_info *key_of(const struct state_set *set)
{
	for (size_t i = 0; i < PLAN_N_KEYS; i++)
		if (plan_keys[i].number == set->key_type)
			return &plan_keys[i];
	return NULL;
}

/* Of a set of another type than a plan has, nothing is read: it goes away whole. */
static int load_elements(struct load *load, struct state_set *set)
{
	int error;

	load->key = key_of(set);
	if (!load->key || set->flags & NFT_SET_EVAL)
		return 0;
	error = dump(load, NFT_MSG_GETSETELEM, set->name, on_elements, forget_elements);
	if (error)
		return error;
	return pair_elements(load, set) ? 0 : -ENOMEM;
}

static void forget_objects(struct load *load)
{
	struct state *s = load->state;

	while (s->n_counters > 0)
		free(s->counters[--s->n_counters]);
	while (s->n_objects > 0)
		free(s->objects[--s->n_objects].name);
}

static void forget_flowtables(struct load *load)
{
	struct state *s = load->state;

	while (s->n_flowtables > 0)
		free(s->flowtables[--s->n_flowtables]);
}

static int load_table(struct load *load)
{
	struct state *s = load->state;
	int error = ask(load, NFT_MSG_GETGEN, 0, NULL, on_generation);

	if (error)
		return error;
	error = ask(load, NFT_MSG_GETTABLE, 0, NULL, on_table);
	if (error)
		return error == -ENOENT ? 0 : error;
	error = dump(load, NFT_MSG_GETFLOWTABLE, NULL, on_flowtable, forget_flowtables);
	if (error)
		return error;
	error = dump(load, NFT_MSG_GETOBJ, NULL, on_object, forget_objects);
	if (error)
		return error;
	if (s->n_counters > 0)
		qsort(s->counters, s->n_counters, sizeof(*s->counters), by_name);
	error = dump(load, NFT_MSG_GETCHAIN, NULL, on_chain, forget_chains);
	if (error)
		return error;
	if (s->n_chains > 0)
		qsort(s->chains, s->n_chains, sizeof(*s->chains), by_name);
	error = dump(load, NFT_MSG_GETRULE, NULL, on_rule, forget_rules);
	if (error)
		return error;
	error = dump(load, NFT_MSG_GETSET, NULL, on_set, forget_sets);
	if (error)
		return error == -ENOENT ? -EINTR : error;
	if (s->n_sets > 0)
		qsort(s->sets, s->n_sets, sizeof(*s->sets), by_name);
	for (size_t i = 0; !error && i < s->n_sets; i++)
		error = load_elements(load, &s->sets[i]);
	return error == -ENOENT ? -EINTR : error;
}

int state_generation(struct state *state, struct mnl_socket *socket, struct error *e)
{
	struct load load = {.state = state, .socket = socket};
	int error = ask(&load, NFT_MSG_GETGEN, 0, NULL, on_generation);

	return error ? error_set(e, error, "nftables: %s", strerror(-error)) : 0;
}

int state_load(struct state *state, struct mnl_socket *socket, const char *table, struct error *e)
{
	struct load load = {.state = state, .socket = socket, .table = table};
	int error;

	*state = (struct state){0};
	error = load_table(&load);
	free(load.elements);
	if (error)
		error_set(e, error, "reading nftables table %s: %s", table, strerror(-error));
	return error;
}

static bool copy_sets(struct state *state, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_sets; i++) {
		const struct plan_set *from = plan->sets_by_name[i];
		struct state_set *to = append(
			(void **)&state->sets, &state->n_sets, &state->sets_room, sizeof(*to));

		if (!to)
			return false;
		to->name = strdup(from->name);
		to->flags = plan_set_flags(from);
		to->key_type = plan_keys[from->key].number;
		to->data_type = plan_set_data(from);
		to->ranges = calloc(from->n_ranges + 1, sizeof(*to->ranges));
		if (!to->name || !to->ranges)
			return false;
		if (from->n_ranges > 0)
			memcpy(to->ranges, from->ranges, from->n_ranges * sizeof(*to->ranges));
		to->n_ranges = from->n_ranges;
	}
	return true;
}

static bool copy_chain(struct state_chain *to, const struct plan_chain *from)
{
	const struct plan_hook_info *hook = &plan_hooks[from->hook];

	to->name = strdup(from->name);
	to->type = from->hook == PLAN_NO_HOOK ? NULL : strdup(hook->type);
	to->hook = hook->number;
	to->priority = from->priority;
	to->policy = NF_ACCEPT;
	if (!to->name || (from->hook != PLAN_NO_HOOK && !to->type))
		return false;
	for (size_t i = 0; i < from->n_rules; i++) {
		if (!take_name(&to->rules, &to->n_rules, &to->room, from->rules[i].text))
			return false;
	}
	return true;
}

static bool copy_chains(struct state *state, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_chains; i++) {
		struct state_chain *to = append((void **)&state->chains, &state->n_chains,
			&state->chains_room, sizeof(*to));

		if (!to || !copy_chain(to, plan->chains_by_name[i]))
			return false;
	}
	return true;
}

bool state_of_plan(struct state *state, const struct plan *plan)
{
	*state = (struct state){.exists = true, .own = true, .planned = true};
	for (size_t i = 0; i < plan->n_counters; i++)
		if (!take_counter(state, plan->counters[i]->name))
			return false;
	return copy_sets(state, plan) && copy_chains(state, plan);
}

void state_fini(struct state *state)
{
	struct load load = {.state = state};

	forget_chains(&load);
	forget_sets(&load);
	forget_objects(&load);
	forget_flowtables(&load);
	free(state->sets);
	free(state->chains);
	free(state->counters);
	free(state->objects);
	free(state->flowtables);
	*state = (struct state){0};
}
