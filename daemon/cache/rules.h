/*
 * rules.h - what RFC 9111 says of storing and reusing, as functions of values.
 *
 * Pure: heads, times and the operator's refresh rules in, decisions out.  `now` and all times are
 * in seconds since the epoch.
 */
#pragma once

#include "daemon/cache/control.h"
#include "daemon/cache/meta.h"
#include "daemon/http/head.h"

/* What the operator wants for a partner; departures from the RFC are named in docs/cache.md.
 * Neither lifetime makes storable, or usable without validation, what the origin forbids. */
struct cache_rules {
	int64_t min_lifetime;   /* 0: as the origin says.  Departs from RFC 9111 4.2.1.  Only for
				   200, 203, 204, 300, 301 and 308: no error is kept longer */
	int64_t max_lifetime;   /* INT64_MAX: as the origin says; stronger than min_lifetime */
	int64_t heuristic_most; /* most seconds of a guess (4.2.2) */
	bool surrogate;         /* Surrogate-Control counts.  Departs from RFC 9111 4.2.1 and 5.2 */
};

/* --- requests ---------------------------------------------------------------------------- */

/* What a request says to a cache. */
struct cache_request {
	enum method method;
	struct control
		control; /* no_cache is set by Pragma where Cache-Control says nothing (5.4) */
	bool authorization;
	bool range;       /* it has a Range field (and is a GET) */
	bool conditional; /* If-None-Match, If-Modified-Since, If-Match, If-Unmodified-Since or
			     If-Range */
	bool if_range;
	bool for_origin; /* If-Match or If-Unmodified-Since: no cache evaluates them (4.3.2) */
	bool body;       /* of at least one byte */
	bool overrides;  /* a field says that another method or URL is meant */
};
void cache_request_read(struct cache_request *request, const struct head *head);

/* May a cache be asked at all, and its answer be kept?  False for methods other than GET and HEAD,
 * for requests with a body, and for conditions that only the origin evaluates. */
bool cache_request_is_cacheable(const struct cache_request *request);

#define CACHE_HEAD_EXTRA 64 /* bytes that a written head may have more than those it is made of */

/* --- storing (3) ------------------------------------------------------------------------- */

/* The directives that count in this response: those of Surrogate-Control with `surrogate`, where
 * one is for us; those of CDN-Cache-Control where it is there and can be parsed (RFC 9213); with
 * either true, and neither Cache-Control nor Expires count.  Else Cache-Control's. */
bool cache_response_control(struct control *control, const struct head *response, bool surrogate);

/* Fills `meta` from a final response that came at `response_time` to a request made at
 * `request_time`.  A 206 counts as the 200 that it is a part of, here and in what follows. */
void cache_meta_read(struct cache_meta *meta, const struct head *response, int64_t request_time,
	int64_t response_time, const struct cache_rules *rules);

/* NULL, or why this response may not be stored (a static text, for Cache-Status detail and logs).
 * Beyond what RFC 9111 3 forbids, these are not stored:
 *   - answers to HEAD;
 *   - 206, but for one range, asked for, of a body of known length with a strong validator (3.3);
 *   - Vary: * and what vary_make() would refuse for its Vary alone (4.1);
 *   - 400, 407, 408, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431 and 511, which speak of one
 *     client or of fields that are in no key;
 *   - Set-Cookie without an explicit lifetime or `public`;
 *   - what could never be used: stale on arrival, or no-cache, without a validator. */
const char *cache_must_not_store(const struct cache_request *request, const struct head *response,
	const struct cache_meta *meta);

/* What has the same one, which is not empty, are ranges of the same body (RFC 9110 15.3.7.3): a
 * strong ETag, or without any ETag a Last-Modified that is strong (8.8.2.2). */
struct text cache_strong_validator(const struct head *head, const struct cache_meta *meta);

/* The head as it is stored: a status line of HTTP/1.1 and the fields.  Hop-by-hop fields,
 * Connection-listed ones, Content-Length, Age and Cache-Status are gone, of a 206 Content-Range
 * too.  `date` (IMF-fixdate) becomes Date where there is none that can be read (RFC 9110 6.6.1). It
 * is at most CACHE_HEAD_EXTRA longer than the response's.  0: it does not fit. */
size_t cache_store_head(char *out, size_t size, const struct head *response, struct text date);

/* --- reusing (4) ------------------------------------------------------------------------- */

/* RFC 9111 4.2.3.  Never negative, at most 2^31. */
int64_t cache_age(const struct cache_meta *meta, int64_t now);

enum cache_use {
	CACHE_FRESH,            /* serve it */
	CACHE_STALE_ALLOWED,    /* serve it: the request's max-stale (5.2.1.2) */
	CACHE_STALE_REVALIDATE, /* serve it, and revalidate meanwhile (RFC 5861 3) */
	CACHE_VALIDATE,         /* not without asking the origin (4.3) */
};

/* The request's only-if-cached, no-store and Authorization are the caller's (a stored response may
 * answer any of them). */
enum cache_use cache_use(
	const struct cache_meta *meta, const struct cache_request *request, int64_t now);

/* May it be served although it is stale, when the origin cannot be reached or answers 500, 502, 503
 * or 504?  RFC 5861 4: within either side's stale-if-error.  Never with must-revalidate,
 * proxy-revalidate, s-maxage (4.2.4) or no-cache. */
bool cache_serve_on_error(
	const struct cache_meta *meta, const struct cache_request *request, int64_t now);

/* --- validating (4.3) -------------------------------------------------------------------- */

/* Does this 304, or this 200 to HEAD, speak of the stored response?  False: the stored one is not
 * to be used or updated any more. 304 (4.3.4): its ETag is the stored one, or where one side has
 * none, its Last-Modified is; a 304 that has neither confirms what it was asked.  Content-Length is
 * not looked at (3.2). HEAD (4.3.5): ETag, Last-Modified and Content-Length that it has are the
 * stored ones. Both: its Vary names nothing that the stored one does not. */
bool cache_agrees(const struct head *stored, uint64_t stored_length, const struct head *fresh);

/* RFC 9111 4.3.4 and 3.2: the head of a stored response, updated by a 304 or a HEAD that agrees;
 * out gets a whole head.  What the stored body depends on stays: Content-Encoding, Content-MD5,
 * Content-Range and ETag, and what is not stored stays out; all else that `fresh` has replaces
 * fields of the same name.  `date` becomes Date where `fresh` has none.  It is at most
 * CACHE_HEAD_EXTRA longer than both together.  0: it does not fit. */
size_t cache_update_head(char *out, size_t size, const struct head *stored,
	const struct head *fresh, struct text date);

/* As cache_meta_read, for the head that cache_update_head() wrote: Age is what `fresh` says.
 * cache_must_not_store() is to be asked again: a 304 may bring no-store. */
void cache_meta_refresh(struct cache_meta *meta, const struct head *updated,
	const struct head *fresh, int64_t request_time, int64_t response_time,
	const struct cache_rules *rules);

/* --- invalidating (4.4) ------------------------------------------------------------------ */

/* Does this answer to an unsafe request, or one of unknown safety, invalidate what is stored of its
 * target?  (2xx and 3xx) */
bool cache_invalidates(enum method method, int status);
