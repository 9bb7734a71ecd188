/*
 * segment.c - segments: reservation, pins, queues.
 *
 * Locks: a FIFO's, then free_lock, then the keeper's wake.
 */
#include "daemon/cache/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- wake ---- */

void wake_init(struct wake *wake)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&wake->lock, NULL);
	pthread_cond_init(&wake->cond, &attr);
	pthread_condattr_destroy(&attr);
	wake->pending = false;
}

void wake_fini(struct wake *wake)
{
	pthread_cond_destroy(&wake->cond);
	pthread_mutex_destroy(&wake->lock);
}

void wake_up(struct wake *wake)
{
	pthread_mutex_lock(&wake->lock);
	if (!wake->pending) {
		wake->pending = true;
		pthread_cond_signal(&wake->cond);
	}
	pthread_mutex_unlock(&wake->lock);
}

void wake_wait(struct wake *wake, double seconds)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(seconds > 0 ? seconds : 0);
	pthread_mutex_lock(&wake->lock);
	while (!wake->pending && error != ETIMEDOUT)
		error = seconds < 0 ? pthread_cond_wait(&wake->cond, &wake->lock)
				    : pthread_cond_timedwait(&wake->cond, &wake->lock, &until);
	wake->pending = false;
	pthread_mutex_unlock(&wake->lock);
}

/* ---- beginning and end ---- */

static void init_lists(struct segments *s)
{
	for (int q = 0; q < 2; q++) {
		pthread_mutex_init(&s->fifos[q].lock, NULL);
		s->fifos[q].active = s->fifos[q].oldest = s->fifos[q].newest = SEGMENT_NONE;
	}
	pthread_mutex_init(&s->free_lock, NULL);
	s->free_oldest = s->free_newest = SEGMENT_NONE;
	s->next_sequence = 1;
}

int segments_init(
	struct segments *s, int fd, uint64_t size, bool disk, struct wake *keeper, struct error *e)
{
	memset(s, 0, sizeof(*s));
	s->fd = fd;
	s->disk = disk;
	s->bytes = size;
	s->keeper = keeper;
	s->size = layout_segment_size(size);
	if ((size - LAYOUT_BLOCK) / s->size > 1 << 24)
		return error_set(e, -EINVAL, "cache size: want at most 64 TiB");
	s->count = (uint32_t)((size - LAYOUT_BLOCK) / s->size);
	init_lists(s);
	s->list = calloc(s->count, sizeof(*s->list));
	if (!s->list)
		return error_set(e, -ENOMEM, "out of memory");
	s->base = mmap(NULL, size, disk ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s->base == MAP_FAILED) {
		s->base = NULL;
		return error_set(e, -errno, "cannot map the cache's file: %s", strerror(errno));
	}
	for (uint32_t i = 0; i < s->count && !disk; i++)
		segments_add_free(s, i);
	return 0;
}

void segments_fini(struct segments *s)
{
	if (s->base)
		munmap(s->base, s->bytes);
	free(s->list);
	for (int q = 0; q < 2; q++)
		pthread_mutex_destroy(&s->fifos[q].lock);
	pthread_mutex_destroy(&s->free_lock);
}

/* ---- free ones ---- */

void segments_add_free(struct segments *s, uint32_t segment)
{
	atomic_store(&s->list[segment].state, SEGMENT_FREE);
	pthread_mutex_lock(&s->free_lock);
	s->list[segment].next = SEGMENT_NONE;
	if (s->free_newest == SEGMENT_NONE)
		s->free_oldest = segment;
	else
		s->list[s->free_newest].next = segment;
	s->free_newest = segment;
	s->n_free++;
	pthread_mutex_unlock(&s->free_lock);
}

/* Under free_lock. */
static uint32_t available(const struct segments *s)
{
	uint32_t overlays = s->disk ? SEGMENTS_OVERLAYS - s->n_overlays : s->n_free;

	return overlays < s->n_free ? overlays : s->n_free;
}

static uint32_t wanted_free(const struct segments *s)
{
	uint32_t wanted = segments_total(s) / 16;

	return 1 + (wanted < 2 ? 2 : wanted > 8 ? 8 : wanted);
}

/* While the disk works, private memory comes back by writing, not by evicting. */
static bool is_short(const struct segments *s)
{
	bool failed = s->disk && atomic_load(&s->failed);

	return (failed ? available(s) : s->n_free) < wanted_free(s);
}

bool segments_need_room(struct segments *s)
{
	bool need;

	pthread_mutex_lock(&s->free_lock);
	need = is_short(s);
	pthread_mutex_unlock(&s->free_lock);
	return need;
}

uint32_t segments_total(const struct segments *s)
{
	bool failed = s->disk && atomic_load(&s->failed);

	return failed && s->count > SEGMENTS_OVERLAYS ? SEGMENTS_OVERLAYS : s->count;
}

static uint32_t take_free(struct segments *s, bool keeper, uint64_t *sequence)
{
	uint32_t segment = SEGMENT_NONE;
	bool tell;

	pthread_mutex_lock(&s->free_lock);
	if (available(s) > (keeper ? 0 : 1)) {
		segment = s->free_oldest;
		s->free_oldest = s->list[segment].next;
		if (s->free_oldest == SEGMENT_NONE)
			s->free_newest = SEGMENT_NONE;
		s->n_free--;
		s->n_overlays += s->disk;
		*sequence = s->next_sequence++;
	}
	tell = is_short(s) || segment == SEGMENT_NONE;
	pthread_mutex_unlock(&s->free_lock);
	if (tell && !keeper)
		wake_up(s->keeper);
	return segment;
}

static bool cover(struct segments *s, uint32_t segment)
{
	if (!s->disk)
		return true;
	if (mmap(segments_at(s, segment, 0), s->size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	atomic_store(&s->list[segment].overlay, true);
	return true;
}

static void less_overlays(struct segments *s)
{
	pthread_mutex_lock(&s->free_lock);
	s->n_overlays--;
	pthread_mutex_unlock(&s->free_lock);
}

/* While others read there.  Linux replaces a mapping in one step: who faults meanwhile waits for
 * mmap_lock, and finds the same bytes.  ThreadSanitizer takes mmap() for a write to all of them,
 * so it is not shown. */
static bool replace_mapping(void *at, size_t length, int fd, off_t offset)
{
#ifdef __SANITIZE_THREAD__
	return syscall(SYS_mmap, at, length, PROT_READ, MAP_SHARED | MAP_FIXED, fd, offset) != -1;
#else
	return mmap(at, length, PROT_READ, MAP_SHARED | MAP_FIXED, fd, offset) != MAP_FAILED;
#endif
}

bool segments_uncover(struct segments *s, uint32_t segment)
{
	if (!replace_mapping(
		    segments_at(s, segment, 0), s->size, s->fd, segments_offset(s, segment, 0)))
		return false;
	atomic_store(&s->list[segment].overlay, false);
	less_overlays(s);
	return true;
}

/* ---- queues ---- */

/* Under the FIFO's lock. */
static void append(struct segments *s, struct fifo *fifo, uint32_t segment)
{
	s->list[segment].next = SEGMENT_NONE;
	if (fifo->newest == SEGMENT_NONE)
		fifo->oldest = segment;
	else
		s->list[fifo->newest].next = segment;
	fifo->newest = segment;
	fifo->count++;
}

void segments_append(struct segments *s, uint32_t segment)
{
	struct fifo *fifo = &s->fifos[atomic_load(&s->list[segment].queue)];

	pthread_mutex_lock(&fifo->lock);
	append(s, fifo, segment);
	pthread_mutex_unlock(&fifo->lock);
}

static bool may_leave(const struct segments *s, const struct segment *segment)
{
	uint8_t state = atomic_load(&segment->state);
	bool written = !s->disk || atomic_load(&s->failed) || state == SEGMENT_WRITTEN;

	return written && atomic_load(&segment->pins) == 0;
}

/* Out of its queue: the oldest that may leave, or this one (SEGMENT_NONE: any). */
static uint32_t take(struct segments *s, enum queue queue, uint32_t wanted)
{
	struct fifo *fifo = &s->fifos[queue];
	uint32_t segment, before = SEGMENT_NONE;

	pthread_mutex_lock(&fifo->lock);
	for (segment = fifo->oldest; segment != SEGMENT_NONE; segment = s->list[segment].next) {
		if ((wanted == SEGMENT_NONE || segment == wanted) &&
			may_leave(s, &s->list[segment]))
			break;
		before = segment;
	}
	if (segment != SEGMENT_NONE) {
		*(before == SEGMENT_NONE ? &fifo->oldest : &s->list[before].next) =
			s->list[segment].next;
		if (fifo->newest == segment)
			fifo->newest = before;
		fifo->count--;
	}
	pthread_mutex_unlock(&fifo->lock);
	return segment;
}

uint32_t segments_take_oldest(struct segments *s, enum queue queue)
{
	return take(s, queue, SEGMENT_NONE);
}

uint32_t segments_take_emptiest(struct segments *s)
{
	uint64_t least = s->size / 4;
	uint32_t emptiest = SEGMENT_NONE;

	for (uint32_t i = 0; i < s->count; i++) {
		uint8_t state = atomic_load(&s->list[i].state);
		uint64_t live = atomic_load(&s->list[i].live);

		if (live >= least || (state != SEGMENT_SEALED && state != SEGMENT_WRITTEN) ||
			!may_leave(s, &s->list[i]))
			continue;
		emptiest = i;
		least = live;
	}
	return emptiest == SEGMENT_NONE ? SEGMENT_NONE
					: take(s, atomic_load(&s->list[emptiest].queue), emptiest);
}

uint32_t segments_in_use(struct segments *s, enum queue queue)
{
	struct fifo *fifo = &s->fifos[queue];
	uint32_t count;

	pthread_mutex_lock(&fifo->lock);
	count = fifo->count + (fifo->active != SEGMENT_NONE);
	pthread_mutex_unlock(&fifo->lock);
	return count;
}

/* Under the FIFO's lock. */
static void seal_active(struct segments *s, struct fifo *fifo)
{
	uint32_t segment = fifo->active;

	if (segment == SEGMENT_NONE)
		return;
	fifo->active = SEGMENT_NONE;
	atomic_store(&s->list[segment].state, SEGMENT_SEALED);
	append(s, fifo, segment);
	if (s->disk)
		wake_up(s->keeper);
}

/* Under the FIFO's lock.  The full one stays active until there is another. */
static bool open_next(struct segments *s, enum queue queue, bool keeper)
{
	struct fifo *fifo = &s->fifos[queue];
	struct segment *segment;
	uint64_t sequence = 0;
	uint32_t number = take_free(s, keeper, &sequence);

	if (number == SEGMENT_NONE)
		return false;
	if (!cover(s, number)) {
		less_overlays(s);
		segments_add_free(s, number);
		return false;
	}
	seal_active(s, fifo);
	segment = &s->list[number];
	segment->end = LAYOUT_FIRST;
	segment->slots = segment->synced = 0;
	segment->written_slots = 0;
	atomic_store(&segment->closed, false);
	atomic_store(&segment->sequence, sequence);
	atomic_store(&segment->queue, (uint8_t)queue);
	atomic_store(&segment->state, SEGMENT_ACTIVE);
	fifo->active = number;
	return true;
}

/* ---- reservation ---- */

/* Under the FIFO's lock. */
static bool reserve_active(
	struct segments *s, struct fifo *fifo, uint64_t want, uint64_t least, struct room *room)
{
	struct segment *segment;
	uint64_t limit;

	if (fifo->active == SEGMENT_NONE)
		return false;
	segment = &s->list[fifo->active];
	limit = layout_slot(s->size, segment->slots) / LAYOUT_ALIGN * LAYOUT_ALIGN;
	if (limit < segment->end + layout_align(least))
		return false;
	if (want > limit - segment->end)
		want = limit - segment->end;
	*room = (struct room){fifo->active, segment->end, (uint32_t)want, segment->slots};
	atomic_store_explicit(&segments_slot(s, fifo->active, segment->slots)->kind, SLOT_EMPTY,
		memory_order_relaxed);
	segment->end += (uint32_t)layout_align(want);
	segment->slots++;
	segments_pin(s, fifo->active);
	return true;
}

bool segments_reserve(struct segments *s, enum queue queue, uint64_t want, uint64_t least,
	bool keeper, struct room *room)
{
	struct fifo *fifo = &s->fifos[queue];
	bool done;

	pthread_mutex_lock(&fifo->lock);
	done = reserve_active(s, fifo, want, least, room) ||
	       (open_next(s, queue, keeper) && reserve_active(s, fifo, want, least, room));
	pthread_mutex_unlock(&fifo->lock);
	return done;
}

void segments_trim(struct segments *s, const struct room *room, uint32_t used)
{
	struct segment *segment = &s->list[room->segment];
	struct fifo *fifo = &s->fifos[atomic_load(&segment->queue)];

	pthread_mutex_lock(&fifo->lock);
	if (fifo->active == room->segment &&
		segment->end == room->offset + layout_align(room->length))
		segment->end = (uint32_t)(room->offset + layout_align(used));
	pthread_mutex_unlock(&fifo->lock);
}

/* ---- pins, writers ---- */

void segments_pin(struct segments *s, uint32_t segment)
{
	atomic_fetch_add(&s->list[segment].pins, 1);
}

void segments_unpin(struct segments *s, uint32_t segment)
{
	struct segment *it = &s->list[segment];
	unsigned before = atomic_fetch_sub(&it->pins, 1);

	CHECK(before > 0);
	if (before == 1 &&
		(atomic_load(&it->state) == SEGMENT_DRAINING || atomic_load(&s->starved)))
		wake_up(s->keeper);
}

void segments_count(struct segments *s, uint32_t segment, int64_t bytes)
{
	uint64_t before = atomic_fetch_add(&s->list[segment].live, (uint64_t)bytes);

	CHECK(bytes >= 0 || before >= (uint64_t)-bytes);
}

bool segments_enter(struct segments *s, uint32_t segment)
{
	struct segment *it = &s->list[segment];

	atomic_fetch_add(&it->copying, 1);
	if (!atomic_load(&it->closed))
		return true;
	atomic_fetch_sub(&it->copying, 1);
	return false;
}

void segments_leave(struct segments *s, uint32_t segment)
{
	atomic_fetch_sub(&s->list[segment].copying, 1);
}

bool segments_publish(struct segments *s, const struct room *room, const struct slot *slot)
{
	if (!segments_enter(s, room->segment))
		return false;
	slot_copy(segments_slot(s, room->segment, room->slot), slot);
	segments_leave(s, room->segment);
	return true;
}

/* ---- draining ---- */

void segments_drained(struct segments *s, uint32_t segment)
{
	CHECK(atomic_load(&s->list[segment].live) == 0);
	atomic_store(&s->list[segment].state, SEGMENT_DRAINING);
}

void segments_free_drained(struct segments *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct segment *segment = &s->list[i];

		if (atomic_load(&segment->state) != SEGMENT_DRAINING ||
			atomic_load(&segment->pins) != 0)
			continue;
		if (!atomic_load(&segment->overlay) || segments_uncover(s, i))
			segments_add_free(s, i);
	}
}
