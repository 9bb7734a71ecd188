/*
 * limits.c - token buckets, shared by all workers.
 *
 * A bucket is written as the time at which it will be full again (GCRA).  Until then it lacks
 * debt / rate_ns tokens, and a token may be taken while the debt stays within burst * rate_ns.  The
 * rate and burst of the last take are kept beside it, so that after a reload the tokens that are
 * missing stay missing, at the new price, up to the new burst.
 *
 * A bucket is found by a keyed 128-bit digest of partner, source and host, which stands for them.
 * The first bits choose a shard: a mutex, a hash table with chains, and a list in the order of use.
 * When a shard is full, all its full buckets leave; when there is none, the least recently used
 * one. A shard knows before when no bucket can be full, so it does not look in vain.
 */
#include "acl/limits.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "acl/host.h"
#include "base/siphash.h"

#define SHARDS 64
#define SMALL 4096 /* tables below this have one shard */
#define NONE 0     /* no bucket: they count from 1 */

struct bucket {
	struct siphash id;
	uint64_t full_at; /* nanoseconds */
	uint64_t rate_ns; /* this and burst: at the last take */
	uint32_t burst;
	uint32_t chain;        /* the next in its slot, or the next free one */
	uint32_t older, newer; /* in the order of use */
};

struct shard {
	pthread_mutex_t lock;
	struct bucket *buckets;
	uint32_t *slots;    /* heads of chains */
	uint32_t n_slots;   /* a power of two */
	uint32_t max, used; /* those above `used` were never touched */
	uint32_t free;
	uint32_t oldest, newest;
	uint64_t earliest; /* no bucket is full before */
};

struct limits {
	struct siphash_key key;
	struct bucket *buckets; /* all shards': one large block, whose pages the kernel gives at
				   first use */
	uint32_t *slots;
	size_t n_shards;
	struct shard shards[];
};

static uint32_t slots_for(size_t max)
{
	uint32_t n = 1;

	while (n < max)
		n *= 2;
	return n;
}

struct limits *limits_new(size_t max)
{
	size_t n = max < SMALL ? 1 : SHARDS, most = (max + n - 1) / n;
	struct limits *limits = calloc(1, sizeof(*limits) + n * sizeof(limits->shards[0]));

	CHECK(max > 0 && max <= LIMITS_MAX);
	if (!limits)
		return NULL;
	CHECK(getrandom(&limits->key, sizeof(limits->key), 0) == sizeof(limits->key));
	limits->buckets = calloc(n * (most + 1), sizeof(*limits->buckets));
	limits->slots = calloc(n * slots_for(most), sizeof(*limits->slots));
	if (!limits->buckets || !limits->slots) {
		limits_free(limits);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		struct shard *shard = &limits->shards[i];

		pthread_mutex_init(&shard->lock, NULL);
		shard->max = (uint32_t)(max / n + (i < max % n));
		shard->earliest = UINT64_MAX;
		shard->n_slots = slots_for(most);
		shard->buckets = limits->buckets + i * (most + 1);
		shard->slots = limits->slots + i * shard->n_slots;
	}
	limits->n_shards = n;
	return limits;
}

void limits_free(struct limits *limits)
{
	if (!limits)
		return;
	for (size_t i = 0; i < limits->n_shards; i++)
		pthread_mutex_destroy(&limits->shards[i].lock);
	free(limits->buckets);
	free(limits->slots);
	free(limits);
}

static struct siphash identify(const struct limits *limits, const struct section *section,
	const struct addr *client, struct text host)
{
	struct siphash name = siphash(&limits->key, section->name, strlen(section->name));
	uint8_t bytes[sizeof(name) + sizeof(*client) + HOST_MAX];
	size_t n = sizeof(name);

	memcpy(bytes, &name, n);
	if (section->rate_per != RATE_PER_PARTNER) {
		memcpy(bytes + n, client, sizeof(*client));
		n += sizeof(*client);
	}
	if (section->rate_per == RATE_PER_SOURCE_HOST && host.length > 0) {
		CHECK(host.length <= HOST_MAX);
		memcpy(bytes + n, host.at, host.length);
		n += host.length;
	}
	return siphash(&limits->key, bytes, n);
}

static struct shard *shard_of(struct limits *limits, const struct siphash *id)
{
	return &limits->shards[id->words[0] % limits->n_shards];
}

static uint32_t *slot_of(const struct shard *shard, const struct siphash *id)
{
	return &shard->slots[id->words[1] & (shard->n_slots - 1)];
}

static uint32_t find(const struct shard *shard, const struct siphash *id)
{
	uint32_t at = *slot_of(shard, id);

	while (at != NONE && (shard->buckets[at].id.words[0] != id->words[0] ||
				     shard->buckets[at].id.words[1] != id->words[1]))
		at = shard->buckets[at].chain;
	return at;
}

static void list_remove(struct shard *shard, uint32_t at)
{
	struct bucket *bucket = &shard->buckets[at];

	if (bucket->older == NONE)
		shard->oldest = bucket->newer;
	else
		shard->buckets[bucket->older].newer = bucket->newer;
	if (bucket->newer == NONE)
		shard->newest = bucket->older;
	else
		shard->buckets[bucket->newer].older = bucket->older;
}

static void list_append(struct shard *shard, uint32_t at)
{
	shard->buckets[at].older = shard->newest;
	shard->buckets[at].newer = NONE;
	if (shard->newest == NONE)
		shard->oldest = at;
	else
		shard->buckets[shard->newest].newer = at;
	shard->newest = at;
}

static void forget(struct shard *shard, uint32_t at)
{
	uint32_t *link = slot_of(shard, &shard->buckets[at].id);

	while (*link != at)
		link = &shard->buckets[*link].chain;
	*link = shard->buckets[at].chain;
	list_remove(shard, at);
	shard->buckets[at].chain = shard->free;
	shard->free = at;
}

static void forget_full(struct shard *shard, uint64_t now)
{
	uint32_t next;

	if (now < shard->earliest)
		return;
	shard->earliest = UINT64_MAX;
	for (uint32_t at = shard->oldest; at != NONE; at = next) {
		uint64_t full_at = shard->buckets[at].full_at;

		next = shard->buckets[at].newer;
		if (full_at <= now)
			forget(shard, at);
		else if (full_at < shard->earliest)
			shard->earliest = full_at;
	}
}

/* A full bucket for `id`, which has none. */
static uint32_t add(struct shard *shard, const struct siphash *id, uint64_t now)
{
	uint32_t *slot = slot_of(shard, id);
	uint32_t at;

	if (shard->free == NONE && shard->used == shard->max)
		forget_full(shard, now);
	if (shard->free == NONE && shard->used == shard->max)
		forget(shard, shard->oldest);
	at = shard->free;
	if (at == NONE)
		at = ++shard->used;
	else
		shard->free = shard->buckets[at].chain;
	shard->buckets[at] = (struct bucket){.id = *id, .full_at = now, .chain = *slot};
	*slot = at;
	list_append(shard, at);
	return at;
}

/* Until a bucket with all its tokens taken is full again. */
static uint64_t capacity(const struct section *section)
{
	uint64_t ns;

	CHECK(section->rate_burst > 0);
	if (__builtin_mul_overflow(section->rate_ns, section->rate_burst, &ns))
		return UINT64_MAX;
	return ns;
}

static uint64_t debt(const struct bucket *bucket, const struct section *section, uint64_t now)
{
	uint64_t ns = bucket->full_at > now ? bucket->full_at - now : 0;
	uint64_t most = capacity(section);

	return ns < most ? ns : most;
}

static void owe(struct bucket *bucket, uint64_t now, uint64_t ns)
{
	if (__builtin_add_overflow(now, ns, &bucket->full_at))
		bucket->full_at = UINT64_MAX;
}

/* Brings what is missing to the section's price, once after its rate or burst has changed. */
static void reprice(struct bucket *bucket, const struct section *section, uint64_t now)
{
	unsigned __int128 ns = bucket->full_at > now ? bucket->full_at - now : 0;
	uint64_t most = capacity(section);

	if (bucket->rate_ns == section->rate_ns && bucket->burst == section->rate_burst)
		return;
	if (ns > 0)
		ns = ns * section->rate_ns / bucket->rate_ns;
	owe(bucket, now, ns < most ? (uint64_t)ns : most);
	bucket->rate_ns = section->rate_ns;
	bucket->burst = section->rate_burst;
}

static void describe(struct limit *state, const struct section *section, uint64_t ns)
{
	uint64_t most = capacity(section);

	if (!state)
		return;
	state->left = (uint32_t)((most - ns) / section->rate_ns);
	state->retry_ns = state->left > 0 ? 0 : section->rate_ns - (most - ns);
}

static bool is_unlimited(const struct section *section, struct limit *state)
{
	if (section->rate_ns == 0 && state)
		*state = (struct limit){.left = UINT32_MAX};
	return section->rate_ns == 0;
}

bool limits_take(struct limits *limits, const struct section *section, const struct addr *client,
	struct text host, uint64_t now, struct limit *state)
{
	struct siphash id;
	struct bucket *bucket;
	struct shard *shard;
	uint64_t ns;
	uint32_t at;
	bool taken;

	if (is_unlimited(section, state))
		return true;
	id = identify(limits, section, client, host);
	shard = shard_of(limits, &id);
	pthread_mutex_lock(&shard->lock);
	at = find(shard, &id);
	if (at == NONE) {
		at = add(shard, &id, now);
	} else {
		list_remove(shard, at);
		list_append(shard, at);
	}
	bucket = &shard->buckets[at];
	reprice(bucket, section, now);
	ns = debt(bucket, section, now);
	taken = ns <= capacity(section) - section->rate_ns;
	if (taken) {
		ns += section->rate_ns;
		owe(bucket, now, ns);
	}
	if (bucket->full_at < shard->earliest)
		shard->earliest = bucket->full_at;
	pthread_mutex_unlock(&shard->lock);
	describe(state, section, ns);
	return taken;
}

void limits_look(struct limits *limits, const struct section *section, const struct addr *client,
	struct text host, uint64_t now, struct limit *state)
{
	struct bucket bucket = {.full_at = 0};
	struct siphash id;
	struct shard *shard;
	uint32_t at;

	if (is_unlimited(section, state))
		return;
	id = identify(limits, section, client, host);
	shard = shard_of(limits, &id);
	pthread_mutex_lock(&shard->lock);
	at = find(shard, &id);
	if (at != NONE)
		bucket = shard->buckets[at];
	pthread_mutex_unlock(&shard->lock);
	reprice(&bucket, section, now);
	describe(state, section, debt(&bucket, section, now));
}

uint64_t limit_retry_seconds(const struct limit *state)
{
	return state->retry_ns / 1000000000 + (state->retry_ns % 1000000000 != 0);
}
