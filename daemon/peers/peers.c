/*
 * peers.c - the gateways of the cluster as this node knows them: whom to ask, and what to say.
 *
 *     peers_ask.c ── what each gateway has ─→ peers_claims.c ─ who has what ─→ on_change()
 *     peers_owned() ─ what this node has ───↗
 *                   └→ answerer.c ─→ who asks, and who asked lately
 */
#include "daemon/peers/peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "daemon/log/log.h"
#include "daemon/peers/peers_parts.h"
#include "nat/address.h"

#define LATELY 3         /* intervals: who has asked since is told of changes */
#define PAUSE 0.005      /* seconds from a change to on_change() */
#define PAUSE_AGAIN 0.05 /* when it was not the time */

uint64_t peers_random(void)
{
	uint64_t id = 0;

	while (id == 0)
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			id = 0;
	return id;
}

void peers_start(struct ev_loop *loop, ev_timer *timer, double seconds)
{
	ev_timer_stop(loop, timer);
	ev_now_update(loop);
	ev_timer_set(timer, seconds > 0 ? seconds : 0, 0);
	ev_timer_start(loop, timer);
}

void peers_tell_change(struct peers *p)
{
	if (!ev_is_active(&p->pause))
		peers_start(p->loop, &p->pause, PAUSE);
}

static void on_pause(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct peers *p = timer->data;

	(void)loop;
	(void)revents;
	if (!p->events.on_change(p->events.arg))
		peers_start(p->loop, &p->pause, PAUSE_AGAIN);
}

struct peers *peers_new(struct ev_loop *loop, const struct peers_events *events)
{
	struct peers *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = loop;
	p->events = *events;
	p->self = -1;
	for (size_t v = 0; v < GATEWAY_VERSIONS; v++)
		p->answerers[v] = answerer_new(loop);
	ev_timer_init(&p->pause, on_pause, 0, 0);
	p->pause.data = p;
	claims_init(p);
	p->say = (struct peer_message){.type = PEER_ANSWER, .id = 1, .instance = peers_random()};
	if (p->answerers[GATEWAY_V4] && p->answerers[GATEWAY_V6])
		return p;
	peers_free(p);
	return NULL;
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		gateway_free(p->gateways[i]);
	for (size_t v = 0; v < GATEWAY_VERSIONS; v++)
		answerer_free(p->answerers[v]);
	ev_timer_stop(p->loop, &p->pause);
	claims_fini(p);
	free(p->list.at);
	free(p->pods.at);
	free(p);
}

static void say(struct peers *p)
{
	for (size_t v = 0; v < GATEWAY_VERSIONS; v++)
		answerer_say(p->answerers[v], &p->say, LATELY * p->interval);
}

static bool same_paths(const struct gateway *a, const struct gateway *b)
{
	bool same = a->n_paths == b->n_paths;

	for (size_t i = 0; i < a->n_paths && same; i++)
		same = a->paths[i].is.at.port == b->paths[i].is.at.port &&
		       addr_equal(&a->paths[i].is.at.addr, &b->paths[i].is.at.addr);
	return same;
}

/* The one of the same name and place, taken out of `before`. */
static struct gateway *keep(struct gateway **before, size_t n, const struct gateway *fresh)
{
	for (size_t i = 0; i < n; i++) {
		struct gateway *g = before[i];

		if (g && strcmp(g->name, fresh->name) == 0 && same_paths(g, fresh)) {
			before[i] = NULL;
			return g;
		}
	}
	return NULL;
}

/* Everybody claims anew, as numbers are others now. */
static void claim_all(struct peers *p)
{
	memset(&p->owners, 0, sizeof(p->owners));
	for (size_t i = 0; i < p->n; i++)
		if (gateway_is_up(p->gateways[i]))
			claims_take(p, (unsigned)i, p->gateways[i]->said.owned,
				p->gateways[i]->said.n_owned, false);
	claims_take(p, OWNERS_SELF, p->say.owned, p->say.n_owned, false);
	peers_tell_change(p);
}

static int take_list(struct peers *p, const struct gateway_list *list, struct error *e)
{
	struct gateway *before[GATEWAYS_MOST], *fresh[GATEWAYS_MOST] = {NULL};
	struct gateway_peer *copy = calloc(GATEWAYS_MOST, sizeof(*copy));
	size_t n_before = p->n;
	bool all = copy != NULL;

	for (size_t i = 0; i < list->n && all; i++)
		all = (fresh[i] = gateway_new(p, (unsigned)i, &list->at[i])) != NULL;
	if (!all) {
		for (size_t i = 0; i < list->n; i++)
			gateway_free(fresh[i]);
		free(copy);
		return error_set(e, -ENOMEM, "no memory to follow gateways");
	}
	memcpy(before, p->gateways, sizeof(before));
	for (size_t i = 0; i < list->n; i++) {
		struct gateway *kept = keep(before, n_before, fresh[i]);

		if (kept) {
			gateway_free(fresh[i]);
			kept->number = (unsigned)i;
		}
		p->gateways[i] = kept ? kept : fresh[i];
		copy[i] = list->at[i];
	}
	for (size_t i = 0; i < n_before; i++)
		gateway_free(before[i]);
	p->n = list->n;
	free(p->list.at);
	p->list = (struct gateway_list){copy, list->n};
	claim_all(p);
	return 0;
}

static void take_digest(struct peers *p, const char *hex)
{
	memset(p->say.digest, 0, sizeof(p->say.digest));
	for (size_t i = 0; i < PEER_DIGEST && hex[2 * i] && hex[2 * i + 1]; i++) {
		const char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		p->say.digest[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
}

static int take_pods(struct peers *p, const struct cidr_list *pods, struct error *e)
{
	size_t n = pods ? pods->n : 0;
	struct cidr *copy = calloc(n + 1, sizeof(*copy));

	if (!copy)
		return error_set(e, -ENOMEM, "no memory to follow gateways");
	for (size_t i = 0; i < n; i++)
		copy[i] = pods->at[i];
	free(p->pods.at);
	p->pods = (struct cidr_list){copy, n};
	return 0;
}

int peers_follow(struct peers *p, const struct peers_config *config, struct error *e)
{
	bool moved = p->port != config->port || !gateways_equal(&p->list, config->gateways);
	int error = take_pods(p, config->pods, e);

	p->role = config->role;
	p->port = config->port;
	p->interval = config->interval;
	take_digest(p, config->digest);
	say(p);
	if (moved && !error)
		error = take_list(p, config->gateways, e);
	return error ? error : peers_look(p, e);
}

static int find_self(const struct peers *p, const struct address_list *here)
{
	for (size_t i = 0; p->role == ROLE_GATEWAY && i < p->list.n; i++)
		for (size_t j = 0; j < p->list.at[i].n_given; j++)
			if (address_is_present(here, &p->list.at[i].given[j]))
				return (int)i;
	return -1;
}

/* Questions come from an address of the pod networks: gateways send answers nowhere else from
 * theirs, as nothing with a pod's address leaves the cluster.  (With Flannel's host-gw the kernel
 * would take the node's.) */
static void find_from(struct peers *p, const struct address_list *here)
{
	memset(p->has_from, 0, sizeof(p->has_from));
	for (size_t i = 0; i < here->n; i++) {
		size_t v = addr_is_v4(&here->at[i].addr) ? 0 : 1;

		if (!p->has_from[v] && cidrs_contain(&p->pods, &here->at[i].addr)) {
			p->from[v] = here->at[i].addr;
			p->has_from[v] = true;
		}
	}
}

/* Every gateway but this node is asked from now on. */
static void ask_others(struct peers *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct gateway *g = p->gateways[i];

		if ((int)i == p->self)
			gateway_stop(g);
		else
			gateway_ask(g);
	}
}

/* Where this node is asked, if it is a gateway. */
static int listen_all(struct peers *p, struct error *e)
{
	const struct gateway *self = p->self < 0 ? NULL : p->gateways[p->self];
	int result = 0;

	for (size_t v = 0; v < GATEWAY_VERSIONS; v++) {
		const struct path *path = self ? gateway_path(self, v == GATEWAY_V4) : NULL;
		int error = answerer_listen(p->answerers[v], path ? &path->is.at : NULL, e);

		result = error ? error : result;
	}
	return result;
}

int peers_look(struct peers *p, struct error *e)
{
	struct address_list here = {0};
	int error = address_list_load(&here, e), self = error ? p->self : find_self(p, &here);

	if (!error)
		find_from(p, &here);
	address_list_fini(&here);
	if (error)
		return error;
	if (self != p->self && self >= 0)
		log_info("this node is gateway %s", p->gateways[self]->name);
	if (self != p->self)
		peers_tell_change(p);
	p->self = self;
	ask_others(p);
	return listen_all(p, e);
}

void peers_inquire(struct peers *p)
{
	for (size_t i = 0; i < p->n; i++)
		gateway_inquire(p->gateways[i]);
}

/* Asked, and neither heard nor given up over any version. */
static bool is_open(const struct gateway *g)
{
	bool open = false;

	for (size_t i = 0; i < g->n_paths; i++)
		open = open || (ev_is_active(&g->paths[i].timer) && g->paths[i].is.since == 0);
	return open && !gateway_is_up(g);
}

bool peers_hear(struct peers *p)
{
	bool known = true;

	for (size_t i = 0; i < p->n; i++) {
		gateway_hear(p->gateways[i]);
		known = known && !is_open(p->gateways[i]);
	}
	return known;
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct addr));
}

void peers_owned(struct peers *p, const struct addr *addrs, size_t n)
{
	struct addr owned[PEER_OWNED_MOST] = {0};
	size_t told = n < PEER_OWNED_MOST ? n : PEER_OWNED_MOST;

	if (told > 0)
		memcpy(owned, addrs, told * sizeof(*addrs));
	qsort(owned, told, sizeof(*owned), by_bytes);
	if (p->n_beyond != n - told)
		peers_tell_change(p);
	p->n_beyond = n - told;
	if (told == p->say.n_owned && memcmp(owned, p->say.owned, sizeof(owned)) == 0)
		return;
	memcpy(p->say.owned, owned, sizeof(owned));
	p->say.n_owned = told;
	p->say.serial++;
	say(p);
	claims_take(p, OWNERS_SELF, owned, told, false);
}
