/*
 * cached.c - looking up, and asking once for all.
 *
 * The client's head is kept as it would go to the origin (x->request) and parsed again where the
 * cache needs it; what is really sent when the cache leads has the cache's conditions in place of
 * the client's, so that the answer is good for everybody.
 */
#include "daemon/proxy/cached_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cache/key.h"
#include "daemon/cache/vary.h"
#include "daemon/cache/writer.h"
#include "daemon/http/forward.h"
#include "daemon/proxy/fetch.h"
#include "daemon/proxy/worker.h"

#define GROUPS_MAX 64

int64_t cached_now(const struct client *c)
{
	return (int64_t)ev_now(c->worker->loop);
}

struct text cached_key(const struct cached *k)
{
	return (struct text){k->key, k->key_length};
}

size_t cached_partition(const struct exchange *x, char out[CACHED_PARTITION])
{
	const struct section *section = x->record.verdict.section;
	struct writer w = {out, out + CACHED_PARTITION, false};
	const char *groups[GROUPS_MAX];
	char address[ADDR_TEXT];
	size_t n_groups, i;

	put_text(&w, text_of(section->name));
	switch (section->cache->per) {
	case CACHE_PER_PARTNER:
		break;
	case CACHE_PER_SOURCE:
		PUT(&w, "/");
		put_text(&w, text_of(addr_print(&x->query.client, address)));
		break;
	case CACHE_PER_GROUP:
		n_groups =
			policy_groups(x->generation->policy, &x->query.client, groups, GROUPS_MAX);
		if (n_groups > GROUPS_MAX)
			return 0;
		for (i = 0; i < n_groups; i++) {
			PUT(&w, "/");
			put_text(&w, text_of(groups[i]));
		}
		break;
	}
	return writer_finish(&w, out);
}

static void on_ready(struct ready *ready)
{
	struct cached *k = (struct cached *)((char *)ready - offsetof(struct cached, ready));

	k->waits = WAITS_NOT;
	client_drive(k->client);
}

struct uri cached_uri(const struct exchange *x, const struct head *request)
{
	struct uri uri = x->uri;

	uri.path = request->target;
	uri.path_slash = false;
	return uri;
}

/* The request does not say who asks, but for a surrogate that it is one. */
static bool ask_for_all(struct exchange *x, struct head *request, bool surrogate)
{
	struct buffer_pool *buffers = &x->client->worker->buffers;
	struct buffer *buffer = buffer_get(buffers, request->length + FORWARD_EXTRA(0));

	if (!buffer)
		return false;
	buffer->end = (uint32_t)forward_for_all(buffer->data, buffer->size, request, surrogate);
	buffer_put(buffers, x->request);
	x->request = buffer;
	return cached_head(x->client, request);
}

bool cached_begin(struct exchange *x)
{
	const struct section *section = x->record.verdict.section;
	struct worker *w = x->client->worker;
	size_t n_partition, room;
	char name[CACHED_PARTITION];
	struct head request;
	struct cached *k;
	struct uri uri;
	bool surrogate;

	n_partition = cached_partition(x, name);
	if (!w->shared->cache || n_partition == 0 || !cached_head(x->client, &request))
		return false;
	surrogate = section->cache->surrogate;
	if ((surrogate || head_field(&request, FIELD_FORWARDED)) &&
		!ask_for_all(x, &request, surrogate))
		return false;
	uri = cached_uri(x, &request);
	room = n_partition + sizeof(" http://[]:65535/") + uri.host_length + uri.path.length;
	k = calloc(1, sizeof(*k) + room);
	if (!k)
		return false;
	k->key_length = key_make(k->key, room, (struct text){name, n_partition}, &uri,
		section->cache->ignored, section->cache->n_ignored);
	if (k->key_length == 0) {
		free(k);
		return false;
	}
	k->client = x->client;
	k->cache = w->shared->cache;
	k->end = UINT64_MAX;
	k->background = x->client->background;
	cache_request_read(&k->request, &request);
	k->cacheable = cache_request_is_cacheable(&k->request);
	ready_init(&k->ready, &w->ready, on_ready);
	x->cached = k;
	return true;
}

void cached_cancel(struct cached *k)
{
	switch (k->waits) {
	case WAITS_NOT:
		break;
	case WAITS_FLIGHT:
		flight_cancel(k->flight, &k->ready.waiter);
		break;
	case WAITS_KEY:
	case WAITS_STORED:
	case WAITS_FILL:
		store_cancel(k->cache->store, &k->ready.waiter);
		break;
	}
	k->waits = WAITS_NOT;
	ready_cancel(&k->ready);
}

void cached_leave_flight(struct cached *k)
{
	if (k->flight && k->leads)
		flight_over(k->flight);
	flight_put(k->flight);
	k->flight = NULL;
	k->leads = false;
}

void cached_free(struct exchange *x)
{
	struct cached *k = x->cached;

	if (!k)
		return;
	x->cached = NULL;
	cached_cancel(k);
	if (k->fetch)
		fetch_leave(k->fetch);
	cached_leave_flight(k);
	store_put(k->stored);
	fill_put(k->fill);
	free(k->parts);
	buffer_put(&x->client->worker->buffers, k->sent);
	free(k);
}

bool cached_head(struct client *c, struct head *head)
{
	struct head_limits limits = worker_head_limits(c->worker);
	struct head_error error;

	limits.bytes += FORWARD_EXTRA(limits.line);
	limits.line += limits.bytes;
	limits.fields += WORKER_FIELDS_EXTRA;
	*head = (struct head){.fields = c->worker->request_fields};
	return head_request(buffer_text(c->exchange->request), &limits, head, &error) == HEAD_DONE;
}

/* ---- LOOKUP ---- */

/* Only what varies needs the request's head once more. */
bool cached_matches(void *arg, const struct stored *stored)
{
	struct head head;

	return stored->vary.length == 0 ||
	       (cached_head(arg, &head) && vary_matches(stored->vary, &head));
}

bool cached_fits(void *arg, const struct stored *stored)
{
	struct client *c = arg;

	if (!cached_matches(c, stored))
		return false;
	if (store_is_whole(stored) || serve_holds(c, stored))
		return true;
	c->exchange->cached->partly = true;
	return false;
}

/* A stored response is as its origin is: who may not go there does not get it, as of now. */
static bool may_have(const struct client *c, const struct stored *stored)
{
	struct exchange *x = c->exchange;
	struct verdict *verdict = &x->record.verdict;
	const struct section *block = NULL;

	if (policy_guard(x->generation->policy, &x->query, verdict, &stored->meta.origin, &block) !=
		REASON_MATCHED)
		return false;
	if (block && !verdict->reported) { /* one in report mode */
		verdict->reported = true;
		verdict->reporter = block;
	}
	return true;
}

/* The cache steps aside. */
static enum next pass(struct client *c, enum cache_forward why)
{
	c->exchange->cached->forward = why;
	c->exchange->cached->alone = true;
	c->exchange->cached->collapsed = false;
	return client_enter(c, CLIENT_REACH, INFINITY);
}

/* The request as the cache asks it. */
static bool write_request(struct client *c, const struct head *head)
{
	struct cached *k = c->exchange->cached;
	struct forward_conditions conditions = {.last_modified = {NULL, 0}};
	struct head stored = {.fields = NULL};
	struct head_limits limits = {.line = SIZE_MAX / 2, .bytes = SIZE_MAX / 2, .fields = 256};
	struct head_error error;
	struct field fields[256];
	size_t size = head->length + FORWARD_EXTRA(0);

	stored.fields = fields;
	if (k->stored && head_response(k->stored->head, &limits, METHOD_HEAD, &stored, &error) ==
				 HEAD_DONE) {
		const struct field *etag = head_field(&stored, FIELD_ETAG);
		const struct field *modified = head_field(&stored, FIELD_LAST_MODIFIED);

		conditions.etag = etag ? etag->value : (struct text){NULL, 0};
		conditions.last_modified = modified ? modified->value : (struct text){NULL, 0};
		size += conditions.etag.length + conditions.last_modified.length;
	}
	k->conditional = conditions.etag.length || conditions.last_modified.length;
	buffer_put(&c->worker->buffers, k->sent);
	k->sent = buffer_get(&c->worker->buffers, size);
	if (!k->sent)
		return false;
	k->sent->end =
		(uint32_t)forward_conditions(k->sent->data, k->sent->size, head, &conditions);
	return k->sent->end > 0;
}

/* One request to the origin for all who want this. */
static enum next ask_together(struct client *c, enum cache_forward why)
{
	struct cached *k = c->exchange->cached;
	struct head head;

	k->forward = why;
	if (k->alone || k->request.method != METHOD_GET || k->request.control.no_store ||
		(k->request.range && !k->stored))
		return pass(c, why);
	switch (flights_join(k->cache->flights, cached_key(k), c->worker->now, &k->flight)) {
	case FLIGHT_LEAD:
		k->leads = true;
		k->collapsed = false;
		break;
	case FLIGHT_FOLLOW:
		if (k->background)
			return CLOSE; /* somebody asks already */
		k->collapsed = true;
		return client_enter(c, CLIENT_FOLLOW,
			c->exchange->generation->config->response_timeout +
				c->exchange->generation->config->connect_timeout);
	case FLIGHT_ALONE:
		if (k->background)
			return CLOSE; /* it was not to be had a moment ago */
		break;
	}
	if (!cached_head(c, &head) || !write_request(c, &head))
		return pass(c, why);
	return client_enter(c, CLIENT_REACH, INFINITY);
}

static enum next only_if_cached(struct client *c)
{
	return client_answer(c, ENDING_DONE,
		&(struct reply){.status = 504, .details = "only-if-cached, and it is not stored"});
}

static enum next found(struct client *c)
{
	struct cached *k = c->exchange->cached;
	enum cache_use use = k->background
				     ? CACHE_VALIDATE
				     : cache_use(&k->stored->meta, &k->request, cached_now(c));
	struct cache_request plain = {.method = METHOD_GET};
	enum cache_forward why;

	if (use == CACHE_STALE_REVALIDATE && !store_is_whole(k->stored))
		use = CACHE_VALIDATE;
	control_init(&plain.control);

	switch (use) {
	case CACHE_STALE_REVALIDATE:
		client_revalidate(c);
		/* fall through */
	case CACHE_STALE_ALLOWED:
		k->stale = true;
		/* fall through */
	case CACHE_FRESH:
		return serve_begin(c);
	case CACHE_VALIDATE:
		break;
	}
	if (k->request.control.only_if_cached)
		return only_if_cached(c);
	why = cache_use(&k->stored->meta, &plain, cached_now(c)) == CACHE_FRESH
		      ? CACHE_FORWARD_REQUEST
		      : CACHE_FORWARD_STALE;
	/* To validate a part the whole would have to come where it is another one now. */
	return store_is_whole(k->stored) ? ask_together(c, why) : pass(c, why);
}

enum next cached_lookup(struct client *c)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	bool later = false;

	if (k->waits != WAITS_NOT)
		return client_watch(c) ? WAIT : CLOSE;
	if (!k->cacheable)
		return pass(c, CACHE_FORWARD_METHOD);
	if (x->upgrade || k->request.overrides)
		return pass(c, CACHE_FORWARD_BYPASS);
	store_put(k->stored);
	k->partly = false;
	k->stored = store_find(k->cache->store, cached_key(k), cached_fits, c, &later);
	if (k->stored && !may_have(c, k->stored)) {
		store_put(k->stored);
		k->stored = NULL;
		return k->request.control.only_if_cached ? only_if_cached(c)
							 : pass(c, CACHE_FORWARD_BYPASS);
	}
	if (k->stored)
		return found(c);
	if (later) {
		k->waits = WAITS_KEY;
		if (store_wait_key(k->cache->store, cached_key(k), &k->ready.waiter))
			return client_watch(c) ? WAIT : CLOSE;
		k->waits = WAITS_NOT;
		return AGAIN;
	}
	if (k->request.control.only_if_cached)
		return only_if_cached(c);
	return ask_together(c, k->partly ? CACHE_FORWARD_PARTIAL : CACHE_FORWARD_URI_MISS);
}

/* ---- FOLLOW ---- */

/* It may ask for itself, now. */
enum next cached_alone(struct client *c)
{
	struct cached *k = c->exchange->cached;

	cached_cancel(k);
	if (k->request.control.only_if_cached)
		return only_if_cached(c);
	cached_leave_flight(k);
	k->collapsed = false;
	k->alone = true;
	if (k->forward == CACHE_HIT) /* it was not found in time */
		k->forward = CACHE_FORWARD_URI_MISS;
	return client_enter(c, CLIENT_REACH, INFINITY);
}

static enum next follow_fill(struct client *c)
{
	struct cached *k = c->exchange->cached;
	struct head head;

	/* Who has waited for it takes it as it is. */
	bool good = k->waited || cache_use(&fill_stored(k->fill)->meta, &k->request,
					 cached_now(c)) != CACHE_VALIDATE;

	if (!good || !may_have(c, fill_stored(k->fill)) || !cached_head(c, &head) ||
		!vary_matches(fill_stored(k->fill)->vary, &head)) {
		fill_put(k->fill);
		k->fill = NULL;
		return cached_alone(c);
	}
	cached_leave_flight(k);
	store_put(k->stored);
	k->stored = NULL;
	return serve_begin(c);
}

enum next cached_follow(struct client *c)
{
	struct cached *k = c->exchange->cached;

	if (k->waits != WAITS_NOT)
		return client_watch(c) ? WAIT : CLOSE;
	switch (flight_look(k->flight, &k->fill)) {
	case FLIGHT_FILLS:
		return follow_fill(c);
	case FLIGHT_OVER: /* what is there now is as new as can be; nothing: one of all asks once
			     more */
		cached_leave_flight(k);
		k->alone = k->again;
		k->again = true;
		return client_enter(c, CLIENT_LOOKUP, LOOKUP_TIMEOUT);
	case FLIGHT_PASS:
		return cached_alone(c);
	case FLIGHT_WAITS:
		break;
	}
	k->waited = true;
	k->waits = WAITS_FLIGHT;
	if (flight_wait(k->flight, &k->ready.waiter))
		return client_watch(c) ? WAIT : CLOSE;
	k->waits = WAITS_NOT;
	return AGAIN;
}

void cached_asks(struct client *c)
{
	struct cached *k = c->exchange->cached;

	k->asked = cached_now(c);
	k->removals = store_removals(k->cache->store, cached_key(k));
}

const struct buffer *cached_request(const struct exchange *x)
{
	return x->cached && x->cached->sent ? x->cached->sent : x->request;
}

/* ---- what is said of it ---- */

enum cache_result cached_result(const struct exchange *x)
{
	const struct cached *k = x->cached;

	if (!k)
		return CACHE_RESULT_NONE;
	if (k->written)
		return CACHE_RESULT_STORED;
	if (k->fill)
		return CACHE_RESULT_SHARED;
	if (!k->stored)
		return CACHE_RESULT_PASSED;
	if (k->origin_status == 304)
		return CACHE_RESULT_VALIDATED;
	return k->stale ? CACHE_RESULT_STALE : CACHE_RESULT_HIT;
}

size_t cached_lines(const struct exchange *x, char out[CACHED_LINES])
{
	static const char *const names[] = {[CACHE_HIT] = "",
		[CACHE_FORWARD_BYPASS] = "bypass",
		[CACHE_FORWARD_METHOD] = "method",
		[CACHE_FORWARD_URI_MISS] = "uri-miss",
		[CACHE_FORWARD_VARY_MISS] = "vary-miss",
		[CACHE_FORWARD_REQUEST] = "request",
		[CACHE_FORWARD_STALE] = "stale",
		[CACHE_FORWARD_PARTIAL] = "partial"};
	const struct cached *k = x->cached;
	const struct stored *s = k->fill ? fill_stored(k->fill) : k->stored;
	int64_t now = (int64_t)ev_now(x->client->worker->loop);
	struct writer w = {out, out + CACHED_LINES, false};

	PUT(&w, "Cache-Status: ");
	put_text(&w, text_of(x->generation->config->name));
	if (k->forward == CACHE_HIT && !k->written) {
		PUT(&w, "; hit");
	} else {
		PUT(&w, "; fwd=");
		put_text(&w, text_of(names[k->forward]));
	}
	if (k->origin_status) {
		PUT(&w, "; fwd-status=");
		put_signed(&w, k->origin_status);
	}
	if (s) {
		PUT(&w, "; ttl=");
		put_signed(&w, s->meta.lifetime - cache_age(&s->meta, now));
	}
	if (k->written)
		PUT(&w, "; stored");
	if (k->collapsed)
		PUT(&w, "; collapsed");
	if (k->detail) {
		PUT(&w, "; detail=\"");
		put_text(&w, text_of(k->detail));
		PUT(&w, "\"");
	}
	PUT(&w, "\r\n");
	return writer_finish(&w, out);
}
