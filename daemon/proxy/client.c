/*
 * A client's life: READ_HEAD, then the states of exchange.c, then READ_HEAD
 * again.  An answer of our own goes through REPLY; when request bytes are left unread behind
 * it, LINGER discards them for a moment, because a close with unread bytes is a RST that may
 * overtake the answer.
 */
#include "daemon/proxy/client.h"

#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/proxy/cached.h"
#include "daemon/proxy/capture.h"
#include "daemon/proxy/worker.h"

#define LINGER_TIME 2.0 /* seconds */
#define TURNS 64        /* steps in one turn of the loop */

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	struct client *c = io->data;

	(void)loop;
	conn_note(&c->conn, revents);
	client_drive(c);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct client *c = timer->data;

	(void)loop;
	(void)revents;
	c->timer_at = INFINITY;
	c->timed_out = c->deadline <= c->worker->now;
	client_drive(c);
}

bool client_new(struct worker *w, int fd, const struct endpoint *at, enum listener_kind kind,
	bool over_limit)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return false;
	}
	c->worker = w;
	c->id = worker_next_id(w);
	c->kind = kind;
	c->at = *at;
	c->over_limit = over_limit;
	conn_init(&c->conn, fd, on_io, c);
	ev_init(&c->timer, on_timer);
	c->timer.data = c;
	c->timer_at = INFINITY;
	TAILQ_INSERT_TAIL(&w->clients, c, link);
	w->n_clients++;
	metrics_client(w->metrics, 1);
	c->conn.readable = true; /* a request often comes with the last packet of the handshake */
	client_enter(c, kind == LISTENER_CAPTURE ? capture_begin(c) : CLIENT_READ_HEAD,
		worker_config(w)->header_timeout);
	client_drive(c);
	return true;
}

static void destroy(struct client *c)
{
	struct worker *w = c->worker;
	bool is_tunnel = c->conn.fd < 0;
	enum listener_kind kind = c->kind;

	exchange_free(c);
	w->n_unattended -= c->background;
	ev_timer_stop(w->loop, &c->timer);
	CHECK(!ev_is_pending(&c->timer));
	conn_fini(&c->conn, w->loop, &w->buffers);
	TAILQ_REMOVE(&w->clients, c, link);
	w->n_clients--;
	metrics_client(w->metrics, -1);
	free(c);
	if (is_tunnel)
		worker_connection_moved(w);
	else
		worker_connection_closed(w, kind);
}

void client_revalidate(struct client *of)
{
	struct worker *w = of->worker;
	struct client *c = w->n_unattended < WORKER_UNATTENDED ? calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return;
	w->n_unattended++;
	c->worker = w;
	c->kind = of->kind;
	c->at = of->at;
	c->original = of->original;
	c->background = true;
	conn_init(&c->conn, -1, on_io, c);
	ev_init(&c->timer, on_timer);
	c->timer.data = c;
	c->timer_at = INFINITY;
	TAILQ_INSERT_TAIL(&w->clients, c, link);
	w->n_clients++;
	metrics_client(w->metrics, 1);
	if (!exchange_copy(c, of->exchange)) {
		destroy(c);
		return;
	}
	client_enter(c, CLIENT_LOOKUP, LOOKUP_TIMEOUT);
	client_drive(c);
}

enum next client_enter(struct client *c, enum client_state state, double timeout)
{
	c->state = state;
	c->deadline = c->worker->now + timeout;
	return AGAIN;
}

void client_reset(struct client *c)
{
	struct linger reset = {.l_onoff = 1};

	setsockopt(c->conn.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

bool client_grow(struct conn *conn, struct buffer_pool *pool, size_t max)
{
	struct buffer *larger;

	if (buffer_held(conn->in) >= max)
		return false;
	larger = buffer_get(pool, max);
	if (!larger)
		return false;
	larger->end = buffer_held(conn->in);
	memcpy(larger->data, conn->in->data + conn->in->start, larger->end);
	buffer_put(pool, conn->in);
	conn->in = larger;
	return true;
}

bool client_watch(struct client *c)
{
	ssize_t n;

	if (!c->conn.readable || c->conn.eof || c->conn.in)
		return true;
	n = conn_receive(&c->conn, &c->worker->buffers);
	return n >= 0 || n == -EAGAIN || n == -ENOMEM;
}

static enum next client_read_head(struct client *c)
{
	struct worker *w = c->worker;
	struct head_limits limits = worker_head_limits(w);

	for (;;) {
		struct head_error error;
		ssize_t n;

		if (c->conn.in) {
			switch (head_find(
				buffer_text(c->conn.in), true, &c->seen, &limits, &error)) {
			case HEAD_DONE:
				return client_enter(
					c, CLIENT_DECIDE, worker_config(w)->relay_timeout);
			case HEAD_BAD:
				return exchange_bad_head(c, &error);
			case HEAD_MORE:
				break;
			}
			if (c->head_since == 0) {
				c->head_since = w->now;
				c->deadline = c->head_since + worker_config(w)->header_timeout;
			}
		}
		if (c->conn.eof)
			return CLOSE;
		if (c->timed_out && c->conn.in)
			return exchange_bad_head(
				c, &(struct head_error){408, "the request head took too long"});
		if (c->timed_out)
			return CLOSE;
		if (!c->conn.readable)
			return WAIT;
		n = conn_receive(&c->conn, &w->buffers);
		if (n == -EAGAIN)
			return WAIT;
		if (n == -ENOBUFS && client_grow(&c->conn, &w->buffers, limits.bytes))
			continue;
		if (n <= 0)
			return CLOSE;
	}
}

enum next client_answer(struct client *c, enum ending ending, const struct reply *wanted)
{
	struct worker *w = c->worker;
	struct exchange *x = c->exchange;
	struct reply reply = *wanted;
	ssize_t sent;

	if (cached_rescues(ending) && cached_rescue(c) == AGAIN)
		return AGAIN;
	cached_fails(x);
	x->record.status = reply.status;
	x->record.ending = ending;
	free(x->detail);
	x->detail = reply.details ? strdup(reply.details) : NULL;
	x->record.detail = x->detail;
	c->keep_alive = c->keep_alive && !x->has_body && !w->draining && !c->conn.eof;
	if (c->background)
		return CLOSE;
	reply.keep_alive = c->keep_alive;
	reply.head_only = x->method == METHOD_HEAD;
	sent = c->tls ? capture_put_alert(c, reply.status)
		      : reply_put(&c->conn, &w->buffers, &reply, worker_config(w)->name,
				worker_date(w));
	if (sent < 0)
		return CLOSE;
	x->record.to_client += (uint64_t)sent;
	return client_enter(c, CLIENT_REPLY, worker_config(w)->relay_timeout);
}

static enum next client_reply(struct client *c)
{
	int error = conn_send(&c->conn, &c->worker->buffers);

	if (error == -EAGAIN && !c->timed_out)
		return WAIT;
	if (error) {
		c->exchange->record.ending =
			error == -EAGAIN ? ENDING_CLIENT_TIMEOUT : ENDING_CLIENT_GONE;
		return CLOSE;
	}
	return client_next(c);
}

enum next client_next(struct client *c)
{
	struct worker *w = c->worker;
	bool unread = c->exchange->has_body &&
		      (c->exchange->to_origin.body == BODY_NONE || !c->exchange->to_origin.taken);

	exchange_free(c);
	c->seen = 0;
	c->head_since = 0;
	if (c->keep_alive && !w->draining && !unread)
		return client_enter(c, CLIENT_READ_HEAD, worker_config(w)->idle_timeout);
	if (!unread && !c->conn.in)
		return CLOSE;
	shutdown(c->conn.fd, SHUT_WR);
	return client_enter(c, CLIENT_LINGER, LINGER_TIME);
}

static enum next client_linger(struct client *c)
{
	ssize_t n;

	if (c->timed_out || c->conn.eof)
		return CLOSE;
	if (!c->conn.readable)
		return WAIT;
	conn_consume(&c->conn, &c->worker->buffers, buffer_held(c->conn.in));
	n = conn_receive(&c->conn, &c->worker->buffers);
	if (n > 0)
		conn_consume(&c->conn, &c->worker->buffers, n);
	return n > 0 || n == -EAGAIN ? WAIT : CLOSE;
}

/* The timer runs late rather than often: it is moved only when it would fire too late. */
static void wake_at(struct client *c, double when)
{
	if (when >= c->timer_at)
		return;
	c->timer_at = when;
	ev_timer_stop(c->worker->loop, &c->timer);
	ev_timer_set(&c->timer, fmax(0, when - c->worker->now), 0);
	ev_timer_start(c->worker->loop, &c->timer);
}

static void arm(struct client *c)
{
	struct worker *w = c->worker;
	int client = 0, origin = 0;

	switch (c->state) {
	case CLIENT_READ_HEAD:
	case CLIENT_READ_HELLO:
	case CLIENT_LINGER:
		client = EV_READ;
		break;
	case CLIENT_REPLY:
		client = EV_WRITE;
		break;
	default:
		exchange_wants(c, &client, &origin);
		break;
	}
	if (c->conn.eof)
		client &= ~EV_READ;
	if (!c->background)
		conn_arm(&c->conn, w->loop, client);
	if (c->exchange && c->exchange->origin)
		conn_arm(&c->exchange->origin->conn, w->loop, origin);
	wake_at(c, c->deadline);
}

static enum next step(struct client *c)
{
	static enum next (*const steps[])(struct client *) = {
#define X(state, step) [CLIENT_##state] = step,
		CLIENT_STATES(X)
#undef X
	};

	if (c->timed_out && c->state != CLIENT_READ_HEAD && c->state != CLIENT_READ_HELLO &&
		c->state != CLIENT_REPLY && c->state != CLIENT_LINGER)
		return exchange_timeout(c);
	return steps[c->state](c);
}

void client_drive(struct client *c)
{
	int turns = 0;

	for (; turns < TURNS; turns++) {
		enum next next = step(c);

		c->timed_out = false;
		if (next == CLOSE) {
			destroy(c);
			return;
		}
		if (next == WAIT)
			break;
	}
	arm(c);
	/* Let others have the loop: an event that is fed would come before theirs. */
	if (turns == TURNS)
		wake_at(c, c->worker->now);
}

void clients_close_idle(struct worker *w)
{
	struct client *c = TAILQ_FIRST(&w->clients), *next;

	for (; c; c = next) {
		next = TAILQ_NEXT(c, link);
		if ((c->state == CLIENT_READ_HEAD || c->state == CLIENT_READ_HELLO) && !c->conn.in)
			destroy(c);
	}
}

/* Nothing looks complete. */
static void cut(struct client *c, enum ending ending)
{
	if (c->exchange)
		c->exchange->record.ending = ending;
	client_reset(c);
	destroy(c);
}

void clients_close_all(struct worker *w, enum ending ending)
{
	struct client *c;

	while ((c = TAILQ_FIRST(&w->clients)))
		cut(c, ending);
}

static const char *state_name(const struct client *c)
{
	switch (c->state) {
	case CLIENT_READ_HEAD:
	case CLIENT_READ_HELLO:
		return c->conn.in ? "reading" : "idle";
	case CLIENT_RESOLVE:
		return "resolving";
	case CLIENT_FOLLOW:
		return "waiting";
	case CLIENT_SERVE:
		return "serving";
	case CLIENT_REACH:
	case CLIENT_DIAL:
		return "connecting";
	case CLIENT_RELAY:
		return "relaying";
	case CLIENT_REPLY:
	case CLIENT_REFUSE:
		return "answering";
	case CLIENT_LINGER:
		return "closing";
	default:
		return "deciding";
	}
}

void clients_each(
	const struct worker *w, void (*each)(void *arg, const struct survey_row *row), void *arg)
{
	const struct client *c;

	TAILQ_FOREACH (c, &w->clients, link) {
		const struct exchange *x = c->exchange;
		struct survey_row row = {.id = c->id, .client = c->at, .state = state_name(c)};

		if (c->background || c->kind == LISTENER_ADMIN)
			continue;
		row.captured = c->kind == LISTENER_CAPTURE;
		if (x) {
			survey_fill(&row, &x->record);
			row.seconds = w->now - x->began;
			row.from_client += x->to_origin.bytes;
			row.to_client += x->to_client.bytes;
		}
		each(arg, &row);
	}
}

bool clients_kill(struct worker *w, uint64_t id)
{
	struct client *c;

	TAILQ_FOREACH (c, &w->clients, link)
		if (c->id == id && !c->background) {
			cut(c, ENDING_KILLED);
			return true;
		}
	return false;
}
