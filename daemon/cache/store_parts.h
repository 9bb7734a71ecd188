/*
 * store_parts.h - what the files of the store share, and nobody else sees.
 *
 * Locks, in the order in which they may be taken:
 *
 *   fill.lock           a fill's length, parts and state
 *   bell.lock           all queues of waiters
 *   shard.lock          entries of the index; pins come into being under it
 *   fifo.lock           the active segment of a queue, and its full ones
 *   free_lock           free segments
 *   ghost.lock, store.lock, tombs.lock, wake.lock   nothing is taken under them
 *
 * No lock is held while a body is copied, a disk is waited for, or a callback runs.  The keeper (a
 * thread) alone reads directories, writes the file and evicts; the reader (another, disk mode)
 * reads ahead and verifies.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/cache/bell.h"
#include "daemon/cache/ghost.h"
#include "daemon/cache/index.h"
#include "daemon/cache/layout.h"
#include "daemon/cache/segment.h"
#include "daemon/cache/store.h"
#include "daemon/cache/tombs.h"

#define STORE_VARIANTS 32 /* most under one key */
#define STORE_REMOVALS 4096
#define PART_MAX (256 * 1024)

/* In a body's id: it is made of ranges, and some of its bytes may be missing.  No other id has it.
 */
#define BODY_OF_RANGES (UINT64_C(1) << 63)

struct purge {
	bool (*matches)(void *arg, const struct stored *stored);
	void (*on_done)(void *arg, size_t removed);
	void *arg;
};

struct store_counters {
	_Atomic uint64_t objects, stored, evicted, removed, carried, refused, corrupt, disk_errors;
};

struct store {
	struct segments segments;
	struct index index;
	struct ghost ghost;
	struct bell bell;
	struct bell_queue jobs; /* of the reader */
	struct tombs tombs;
	struct siphash_key key;
	_Atomic uint32_t removals[STORE_REMOVALS],
		purges; /* counts; the former under the shard's lock */
	struct store_counters counts;
	uint64_t max_object;
	uint32_t part_max; /* bytes of body in one reservation */
	uint32_t head_max;
	_Atomic uint64_t next_id;
	atomic_bool loading, stopping;
	atomic_bool doomed; /* some shard has doomed entries */
	struct wake wake_keeper, wake_reader;
	pthread_t keeper, reader;
	bool has_keeper, has_reader;
	pthread_mutex_t lock; /* late, purge */
	struct fill *late;    /* finished, with slots in closed segments */
	struct purge purge;   /* matches NULL: none */
	char *scratch;        /* the keeper's, of a segment's directory */
	char *buffer;         /* the keeper's, of one item */
	char *ahead;          /* the reader's, of one item */
};

#define BUFFER_SIZE (LAYOUT_HEAD_MAX + PART_MAX)

/* Someone's hold on an object.  `entry.extents` is a reference too. */
struct reference {
	struct stored stored; /* first */
	struct store *store;
	struct entry entry; /* as it was found; its segments are pinned */
	atomic_uint refs;
	atomic_bool failed; /* part of it was not what had been written */
};

struct fill_part {
	struct room room; /* without the record */
	uint64_t position;
	uint32_t used;
	bool late;     /* its slot is not in the directory yet, as the segment was closed */
	uint32_t head; /* bytes of record before it, in the first */
};

enum fill_state { FILL_OPEN, FILL_DONE, FILL_ABORTED };

struct fill {
	struct stored stored; /* first; `length` is UINT64_MAX until known */
	struct store *store;
	atomic_uint refs;
	enum queue queue;
	uint64_t hash, id;
	uint32_t vary;
	uint32_t removals;         /* when it was asked for */
	int64_t expected;          /* bytes; -1: not known */
	bool ranged;               /* only a range of the body */
	uint64_t first, validator; /* of a range; the latter's digest */
	uint64_t body;             /* its id */
	int error;                 /* the writer's: it cannot go on */
	struct fill *late_next;
	pthread_mutex_t lock; /* of what follows; the writer alone changes it, and reads without */
	enum fill_state state;
	bool lost; /* bytes of it: readers fail */
	uint64_t length;
	struct fill_part *parts;
	uint32_t n_parts, n_allocated;
	struct bell_queue waiters;
};

/* store.c */
uint64_t store_hash(const struct store *store, struct text key);
uint32_t store_vary(const struct store *store, struct text vary);
void store_hold(struct store *store, const struct entry *entry); /* pins; under the shard's lock */
void store_release(struct store *store, struct entry *entry);
/* Holds and copies all entries with this hash, the newest first. */
size_t store_collect(struct store *store, uint64_t hash, struct entry found[STORE_VARIANTS]);
bool store_head_in_memory(const struct store *store, const struct entry *entry);
/* Under the lock.  `doom`: the keeper has to see that it does not come back after a restart. */
void store_drop(struct store *store, struct shard *shard, struct entry *entry, bool doom);
/* Under the lock.  Adds it in place of what has the same key and vary; takes over its extents.
 * False: no memory, or what is there is newer; the extents are put then. */
bool store_enter_locked(struct store *store, struct shard *shard, const struct entry *entry);
bool store_resident(const char *at, uint64_t *length);

/* remove.c */
uint32_t remove_count(const struct store *store, uint64_t hash);
void store_corrupt(struct store *store, const struct entry *entry);
void remove_purge(struct store *store); /* the keeper's */

/* fill.c */
void fill_slot(const struct fill *fill, uint32_t part, struct slot *slot);

/* follow.c */
const struct fill_part *fill_part_at(const struct fill *fill, uint64_t offset); /* under its lock */
void fill_lost(struct fill *fill); /* what was written cannot be read any more */

/* body.c */
bool body_is_whole(const struct extents *extents); /* NULL: it is */
bool body_holds(const struct extents *extents, uint64_t first, uint64_t last);
/* The same for all fills of a process with the same key, vary, length and validator between which
 * nothing was removed. */
uint64_t body_id(const struct fill *fill);
/* Appends what `part` has behind `end`, to where all before is; where it ends then. */
uint64_t body_append(struct extents *extents, const struct part *part, uint64_t end);
/* All that both have.  NULL: no memory, or too many small parts. */
struct extents *body_unite(const struct extents *a, const struct extents *b);

/* room.c: the keeper's */
void room_make(struct store *store);
/* Drops all objects of which something is in this segment; SEGMENT_NONE: in the file at all. */
void room_sweep(struct store *store, uint32_t segment);

/* disk.c: the keeper's */
bool disk_read(const struct store *store, uint32_t segment, uint64_t offset, void *to, size_t n);
bool disk_slot(const struct store *store, uint32_t segment, uint32_t slot, struct slot *out);
void disk_sync(struct store *store, bool active_too);
void disk_tend(struct store *store); /* doomed and late slots */
void disk_look(struct store *store); /* is the file still as large as it was? */
void disk_demote(struct store *store, const struct entry *entry);
bool disk_write(struct store *store, off_t at, const void *from, size_t n);
void disk_wipe(struct store *store, uint32_t segment);
void disk_failed(struct store *store, int error, const char *what);

/* recover.c */
int recover_open(struct store *store, struct error *e);
void recover_load(struct store *store);

/* tender.c */
bool tender_start(struct store *store);
void tender_stop(struct store *store);

/* Where a body goes on. */
struct place {
	uint32_t segment;
	uint64_t at; /* in the segment */
	uint64_t length;
	struct part *part; /* NULL: behind its record */
};
struct place store_place(const struct reference *reference, uint64_t offset);

/* reader.c */
void *reader_run(void *arg);
