/*
 * ranges.c - destinations that the sections of a policy treat alike.
 *
 * Any two networks are nested or disjoint.  So sorted networks (outer before inner) are walked with
 * a stack: on it stand the networks that hold the address the walk is at.  Whenever one begins or
 * ends, the range behind is complete, and the sections on the stack, in file order, are its list:
 *
 *     0.0.0.0/0 (bank)   |------------------------------|
 *     198.51.100.0/24 (stripe)      |-------|
 *     ranges             | bank     | both  | bank      |
 *
 * The list of a range ends at the first section that fits every packet.
 */
#include "nat/ranges.h"

#include <stdlib.h>
#include <string.h>

#include "nat/outcome.h"

/* One network of one section. */
struct piece {
	struct plan_range range;
	size_t section;
};

struct ranges {
	struct outcomes o;
	struct plan_set *map;

	struct outcome *outcomes; /* by index of the section */
	size_t learnt;            /* the next of facts->learnt */
	struct piece *pieces;
	size_t n_pieces, room;
	const struct piece **stack; /* outermost first */
	size_t depth;
	size_t *active;          /* the sections on the stack, in file order */
	struct plan_rule *chain; /* the rules of a range */
	size_t chain_room;
	struct addr at; /* the walk has come to here */
	bool end;       /* behind the last address of all */
};

static bool is_version(const struct ranges *c, const struct cidr *cidr)
{
	return cidr_is_v4(cidr) == (c->o.version == 4);
}

static bool add_piece(struct ranges *c, const struct plan_range *range, size_t section)
{
	if (c->n_pieces == c->room) {
		size_t room = c->room ? 2 * c->room : 64;
		struct piece *grown = reallocarray(c->pieces, room, sizeof(*grown));

		if (!grown)
			return false;
		c->pieces = grown;
		c->room = room;
	}
	c->pieces[c->n_pieces++] = (struct piece){*range, section};
	return true;
}

static bool add_learnt(struct ranges *c, const struct section *s)
{
	const struct plan_facts *f = c->o.facts;

	while (c->learnt < f->n_learnt && f->learnt[c->learnt].section < s->index)
		c->learnt++;
	for (; c->learnt < f->n_learnt && f->learnt[c->learnt].section == s->index; c->learnt++) {
		const struct addr *addr = &f->learnt[c->learnt].addr;
		struct plan_range range = {.first = *addr, .last = *addr};

		if (addr_is_v4(addr) == (c->o.version == 4) && !add_piece(c, &range, s->index))
			return false;
	}
	return true;
}

/* Collects the networks of a section, and what it does, when it does anything. */
static bool add_section(struct ranges *c, const struct section *s)
{
	size_t before = c->n_pieces;

	if (s->kind == SECTION_BLOCK && s->report)
		return true;
	for (size_t i = 0; i < s->cidrs.n; i++) {
		struct plan_range range = build_range_of(&s->cidrs.at[i]);

		if (is_version(c, &s->cidrs.at[i]) && !add_piece(c, &range, s->index))
			return false;
	}
	if (s->resolve && !add_learnt(c, s))
		return false;
	if (c->n_pieces == before)
		return true;
	outcome_init(&c->outcomes[s->index], &c->o, s);
	if (c->outcomes[s->index].never && !s->report)
		c->n_pieces = before;
	return !c->o.build->failed;
}

/* Outer before inner, then file order. */
static int by_place(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;
	int order = memcmp(&x->range.first, &y->range.first, sizeof(struct addr));

	if (order == 0)
		order = memcmp(&y->range.last, &x->range.last, sizeof(struct addr));
	return order ? order : (x->section > y->section) - (x->section < y->section);
}

/* The chain's rules are borrowed from their sections. */
static size_t chain_put(struct ranges *c, size_t n, const struct plan_rule *rules, size_t more)
{
	if (n + more > c->chain_room) {
		size_t room = 2 * (n + more);
		struct plan_rule *grown = reallocarray(c->chain, room, sizeof(*grown));

		if (!grown) {
			c->o.build->failed = true;
			return n;
		}
		c->chain = grown;
		c->chain_room = room;
	}
	memcpy(c->chain + n, rules, more * sizeof(*rules));
	return n + more;
}

/* What the sections on the stack do.  NULL: nothing. */
static const struct plan_chain *chain_of_stack(struct ranges *c)
{
	const struct outcome *reporter = NULL, *s = NULL;
	size_t n = 0;

	for (size_t i = 0; i < c->depth && !(s && s->always); i++) {
		s = &c->outcomes[c->active[i]];
		build_place_section(c->o.build, (unsigned)c->active[i]);
		if (s->report && !reporter)
			reporter = s;
		if (s->n_rules > 0)
			n = chain_put(c, n, s->rules, s->n_rules);
	}
	if (reporter && !s->always)
		n = chain_put(c, n, &reporter->any, 1);
	return n > 0 ? build_share_chain(c->o.build, "to", c->chain, n) : NULL;
}

/* Most ranges are one section's, which often has many. */
static const struct plan_chain *chain_of_range(struct ranges *c)
{
	struct outcome *s = &c->outcomes[c->active[0]];

	if (c->depth > 1)
		return chain_of_stack(c);
	if (s->alone)
		build_place_section(c->o.build, (unsigned)c->active[0]);
	else
		s->alone = chain_of_stack(c);
	return s->alone;
}

/* The range from where the walk is to `last` has the sections on the stack. */
static void emit(struct ranges *c, const struct addr *last)
{
	const struct plan_chain *chain = chain_of_range(c);

	build_place(c->o.build, &c->at, last);
	if (chain)
		build_range(c->o.build, c->map, &c->at, last, chain->name);
}

static void walk_to(struct ranges *c, const struct addr *last)
{
	if (c->end || memcmp(&c->at, last, sizeof(*last)) > 0)
		return;
	if (c->depth > 0)
		emit(c, last);
	c->at = *last;
	c->end = !build_next(&c->at);
}

static void push(struct ranges *c, const struct piece *piece)
{
	size_t i = c->depth;

	for (; i > 0 && c->active[i - 1] > piece->section; i--)
		c->active[i] = c->active[i - 1];
	c->active[i] = piece->section;
	c->stack[c->depth++] = piece;
}

static void pop(struct ranges *c)
{
	const struct piece *piece = c->stack[c->depth - 1];
	size_t i = 0;

	walk_to(c, &piece->range.last);
	while (c->active[i] != piece->section)
		i++;
	memmove(&c->active[i], &c->active[i + 1], (c->depth - i - 1) * sizeof(c->active[0]));
	c->depth--;
}

static bool begins_behind(const struct piece *piece, const struct piece *top)
{
	return memcmp(&piece->range.first, &top->range.last, sizeof(struct addr)) > 0;
}

static void walk(struct ranges *c)
{
	for (size_t i = 0; i < c->n_pieces && !c->o.build->failed; i++) {
		const struct piece *piece = &c->pieces[i];

		while (c->depth > 0 && begins_behind(piece, c->stack[c->depth - 1]))
			pop(c);
		if (c->depth > 0 && memcmp(&c->at, &piece->range.first, sizeof(c->at)) < 0) {
			struct addr before = piece->range.first;

			build_previous(&before);
			walk_to(c, &before);
		}
		c->at = piece->range.first;
		push(c, piece);
	}
	while (c->depth > 0 && !c->o.build->failed)
		pop(c);
}

void ranges_compile(const struct outcomes *all, const struct policy *policy, struct plan_set *map)
{
	size_t n = policy_n_sections(policy);
	struct build *b = all->build;
	struct ranges c = {.o = *all, .map = map, .outcomes = calloc(n + 1, sizeof(*c.outcomes))};
	bool ok = c.outcomes && !b->failed;

	for (size_t i = 0; ok && i < n; i++)
		ok = add_section(&c, policy_section(policy, i));
	if (!ok || c.n_pieces == 0)
		goto out;
	build_sort(c.pieces, c.n_pieces, sizeof(*c.pieces), by_place);
	c.stack = calloc(c.n_pieces, sizeof(struct piece *));
	c.active = calloc(c.n_pieces, sizeof(*c.active));
	ok = c.stack && c.active;
	if (ok)
		walk(&c);
	build_set_finish(map);
out:
	if (!ok)
		b->failed = true;
	free(c.stack);
	free(c.active);
	free(c.chain);
	free(c.pieces);
	for (size_t i = 0; c.outcomes && i < n; i++)
		outcome_fini(&c.outcomes[i]);
	free(c.outcomes);
}
