/*
 * index.h - where each stored object is: 48 bytes an object, and 4 to 8 for its bucket.
 *
 * In shards with a lock each.  Keys are not compared: an entry has 64 bits of a keyed digest; who
 * needs certainty compares the key in the record.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INDEX_SHARDS 256
#define INDEX_NONE UINT32_MAX

/* A part of a body, where it does not lie in one piece behind its record. */
struct part {
	uint64_t position; /* in the body */
	uint32_t segment;
	uint32_t offset;
	uint32_t length;
	uint32_t slot;
	atomic_bool verified;
};

/* Never changed while someone else has a reference, apart from `verified`.  The references of
 * others come into being under the lock of the entry's shard only. */
struct extents {
	atomic_uint refs;
	uint32_t count;
	uint64_t body;   /* its id */
	uint64_t length; /* of the whole body */
	struct part parts[];
};

struct extents *extents_new(uint32_t count);          /* NULL: no memory */
struct extents *extents_get(struct extents *extents); /* accepts NULL */
void extents_put(struct extents *extents);            /* accepts NULL */
struct extents *extents_copy(const struct extents *extents);
const struct part *extents_at(const struct extents *extents, uint64_t position);

/* Without extents the body lies behind the record, and its id is the object's. */
struct entry {
	uint64_t hash;
	uint64_t id;
	struct extents *extents;
	uint64_t segment : 24;
	uint64_t offset : 20; /* in units of LAYOUT_ALIGN, as head */
	uint64_t length : 20; /* of the body behind the record */
	uint64_t slot : 20;
	uint64_t head : 17; /* of the record */
	uint64_t freq : 2;  /* times it was asked for, at most 3 */
	uint64_t verified : 1;
	uint64_t used : 1; /* not free, nor doomed */
	uint32_t vary;
	uint32_t next;
};

struct shard {
	pthread_mutex_t lock;
	uint32_t *buckets;
	uint32_t n_buckets; /* 0 or a power of two */
	uint32_t count;
	struct entry **chunks;
	uint32_t n_chunks;
	uint32_t free;
	uint32_t doomed; /* no objects any more; their slots have yet to be told */
};

struct index {
	struct shard shards[INDEX_SHARDS];
	atomic_size_t bytes; /* of memory */
};

void index_init(struct index *index);
void index_fini(struct index *index);

struct shard *index_lock(struct index *index, uint64_t hash);
void index_unlock(struct shard *shard);

/* Under the lock: all entries with this hash, in no order. */
struct entry *index_first(const struct shard *shard, uint64_t hash);
struct entry *index_next(const struct shard *shard, const struct entry *entry);
struct entry *index_find(const struct shard *shard, uint64_t hash, uint64_t id);

/* Adds a copy, which takes over the reference to its extents.  NULL: no memory. */
struct entry *index_add(struct index *index, struct shard *shard, const struct entry *entry);
/* It is found no more.  `doom`: and is handed out by index_doomed(). */
void index_remove(struct shard *shard, struct entry *entry, bool doom);
/* Takes a doomed one; false: there are none. */
bool index_doomed(struct shard *shard, struct entry *out);

/* Copies up to `n` entries from *cursor (at first 0) on, which moves; fewer: that was all. */
size_t index_walk(const struct shard *shard, uint32_t *cursor, struct entry *out, size_t n);
