/*
 * state.h - what the kernel's table is, to be held against a plan.
 */
#pragma once

#include "nat/netlink.h"
#include "nat/plan.h"

/* A table with both is its owner's: nobody else may change it, `nft flush ruleset` passes it over.
 * Once the owner's socket is closed it has the second alone, and is everybody's (Linux 6.9). */
#define TABLE_OWNER 0x2u   /* NFT_TABLE_F_OWNER */
#define TABLE_PERSIST 0x4u /* NFT_TABLE_F_PERSIST, which older headers do not know */
#define TABLE_LOCKED (TABLE_OWNER | TABLE_PERSIST)

#define ELEMENT_CATCH_ALL 0x2u /* NFT_SET_ELEM_CATCHALL (Linux 5.13) */

struct state_set {
	char *name;
	uint32_t key_type, flags, data_type;
	/* Sorted; of a dynamic set none.  `jump`: a chain's name, "" for another verdict, NULL in a
	 * set. */
	struct plan_range *ranges;
	size_t n_ranges;
	bool catch_all; /* has an element without a key, which no plan has */
};

struct state_chain {
	char *name;
	char *type; /* NULL: not a base chain */
	bool bound; /* has no name of its own, and goes with the rule that jumps to it */
	uint32_t hook, policy;
	int32_t priority;
	char **rules; /* rule_describe(), or the plan's texts */
	size_t n_rules, room;
};

/* Other than a counter, which no plan has: NFT_OBJECT_QUOTA and so on. */
struct state_object {
	char *name;
	uint32_t type;
};

struct state {
	uint32_t generation; /* of all tables */
	bool exists;
	bool own;     /* has PLAN_COMMENT */
	bool planned; /* by state_of_plan(), not from the kernel */
	uint32_t flags;
	uint32_t owner;         /* the port of the socket that has locked it; 0: nobody has */
	struct state_set *sets; /* sorted by name; without anonymous ones */
	size_t n_sets, sets_room;
	struct state_chain *chains; /* sorted by name */
	size_t n_chains, chains_room;
	char **counters; /* names, sorted */
	size_t n_counters, counters_room;
	struct state_object *objects;
	size_t n_objects, objects_room;
	char **flowtables; /* names; no plan has any */
	size_t n_flowtables, flowtables_room;
};

/* Reads the table.  0, -EINTR when it changed meanwhile (read it again), -errno with `e` set.
 * state_fini() in every case. */
int state_load(struct state *state, struct mnl_socket *socket, const char *table,
	struct error *e) WARN_UNUSED;
/* Only the generation.  0 or -errno. */
int state_generation(struct state *state, struct mnl_socket *socket, struct error *e) WARN_UNUSED;

/* What the kernel has when it is as `plan` asks, which has to outlive the state.  False without
 * memory. */
bool state_of_plan(struct state *state, const struct plan *plan) WARN_UNUSED;
void state_fini(struct state *state);

/* NULL when there is none. */
const struct state_set *state_set(const struct state *state, const char *name);
const struct state_chain *state_chain(const struct state *state, const char *name);
bool state_has_counter(const struct state *state, const char *name);
