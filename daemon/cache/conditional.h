/*
 * conditional.h - a client's conditions and ranges, held against a stored response
 * (RFC 9110 13 and 14).
 *
 * Pure.
 */
#pragma once

#include "daemon/http/head.h"
#include "daemon/cache/meta.h"

enum precondition {
	PRECONDITION_NONE, /* go on: 200, or a range */
	PRECONDITION_304,
	PRECONDITION_WHOLE, /* If-Range does not hold: 200 without ranges */
};

/* RFC 9110 13.2.2, in its order, for GET and HEAD on a stored 200; other stored statuses are sent
 * whatever the conditions (13.2.1).  `stored` has ETag and Last-Modified; where it has no
 * Last-Modified, If-Modified-Since compares with `meta->date` (RFC 9111 4.3.2).  If-Match and
 * If-Unmodified-Since are evaluated by origins alone: cache_request_is_cacheable() keeps requests
 * that have them away. */
enum precondition precondition_check(
	const struct head *request, const struct head *stored, const struct cache_meta *meta);

#define RANGES_MAX 16 /* more in one request: the whole is sent (RFC 9110 14.2 allows it) */

struct range {
	uint64_t first, last; /* both inclusive */
};

/* The Range field of a GET held against a body of `length` bytes.  > 0: so many ranges, in the
 * order asked for; those that overlap are one, at the place of the first.  0: no Range, or one to
 * ignore (other units, malformed, several lines, too many).  -1: 416, none can be satisfied. */
int ranges_parse(const struct head *request, uint64_t length, struct range ranges[RANGES_MAX]);

/* The Content-Range of a 206: which bytes of a body of *length it has (RFC 9110 14.4).  False: it
 * is not there once, or does not say all of that. */
bool content_range_parse(const struct head *response, struct range *range, uint64_t *length);
