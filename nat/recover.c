/*
 * recover.c - addresses learnt from DNS, noted in the table.
 *
 * Beside the rules that follow them, so both come and go in the same transaction, and there is
 * no second truth on disk.  The rules do not tell: sections share chains and classes.
 */
#include "nat/recover.h"

#include <ctype.h>
#include <errno.h>

#include "nat/netlink.h"
#include "nat/state.h"

#define ATTEMPTS 20

static const struct {
	const char *name;
	enum plan_key key;
	bool v4;
} notes[] = {
	{"learnt4", PLAN_KEY_CLASS_IPV4, true},
	{"learnt6", PLAN_KEY_CLASS_IPV6, false},
};

uint32_t recover_hash(const char *section)
{
	uint64_t hash = BUILD_HASH_START;

	for (; *section; section++) {
		char lower = (char)tolower((unsigned char)*section);

		hash = build_hash(hash, &lower, 1);
	}
	return (uint32_t)(hash ^ hash >> 32);
}

/* Sections stand together in the list, and two hosts of one may share an address. */
static void put(
	struct build *b, const struct policy *policy, const struct plan_facts *facts, size_t i)
{
	struct plan_set *set = NULL;
	uint32_t hash = 0;

	for (size_t j = 0; j < facts->n_learnt; j++) {
		const struct plan_learnt *learnt = &facts->learnt[j];

		if (j == 0 || learnt->section != learnt[-1].section)
			hash = recover_hash(policy_section(policy, learnt->section)->name);
		if (addr_is_v4(&learnt->addr) != notes[i].v4)
			continue;
		if (!set)
			set = build_set(b, notes[i].name, notes[i].key, PLAN_HASH);
		build_mark(b, set, hash, &learnt->addr, NULL);
	}
	build_set_finish(set);
}

void recover_put(struct build *b, const struct policy *policy, const struct plan_facts *facts)
{
	for (size_t i = 0; i < COUNT_OF(notes); i++)
		put(b, policy, facts, i);
}

int recover_each(const char *table,
	void (*each)(void *arg, uint32_t section, const struct addr *addr), void *arg,
	struct error *e)
{
	struct state state = {0};
	struct mnl_socket *socket;
	int error = netlink_open(NETLINK_NETFILTER, &socket, e);

	if (error)
		return error;
	error = -EINTR;
	for (int i = 0; i < ATTEMPTS && error == -EINTR; i++) {
		state_fini(&state);
		error = state_load(&state, socket, table, e);
	}
	for (size_t i = 0; i < COUNT_OF(notes) && !error && state.own; i++) {
		const struct state_set *set = state_set(&state, notes[i].name);

		for (size_t j = 0; set && j < set->n_ranges; j++)
			each(arg, set->ranges[j].mark, &set->ranges[j].first);
	}
	state_fini(&state);
	mnl_socket_close(socket);
	return error;
}
