/*
 * cached.h - what the cache adds to an exchange with a partner that has `cache = yes`.
 *
 *   DECIDE --- LOOKUP --- FOLLOW --- SERVE
 *                 |          |
 *                 +----------+---- REACH ... RELAY: ask the origin, as without a cache
 *
 * A response that can be stored does not go to the client that asked for it, but into the cache
 * (fetch.h); the client reads it there, as everybody else does.
 */
#pragma once

#include "daemon/cache/rules.h"
#include "daemon/config/config.h"
#include "daemon/proxy/client.h"
#include "daemon/proxy/flights.h"
#include "daemon/proxy/ready.h"

#define LOOKUP_TIMEOUT 5.0 /* seconds that a disk may take, then the origin is asked */

struct cache { /* one for all workers */
	struct store *store;
	struct flights *flights;
};

/* `fd` (-1: in memory) becomes the cache's.  NULL with `e` set. */
struct cache *cache_new(const struct config *config, int fd, struct error *e);
void cache_free(struct cache *cache); /* accepts NULL; nobody has anything of it any more */

/* How a request was answered, RFC 9211's words: for Cache-Status, logs and metrics. */
enum cache_forward {
	CACHE_HIT, /* not forwarded */
	CACHE_FORWARD_BYPASS,
	CACHE_FORWARD_METHOD,
	CACHE_FORWARD_URI_MISS,
	CACHE_FORWARD_VARY_MISS,
	CACHE_FORWARD_REQUEST,
	CACHE_FORWARD_STALE,
	CACHE_FORWARD_PARTIAL,
};

struct fetch;
struct parts; /* of serve.c */

struct cached {
	struct client *client;
	struct cache *cache;
	struct ready ready;
	enum { WAITS_NOT, WAITS_KEY, WAITS_STORED, WAITS_FILL, WAITS_FLIGHT } waits;
	bool background;  /* no client: to have something fresh */
	bool alone;       /* neither leads nor follows */
	bool cacheable;   /* the request's method and framing */
	bool conditional; /* our own conditions are in `sent` */
	bool collapsed;   /* it followed */
	bool again;       /* a flight that it followed is over; after the next one it is alone */
	bool waited;      /* since before the response came */
	bool retried;     /* without what was stored */
	bool partly;      /* some of the bytes are stored, but not all that are asked for */
	bool stale;       /* what is served is */
	bool written;     /* the response goes into the cache */
	struct cache_request request;
	enum cache_forward forward;
	int64_t asked;         /* Unix time when the origin was */
	uint32_t removals;     /* of its key, then */
	int origin_status;     /* 0: it was not asked */
	const char *detail;    /* why it is not stored, or NULL */
	struct flight *flight; /* led or followed */
	bool leads;
	struct fetch *fetch;   /* that this client began; NULL: none, or it is over */
	struct stored *stored; /* found: served, or validated */
	struct fill *fill;     /* served */
	struct buffer *sent;   /* the head for the origin, where it differs from the client's */

	/* SERVE */
	bool chunks, no_body;
	struct parts *parts; /* several ranges; NULL: one, or all, or they are sent */
	uint64_t at, end;    /* of the body; `end` UINT64_MAX: not known yet */

	size_t key_length;
	char key[];
};

/* The exchange is with a partner that is cached, and allowed: what the client sends next is
 * LOOKUP. False: no memory, go on without. */
bool cached_begin(struct exchange *x);
void cached_free(struct exchange *x); /* accepts one without */

/* States. */
enum next cached_lookup(struct client *c);
enum next cached_follow(struct client *c);
enum next cached_serve(struct client *c); /* serve.c */
enum next cached_alone(struct client *c); /* follows no longer */

/* The origin is being asked, now. */
void cached_asks(struct client *c);

/* The head for the origin: the client's, or one with other conditions. */
const struct buffer *cached_request(const struct exchange *x);

/* A final response has come for an exchange of RELAY.  WAIT: go on as without a cache.  Else it is
 * taken over; *head's bytes are still in the origin's buffer. */
enum next cached_response(struct client *c, const struct head *head);

static inline bool cached_rescues(enum ending ending)
{
	return ending == ENDING_DNS_FAILED || ending == ENDING_CONNECT_FAILED ||
	       ending == ENDING_ORIGIN_GONE || ending == ENDING_ORIGIN_TIMEOUT ||
	       ending == ENDING_BAD_RESPONSE;
}

/* The origin cannot be asked or has failed: may something stale be served?  Then it is, and AGAIN.
 */
enum next cached_rescue(struct client *c);

/* The client gets an answer of our own: who follows it goes on at once, not when it has read that.
 */
void cached_fails(struct exchange *x); /* accepts one without */

/* What it was to the cache, for the record. */
enum cache_result cached_result(const struct exchange *x);

/* Lines for a response that is not served from the cache. */
#define CACHED_LINES 256
size_t cached_lines(const struct exchange *x, char out[CACHED_LINES]);

/* For cached.c: begins to send what `stored` or `fill` is. */
enum next serve_begin(struct client *c);
/* Has this, of which some bytes are missing, all that the client asks for? */
bool serve_holds(struct client *c, const struct stored *stored);
void serve_wants(const struct client *c, int *events);

/* Parses the client's request again, into the worker's `request_fields`. */
bool cached_head(struct client *c, struct head *head);
/* Stops waiting, wherever. */
void cached_cancel(struct cached *k);
