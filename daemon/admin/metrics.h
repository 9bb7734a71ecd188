/*
 * metrics.h - what one worker counts, and all workers' counts as Prometheus text.
 *
 * A worker writes its own counters and nobody else's, without locks (relaxed atomics, so
 * that another thread may read them).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/cache/store.h"
#include "daemon/log/record.h"
#include "daemon/net/resolver.h"

struct metrics;

#define METRICS_NAMES 10000 /* partners counted by name, a worker */

struct metrics *metrics_new(void);          /* NULL: no memory */
void metrics_free(struct metrics *metrics); /* accepts NULL */

/* Counts one exchange or tunnel that is over.  Partners (and blocks) are counted by name, so counts
 * outlive a reload; names over METRICS_NAMES count as partner="other", what no section
 * decided as partner="-". */
void metrics_count(struct metrics *metrics, const struct record *record);

/* Gauges.  These and metrics_count() are for the worker's own thread. */
void metrics_client(struct metrics *metrics, int change); /* +1, -1 */
void metrics_tunnel(struct metrics *metrics, int change);
void metrics_origin(
	struct metrics *metrics, int change); /* connections to origins, idle ones included */
void metrics_accepted(struct metrics *metrics);
void metrics_refused(struct metrics *metrics); /* a connection over max-connections */

/* What is not a worker's: filled by the proxy's main thread from the gate's messages. */
struct metrics_facts {
	uint64_t generation;
	const char *digest; /* of the generation in force; NULL: none yet */
	uint64_t reloads_ok, reloads_failed;
	double reload_time; /* Unix time of the last that succeeded */
	double start_time;
	unsigned restarts; /* of the proxy */
	size_t max_connections;
	uint64_t access_lost;
	const struct store_counts *cache; /* NULL: there is none */
};

/* What all workers count of one partner or block, together. */
struct metrics_partner {
	uint64_t requests[N_OUTCOMES]; /* that are over */
	uint64_t from_client, to_client, rate_limited;
	double last; /* Unix time of the begin of the one that began last; 0: none */
};

/* Adds one worker's counts to each of the `n` partners, whose names are sorted by strcmp().  From
 * any thread. */
void metrics_add_partners(const struct metrics *metrics, const char *const *names, size_t n,
	struct metrics_partner *partners);

/* Exchanges of one worker, and the bytes that went to clients, by the cache's part in them. */
void metrics_add_cache(const struct metrics *metrics, uint64_t results[N_CACHE_RESULTS],
	uint64_t bytes[N_CACHE_RESULTS]);

/* The page for /metrics: sums over workers, in Prometheus text format 0.0.4.  From any thread; a
 * `resolvers` entry may be NULL.  malloc()ed, the caller frees; *length without NUL. NULL: no
 * memory. */
char *metrics_print(struct metrics *const *workers, const struct resolver_counts *const *resolvers,
	size_t n_workers, const struct metrics_facts *facts, size_t *length);
