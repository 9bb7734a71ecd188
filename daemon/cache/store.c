/*
 * store.c - finding, reading, removing.
 *
 * Locks and threads: store_parts.h.
 */
#include "daemon/cache/store_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define MIB (UINT64_C(1024) * 1024)
#define PAGE 4096
#define GHOST_BYTES 4096 /* of cache for one remembered key */

/* ---- beginning and end ---- */

static void init_parts(struct store *store, const struct store_options *options)
{
	index_init(&store->index);
	bell_init(&store->bell);
	tombs_init(&store->tombs, options->disk);
	wake_init(&store->wake_keeper);
	wake_init(&store->wake_reader);
	pthread_mutex_init(&store->lock, NULL);
	store->max_object = options->max_object;
	atomic_init(&store->next_id, 1);
	atomic_init(&store->loading, options->disk);
}

static int init_memory(struct store *store, const struct store_options *options, struct error *e)
{
	uint32_t size;
	int error = segments_init(&store->segments, options->fd, options->size, options->disk,
		&store->wake_keeper, e);

	if (error)
		return error;
	size = store->segments.size;
	store->part_max = size / 4 < PART_MAX ? size / 4 : PART_MAX;
	store->head_max = size / 4 < LAYOUT_HEAD_MAX ? size / 4 : LAYOUT_HEAD_MAX;
	store->scratch = malloc(size);
	store->buffer = malloc(BUFFER_SIZE);
	store->ahead = malloc(BUFFER_SIZE);
	if (!ghost_init(&store->ghost, options->size / GHOST_BYTES) || !store->scratch ||
		!store->buffer || !store->ahead)
		return error_set(e, -ENOMEM, "out of memory");
	return 0;
}

static int begin(struct store *store, const struct store_options *options, struct error *e)
{
	int error = init_memory(store, options, e);

	if (error)
		return error;
	if (options->disk)
		error = recover_open(store, e);
	else if (getrandom(&store->key, sizeof(store->key), 0) != sizeof(store->key))
		error = error_set(e, -EIO, "no random numbers");
	if (error)
		return error;
	return tender_start(store) ? 0 : error_set(e, -EAGAIN, "cannot start a thread");
}

struct store *store_new(const struct store_options *options, struct error *e)
{
	struct store *store;

	if (options->size < 16 * MIB || options->max_object > options->size / 4) {
		error_set(e, -EINVAL,
			"cache: want at least 16 MiB, and objects of at most a quarter of it");
		close(options->fd);
		return NULL;
	}
	store = calloc(1, sizeof(*store));
	if (!store) {
		error_set(e, -ENOMEM, "out of memory");
		close(options->fd);
		return NULL;
	}
	init_parts(store, options);
	if (begin(store, options, e)) {
		store_free(store);
		return NULL;
	}
	return store;
}

void store_free(struct store *store)
{
	if (!store)
		return;
	tender_stop(store);
	CHECK(!store->late);
	close(store->segments.fd);
	segments_fini(&store->segments);
	index_fini(&store->index);
	ghost_fini(&store->ghost);
	bell_fini(&store->bell);
	tombs_fini(&store->tombs);
	wake_fini(&store->wake_keeper);
	wake_fini(&store->wake_reader);
	pthread_mutex_destroy(&store->lock);
	free(store->scratch);
	free(store->buffer);
	free(store->ahead);
	free(store);
}

uint64_t store_hash(const struct store *store, struct text key)
{
	return siphash(&store->key, key.at, key.length).words[0];
}

uint32_t store_vary(const struct store *store, struct text vary)
{
	return vary.length ? (uint32_t)siphash(&store->key, vary.at, vary.length).words[0] | 1 : 0;
}

/* ---- references ---- */

/* A segment's neighbours in the list of parts are mostly the same one: it is pinned once a run. */
static void each_segment(
	struct segments *s, const struct entry *entry, void (*call)(struct segments *, uint32_t))
{
	const struct extents *extents = entry->extents;
	uint32_t last = (uint32_t)entry->segment;

	call(s, last);
	for (uint32_t i = 0; extents && i < extents->count; i++) {
		if (extents->parts[i].segment == last)
			continue;
		last = extents->parts[i].segment;
		call(s, last);
	}
}

void store_hold(struct store *store, const struct entry *entry)
{
	extents_get(entry->extents);
	each_segment(&store->segments, entry, segments_pin);
}

void store_release(struct store *store, struct entry *entry)
{
	each_segment(&store->segments, entry, segments_unpin);
	extents_put(entry->extents);
	entry->extents = NULL;
}

static struct reference *reference_of(struct stored *stored)
{
	return (struct reference *)stored;
}

struct stored *store_get(struct stored *stored)
{
	atomic_fetch_add_explicit(&reference_of(stored)->refs, 1, memory_order_relaxed);
	return stored;
}

void store_put(struct stored *stored)
{
	struct reference *reference = reference_of(stored);

	if (!stored || atomic_fetch_sub_explicit(&reference->refs, 1, memory_order_acq_rel) != 1)
		return;
	store_release(reference->store, &reference->entry);
	free(reference);
}

/* Are the bytes from `at` on in memory?  *length is cut to those that are. */
bool store_resident(const char *at, uint64_t *length)
{
	uintptr_t first = (uintptr_t)at & ~(uintptr_t)(PAGE - 1);
	unsigned char pages[BUFFER_SIZE / PAGE + 2];
	uint64_t span = (uintptr_t)at - first + *length;
	size_t n = (span + PAGE - 1) / PAGE, there = 0;

	if (n > COUNT_OF(pages))
		n = COUNT_OF(pages);
	if (mincore((void *)first, n * PAGE, pages))
		return false;
	while (there < n && pages[there] & 1)
		there++;
	if (there == 0 && *length)
		return false;
	if (there * PAGE < span)
		*length = there * PAGE - ((uintptr_t)at - first);
	return true;
}

/* ---- finding ---- */

/* The newest first; each is held. */
size_t store_collect(struct store *store, uint64_t hash, struct entry found[STORE_VARIANTS])
{
	struct shard *shard = index_lock(&store->index, hash);
	struct entry *entry = index_first(shard, hash);
	size_t n = 0;

	for (; entry && n < STORE_VARIANTS; entry = index_next(shard, entry)) {
		size_t at = n++;

		store_hold(store, entry);
		for (; at > 0 && found[at - 1].id < entry->id; at--)
			found[at] = found[at - 1];
		found[at] = *entry;
	}
	index_unlock(shard);
	return n;
}

bool store_head_in_memory(const struct store *store, const struct entry *entry)
{
	uint64_t length = entry->head * LAYOUT_ALIGN, there = length;
	uint32_t segment = (uint32_t)entry->segment;
	const char *at = segments_at(&store->segments, segment, entry->offset * LAYOUT_ALIGN);

	if (segments_in_memory(&store->segments, segment))
		return true;
	return entry->verified && store_resident(at, &there) && there == length;
}

static bool look(struct store *store, const struct entry *entry, struct stored *out)
{
	const char *at = segments_at(
		&store->segments, (uint32_t)entry->segment, entry->offset * LAYOUT_ALIGN);

	out->length = entry->extents ? entry->extents->length : entry->length;
	out->ranges = body_is_whole(entry->extents) ? NULL : entry->extents;
	return record_parse(at, entry->head * LAYOUT_ALIGN, out);
}

static struct stored *take(
	struct store *store, const struct entry *entry, const struct stored *seen)
{
	struct reference *reference = malloc(sizeof(*reference));

	if (!reference)
		return NULL;
	reference->stored = *seen;
	reference->store = store;
	reference->entry = *entry;
	atomic_init(&reference->refs, 1);
	atomic_init(&reference->failed, false);
	return &reference->stored;
}

static void asked_for(struct store *store, const struct entry *found)
{
	struct shard *shard = index_lock(&store->index, found->hash);
	struct entry *entry = index_find(shard, found->hash, found->id);

	if (entry && entry->freq < 3)
		entry->freq++;
	index_unlock(shard);
}

struct stored *store_find(struct store *store, struct text key,
	bool (*fits)(void *arg, const struct stored *stored), void *arg, bool *later)
{
	struct entry found[STORE_VARIANTS];
	struct stored *result = NULL, seen;
	size_t n = store_collect(store, store_hash(store, key), found);

	*later = false;
	for (size_t i = 0; i < n; i++) {
		if (!result && !*later) {
			if (!store_head_in_memory(store, &found[i]))
				*later = true;
			else if (look(store, &found[i], &seen) && text_equal(seen.key, key) &&
				 (!fits || fits(arg, &seen)))
				result = take(store, &found[i], &seen);
			if (result) {
				if (found[i].freq < 3)
					asked_for(store, &found[i]);
				continue;
			}
		}
		store_release(store, &found[i]);
	}
	return result;
}

/* ---- reading ---- */

struct place store_place(const struct reference *reference, uint64_t offset)
{
	const struct entry *entry = &reference->entry;
	struct part *part;

	if (!entry->extents)
		return (struct place){(uint32_t)entry->segment,
			(entry->offset + entry->head) * LAYOUT_ALIGN + offset,
			entry->length - offset, NULL};
	part = &entry->extents->parts[extents_at(entry->extents, offset) - entry->extents->parts];
	offset -= part->position;
	return (struct place){part->segment, part->offset + offset, part->length - offset, part};
}

enum store_result store_read(struct stored *stored, uint64_t offset, struct piece *piece)
{
	struct reference *reference = reference_of(stored);
	const struct store *store = reference->store;
	const struct segments *s = &store->segments;
	struct place place;
	bool in_memory;

	CHECK(offset < stored->length);
	if (atomic_load(&reference->failed) || !store_holds(stored, offset, offset))
		return STORE_FAILED;
	place = store_place(reference, offset);
	in_memory = segments_in_memory(s, place.segment);
	piece->at = segments_at(s, place.segment, place.at);
	if (!in_memory && ((place.part && !atomic_load(&place.part->verified)) ||
				  !store_resident(piece->at, &place.length)))
		return STORE_LATER;
	piece->length = place.length;
	return STORE_READY;
}

/* ---- waiting ---- */

static void wait_for_disk(struct store *store, struct store_waiter *waiter)
{
	bell_add(&store->bell, &store->jobs, waiter);
	wake_up(&store->wake_reader);
}

bool store_wait_key(struct store *store, struct text key, struct store_waiter *waiter)
{
	struct entry found[STORE_VARIANTS];
	uint64_t hash = store_hash(store, key);
	size_t n = store_collect(store, hash, found);
	bool wait = false;

	for (size_t i = 0; i < n; i++) {
		wait = wait || !store_head_in_memory(store, &found[i]);
		store_release(store, &found[i]);
	}
	if (!wait)
		return false;
	waiter->at = hash;
	waiter->what = NULL;
	waiter->of_fill = false;
	wait_for_disk(store, waiter);
	return true;
}

bool store_wait(struct stored *stored, uint64_t offset, struct store_waiter *waiter)
{
	struct reference *reference = reference_of(stored);
	struct piece piece;

	if (store_read(stored, offset, &piece) != STORE_LATER)
		return false;
	waiter->at = offset;
	waiter->what = reference;
	waiter->of_fill = false;
	wait_for_disk(reference->store, waiter);
	return true;
}

void store_cancel(struct store *store, struct store_waiter *waiter)
{
	bell_cancel(&store->bell, waiter);
}

/* ---- counts ---- */

void store_count(struct store *store, struct store_counts *counts)
{
	struct segments *s = &store->segments;
	struct store_counters *c = &store->counts;

	*counts = (struct store_counts){.objects = c->objects,
		.size = s->bytes,
		.stored = c->stored,
		.evicted = c->evicted,
		.removed = c->removed,
		.carried = c->carried,
		.refused = c->refused,
		.corrupt = c->corrupt,
		.disk_errors = c->disk_errors,
		.index_bytes = store->index.bytes,
		.disk = s->disk && !atomic_load(&s->failed),
		.loading = store->loading};
	for (uint32_t i = 0; i < s->count; i++)
		if (atomic_load(&s->list[i].state) != SEGMENT_FREE)
			counts->bytes += s->size;
}
