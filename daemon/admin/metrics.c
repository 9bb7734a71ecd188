/*
 * Each number has one writer, its worker, and may be read at any time: a relaxed load and
 * a relaxed store, which cost what plain ones do.
 *
 * Partners are found in a hash table that only the worker knows.  Readers walk a list
 * instead, to which the worker adds in front: an entry that can be reached never moves, and its
 * name and `next` never change, so growing the table needs no lock.
 */
#include "daemon/admin/metrics_parts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"

#define CACHE_LINE 64
#define TABLE_FIRST 64 /* slots; a power of two */

const struct metrics_bound metrics_bounds[BUCKETS - 1] = {
	{500000, "0.0005"},
	{1000000, "0.001"},
	{2500000, "0.0025"},
	{5000000, "0.005"},
	{10000000, "0.01"},
	{25000000, "0.025"},
	{50000000, "0.05"},
	{100000000, "0.1"},
	{250000000, "0.25"},
	{500000000, "0.5"},
	{1000000000, "1"},
	{2500000000, "2.5"},
	{5000000000, "5"},
	{10000000000, "10"},
	{30000000000, "30"},
	{60000000000, "60"},
};

static void add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static void observe(struct histogram *h, double seconds)
{
	uint64_t ns;
	size_t i = 0;

	if (!(seconds >= 0))
		return;
	ns = (uint64_t)((seconds < 1e9 ? seconds : 1e9) * 1e9 + 0.5);
	while (i < BUCKETS - 1 && ns > metrics_bounds[i].ns)
		i++;
	add(&h->buckets[i], 1);
	add(&h->sum, ns);
}

static uint64_t hash_name(uint64_t seed, const char *name)
{
	uint64_t hash = seed;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3; /* FNV-1a */
	return hash ^ hash >> 32;
}

/* The slot that holds `name`, or the free one where it belongs. */
static struct partner **find_slot(
	struct partner **table, size_t slots, uint64_t hash, const char *name)
{
	for (size_t i = hash & (slots - 1);; i = (i + 1) & (slots - 1))
		if (!table[i] || (table[i]->hash == hash && strcmp(table[i]->name, name) == 0))
			return &table[i];
}

static bool grow_table(struct metrics *m)
{
	size_t slots = m->slots * 2;
	struct partner **table = calloc(slots, sizeof(*table));

	if (!table)
		return false;
	for (size_t i = 0; i < m->slots; i++) {
		struct partner *p = m->table[i];

		if (p)
			*find_slot(table, slots, p->hash, p->name) = p;
	}
	free(m->table);
	m->table = table;
	m->slots = slots;
	return true;
}

static struct partner *add_partner(struct metrics *m, const char *name, uint64_t hash)
{
	size_t length = strlen(name) + 1;
	size_t size = (sizeof(struct partner) + length + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	struct partner *p;

	if (m->names * 2 >= m->slots && !grow_table(m))
		return NULL;
	p = aligned_alloc(CACHE_LINE, size);
	if (!p)
		return NULL;
	memset(p, 0, size);
	p->hash = hash;
	memcpy(p->name, name, length);
	p->next = atomic_load_explicit(&m->newest, memory_order_relaxed);
	*find_slot(m->table, m->slots, hash, name) = p;
	m->names++;
	atomic_store_explicit(&m->newest, p, memory_order_release);
	return p;
}

static struct partner *find_partner(struct metrics *m, const char *name)
{
	uint64_t hash = hash_name(m->seed, name);
	struct partner *p = *find_slot(m->table, m->slots, hash, name);

	if (!p && m->names < METRICS_NAMES)
		p = add_partner(m, name, hash);
	return p ? p : m->other;
}

struct metrics *metrics_new(void)
{
	size_t size = (sizeof(struct metrics) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	struct metrics *m = aligned_alloc(CACHE_LINE, size);

	if (!m)
		return NULL;
	memset(m, 0, size);
	if (getrandom(&m->seed, sizeof(m->seed), GRND_NONBLOCK) < 0)
		m->seed = (uintptr_t)m; /* spreads as well, but can be guessed */
	m->slots = TABLE_FIRST;
	m->table = calloc(m->slots, sizeof(*m->table));
	if (m->table) {
		m->undecided = find_partner(m, "-");
		m->other = find_partner(m, "other");
	}
	if (!m->undecided || !m->other) {
		metrics_free(m);
		return NULL;
	}
	return m;
}

void metrics_free(struct metrics *m)
{
	struct partner *p;

	if (!m)
		return;
	p = atomic_load_explicit(&m->newest, memory_order_relaxed);
	while (p) {
		struct partner *next = p->next;

		free(p);
		p = next;
	}
	free(m->table);
	free(m);
}

static unsigned code_of(int status)
{
	return status >= 100 && status <= 599 ? (unsigned)status / 100 : 0;
}

void metrics_count(struct metrics *m, const struct record *record)
{
	const struct section *section = record->decided ? record->verdict.section : NULL;
	struct partner *p = section ? find_partner(m, section->name) : m->undecided;
	enum outcome outcome = record_outcome(record);

	CHECK(record->ending < N_ENDINGS);
	add(&p->requests[outcome][code_of(record->status)], 1);
	add(&p->from_client, record->from_client);
	add(&p->to_client, record->to_client);
	if (record->when * 1e3 > (double)atomic_load_explicit(&p->last, memory_order_relaxed))
		atomic_store_explicit(
			&p->last, (uint64_t)(record->when * 1e3), memory_order_relaxed);
	if (record->ending == ENDING_RATE_LIMITED)
		add(&p->rate_limited, 1);
	add(&m->endings[record->ending], 1);
	CHECK(record->cache < N_CACHE_RESULTS);
	add(&m->cache[record->cache], 1);
	add(&m->cache_bytes[record->cache], record->to_client);
	if (outcome == OUTCOME_DENY) {
		CHECK(record->verdict.reason < REASONS);
		add(&m->denied[record->verdict.reason], 1);
	}
	if (!record->tunnel)
		observe(&m->total, record->total);
	observe(&m->first_byte, record->first_byte);
	observe(&m->connect, record->connect);
	observe(&m->dns, record->dns);
}

void metrics_client(struct metrics *m, int change)
{
	add(&m->clients, (uint64_t)(int64_t)change);
}

void metrics_tunnel(struct metrics *m, int change)
{
	add(&m->tunnels, (uint64_t)(int64_t)change);
	if (change > 0)
		add(&m->tunnels_opened, (uint64_t)change);
}

void metrics_origin(struct metrics *m, int change)
{
	add(&m->origins, (uint64_t)(int64_t)change);
}

void metrics_accepted(struct metrics *m)
{
	add(&m->accepted, 1);
}

void metrics_refused(struct metrics *m)
{
	add(&m->refused, 1);
}
