/*
 * room.c - whole segments are reclaimed, and what is worth it goes on (S3-FIFO).
 *
 * Of the small queue's oldest segment, objects that were asked for go to the main queue, the others
 * leave and are remembered by the ghost table.  Of the main queue's oldest, objects that were asked
 * for since they came there go round once more.  A segment of either that is mostly empty, since
 * what was in it has been replaced or removed, comes before all others.  A body in several parts is
 * judged with its record, which comes first: a record that is in a later segment than its part was
 * carried before it.
 */
#include "daemon/cache/store_parts.h"

#include <string.h>

#define SMALL_SHARE 10 /* per cent */
#define ROUNDS 64      /* segments reclaimed at once */
#define PATIENCE 6     /* of them in vain, before hot objects have to leave as well */

/* Whose a slot is. */
struct owner {
	struct entry *entry;
	bool record;             /* the entry's record is there */
	const struct part *part; /* a part of its body is; NULL: none, or it is not in extents */
};

/* In the segment.  A part of a body in ranges may begin later than its slot, but ends with it. */
static uint64_t part_end(const struct part *part)
{
	return (uint64_t)part->offset + part->length;
}

static uint64_t slot_end(const struct slot *slot)
{
	return (uint64_t)slot->offset + slot->head + slot->length;
}

static bool find_owner(
	const struct shard *shard, uint32_t segment, const struct slot *slot, struct owner *owner)
{
	bool record = slot->kind == SLOT_RECORD;
	struct entry *entry = index_first(shard, slot->hash);

	for (; entry; entry = index_next(shard, entry)) {
		*owner = (struct owner){.entry = entry};
		owner->record = record && entry->segment == segment &&
				entry->offset * LAYOUT_ALIGN == slot->offset;
		if (entry->extents && slot->length) {
			uint64_t last = (record ? 0 : slot->total) + slot->length - 1;
			const struct part *part = extents_at(entry->extents, last);

			if (part->segment == segment && part_end(part) == slot_end(slot))
				owner->part = part;
		}
		if (owner->record || owner->part)
			return true;
	}
	return false;
}

static bool is_wanted(const struct segments *s, const struct owner *owner, uint32_t segment)
{
	const struct entry *entry = owner->entry;

	return entry->freq > 0 ||
	       (!owner->record && atomic_load(&s->list[entry->segment].sequence) >
					  atomic_load(&s->list[segment].sequence));
}

/* Under the shard's lock.  The slot of a record in this very segment goes with the segment. */
static void leave(struct store *store, struct shard *shard, struct entry *entry, uint32_t segment)
{
	ghost_add(&store->ghost, entry->hash);
	store_drop(store, shard, entry, entry->segment != segment);
	atomic_fetch_add(&store->counts.evicted, 1);
}

/* Only its part of the body is of use. */
static void without_record(struct slot *slot)
{
	if (slot->kind != SLOT_RECORD)
		return;
	slot->kind = SLOT_PART;
	slot->total = 0;
	slot->offset += slot->head;
	slot->head = 0;
}

static bool copy(
	struct store *store, uint32_t segment, const struct slot *slot, const struct room *room)
{
	struct segments *s = &store->segments;
	size_t length = slot->head + slot->length;
	char *to = segments_at(s, room->segment, room->offset);

	if (segments_in_memory(s, segment)) {
		memcpy(to, segments_at(s, segment, slot->offset), length);
		return true;
	}
	if (!disk_read(store, segment, slot->offset, store->buffer, length) ||
		(slot->head && layout_check(store->buffer, slot->head) != slot->head_check) ||
		layout_check(store->buffer + slot->head, slot->length) != slot->body_check)
		return false;
	memcpy(to, store->buffer, length);
	return true;
}

/* Under the shard's lock.  False: no memory. */
static bool move_part(
	struct segments *s, struct owner *owner, const struct slot *slot, const struct room *room)
{
	struct entry *entry = owner->entry;
	size_t number = (size_t)(owner->part - entry->extents->parts);
	struct part *part;

	if (atomic_load(&entry->extents->refs) > 1) {
		struct extents *own = extents_copy(entry->extents);

		if (!own)
			return false;
		extents_put(entry->extents);
		entry->extents = own;
	}
	part = &entry->extents->parts[number];
	segments_count(s, part->segment, -(int64_t)part->length);
	segments_count(s, room->segment, part->length);
	part->segment = room->segment;
	part->offset = room->offset + slot->head + slot->length - part->length;
	part->slot = room->slot;
	atomic_store(&part->verified, true);
	return true;
}

/* Under the shard's lock: it is at `room` from now on. */
static bool move(struct segments *s, struct owner *owner, const struct slot *slot,
	const struct room *room, enum queue from)
{
	struct entry *entry = owner->entry;
	int64_t record = slot->head + (entry->extents ? 0 : slot->length);

	if (owner->part && !move_part(s, owner, slot, room))
		return false;
	if (!owner->record)
		return true;
	segments_count(s, (uint32_t)entry->segment, -record);
	segments_count(s, room->segment, record);
	entry->segment = room->segment;
	entry->offset = room->offset / LAYOUT_ALIGN;
	entry->slot = room->slot;
	entry->verified = 1;
	entry->freq = from == QUEUE_SMALL || entry->freq == 0 ? 0 : entry->freq - 1;
	return true;
}

/* Copied without a lock, it may have been removed, replaced or refreshed meanwhile. */
static void settle(struct store *store, uint32_t segment, const struct slot *from,
	const struct room *room, bool copied)
{
	struct segments *s = &store->segments;
	enum queue queue = atomic_load(&s->list[segment].queue);
	struct shard *shard = index_lock(&store->index, from->hash);
	struct slot slot = *from;
	struct owner owner;
	struct room to = *room;

	if (!find_owner(shard, segment, from, &owner)) {
		index_unlock(shard);
		return;
	}
	if (!owner.record && from->kind == SLOT_RECORD) {
		without_record(&slot);
		to.offset += from->head;
	}
	if (!copied) {
		store_drop(store, shard, owner.entry, owner.entry->segment != segment);
		atomic_fetch_add(&store->counts.corrupt, 1);
	} else if (!move(s, &owner, &slot, &to, queue)) {
		leave(store, shard, owner.entry, segment);
	} else {
		slot.offset = to.offset;
		slot.check = 0;
		CHECK(segments_publish(s, &to, &slot));
		if (owner.record)
			atomic_fetch_add(&store->counts.carried, 1);
	}
	index_unlock(shard);
}

/* What a slot stands for stays, or leaves.  `hard`: it leaves. */
static void judge(struct store *store, uint32_t segment, struct slot *slot, bool hard)
{
	struct segments *s = &store->segments;
	struct shard *shard = index_lock(&store->index, slot->hash);
	uint64_t length;
	struct owner owner;
	struct room room;
	bool owned = find_owner(shard, segment, slot, &owner);

	if (!owned || hard || !is_wanted(s, &owner, segment)) {
		if (owned)
			leave(store, shard, owner.entry, segment);
		index_unlock(shard);
		return;
	}
	if (!owner.record)
		without_record(slot);
	index_unlock(shard);
	length = slot->head + slot->length;
	if (!segments_reserve(s, QUEUE_MAIN, length, length, true, &room)) {
		judge(store, segment, slot, true);
		return;
	}
	settle(store, segment, slot, &room, copy(store, segment, slot, &room));
	segments_unpin(s, room.segment);
}

/* ---- directories ---- */

/* In memory as it is; a copy of what is in the file otherwise.  NULL: it cannot be read. */
static const char *directory(struct store *store, uint32_t segment)
{
	const struct segments *s = &store->segments;
	uint32_t slots = s->list[segment].slots;
	uint64_t from = slots ? layout_slot(s->size, slots - 1) : s->size;

	if (segments_in_memory(s, segment))
		return segments_at(s, segment, 0);
	return disk_read(store, segment, from, store->scratch + from, s->size - from)
		       ? store->scratch
		       : NULL;
}

static bool slot_at(const struct store *store, const char *base, uint32_t segment, uint32_t i,
	struct slot *slot)
{
	const struct segments *s = &store->segments;

	slot_copy(slot, (const struct slot *)(base + layout_slot(s->size, i)));
	if (segments_in_memory(s, segment))
		return slot->kind != SLOT_EMPTY;
	return slot_valid(slot, atomic_load(&s->list[segment].sequence), segment, i, s->size);
}

/* After it nothing in the index names the segment. */
static void empty(struct store *store, uint32_t segment, bool hard)
{
	struct segment *it = &store->segments.list[segment];
	const char *base = atomic_load(&it->live) ? directory(store, segment) : NULL;
	struct slot slot;

	for (uint32_t i = 0; base && i < it->slots; i++)
		if (slot_at(store, base, segment, i, &slot))
			judge(store, segment, &slot, hard);
	/* Damage in the file's directory hides objects: they are looked for one by one. */
	if (atomic_load(&it->live))
		room_sweep(store, segment);
}

/* ---- sweeping ---- */

static bool names(const struct store *store, const struct entry *entry, uint32_t segment)
{
	const struct segments *s = &store->segments;
	bool any = segment == SEGMENT_NONE;

	if (any ? !segments_in_memory(s, (uint32_t)entry->segment) : entry->segment == segment)
		return true;
	for (uint32_t i = 0; entry->extents && i < entry->extents->count; i++) {
		uint32_t part = entry->extents->parts[i].segment;

		if (any ? !segments_in_memory(s, part) : part == segment)
			return true;
	}
	return false;
}

void room_sweep(struct store *store, uint32_t segment)
{
	struct index *index = &store->index;

	for (int i = 0; i < INDEX_SHARDS; i++) {
		struct shard *shard = &index->shards[i];
		struct entry copy_of;
		uint32_t cursor = 0;

		pthread_mutex_lock(&shard->lock);
		while (index_walk(shard, &cursor, &copy_of, 1) == 1) {
			if (!names(store, &copy_of, segment))
				continue;
			store_drop(store, shard, index_find(shard, copy_of.hash, copy_of.id),
				segment != SEGMENT_NONE);
			atomic_fetch_add(&store->counts.evicted, 1);
		}
		index_unlock(shard);
	}
}

/* ---- which ---- */

static uint32_t choose(struct segments *s)
{
	uint32_t share = segments_total(s) * SMALL_SHARE / 100;
	uint32_t small = segments_in_use(s, QUEUE_SMALL);
	enum queue first = small > (share ? share : 1) ? QUEUE_SMALL : QUEUE_MAIN;
	uint32_t segment = segments_take_emptiest(s);

	if (segment == SEGMENT_NONE)
		segment = segments_take_oldest(s, first);
	if (segment == SEGMENT_NONE)
		segment = segments_take_oldest(s, first == QUEUE_MAIN ? QUEUE_SMALL : QUEUE_MAIN);
	return segment;
}

static void reclaim(struct store *store, uint32_t segment, bool hard)
{
	empty(store, segment, hard);
	if (store->segments.disk) {
		disk_tend(store); /* nothing doomed is there when it is used again */
		disk_sync(store, true);
		disk_wipe(store, segment);
	}
	segments_drained(&store->segments, segment);
	segments_free_drained(&store->segments);
}

void room_make(struct store *store)
{
	struct segments *s = &store->segments;
	uint32_t segment;

	for (int i = 0; i < ROUNDS && segments_need_room(s); i++) {
		segment = choose(s);
		if (segment == SEGMENT_NONE) {
			atomic_store(&s->starved, true);
			return;
		}
		reclaim(store, segment, i >= PATIENCE);
	}
	atomic_store(&s->starved, false);
}
