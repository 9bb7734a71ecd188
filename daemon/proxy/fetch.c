/*
 * Its life: it reads until the body is whole, the origin fails, or the fill takes no more.  Then
 * it is over at once, or waits as FULL for its client to take the connection back.
 */
#include "daemon/proxy/fetch.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "daemon/proxy/cached.h"
#include "daemon/proxy/origin.h"
#include "daemon/proxy/worker.h"

#define READS 16            /* in one turn of the loop */
#define LOOK 1.0            /* seconds after which it is seen that nobody reads any more */
#define WORTH (1024 * 1024) /* bytes that are fetched to the end though nobody reads them */

struct fetch {
	struct worker *worker;
	TAILQ_ENTRY(fetch) link;
	struct origin *origin;
	struct fill *fill;
	struct flight *flight; /* NULL: none */
	struct cached *reader; /* of the client that began it; NULL: it went */
	enum body body;
	uint64_t left;
	struct chunk chunk;
	uint64_t length; /* so far */
	bool origin_keeps;
	bool full;
	bool wanted;              /* though nobody may read it: counted in the worker */
	double progress, timeout; /* monotonic seconds: the last byte, relay-timeout */
	ev_timer timer;
};

static void end(struct fetch *f, bool whole)
{
	struct worker *w = f->worker;

	if (whole)
		fill_finish(f->fill);
	else if (!f->full)
		fill_abort(f->fill);
	if (f->flight)
		flight_over(f->flight);
	flight_put(f->flight);
	fill_put(f->fill);
	if (f->reader)
		f->reader->fetch = NULL;
	w->n_unattended -= f->wanted;
	if (f->origin)
		origin_release(f->origin, whole && f->origin_keeps);
	ev_timer_stop(w->loop, &f->timer);
	TAILQ_REMOVE(&w->fetches, f, link);
	free(f);
}

/* A reference is ours, and one the flight's, while that can be followed. */
static bool is_read(const struct fetch *f)
{
	return fill_references(f->fill) > 1 + (f->flight != NULL);
}

/* Nobody new can come before it is known that nobody is left. */
static bool is_forsaken(struct fetch *f)
{
	if (f->wanted || is_read(f))
		return false;
	if (f->flight)
		flight_over(f->flight);
	flight_put(f->flight);
	f->flight = NULL;
	return !is_read(f);
}

/* No byte for relay-timeout; or all who followed have gone. */
static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct fetch *f = timer->data;

	(void)loop;
	(void)revents;
	if (f->reader || f->worker->now - f->progress >= f->timeout || is_forsaken(f))
		end(f, false);
	else
		ev_timer_again(f->worker->loop, &f->timer);
}

struct fetch *fetch_new(
	struct client *c, const struct head *response, struct fill *fill, struct flight *flight)
{
	struct exchange *x = c->exchange;
	struct worker *w = c->worker;
	struct fetch *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->worker = w;
	f->origin = x->origin;
	f->fill = fill_get(fill);
	f->flight = flight ? flight_get(flight) : NULL;
	f->reader = x->cached;
	f->body = response->body;
	f->left = response->body == BODY_LENGTH ? response->body_length : 0;
	f->origin_keeps = response->keep_alive && response->body != BODY_CLOSE;
	chunk_init(&f->chunk);
	conn_consume(&f->origin->conn, &w->buffers, response->length);
	f->origin->client = NULL;
	f->origin->fetch = f;
	x->origin = NULL;
	TAILQ_INSERT_TAIL(&w->fetches, f, link);
	f->progress = w->now;
	f->timeout = x->generation->config->relay_timeout;
	ev_timer_init(&f->timer, on_timer, 0, f->timeout);
	f->timer.data = f;
	/* In a turn of its own: its end must not come while its client is at work. */
	conn_arm(&f->origin->conn, w->loop, EV_READ);
	ev_feed_event(w->loop, &f->origin->conn.io, EV_READ);
	ev_timer_again(w->loop, &f->timer);
	return f;
}

/* Is the rest worth having, when nobody has asked for it any more? */
static bool is_worth(const struct fetch *f)
{
	return f->body == BODY_NONE ||
	       (f->body == BODY_LENGTH && (f->left <= WORTH || f->left <= f->length));
}

void fetch_leave(struct fetch *f)
{
	struct worker *w = f->worker;

	bool wanted = (f->reader->background || is_worth(f)) && w->n_unattended < WORKER_UNATTENDED;

	f->reader->fetch = NULL;
	f->reader = NULL;
	if (f->full || !(wanted || (f->flight && !flight_leave(f->flight)))) {
		end(f, false);
		return;
	}
	f->wanted = wanted;
	w->n_unattended += wanted;
	f->timer.repeat = LOOK;
	ev_timer_again(w->loop, &f->timer);
}

bool fetch_hand_back(struct fetch *f, struct exchange *x, uint64_t at, bool rechunk)
{
	if (!f->full || at != f->length)
		return false;
	x->origin = f->origin;
	x->origin->fetch = NULL;
	x->origin->client = x->client;
	x->origin_keeps = f->origin_keeps;
	flow_init(&x->to_client, f->body, f->left, rechunk);
	x->to_client.chunk = f->chunk;
	f->origin = NULL;
	end(f, false);
	return true;
}

/* The fill takes no more: it is told, and whoever asks from now on asks for itself. */
static void fill_is_full(struct fetch *f)
{
	f->full = true;
	fill_abort(f->fill);
	if (f->flight)
		flight_pass(f->flight, f->worker->now);
	ev_timer_stop(f->worker->loop, &f->timer);
	conn_arm(&f->origin->conn, f->worker->loop, 0);
	if (!f->reader)
		end(f, false);
}

enum taken { TAKEN_MORE, TAKEN_END, TAKEN_BAD, TAKEN_FULL };

/* *data is what was taken, then. */
static enum taken append(struct fetch *f, struct text *data)
{
	int error = fill_append(f->fill, data->at, data->length);

	data->length = fill_length(f->fill) - f->length;
	f->length += data->length;
	return error ? TAKEN_FULL : TAKEN_MORE;
}

/* As far as `data` goes, and no further: whoever takes over reads the rest. */
static void decode_again(
	struct fetch *f, const struct chunk *before, struct text *in, struct text data)
{
	struct text some = {in->at, (size_t)(data.at + data.length - in->at)};

	f->chunk = *before;
	if (data.length == 0)
		return;
	CHECK(chunk_next(&f->chunk, &some, &data) == CHUNK_DATA && some.length == 0);
	in->length -= (size_t)(some.at - in->at);
	in->at = some.at;
}

static enum taken take_chunks(struct fetch *f, struct conn *from)
{
	struct text all = buffer_text(from->in), in = all, data;
	enum taken taken = TAKEN_MORE;

	while (taken == TAKEN_MORE && in.length > 0) {
		struct chunk before = f->chunk;
		struct text rest = in;

		switch (chunk_next(&f->chunk, &rest, &data)) {
		case CHUNK_DATA:
			taken = append(f, &data);
			break;
		case CHUNK_END:
			taken = TAKEN_END;
			break;
		case CHUNK_BAD:
			taken = TAKEN_BAD;
			break;
		case CHUNK_MORE:
			break;
		}
		if (taken == TAKEN_FULL)
			decode_again(f, &before, &in, data);
		else
			in = rest;
	}
	conn_consume(from, &f->worker->buffers, all.length - in.length);
	return taken;
}

static enum taken take(struct fetch *f)
{
	struct conn *from = &f->origin->conn;
	struct text data = buffer_text(from->in);
	enum taken taken;

	if (f->body == BODY_NONE || (f->body == BODY_LENGTH && f->left == 0))
		return TAKEN_END;
	if (data.length == 0)
		return TAKEN_MORE;
	if (f->body == BODY_CHUNKED)
		return take_chunks(f, from);
	if (f->body == BODY_LENGTH && data.length > f->left)
		data.length = f->left;
	taken = append(f, &data);
	conn_consume(from, &f->worker->buffers, data.length);
	if (f->body == BODY_LENGTH && (f->left -= data.length) == 0)
		return TAKEN_END;
	return taken;
}

void fetch_drive(struct fetch *f)
{
	struct conn *from = &f->origin->conn;
	uint64_t before = f->length;

	for (int reads = 0;; reads++) {
		ssize_t n = 0;

		switch (take(f)) {
		case TAKEN_END:
			end(f, true);
			return;
		case TAKEN_BAD:
			end(f, false);
			return;
		case TAKEN_FULL:
			fill_is_full(f);
			return;
		case TAKEN_MORE:
			break;
		}
		if (reads == READS) {
			ev_feed_event(f->worker->loop, &from->io, EV_READ);
			break;
		}
		if (!from->eof && !from->readable)
			break;
		if (!from->eof)
			n = conn_receive(from, &f->worker->buffers);
		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			end(f, n == 0 && f->body == BODY_CLOSE);
			return;
		}
	}
	if (f->length != before) {
		f->progress = f->worker->now;
		if (f->reader)
			ev_timer_again(f->worker->loop, &f->timer);
	}
	conn_arm(from, f->worker->loop, EV_READ);
}

void fetches_close_all(struct worker *w)
{
	while (!TAILQ_EMPTY(&w->fetches))
		end(TAILQ_FIRST(&w->fetches), false);
}
