/*
 * classes.c - numbers for egress addresses.
 *
 * A class is a list of egress addresses and how they are spread.  Its number is the list's hash, so
 * that it stays while others come and go; only where two hashes point to one number one moves.
 */
#include "nat/classes.h"

#include <stdlib.h>
#include <string.h>

uint32_t class_mark(const struct plan *plan, uint32_t class)
{
	return class * (plan->class_mask & -plan->class_mask);
}

uint32_t class_unjudged(uint32_t ct_mark_mask)
{
	return ct_mark_mask & -ct_mark_mask;
}

struct plan_step class_step(const struct plan *plan, uint32_t mark)
{
	bool leaves = mark && mark != class_mark(plan, CLASS_LOCAL);

	return (struct plan_step){.op = PLAN_SET_CLASS,
		.number = mark | (leaves ? plan->unjudged : 0),
		.other = plan->class_mask | plan->unjudged};
}

/* A section with a class of its own, by its list. */
struct listed {
	uint64_t hash;
	const struct section *section;
};

static uint64_t hash_list(const struct section *s)
{
	uint64_t h = build_hash(BUILD_HASH_START, &s->spread, sizeof(s->spread));

	return build_hash(h, s->egress, s->n_egress * sizeof(*s->egress));
}

static bool same_list(const struct section *a, const struct section *b)
{
	return a->spread == b->spread && a->n_egress == b->n_egress &&
	       memcmp(a->egress, b->egress, a->n_egress * sizeof(*a->egress)) == 0;
}

/* Equal lists stand together. */
static int by_list(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;
	size_t n = x->section->n_egress < y->section->n_egress ? x->section->n_egress
							       : y->section->n_egress;
	int order;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	order = memcmp(x->section->egress, y->section->egress, n * sizeof(struct addr));
	if (order)
		return order;
	return (x->section->index > y->section->index) - (x->section->index < y->section->index);
}

/* A list takes the first number that is free from where its hash points to. */
static void take_numbers(struct build *b, const struct listed *listed, size_t n, uint32_t *marks)
{
	uint32_t room =
		b->plan->class_mask / (b->plan->class_mask & -b->plan->class_mask) - CLASS_FIRST;
	bool *taken = calloc(room, sizeof(*taken));

	if (!taken || n >= room) {
		b->failed = true;
		free(taken);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct section *s = listed[i].section;
		uint32_t number = (uint32_t)(listed[i].hash % room);

		if (i > 0 && same_list(s, listed[i - 1].section)) {
			marks[s->index] = marks[listed[i - 1].section->index];
			continue;
		}
		while (taken[number])
			number = (number + 1) % room;
		taken[number] = true;
		marks[s->index] = class_mark(b->plan, CLASS_FIRST + number);
		build_class(b, marks[s->index], s);
	}
	free(taken);
}

uint32_t *classes_marks(struct build *b, const struct policy *policy, enum plan_fallback fallback)
{
	size_t n_sections = policy_n_sections(policy), n = 0;
	uint32_t *marks = calloc(n_sections + 1, sizeof(*marks));
	struct listed *listed = calloc(n_sections + 1, sizeof(*listed));

	if (!marks || !listed || b->failed) {
		b->failed = true;
		goto out;
	}
	build_class(b, class_mark(b->plan, CLASS_GATEWAY), NULL);
	if (fallback == PLAN_LOCAL)
		build_local_class(b, class_mark(b->plan, CLASS_LOCAL));
	for (size_t i = 0; i < n_sections; i++) {
		const struct section *s = policy_section(policy, i);

		if (s->n_egress == 0)
			marks[i] = class_mark(b->plan, CLASS_GATEWAY);
		else if (s->cidrs.n > 0 || s->resolve)
			listed[n++] = (struct listed){hash_list(s), s};
	}
	qsort(listed, n, sizeof(*listed), by_list);
	take_numbers(b, listed, n, marks);
out:
	free(listed);
	return marks;
}
