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

struct plan_set *build_set(
	struct build *b, const char *name, enum plan_key key, enum plan_kind kind);
/* Ranges may come in any order and, in a set, overlap. */
void build_range(struct build *b, struct plan_set *set, const struct addr *first,
	const struct addr *last, const char *jump);
/* In a map to numbers. */
void build_numbered(struct build *b, struct plan_set *map, const struct addr *first,
	const struct addr *last, uint32_t number);
/* One element of a set with a mark in its key; `addr` and `jump` may be NULL. */
void build_mark(struct build *b, struct plan_set *set, uint32_t mark, const struct addr *addr,
	const char *jump);
/* The networks of `version` (4 or 6). */
void build_cidrs(struct build *b, struct plan_set *set, const struct cidr *cidrs, size_t n,
	unsigned version);
/* Sorts the ranges and merges those that touch.  Each set, once, after its last range. */
void build_set_finish(struct plan_set *set);

struct plan_chain *build_chain(
	struct build *b, const char *name, enum plan_hook hook, int priority);

/* A rule at the end of a chain: build_rule(b, chain, 4, STEPS({PLAN_...}, {PLAN_...})). */
#define STEPS(...) ((const struct plan_step[]){__VA_ARGS__, {.op = PLAN_END}})
void build_rule(
	struct build *b, struct plan_chain *chain, uint8_t version, const struct plan_step *steps);
/* The same before the rule that is the n-th now, counted from 0. */
void build_rule_before(struct build *b, struct plan_chain *chain, size_t n, uint8_t version,
	const struct plan_step *steps);
/* A copy with its text, for build_share_chain(); its parts are build_rule_fini()'s to free. */
struct plan_rule build_rule_of(struct build *b, uint8_t version, const struct plan_step *steps);
void build_rule_fini(struct plan_rule *rule);

/* A copy that lives as long as the plan. */
const char *build_text(struct build *b, const char *text);

/* The name of the counter; one that is there already is taken again. */
const char *build_counter(struct build *b, const char *name, const char *reason, int section);
void build_class(struct build *b, uint32_t mark, const struct section *section);
void build_local_class(struct build *b, uint32_t mark);
void build_spare(struct build *b, uint32_t mark, const struct addr *addr);
/* The range, with the sections that were put since the last one. */
void build_place(struct build *b, const struct addr *first, const struct addr *last);
void build_place_section(struct build *b, unsigned section);

/* For a scratch set (build_set() with name NULL) that is not shared. */
void build_set_drop(struct plan_set *scratch);

/* A scratch set becomes the shared one with these ranges. */
const struct plan_set *build_share_set(
	struct build *b, struct plan_set *scratch, const char *prefix);
const struct plan_chain *build_share_chain(
	struct build *b, const char *prefix, const struct plan_rule *rules, size_t n);
/* By which maps to numbers know a shared chain: it is in its name. */
uint32_t build_number(const char *chain);

/* 64 bits that hardly two different texts have in common. */
#define BUILD_HASH_START 0xcbf29ce484222325u
uint64_t build_hash(uint64_t hash, const void *data, size_t size);

/* qsort(), for what is mostly sorted already. */
void build_sort(void *array, size_t n, size_t size, int (*order)(const void *, const void *));

/* The first and the last address of a network. */
struct plan_range build_range_of(const struct cidr *cidr);
/* Step to the address behind and the one before; false when there is none. */
bool build_next(struct addr *addr);
bool build_previous(struct addr *addr);
