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

/* A name in the tree: of one set, chain or counter. */
struct named {
	const char *name;
	const struct plan_set *set;
	const struct plan_chain *chain;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
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

void build_begin(struct build *b, const char *table)
{
	*b = (struct build){.plan = calloc(1, sizeof(*b->plan))};
	if (b->plan)
		b->plan->table = strdup(table);
	b->failed = !b->plan || !b->plan->table;
}

/* Sets, chains and counters begin with their names. */
static int by_first_member(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void *sorted_by_name(struct build *b, void *pointers, size_t n)
{
	void **copy = calloc(n + 1, sizeof(*copy));

	if (!copy) {
		b->failed = true;
		return NULL;
	}
	if (n > 0)
		memcpy(copy, pointers, n * sizeof(*copy));
	qsort(copy, n, sizeof(*copy), by_first_member);
	return copy;
}

static int by_first(const void *a, const void *b)
{
	return memcmp(&((const struct plan_place *)a)->first,
		&((const struct plan_place *)b)->first, sizeof(struct addr));
}

static int by_mark(const void *a, const void *b)
{
	const struct plan_class *x = a, *y = b;

	return (x->mark > y->mark) - (x->mark < y->mark);
}

struct plan *build_finish(struct build *b)
{
	struct plan *plan = b->plan;

	tdestroy(b->names, free);
	if (plan && !b->failed) {
		plan->sets_by_name = sorted_by_name(b, plan->sets, plan->n_sets);
		plan->chains_by_name = sorted_by_name(b, plan->chains, plan->n_chains);
		if (plan->n_classes > 0)
			qsort(plan->classes, plan->n_classes, sizeof(*plan->classes), by_mark);
		if (plan->n_spares > 0)
			qsort(plan->spares, plan->n_spares, sizeof(*plan->spares),
				plan_spare_order);
		build_sort(plan->places, plan->n_places, sizeof(*plan->places), by_first);
		if (plan->n_counters > 0)
			qsort(plan->counters, plan->n_counters, sizeof(*plan->counters),
				by_first_member);
	}
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

struct plan_set *build_set(
	struct build *b, const char *name, enum plan_key key, enum plan_kind kind)
{
	struct plan_set *set = b->failed ? NULL : calloc(1, sizeof(*set));

	if (!set) {
		b->failed = true;
		return NULL;
	}
	set->key = key;
	set->kind = kind;
	if (!name)
		return set;
	snprintf(set->name, sizeof(set->name), "%s", name);
	adopt_set(b, set);
	if (!b->failed)
		return set;
	build_set_drop(set);
	return NULL;
}

static void put_range(struct build *b, struct plan_set *set, const struct plan_range *range)
{
	if (b->failed)
		return;
	set->ranges = grow(b, set->ranges, set->n_ranges, &set->room, sizeof(*set->ranges));
	if (!b->failed)
		set->ranges[set->n_ranges++] = *range;
}

void build_range(struct build *b, struct plan_set *set, const struct addr *first,
	const struct addr *last, const char *jump)
{
	put_range(b, set, &(struct plan_range){.first = *first, .last = *last, .jump = jump});
}

void build_numbered(struct build *b, struct plan_set *map, const struct addr *first,
	const struct addr *last, uint32_t number)
{
	put_range(b, map, &(struct plan_range){.first = *first, .last = *last, .number = number});
}

void build_mark(struct build *b, struct plan_set *set, uint32_t mark, const struct addr *addr,
	const char *jump)
{
	static const struct addr none;

	put_range(b, set,
		&(struct plan_range){.mark = mark,
			.first = addr ? *addr : none,
			.last = addr ? *addr : none,
			.jump = jump});
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
			put_range(b, set, &range);
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

void build_sort(void *array, size_t n, size_t size, int (*order)(const void *, const void *))
{
	const char *at = array;

	for (size_t i = 1; i < n; i++, at += size)
		if (order(at, at + size) > 0) {
			qsort(array, n, size, order);
			return;
		}
}

static int by_key(const void *a, const void *b)
{
	const struct plan_range *x = a, *y = b;

	if (x->mark != y->mark)
		return x->mark < y->mark ? -1 : 1;
	return memcmp(&x->first, &y->first, sizeof(struct addr));
}

/* Does `next` begin inside `range` or right behind it, with the same meaning? */
static bool touches(
	const struct plan_set *set, const struct plan_range *range, const struct plan_range *next)
{
	struct addr behind = range->last;

	if (range->mark != next->mark || range->jump != next->jump || range->number != next->number)
		return false;
	if (set->kind != PLAN_INTERVAL)
		return addr_equal(&range->first, &next->first);
	return !build_next(&behind) || memcmp(&next->first, &behind, sizeof(behind)) <= 0;
}

void build_set_finish(struct plan_set *set)
{
	size_t n = 0;

	if (!set || set->n_ranges == 0)
		return;
	build_sort(set->ranges, set->n_ranges, sizeof(*set->ranges), by_key);
	for (size_t i = 1; i < set->n_ranges; i++) {
		struct plan_range *last = &set->ranges[n], *next = &set->ranges[i];

		if (!touches(set, last, next))
			set->ranges[++n] = *next;
		else if (memcmp(&next->last, &last->last, sizeof(next->last)) > 0)
			last->last = next->last;
	}
	set->n_ranges = n + 1;
}

struct plan_chain *build_chain(struct build *b, const char *name, enum plan_hook hook, int priority)
{
	struct plan *p = b->plan;
	struct plan_chain *chain = b->failed ? NULL : calloc(1, sizeof(*chain));

	if (!chain) {
		b->failed = true;
		return NULL;
	}
	snprintf(chain->name, sizeof(chain->name), "%s", name);
	chain->hook = hook;
	chain->priority = priority;
	p->chains = grow(b, p->chains, p->n_chains, &p->chains_room, sizeof(struct plan_chain *));
	if (b->failed) {
		free(chain);
		return NULL;
	}
	p->chains[p->n_chains++] = chain;
	return chain;
}

struct plan_rule build_rule_of(struct build *b, uint8_t version, const struct plan_step *steps)
{
	struct plan_rule rule = {.version = version};
	char text[PLAN_TEXT];
	size_t n = 0;

	if (b->failed)
		return rule;
	while (steps[n++].op != PLAN_END)
		;
	CHECK(n <= PLAN_MAX_STEPS);
	rule.steps = calloc(n, sizeof(*steps));
	if (rule.steps) {
		memcpy(rule.steps, steps, n * sizeof(*steps));
		rule.text = strdup(plan_rule_print(&rule, text));
	}
	b->failed = !rule.text;
	return rule;
}

void build_rule_fini(struct plan_rule *rule)
{
	free(rule->steps);
	free(rule->text);
	*rule = (struct plan_rule){0};
}

void build_rule(
	struct build *b, struct plan_chain *chain, uint8_t version, const struct plan_step *steps)
{
	struct plan_rule rule = build_rule_of(b, version, steps);

	if (b->failed || b->n_rules++ == BUILD_MAX_RULES) {
		build_rule_fini(&rule);
		b->failed = true;
		return;
	}
	chain->rules = grow(b, chain->rules, chain->n_rules, &chain->room, sizeof(rule));
	if (b->failed)
		build_rule_fini(&rule);
	else
		chain->rules[chain->n_rules++] = rule;
}

void build_rule_before(struct build *b, struct plan_chain *chain, size_t n, uint8_t version,
	const struct plan_step *steps)
{
	struct plan_rule rule;

	build_rule(b, chain, version, steps);
	if (b->failed)
		return;
	rule = chain->rules[chain->n_rules - 1];
	memmove(chain->rules + n + 1, chain->rules + n, (chain->n_rules - 1 - n) * sizeof(rule));
	chain->rules[n] = rule;
}

const char *build_text(struct build *b, const char *text)
{
	struct plan *p = b->plan;
	char *copy = b->failed ? NULL : strdup(text);

	if (copy)
		p->texts = grow(b, p->texts, p->n_texts, &p->texts_room, sizeof(copy));
	if (!copy || b->failed) {
		free(copy);
		b->failed = true;
		return "";
	}
	return p->texts[p->n_texts++] = copy;
}

const char *build_counter(struct build *b, const char *name, const char *reason, int section)
{
	struct plan *p = b->plan;
	const struct named *known = b->failed ? NULL : find(b, name);
	struct plan_counter *counter;

	if (known || b->failed)
		return known ? known->name : NULL;
	counter = calloc(1, sizeof(*counter));
	p->counters = grow(b, p->counters, p->n_counters, &p->counters_room, sizeof(counter));
	if (!counter || b->failed) {
		free(counter);
		b->failed = true;
		return NULL;
	}
	p->counters[p->n_counters++] = counter;
	snprintf(counter->name, sizeof(counter->name), "%s", name);
	counter->reason = reason;
	counter->section = section;
	remember(b, counter->name, NULL, NULL);
	return counter->name;
}

void build_class(struct build *b, uint32_t mark, const struct section *section)
{
	struct plan *p = b->plan;

	if (b->failed)
		return;
	p->classes = grow(b, p->classes, p->n_classes, &p->classes_room, sizeof(*p->classes));
	if (!b->failed)
		p->classes[p->n_classes++] =
			(struct plan_class){mark, section ? (int)section->index : -1, false};
}

void build_local_class(struct build *b, uint32_t mark)
{
	build_class(b, mark, NULL);
	if (!b->failed)
		b->plan->classes[b->plan->n_classes - 1].local = true;
}

void build_spare(struct build *b, uint32_t mark, const struct addr *addr)
{
	struct plan *p = b->plan;

	if (b->failed)
		return;
	p->spares = grow(b, p->spares, p->n_spares, &p->spares_room, sizeof(*p->spares));
	if (!b->failed)
		p->spares[p->n_spares++] = (struct plan_spare){mark, *addr};
}

void build_place_section(struct build *b, unsigned section)
{
	struct plan *p = b->plan;

	if (b->failed)
		return;
	p->place_sections = grow(b, p->place_sections, p->n_place_sections, &p->place_sections_room,
		sizeof(*p->place_sections));
	if (!b->failed)
		p->place_sections[p->n_place_sections++] = section;
}

void build_place(struct build *b, const struct addr *first, const struct addr *last)
{
	struct plan *p = b->plan;
	size_t begin;

	if (b->failed)
		return;
	begin = p->n_places ? p->places[p->n_places - 1].begin + p->places[p->n_places - 1].n : 0;
	p->places = grow(b, p->places, p->n_places, &p->places_room, sizeof(*p->places));
	if (!b->failed)
		p->places[p->n_places++] =
			(struct plan_place){*first, *last, begin, p->n_place_sections - begin};
}

/* FNV-1a, 64 bits.  http://www.isthe.com/chongo/tech/comp/fnv/ */
uint64_t build_hash(uint64_t h, const void *data, size_t size)
{
	for (const uint8_t *byte = data; size > 0; size--)
		h = (h ^ *byte++) * 0x100000001b3u;
	return h;
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

const struct plan_set *build_share_set(
	struct build *b, struct plan_set *scratch, const char *prefix)
{
	const struct named *known;
	uint64_t h = BUILD_HASH_START;

	if (!scratch || b->failed)
		goto drop;
	build_set_finish(scratch);
	for (size_t i = 0; i < scratch->n_ranges; i++)
		h = build_hash(h, &scratch->ranges[i].first, 2 * sizeof(struct addr));
	do
		snprintf(scratch->name, sizeof(scratch->name), "%s_%012" PRIx64, prefix,
			h++ & 0xffffffffffff);
	while ((known = find(b, scratch->name)) && !same_ranges(known->set, scratch));
	if (known) {
		build_set_drop(scratch);
		return known->set;
	}
	adopt_set(b, scratch);
	if (b->failed)
		goto drop;
	remember(b, scratch->name, scratch, NULL);
	return scratch;
drop:
	build_set_drop(scratch);
	return NULL;
}

static bool same_rules(const struct plan_chain *chain, const struct plan_rule *rules, size_t n)
{
	if (!chain || chain->n_rules != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(chain->rules[i].text, rules[i].text) != 0)
			return false;
	return true;
}

const struct plan_chain *build_share_chain(
	struct build *b, const char *prefix, const struct plan_rule *rules, size_t n)
{
	const struct named *known;
	struct plan_chain *chain;
	uint64_t h = BUILD_HASH_START;
	char name[PLAN_NAME];

	if (b->failed)
		return NULL;
	for (size_t i = 0; i < n; i++)
		h = build_hash(h, rules[i].text, strlen(rules[i].text) + 1);
	do /* 0 and the last have names of their own with nft */
		snprintf(name, sizeof(name), "%s_%08" PRIx64, prefix, h++ % (UINT32_MAX - 1) + 1);
	while ((known = find(b, name)) && !same_rules(known->chain, rules, n));
	if (known)
		return known->chain;
	chain = build_chain(b, name, PLAN_NO_HOOK, 0);
	for (size_t i = 0; i < n; i++)
		build_rule(b, chain, rules[i].version, rules[i].steps);
	if (b->failed)
		return NULL;
	remember(b, chain->name, NULL, chain);
	return chain;
}

uint32_t build_number(const char *chain)
{
	return (uint32_t)strtoul(strrchr(chain, '_') + 1, NULL, 16);
}
