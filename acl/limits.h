/*
 * limits.h - token buckets, shared by all workers.
 *
 * A bucket is one number: the time at which it will be full again.  Buckets
 * are found by partner name, source and host, so they outlive a reload; a full
 * bucket is the same as none, so idle ones leave first when the table is full.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acl/policy.h"

#define LIMITS_MAX 16777216 /* buckets, of 48 bytes */

struct limits;

/* At most `max` buckets, 1 to LIMITS_MAX; memory is used as they come.  NULL: no memory. */
struct limits *limits_new(size_t max);
void limits_free(struct limits *limits); /* accepts NULL */

struct limit {
	uint32_t left;     /* whole tokens in the bucket now */
	uint64_t retry_ns; /* until one token is there; 0 when left > 0 */
};

/* Takes one token for the section's rate (none set: always true).  `now` in nanoseconds of a
 * monotonic clock.  `state` (may be NULL) tells the bucket afterwards.  Thread-safe.
 * `host` is canonical, for an address its text: at most HOST_MAX bytes.  When a reload changed the
 * section's rate or burst, the tokens that were missing are still missing, up to the new burst. */
bool limits_take(struct limits *limits, const struct section *section, const struct addr *client,
	struct text host, uint64_t now, struct limit *state);

/* The same without taking; `state` is not NULL. */
void limits_look(struct limits *limits, const struct section *section, const struct addr *client,
	struct text host, uint64_t now, struct limit *state);

/* Whole seconds, rounded up, for Retry-After (RFC 9110 10.2.3). */
uint64_t limit_retry_seconds(const struct limit *state);
