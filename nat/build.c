/*
 * build.c - makes a plan piece by piece.
 *
 * Sharing: the content (ranges of a set, texts of a chain's rules) is hashed to a name, and the
 * name is looked up in a tree.  A hit is compared byte by byte, because a hash is no proof; two
 * contents with one hash get neighbouring names.
 */
#include "nat/build.h"

#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* A name in the tree: of one set or one chain. */
struct named {
	const char *name;
	const struct plan_set *set;
	const struct plan_chain *chain;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

void build_begin(struct build *b, const char *table)
{
	*b = (struct build){.plan = calloc(1, sizeof(*b->plan))};
	if (b->plan)
		b->plan->table = strdup(table);
	b->failed = !b->plan || !b->plan->table;
}

struct plan *build_finish(struct build *b)
{
	struct plan *plan = b->plan;

	tdestroy(b->names, free);
	if (b->failed) {
		plan_free(plan);
		plan = NULL;
	}
	*b = (struct build){0};
	return plan;
}

/* `array` with room for one more than `n`; the old one, and failed, without memory. */
static void *grow(struct build *b, void *array, size_t n, size_t *room, size_t size)
{
	size_t want = *room ? *room * 2 : 4;
	void *grown;

	if (n < *room)
		return array;
	grown = reallocarray(array, want, size);
	if (!grown) {
		b->failed = true;
		return array;
	}
	*room = want;
	return grown;
}

static void adopt_set(struct build *b, struct plan_set *set)
{
	struct plan *p = b->plan;

	p->sets = grow(b, p->sets, p->n_sets, &p->sets_room, sizeof(struct plan_set *));
	if (!b->failed)
		p->sets[p->n_sets++] = set;
}

void build_set_drop(struct plan_set *set)
{
	if (set)
		free(set->ranges);
	free(set);
}

struct plan_set *build_set(struct build *b, const char *name, enum plan_key key, bool map)
{
	struct plan_set *set = b->failed ? NULL : calloc(1, sizeof(*set));

	if (!set) {
		b->failed = true;
		return NULL;
	}
	set->key = key;
	set->map = map;
	if (!name)
		return set;
	snprintf(set->name, sizeof(set->name), "%s", name);
	adopt_set(b, set);
	if (!b->failed)
		return set;
	build_set_drop(set);
	return NULL;
}

void build_range(struct build *b, struct plan_set *set, const struct addr *first,
	const struct addr *last, const char *jump)
{
	if (b->failed)
		return;
	set->ranges = grow(b, set->ranges, set->n_ranges, &set->room, sizeof(*set->ranges));
	if (!b->failed)
		set->ranges[set->n_ranges++] = (struct plan_range){*first, *last, jump};
}

struct plan_range build_range_of(const struct cidr *cidr)
{
	struct plan_range range = {.first = cidr->addr, .last = cidr->addr};

	for (unsigned bit = cidr->bits; bit < 128; bit++)
		range.last.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return range;
}

void build_cidrs(
	struct build *b, struct plan_set *set, const struct cidr *cidrs, size_t n, unsigned version)
{
	for (size_t i = 0; i < n; i++) {
		struct plan_range range = build_range_of(&cidrs[i]);

		if (cidr_is_v4(&cidrs[i]) == (version == 4))
			build_range(b, set, &range.first, &range.last, NULL);
	}
}

bool build_next(struct addr *addr)
{
	for (size_t i = sizeof(addr->bytes); i-- > 0;)
		if (++addr->bytes[i] != 0)
			return true;
	return false;
}

bool build_previous(struct addr *addr)
{
	for (size_t i = sizeof(addr->bytes); i-- > 0;)
		if (addr->bytes[i]-- != 0)
			return true;
	return false;
}

static int by_first(const void *a, const void *b)
{
	return memcmp(&((const struct plan_range *)a)->first,
		&((const struct plan_range *)b)->first, sizeof(struct addr));
}

/* Does `next` begin inside `range` or right behind it, with the same meaning? */
static bool touches(const struct plan_range *range, const struct plan_range *next)
{
	struct addr behind = range->last;

	if (range->jump != next->jump)
		return false;
	return !build_next(&behind) || memcmp(&next->first, &behind, sizeof(behind)) <= 0;
}

void build_set_finish(struct plan_set *set)
{
	size_t n = 0;

	if (!set || set->n_ranges == 0)
		return;
	qsort(set->ranges, set->n_ranges, sizeof(*set->ranges), by_first);
	for (size_t i = 1; i < set->n_ranges; i++) {
		struct plan_range *last = &set->ranges[n], *next = &set->ranges[i];

		if (!touches(last, next))
			set->ranges[++n] = *next;
		else if (memcmp(&next->last, &last->last, sizeof(next->last)) > 0)
			last->last = next->last;
	}
	set->n_ranges = n + 1;
}

struct plan_chain *build_chain(struct build *b, const char *name, enum plan_hook hook)
{
	struct plan *p = b->plan;
	struct plan_chain *chain;

	if (b->failed)
		return NULL;
	p->chains = grow(b, p->chains, p->n_chains, &p->chains_room, sizeof(struct plan_chain *));
	chain = b->failed ? NULL : calloc(1, sizeof(*chain));
	if (!chain) {
		b->failed = true;
		return NULL;
	}
	snprintf(chain->name, sizeof(chain->name), "%s", name);
	chain->hook = hook;
	p->chains[p->n_chains++] = chain;
	return chain;
}

void build_rule(struct build *b, struct plan_chain *chain, const struct plan_rule *rule)
{
	char text[PLAN_TEXT];
	char *copy;

	if (b->failed)
		return;
	chain->rules = grow(b, chain->rules, chain->n_rules, &chain->room, sizeof(*chain->rules));
	copy = strdup(rule->text ? rule->text : plan_rule_print(rule, text));
	if (!copy || b->failed || b->n_rules++ == BUILD_MAX_RULES) {
		free(copy);
		b->failed = true;
		return;
	}
	chain->rules[chain->n_rules] = *rule;
	chain->rules[chain->n_rules++].text = copy;
}

/* FNV-1a, 64 bits.  http://www.isthe.com/chongo/tech/comp/fnv/ */
#define HASH_START 0xcbf29ce484222325u

static uint64_t hash(uint64_t h, const void *data, size_t size)
{
	for (const uint8_t *byte = data; size > 0; size--)
		h = (h ^ *byte++) * 0x100000001b3u;
	return h;
}

static const struct named *find(struct build *b, const char *name)
{
	struct named key = {.name = name};
	struct named **found = tfind(&key, &b->names, by_name);

	return found ? *found : NULL;
}

static void remember(struct build *b, const char *name, const struct plan_set *set,
	const struct plan_chain *chain)
{
	struct named *named = malloc(sizeof(*named));

	if (named)
		*named = (struct named){name, set, chain};
	if (!named || !tsearch(named, &b->names, by_name)) {
		free(named);
		b->failed = true;
	}
}

static bool same_ranges(const struct plan_set *a, const struct plan_set *b)
{
	if (!a || a->key != b->key || a->n_ranges != b->n_ranges)
		return false;
	for (size_t i = 0; i < a->n_ranges; i++)
		if (!addr_equal(&a->ranges[i].first, &b->ranges[i].first) ||
			!addr_equal(&a->ranges[i].last, &b->ranges[i].last))
			return false;
	return true;
}

const char *build_share_set(struct build *b, struct plan_set *scratch, const char *prefix)
{
	const struct named *known;
	uint64_t h = HASH_START;

	if (!scratch || b->failed)
		goto drop;
	build_set_finish(scratch);
	for (size_t i = 0; i < scratch->n_ranges; i++)
		h = hash(h, &scratch->ranges[i], 2 * sizeof(struct addr));
	do
		snprintf(scratch->name, sizeof(scratch->name), "%s_%012" PRIx64, prefix,
			h++ & 0xffffffffffff);
	while ((known = find(b, scratch->name)) && !same_ranges(known->set, scratch));
	if (known) {
		build_set_drop(scratch);
		return known->name;
	}
	adopt_set(b, scratch);
	if (b->failed)
		goto drop;
	remember(b, scratch->name, scratch, NULL);
	return scratch->name;
drop:
	build_set_drop(scratch);
	return NULL;
}

static bool same_rules(
	const struct plan_chain *chain, const struct plan_rule *const *rules, size_t n)
{
	if (!chain || chain->n_rules != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(chain->rules[i].text, rules[i]->text) != 0)
			return false;
	return true;
}

const char *build_share_chain(
	struct build *b, const char *prefix, const struct plan_rule *const *rules, size_t n)
{
	const struct named *known;
	struct plan_chain *chain;
	uint64_t h = HASH_START;
	char name[PLAN_NAME];

	if (b->failed)
		return NULL;
	for (size_t i = 0; i < n; i++)
		h = hash(h, rules[i]->text, strlen(rules[i]->text) + 1);
	do
		snprintf(name, sizeof(name), "%s_%012" PRIx64, prefix, h++ & 0xffffffffffff);
	while ((known = find(b, name)) && !same_rules(known->chain, rules, n));
	if (known)
		return known->name;
	chain = build_chain(b, name, PLAN_NO_HOOK);
	for (size_t i = 0; i < n; i++)
		build_rule(b, chain, rules[i]);
	if (b->failed)
		return NULL;
	remember(b, chain->name, NULL, chain);
	return chain->name;
}
