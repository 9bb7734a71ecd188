/*
 * gate_peers.c - what the gate does about other nodes: it follows the gateways, tells what it has,
 * and lets egress addresses go.
 *
 *     peers ─ another owner ─→ gate_nat_replan()
 *     gate_nat_replan(), reload ─ addresses here ─→ peers
 *     `release`, SIGTERM ─→ keeper drops the addresses ─→ peers tell ─→ gate_nat_replan()
 *
 * With manage-address and other gateways the addresses are not claimed at once: the others are
 * asked first, the gateways one after the other in the order of the list, and what one of them has
 * stays there.  Two that did not hear of each other in time both claim: the later one in the list
 * gives up.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/gate/gate_parts.h"
#include "daemon/log/log.h"

#define HEAR_OUT 1.6   /* seconds until a gateway that does not answer is known to be down */
#define EACH_AFTER 1.0 /* seconds between gateways that start at the same time */
#define NEWCOMER 10.0  /* seconds in which what was claimed so is given up again */
#define HEAR_MORE 0.1  /* seconds until it is looked again whether all are known */

/* ---- what is known of other nodes ---- */

/* What this node has claimed at its start, and a gateway before it in the list as well. */
static void give_up(struct gate *g)
{
	const struct datapath *d = g->now->datapath;
	char text[ADDR_TEXT];
	bool some = false;

	for (size_t i = 0; d && i < d->n_wanted && ev_is_active(&g->newcomer); i++) {
		if (!peers_precede(g->peers, &d->wanted[i]) ||
			released_add(&g->released, &d->wanted[i]) < 0)
			continue;
		log_warn("egress address %s was claimed by another gateway at the same time, so it "
			 "is released here; `egretctl claim` brings it back",
			addr_print(&d->wanted[i], text));
		some = true;
	}
	if (some) {
		keeper_release(g->keeper, &g->released);
		gate_peers_owned(g);
	}
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

int gate_peers_init(struct gate *g, struct error *e)
{
	const struct peers_events events = {on_change, g};

	g->peers = peers_new(g->loop, &events);
	g->rivals = rivals_new(g->loop, on_rivals, g);
	return g->peers && g->rivals ? 0 : error_set(e, -ENOMEM, "no memory");
}

void gate_peers_fini(struct gate *g)
{
	ev_timer_stop(g->loop, &g->hear_out);
	ev_timer_stop(g->loop, &g->newcomer);
	peers_free(g->peers);
	rivals_free(g->rivals);
	released_fini(&g->released);
}

int gate_peers_owner(void *arg, const struct addr *addr)
{
	const struct gate *g = arg;

	return peers_via(g->peers, addr);
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
static bool has_let_go(const struct gate *g, const struct datapath *d, const struct addr *addr)
{
	for (size_t i = 0; i < d->n_managed; i++)
		if (addr_equal(&d->managed[i], addr))
			return released_has(&g->released, addr);
	return false;
}

void gate_peers_owned(struct gate *g)
{
	const struct edition *edition = g->next ? g->next : g->now;
	const struct datapath *d = edition->datapath;
	struct addr *owned = d ? calloc(d->n_addresses + 1, sizeof(*owned)) : NULL;

	size_t n = 0;

	for (size_t i = 0; owned && i < d->n_addresses; i++)
		if (!has_let_go(g, d, &d->addresses[i].addr))
			owned[n++] = d->addresses[i].addr;
	if (owned) {
		peers_owned(g->peers, owned, n);
		rivals_follow(g->rivals, owned, n);
	}
	free(owned);
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

/* Dropped first, then told, then planned. */
static void let_go(struct gate *g)
{
	keeper_release(g->keeper, &g->released);
	gate_peers_owned(g);
	gate_nat_replan(g);
}

static bool may_manage(const struct gate *g, const struct addr *addr)
{
	const struct datapath *d = g->now->datapath;

	for (size_t i = 0; i < d->n_wanted; i++)
		if (addr_equal(&d->wanted[i], addr))
			return true;
	return false;
}

/* `release all` and then `claim` one: all the others stay released. */
static int name_all_released(struct gate *g)
{
	const struct datapath *d = g->now->datapath;
	int error = 0;

	for (size_t i = 0; g->released.all && i < d->n_wanted && !error; i++)
		error = released_add(&g->released, &d->wanted[i]);
	if (!error)
		g->released.all = false;
	return error;
}

static int change_one(struct gate *g, bool release, const struct addr *addr)
{
	int error;

	if (release)
		return released_add(&g->released, addr);
	error = name_all_released(g);
	if (!error)
		released_remove(&g->released, addr);
	return error;
}

void gate_peers_command(
	struct gate *g, struct control_client *client, bool release, const char *which)
{
	const char *refused = not_ours(g);
	bool all = strcmp(which, "all") == 0;
	char answer[256];
	struct addr addr;

	if (refused)
		snprintf(answer, sizeof(answer), "error: %s\n", refused);
	else if (!all && (!addr_parse(&addr, text_of(which)) || !may_manage(g, &addr)))
		snprintf(answer, sizeof(answer),
			"error: %.64s: want all, or one of the egress addresses\n", which);
	else if (!all && change_one(g, release, &addr) < 0)
		snprintf(answer, sizeof(answer), "error: no memory\n");
	else {
		ev_timer_stop(g->loop, &g->hear_out); /* whoever commands knows better */
		ev_timer_stop(g->loop, &g->newcomer);
		if (all)
			released_fini(&g->released);
		g->released.all = all ? release : g->released.all;
		log_info("%s: %s", release ? "released" : "claimed", which);
		let_go(g);
		snprintf(answer, sizeof(answer), "ok %s %s\n", release ? "released" : "claimed",
			which);
	}
	control_answer(client, answer);
}

/* Alone, the address stays: the rules in the kernel go on translating with it. */
void gate_peers_leave(struct gate *g)
{
	const struct datapath *d = g->now ? g->now->datapath : NULL;

	ev_timer_stop(g->loop, &g->hear_out);
	if (!d || d->n_managed == 0 || peers_count(g->peers) < 2)
		return;
	g->released.all = true;
	let_go(g);
	log_info("egress addresses are dropped, and the other gateways told");
}

/* ---- the begin ---- */

static void hear_for(struct gate *g, double seconds)
{
	ev_now_update(g->loop);
	ev_timer_set(&g->hear_out, seconds, 0);
	ev_timer_start(g->loop, &g->hear_out);
}

/* The loop may have been busy all the time: what has come counts, and who was not given its time to
 * answer gets it. */
static void on_hear_out(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct gate *g = timer->data;
	const struct datapath *d = g->now->datapath;
	char text[ADDR_TEXT];

	(void)loop;
	(void)revents;
	if (!peers_hear(g->peers)) {
		hear_for(g, HEAR_MORE);
		return;
	}
	for (size_t i = 0; d && i < d->n_wanted; i++) {
		int owner = peers_owner(g->peers, &d->wanted[i]);

		if (owner < 0)
			continue;
		log_warn("egress address %s is on gateway %s, so it is not claimed; `egretctl "
			 "claim` "
			 "does",
			addr_print(&d->wanted[i], text), peers_view(g->peers, (size_t)owner).name);
		if (released_add(&g->released, &d->wanted[i]) < 0)
			return;
	}
	g->released.all = false;
	ev_timer_start(loop, &g->newcomer);
	gate_nat_replan(g);
}

static void on_newcomer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	ev_timer_stop(loop, timer);
}

bool gate_peers_hold_back(struct gate *g)
{
	const struct config *config = g->now->config;

	if (config->role == ROLE_AGENT && config->manage_address)
		log_info("manage-address = yes means the gateways: an agent has no addresses");
	if (config->role == ROLE_AGENT || !config->manage_address || config->gateways.n < 2)
		return false;
	g->released.all = true;
	return true;
}

void gate_peers_hear_out(struct gate *g)
{
	size_t n = 0;

	if (!g->released.all)
		return;
	while (n < peers_count(g->peers) && !peers_view(g->peers, n).self)
		n++;
	ev_timer_init(&g->hear_out, on_hear_out, 0, 0);
	ev_timer_init(&g->newcomer, on_newcomer, NEWCOMER, 0);
	g->hear_out.data = g;
	hear_for(g, HEAR_OUT + EACH_AFTER * (double)n);
}
