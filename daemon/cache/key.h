/*
 * key.h - under which name a response is kept (RFC 9111 2).
 *
 * Pure.  "PARTITION scheme://host:port/path?query": host in its canonical form, without the
 * scheme's own port, path and query byte by byte.  A key holds no blank but the one behind the
 * partition, which must not have any.
 */
#pragma once

#include "daemon/http/uri.h"

/* Query keys that do not matter (departs from RFC 9111 2): a name, byte by byte, or the beginning
 * of names with "*" behind it.  They are left out with their values, the order of the others stays;
 * a query of which nothing is left is no query.  Elements are separated by "&".
 * Returns the length; 0: it does not fit, or the URI names no resource of HTTP (CONNECT, "*"). */
size_t key_make(char *out, size_t size, struct text partition, const struct uri *uri,
	const struct text *ignore, size_t n_ignore);

/* Scheme, host and port are the same (RFC 9110 4.3.1). */
bool key_same_origin(const struct uri *a, const struct uri *b);

#define KEY_REFERENCE_MAX 8192 /* bytes of a URI reference, resolved; a longer one has no key */

/* The key of what a Location or Content-Location refers to, resolved against the request's URI (RFC
 * 3986 5.2) without its fragment.  0: not of the same origin (RFC 9111 4.4), no URI, or too long.
 */
size_t key_of_location(char *out, size_t size, struct text partition, const struct uri *base,
	struct text reference, const struct text *ignore, size_t n_ignore);
