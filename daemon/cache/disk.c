/*
 * disk.c - what the keeper writes to the file.
 *
 * Items before their slots, slots before the header that counts them.  Nothing is flushed: the
 * kernel has it, so a killed process loses nothing that was written; after a power failure
 * checksums tell what arrived.
 */
#include "daemon/cache/store_parts.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log/log.h"

/* ---- reading ---- */

bool disk_read(const struct store *store, uint32_t segment, uint64_t offset, void *to, size_t n)
{
	const struct segments *s = &store->segments;
	off_t at = segments_offset(s, segment, offset);

	if (segments_in_memory(s, segment)) {
		memcpy(to, segments_at(s, segment, offset), n);
		return true;
	}
	for (size_t done = 0; done < n;) {
		ssize_t got = pread(s->fd, (char *)to + done, n - done, at + (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

/* The keeper may be changing it this moment: a torn one is read again. */
bool disk_slot(const struct store *store, uint32_t segment, uint32_t slot, struct slot *out)
{
	const struct segments *s = &store->segments;
	struct slot read;

	for (int tries = 0; tries < 3; tries++) {
		if (!disk_read(store, segment, layout_slot(s->size, slot), &read, sizeof(read)))
			return false;
		slot_copy(out, &read);
		if (slot_valid(
			    out, atomic_load(&s->list[segment].sequence), segment, slot, s->size))
			return true;
	}
	return false;
}

/* ---- writing ---- */

static bool is_failed(const struct store *store)
{
	return atomic_load(&store->segments.failed);
}

bool disk_write(struct store *store, off_t at, const void *from, size_t n)
{
	for (size_t done = 0; done < n && !is_failed(store);) {
		ssize_t put = pwrite(
			store->segments.fd, (const char *)from + done, n - done, at + (off_t)done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0) {
			disk_failed(store, put < 0 ? errno : ENOSPC, "cannot write");
			return false;
		}
		done += (size_t)put;
	}
	return !is_failed(store);
}

static bool write_at(struct store *store, uint32_t segment, uint64_t from, uint64_t to)
{
	const struct segments *s = &store->segments;

	return disk_write(
		store, segments_offset(s, segment, from), segments_at(s, segment, from), to - from);
}

static bool write_header(struct store *store, uint32_t segment, uint32_t slots)
{
	struct segment *it = &store->segments.list[segment];
	struct segment_header header;

	if (slots <= it->written_slots)
		return true;
	segment_header_init(
		&header, segment, atomic_load(&it->sequence), atomic_load(&it->queue), slots);
	it->written_slots = slots;
	return disk_write(
		store, segments_offset(&store->segments, segment, 0), &header, sizeof(header));
}

void disk_wipe(struct store *store, uint32_t segment)
{
	static const char zeros[sizeof(struct segment_header)];

	disk_write(store, segments_offset(&store->segments, segment, 0), zeros, sizeof(zeros));
}

/* ---- slots of memory ---- */

enum slot_state { STATE_EMPTY, STATE_NEW, STATE_WRITTEN };

/* Of a slot in memory, whose check is 0 until it is written; others publish meanwhile. */
static enum slot_state state_of(const struct slot *slot)
{
	if (atomic_load_explicit(&slot->kind, memory_order_acquire) == SLOT_EMPTY)
		return STATE_EMPTY;
	return slot->check ? STATE_WRITTEN : STATE_NEW;
}

static void checksum(struct store *store, uint32_t segment, uint32_t i, struct slot *slot)
{
	const struct segments *s = &store->segments;
	const char *at = segments_at(s, segment, slot->offset);

	slot->head_check = slot->head ? layout_check(at, slot->head) : 0;
	slot->body_check = layout_check(at + slot->head, slot->length);
	slot->check = slot_check(slot, atomic_load(&s->list[segment].sequence), segment, i);
}

/* Slots [from, to), all new: their items, neighbours at once, then themselves. */
static bool sync_run(struct store *store, uint32_t segment, uint32_t from, uint32_t to)
{
	struct segments *s = &store->segments;
	uint64_t start = 0, end = 0;

	for (uint32_t i = from; i < to; i++) {
		struct slot *slot = segments_slot(s, segment, i);

		checksum(store, segment, i, slot);
		if (slot->offset != end) {
			if (end > start && !write_at(store, segment, start, end))
				return false;
			start = slot->offset;
		}
		end = layout_align((uint64_t)slot->offset + slot->head + slot->length);
	}
	if (end > start && !write_at(store, segment, start, end))
		return false;
	return write_at(store, segment, layout_slot(s->size, to - 1),
		       layout_slot(s->size, from) + sizeof(struct slot)) &&
	       write_header(store, segment, to);
}

/* The first `slots`. */
static bool sync_slots(struct store *store, uint32_t segment, uint32_t slots)
{
	struct segments *s = &store->segments;
	struct segment *it = &s->list[segment];
	uint32_t i = it->synced, from = i; /* new from there on */
	bool whole = true;

	for (; i < slots; i++) {
		enum slot_state state = state_of(segments_slot(s, segment, i));

		if (state == STATE_NEW)
			continue;
		if (i > from && !sync_run(store, segment, from, i))
			return false;
		whole = whole && state == STATE_WRITTEN;
		from = i + 1;
		if (whole)
			it->synced = from;
	}
	if (i > from && !sync_run(store, segment, from, i))
		return false;
	if (whole)
		it->synced = slots;
	return true;
}

static void sync_active(struct store *store, enum queue queue)
{
	struct segments *s = &store->segments;
	struct fifo *fifo = &s->fifos[queue];
	uint32_t segment, slots = 0;

	pthread_mutex_lock(&fifo->lock);
	segment = fifo->active;
	if (segment != SEGMENT_NONE)
		slots = s->list[segment].slots;
	pthread_mutex_unlock(&fifo->lock);
	if (segment != SEGMENT_NONE)
		sync_slots(store, segment, slots);
}

/* Unfinished fills have bytes in it, too. */
static bool write_gaps(struct store *store, uint32_t segment)
{
	struct segment *it = &store->segments.list[segment];

	if (it->synced == it->slots)
		return true;
	return write_at(store, segment, LAYOUT_FIRST, it->end);
}

static void write_out(struct store *store, uint32_t segment)
{
	struct segments *s = &store->segments;
	struct segment *it = &s->list[segment];

	atomic_store(&it->closed, true);
	while (atomic_load(&it->copying))
		sched_yield();
	if (sync_slots(store, segment, it->slots) && write_header(store, segment, it->slots) &&
		write_gaps(store, segment) && segments_uncover(s, segment))
		atomic_store(&it->state, SEGMENT_WRITTEN);
	else if (is_failed(store))
		atomic_store(&it->closed, false);
}

void disk_sync(struct store *store, bool active_too)
{
	struct segments *s = &store->segments;

	for (uint32_t i = 0; i < s->count && !is_failed(store); i++)
		if (atomic_load(&s->list[i].state) == SEGMENT_SEALED)
			write_out(store, i);
	if (!active_too || is_failed(store))
		return;
	sync_active(store, QUEUE_MAIN);
	sync_active(store, QUEUE_SMALL);
}

/* ---- slots of closed segments ---- */

static void write_slot(struct store *store, uint32_t segment, uint32_t i, struct slot *slot)
{
	const struct segments *s = &store->segments;

	slot->check = slot_check(slot, atomic_load(&s->list[segment].sequence), segment, i);
	disk_write(
		store, segments_offset(s, segment, layout_slot(s->size, i)), slot, sizeof(*slot));
}

static void publish_late(struct store *store, const struct fill *fill, uint32_t i)
{
	struct segments *s = &store->segments;
	const struct room *room = &fill->parts[i].room;
	struct slot slot;

	fill_slot(fill, i, &slot);
	if (segments_in_memory(s, room->segment)) {
		slot_copy(segments_slot(s, room->segment, room->slot), &slot);
		return;
	}
	if (!disk_read(store, room->segment, slot.offset, store->buffer, slot.head + slot.length))
		return;
	slot.head_check = slot.head ? layout_check(store->buffer, slot.head) : 0;
	slot.body_check = layout_check(store->buffer + slot.head, slot.length);
	write_slot(store, room->segment, room->slot, &slot);
}

static void tend_late(struct store *store)
{
	struct fill *fill, *next;

	pthread_mutex_lock(&store->lock);
	fill = store->late;
	store->late = NULL;
	pthread_mutex_unlock(&store->lock);
	for (; fill; fill = next) {
		next = fill->late_next;
		for (uint32_t i = 0; i < fill->n_parts; i++)
			if (fill->parts[i].late)
				publish_late(store, fill, i);
		fill_put(fill);
	}
}

/* The record of an object that is no more; its part of the body may still be another's. */
void disk_demote(struct store *store, const struct entry *entry)
{
	struct segments *s = &store->segments;
	uint32_t segment = (uint32_t)entry->segment, i = (uint32_t)entry->slot;
	struct slot *memory = segments_slot(s, segment, i), slot;
	bool in_memory = segments_in_memory(s, segment);

	if (in_memory)
		slot_copy(&slot, memory);
	else if (!disk_slot(store, segment, i, &slot))
		return;
	if (slot.kind != SLOT_RECORD || slot.id != entry->id || slot.hash != entry->hash)
		return;
	slot.kind = SLOT_PART;
	slot.total = 0;
	slot.offset += slot.head;
	slot.head = 0;
	slot.check = 0;
	if (!in_memory) {
		write_slot(store, segment, i, &slot);
		return;
	}
	slot_copy(memory, &slot);
	if (s->list[segment].synced > i)
		s->list[segment].synced = i;
}

/* Whatever is doomed had its slots published, or was queued as late, before. */
void disk_tend(struct store *store)
{
	struct entry entry;

	tend_late(store);
	if (!atomic_exchange(&store->doomed, false))
		return;
	for (int i = 0; i < INDEX_SHARDS; i++) {
		struct shard *shard = &store->index.shards[i];
		bool found = true;

		while (found) {
			pthread_mutex_lock(&shard->lock);
			found = index_doomed(shard, &entry);
			index_unlock(shard);
			tend_late(store);
			if (found && !is_failed(store))
				disk_demote(store, &entry);
		}
	}
}

/* ---- failure ---- */

/* What is in memory stays, what is only in the file goes.  A later start must not find it either:
 * it would not know what has been removed since. */
static void forget_file(struct store *store)
{
	static const char zeros[LAYOUT_BLOCK];
	struct segments *s = &store->segments;
	ssize_t ignored = pwrite(s->fd, zeros, sizeof(zeros), 0);

	(void)ignored;
	room_sweep(store, SEGMENT_NONE);
	for (uint32_t i = 0; i < s->count; i++)
		if (segments_in_memory(s, i))
			atomic_store(&s->list[i].closed, false);
	for (int q = 0; q < 2; q++)
		for (uint32_t n = segments_in_use(s, q); n > 0; n--) {
			uint32_t segment = segments_take_oldest(s, q);

			if (segment == SEGMENT_NONE)
				break;
			if (segments_in_memory(s, segment)) {
				segments_append(s, segment);
				continue;
			}
			if (atomic_load(&s->list[segment].live)) /* finished just now */
				room_sweep(store, segment);
			segments_drained(s, segment);
		}
	segments_free_drained(s);
}

void disk_failed(struct store *store, int error, const char *what)
{
	atomic_fetch_add(&store->counts.disk_errors, 1);
	if (atomic_exchange(&store->segments.failed, true))
		return;
	log_warn("cache: %s the cache's file: %s; going on in memory alone, with %u MiB", what,
		strerror(error), SEGMENTS_OVERLAYS * (store->segments.size >> 10) >> 10);
	forget_file(store);
}

void disk_look(struct store *store)
{
	struct stat st;

	if (is_failed(store))
		return;
	if (fstat(store->segments.fd, &st))
		disk_failed(store, errno, "cannot look at");
	else if ((uint64_t)st.st_size < store->segments.bytes)
		disk_failed(store, ENODATA, "someone has cut off");
}
