/*
 * The last state of an exchange: the request on its way to the origin and the
 * response on its way back, both at once, in either order.  Until the first byte of a response is
 * on its way to the client, a failure is answered; after that the client is cut off so that it can
 * see that something is missing.
 */
#include "daemon/proxy/client.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/http/forward.h"
#include "daemon/proxy/cached.h"
#include "daemon/proxy/origin.h"
#include "daemon/proxy/worker.h"

/* 1xx responses to one request: a client that does not read holds them all here. */
#define INTERIMS 8

/* The exchange fails: an answer, behind what 1xx responses there are, or where one has begun, a
 * cut. */
static enum next fail(
	struct client *c, enum ending ending, int status, const char *error, const char *details)
{
	struct exchange *x = c->exchange;

	if (x->origin)
		origin_release(x->origin, false);
	x->origin = NULL;
	if (x->final) {
		x->record.ending = ending;
		x->record.detail = details;
		client_reset(c);
		return CLOSE;
	}
	return client_answer(
		c, ending, &(struct reply){.status = status, .error = error, .details = details});
}

/* The origin closed or reset before its response was whole. */
static enum next origin_gone(struct client *c)
{
	struct exchange *x = c->exchange;

	if (!x->final && x->origin->reused && x->retriable && !x->retried && x->interims == 0 &&
		!x->origin->conn.in) {
		origin_release(x->origin, false);
		x->origin = NULL;
		x->retried = true;
		flow_fini(&x->to_origin, &c->worker->pipes);
		flow_init(&x->to_origin, BODY_NONE, 0, false);
		return client_enter(c, CLIENT_REACH, INFINITY);
	}
	return fail(c, ENDING_ORIGIN_GONE, 502,
		x->final ? "http_response_incomplete" : "connection_terminated",
		"the origin closed the connection before its response was complete");
}

static enum next client_gone(struct client *c)
{
	c->exchange->record.ending = ENDING_CLIENT_GONE;
	client_reset(c);
	return CLOSE;
}

static enum next no_memory(struct client *c)
{
	return fail(
		c, ENDING_FULL, 503, "proxy_internal_error", "out of memory or file descriptors");
}

/* The request body.  WAIT: nothing to tell. */
static enum next send_request(struct client *c)
{
	struct exchange *x = c->exchange;
	struct worker *w = c->worker;
	uint64_t before = x->to_origin.bytes;

	if (x->request_lost || (x->to_origin.taken && !x->origin->conn.out))
		return WAIT;
	switch (flow_step(&x->to_origin, &c->conn, &x->origin->conn, &w->buffers, &w->pipes)) {
	case FLOW_BUSY:
	case FLOW_WAIT:
	case FLOW_DONE:
		break;
	case FLOW_TO_FAILED: /* there may be a response that says why */
		x->request_lost = true;
		x->origin->conn.readable = true;
		break;
	case FLOW_FROM_BAD:
		return fail(c, ENDING_BAD_REQUEST, 400, "http_request_error",
			"the request body is not chunked coding");
	case FLOW_FROM_ENDED:
	case FLOW_FROM_FAILED:
		return client_gone(c);
	case FLOW_NO_MEMORY:
		return no_memory(c);
	}
	if (x->to_origin.bytes != before || (x->to_origin.taken && before == 0))
		client_enter(c, CLIENT_RELAY,
			x->to_origin.taken ? x->generation->config->response_timeout
					   : x->generation->config->relay_timeout);
	return WAIT;
}

/* How the body goes on to this client. */
static enum framing framing_for(const struct exchange *x, const struct head *head)
{
	if (head->body == BODY_CLOSE)
		return x->minor == 1 ? FRAMING_CHUNKED : FRAMING_CLOSE;
	if (head->body == BODY_CHUNKED && x->minor == 0)
		return FRAMING_CLOSE;
	return head->body == BODY_CHUNKED && x->trailers ? FRAMING_TRAILERS : FRAMING_SAME;
}

static enum next forward_head(struct client *c, const struct head *head)
{
	struct exchange *x = c->exchange;
	struct worker *w = c->worker;
	struct text name = text_of(x->generation->config->name);
	enum framing framing = framing_for(x, head);
	bool interim = head->status < 200;
	size_t size = head->length + FORWARD_EXTRA(name.length) + DATE_TEXT + CACHED_LINES;
	char lines[CACHED_LINES];
	struct buffer *out;
	size_t n, n_lines;

	if (!interim) {
		c->keep_alive = c->keep_alive && framing != FRAMING_CLOSE && !w->draining &&
				!c->conn.eof && (x->to_origin.taken && !x->request_lost);
		x->origin_keeps = head->keep_alive && head->body != BODY_CLOSE;
		x->final = true;
		x->record.status = head->status;
		x->record.first_byte = w->now - x->began;
		buffer_put(&w->buffers, x->request);
		x->request = NULL;
		flow_init(&x->to_client, head->body, head->body_length,
			framing == FRAMING_CHUNKED ||
				(head->body == BODY_CHUNKED && framing != FRAMING_CLOSE));
		if (framing == FRAMING_TRAILERS)
			flow_keep_trailers(&x->to_client);
	}
	if (interim && x->minor == 0)
		return WAIT; /* RFC 9110 15.2: not to a HTTP/1.0 client */
	out = conn_out(&c->conn, &w->buffers, size);
	if (!out)
		return no_memory(c);
	n_lines = x->cached && !interim ? cached_lines(x, lines) : 0;
	n = forward_response(out->data + out->end, buffer_room(out), head, c->keep_alive || interim,
		x->minor, framing, name, text_of(worker_date(w)), (struct text){lines, n_lines});
	CHECK(n > 0);
	out->end += n;
	return WAIT;
}

/* Nobody knows what either side takes for the next message: both connections end. */
static enum next bad_response(struct client *c, const struct head_error *error)
{
	c->exchange->has_body = true; /* for all we know: the client's is left unread and lingers */
	c->keep_alive = false;
	return fail(c, ENDING_BAD_RESPONSE, 502, "http_protocol_error", error->text);
}

/* A tunnel from here on: what came behind the 101 belongs to it. */
static enum next switch_protocols(struct client *c, const struct head *head)
{
	struct exchange *x = c->exchange;
	struct worker *w = c->worker;
	struct conn *from = &x->origin->conn;
	enum next next;
	size_t held;

	if (from->out)
		return bad_response(c, &(struct head_error){502, "101: before the request"});
	next = forward_head(c, head);
	if (next != WAIT)
		return next;
	x->final = true;
	conn_consume(from, &w->buffers, head->length);
	held = buffer_held(from->in);
	if (held > 0) {
		struct buffer *out = conn_out(&c->conn, &w->buffers, held);

		if (!out)
			return no_memory(c);
		memcpy(out->data + out->end, buffer_text(from->in).at, held);
		out->end += held;
		conn_consume(from, &w->buffers, held);
	}
	x->record.status = head->status;
	x->record.first_byte = w->now - x->began;
	x->record.to_client = held;
	return exchange_tunnel(c);
}

/* Reads response heads up to the final one.  WAIT: x->final tells. */
static enum next read_response_head(struct client *c)
{
	struct exchange *x = c->exchange;
	struct worker *w = c->worker;
	struct conn *from = &x->origin->conn;
	struct head_limits limits = worker_head_limits(w);

	while (!x->final) {
		struct head head = {
			.fields = w->fields, .upgrade = text_of(x->upgrade ? x->upgrade : "")};
		struct head_error error;
		enum head_result r = HEAD_MORE;
		enum next next;
		ssize_t n;

		if (from->in)
			r = head_find(buffer_text(from->in), false, &x->seen, &limits, &error);
		if (r == HEAD_DONE)
			r = head_response(buffer_text(from->in), &limits, x->method, &head, &error);
		if (r == HEAD_BAD)
			return bad_response(c, &error);
		if (r == HEAD_DONE && head.status == 101)
			return switch_protocols(c, &head);
		if (r == HEAD_DONE) {
			if (head.status < 200 && ++x->interims > INTERIMS)
				return bad_response(
					c, &(struct head_error){502, "too many 1xx responses"});
			next = head.status < 200 ? WAIT : cached_response(c, &head);
			if (next != WAIT)
				return next;
			if (c->background && head.status >= 200)
				return CLOSE;
			next = c->background ? WAIT : forward_head(c, &head);
			conn_consume(from, &w->buffers, head.length);
			x->seen = 0;
			if (next != WAIT)
				return next;
			continue;
		}
		if (from->eof)
			return origin_gone(c);
		if (!from->readable)
			return WAIT;
		n = conn_receive(from, &w->buffers);
		if (n == -EAGAIN)
			return WAIT;
		if (n == -ENOBUFS && client_grow(from, &w->buffers, limits.bytes))
			continue;
		if (n == -ENOMEM || n == -ENOBUFS)
			return no_memory(c);
		if (n <= 0)
			return origin_gone(c);
	}
	return WAIT;
}

static enum next finish(struct client *c)
{
	struct exchange *x = c->exchange;
	bool whole = x->to_origin.taken && !x->request_lost && !x->origin->conn.out;

	x->record.ending = ENDING_DONE;
	origin_release(x->origin, x->origin_keeps && whole);
	x->origin = NULL;
	return client_next(c);
}

static enum next send_response(struct client *c)
{
	struct exchange *x = c->exchange;
	struct worker *w = c->worker;
	uint64_t before = x->to_client.bytes;

	switch (flow_step(&x->to_client, &x->origin->conn, &c->conn, &w->buffers, &w->pipes)) {
	case FLOW_DONE:
		return finish(c);
	case FLOW_BUSY:
	case FLOW_WAIT:
		break;
	case FLOW_FROM_BAD:
		return bad_response(
			c, &(struct head_error){502, "the response body is not chunked coding"});
	case FLOW_FROM_ENDED:
	case FLOW_FROM_FAILED:
		return origin_gone(c);
	case FLOW_TO_FAILED:
		return client_gone(c);
	case FLOW_NO_MEMORY:
		return no_memory(c);
	}
	if (x->to_client.bytes != before)
		client_enter(c, CLIENT_RELAY, x->generation->config->relay_timeout);
	return WAIT;
}

enum next exchange_relay(struct client *c)
{
	struct exchange *x = c->exchange;
	enum next next = send_request(c);

	if (next != WAIT)
		return next;
	if (x->to_origin.taken && !client_watch(c))
		return client_gone(c);
	next = read_response_head(c);
	if (next != WAIT)
		return next;
	if (!x->final) { /* a 1xx may have to go out */
		int error = conn_send(&c->conn, &c->worker->buffers);

		return error && error != -EAGAIN ? client_gone(c) : WAIT;
	}
	return send_response(c);
}

enum next exchange_timeout(struct client *c)
{
	struct exchange *x = c->exchange;

	if (c->state == CLIENT_FOLLOW || c->state == CLIENT_LOOKUP)
		return cached_alone(c);
	if (c->state == CLIENT_SERVE) {
		x->record.ending = x->cached->waits ? ENDING_ORIGIN_TIMEOUT : ENDING_CLIENT_TIMEOUT;
		client_reset(c);
	}
	if (c->state != CLIENT_RELAY)
		return CLOSE;
	if (!x->to_origin.taken && !flow_wants_write(&x->to_origin, &x->origin->conn) &&
		!x->final && !(x->expects && x->interims == 0 && x->to_origin.bytes == 0))
		return fail(c, ENDING_CLIENT_TIMEOUT, 408, "http_request_error",
			"the request body took too long");
	if (x->final && flow_wants_write(&x->to_client, &c->conn))
		return fail(c, ENDING_CLIENT_TIMEOUT, 408, NULL,
			"the client does not take the response");
	return fail(c, ENDING_ORIGIN_TIMEOUT, 504, "http_response_timeout",
		"the origin did not answer in time");
}

void exchange_wants(const struct client *c, int *client_events, int *origin_events)
{
	const struct exchange *x = c->exchange;
	bool relay = c->state == CLIENT_RELAY && x->origin;

	if (c->state == CLIENT_SERVE) {
		serve_wants(c, client_events);
		return;
	}
	if (!relay) {
		*client_events = c->conn.in ? 0 : EV_READ;
		return;
	}
	if (x->to_origin.taken ? !c->conn.in
			       : !x->request_lost &&
					 flow_wants_read(&x->to_origin, &c->conn, &x->origin->conn))
		*client_events |= EV_READ;
	if (c->conn.blocked && (c->conn.out || x->to_client.pump.held))
		*client_events |= EV_WRITE;
	if (!x->origin->conn.eof &&
		(!x->final || flow_wants_read(&x->to_client, &x->origin->conn, &c->conn)))
		*origin_events |= EV_READ;
	if (!x->request_lost && flow_wants_write(&x->to_origin, &x->origin->conn))
		*origin_events |= EV_WRITE;
}
