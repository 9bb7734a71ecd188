/*
 * cached_answer.c - what becomes of the origin's answer: stored, taken as a word about what is
 * stored, or passed on; and what it invalidates.
 */
#include "daemon/proxy/cached_parts.h"

#include <math.h>
#include <stdlib.h>

#include "daemon/cache/key.h"
#include "daemon/proxy/fetch.h"
#include "daemon/proxy/worker.h"

/* What is stored, and what is on its way. */
static void forget(const struct cached *k, struct text key)
{
	store_remove(k->cache->store, key);
	flights_forget(k->cache->flights, &key);
}

/* RFC 9111 4.4. */
static void invalidate(struct client *c, const struct head *response)
{
	static const enum field_id fields[] = {FIELD_LOCATION, FIELD_CONTENT_LOCATION};
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	const struct section_cache *rules = x->record.verdict.section->cache;
	char name[CACHED_PARTITION], key[CACHED_PARTITION + 2 * HOST_MAX + 8192];
	size_t n = cached_partition(x, name), i;
	struct head request;
	struct uri uri;

	if (!cached_head(c, &request))
		return;
	uri = cached_uri(x, &request);
	forget(k, cached_key(k));
	for (i = 0; i < COUNT_OF(fields); i++) {
		const struct field *field = head_field(response, fields[i]);
		size_t length =
			field ? key_of_location(key, sizeof(key), (struct text){name, n}, &uri,
					field->value, rules->ignored, rules->n_ignored)
			      : 0;

		if (length > 0)
			forget(k, (struct text){key, length});
	}
}

/* The origin's connection has done its part. */
static void leave_origin(struct client *c, const struct head *head)
{
	struct exchange *x = c->exchange;

	conn_consume(&x->origin->conn, &c->worker->buffers, head->length);
	origin_release(x->origin, head->keep_alive && !x->origin->conn.out && x->to_origin.taken);
	x->origin = NULL;
}

/* RFC 9111 4.3.4.  False: what is stored is not what the response speaks of, or no memory. */
static bool refresh(struct client *c, const struct head *fresh)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	struct cache_rules rules = cached_rules(x);
	struct cache_request request = k->request;
	struct field fields[256];
	struct cache_meta meta;
	struct head old, updated;
	size_t size = k->stored->head.length + fresh->length + 128, n;
	struct stored copy;
	char *text;
	bool done;

	if (!cached_parse(k->stored, &old, fields) || !cache_agrees(&old, k->stored->length, fresh))
		return false;
	text = malloc(size);
	if (!text)
		return false;
	n = cache_update_head(text, size, &old, fresh, text_of(worker_date(c->worker)));
	copy = *k->stored;
	copy.head = (struct text){text, n};
	done = n > 0 && cached_parse(&copy, &updated, fields);
	if (done) {
		cache_meta_refresh(&meta, &updated, fresh, k->asked, cached_now(c), &rules);
		meta.origin = x->origin->at.addr;
		request.method = METHOD_GET; /* whose response it is */
		done = !cache_must_not_store(&request, &updated, &meta) &&
		       store_refresh(k->cache->store, k->stored, copy.head, &meta) == 0;
	}
	free(text);
	return done;
}

/* The 304 that we asked for. */
static enum next validated(struct client *c, const struct head *fresh)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	bool good = refresh(c, fresh);

	k->origin_status = 304;
	leave_origin(c, fresh);
	if (!good)
		store_remove_one(k->cache->store, k->stored);
	cached_leave_flight(k);
	store_put(k->stored);
	k->stored = NULL;
	if (good || !k->retried) {
		bool later = false;

		k->retried = true;
		if (good)
			k->stored =
				store_find(k->cache->store, cached_key(k), cached_fits, c, &later);
		if (k->stored)
			return serve_begin(c);
		buffer_put(&c->worker->buffers, k->sent);
		k->sent = NULL;
		k->alone = true; /* the client's own request */
		return client_enter(c, CLIENT_REACH, INFINITY);
	}
	return client_answer(c, ENDING_BAD_RESPONSE,
		&(struct reply){.status = 502,
			.error = "http_protocol_error",
			.details = "the origin's 304 is not about what was asked"});
}

/* The response goes into the cache, and from there to the client. */
static enum next store(struct client *c, const struct head *response)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	struct fill *fill = cached_fill(c, response);

	if (!fill)
		return WAIT;
	k->fetch = fetch_new(c, response, fill, k->leads ? k->flight : NULL);
	if (!k->fetch) {
		fill_abort(fill);
		fill_put(fill);
		return WAIT;
	}
	if (k->leads)
		flight_fills(k->flight, fill);
	flight_put(k->flight); /* the fetch tells of its end */
	k->flight = NULL;
	k->leads = false;
	k->written = true;
	k->fill = fill;
	store_put(k->stored);
	k->stored = NULL;
	return serve_begin(c);
}

/* Its own conditions and ranges, or what it has to say of itself. */
static bool is_about_the_client(int status)
{
	return status == 206 || status == 304 || status == 407 || status == 412 || status == 416;
}

static void not_stored(struct client *c, const struct head *response)
{
	struct cached *k = c->exchange->cached;

	if (k->flight && k->leads)
		flight_pass(k->flight, c->worker->now);
	flight_put(k->flight);
	k->flight = NULL;
	k->leads = false;
	/* It is not what the origin says now. */
	if (k->stored && k->request.method == METHOD_GET && response->status < 500 &&
		!is_about_the_client(response->status))
		store_remove_one(k->cache->store, k->stored);
	store_put(k->stored);
	k->stored = NULL;
}

/* RFC 9111 4.3.5. */
static void heard_head(struct client *c, const struct head *response)
{
	struct cached *k = c->exchange->cached;

	if (k->stored && response->status == 200 && !refresh(c, response))
		store_remove_one(k->cache->store, k->stored);
}

/* RFC 5861 4 */
static bool is_error(int status)
{
	return status == 500 || (status >= 502 && status <= 504);
}

enum next cached_response(struct client *c, const struct head *response)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	enum next next;

	if (!k)
		return WAIT;
	k->origin_status = response->status;
	if (!k->cacheable) {
		if (cache_invalidates(x->method, response->status))
			invalidate(c, response);
		return WAIT;
	}
	if (response->status == 304 && k->stored && k->conditional)
		return validated(c, response);
	if (is_error(response->status) && (next = cached_rescue(c)) != WAIT)
		return next;
	if (x->method == METHOD_HEAD)
		heard_head(c, response);
	next = x->method == METHOD_GET && x->to_origin.taken && !x->origin->conn.out
		       ? store(c, response)
		       : WAIT;
	if (next == WAIT)
		not_stored(c, response);
	return next;
}

enum next cached_rescue(struct client *c)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;

	if (!k || !k->stored || !k->cacheable || k->background ||
		!cache_serve_on_error(&k->stored->meta, &k->request, cached_now(c)))
		return WAIT;
	if (x->origin)
		origin_release(x->origin, false);
	x->origin = NULL;
	cached_leave_flight(k);
	k->stale = true;
	return serve_begin(c);
}

void cached_fails(struct exchange *x)
{
	if (x->cached)
		cached_leave_flight(x->cached);
}
