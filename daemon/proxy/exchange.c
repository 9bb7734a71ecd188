/*
 * One request and its response:
 *
 *   DECIDE --- RESOLVE --- REACH --- DIAL --- RELAY
 *      |          |          |        |         |
 *      +----------+----------+--------+---------+--> an answer of our own (client.c)
 *
 * The request is serialised for its origin while its head is still in the buffer;
 * from then on only values are kept.  A pooled connection that turns out dead before the
 * first byte of a response is replaced once, by a new one, for a request that may be sent twice.
 */
#include "daemon/proxy/client.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/admin/admin.h"
#include "daemon/http/forward.h"
#include "daemon/proxy/info.h"
#include "daemon/proxy/origin.h"
#include "daemon/proxy/tunnel.h"
#include "daemon/proxy/worker.h"
#include "nat/facts.h"

static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";

struct exchange *exchange_new(struct client *c)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->client = c;
	x->dial.fd = -1;
	x->generation = generation_get(c->worker->generation);
	x->began = c->head_since ? c->head_since : c->worker->now;
	x->record.when = ev_now(c->worker->loop) - (c->worker->now - x->began);
	x->record.dns = x->record.connect = x->record.first_byte = -1;
	x->record.client = c->at;
	x->record.ending = ENDING_CLIENT_GONE; /* until it is known better */
	return c->exchange = x;
}

/* Hands the connection to the origin back.  The exchange is over for it. */
static void leave_origin(struct exchange *x, bool reusable)
{
	if (x->origin)
		origin_release(x->origin, reusable);
	x->origin = NULL;
}

void exchange_free(struct client *c)
{
	struct exchange *x = c->exchange;
	struct worker *w = c->worker;

	if (!x)
		return;
	c->exchange = NULL;
	resolver_cancel(&x->lookup);
	dial_cancel(&x->dial);
	flow_fini(&x->to_origin, &w->pipes);
	flow_fini(&x->to_client, &w->pipes);
	leave_origin(x, false);
	buffer_put(&w->buffers, x->request);
	x->record.total = worker_clock() - x->began;
	x->record.from_client += x->to_origin.bytes;
	x->record.to_client += x->to_client.bytes;
	if (!x->record.tunnel && c->kind == LISTENER_PROXY)
		worker_record(w, &x->record);
	generation_put(x->generation);
	free(x->line);
	free(x->detail);
	free(x);
}

/* An answer with the story of the verdict, or any other text. */
static enum next answer(
	struct client *c, enum ending ending, int status, const char *error, const char *details)
{
	return client_answer(
		c, ending, &(struct reply){.status = status, .error = error, .details = details});
}

static enum next deny(struct client *c)
{
	struct exchange *x = c->exchange;
	struct reply reply = {.status = 403, .error = "http_request_denied"};
	char details[400];

	x->record.decided = true;
	policy_explain(&x->query, &x->record.verdict, details, sizeof(details));
	reply.details = details;
	if (x->record.verdict.reason == REASON_ADDRESS ||
		x->record.verdict.reason == REASON_BLOCKED_ADDRESS)
		reply.error = "destination_ip_prohibited";
	if (x->record.verdict.reason == REASON_LOOP)
		reply.error = "proxy_loop_detected";
	return client_answer(c, ENDING_DENIED, &reply);
}

static enum next deny_for(struct client *c, enum reason reason)
{
	struct verdict *v = &c->exchange->record.verdict;

	v->action = ACTION_DENY;
	v->reason = reason;
	return deny(c);
}

static enum next too_many(struct client *c, const struct limit *limit)
{
	struct exchange *x = c->exchange;
	struct verdict *v = &x->record.verdict;
	uint64_t seconds = limit_retry_seconds(limit);
	char details[400];

	v->action = ACTION_DENY;
	v->reason = REASON_RATE;
	snprintf(details, sizeof(details),
		"partner %s: rate %s, burst %u exceeded (%s:%d); try again in %llu s",
		v->section->name, v->section->rate_text, v->section->rate_burst, v->section->file,
		v->section->line, (unsigned long long)seconds);
	return client_answer(c, ENDING_RATE_LIMITED,
		&(struct reply){.status = 429,
			.error = "http_request_denied",
			.details = details,
			.retry_after = seconds ? seconds : 1});
}

/* After an ALLOW: the rate, and the way there. */
static enum next allowed(struct client *c)
{
	struct exchange *x = c->exchange;
	struct verdict *v = &x->record.verdict;
	struct limit limit;

	x->record.decided = true;
	if (!limits_take(c->worker->shared->limits, v->section, &x->query.client,
		    (struct text){x->uri.host, x->uri.host_length}, worker_ns(c->worker), &limit)) {
		if (!v->section->report)
			return too_many(c, &limit);
		v->reported = true;
		v->reporter = v->section;
		x->record.detail = "over its rate";
	}
	return client_enter(c, CLIENT_REACH, INFINITY);
}

static enum next decide(struct client *c)
{
	struct exchange *x = c->exchange;

	x->record.verdict = policy_decide(x->generation->policy, &x->query);
	switch (x->record.verdict.action) {
	case ACTION_ALLOW:
		return allowed(c);
	case ACTION_RESOLVE:
		return client_enter(c, CLIENT_RESOLVE, INFINITY);
	case ACTION_DENY:
		break;
	}
	return deny(c);
}

static void ask_about(struct client *c, const struct head *head)
{
	struct exchange *x = c->exchange;

	x->query = (struct query){.client = c->at.addr,
		.connect = head->method_id == METHOD_CONNECT,
		.protocol = PROTOCOL_TCP,
		.port = x->uri.port};
	if (x->uri.is_address) {
		x->addrs[0] = x->uri.addr;
		x->query.addrs = x->addrs;
		x->query.n_addrs = 1;
		x->query.resolved = true;
	} else {
		x->query.host = (struct text){x->uri.host, x->uri.host_length};
	}
}

/* What the rest of the exchange needs of the head, which leaves the buffer now. */
static bool keep_request(struct client *c, const struct head *head)
{
	struct exchange *x = c->exchange;
	struct text name = text_of(x->generation->config->name);
	size_t size = head->length + FORWARD_EXTRA(name.length);

	x->minor = head->minor;
	x->expects = head->expect_continue;
	x->retriable = head->body == BODY_NONE && head->method_id != METHOD_POST &&
		       head->method_id != METHOD_PATCH && head->method_id != METHOD_OTHER;
	if (head->method_id == METHOD_CONNECT)
		return true;
	x->request = buffer_get(&c->worker->buffers, size);
	if (!x->request)
		return false;
	x->request->end = forward_request(x->request->data, x->request->size, head, &x->uri, name);
	flow_init(&x->to_origin, head->body, head->body_length, head->body == BODY_CHUNKED);
	return x->request->end > 0;
}

static bool keep_line(struct exchange *x, const struct head *head)
{
	size_t n = head->method.length;

	x->line = malloc(n + head->target.length + 1);
	if (!x->line)
		return false;
	memcpy(x->line, head->method.at, n);
	memcpy(x->line + n, head->target.at, head->target.length);
	x->record.method = (struct text){x->line, n};
	x->record.target = (struct text){x->line + n, head->target.length};
	return true;
}

static bool is_info(const struct uri *uri)
{
	static const char name[] = "egret.internal";

	return !uri->is_address &&
	       text_equal((struct text){uri->host, uri->host_length}, TEXT(name)) &&
	       uri->scheme == SCHEME_HTTP && uri->port == 80;
}

/* The request as a proxy sees it; its head is still in the buffer. */
static enum next decide_request(struct client *c, const struct head *head)
{
	struct exchange *x = c->exchange;
	struct head_error error;

	if (c->over_limit) {
		c->keep_alive = false;
		return answer(c, ENDING_FULL, 503, "connection_limit_reached",
			"full: [proxy] max-connections is reached");
	}
	if (uri_parse(head, &x->uri, &error))
		return answer(
			c, ENDING_BAD_REQUEST, error.status, "http_request_error", error.text);
	ask_about(c, head);
	if (is_info(&x->uri))
		return info_answer(c, head);
	if (x->uri.scheme == SCHEME_HTTPS)
		return answer(c, ENDING_BAD_REQUEST, 501, "http_request_error",
			"https:// in a plain request: use CONNECT, egret does not see into TLS");
	if (forward_is_loop(head, text_of(x->generation->config->name)))
		return deny_for(c, REASON_LOOP);
	if (head->max_forwards == 0)
		return client_answer(
			c, ENDING_DONE, &(struct reply){.status = 200, .body = TEXT("\n")});
	if (!keep_request(c, head))
		return answer(c, ENDING_FULL, 503, "proxy_internal_error", "out of memory");
	return decide(c);
}

enum next exchange_decide(struct client *c)
{
	struct worker *w = c->worker;
	struct head_limits limits = worker_head_limits(w);
	struct exchange *x = exchange_new(c);
	struct head head = {.fields = w->fields};
	struct head_error error;
	enum next next;

	if (!x)
		return CLOSE;
	x->has_body = true;
	if (head_request(buffer_text(c->conn.in), &limits, &head, &error) != HEAD_DONE) {
		c->keep_alive = false;
		return answer(
			c, ENDING_BAD_REQUEST, error.status, "http_request_error", error.text);
	}
	x->has_body =
		head.body == BODY_CHUNKED || (head.body == BODY_LENGTH && head.body_length > 0);
	x->method = head.method_id;
	c->keep_alive = head.keep_alive;
	if (!keep_line(x, &head))
		return CLOSE;
	next = c->kind == LISTENER_ADMIN ? admin_answer(c, &head) : decide_request(c, &head);
	conn_consume(&c->conn, &w->buffers, head.length);
	return next;
}

static void on_answer(struct lookup *lookup)
{
	struct exchange *x =
		(struct exchange *)((char *)lookup - offsetof(struct exchange, lookup));
	struct client *c = x->client;

	x->answered = true;
	client_drive(c);
}

static enum next dns_failed(struct client *c)
{
	static const struct {
		int status;
		const char *error, *rcode, *text;
	} answers[] = {
		[RESOLVER_NO_NAME] = {502, "dns_error", "NXDOMAIN", "has no address in the DNS"},
		[RESOLVER_FAILED] = {502, "dns_error", "SERVFAIL",
			"could not be looked up: the DNS servers failed"},
		[RESOLVER_TIMEOUT] = {504, "dns_timeout", NULL,
			"could not be looked up: the DNS servers do not answer"},
		[RESOLVER_FULL] = {503, "dns_error", NULL,
			"could not be looked up: too many look-ups wait already"},
	};
	struct exchange *x = c->exchange;
	enum resolver_status s = x->lookup.answer.status;
	char details[HOST_MAX + 100];

	snprintf(details, sizeof(details), "%.*s %s", (int)x->query.host.length, x->query.host.at,
		answers[s].text);
	return client_answer(c, s == RESOLVER_FULL ? ENDING_FULL : ENDING_DNS_FAILED,
		&(struct reply){.status = answers[s].status,
			.error = answers[s].error,
			.rcode = answers[s].rcode,
			.details = details});
}

enum next exchange_resolve(struct client *c)
{
	struct exchange *x = c->exchange;

	if (!x->answered && !x->lookup.on_answer)
		x->answered =
			resolver_ask(c->worker->resolver, x->query.host, &x->lookup, on_answer);
	if (!x->answered)
		return client_watch(c) ? WAIT : CLOSE;
	x->record.dns = x->lookup.took;
	if (x->lookup.answer.status != RESOLVER_OK)
		return dns_failed(c);
	x->query.addrs = x->lookup.answer.addrs;
	x->query.n_addrs = x->lookup.answer.n_addrs;
	x->query.resolved = true;
	if (x->record.verdict.action == ACTION_RESOLVE)
		return decide(c);
	return client_enter(c, CLIENT_REACH, INFINITY);
}

/* A connection to one of our own listeners would come back as a request. */
static bool is_own(const struct shared *shared, const struct endpoint *to)
{
	for (size_t i = 0; i < shared->n_listeners; i++)
		if (shared->listeners[i].at.port == to->port)
			return nat_address_is_local(&to->addr);
	return false;
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

		egress = generation_egress(
			x->generation, x->record.verdict.section, &to.addr, &none);
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
	struct buffer *out = conn_out(&o->conn, &c->worker->buffers, x->request->end);

	x->origin = o;
	o->client = c;
	if (!out)
		return answer(c, ENDING_FULL, 503, "proxy_internal_error", "out of memory");
	memcpy(out->data + out->end, x->request->data, x->request->end);
	out->end += x->request->end;
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
	enum reason why;

	if (x->retriable && !x->retried && x->request && x->generation == c->worker->generation) {
		struct origin *o = origin_find(c->worker, &x->query, &x->record.verdict);

		if (o)
			return begin_relay(c, o);
	}
	if (!x->query.resolved)
		return client_enter(c, CLIENT_RESOLVE, INFINITY);
	why = guard(x, &options);
	if (why == REASON_NOT_RESOLVED)
		return answer(c, ENDING_CONNECT_FAILED, 502, "destination_ip_unroutable",
			"there is no egress address of the IP version that the origin has");
	if (why != REASON_MATCHED)
		return deny_for(c, why);
	x->dialled = false;
	dial_start(&x->dial, c->worker->loop, &options, on_dialled);
	return client_enter(c, CLIENT_DIAL, INFINITY);
}

static enum next dial_failed(struct client *c)
{
	struct exchange *x = c->exchange;
	const char *error = "destination_ip_unroutable";
	char details[HOST_MAX + 100];
	int status = 502;

	if (x->dial.error == ETIMEDOUT) {
		status = 504;
		error = "connection_timeout";
	} else if (x->dial.error == ECONNREFUSED) {
		error = "connection_refused";
	} else if (x->dial.error == EMFILE || x->dial.error == ENFILE || x->dial.error == ENOMEM) {
		status = 503;
		error = "proxy_internal_error";
	}
	x->record.origin = x->dial.origin;
	snprintf(details, sizeof(details), "no connection to %.*s port %u: %s",
		(int)x->uri.host_length, x->uri.host, x->query.port, strerror(x->dial.error));
	return answer(
		c, status == 503 ? ENDING_FULL : ENDING_CONNECT_FAILED, status, error, details);
}

static enum next open_tunnel(struct client *c, struct origin *o)
{
	struct exchange *x = c->exchange;
	struct worker *w = c->worker;
	struct buffer *out = conn_out(&c->conn, &w->buffers, sizeof(established));

	x->origin = o;
	if (!out)
		return CLOSE;
	memcpy(out->data + out->end, established, sizeof(established) - 1);
	out->end += sizeof(established) - 1;
	x->record.status = 200;
	if (!tunnel_start(w, &c->conn, &o->conn, x->generation, &x->query, &x->record, x->began))
		return CLOSE;
	x->record.tunnel = true; /* which speaks for itself from now on */
	x->origin = NULL;
	free(o);
	return CLOSE;
}

enum next exchange_dial(struct client *c)
{
	struct exchange *x = c->exchange;
	const struct addr *egress;
	struct origin *o;
	bool none;

	if (!x->dialled)
		return client_watch(c) ? WAIT : CLOSE;
	x->record.connect = x->dial.took;
	if (x->dial.fd < 0)
		return dial_failed(c);
	o = origin_new(c->worker, x->dial.fd, (struct text){x->uri.host, x->uri.host_length},
		x->query.port, x->record.verdict.section);
	x->dial.fd = -1;
	if (!o)
		return answer(c, ENDING_FULL, 503, "proxy_internal_error", "out of memory");
	o->at = x->dial.origin;
	o->generation = x->generation->number;
	egress = generation_egress(x->generation, x->record.verdict.section, &o->at.addr, &none);
	o->has_egress = egress != NULL;
	if (egress)
		o->egress = *egress;
	if (x->request)
		return begin_relay(c, o);
	x->record.origin = o->at;
	x->record.egress = o->egress;
	x->record.has_egress = o->has_egress;
	return open_tunnel(c, o);
}
