/*
 * gate_peers.c - what the gate does about other nodes: it follows the gateways, tells what it has,
 * and lets egress addresses go.
 *
 *     peers ─ another owner ─→ gate_nat_replan()
 *     gate_nat_replan(), reload ─ addresses here ─→ peers
 *     `release`, SIGTERM ─→ keeper drops the addresses ─→ peers tell ─→ gate_nat_replan()
 *
 * With manage-address and other gateways an address is not claimed at once, be it at the start or
 * when a reload brings it: the others are asked first, the gateways one after the other in the
 * order of the list, and what one of them has stays there.  Two that did not hear of each other in
 * time both claim: the later one in the list gives up.  Each address has its own time (released.h),
 * and a command ends it for those that it names.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/gate/gate_parts.h"
#include "daemon/log/log.h"

#define HEAR_OUT 1.6   /* seconds until a gateway that does not answer is known to be down */
#define EACH_AFTER 1.0 /* seconds between gateways that start at the same time */
#define NEWCOMER 10.0  /* seconds in which what was claimed so is given up again */
#define HEAR_MORE 0.1  /* seconds until it is looked again whether all are known */

/* ---- what is known of other nodes ---- */

/* What this node has just claimed, and a gateway before it in the list as well. */
static bool must_yield(const struct gate *g, const struct addr *addr, double now)
{
	return released_is_newcomer(&g->released, addr, now) && peers_precede(g->peers, addr);
}

static void give_up(struct gate *g)
{
	const struct datapath *d = g->now->datapath;
	struct addr *given = d ? calloc(d->n_wanted + 1, sizeof(*given)) : NULL;
	double now = clock_monotonic();
	char text[ADDR_TEXT];
	struct error e;
	size_t n = 0;

	for (size_t i = 0; given && i < d->n_wanted; i++) {
		const struct addr *addr = &d->wanted[i];

		if (!must_yield(g, addr, now) || released_add(&g->released, addr) < 0)
			continue;
		log_warn("egress address %s was claimed by another gateway at the same time, so it "
			 "is released here; `egretctl claim` brings it back",
			addr_print(addr, text));
		released_decide(&g->released, addr, now);
		given[n++] = *addr;
	}
	if (n > 0 && keeper_release(g->keeper, &g->released, given, n, &e) < 0)
		log_error("%s", e.text);
	if (n > 0)
		gate_peers_owned(g);
	free(given);
}

static bool on_change(void *arg)
{
	struct gate *g = arg;

	if (g->stopping)
		return true;
	if (g->next)
		return false;
	give_up(g);
	reload_send_counts(g);
	gate_nat_replan(g);
	return true;
}

static void on_rivals(void *arg)
{
	reload_send_counts(arg);
}

/* ---- what is new ---- */

static bool asks_others(const struct gate *g)
{
	const struct config *config = g->now->config;

	return g->started->role != ROLE_AGENT && config->manage_address && config->gateways.n > 1;
}

static void hear_for(struct gate *g, double seconds)
{
	ev_timer_stop(g->loop, &g->hear_out);
	ev_now_update(g->loop);
	ev_timer_set(&g->hear_out, seconds > HEAR_MORE ? seconds : HEAR_MORE, 0);
	ev_timer_start(g->loop, &g->hear_out);
}

static void hear_on(struct gate *g)
{
	double until;

	if (released_next(&g->released, &until))
		hear_for(g, until - clock_monotonic());
	else
		ev_timer_stop(g->loop, &g->hear_out);
}

/* Addresses that this gateway may add from now on wait for the others' word; the others stay. */
static void hear_out(struct gate *g)
{
	const struct datapath *d = g->now->datapath;
	size_t n = d ? d->n_manageable : 0, place = 0;
	int fresh = 0;

	while (place < peers_count(g->peers) && !peers_view(g->peers, place).self)
		place++;
	if (d)
		fresh = released_follow(&g->released, d->manageable, n,
			clock_monotonic() + HEAR_OUT + EACH_AFTER * (double)place);
	if (fresh < 0)
		log_error("no memory for egress addresses that are new: they are not claimed");
	for (size_t i = 0; i < n && !asks_others(g); i++)
		released_decide(&g->released, &d->manageable[i], 0);
	if (fresh > 0 && asks_others(g)) {
		log_info("%d egress addresses are new here: the other gateways are asked first",
			fresh);
		peers_inquire(g->peers);
	}
	hear_on(g);
}

/* Claimed, unless another gateway has it, or it was released already. */
static void decide(struct gate *g, const struct addr *addr, double now)
{
	int owner = peers_owner(g->peers, addr);
	char text[ADDR_TEXT];

	if (owner >= 0 && !released_has(&g->released, addr)) {
		if (released_add(&g->released, addr) < 0)
			return; /* it is looked at again */
		log_warn("egress address %s is on gateway %s, so it is not claimed; `egretctl "
			 "claim` does",
			addr_print(addr, text), peers_view(g->peers, (size_t)owner).name);
	}
	released_decide(&g->released, addr, now + NEWCOMER);
}

/* The loop may have been busy all the time: what has come counts, and who was not given its time to
 * answer gets it. */
static void on_hear_out(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct gate *g = timer->data;
	double now = clock_monotonic();
	bool some = false;

	(void)loop;
	(void)revents;
	if (!peers_hear(g->peers)) {
		hear_for(g, HEAR_MORE);
		return;
	}
	for (size_t i = 0; i < g->released.n_heard; i++) {
		const struct heard *heard = &g->released.heard[i];

		if (heard->decided || heard->until > now)
			continue;
		decide(g, &heard->addr, now);
		some = true;
	}
	hear_on(g);
	if (some)
		gate_nat_replan(g);
}

void gate_peers_hear_out(struct gate *g)
{
	const struct config *config = g->now->config;

	if (config->role == ROLE_AGENT && config->manage_address)
		log_info("manage-address = yes means the gateways: an agent has no addresses");
	hear_out(g);
}

/* ---- life ---- */

int gate_peers_init(struct gate *g, struct error *e)
{
	const struct peers_events events = {on_change, g};

	ev_timer_init(&g->hear_out, on_hear_out, 0, 0);
	g->hear_out.data = g;
	g->peers = peers_new(g->loop, &events);
	g->rivals = rivals_new(g->loop, on_rivals, g);
	return g->peers && g->rivals ? 0 : error_set(e, -ENOMEM, "no memory");
}

void gate_peers_fini(struct gate *g)
{
	ev_timer_stop(g->loop, &g->hear_out);
	peers_free(g->peers);
	rivals_free(g->rivals);
	released_fini(&g->released);
}

/* ---- what is told ---- */

const char *gate_peers_owner(void *arg, const struct addr *addr)
{
	const struct gate *g = arg;
	int owner = peers_via(g->peers, addr);

	return owner < 0 ? NULL : peers_view(g->peers, (size_t)owner).name;
}

const char *gate_peers_trouble(struct gate *g)
{
	const struct datapath *d = g->now ? g->now->datapath : NULL;
	const char *why = g->peers ? peers_trouble(g->peers) : NULL;

	if (!why && g->rivals)
		why = rivals_trouble(g->rivals);
	/* A gateway without a way to another one still serves its own pods, and clients. */
	if (!why && d && d->ways.trouble[0] && g->now->config->role == ROLE_AGENT)
		why = d->ways.trouble;
	return why;
}

/* Gone already, though the datapath in force is of before. */
static bool has_let_go(const struct gate *g, const struct datapath *d,
	const struct address_list *here, const struct addr *addr)
{
	for (size_t i = 0; i < d->n_managed; i++)
		if (addr_equal(&d->managed[i], addr))
			return released_has(&g->released, addr) && !address_is_present(here, addr);
	return false;
}

void gate_peers_owned(struct gate *g)
{
	const struct edition *edition = g->next ? g->next : g->now;
	const struct datapath *d = edition->datapath;
	struct addr *owned = d ? calloc(d->n_addresses + 1, sizeof(*owned)) : NULL;
	struct address_list here = {0};
	struct error e;
	size_t n = 0;

	if ((g->released.all || g->released.n > 0) && address_list_load(&here, &e) < 0)
		log_warn("%s", e.text);
	for (size_t i = 0; owned && i < d->n_addresses; i++)
		if (!has_let_go(g, d, &here, &d->addresses[i].addr))
			owned[n++] = d->addresses[i].addr;
	if (owned) {
		peers_owned(g->peers, owned, n);
		rivals_follow(g->rivals, owned, n);
	}
	free(owned);
	address_list_fini(&here);
}

void gate_peers_look(struct gate *g)
{
	struct error e;

	if (g->now && g->now->datapath && peers_look(g->peers, &e) < 0)
		log_warn("%s", e.text);
}

void gate_peers_follow(struct gate *g)
{
	const struct config *config = g->now->config;
	const struct peers_config peers = {
		.role = g->started->role,
		.gateways = &config->gateways,
		.port = config->probe_port,
		.interval = config->probe_interval,
		.digest = g->now->digest,
		.pods = &config->pod_cidr,
	};
	struct error e;

	if (g->now->datapath && peers_follow(g->peers, &peers, &e) < 0)
		log_error("%s", e.text);
	if (keeper_applied(g->keeper) > 0) /* at the start the rules come first */
		hear_out(g);
}

/* ---- addresses that go and come ---- */

/* Why the command is refused; NULL: it is not. */
static const char *not_ours(const struct gate *g)
{
	if (!g->now->datapath)
		return "[nat] enable = no: there are no egress addresses here";
	if (g->started->role == ROLE_AGENT)
		return "an agent has no egress addresses";
	if (!g->now->config->manage_address)
		return "[nat] manage-address = no: who gave this node the address (keepalived, "
		       "MetalLB) has to take it away and bring it back";
	return g->stopping ? "egretd is shutting down" : NULL;
}

/* Dropped first, then told, then planned.  -errno with the reason: some of it stays here. */
static int let_go(struct gate *g, const struct addr *addrs, size_t n, struct error *e)
{
	int error = keeper_release(g->keeper, &g->released, addrs, n, e);

	if (error)
		log_error("%s", e->text);
	gate_peers_owned(g);
	gate_nat_replan(g);
	return error;
}

/* It comes with the plan.  -errno with the reason: some of it is not here. */
static int bring(struct gate *g, const struct addr *addrs, size_t n, struct error *e)
{
	struct address_list here = {0};
	char text[ADDR_TEXT];
	int error = gate_nat_plan_again(g, e);

	if (!error)
		error = address_list_load(&here, e);
	for (size_t i = 0; i < n && !error; i++)
		if (!address_is_present(&here, &addrs[i]))
			error = error_set(e, -EADDRNOTAVAIL,
				"egress address %s is not on this node, though it was added",
				addr_print(&addrs[i], text));
	address_list_fini(&here);
	return error;
}

/* The one that `which` means, or all of them.  NULL: none. */
static const struct addr *find_named(const struct addr *all, size_t *n, const char *which)
{
	struct addr addr;

	if (strcmp(which, "all") == 0)
		return all;
	for (size_t i = 0; i < *n && addr_parse(&addr, text_of(which)); i++) {
		if (!addr_equal(&all[i], &addr))
			continue;
		*n = 1;
		return &all[i];
	}
	return NULL;
}

/* `release all` and then `claim` one: all the others stay released. */
static int name_all_released(struct gate *g, const struct addr *all, size_t n)
{
	int error = 0;

	for (size_t i = 0; g->released.all && i < n && !error; i++)
		error = released_add(&g->released, &all[i]);
	if (!error)
		g->released.all = false;
	return error;
}

static int change_one(
	struct gate *g, bool release, const struct addr *all, size_t n, const struct addr *addr)
{
	int error;

	if (release)
		return released_add(&g->released, addr);
	error = name_all_released(g, all, n);
	if (!error)
		released_remove(&g->released, addr);
	return error;
}

/* Whoever commands knows better than what the others say: of what he names, and of nothing else. */
static int change(struct gate *g, bool release, const char *which, const struct addr *all,
	size_t n_all, struct error *e)
{
	size_t n = n_all;
	const struct addr *named = find_named(all, &n, which);
	int error = 0;

	if (strcmp(which, "all") == 0)
		released_set_all(&g->released, release);
	else
		error = change_one(g, release, all, n_all, named);
	if (error)
		return error_set(e, error, "no memory");
	for (size_t i = 0; i < n; i++)
		released_decide(&g->released, &named[i], 0);
	log_info("%s: %s", release ? "released" : "claimed", which);
	return release ? let_go(g, named, n, e) : bring(g, named, n, e);
}

/* A claim that fails changes nothing: the address is likely to be claimed elsewhere then. */
static int try_claim(
	struct gate *g, const char *which, const struct addr *all, size_t n, struct error *e)
{
	struct released before;
	struct error why;

	if (released_copy(&g->released, &before) < 0)
		return error_set(e, -ENOMEM, "no memory");
	if (change(g, false, which, all, n, &why) == 0) {
		released_fini(&before);
		return 0;
	}
	error_set(e, -EIO, "not claimed: %s", why.text);
	log_error("%s", e->text);
	released_fini(&g->released);
	g->released = before;
	(void)!let_go(g, NULL, 0, &why);
	return -EIO;
}

static int obey(struct gate *g, bool release, const char *which, struct error *e)
{
	const struct datapath *d = g->now->datapath;
	size_t n_all = d->n_manageable, n = n_all;
	struct addr *all = calloc(n_all + 1, sizeof(*all)); /* outlives the datapath */
	int error;

	if (!all)
		return error_set(e, -ENOMEM, "no memory");
	for (size_t i = 0; i < n_all; i++)
		all[i] = d->manageable[i];
	if (!find_named(all, &n, which))
		error = error_set(e, -EINVAL,
			"%.64s: want all, or one of the egress addresses that egretd adds", which);
	else if (release)
		error = change(g, true, which, all, n_all, e);
	else
		error = try_claim(g, which, all, n_all, e);
	free(all);
	return error;
}

void gate_peers_command(
	struct gate *g, struct control_client *client, bool release, const char *which)
{
	const char *refused = not_ours(g);
	char answer[ERROR_TEXT + 16];
	struct error e;

	if (refused)
		snprintf(answer, sizeof(answer), "error: %s\n", refused);
	else if (obey(g, release, which, &e) < 0)
		snprintf(answer, sizeof(answer), "error: %s\n", e.text);
	else
		snprintf(answer, sizeof(answer), "ok %s %s\n", release ? "released" : "claimed",
			which);
	control_answer(client, answer);
}

/* Alone, the address stays: the rules in the kernel go on translating with it. */
void gate_peers_leave(struct gate *g)
{
	const struct datapath *d = g->now ? g->now->datapath : NULL;
	struct error e;

	ev_timer_stop(g->loop, &g->hear_out);
	if (!d || d->n_managed == 0 || peers_count(g->peers) < 2)
		return;
	g->released.all = true;
	if (let_go(g, d->manageable, d->n_manageable, &e) == 0)
		log_info("egress addresses are dropped, and the other gateways told");
}
