/*
 * build.h - makes a plan piece by piece.
 *
 * An error (out of memory, or too many rules) sticks: from then on nothing is
 * added, every function accepts what an earlier one could not give, and
 * build_finish() says so once.
 *
 * Sets and chains that are made for a policy have their content's hash as
 * name: equal ones are shared, and what a name means never changes, so no
 * moment of an update shows a rule with another policy's list.
 */
#pragma once

#include "nat/plan.h"

#define BUILD_MAX_RULES 1000000 /* in all chains together: bounds the memory of gate and kernel */

struct build {
	struct plan *plan;
	void *names; /* tsearch tree of the shared sets' and chains' names */
	size_t n_rules;
	bool failed;
};

void build_begin(struct build *b, const char *table);
struct plan *build_finish(struct build *b); /* NULL when anything failed */

struct plan_set *build_set(struct build *b, const char *name, enum plan_key key, bool map);
/* `jump` NULL in a set.  Ranges may come in any order and, in a set, overlap. */
void build_range(struct build *b, struct plan_set *set, const struct addr *first,
	const struct addr *last, const char *jump);
/* The networks of `version` (4 or 6). */
void build_cidrs(struct build *b, struct plan_set *set, const struct cidr *cidrs, size_t n,
	unsigned version);
/* Sorts the ranges and merges those that touch.  Each set, once, after its last range. */
void build_set_finish(struct plan_set *set);

struct plan_chain *build_chain(struct build *b, const char *name, enum plan_hook hook);
void build_rule(struct build *b, struct plan_chain *chain, const struct plan_rule *rule);

/* For a scratch set (build_set() with name NULL) that is not shared. */
void build_set_drop(struct plan_set *scratch);

/* A scratch set becomes the shared one with these ranges.
 * Returns the name. */
const char *build_share_set(struct build *b, struct plan_set *scratch, const char *prefix);
const char *build_share_chain(
	struct build *b, const char *prefix, const struct plan_rule *const *rules, size_t n);

/* The first and the last address of a network. */
struct plan_range build_range_of(const struct cidr *cidr);
/* Step to the address behind and the one before; false when there is none. */
bool build_next(struct addr *addr);
bool build_previous(struct addr *addr);
