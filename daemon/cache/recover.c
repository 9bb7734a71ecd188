/*
 * recover.c - what an earlier process left in the file is found again.
 *
 * Directories are read, the newest segment first, and nothing else: no data.  An object is found as
 * soon as its slot has been read, but for bodies in several parts: those are put together at the
 * end, when all parts are known.  Of two objects with the same key and vary the one with the
 * higher id wins, whatever order they are read in.
 *
 * A process counts its start in the file's header first, so that its ids and sequences are higher
 * than all before.
 */
#include "daemon/cache/store_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log/log.h"

#define GENERATION_SHIFT 40
#define GENERATIONS (UINT64_C(1) << 20) /* the first one is below */

/* A part, or a record whose body is in parts. */
struct piece_found {
	uint64_t body;
	uint64_t position; /* of a record: UINT64_MAX */
	uint64_t order;    /* the newest first */
	uint32_t segment, index;
	struct slot slot;
};

struct loader {
	struct store *store;
	uint32_t *segments; /* those that hold something, newest first */
	uint32_t n_segments;
	struct piece_found *pieces;
	size_t n_pieces, n_allocated;
	bool short_of_memory;
};

/* ---- the file's header ---- */

static bool read_header(const struct store *store, struct file_header *header)
{
	return pread(store->segments.fd, header, sizeof(*header), 0) == sizeof(*header) &&
	       file_header_valid(header, store->segments.bytes);
}

/* Longer than it is the file may be made, so that its mapping has something behind it. */
static bool size_right(const struct segments *s)
{
	struct stat st;

	return fstat(s->fd, &st) == 0 &&
	       ((uint64_t)st.st_size >= s->bytes || ftruncate(s->fd, (off_t)s->bytes) == 0);
}

/* Whatever is there belongs to another file, and must not be found later. */
static bool wipe_all(struct store *store)
{
	for (uint32_t i = 0; i < store->segments.count; i++)
		disk_wipe(store, i);
	return !atomic_load(&store->segments.failed);
}

static int begin_anew(struct store *store, struct file_header *header, struct error *e)
{
	struct siphash_key key;
	uint64_t generation;

	if (getrandom(&key, sizeof(key), 0) != sizeof(key) ||
		getrandom(&generation, sizeof(generation), 0) != sizeof(generation))
		return error_set(e, -EIO, "no random numbers");
	file_header_init(header, store->segments.bytes, &key);
	header->generation = 1 + generation % GENERATIONS;
	return 0;
}

int recover_open(struct store *store, struct error *e)
{
	struct file_header header;
	bool found = read_header(store, &header) && header.generation < UINT64_C(1) << 23;
	int error = found ? 0 : begin_anew(store, &header, e);

	if (error)
		return error;
	header.generation += found;
	file_header_seal(&header);
	store->key = header.key;
	store->segments.next_sequence = header.generation << GENERATION_SHIFT;
	atomic_store(&store->next_id, header.generation << GENERATION_SHIFT);
	if (!size_right(&store->segments))
		disk_failed(store, errno, "cannot enlarge");
	else if (found || wipe_all(store))
		disk_write(store, 0, &header, sizeof(header));
	return 0;
}

/* ---- segments ---- */

static bool read_segment_header(struct store *store, uint32_t segment)
{
	struct segments *s = &store->segments;
	struct segment *it = &s->list[segment];
	struct segment_header header;

	if (!disk_read(store, segment, 0, &header, sizeof(header)) ||
		!segment_header_valid(&header, segment, s->size) ||
		header.sequence >= s->next_sequence)
		return false;
	atomic_store(&it->sequence, header.sequence);
	atomic_store(&it->queue, (uint8_t)header.queue);
	atomic_store(&it->closed, true);
	it->slots = it->written_slots = header.slots;
	it->end = s->size;
	atomic_store(&it->state, SEGMENT_WRITTEN);
	return true;
}

static void will_need(const struct segments *s, uint32_t segment, uint64_t from, uint64_t length)
{
	posix_fadvise(s->fd, segments_offset(s, segment, from), (off_t)length, POSIX_FADV_WILLNEED);
}

static int newest_first(const void *a, const void *b, void *arg)
{
	const struct segments *s = arg;
	uint64_t x = atomic_load(&s->list[*(const uint32_t *)a].sequence);
	uint64_t y = atomic_load(&s->list[*(const uint32_t *)b].sequence);

	return x < y ? 1 : x > y ? -1 : 0;
}

/* next_sequence is not changed yet by anyone: no segment is free. */
static void find_segments(struct loader *loader)
{
	struct segments *s = &loader->store->segments;

	for (uint32_t i = 0; i < s->count; i++)
		will_need(s, i, 0, LAYOUT_FIRST);
	for (uint32_t i = 0; i < s->count; i++)
		if (read_segment_header(loader->store, i))
			loader->segments[loader->n_segments++] = i;
	qsort_r(loader->segments, loader->n_segments, sizeof(uint32_t), newest_first, s);
	for (uint32_t i = 0; i < s->count; i++)
		if (atomic_load(&s->list[i].state) == SEGMENT_FREE)
			segments_add_free(s, i);
}

/* ---- slots ---- */

static void keep_piece(struct loader *loader, uint32_t segment, uint32_t i, const struct slot *slot)
{
	struct piece_found *piece;

	if (slot->kind == SLOT_PART && slot->length == 0)
		return;
	if (loader->n_pieces == loader->n_allocated) {
		size_t n = loader->n_allocated ? loader->n_allocated * 2 : 256;
		struct piece_found *pieces = realloc(loader->pieces, n * sizeof(*pieces));

		if (!pieces) {
			loader->short_of_memory = true;
			return;
		}
		loader->pieces = pieces;
		loader->n_allocated = n;
	}
	piece = &loader->pieces[loader->n_pieces];
	*piece = (struct piece_found){.body = slot->body,
		.position = slot->kind == SLOT_RECORD ? UINT64_MAX : slot->total,
		.order = loader->n_pieces++,
		.segment = segment,
		.index = i};
	slot_copy(&piece->slot, slot);
}

static struct entry entry_of(uint32_t segment, uint32_t i, const struct slot *slot)
{
	return (struct entry){.hash = slot->hash,
		.id = slot->id,
		.segment = segment,
		.offset = slot->offset / LAYOUT_ALIGN,
		.length = slot->length,
		.slot = i,
		.head = slot->head / LAYOUT_ALIGN,
		.vary = slot->vary};
}

/* What was removed since the start is older than the removal, and what loses against another stays
 * away for good. */
static void enter(struct loader *loader, const struct entry *entry)
{
	struct store *store = loader->store;
	struct shard *shard = index_lock(&store->index, entry->hash);
	bool entered = false;

	if (tombs_have(&store->tombs, entry->hash))
		extents_put(entry->extents);
	else
		entered = store_enter_locked(store, shard, entry);
	index_unlock(shard);
	if (!entered)
		disk_demote(store, entry);
}

static void take_slot(struct loader *loader, uint32_t segment, uint32_t i, const struct slot *slot)
{
	struct slot inline_part;
	struct entry entry;

	if (slot->kind == SLOT_RECORD && slot->total == slot->length && slot->body == slot->id) {
		entry = entry_of(segment, i, slot);
		enter(loader, &entry);
		return;
	}
	keep_piece(loader, segment, i, slot);
	if (slot->kind == SLOT_PART || slot->length == 0)
		return;
	slot_copy(&inline_part, slot);
	inline_part.kind = SLOT_PART;
	inline_part.total = 0;
	inline_part.offset += inline_part.head;
	inline_part.head = 0;
	keep_piece(loader, segment, i, &inline_part);
}

static void load_segment(struct loader *loader, uint32_t segment)
{
	struct store *store = loader->store;
	struct segments *s = &store->segments;
	struct segment *it = &s->list[segment];
	uint64_t from = it->slots ? layout_slot(s->size, it->slots - 1) : s->size;
	uint64_t sequence = atomic_load(&it->sequence);
	struct slot slot;

	if (!disk_read(store, segment, from, store->scratch + from, s->size - from))
		return;
	for (uint32_t i = it->slots; i-- > 0;) {
		slot_copy(&slot, (struct slot *)(store->scratch + layout_slot(s->size, i)));
		if (!slot_valid(&slot, sequence, segment, i, s->size))
			continue;
		take_slot(loader, segment, i, &slot);
	}
}

/* ---- bodies in parts ---- */

static int by_body(const void *a, const void *b)
{
	const struct piece_found *x = a, *y = b;

	if (x->body != y->body)
		return x->body < y->body ? -1 : 1;
	if (x->position != y->position)
		return x->position < y->position ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

/* The first part of a body that a refreshed record names may still be another's own. */
static bool first_part(struct store *store, const struct piece_found *record, struct part *part)
{
	struct shard *shard = index_lock(&store->index, record->slot.hash);
	const struct entry *entry = index_find(shard, record->slot.hash, record->body);
	bool found = entry && !entry->extents && entry->length;

	if (found)
		*part = (struct part){.segment = (uint32_t)entry->segment,
			.offset = (uint32_t)((entry->offset + entry->head) * LAYOUT_ALIGN),
			.length = (uint32_t)entry->length,
			.slot = (uint32_t)entry->slot};
	index_unlock(shard);
	return found;
}

/* The parts of one body from `pieces` on that follow one another.  How many; 0: some are missing.
 */
static uint32_t chain(struct store *store, const struct piece_found *record,
	const struct piece_found *pieces, size_t n, struct part *parts)
{
	uint64_t total = record->slot.total, position = 0;
	uint32_t count = 0;

	if (total && (n == 0 || pieces[0].position != 0)) {
		if (!first_part(store, record, &parts[0]))
			return 0;
		position = parts[0].length;
		count = 1;
	}
	for (size_t i = 0; i < n && position < total; i++) {
		const struct slot *slot = &pieces[i].slot;

		if (pieces[i].position != position || slot->hash != record->slot.hash)
			continue;
		parts[count] = (struct part){.position = position,
			.segment = pieces[i].segment,
			.offset = slot->offset + slot->head,
			.length = slot->length,
			.slot = pieces[i].index};
		count++;
		position += slot->length;
	}
	return position == total ? count : 0;
}

/* All that is there of a body in ranges: pieces with the same id are of the same body, whichever
 * object they came for. */
static uint32_t collect(const struct piece_found *record, const struct piece_found *pieces,
	size_t n, struct extents *extents)
{
	uint64_t end = 0;

	extents->count = 0;
	for (size_t i = 0; i < n; i++) {
		const struct slot *slot = &pieces[i].slot;
		const struct part part = {.position = pieces[i].position,
			.segment = pieces[i].segment,
			.offset = slot->offset + slot->head,
			.length = slot->length,
			.slot = pieces[i].index};

		if (slot->hash == record->slot.hash)
			end = body_append(extents, &part, end);
	}
	return extents->count;
}

/* All pieces of one body: its parts in order, then the records that name it, the newest first. */
static void assemble(struct loader *loader, const struct piece_found *pieces, size_t n)
{
	size_t parts = 0;

	while (parts < n && pieces[parts].position != UINT64_MAX)
		parts++;
	for (size_t i = parts; i < n; i++) {
		const struct piece_found *record = &pieces[i];
		struct entry entry = entry_of(record->segment, record->index, &record->slot);

		entry.extents = extents_new((uint32_t)parts + 1);
		if (!entry.extents)
			continue;
		entry.extents->body = record->body;
		entry.extents->length = record->slot.total;
		entry.extents->count =
			record->body & BODY_OF_RANGES
				? collect(record, pieces, parts, entry.extents)
				: chain(loader->store, record, pieces, parts, entry.extents->parts);
		if (entry.extents->count)
			enter(loader, &entry);
		else
			extents_put(entry.extents);
	}
}

static void assemble_all(struct loader *loader)
{
	size_t end;

	if (loader->n_pieces)
		qsort(loader->pieces, loader->n_pieces, sizeof(*loader->pieces), by_body);
	for (size_t i = 0; i < loader->n_pieces; i = end) {
		for (end = i + 1; end < loader->n_pieces;)
			if (loader->pieces[end].body == loader->pieces[i].body)
				end++;
			else
				break;
		assemble(loader, &loader->pieces[i], end - i);
	}
}

/* ---- all ---- */

static void load_all(struct loader *loader)
{
	struct store *store = loader->store;
	struct segments *s = &store->segments;

	find_segments(loader);
	for (uint32_t i = 0; i < loader->n_segments; i++) {
		if (i + 8 < loader->n_segments) {
			uint32_t ahead = loader->segments[i + 8];
			uint64_t length = s->list[ahead].slots * sizeof(struct slot);

			will_need(s, ahead, s->size - length, length);
		}
		load_segment(loader, loader->segments[i]);
	}
	assemble_all(loader);
	for (uint32_t i = loader->n_segments; i-- > 0;)
		segments_append(s, loader->segments[i]);
	if (loader->short_of_memory)
		log_warn("cache: out of memory, not all that is on disk was found again");
}

void recover_load(struct store *store)
{
	struct segments *s = &store->segments;
	struct loader loader = {
		.store = store, .segments = malloc(s->count * sizeof(*loader.segments))};

	if (loader.segments && !atomic_load(&s->failed))
		load_all(&loader);
	else
		for (uint32_t i = 0; i < s->count; i++)
			segments_add_free(s, i);
	free(loader.segments);
	free(loader.pieces);
	tombs_close(&store->tombs);
	atomic_store(&store->loading, false);
}
