/*
 * index.c - a hash table of entries, chained by number.
 *
 * Entries lie in chunks that never move, so a shard grows without copying them.
 */
#include "daemon/cache/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define CHUNK 128

_Static_assert(sizeof(struct entry) == 48, "an object costs less than 60 bytes");

/* ---- extents ---- */

struct extents *extents_new(uint32_t count)
{
	struct extents *extents = calloc(1, sizeof(*extents) + count * sizeof(extents->parts[0]));

	if (!extents)
		return NULL;
	atomic_init(&extents->refs, 1);
	extents->count = count;
	return extents;
}

struct extents *extents_get(struct extents *extents)
{
	if (extents)
		atomic_fetch_add_explicit(&extents->refs, 1, memory_order_relaxed);
	return extents;
}

void extents_put(struct extents *extents)
{
	if (extents && atomic_fetch_sub_explicit(&extents->refs, 1, memory_order_acq_rel) == 1)
		free(extents);
}

struct extents *extents_copy(const struct extents *extents)
{
	struct extents *copy = extents_new(extents->count);

	if (!copy)
		return NULL;
	copy->body = extents->body;
	copy->length = extents->length;
	for (uint32_t i = 0; i < extents->count; i++) {
		const struct part *p = &extents->parts[i];

		copy->parts[i] = (struct part){.position = p->position,
			.segment = p->segment,
			.offset = p->offset,
			.length = p->length,
			.slot = p->slot};
		atomic_init(&copy->parts[i].verified, atomic_load(&p->verified));
	}
	return copy;
}

const struct part *extents_at(const struct extents *extents, uint64_t position)
{
	uint32_t low = 0, high = extents->count;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (extents->parts[middle].position <= position)
			low = middle;
		else
			high = middle;
	}
	return &extents->parts[low];
}

/* ---- shards ---- */

void index_init(struct index *index)
{
	atomic_init(&index->bytes, 0);
	for (int i = 0; i < INDEX_SHARDS; i++) {
		struct shard *shard = &index->shards[i];

		memset(shard, 0, sizeof(*shard));
		pthread_mutex_init(&shard->lock, NULL);
		shard->free = INDEX_NONE;
		shard->doomed = INDEX_NONE;
	}
}

static struct entry *at(const struct shard *shard, uint32_t number)
{
	return number == INDEX_NONE ? NULL : &shard->chunks[number / CHUNK][number % CHUNK];
}

static void fini_shard(struct shard *shard)
{
	for (uint32_t i = 0; i < shard->n_chunks * CHUNK; i++)
		extents_put(at(shard, i)->extents);
	for (uint32_t i = 0; i < shard->n_chunks; i++)
		free(shard->chunks[i]);
	free(shard->chunks);
	free(shard->buckets);
	pthread_mutex_destroy(&shard->lock);
}

void index_fini(struct index *index)
{
	for (int i = 0; i < INDEX_SHARDS; i++)
		fini_shard(&index->shards[i]);
}

struct shard *index_lock(struct index *index, uint64_t hash)
{
	struct shard *shard = &index->shards[hash % INDEX_SHARDS];

	pthread_mutex_lock(&shard->lock);
	return shard;
}

void index_unlock(struct shard *shard)
{
	pthread_mutex_unlock(&shard->lock);
}

static uint32_t *bucket(const struct shard *shard, uint64_t hash)
{
	return &shard->buckets[(hash / INDEX_SHARDS) & (shard->n_buckets - 1)];
}

static struct entry *same_hash(const struct shard *shard, uint32_t number, uint64_t hash)
{
	struct entry *entry = at(shard, number);

	while (entry && entry->hash != hash)
		entry = at(shard, entry->next);
	return entry;
}

struct entry *index_first(const struct shard *shard, uint64_t hash)
{
	return shard->n_buckets ? same_hash(shard, *bucket(shard, hash), hash) : NULL;
}

struct entry *index_next(const struct shard *shard, const struct entry *entry)
{
	return same_hash(shard, entry->next, entry->hash);
}

struct entry *index_find(const struct shard *shard, uint64_t hash, uint64_t id)
{
	struct entry *entry = index_first(shard, hash);

	while (entry && entry->id != id)
		entry = index_next(shard, entry);
	return entry;
}

/* One bucket an entry at the most, half at the least. */
static bool grow_buckets(struct index *index, struct shard *shard)
{
	uint32_t old = shard->n_buckets, n = old ? old * 2 : 16;
	uint32_t *buckets = malloc(n * sizeof(*buckets));

	if (!buckets)
		return false;
	memset(buckets, 0xff, n * sizeof(*buckets));
	for (uint32_t i = 0; i < old; i++) {
		uint32_t number = shard->buckets[i];

		while (number != INDEX_NONE) {
			struct entry *entry = at(shard, number);
			uint32_t *to = &buckets[(entry->hash / INDEX_SHARDS) & (n - 1)];
			uint32_t next = entry->next;

			entry->next = *to;
			*to = number;
			number = next;
		}
	}
	free(shard->buckets);
	shard->buckets = buckets;
	shard->n_buckets = n;
	atomic_fetch_add(&index->bytes, (n - old) * sizeof(*buckets));
	return true;
}

static bool grow_entries(struct index *index, struct shard *shard)
{
	struct entry **chunks =
		realloc(shard->chunks, (shard->n_chunks + 1) * sizeof(*shard->chunks));
	struct entry *chunk;

	if (!chunks)
		return false;
	shard->chunks = chunks;
	chunk = calloc(CHUNK, sizeof(*chunk));
	if (!chunk)
		return false;
	chunks[shard->n_chunks] = chunk;
	for (uint32_t i = CHUNK; i-- > 0;) {
		chunk[i].next = shard->free;
		shard->free = shard->n_chunks * CHUNK + i;
	}
	shard->n_chunks++;
	atomic_fetch_add(&index->bytes, CHUNK * sizeof(*chunk) + sizeof(*chunks));
	return true;
}

struct entry *index_add(struct index *index, struct shard *shard, const struct entry *from)
{
	uint32_t number, *first;
	struct entry *entry;

	if (shard->count >= shard->n_buckets && !grow_buckets(index, shard))
		return NULL;
	if (shard->free == INDEX_NONE && !grow_entries(index, shard))
		return NULL;
	number = shard->free;
	entry = at(shard, number);
	shard->free = entry->next;
	*entry = *from;
	entry->used = 1;
	first = bucket(shard, entry->hash);
	entry->next = *first;
	*first = number;
	shard->count++;
	return entry;
}

static void give_back(struct shard *shard, uint32_t number)
{
	struct entry *entry = at(shard, number);

	memset(entry, 0, sizeof(*entry));
	entry->next = shard->free;
	shard->free = number;
}

void index_remove(struct shard *shard, struct entry *entry, bool doom)
{
	uint32_t *link = bucket(shard, entry->hash), number;

	while (at(shard, *link) != entry)
		link = &at(shard, *link)->next;
	number = *link;
	*link = entry->next;
	shard->count--;
	extents_put(entry->extents);
	entry->extents = NULL;
	entry->used = 0;
	if (!doom) {
		give_back(shard, number);
		return;
	}
	entry->next = shard->doomed;
	shard->doomed = number;
}

bool index_doomed(struct shard *shard, struct entry *out)
{
	uint32_t number = shard->doomed;

	if (number == INDEX_NONE)
		return false;
	*out = *at(shard, number);
	shard->doomed = out->next;
	give_back(shard, number);
	return true;
}

size_t index_walk(const struct shard *shard, uint32_t *cursor, struct entry *out, size_t n)
{
	size_t found = 0;

	for (; *cursor < shard->n_chunks * CHUNK && found < n; (*cursor)++) {
		const struct entry *entry = at(shard, *cursor);

		if (entry->used)
			out[found++] = *entry;
	}
	return found;
}
