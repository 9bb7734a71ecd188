/*
 * forward.h - messages as a proxy sends them on (RFC 9110 7.6, RFC 9112 3.2.2).
 *
 * Every message is serialised anew from what was parsed: start line, framing and
 * Host are ours, hop-by-hop fields are gone, Via is added.
 */
#pragma once

#include "daemon/http/head.h"
#include "daemon/http/uri.h"

/* Room that a forwarded head may need beyond the received one: Via, Host, framing. */
#define FORWARD_EXTRA(name_length) (512 + HOST_MAX + (name_length))

/* Writes the request for the origin into out[size]; returns its length, or 0 when it does not fit.
 * `name` is the proxy's pseudonym in Via.  Host comes from `uri` and replaces the received one
 * (RFC 9112 3.2.2).  Expect is forwarded where expect_continue is set; max_forwards goes down by
 * one (0 is not for forwarding); `upgrade` is asked for, and trailers where they are wanted.
 * HTTP/1.1 always; the connection persists. A chunked body stays chunked. */
size_t forward_request(char *out, size_t size, const struct head *request, const struct uri *uri,
	struct text name);

/* The conditions of a cache: a field each, none where empty (RFC 9111 4.3.1). */
struct forward_conditions {
	struct text etag;          /* If-None-Match */
	struct text last_modified; /* If-Modified-Since */
};

/* A request that forward_request() wrote, parsed again, with these conditions in place of its own
 * ones and its ranges, and without a wish for trailers.  Its length, or 0 when it does not fit. */
size_t forward_conditions(char *out, size_t size, const struct head *request,
	const struct forward_conditions *conditions);

#define SURROGATE_DEVICE "egret" /* this proxy in Surrogate-Capability and Surrogate-Control */

/* A request that forward_request() wrote, parsed again, as it is asked for all who will be given
 * the response: it does not say who asks (FIELD_FORWARDED), and with `surrogate` this proxy's
 * Surrogate-Capability stands in place of the client's (Edge Architecture 1.0, section 2.1).  It is
 * at most FORWARD_EXTRA(0) longer.  Its length, or 0 when it does not fit. */
size_t forward_for_all(char *out, size_t size, const struct head *request, bool surrogate);

enum framing {
	FRAMING_SAME,     /* as the response says */
	FRAMING_TRAILERS, /* the same, in chunks, and its trailers are sent on behind it */
	FRAMING_CLOSE,    /* HTTP/1.0 client and no length: the end of connection ends it */
	FRAMING_CHUNKED, /* HTTP/1.1 client, and the origin's close ends the body: the caller writes
			    chunks */
};

/* Writes the response for the client, final or 1xx.  The version is HTTP/1.1 (RFC 9110 2.5);
 * `keep_alive` says what the client connection will do: "Connection: close" when it ends, and
 * "keep-alive" to a HTTP/1.0 client (`client_minor` 0) when it persists.  A body without length or
 * chunks always says close. `date` (IMF-fixdate) is added where the origin sent none (RFC
 * 9110 6.6.1), and `lines` (whole field lines, or none) at the end.  0: it does not fit. */
size_t forward_response(char *out, size_t size, const struct head *response, bool keep_alive,
	int client_minor, enum framing framing, struct text name, struct text date,
	struct text lines);

/* The trailer lines that chunk.h has read, as far as they may be trailers (RFC 9110 6.5.1): not
 * what egret itself reads, nor what frames, routes, controls caches or clients, authenticates, or
 * says what the content is, but for its digest (RFC 9530).  Never longer than they were. */
size_t forward_trailers(char *out, struct text trailers);

/* True when a Via value names `name`: the request has been here (RFC 9110 7.6.3). */
bool forward_is_loop(const struct head *request, struct text name);
