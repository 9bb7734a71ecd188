/*
 * remove.c - the index's entries come and go: replacing, removing, purging.
 */
#include "daemon/cache/store_parts.h"

#include <errno.h>
#include <stdlib.h>

#define WALK 64 /* entries looked at in one hold of a shard's lock */

/* `sign` 1: it is in the index from now on; -1: no more. */
static void count(struct store *store, const struct entry *entry, int sign)
{
	struct segments *s = &store->segments;
	const struct extents *extents = entry->extents;
	int64_t record = (int64_t)(entry->head * LAYOUT_ALIGN + (extents ? 0 : entry->length));

	segments_count(s, (uint32_t)entry->segment, sign * record);
	for (uint32_t i = 0; extents && i < extents->count; i++)
		segments_count(
			s, extents->parts[i].segment, sign * (int64_t)extents->parts[i].length);
}

void store_drop(struct store *store, struct shard *shard, struct entry *entry, bool doom)
{
	doom = doom && store->segments.disk && !atomic_load(&store->segments.failed);

	count(store, entry, -1);
	index_remove(shard, entry, doom);
	atomic_fetch_sub(&store->counts.objects, 1);
	if (doom && !atomic_exchange(&store->doomed, true))
		wake_up(&store->wake_keeper);
}

/* A whole one rather than one that lacks something, then the newer one. */
static bool comes_before(const struct entry *a, const struct entry *b)
{
	bool whole = body_is_whole(a->extents);

	return whole != body_is_whole(b->extents) ? whole : a->id > b->id;
}

/* Makes place for `entry` among the variants of its key.  False: a better one is there. */
static bool make_place(struct store *store, struct shard *shard, struct entry *entry)
{
	struct entry *old = index_first(shard, entry->hash), *oldest = NULL, *same = NULL;
	size_t n = 0;

	for (; old; old = index_next(shard, old), n++) {
		if (old->vary == entry->vary)
			same = old;
		if (!oldest || old->id < oldest->id)
			oldest = old;
	}
	if (same && comes_before(same, entry))
		return false;
	if (same) {
		if (same->freq > entry->freq)
			entry->freq = same->freq;
		store_drop(store, shard, same, true);
	} else if (n >= STORE_VARIANTS) {
		if (oldest->id > entry->id)
			return false;
		store_drop(store, shard, oldest, true);
		atomic_fetch_add(&store->counts.evicted, 1);
	}
	return true;
}

/* Counted before what it replaces is not any more: both may name the same parts, and the keeper
 * takes a segment of which nothing is counted for empty. */
bool store_enter_locked(struct store *store, struct shard *shard, const struct entry *from)
{
	struct entry entry = *from;

	count(store, &entry, 1);
	if (!make_place(store, shard, &entry) || !index_add(&store->index, shard, &entry)) {
		count(store, &entry, -1);
		extents_put(entry.extents);
		return false;
	}
	atomic_fetch_add(&store->counts.objects, 1);
	return true;
}

/* ---- removal ---- */

/* Some keys share a count: then something is not kept that could have been. */
uint32_t remove_count(const struct store *store, uint64_t hash)
{
	return atomic_load(&store->removals[hash % STORE_REMOVALS]) + atomic_load(&store->purges);
}

uint32_t store_removals(struct store *store, struct text key)
{
	return remove_count(store, store_hash(store, key));
}

size_t store_remove(struct store *store, struct text key)
{
	uint64_t hash = store_hash(store, key);
	struct shard *shard = index_lock(&store->index, hash);
	struct entry *entry;
	size_t n = 0;

	atomic_fetch_add(&store->removals[hash % STORE_REMOVALS], 1);
	for (; (entry = index_first(shard, hash)) != NULL; n++)
		store_drop(store, shard, entry, true);
	tombs_add(&store->tombs, hash);
	index_unlock(shard);
	atomic_fetch_add(&store->counts.removed, n);
	return n;
}

/* `successor`: or what took its place meanwhile.  True: it was still there. */
static bool remove_one(struct store *store, const struct entry *found, bool successor)
{
	struct shard *shard = index_lock(&store->index, found->hash);
	struct entry *entry = index_first(shard, found->hash);

	while (entry && entry->id != found->id && !(successor && entry->vary == found->vary))
		entry = index_next(shard, entry);
	if (entry)
		store_drop(store, shard, entry, true);
	tombs_add(&store->tombs, found->hash);
	index_unlock(shard);
	return entry != NULL;
}

void store_remove_one(struct store *store, struct stored *stored)
{
	if (remove_one(store, &((struct reference *)stored)->entry, false))
		atomic_fetch_add(&store->counts.removed, 1);
}

void store_corrupt(struct store *store, const struct entry *entry)
{
	if (remove_one(store, entry, false))
		atomic_fetch_add(&store->counts.corrupt, 1);
}

/* ---- purging ---- */

int store_purge(struct store *store, bool (*matches)(void *arg, const struct stored *stored),
	void (*on_done)(void *arg, size_t removed), void *arg)
{
	int error = 0;

	pthread_mutex_lock(&store->lock);
	if (store->purge.matches)
		error = -EBUSY;
	else
		store->purge = (struct purge){matches, on_done, arg};
	pthread_mutex_unlock(&store->lock);
	if (error)
		return error;
	atomic_fetch_add(&store->purges, 1);
	wake_up(&store->wake_keeper);
	return 0;
}

/* Held, it stays where it is while it is looked at. */
static bool purge_one(struct store *store, const struct purge *purge, const struct entry *entry)
{
	uint64_t head = entry->head * LAYOUT_ALIGN;
	struct stored stored;

	if (!disk_read(store, (uint32_t)entry->segment, entry->offset * LAYOUT_ALIGN, store->buffer,
		    head))
		return false;
	stored.length = entry->extents ? entry->extents->length : entry->length;
	stored.ranges = entry->extents;
	if (!record_parse(store->buffer, head, &stored))
		return false;
	return purge->matches(purge->arg, &stored) && remove_one(store, entry, true);
}

static size_t purge_shard(struct store *store, const struct purge *purge, struct shard *shard)
{
	struct entry entries[WALK];
	uint32_t cursor = 0;
	size_t n, removed = 0;

	do {
		pthread_mutex_lock(&shard->lock);
		n = index_walk(shard, &cursor, entries, WALK);
		for (size_t i = 0; i < n; i++)
			store_hold(store, &entries[i]);
		index_unlock(shard);
		for (size_t i = 0; i < n; i++) {
			removed += purge_one(store, purge, &entries[i]);
			store_release(store, &entries[i]);
		}
	} while (n == WALK);
	return removed;
}

void remove_purge(struct store *store)
{
	struct purge purge;
	size_t removed = 0;

	pthread_mutex_lock(&store->lock);
	purge = store->purge;
	pthread_mutex_unlock(&store->lock);
	if (!purge.matches)
		return;
	for (int i = 0; i < INDEX_SHARDS; i++)
		removed += purge_shard(store, &purge, &store->index.shards[i]);
	atomic_fetch_add(&store->counts.removed, removed);
	if (store->segments.disk) { /* whoever is told may rely on it, whatever happens next */
		disk_tend(store);
		disk_sync(store, true);
	}
	pthread_mutex_lock(&store->lock);
	store->purge = (struct purge){0};
	pthread_mutex_unlock(&store->lock);
	purge.on_done(purge.arg, removed);
}
