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
 *
 * A captured request goes to the address that the client had chosen, once that is known to be one
 * of its host's.
 */
#include "daemon/proxy/client.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/admin/admin.h"
#include "daemon/http/forward.h"
#include "daemon/proxy/cached.h"
#include "daemon/proxy/info.h"
#include "daemon/proxy/origin.h"
#include "daemon/proxy/worker.h"

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
	x->record.captured = c->kind == LISTENER_CAPTURE;
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

/* What nobody waits for is done when the origin has answered.  False: it was not asked, and there
 * is nothing to tell of. */
static bool end_unattended(struct exchange *x)
{
	int status = x->cached ? x->cached->origin_status : 0;

	if (x->record.ending != ENDING_CLIENT_GONE)
		return true;
	x->record.ending = ENDING_DONE;
	x->record.status = status;
	return status > 0;
}

void exchange_free(struct client *c)
{
	struct exchange *x = c->exchange;
	struct worker *w = c->worker;
	bool told = true;

	if (!x)
		return;
	c->exchange = NULL;
	resolver_cancel(&x->lookup);
	dial_cancel(&x->dial);
	flow_fini(&x->to_origin, &w->pipes);
	flow_fini(&x->to_client, &w->pipes);
	leave_origin(x, false);
	if (c->background)
		told = end_unattended(x);
	x->record.cache = cached_result(x);
	cached_free(x);
	buffer_put(&w->buffers, x->request);
	x->record.total = clock_monotonic() - x->began;
	x->record.from_client += x->to_origin.bytes;
	x->record.to_client += x->to_client.bytes;
	if (told && !x->record.tunnel && c->kind != LISTENER_ADMIN)
		worker_record(w, &x->record);
	generation_put(x->generation);
	free(x->upgrade);
	free(x->line);
	free(x->detail);
	free(x);
}

/* An answer with the story of the verdict, or any other text. */
enum next exchange_answer(
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

enum next exchange_deny(struct client *c, enum reason reason)
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
	if (v->section->cache && x->request && !x->cached && cached_begin(x))
		return client_enter(c, CLIENT_LOOKUP, LOOKUP_TIMEOUT);
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

static void ask_about(struct client *c, bool connect)
{
	struct exchange *x = c->exchange;

	x->query = (struct query){.client = c->at.addr,
		.connect = connect,
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

enum next exchange_ask(struct client *c, bool connect, bool unnamed)
{
	ask_about(c, connect);
	c->exchange->query.unnamed = unnamed;
	return decide(c);
}

/* What the rest of the exchange needs of the head, which leaves the buffer now. */
static bool keep_request(struct client *c, const struct head *head)
{
	struct exchange *x = c->exchange;
	struct text name = text_of(x->generation->config->name);
	size_t size = head->length + FORWARD_EXTRA(name.length);

	x->minor = head->minor;
	x->expects = head->expect_continue;
	x->trailers = head->trailers;
	x->retriable = head->body == BODY_NONE && head->method_id != METHOD_POST &&
		       head->method_id != METHOD_PATCH && head->method_id != METHOD_OTHER;
	if (head->method_id == METHOD_CONNECT)
		return true;
	if (head->upgrade.length > 0 &&
		!(x->upgrade = strndup(head->upgrade.at, head->upgrade.length)))
		return false;
	x->request = buffer_get(&c->worker->buffers, size);
	if (!x->request)
		return false;
	x->request->end = forward_request(x->request->data, x->request->size, head, &x->uri, name);
	flow_init(&x->to_origin, head->body, head->body_length, head->body == BODY_CHUNKED);
	return x->request->end > 0;
}

/* A captured request has its host elsewhere. */
static bool keep_line(struct exchange *x, const struct head *head)
{
	bool whole = !x->record.captured || head->target.at[0] != '/' || head->host.length == 0;
	const struct text parts[] = {head->method, whole ? TEXT("") : TEXT("http://"),
		whole ? TEXT("") : head->host, head->target};
	size_t n = 0;

	for (size_t i = 0; i < COUNT_OF(parts); i++)
		n += parts[i].length;
	x->line = malloc(n + 1);
	if (!x->line)
		return false;
	n = 0;
	for (size_t i = 0; i < COUNT_OF(parts); i++) {
		if (parts[i].length)
			memcpy(x->line + n, parts[i].at, parts[i].length);
		n += parts[i].length;
	}
	x->record.method = (struct text){x->line, head->method.length};
	x->record.target = (struct text){x->line + head->method.length, n - head->method.length};
	return true;
}

static bool is_info(const struct uri *uri)
{
	static const char name[] = "egret.internal";

	return !uri->is_address &&
	       text_equal((struct text){uri->host, uri->host_length}, TEXT(name)) &&
	       uri->scheme == SCHEME_HTTP && uri->port == 80;
}

/* Max-Forwards is 0 (RFC 9110 7.6.2).  A TRACE would be given back what it says, which may hold
 * secrets of whoever made the client send it (9.3.8): it is refused. */
static enum next last_recipient(struct client *c, enum method method)
{
	if (method == METHOD_TRACE)
		return exchange_answer(c, ENDING_DONE, 501, "http_request_error",
			"TRACE with Max-Forwards: 0 would end here, and egret does not echo "
			"requests");
	return client_answer(c, ENDING_DONE, &(struct reply){.status = 200, .body = TEXT("\n")});
}

/* The request as a proxy sees it; its head is still in the buffer. */
static enum next decide_request(struct client *c, const struct head *head)
{
	struct exchange *x = c->exchange;
	struct head_error error;

	if (c->over_limit) {
		c->keep_alive = false;
		return exchange_answer(c, ENDING_FULL, 503, "connection_limit_reached",
			"full: [proxy] max-connections is reached");
	}
	if (c->kind == LISTENER_CAPTURE ? uri_parse_captured(head, &x->uri, &error)
					: uri_parse(head, &x->uri, &error))
		return exchange_answer(
			c, ENDING_BAD_REQUEST, error.status, "http_request_error", error.text);
	ask_about(c, head->method_id == METHOD_CONNECT);
	if (c->kind == LISTENER_PROXY && is_info(&x->uri))
		return info_answer(c, head);
	if (x->uri.scheme == SCHEME_HTTPS)
		return exchange_answer(c, ENDING_BAD_REQUEST, 501, "http_request_error",
			"https:// in a plain request: use CONNECT, egret does not see into TLS");
	if (forward_is_loop(head, text_of(x->generation->config->name)))
		return exchange_deny(c, REASON_LOOP);
	if (head->max_forwards == 0)
		return last_recipient(c, head->method_id);
	if (!keep_request(c, head))
		return exchange_answer(
			c, ENDING_FULL, 503, "proxy_internal_error", "out of memory");
	return decide(c);
}

/* What can be read of its first line is for the record. */
enum next exchange_bad_head(struct client *c, const struct head_error *why)
{
	struct head_limits limits = worker_head_limits(c->worker);
	struct exchange *x = exchange_new(c);
	struct head head = {.fields = c->worker->fields};
	struct head_error error;

	if (!x)
		return CLOSE;
	x->has_body = true; /* for all we know */
	(void)head_request(buffer_text(c->conn.in), &limits, &head, &error);
	if (head.target.length > 0 && !keep_line(x, &head))
		return CLOSE;
	return client_answer(c, why->status == 408 ? ENDING_CLIENT_TIMEOUT : ENDING_BAD_REQUEST,
		&(struct reply){.status = why->status,
			.error = c->kind != LISTENER_ADMIN ? "http_request_error" : NULL,
			.details = why->text});
}

enum next exchange_decide(struct client *c)
{
	struct worker *w = c->worker;
	struct head_limits limits = worker_head_limits(w);
	struct head head = {.fields = w->fields};
	struct head_error error;
	struct exchange *x;
	enum next next;

	if (head_request(buffer_text(c->conn.in), &limits, &head, &error) != HEAD_DONE)
		return exchange_bad_head(c, &error);
	x = exchange_new(c);
	if (!x)
		return CLOSE;
	/* A client may not have waited for its 200 or 101 (RFC 9931): what is behind is no request.
	 */
	x->has_body = head.body == BODY_CHUNKED || head.body_length > 0 ||
		      head.method_id == METHOD_CONNECT || head.upgrade.length > 0;
	x->method = head.method_id;
	/* RFC 9112 9.3: a proxy does not honour what HTTP/1.0 says of persistence. */
	c->keep_alive = head.keep_alive && head.upgrade.length == 0 &&
			(head.minor == 1 || c->kind == LISTENER_ADMIN);
	if (!keep_line(x, &head))
		return CLOSE;
	next = c->kind == LISTENER_ADMIN ? admin_answer(c, &head) : decide_request(c, &head);
	conn_consume(&c->conn, &w->buffers, head.length);
	return next;
}

bool exchange_copy(struct client *c, const struct exchange *from)
{
	struct exchange *x = exchange_new(c);
	size_t n = from->record.method.length + from->record.target.length;

	if (!x)
		return false;
	x->query = from->query;
	x->uri = from->uri;
	if (x->query.host.length)
		x->query.host.at = x->uri.host;
	/* Those that were judged; a name that was not looked up for it is looked up again. */
	x->query.addrs = x->addrs;
	for (size_t i = 0; i < x->query.n_addrs; i++)
		x->addrs[i] = from->query.addrs[i];
	x->method = from->method;
	x->minor = from->minor;
	x->retriable = from->retriable;
	x->record.verdict = from->record.verdict;
	x->record.decided = true;
	x->record.detail = "revalidates what was served stale";
	x->line = malloc(n + 1);
	x->request = buffer_get(&c->worker->buffers, from->request->end);
	if (!x->line || !x->request)
		return false;
	memcpy(x->line, from->line, n);
	x->record.method = (struct text){x->line, from->record.method.length};
	x->record.target =
		(struct text){x->line + from->record.method.length, from->record.target.length};
	memcpy(x->request->data, from->request->data, from->request->end);
	x->request->end = from->request->end;
	flow_init(&x->to_origin, BODY_NONE, 0, false);
	generation_put(x->generation);
	x->generation = generation_get(from->generation);
	return cached_begin(x);
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
			"could not be looked up: too many look-ups wait, or memory or descriptors "
			"are short"},
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
