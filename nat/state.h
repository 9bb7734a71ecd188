/*
 * state.h - what the kernel's table is, to be held against a plan.
 */
#pragma once

#include "nat/netlink.h"
#include "nat/plan.h"

struct state_set {
	char *name;
	uint32_t key_type, flags, data_type;
	/* Sorted.  `jump`: a chain's name, "" for another verdict, NULL in a set. */
	struct plan_range *ranges;
	size_t n_ranges;
};

struct state_chain {
	char *name;
	char *type; /* NULL: not a base chain */
	uint32_t hook, policy;
	int32_t priority;
	char **rules; /* rule_describe() */
	size_t n_rules, room;
};

struct state {
	uint32_t generation; /* of all tables */
	bool exists;
	uint32_t flags;
	struct state_set *sets; /* sorted by name; without anonymous ones */
	size_t n_sets, sets_room;
	struct state_chain *chains; /* sorted by name */
	size_t n_chains, chains_room;
};

/* Reads the table.  0, -EINTR when it changed meanwhile (read it again), -errno with `e` set.
 * state_fini() in every case. */
int state_load(struct state *state, struct mnl_socket *socket, const char *table,
	struct error *e) WARN_UNUSED;
void state_fini(struct state *state);

/* NULL when there is none. */
const struct state_set *state_set(const struct state *state, const char *name);
const struct state_chain *state_chain(const struct state *state, const char *name);
