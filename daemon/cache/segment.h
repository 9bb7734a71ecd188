/*
 * segment.h - the store's file as a row of segments, mapped as a whole.
 *
 * Memory mode: the file is a memfd, and its mapping is the memory.  Disk mode: a segment that is
 * being filled is private memory laid over its place in the mapping; when it has been written to
 * the file, the file's pages take that place, so that addresses never change.
 *
 * free -> active -> sealed -> (disk: written ->) draining -> free.  A segment is drained when
 * nothing in the index names it any more, and free when the last pin has gone too.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/error.h"
#include "daemon/cache/layout.h"

#define SEGMENTS_OVERLAYS 10 /* most in private memory; all there are after a disk error */
#define SEGMENT_NONE UINT32_MAX

enum queue { QUEUE_SMALL, QUEUE_MAIN };

enum segment_state {
	SEGMENT_FREE,
	SEGMENT_ACTIVE,
	SEGMENT_SEALED,
	SEGMENT_WRITTEN,
	SEGMENT_DRAINING
};

struct segment {
	atomic_uint pins;
	atomic_uint copying; /* writers between enter and leave */
	_Atomic uint8_t state;
	_Atomic uint8_t queue;
	atomic_bool closed;  /* nobody may enter any more */
	atomic_bool overlay; /* private memory */
	_Atomic uint64_t sequence;
	_Atomic uint64_t live; /* bytes that the index names */
	uint32_t next;         /* in a FIFO, or of the free ones */
	uint32_t end, slots; /* of data and of the directory; under the queue's lock when active */
	uint32_t synced;     /* the keeper's: slots whose items and selves are all in the file */
	uint32_t written_slots; /* the keeper's: what the header in the file says */
};

struct fifo {
	pthread_mutex_t lock;
	uint32_t active;
	uint32_t oldest, newest; /* of those that are full */
	uint32_t count;
};

/* Tells a thread that there is something to do. */
struct wake {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool pending;
};

void wake_init(struct wake *wake);
void wake_fini(struct wake *wake);
void wake_up(struct wake *wake);
void wake_wait(struct wake *wake, double seconds); /* at most; negative: as long as it takes */

struct segments {
	char *base;
	int fd;
	bool disk;          /* mode */
	atomic_bool failed; /* the disk: private memory only */
	uint32_t size, count;
	uint64_t bytes; /* of the file */
	struct segment *list;
	struct fifo fifos[2];
	pthread_mutex_t free_lock;
	uint32_t free_oldest, free_newest, n_free, n_overlays;
	uint64_t next_sequence; /* under free_lock */
	atomic_bool starved;    /* every unpin is of interest */
	struct wake *keeper;
};

/* Where something may be written; the segment is pinned. */
struct room {
	uint32_t segment, offset, length, slot;
};

/* In disk mode no segment is free at first.  0, or -errno with `e` set. */
int segments_init(struct segments *s, int fd, uint64_t size, bool disk, struct wake *keeper,
	struct error *e) WARN_UNUSED;
void segments_fini(struct segments *s);

static inline char *segments_at(const struct segments *s, uint32_t segment, uint64_t offset)
{
	return s->base + LAYOUT_BLOCK + segment * (uint64_t)s->size + offset;
}

static inline off_t segments_offset(const struct segments *s, uint32_t segment, uint64_t offset)
{
	return (off_t)(LAYOUT_BLOCK + segment * (uint64_t)s->size + offset);
}

static inline struct slot *segments_slot(const struct segments *s, uint32_t segment, uint32_t slot)
{
	return (struct slot *)segments_at(s, segment, layout_slot(s->size, slot));
}

/* Are its bytes in memory for certain? */
static inline bool segments_in_memory(const struct segments *s, uint32_t segment)
{
	return !s->disk || atomic_load(&s->list[segment].overlay);
}

/* Between `least` and `want` bytes and a slot.  The keeper alone may take the last free segment.
 * False: no room now. */
bool segments_reserve(struct segments *s, enum queue queue, uint64_t want, uint64_t least,
	bool keeper, struct room *room) WARN_UNUSED;
/* Only `used` bytes of it are needed. */
void segments_trim(struct segments *s, const struct room *room, uint32_t used);

void segments_pin(struct segments *s, uint32_t segment); /* an index entry or a pin holds it */
void segments_unpin(struct segments *s, uint32_t segment);

/* The index names so many bytes of it more. */
void segments_count(struct segments *s, uint32_t segment, int64_t bytes);

/* Around every writing to the segment's memory.  False: it is closed. */
bool segments_enter(struct segments *s, uint32_t segment) WARN_UNUSED;
void segments_leave(struct segments *s, uint32_t segment);
/* Puts a slot where readers of the directory see it.  False: the segment is closed. */
bool segments_publish(struct segments *s, const struct room *room, const struct slot *slot);

/* The keeper's: */
bool segments_need_room(struct segments *s);
uint32_t segments_total(const struct segments *s); /* that the queues may have */
uint32_t segments_in_use(struct segments *s, enum queue queue);
/* Takes the oldest full one out of its queue that nobody has pinned (and that is in the file, if it
 * has to be); SEGMENT_NONE: none. */
uint32_t segments_take_oldest(struct segments *s, enum queue queue);
/* The same, of any queue, of the one with the fewest live bytes, when those are less than a
 * quarter.
 */
uint32_t segments_take_emptiest(struct segments *s);
void segments_append(struct segments *s, uint32_t segment); /* a full one to its queue */
void segments_drained(struct segments *s, uint32_t segment);
void segments_free_drained(struct segments *s); /* those without pins */
void segments_add_free(struct segments *s, uint32_t segment);
/* Puts the file's pages in place of the private memory.  False: no memory. */
bool segments_uncover(struct segments *s, uint32_t segment);
