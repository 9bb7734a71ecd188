/*
 * table.c - brings the kernel's nftables to a plan.
 *
 * Read the table, find the differences, send them as one transaction a phase, each bound to the
 * generation that is known: when anybody changed any rules meanwhile, the kernel refuses and all
 * begins again.  On a node where others change rules all the time this could go on for ever, so the
 * last attempt is not bound; its messages still fail where the table is not as it was read.
 *
 * Reading 100,000 elements takes longer than changing one.  A plan that was applied, and of which
 * the monitor has told no change by others, stands for what the kernel has; should the kernel
 * refuse the differences, it is read after all.
 *
 * The monitor tells our own transactions by their generation: a bound one that succeeded made the
 * generation behind the one it was bound to.  (The process id that the kernel names is of another
 * pid namespace than ours when egretd runs in a container.)
 *
 * A lock is a socket: the kernel takes changes of the table from that one alone, and takes the lock
 * off when it is closed.
 */
#include "nat/table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "nat/change.h"
#include "nat/netlink.h"
#include "nat/state.h"

#define ATTEMPTS 10
#define MONITOR_ROOM (1 << 20)
#define OWN_GENERATIONS 16

static struct mnl_socket *lock; /* NULL: tables are not locked */

int table_lock(struct error *e)
{
	return lock ? 0 : netlink_open(NETLINK_NETFILTER, &lock, e);
}

void table_unlock(void)
{
	if (lock)
		mnl_socket_close(lock);
	lock = NULL;
}

static uint32_t lock_flags(void)
{
	return lock ? TABLE_LOCKED : 0;
}

static int commit(struct batch *batch, struct mnl_socket *socket, struct error *e)
{
	return batch_commit(batch, lock ? lock : socket, e);
}

/* What this process made since the monitor was opened, the last ones; 0: none. */
static uint32_t own_generations[OWN_GENERATIONS];
static unsigned n_own_generations;
static uint32_t last_generation; /* of these */

static uint32_t generation_behind(uint32_t generation)
{
	return generation + 1 ? generation + 1 : 1;
}

static void remember_generation(uint32_t bound_to)
{
	if (!bound_to)
		return;
	last_generation = generation_behind(bound_to);
	own_generations[n_own_generations++ % OWN_GENERATIONS] = last_generation;
}

static bool is_own_generation(uint32_t generation)
{
	for (size_t i = 0; i < OWN_GENERATIONS; i++)
		if (generation && own_generations[i] == generation)
			return true;
	return false;
}

static bool is_worth_repeating(int error)
{
	return error == -EINTR || error == -ERESTART || error == -ENOBUFS;
}

/* 1, 2, 4 ... 128 ms, so that a neighbour's burst of changes passes. */
static void pause_before(unsigned attempt)
{
	const struct timespec pause = {.tv_nsec = 1000000L << (attempt < 7 ? attempt : 7)};

	nanosleep(&pause, NULL);
}

static int load(struct state *state, struct mnl_socket *socket, const struct plan *plan,
	const struct table_known *known, struct error *e)
{
	if (!known)
		return state_load(state, socket, plan->table, e);
	if (!state_of_plan(state, known->plan))
		return error_set(e, -ENOMEM, "table %s: out of memory", plan->table);
	state->flags = lock_flags();
	state->generation = known->generation;
	return state->generation ? 0 : state_generation(state, socket, e);
}

/* One transaction, unless there is nothing to change. */
static int apply_phase(const struct plan *plan, const struct state *state, enum change_phase phase,
	uint32_t *generation, struct mnl_socket *socket, struct error *e)
{
	struct batch batch;
	int error = 0;

	batch_begin(&batch, *generation);
	change_put(&batch, plan, state, lock_flags(), phase);
	if (!batch_is_empty(&batch) || batch.failed) {
		error = commit(&batch, socket, e);
		if (!error)
			remember_generation(*generation);
		*generation = *generation ? generation_behind(*generation) : 0;
	}
	batch_fini(&batch);
	return error;
}

static int apply_once(const struct plan *plan, const struct table_known *known,
	const struct table_between *between, bool bound, struct error *e)
{
	struct mnl_socket *socket;
	struct state state = {0};
	uint32_t generation;
	int error = netlink_open(NETLINK_NETFILTER, &socket, e);

	if (error)
		return error;
	error = load(&state, socket, plan, known, e);
	generation = bound ? state.generation : 0;
	for (enum change_phase phase = 0; phase < CHANGE_N_PHASES && !error; phase++) {
		if (phase == CHANGE_CLEAN && between && between->call)
			error = between->call(between->arg, e);
		if (!error)
			error = apply_phase(plan, &state, phase, &generation, socket, e);
	}
	state_fini(&state);
	mnl_socket_close(socket);
	return error;
}

int table_apply(const struct plan *plan, const struct table_known *known,
	const struct table_between *between, struct error *e)
{
	int error = known && known->plan ? apply_once(plan, known, between, true, e) : -ERESTART;

	for (unsigned attempt = 0; error && attempt < ATTEMPTS; attempt++) {
		error = apply_once(plan, NULL, between, attempt + 1 < ATTEMPTS, e);
		if (!is_worth_repeating(error))
			break;
		pause_before(attempt);
	}
	return error;
}

static int match_once(const struct plan *plan, struct error *e)
{
	struct mnl_socket *socket;
	struct state state = {0};
	struct batch batch = {0};
	int result = netlink_open(NETLINK_NETFILTER, &socket, e);

	if (result)
		return result;
	result = state_load(&state, socket, plan->table, e);
	if (!result) {
		batch_begin(&batch, 0);
		for (enum change_phase phase = 0; phase < CHANGE_N_PHASES; phase++)
			change_put(&batch, plan, &state, lock_flags(), phase);
		result = batch.failed ? error_set(e, -ENOMEM, "comparing table %s: out of memory",
						plan->table)
				      : batch_is_empty(&batch);
	}
	batch_fini(&batch);
	state_fini(&state);
	mnl_socket_close(socket);
	return result;
}

int table_matches(const struct plan *plan, struct error *e)
{
	int result = 0;

	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
		result = match_once(plan, e);
		if (!is_worth_repeating(result))
			break;
		pause_before(attempt);
	}
	return result;
}

int table_check_free(const char *table, struct error *e)
{
	struct mnl_socket *socket;
	struct state state = {0};
	int error = netlink_open(NETLINK_NETFILTER, &socket, e);

	if (error)
		return error;
	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
		state_fini(&state);
		error = state_load(&state, socket, table, e);
		if (!is_worth_repeating(error))
			break;
		pause_before(attempt);
	}
	if (!error && state.exists && !state.own &&
		state.n_chains + state.n_sets + state.n_counters + state.n_objects +
				state.n_flowtables >
			0)
		error = error_set(e, -EEXIST,
			"[nat] table = %s: there is a table inet %s that egret did not make: want "
			"a name of its own",
			table, table);
	if (!error && state.owner && (!lock || state.owner != mnl_socket_get_portid(lock)))
		error = error_set(e, -EBUSY,
			"[nat] table = %s: another process has locked table inet %s (netlink port "
			"%u): want it to end first",
			table, table, state.owner);
	state_fini(&state);
	mnl_socket_close(socket);
	return error;
}

int table_remove(const char *table, struct error *e)
{
	struct mnl_socket *socket;
	struct label label = {"delete table", table, NULL};
	struct nlmsghdr *message;
	struct batch batch;
	int error = netlink_open(NETLINK_NETFILTER, &socket, e);

	if (error)
		return error;
	batch_begin(&batch, 0);
	message = batch_open(&batch, NFT_MSG_DELTABLE, 0, &label);
	if (message) {
		mnl_attr_put_strz(message, NFTA_TABLE_NAME, table);
		batch_close(&batch);
	}
	error = commit(&batch, socket, e);
	batch_fini(&batch);
	mnl_socket_close(socket);
	return error == -ENOENT ? 0 : error;
}

int table_monitor_open(struct error *e)
{
	/* Unbound, it would hear nothing. */
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	const int group = NFNLGRP_NFTABLES, room = MONITOR_ROOM;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	int error;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&any, sizeof(any)) ||
		setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group))) {
		error = error_set(e, -errno, "watching nftables: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return error;
	}
	/* Best effort: an overflow only costs a comparison. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	memset(own_generations, 0, sizeof(own_generations));
	last_generation = 0;
	return fd;
}

/* What has been seen of a transaction that is not complete yet. */
struct watch {
	const char *table;
	bool touched; /* by the transaction at hand */
	bool by_others;
	bool lost; /* some was not told */
};

static void see_generation(struct watch *w, const struct nlmsghdr *message)
{
	const struct nlattr *attr;
	uint32_t generation = 0;

	mnl_attr_for_each (attr, message, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == NFTA_GEN_ID)
			generation = ntohl(mnl_attr_get_u32(attr));
	if (w->touched && !is_own_generation(generation))
		w->by_others = true;
	w->touched = false;
}

/* The objects of a transaction come first, the generation it made ends it. */
static void see(struct watch *w, const struct nlmsghdr *message)
{
	const struct nfgenmsg *nfgen = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;

	if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
		mnl_nlmsg_get_payload_len(message) < sizeof(*nfgen))
		return;
	if (NFNL_MSG_TYPE(message->nlmsg_type) == NFT_MSG_NEWGEN) {
		see_generation(w, message);
		return;
	}
	if (nfgen->nfgen_family != NFPROTO_INET)
		return;
	mnl_attr_for_each (attr, message, sizeof(*nfgen)) /* 1: the table, in every message */
		if (mnl_attr_get_type(attr) == NFTA_TABLE_NAME &&
			strcmp(mnl_attr_get_str(attr), w->table) == 0)
			w->touched = true;
}

/* 0: it could not be read. */
static uint32_t generation_now(void)
{
	struct mnl_socket *socket;
	struct state state = {0};

	if (netlink_open(NETLINK_NETFILTER, &socket, NULL))
		return 0;
	if (state_generation(&state, socket, NULL))
		state.generation = 0;
	mnl_socket_close(socket);
	return state.generation;
}

/* A large transaction of our own overflows the socket.  When the kernel's generation is still the
 * one that it made, nobody else has changed anything: it was bound to the one before. */
static bool is_nobody_behind_us(void)
{
	return last_generation && generation_now() == last_generation;
}

bool table_monitor_drain(int fd, const char *table)
{
	_Alignas(struct nlmsghdr) char buffer[64 * 1024];
	struct watch w = {.table = table};

	for (;;) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			w.lost = true;
			continue;
		}
		if (n <= 0)
			break;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			see(&w, message);
	}
	if (w.lost && !w.by_others)
		return !is_nobody_behind_us();
	return w.by_others || w.touched;
}

static void set_membership(int fd, int option)
{
	const int group = NFNLGRP_NFTABLES;

	setsockopt(fd, SOL_NETLINK, option, &group, sizeof(group));
}

/* What others change between the first line and the second is told, what they change later makes
 * another generation. */
bool table_monitor_pause(int fd, const char *table, uint32_t *generation)
{
	*generation = generation_now();
	set_membership(fd, NETLINK_DROP_MEMBERSHIP);
	return table_monitor_drain(fd, table) || !*generation;
}

bool table_monitor_resume(int fd, const char *table)
{
	set_membership(fd, NETLINK_ADD_MEMBERSHIP);
	return table_monitor_drain(fd, table) || !is_nobody_behind_us();
}
