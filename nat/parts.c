/*
 * parts.c - a large map by destination, in parts.
 *
 * What a change of one element costs the kernel grows with the set: it makes the array that it
 * searches anew, and when an element is a verdict, it follows every element of every map that
 * leads to one, from every rule, to look for loops.  So a large map has two levels:
 *
 *     classify4        meta priority set none
 *                      ip daddr vmap @sections4                         network → part4_...
 *                      meta priority vmap @outcomes                     number → to_...
 *     part4_4050       meta priority set ip daddr map @sections4_4050   range → number
 *
 * A network of the first level is cut into sixteen while it has more ranges than a part may have;
 * its name is its first digits.  Where it is cut depends on its own ranges alone, so a change of
 * one partner is one of its parts.  Numbers are no verdicts, and nobody follows them; there is one
 * for each chain, not for each range.
 *
 * A number has to stand somewhere between the two look-ups, and nft has no word for a register. The
 * packet's priority is free: it is zero when the packet comes from a pod, and mostly IPv4 sets it
 * anew when it forwards.  IPv6 does not.  So `translate` clears it, when it is one of the numbers
 * still, and no priority that somebody else gave.
 */
#include "nat/parts.h"

#include <stdlib.h>
#include <string.h>

/* Addresses with the same first digits. */
struct block {
	struct addr first, last;
	unsigned digits;
};

struct parts {
	struct build *build;
	uint8_t version;
	struct plan_set *map;            /* the first level */
	const struct plan_range *ranges; /* of the map before */
};

static unsigned shift_of(unsigned digit)
{
	return digit % 2 ? 0 : 4;
}

static struct block child_of(const struct block *block, unsigned value)
{
	struct block child = *block;
	unsigned shift = shift_of(block->digits);
	size_t byte = block->digits / 2;

	child.first.bytes[byte] |= (uint8_t)(value << shift);
	child.last.bytes[byte] &= (uint8_t) ~((15 - value) << shift);
	child.digits++;
	return child;
}

/* "sections4_4050": the digits behind those that all addresses of the version have. */
static void name_block(
	const struct parts *p, const struct block *block, const char *prefix, char out[PLAN_NAME])
{
	int n = snprintf(out, PLAN_NAME, "%s%u_", prefix, p->version);

	for (unsigned i = p->version == 4 ? 24 : 0; i < block->digits; i++)
		n += snprintf(out + n, PLAN_NAME - (size_t)n, "%x",
			block->first.bytes[i / 2] >> shift_of(i) & 15);
}

static const struct addr *later(const struct addr *a, const struct addr *b)
{
	return memcmp(a, b, sizeof(*a)) > 0 ? a : b;
}

static const struct addr *earlier(const struct addr *a, const struct addr *b)
{
	return memcmp(a, b, sizeof(*a)) < 0 ? a : b;
}

static void put_part(struct parts *p, const struct block *block, size_t from, size_t to)
{
	struct build *b = p->build;
	struct plan_chain *chain;
	struct plan_set *part;
	char name[PLAN_NAME];

	name_block(p, block, "sections", name);
	part = build_set(b, name, p->map->key, PLAN_INTERVAL);
	name_block(p, block, "part", name);
	chain = build_chain(b, name, PLAN_NO_HOOK, 0);
	if (b->failed)
		return;
	part->map = part->numbers = part->held = true;
	for (size_t i = from; i < to; i++)
		build_numbered(b, part, later(&p->ranges[i].first, &block->first),
			earlier(&p->ranges[i].last, &block->last), build_number(p->ranges[i].jump));
	build_set_finish(part);
	build_rule(b, chain, p->version, STEPS({.op = PLAN_NUMBER, .set = part}));
	build_range(b, p->map, &block->first, &block->last, chain->name);
}

static bool covers(const struct plan_range *range, const struct block *block)
{
	return memcmp(&range->first, &block->first, sizeof(range->first)) <= 0 &&
	       memcmp(&range->last, &block->last, sizeof(range->last)) >= 0;
}

/* The ranges from `from` to before `to` are those that touch the block. */
static void put_block(struct parts *p, const struct block *block, size_t from, size_t to)
{
	if (to - from == 1 && covers(&p->ranges[from], block)) {
		build_range(p->build, p->map, &block->first, &block->last, p->ranges[from].jump);
		return;
	}
	if (to - from <= PARTS_RANGES) {
		put_part(p, block, from, to);
		return;
	}
	for (unsigned value = 0; value < 16 && !p->build->failed; value++) {
		const struct block child = child_of(block, value);
		size_t end = from;

		while (end < to &&
			memcmp(&p->ranges[end].first, &child.last, sizeof(child.last)) <= 0)
			end++;
		if (end > from)
			put_block(p, &child, from, end);
		/* The last may go on behind the child. */
		while (from < end &&
			memcmp(&p->ranges[from].last, &child.last, sizeof(child.last)) <= 0)
			from++;
	}
}

static struct block whole_space(uint8_t version)
{
	struct block block = {.digits = version == 4 ? 24 : 0};

	memset(&block.last, 0xff, sizeof(block.last));
	if (version == 4)
		block.first.bytes[10] = block.first.bytes[11] = 0xff;
	if (version == 4)
		memset(&block.last, 0, 10);
	return block;
}

static void divide(struct build *b, struct plan_set *map, uint8_t version)
{
	struct plan_range *ranges = map->ranges;
	struct parts p = {b, version, map, ranges};
	const struct block all = whole_space(version);
	size_t n = map->n_ranges;

	map->ranges = NULL;
	map->n_ranges = map->room = 0;
	put_block(&p, &all, 0, n);
	build_set_finish(map);
	free(ranges);
}

/* The chains that a map to verdicts leads to, by number. */
static const struct plan_set *put_outcomes(struct build *b, struct plan_set *numbers)
{
	struct plan_set *outcomes = build_set(b, "outcomes", PLAN_KEY_NUMBER, PLAN_HASH);

	if (outcomes)
		outcomes->map = true;
	for (size_t i = 0; i < b->plan->n_chains && !b->failed; i++) {
		const char *name = b->plan->chains[i]->name;

		if (strncmp(name, "to_", 3) != 0)
			continue;
		build_mark(b, outcomes, build_number(name), NULL, name);
		build_mark(b, numbers, build_number(name), NULL, NULL);
	}
	build_set_finish(outcomes);
	build_set_finish(numbers);
	return outcomes;
}

static void look_up_twice(
	struct build *b, const struct parts_place *place, const struct plan_set *outcomes)
{
	size_t at = 0;

	while (place->chain->rules[at].steps[0].op != PLAN_TO_MAP)
		at++;
	build_rule_before(b, place->chain, at, 0, STEPS({.op = PLAN_CLEAR_NUMBER}));
	build_rule_before(
		b, place->chain, at + 2, 0, STEPS({.op = PLAN_NUMBER_MAP, .set = outcomes}));
}

static bool is_large(const struct plan_set *map)
{
	return map && map->n_ranges > PARTS_RANGES;
}

void parts_put(struct build *b, const struct parts_place places[2], struct plan_chain *translate)
{
	const bool large[2] = {
		!b->failed && is_large(places[0].map), !b->failed && is_large(places[1].map)};
	struct plan_set *numbers;
	const struct plan_set *outcomes;

	if (!large[0] && !large[1])
		return;
	numbers = build_set(b, "numbers", PLAN_KEY_NUMBER, PLAN_HASH);
	outcomes = put_outcomes(b, numbers);
	for (size_t i = 0; i < 2 && !b->failed; i++)
		if (large[i]) {
			divide(b, places[i].map, i == 0 ? 4 : 6);
			look_up_twice(b, &places[i], outcomes);
		}
	if (!b->failed)
		build_rule_before(b, translate, 0, 0,
			STEPS({.op = PLAN_NUMBERED, .set = numbers}, {.op = PLAN_CLEAR_NUMBER}));
}
