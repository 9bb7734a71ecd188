/*
 * reach.c - an exchange's way to its origin: a pooled connection, or a new one to an address that
 * was checked; and what is said when there is none.
 */
#include "daemon/proxy/client.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/proxy/cached.h"
#include "daemon/proxy/capture.h"
#include "daemon/proxy/origin.h"
#include "daemon/proxy/tunnel.h"
#include "daemon/proxy/worker.h"
#include "nat/facts.h"

static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";

/* A connection to one of our own listeners would come back as a request. */
static bool is_own(const struct shared *shared, const struct endpoint *to)
{
	for (size_t i = 0; i < shared->n_listeners; i++)
		if (shared->listeners[i].at.port == to->port)
			return nat_address_is_local(&to->addr);
	return false;
}

static const struct addr *egress_to(const struct exchange *x, const struct addr *origin, bool *none)
{
	return generation_egress(x->generation, x->record.verdict.section, origin, &x->query.client,
		x->random, none);
}

/* For the record: what the connection to this origin leaves from, or would have. */
static void record_origin(struct exchange *x, const struct endpoint *origin)
{
	bool none;
	const struct addr *egress = egress_to(x, &origin->addr, &none);

	x->record.origin = *origin;
	x->record.has_egress = egress != NULL;
	if (egress)
		x->record.egress = *egress;
}

/* Leaves in x->addrs what may be dialled; says why when that is nothing. */
static enum reason guard(struct exchange *x, struct dial_options *options)
{
	enum reason why = REASON_NOT_RESOLVED;
	const struct section *block = NULL;
	size_t n = 0;

	for (size_t i = 0; i < x->query.n_addrs; i++) {
		struct endpoint to = {x->query.addrs[i], x->query.port};
		const struct addr *egress;
		enum reason r = policy_guard(
			x->generation->policy, &x->query, &x->record.verdict, &to.addr, &block);
		bool none;

		egress = egress_to(x, &to.addr, &none);
		if (r == REASON_MATCHED && none)
			r = REASON_NOT_RESOLVED;
		if (r == REASON_MATCHED && is_own(x->client->worker->shared, &to))
			r = REASON_LOOP;
		if (r != REASON_MATCHED) {
			why = r;
			continue;
		}
		if (block && !x->record.verdict.reported) { /* one in report mode */
			x->record.verdict.reported = true;
			x->record.verdict.reporter = block;
		}
		if (addr_is_v4(&to.addr))
			options->bind4 = egress;
		else
			options->bind6 = egress;
		x->addrs[n++] = to.addr;
	}
	options->addrs = x->addrs;
	options->n_addrs = n;
	if (n == 0 && why == REASON_BLOCKED_ADDRESS)
		x->record.verdict.section = block;
	return n ? REASON_MATCHED : why;
}

static void on_dialled(struct dial *dial)
{
	struct exchange *x = (struct exchange *)((char *)dial - offsetof(struct exchange, dial));
	struct client *c = x->client;

	x->dialled = true;
	client_drive(c);
}

static enum next begin_relay(struct client *c, struct origin *o)
{
	struct exchange *x = c->exchange;
	const struct buffer *request = cached_request(x);
	struct buffer *out = conn_out(&o->conn, &c->worker->buffers, request->end);

	x->origin = o;
	o->client = c;
	if (!out)
		return exchange_answer(
			c, ENDING_FULL, 503, "proxy_internal_error", "out of memory");
	memcpy(out->data + out->end, request->data, request->end);
	out->end += request->end;
	if (x->cached)
		cached_asks(c);
	x->record.origin = o->at;
	x->record.egress = o->egress;
	x->record.has_egress = o->has_egress;
	x->record.pooled = o->reused;
	x->request_lost = false;
	x->seen = 0;
	return client_enter(c, CLIENT_RELAY, x->generation->config->response_timeout);
}

enum next exchange_reach(struct client *c)
{
	struct exchange *x = c->exchange;
	struct dial_options options = {
		.port = x->query.port, .timeout = x->generation->config->connect_timeout};
	bool captured = c->kind == LISTENER_CAPTURE;
	enum reason why;

	if (captured && !x->query.resolved)
		return client_enter(c, CLIENT_RESOLVE, INFINITY);
	if (captured && !capture_agrees(c))
		return capture_misdirected(c);
	if (x->retriable && !x->retried && x->request && x->generation == c->worker->generation) {
		struct origin *o = origin_find(c->worker, &x->query, &x->record.verdict,
			captured ? &c->original.addr : NULL);

		if (o)
			return begin_relay(c, o);
	}
	if (!x->query.resolved)
		return client_enter(c, CLIENT_RESOLVE, INFINITY);
	x->random = worker_random(c->worker);
	why = guard(x, &options);
	if (why == REASON_NOT_RESOLVED)
		return exchange_answer(c, ENDING_CONNECT_FAILED, 502, "destination_ip_unroutable",
			"there is no egress address of the IP version that the origin has");
	if (why != REASON_MATCHED)
		return exchange_deny(c, why);
	x->dialled = false;
	dial_start(&x->dial, c->worker->loop, &options, on_dialled);
	return client_enter(c, CLIENT_DIAL, INFINITY);
}

static const char *print_failure(const struct exchange *x, char *out, size_t size)
{
	char egress[ADDR_TEXT];

	addr_print(&x->record.egress, egress);
	if (x->record.has_egress && x->dial.error == EADDRNOTAVAIL)
		snprintf(out, size, "egress address %s is not on this node", egress);
	else if (x->record.has_egress && x->dial.error == EADDRINUSE)
		snprintf(out, size, "all ports of egress address %s are in use towards it", egress);
	else
		snprintf(out, size, "%s", strerror(x->dial.error));
	return out;
}

static enum next dial_failed(struct client *c)
{
	struct exchange *x = c->exchange;
	const char *error = "destination_ip_unroutable";
	char details[HOST_MAX + 200], why[100];
	int status = 502;

	if (x->dial.error == ETIMEDOUT) {
		status = 504;
		error = "connection_timeout";
	} else if (x->dial.error == ECONNREFUSED) {
		error = "connection_refused";
	} else if (x->dial.error == EADDRINUSE) {
		status = 503;
		error = "connection_limit_reached";
	} else if (x->dial.error == EMFILE || x->dial.error == ENFILE || x->dial.error == ENOMEM) {
		status = 503;
		error = "proxy_internal_error";
	}
	record_origin(x, &x->dial.origin);
	snprintf(details, sizeof(details), "no connection to %.*s port %u: %s",
		(int)x->uri.host_length, x->uri.host, x->query.port,
		print_failure(x, why, sizeof(why)));
	return exchange_answer(
		c, status == 503 ? ENDING_FULL : ENDING_CONNECT_FAILED, status, error, details);
}

enum next exchange_tunnel(struct client *c)
{
	struct exchange *x = c->exchange;
	struct origin *o = x->origin;

	if (!tunnel_start(
		    c->worker, &c->conn, &o->conn, x->generation, &x->query, &x->record, x->began))
		return CLOSE;
	x->record.tunnel = true; /* which speaks for itself from now on */
	x->origin = NULL;
	free(o);
	return CLOSE;
}

static enum next open_tunnel(struct client *c, struct origin *o)
{
	struct exchange *x = c->exchange;
	struct worker *w = c->worker;
	struct buffer *out = NULL;

	x->origin = o;
	if (!c->tls) {
		out = conn_out(&c->conn, &w->buffers, sizeof(established));
		if (!out)
			return CLOSE;
		memcpy(out->data + out->end, established, sizeof(established) - 1);
		out->end += sizeof(established) - 1;
	}
	x->record.status = 200;
	return exchange_tunnel(c);
}

enum next exchange_dial(struct client *c)
{
	struct exchange *x = c->exchange;
	struct origin *o;

	if (!x->dialled)
		return client_watch(c) ? WAIT : CLOSE;
	x->record.connect = x->dial.took;
	if (x->dial.fd < 0)
		return dial_failed(c);
	o = origin_new(c->worker, x->dial.fd, (struct text){x->uri.host, x->uri.host_length},
		x->query.port, x->record.verdict.section);
	x->dial.fd = -1;
	if (!o)
		return exchange_answer(
			c, ENDING_FULL, 503, "proxy_internal_error", "out of memory");
	o->at = x->dial.origin;
	o->generation = x->generation->number;
	record_origin(x, &o->at);
	o->has_egress = x->record.has_egress;
	o->egress = x->record.egress;
	return x->request ? begin_relay(c, o) : open_tunnel(c, o);
}
