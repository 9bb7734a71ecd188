/*
 * reader.c - the thread that waits for the disk, so that nobody else has to.
 *
 * It reads what someone waits for into the page cache, holds it against its checksums when that
 * has not been done since the start, and tells the waiter.
 */
#include "daemon/cache/store_parts.h"

/* ---- one item ---- */

static bool sound(const struct store *store, const struct slot *slot)
{
	const char *at = store->ahead;

	return (!slot->head || layout_check(at, slot->head) == slot->head_check) &&
	       layout_check(at + slot->head, slot->length) == slot->body_check;
}

/* Reads what a slot stands for, and verifies it. */
static bool load(struct store *store, uint32_t segment, const struct slot *slot)
{
	return disk_read(store, segment, slot->offset, store->ahead, slot->head + slot->length) &&
	       sound(store, slot);
}

/* What is verified may have no slot yet (tend_late() in disk.c). */
static bool load_record(struct store *store, const struct entry *entry)
{
	uint32_t segment = (uint32_t)entry->segment;
	uint64_t offset = entry->offset * LAYOUT_ALIGN, head = entry->head * LAYOUT_ALIGN;
	struct stored stored;
	struct slot slot;

	if (entry->verified)
		return disk_read(store, segment, offset, store->ahead, head) &&
		       record_parse(store->ahead, head, &stored);
	return disk_slot(store, segment, (uint32_t)entry->slot, &slot) &&
	       slot.kind == SLOT_RECORD && slot.id == entry->id && slot.offset == offset &&
	       slot.head == head && slot.length == entry->length && load(store, segment, &slot) &&
	       record_parse(store->ahead, head, &stored);
}

static void mark_verified(struct store *store, const struct entry *found)
{
	struct shard *shard = index_lock(&store->index, found->hash);
	struct entry *entry = index_find(shard, found->hash, found->id);

	if (entry && entry->segment == found->segment && entry->offset == found->offset)
		entry->verified = 1;
	index_unlock(shard);
}

static void load_key(struct store *store, uint64_t hash)
{
	struct entry found[STORE_VARIANTS];
	size_t n = store_collect(store, hash, found);

	for (size_t i = 0; i < n; i++) {
		if (!store_head_in_memory(store, &found[i])) {
			if (load_record(store, &found[i]))
				mark_verified(store, &found[i]);
			else
				store_corrupt(store, &found[i]);
		}
		store_release(store, &found[i]);
	}
}

/* ---- bodies ---- */

static bool load_part(struct store *store, const struct extents *extents, struct part *part)
{
	struct slot slot;

	if (atomic_load(&part->verified))
		return disk_read(store, part->segment, part->offset, store->ahead, part->length);
	if (!disk_slot(store, part->segment, part->slot, &slot) || slot.body != extents->body ||
		slot.length < part->length ||
		slot.offset + slot.head + slot.length != part->offset + part->length)
		return false;
	/* A record before it is of no interest here. */
	slot.offset += slot.head;
	slot.head = 0;
	if (!load(store, part->segment, &slot))
		return false;
	atomic_store(&part->verified, true);
	return true;
}

/* Behind its record it has been verified together with that. */
static bool load_inline(struct store *store, const struct entry *entry)
{
	return disk_read(store, (uint32_t)entry->segment,
		(entry->offset + entry->head) * LAYOUT_ALIGN, store->ahead, entry->length);
}

static void load_body(struct store *store, struct reference *reference, uint64_t offset)
{
	struct place place = store_place(reference, offset);
	const struct entry *entry = &reference->entry;
	bool loaded = place.part ? load_part(store, entry->extents, place.part)
				 : load_inline(store, entry);

	if (loaded)
		return;
	atomic_store(&reference->failed, true);
	store_corrupt(store, entry);
}

static void load_fill(struct store *store, struct fill *fill, uint64_t offset)
{
	struct fill_part part;
	bool there;

	pthread_mutex_lock(&fill->lock);
	there = offset - fill->first < fill->length;
	if (there)
		part = *fill_part_at(fill, offset);
	pthread_mutex_unlock(&fill->lock);
	if (there &&
		!disk_read(store, part.room.segment, part.room.offset, store->ahead, part.used))
		fill_lost(fill);
}

/* ---- the thread ---- */

/* A copy of the first job, with a reference to what it is about.  NULL: none. */
static struct store_waiter *next_job(struct store *store, struct store_waiter *job)
{
	struct store_waiter *waiter;

	pthread_mutex_lock(&store->bell.lock);
	waiter = atomic_load(&store->jobs.first);
	if (waiter) {
		*job = *waiter;
		if (job->of_fill)
			fill_get(job->what);
		else if (job->what)
			store_get(job->what);
	}
	pthread_mutex_unlock(&store->bell.lock);
	return waiter;
}

static void do_job(struct store *store, const struct store_waiter *job)
{
	if (!job->what) {
		load_key(store, job->at);
	} else if (job->of_fill) {
		load_fill(store, job->what, job->at);
		fill_put(job->what);
	} else {
		load_body(store, job->what, job->at);
		store_put(job->what);
	}
}

void *reader_run(void *arg)
{
	struct store *store = arg;

	while (!atomic_load(&store->stopping)) {
		struct store_waiter job, *waiter = next_job(store, &job);

		if (!waiter) {
			wake_wait(&store->wake_reader, -1);
			continue;
		}
		do_job(store, &job);
		bell_ring_one(&store->bell, &store->jobs, waiter);
	}
	return NULL;
}
