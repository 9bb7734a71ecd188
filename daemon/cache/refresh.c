/*
 * refresh.c - another head for a body that stays where it is.
 *
 * The new record is an object of its own that takes the old one's place, and names the old one's
 * body as its parts.
 */
#include "daemon/cache/store_parts.h"

#include <errno.h>

static struct extents *one_part(const struct entry *entry)
{
	struct extents *extents = extents_new(1);

	if (!extents)
		return NULL;
	extents->body = entry->id;
	extents->length = entry->length;
	extents->parts[0] = (struct part){.segment = (uint32_t)entry->segment,
		.offset = (uint32_t)((entry->offset + entry->head) * LAYOUT_ALIGN),
		.length = (uint32_t)entry->length,
		.slot = (uint32_t)entry->slot};
	atomic_init(&extents->parts[0].verified, entry->verified);
	return extents;
}

/* Under the lock of `old`'s shard, so that its body is where it says. */
static int replace(struct store *store, struct shard *shard, struct entry *old,
	const struct room *room, uint32_t head)
{
	struct entry entry = {.hash = old->hash,
		.id = atomic_fetch_add(&store->next_id, 1),
		.segment = room->segment,
		.offset = room->offset / LAYOUT_ALIGN,
		.slot = room->slot,
		.head = head / LAYOUT_ALIGN,
		.verified = 1,
		.vary = old->vary};
	struct slot slot = {.hash = entry.hash,
		.id = entry.id,
		.body = entry.id,
		.vary = entry.vary,
		.offset = room->offset,
		.head = head};

	if (old->extents || old->length) {
		entry.extents = old->extents ? extents_get(old->extents) : one_part(old);
		if (!entry.extents)
			return -ENOMEM;
		slot.body = entry.extents->body;
		slot.total = entry.extents->length;
	}
	atomic_init(&slot.kind, SLOT_RECORD);
	if (!segments_publish(&store->segments, room, &slot)) {
		extents_put(entry.extents);
		return -EAGAIN;
	}
	return store_enter_locked(store, shard, &entry) ? 0 : -ENOMEM;
}

static int write_record(struct store *store, const struct stored *stored, struct text head,
	const struct cache_meta *meta, const struct room *room)
{
	if (!segments_enter(&store->segments, room->segment))
		return -EAGAIN;
	record_write(segments_at(&store->segments, room->segment, room->offset), stored->key,
		stored->vary, stored->tags, head, meta);
	segments_leave(&store->segments, room->segment);
	return 0;
}

int store_refresh(
	struct store *store, struct stored *stored, struct text head, const struct cache_meta *meta)
{
	const struct entry *found = &((struct reference *)stored)->entry;
	struct segments *s = &store->segments;
	enum queue queue = atomic_load(&s->list[found->segment].queue);
	uint64_t size = record_size(stored->key, stored->vary, stored->tags, head);
	struct shard *shard;
	struct entry *old;
	struct room room;
	int error;

	if (size > store->head_max)
		return -EFBIG;
	if (!segments_reserve(s, queue, size, size, false, &room))
		return -ENOSPC;
	error = write_record(store, stored, head, meta, &room);
	if (!error) {
		shard = index_lock(&store->index, found->hash);
		old = index_find(shard, found->hash, found->id);
		error = old ? replace(store, shard, old, &room, (uint32_t)size) : -ENOENT;
		index_unlock(shard);
	}
	segments_unpin(s, room.segment);
	return error;
}
