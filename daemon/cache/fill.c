/*
 * fill.c - a response on its way into the store.
 *
 * The body goes straight to where it will stay: into reservations in the active segment, the first
 * one behind the record.  A segment may be written to disk and closed meanwhile; the writer then
 * leaves the rest of its reservation there and goes on in another.
 */
#include "daemon/cache/store_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024
#define PART_LEAST (16 * KIB) /* so large a rest of a segment is used */

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What to reserve for the part after the first `n`, when `length` bytes are there. */
static uint64_t part_want(const struct fill *fill, uint32_t n, uint64_t length)
{
	static const uint32_t guesses[] = {16 * KIB, 64 * KIB};
	uint64_t most = fill->store->part_max;

	if (fill->expected >= 0)
		return smaller((uint64_t)fill->expected - length, most);
	return n < COUNT_OF(guesses) ? smaller(guesses[n], most) : most;
}

static bool grow_parts(struct fill *fill)
{
	uint32_t n = fill->n_allocated ? fill->n_allocated * 2 : 1;
	struct fill_part *parts;

	if (fill->n_parts < fill->n_allocated)
		return true;
	parts = realloc(fill->parts, n * sizeof(*parts));
	if (!parts)
		return false;
	fill->parts = parts;
	fill->n_allocated = n;
	return true;
}

/* `head` bytes of record go before it.  Behind that of a body in ranges is nothing: where a range
 * begins is in the slot of a part. */
static bool add_part(struct fill *fill, uint32_t head)
{
	uint64_t want = head && fill->ranged ? 0 : part_want(fill, fill->n_parts, fill->length);
	uint64_t least = head && want < fill->store->part_max ? want : smaller(want, PART_LEAST);
	struct room room;
	bool added;

	if (!segments_reserve(
		    &fill->store->segments, fill->queue, head + want, head + least, false, &room))
		return false;
	room.offset += head;
	room.length -= head;
	pthread_mutex_lock(&fill->lock);
	added = grow_parts(fill);
	if (added)
		fill->parts[fill->n_parts++] = (struct fill_part){
			.room = room, .position = fill->first + fill->length, .head = head};
	pthread_mutex_unlock(&fill->lock);
	if (!added)
		segments_unpin(&fill->store->segments, room.segment);
	return added;
}

static void put_record(struct fill *fill, const struct stored *parts)
{
	const struct fill_part *part = &fill->parts[0];
	struct segments *s = &fill->store->segments;
	char *at = segments_at(s, part->room.segment, part->room.offset - part->head);

	record_write(at, parts->key, parts->vary, parts->tags, parts->head, &parts->meta);
	CHECK(record_parse(at, part->head, &fill->stored));
	fill->stored.length = parts->length;
}

static bool fits(const struct store *store, uint64_t head, uint64_t length)
{
	return head <= store->head_max && (length == UINT64_MAX || length <= store->max_object);
}

/* It must not be closed before its record is there. */
static bool begin(struct fill *fill, const struct stored *parts, uint32_t head)
{
	struct segments *s = &fill->store->segments;

	if (!add_part(fill, head))
		return false;
	if (!segments_enter(s, fill->parts[0].room.segment))
		return false;
	put_record(fill, parts);
	segments_leave(s, fill->parts[0].room.segment);
	return true;
}

static void take_range(struct fill *fill, const struct fill_range *range)
{
	const struct reference *base = (const struct reference *)range->base;
	const struct extents *extents = base ? base->entry.extents : NULL;

	fill->ranged = true;
	fill->first = range->first;
	fill->expected = (int64_t)range->length;
	fill->validator =
		siphash(&fill->store->key, range->validator.at, range->validator.length).words[0];
	fill->body = extents && extents->body & BODY_OF_RANGES ? extents->body : 0;
}

static struct fill *fill_alloc(
	struct store *store, const struct stored *parts, const struct fill_range *range)
{
	struct fill *fill = calloc(1, sizeof(*fill));

	if (!fill)
		return NULL;
	fill->store = store;
	fill->hash = store_hash(store, parts->key);
	fill->vary = store_vary(store, parts->vary);
	fill->body = fill->id = atomic_fetch_add(&store->next_id, 1);
	fill->removals = remove_count(store, fill->hash);
	fill->expected = parts->length == UINT64_MAX ? -1 : (int64_t)parts->length;
	if (range)
		take_range(fill, range);
	atomic_init(&fill->refs, 1);
	pthread_mutex_init(&fill->lock, NULL);
	fill->queue = ghost_take(&store->ghost, fill->hash) ? QUEUE_MAIN : QUEUE_SMALL;
	return fill;
}

static struct fill *new_fill(
	struct store *store, const struct stored *parts, const struct fill_range *range)
{
	uint64_t size = record_size(parts->key, parts->vary, parts->tags, parts->head);
	struct fill *fill =
		fits(store, size, parts->length) ? fill_alloc(store, parts, range) : NULL;

	if (fill && begin(fill, parts, (uint32_t)size))
		return fill;
	atomic_fetch_add(&store->counts.refused, 1);
	if (fill)
		fill_put(fill);
	return NULL;
}

struct fill *fill_new(struct store *store, struct text key, struct text vary, struct text tags,
	struct text head, const struct cache_meta *meta, int64_t length)
{
	const struct stored parts = {
		*meta, key, vary, tags, head, length < 0 ? UINT64_MAX : (uint64_t)length, NULL};

	return new_fill(store, &parts, NULL);
}

struct fill *fill_new_range(struct store *store, struct text key, struct text vary,
	struct text tags, struct text head, const struct cache_meta *meta, uint64_t length,
	const struct fill_range *range)
{
	const struct stored parts = {*meta, key, vary, tags, head, length, NULL};

	return new_fill(store, &parts, range);
}

bool fill_is_range(const struct fill *fill, uint64_t *first, uint64_t *end)
{
	*first = fill->first;
	*end = fill->first + (uint64_t)fill->expected;
	return fill->ranged;
}

/* ---- writing ---- */

/* One run into the last part.  How much it took; 0: it is full, or its segment is closed. */
static size_t copy_some(struct fill *fill, const char *bytes, size_t length)
{
	struct segments *s = &fill->store->segments;
	struct fill_part *part = &fill->parts[fill->n_parts - 1];
	size_t n = smaller(length, part->room.length - part->used);

	if (n == 0 || !segments_enter(s, part->room.segment))
		return 0;
	memcpy(segments_at(s, part->room.segment, part->room.offset + part->used), bytes, n);
	segments_leave(s, part->room.segment);
	pthread_mutex_lock(&fill->lock);
	part->used += (uint32_t)n;
	fill->length += n;
	pthread_mutex_unlock(&fill->lock);
	return n;
}

static int append(struct fill *fill, const char *bytes, size_t length)
{
	uint64_t most = fill->expected >= 0 ? (uint64_t)fill->expected : fill->store->max_object;

	if (length > most - fill->length)
		return -EFBIG;
	while (length > 0) {
		size_t n = copy_some(fill, bytes, length);

		bytes += n;
		length -= n;
		if (n == 0 && !add_part(fill, 0))
			return -ENOSPC;
	}
	return 0;
}

void fill_asked(struct fill *fill, uint32_t removals)
{
	fill->removals = removals;
}

uint64_t fill_length(const struct fill *fill)
{
	return fill->length; /* the writer's to ask */
}

int fill_append(struct fill *fill, const char *bytes, size_t length)
{
	CHECK(fill->state == FILL_OPEN);
	if (!fill->error) {
		fill->error = append(fill, bytes, length);
		if (fill->error)
			atomic_fetch_add(&fill->store->counts.refused, 1);
		bell_ring(&fill->store->bell, &fill->waiters, fill->first + fill->length);
	}
	return fill->error;
}

/* ---- the end ---- */

static void end(struct fill *fill, enum fill_state state)
{
	pthread_mutex_lock(&fill->lock);
	fill->state = state;
	pthread_mutex_unlock(&fill->lock);
	bell_ring(&fill->store->bell, &fill->waiters, UINT64_MAX);
}

void fill_slot(const struct fill *fill, uint32_t index, struct slot *slot)
{
	const struct fill_part *part = &fill->parts[index];

	*slot = (struct slot){.hash = fill->hash,
		.id = fill->id,
		.body = fill->body,
		.total = !part->head    ? part->position
			 : fill->ranged ? fill->stored.length
					: fill->length,
		.vary = fill->vary,
		.offset = part->room.offset - part->head,
		.head = part->head,
		.length = part->used};
	atomic_init(&slot->kind, part->head ? SLOT_RECORD : SLOT_PART);
}

/* Puts the slots where the keeper finds them; where a segment is closed it has to do so itself. */
static void publish(struct fill *fill)
{
	struct store *store = fill->store;
	bool late = false;

	for (uint32_t i = 0; i < fill->n_parts; i++) {
		struct fill_part *part = &fill->parts[i];
		struct slot slot;

		if (!part->used && !part->head)
			continue;
		fill_slot(fill, i, &slot);
		part->late = !segments_publish(&store->segments, &part->room, &slot);
		late = late || part->late;
	}
	if (!late)
		return;
	fill_get(fill);
	pthread_mutex_lock(&store->lock);
	fill->late_next = store->late;
	store->late = fill;
	pthread_mutex_unlock(&store->lock);
	wake_up(&store->wake_keeper);
}

/* NULL: no memory.  *needed false: it all lies behind the record. */
static struct extents *make_extents(const struct fill *fill, bool *needed)
{
	struct extents *extents;
	uint32_t n = 0;

	*needed = fill->length != fill->parts[0].used;
	if (!*needed)
		return NULL;
	extents = extents_new(fill->n_parts);
	if (!extents)
		return NULL;
	for (uint32_t i = 0; i < fill->n_parts; i++) {
		const struct fill_part *from = &fill->parts[i];
		struct part *part = &extents->parts[n];

		if (!from->used)
			continue;
		*part = (struct part){.position = from->position,
			.segment = from->room.segment,
			.offset = from->room.offset,
			.length = from->used,
			.slot = from->room.slot};
		atomic_init(&part->verified, true);
		n++;
	}
	extents->count = n;
	extents->body = fill->body;
	extents->length = fill->ranged ? fill->stored.length : fill->length;
	return extents;
}

/* Under the shard's lock.  A range becomes one object with what is there of the same body; where
 * that cannot be, it takes its place. */
static void unite(struct fill *fill, const struct shard *shard, struct entry *entry)
{
	struct store *store = fill->store;
	struct entry *old = index_first(shard, fill->hash);
	struct extents *both;

	while (old && old->vary != fill->vary)
		old = index_next(shard, old);
	if (!old || !old->extents || old->extents->body != fill->body)
		return;
	both = body_unite(old->extents, entry->extents);
	if (!both)
		return;
	extents_put(entry->extents);
	entry->extents = both;
	entry->id = fill->id = atomic_fetch_add(&store->next_id, 1); /* the newest */
}

/* What is gone meanwhile takes it along: found or not, its slots are there. */
static bool enter_as_of_then(struct fill *fill, struct entry *entry)
{
	struct store *store = fill->store;
	struct shard *shard = index_lock(&store->index, entry->hash);
	bool entered;

	if (fill->ranged)
		unite(fill, shard, entry);
	publish(fill);
	entered = store_enter_locked(store, shard, entry);
	if (entered && remove_count(store, fill->hash) != fill->removals) {
		store_drop(store, shard, index_find(shard, entry->hash, entry->id), true);
		atomic_fetch_add(&store->counts.removed, 1);
	}
	index_unlock(shard);
	return entered;
}

static bool enter(struct fill *fill)
{
	const struct fill_part *first = &fill->parts[0];
	struct entry entry = {.hash = fill->hash,
		.id = fill->id,
		.segment = first->room.segment,
		.offset = (first->room.offset - first->head) / LAYOUT_ALIGN,
		.length = first->used,
		.slot = first->room.slot,
		.head = first->head / LAYOUT_ALIGN,
		.verified = 1,
		.vary = fill->vary};
	bool needed;

	if (!fill->body)
		fill->body = body_id(fill);
	entry.extents = make_extents(fill, &needed);
	if (needed && !entry.extents)
		return false;
	return enter_as_of_then(fill, &entry);
}

static void give_back(struct fill *fill, uint32_t used)
{
	segments_trim(&fill->store->segments, &fill->parts[fill->n_parts - 1].room, used);
}

void fill_finish(struct fill *fill)
{
	CHECK(fill->state == FILL_OPEN);
	if (fill->error || (fill->expected >= 0 && fill->length != (uint64_t)fill->expected)) {
		fill_abort(fill);
		return;
	}
	give_back(fill, fill->parts[fill->n_parts - 1].used);
	if (enter(fill))
		atomic_fetch_add(&fill->store->counts.stored, 1);
	else
		atomic_fetch_add(&fill->store->counts.refused, 1);
	end(fill, FILL_DONE);
}

void fill_abort(struct fill *fill)
{
	CHECK(fill->state == FILL_OPEN);
	give_back(fill, fill->parts[fill->n_parts - 1].used);
	end(fill, FILL_ABORTED);
}

struct fill *fill_get(struct fill *fill)
{
	atomic_fetch_add_explicit(&fill->refs, 1, memory_order_relaxed);
	return fill;
}

unsigned fill_references(const struct fill *fill)
{
	return atomic_load_explicit(&fill->refs, memory_order_relaxed);
}

void fill_put(struct fill *fill)
{
	if (!fill || atomic_fetch_sub_explicit(&fill->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (fill->n_parts && fill->state == FILL_OPEN)
		fill_abort(fill);
	for (uint32_t i = 0; i < fill->n_parts; i++)
		segments_unpin(&fill->store->segments, fill->parts[i].room.segment);
	pthread_mutex_destroy(&fill->lock);
	free(fill->parts);
	free(fill);
}
