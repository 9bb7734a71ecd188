/*
 * metrics_read.c - what workers count, for who asks by the control socket.
 */
#include "daemon/admin/metrics_parts.h"

#include <stdlib.h>
#include <string.h>

static uint64_t get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static int by_name(const void *key, const void *name)
{
	return strcmp(key, *(const char *const *)name);
}

static void add(struct metrics_partner *to, const struct partner *from)
{
	double last = (double)get(&from->last) / 1e3;

	for (unsigned i = 0; i < N_OUTCOMES; i++)
		for (unsigned code = 0; code < CODES; code++)
			to->requests[i] += get(&from->requests[i][code]);
	to->from_client += get(&from->from_client);
	to->to_client += get(&from->to_client);
	to->rate_limited += get(&from->rate_limited);
	to->last = last > to->last ? last : to->last;
}

void metrics_add_partners(const struct metrics *m, const char *const *names, size_t n,
	struct metrics_partner *partners)
{
	const struct partner *p = atomic_load_explicit(&m->newest, memory_order_acquire);

	for (; p && n > 0; p = p->next) {
		const char *const *found = bsearch(p->name, names, n, sizeof(*names), by_name);

		if (found)
			add(&partners[found - names], p);
	}
}

void metrics_add_cache(
	const struct metrics *m, uint64_t results[N_CACHE_RESULTS], uint64_t bytes[N_CACHE_RESULTS])
{
	for (unsigned i = 0; i < N_CACHE_RESULTS; i++) {
		results[i] += get(&m->cache[i]);
		bytes[i] += get(&m->cache_bytes[i]);
	}
}
