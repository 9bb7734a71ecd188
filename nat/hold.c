/*
 * hold.c - destinations that are held while their sections change.
 *
 * The kernel takes up, and lets go, each of them as an element: of a policy that is new all over
 * they would cost twice what the policy does.  So no more than HOLD_MOST: what lies in the smallest
 * gaps is held as well.
 */
#include "nat/hold.h"

#include <stdlib.h>
#include <string.h>

#include "nat/build.h"
#include "nat/elements.h"

/* What is between a range and the next one. */
struct gap {
	struct addr size;
	size_t before; /* index of the next one */
};

static int widest_first(const void *a, const void *b)
{
	const struct gap *x = a, *y = b;
	int order = memcmp(&y->size, &x->size, sizeof(x->size));

	return order ? order : (x->before > y->before) - (x->before < y->before);
}

static struct addr difference(const struct addr *a, const struct addr *b)
{
	struct addr out;
	int borrow = 0;

	for (size_t i = sizeof(out.bytes); i-- > 0;) {
		int digit = a->bytes[i] - b->bytes[i] - borrow;

		borrow = digit < 0;
		out.bytes[i] = (uint8_t)digit;
	}
	return out;
}

/* A range begins where one of the widest gaps ends. */
static void join(struct plan_set *set, const bool *begins)
{
	size_t n = 0;

	for (size_t i = 1; i < set->n_ranges; i++)
		if (begins[i])
			set->ranges[++n] = set->ranges[i];
		else
			set->ranges[n].last = set->ranges[i].last;
	set->n_ranges = n + 1;
}

static bool join_neighbours(struct plan_set *set)
{
	struct gap *gaps = calloc(set->n_ranges, sizeof(*gaps));
	bool *begins = calloc(set->n_ranges, sizeof(*begins));
	bool ok = gaps && begins;

	for (size_t i = 1; ok && i < set->n_ranges; i++)
		gaps[i - 1] = (struct gap){
			difference(&set->ranges[i].first, &set->ranges[i - 1].last), i};
	if (ok) {
		qsort(gaps, set->n_ranges - 1, sizeof(*gaps), widest_first);
		for (size_t i = 0; i + 1 < HOLD_MOST; i++)
			begins[gaps[i].before] = true;
		join(set, begins);
	}
	free(gaps);
	free(begins);
	return ok;
}

bool hold_collect(struct plan_set *out, const struct plan *plan, const struct state *state)
{
	for (size_t i = 0; i < plan->n_sets; i++) {
		const struct plan_set *set = plan->sets[i];
		const struct state_set *now =
			set->held && set->key == out->key ? state_set(state, set->name) : NULL;

		if (now && !elements_changed(out, set, now))
			return false;
	}
	build_set_finish(out);
	return out->n_ranges <= HOLD_MOST || join_neighbours(out);
}
