/*
 * metrics_parts.h - what metrics.c counts and metrics_print.c reads.
 *
 * Each number has one writer, its worker, and may be read at any time: relaxed loads and
 * stores.  Nobody else includes this.
 */
#pragma once

#include <stdatomic.h>

#include "daemon/admin/metrics.h"

#define REASONS N_REASONS
#define CODES 6    /* classes of status: 0 none, 1 to 5 */
#define BUCKETS 17 /* the last one is +Inf */

/* Upper ends of buckets, inclusive. */
struct metrics_bound {
	uint64_t ns;
	const char *text;
};
extern const struct metrics_bound metrics_bounds[BUCKETS - 1];

struct histogram {
	_Atomic uint64_t buckets[BUCKETS]; /* not cumulative */
	_Atomic uint64_t sum;              /* nanoseconds */
};

struct partner {
	struct partner *next; /* the one that came before it */
	uint64_t hash;
	_Atomic uint64_t requests[N_OUTCOMES][CODES];
	_Atomic uint64_t from_client, to_client;
	_Atomic uint64_t rate_limited;
	_Atomic uint64_t last; /* Unix time in milliseconds of the last one's begin; 0: none */
	char name[];
};

struct metrics {
	_Atomic(struct partner *) newest;
	struct partner *undecided, *other;
	struct partner **table; /* open addressing, at most half full */
	size_t slots, names;
	uint64_t seed;

	_Atomic uint64_t accepted, refused, tunnels_opened;
	_Atomic uint64_t clients, tunnels, origins; /* two's complement */
	_Atomic uint64_t denied[REASONS];
	_Atomic uint64_t endings[N_ENDINGS];
	_Atomic uint64_t cache[N_CACHE_RESULTS], cache_bytes[N_CACHE_RESULTS];
	struct histogram total, first_byte, connect, dns;
};
