/*
 * head.h - the head of an HTTP/1 message (RFC 9112 2 to 6).
 *
 * A head is bounded, so it is parsed once, when it is complete, by a pure function
 * that points into the caller's bytes.  What two parsers could read differently is
 * refused, never repaired.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum field_id { /* the fields the proxy itself reads or rewrites; FIELD_OTHER: all the rest */
	FIELD_OTHER,
	FIELD_AGE,
	FIELD_AUTHORIZATION,
	FIELD_CACHE_CONTROL,
	FIELD_CACHE_STATUS,
	FIELD_CACHE_TAG,
	FIELD_CDN_CACHE_CONTROL,
	FIELD_CONNECTION,
	FIELD_CONTENT_LENGTH,
	FIELD_CONTENT_LOCATION,
	FIELD_CONTENT_RANGE,
	FIELD_CONTENT_TYPE,
	FIELD_DATE,
	FIELD_ETAG,
	FIELD_EXPECT,
	FIELD_EXPIRES,
	FIELD_FORWARDED, /* or X-Forwarded-For and others that say who asked, and how */
	FIELD_HOST,
	FIELD_IF_MATCH,
	FIELD_IF_MODIFIED_SINCE,
	FIELD_IF_NONE_MATCH,
	FIELD_IF_RANGE,
	FIELD_IF_UNMODIFIED_SINCE,
	FIELD_KEEP_ALIVE,
	FIELD_LAST_MODIFIED,
	FIELD_LOCATION,
	FIELD_MAX_FORWARDS,
	FIELD_OVERRIDE, /* X-HTTP-Method-Override, X-Original-URL and others: another request is
			   meant */
	FIELD_PRAGMA,
	FIELD_PROXY_AUTHENTICATE,
	FIELD_PROXY_AUTHORIZATION,
	FIELD_PROXY_AUTHENTICATION_INFO,
	FIELD_PROXY_CONNECTION,
	FIELD_RANGE,
	FIELD_SURROGATE_CAPABILITY,
	FIELD_SURROGATE_CONTROL,
	FIELD_SURROGATE_KEY,
	FIELD_TE,
	FIELD_TRAILER,
	FIELD_TRANSFER_ENCODING,
	FIELD_UPGRADE,
	FIELD_VARY,
	FIELD_VIA,
};

struct field {
	struct text name;
	struct text value; /* without surrounding white space */
	enum field_id id;
	/* Hop-by-hop: by name, or listed in Connection (RFC 9110 7.6.1).  Listing does not take
	 * away what every hop needs: nobody hides Host or Via from the next one. */
	bool hop;
};

enum method {
	METHOD_OTHER,
	METHOD_CONNECT,
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_DELETE,
	METHOD_OPTIONS,
	METHOD_TRACE,
	METHOD_PATCH
};

enum body {
	BODY_NONE,
	BODY_LENGTH,  /* `body_length` bytes, which may be 0 */
	BODY_CHUNKED, /* RFC 9112 7.1 */
	BODY_CLOSE,   /* response only: until the origin closes */
};

struct head {
	size_t length; /* bytes of the head, with the empty line */
	int minor;     /* HTTP/1.minor, 0 or 1 */

	struct text method; /* request */
	enum method method_id;
	struct text target;

	int status; /* response, 100-599 */
	struct text phrase;

	struct field *fields; /* the caller's array */
	size_t n_fields;

	enum body body;
	uint64_t body_length;
	/* What Content-Length says, also where no body follows (HEAD, 304).  -1: it is not there,
	 * or means nothing here (1xx, 204, CONNECT's 2xx). */
	int64_t content_length;
	/* What this message says of its connection (RFC 9112 9.3); of a response also that its end
	 * is known, so that the connection can carry another. */
	bool keep_alive;
	bool trailers; /* request, HTTP/1.1: TE says that they are wanted (RFC 9110 10.1.4) */
	bool expect_continue; /* request with a body, HTTP/1.1 (RFC 9110 10.1.1) */
	int64_t max_forwards; /* TRACE, OPTIONS: 0 is for us to answer (RFC 9110 7.6.2); -1: none */
	struct text host;     /* request: the Host field's value; length 0 when there is none */
	/* The protocols that a request asks to switch to, or that a 101 switches to and a 426 wants
	 * (RFC 9110 7.8); length 0: none, or none that egret carries. */
	struct text upgrade;
};

#define METHOD_MAX 64 /* bytes in a method; a longer one is 501 */

struct head_limits {
	size_t line;   /* bytes in the request or status line, without CRLF */
	size_t bytes;  /* bytes in the whole head */
	size_t fields; /* field lines; the `fields` array holds as many */
};

/* What is wrong with a message, for its sender and the log. */
struct head_error {
	int status;       /* 400, 414, 417, 431, 501, 505; for a response always 502 */
	const char *text; /* static: "Content-Length: want one decimal number" */
};

enum head_result { HEAD_DONE, HEAD_MORE, HEAD_BAD };

/* Looks for the end of the head in `in`; `*seen` (0 at first) remembers how far it looked, so
 * that a head that arrives byte by byte costs linear time.  HEAD_DONE: the head is the first
 * `*seen` bytes.  HEAD_BAD, with `error` set: a limit is passed, a line ends with LF alone, or the
 * first line cannot become a message.  One empty line before a request line belongs to the head
 * (RFC 9112 2.2). */
enum head_result head_find(struct text in, bool request, size_t *seen,
	const struct head_limits *limits, struct head_error *error);

/*
 * Parse a complete head; bytes behind it are left alone.  HEAD_MORE says that it is not complete,
 * never where head_find() said HEAD_DONE.  `head->fields` must point to an array of limits->fields,
 * and a response's `head->upgrade` must say what its request asked for; the rest is filled in.
 * Refused, beyond what RFC 9112 demands:
 *   - bare LF, bare CR, folded lines, white space other than the one SP in a start line;
 *   - Content-Length more than once, even when all agree, as a list, or with leading zeros;
 *   - Transfer-Encoding other than "chunked" alone, with Content-Length, or in HTTP/1.0;
 *   - tabs beside the values of these two;
 *   - versions other than 1.0 and 1.1; Host more than once in 1.0 too;
 *   - CONNECT and TRACE with a body; a 101 to other protocols than were asked for; a body in 1xx.
 * head_response() needs to know the request: no body after HEAD, nor after CONNECT's 2xx (RFC
 * 9112 6.3).  An Upgrade counts in a GET of HTTP/1.1 without a body, and not to h2c: what goes
 * through that are requests which nobody here would see.
 */
enum head_result head_request(struct text in, const struct head_limits *limits, struct head *head,
	struct head_error *error);
enum head_result head_response(struct text in, const struct head_limits *limits,
	enum method request, struct head *head, struct head_error *error);

/* The first field with this id, or NULL. */
const struct field *head_field(const struct head *head, enum field_id id);

/* Does a comma-separated list field hold `token`, without case? (RFC 9110 5.6.1) */
bool list_has(struct text list, struct text token);
