/*
 * An idle tunnel owns no buffer and no pipe, only this struct: ten thousand of
 * them cost ten megabytes.  There is no timer either; the worker's list is in order of
 * the last traffic, and its clock looks at the head once a second.
 */
#include "daemon/proxy/tunnel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/net/pump.h"
#include "daemon/proxy/worker.h"

struct tunnel {
	struct worker *worker;
	TAILQ_ENTRY(tunnel) idle;
	uint64_t id;          /* worker_next_id() */
	double began, active; /* monotonic; active: when bytes last moved */
	struct conn client, origin;
	struct pump to_origin, to_client;
	bool to_origin_ended, to_client_ended;
	struct generation *generation;
	struct query query;
	struct record record;
	char texts[]; /* target, method, host */
};

static void destroy(struct tunnel *t, enum ending ending)
{
	struct worker *w = t->worker;

	pump_fini(&t->to_origin, &w->pipes);
	pump_fini(&t->to_client, &w->pipes);
	conn_fini(&t->client, w->loop, &w->buffers);
	conn_fini(&t->origin, w->loop, &w->buffers);
	t->record.total = clock_monotonic() - t->began;
	t->record.ending = ending;
	worker_record(w, &t->record);
	metrics_tunnel(w->metrics, -1);
	metrics_origin(w->metrics, -1);
	TAILQ_REMOVE(&w->tunnels, t, idle);
	w->n_tunnels--;
	generation_put(t->generation);
	free(t);
	worker_connection_closed(w, LISTENER_PROXY);
}

/* A tunnel that did not end well is reset, so that no side takes the cut for the end. */
static void abort_both(struct tunnel *t, enum ending ending)
{
	struct linger reset = {.l_onoff = 1};

	setsockopt(t->client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	setsockopt(t->origin.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	destroy(t, ending);
}

static int wanted(const struct conn *conn, const struct pump *from, bool from_ended,
	const struct conn *other, const struct pump *to)
{
	int events = 0;

	if (!from_ended && !conn->eof && from->held == 0 && !other->out)
		events |= EV_READ;
	if (conn->blocked && (to->held > 0 || conn->out))
		events |= EV_WRITE;
	return events;
}

static enum ending gone(const struct tunnel *t, const struct conn *conn)
{
	return conn == &t->client ? ENDING_CLIENT_GONE : ENDING_ORIGIN_GONE;
}

/* One direction.  False when it failed; *why says how the tunnel ends then.  `last`: the other
 * direction has ended, so that the close that follows says it all. */
static bool carry(struct tunnel *t, struct pump *pump, struct conn *from, struct conn *to,
	bool *ended, bool last, uint64_t *moved, enum ending *why)
{
	int error;

	if (*ended)
		return true;
	error = conn_send(to, &t->worker->buffers);
	*why = gone(t, to);
	if (error)
		return error == -EAGAIN;
	switch (pump_step(pump, &t->worker->pipes, from, to, moved)) {
	case PUMP_END:
		*ended = true;
		if (!last)
			shutdown(to->fd, SHUT_WR);
		return true;
	case PUMP_WAIT:
	case PUMP_BUSY:
		return true;
	case PUMP_FROM_FAILED:
		*why = gone(t, from);
		return false;
	case PUMP_TO_FAILED:
		return false;
	case PUMP_NO_PIPE:
		*why = ENDING_FULL;
		return false;
	}
	return false;
}

static void drive(struct tunnel *t)
{
	struct worker *w = t->worker;
	uint64_t before = t->record.from_client + t->record.to_client;
	enum ending why;

	if (!carry(t, &t->to_origin, &t->client, &t->origin, &t->to_origin_ended,
		    t->to_client_ended, &t->record.from_client, &why) ||
		!carry(t, &t->to_client, &t->origin, &t->client, &t->to_client_ended,
			t->to_origin_ended, &t->record.to_client, &why)) {
		abort_both(t, why);
		return;
	}
	if (t->to_origin_ended && t->to_client_ended) {
		destroy(t, ENDING_DONE);
		return;
	}
	if (t->record.from_client + t->record.to_client != before) {
		t->active = w->now;
		TAILQ_REMOVE(&w->tunnels, t, idle);
		TAILQ_INSERT_TAIL(&w->tunnels, t, idle);
	}
	conn_arm(&t->client, w->loop,
		wanted(&t->client, &t->to_origin, t->to_origin_ended, &t->origin, &t->to_client));
	conn_arm(&t->origin, w->loop,
		wanted(&t->origin, &t->to_client, t->to_client_ended, &t->client, &t->to_origin));
}

static void on_client(struct ev_loop *loop, ev_io *io, int revents)
{
	struct tunnel *t = io->data;

	(void)loop;
	conn_note(&t->client, revents);
	drive(t);
}

static void on_origin(struct ev_loop *loop, ev_io *io, int revents)
{
	struct tunnel *t = io->data;

	(void)loop;
	conn_note(&t->origin, revents);
	drive(t);
}

/* Is the address that it leaves from still one of those under `section`?  Which of several is for
 * new connections to choose. */
static bool leaves_from_its_address(
	const struct tunnel *t, const struct generation *now, const struct section *section)
{
	const struct addr *at;
	size_t n = generation_egresses(now, section, &at);

	if (!t->record.has_egress)
		return n == 0 && !now->config->nat;
	for (size_t i = 0; i < n; i++)
		if (addr_equal(&at[i], &t->record.egress))
			return true;
	return false;
}

/* Would this tunnel be made again, and might it leave from its address?  If not, `v` says why, as
 * far as the policy does. */
static bool still_allowed(const struct tunnel *t, const struct generation *now, struct verdict *v)
{
	const struct section *block = NULL;

	*v = policy_decide(now->policy, &t->query);
	if (v->action == ACTION_ALLOW)
		v->reason = policy_guard(now->policy, &t->query, v, &t->record.origin.addr, &block);
	if (v->action != ACTION_ALLOW || v->reason != REASON_MATCHED) {
		v->action = ACTION_DENY;
		v->section = v->reason == REASON_BLOCKED_ADDRESS ? block : v->section;
		return false;
	}
	return leaves_from_its_address(t, now, v->section);
}

static void close_denied(struct tunnel *t, const struct verdict *v)
{
	char why[512], text[400] = "it would leave from another egress address";

	if (v->action == ACTION_DENY)
		policy_explain(&t->query, v, text, sizeof(text));
	snprintf(why, sizeof(why), "%s: %s",
		v->action == ACTION_DENY ? reason_name(v->reason) : "egress", text);
	t->record.detail = why;
	abort_both(t, ENDING_POLICY_CHANGED);
}

/* False when the tunnel is no more. */
static bool recheck(struct tunnel *t)
{
	struct generation *now = t->worker->generation;
	struct verdict v;

	if (still_allowed(t, now, &v)) {
		t->record.verdict = v;
		generation_put(t->generation);
		t->generation = generation_get(now);
	} else if (now->config->on_reload == ON_RELOAD_RECHECK) {
		close_denied(t, &v);
		return false;
	}
	return true;
}

static struct text keep(char **at, struct text text)
{
	char *copy = *at;

	if (text.length)
		memcpy(copy, text.at, text.length);
	*at += text.length;
	return (struct text){copy, text.length};
}

bool tunnel_start(struct worker *w, struct conn *client, struct conn *origin,
	struct generation *generation, const struct query *query, const struct record *record,
	double began)
{
	struct tunnel *t = calloc(
		1, sizeof(*t) + record->target.length + record->method.length + query->host.length);
	char *texts;

	if (!t)
		return false;
	texts = t->texts;
	t->worker = w;
	t->id = worker_next_id(w);
	t->generation = generation_get(generation);
	t->query = *query;
	t->record = *record;
	t->query.host = keep(&texts, query->host);
	t->record.target = keep(&texts, record->target);
	t->record.method = keep(&texts, record->method);
	t->record.tunnel = true;
	t->began = began;
	t->query.addrs = &t->record.origin.addr;
	t->query.n_addrs = 1;
	t->query.resolved = true;
	conn_move(&t->client, client, w->loop, on_client, t);
	conn_move(&t->origin, origin, w->loop, on_origin, t);
	CHECK(!t->origin.out && !t->origin.in);
	t->record.from_client = buffer_held(t->client.in);
	t->origin.out = t->client.in;
	t->client.in = NULL;
	t->to_origin.left = t->to_client.left = PUMP_ENDLESS;
	t->active = w->now;
	TAILQ_INSERT_TAIL(&w->tunnels, t, idle);
	w->n_tunnels++;
	metrics_tunnel(w->metrics, 1);
	if (generation == w->generation || recheck(t))
		drive(t);
	return true;
}

void tunnels_recheck(struct worker *w)
{
	struct tunnel *t = TAILQ_FIRST(&w->tunnels), *next;

	for (; t; t = next) {
		next = TAILQ_NEXT(t, idle);
		recheck(t);
	}
}

void tunnels_close_idle(struct worker *w, double than)
{
	struct tunnel *t;

	while ((t = TAILQ_FIRST(&w->tunnels)) && t->active < than)
		abort_both(t, ENDING_IDLE_TIMEOUT);
}

void tunnels_close_all(struct worker *w, enum ending ending)
{
	struct tunnel *t;

	while ((t = TAILQ_FIRST(&w->tunnels)))
		abort_both(t, ending);
}

void tunnels_each(
	const struct worker *w, void (*each)(void *arg, const struct survey_row *row), void *arg)
{
	const struct tunnel *t;

	TAILQ_FOREACH (t, &w->tunnels, idle) {
		struct survey_row row = {
			.id = t->id, .client = t->record.client, .state = "tunnel"};

		survey_fill(&row, &t->record);
		row.captured = t->record.captured;
		row.seconds = w->now - t->began;
		row.idle = w->now - t->active;
		each(arg, &row);
	}
}

bool tunnels_kill(struct worker *w, uint64_t id)
{
	struct tunnel *t;

	TAILQ_FOREACH (t, &w->tunnels, idle)
		if (t->id == id) {
			abort_both(t, ENDING_KILLED);
			return true;
		}
	return false;
}
