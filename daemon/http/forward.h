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
 * one (0 is not for forwarding).  HTTP/1.1 always; the connection persists.  A chunked body stays
 * chunked. */
size_t forward_request(char *out, size_t size, const struct head *request, const struct uri *uri,
	struct text name);

enum framing {
	FRAMING_SAME,    /* as the response says */
	FRAMING_CLOSE,   /* HTTP/1.0 client and no length: the end of connection ends it */
	FRAMING_CHUNKED, /* HTTP/1.1 client, and the origin's close ends the body: the caller writes
			    chunks */
};

/* Writes the response for the client, final or 1xx.  The version is HTTP/1.1 (RFC 9110 2.5);
 * `keep_alive` says what the client connection will do: "Connection: close" when it ends, and
 * "keep-alive" to a HTTP/1.0 client (`client_minor` 0) when it persists.  A body without length or
 * chunks always says close. `date` (IMF-fixdate) is added where the origin sent none (RFC
 * 9110 6.6.1).  0: it does not fit. */
size_t forward_response(char *out, size_t size, const struct head *response, bool keep_alive,
	int client_minor, enum framing framing, struct text name, struct text date);

/* True when a Via value names `name`: the request has been here (RFC 9110 7.6.3). */
bool forward_is_loop(const struct head *request, struct text name);
