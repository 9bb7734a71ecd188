/*
 * store.h - stored responses: an index in memory, bodies in a log of segments.
 *
 * One store for all workers; every function may be called from any thread and none waits for a
 * disk.  What is found or being written is held by reference: its bytes stay where they are
 * until the last reference goes, whatever is evicted, replaced or removed meanwhile.
 *
 * Whoever holds a large object holds all segments that it lies in: they cannot be reclaimed.
 *
 * The segments lie in one file (or memfd) of fixed size, which is never outgrown.  A thread of the
 * store's own writes full segments to disk, reads ahead, verifies checksums, and makes room: new
 * objects enter a small FIFO queue of segments; those that were asked for again go on to the main
 * queue when their segment is reclaimed, and round again there (S3-FIFO: Yang, Zhang, Qiu, Yue,
 * Rashmi, SOSP 2023).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/error.h"
#include "base/text.h"
#include "daemon/cache/meta.h"

struct store;

struct store_options {
	int fd;        /* of a file or memfd of `size` bytes; becomes the store's.  */
	uint64_t size; /* bytes: all segments together */
	bool disk;     /* the file outlives us: what is in it is found again, checksums are kept */
	uint64_t max_object; /* bytes of the largest body; at most a quarter of `size` */
};

/* NULL with `e` set (and the fd closed): no memory, no thread, or `size` is too small (at least
 * 16 MiB).  A file that holds something else, or another version, is begun anew.  What is on disk
 * is found again in the background: objects appear as they are read, newest first; nothing new is
 * taken before all empty segments are known.
 *
 * Disk mode: what was stored or removed in the last second or so may be undone by a crash.  When
 * writing fails, or someone cuts the file off, the store goes on in memory with ten segments
 * (2.5 to 80 MiB), and with an empty file at the next start.  The file has to be ours, or writable
 * for us when the store runs: mincore(2) tells others nothing. */
struct store *store_new(const struct store_options *options, struct error *e);
void store_free(struct store *store); /* writes what is not on disk yet; no references are left */

/* --- found objects ---------------------------------------------------------------------- */

struct stored {
	struct cache_meta meta;
	struct text key;
	struct text vary;             /* of vary.h; empty: no Vary */
	struct text tags;             /* blank-separated, for purging */
	struct text head;             /* a whole response head, "HTTP/1.1 200 OK\r\n...\r\n\r\n" */
	uint64_t length;              /* of the body */
	const struct extents *ranges; /* private; NULL: it is whole */
				      /* private members follow in store's own type */
};

/* Are all bytes of its body stored?  What is found may have only some, where they came in ranges
 * (RFC 9111 3.3). */
static inline bool store_is_whole(const struct stored *stored)
{
	return !stored->ranges;
}

/* Are the bytes from `first` to `last`, inclusive? */
bool store_holds(const struct stored *stored, uint64_t first, uint64_t last);

/* The newest object under `key` for which `fits` says so (NULL: the newest), with a reference, and
 * counted as asked for; or NULL.  `fits` is called without a lock.  An object that has yet to be
 * read from disk or verified is found too: see STORE_LATER.  `fits` sees key, vary and meta of
 * objects that are in memory; when one of them has to be read from disk first, *later is set and
 * NULL comes back: ask again after store_wait(). */
struct stored *store_find(struct store *store, struct text key,
	bool (*fits)(void *arg, const struct stored *stored), void *arg, bool *later);
struct stored *store_get(struct stored *stored); /* another reference to the same */
void store_put(struct stored *stored);           /* gives the reference back; accepts NULL */

enum store_result {
	STORE_READY,
	STORE_LATER,  /* it is being read from disk, or (writers) not written yet: wait */
	STORE_FAILED, /* it is gone: a disk error, or what is there is not what was written */
};

/* A run of body bytes, to be copied while there is a reference: sendfile(2) and the like would
 * leave the pages themselves in the queues of sockets, the receiver's on this node included, where
 * they are read long after the last reference has gone and something else stands in them. */
struct piece {
	const char *at;
	size_t length; /* at least 1 */
};

/* The body from `offset` (below its length) on, as far as it lies in one place.  STORE_FAILED: also
 * where it is not stored. */
enum store_result store_read(struct stored *stored, uint64_t offset, struct piece *piece);

/* Who is told when what was STORE_LATER (or `later`) may go on: then ask again.  Embedded in the
 * waiter, all zero but on_ready at first; waits for one thing at a time.  on_ready is called once,
 * from any thread (of a fill: the writer's, from within its calls), with no lock of the store
 * held; it may not call the store. */
struct store_waiter {
	void (*on_ready)(struct store_waiter *waiter);
	struct store_waiter *next, *last; /* private, as all that follow */
	void *queue;                      /* where it waits */
	uint64_t at;                      /* the offset, or the key's digest */
	void *what;                       /* the reference or fill; NULL: a key */
	bool of_fill;
};
/* For a key that was `later`, resp. bytes that were STORE_LATER.  False: nothing to wait for any
 * more, ask again now. */
bool store_wait_key(struct store *store, struct text key, struct store_waiter *waiter);
bool store_wait(struct stored *stored, uint64_t offset, struct store_waiter *waiter);
/* After it returns on_ready has been called or never will be.  Harmless when it does not wait.
 * Comes before giving back what is waited for. */
void store_cancel(struct store *store, struct store_waiter *waiter);

/* --- new objects ------------------------------------------------------------------------ */

/* A response that is being written, with one writer and any number of readers, by reference. */
struct fill;

/* Begins one; `length` of the body, -1: not known yet.  NULL: the cache has no room now, or it is
 * too large.  Nobody finds it before fill_finish(). */
struct fill *fill_new(struct store *store, struct text key, struct text vary, struct text tags,
	struct text head, const struct cache_meta *meta, int64_t length);

/* What a fill has of a body. */
struct fill_range {
	uint64_t first, length;    /* at least one byte */
	struct text validator;     /* a strong one */
	const struct stored *base; /* what is stored of the same body, by its validator and length;
				      NULL: nothing, for all that is known */
};
/* As fill_new(), for a range of a body of `length` bytes.  At its end it is united with what is
 * stored then of the same body (RFC 9111 3.4): of `base`, or of the same validator and length since
 * the start, with nothing removed since.  What else is there under the same key and vary it
 * replaces, but not what is whole. */
struct fill *fill_new_range(struct store *store, struct text key, struct text vary,
	struct text tags, struct text head, const struct cache_meta *meta, uint64_t length,
	const struct fill_range *range);
/* False: it is to have all of the body.  Else from *first on, and nothing from *end on. */
bool fill_is_range(const struct fill *fill, uint64_t *first, uint64_t *end);

/* A count that goes on when something is removed under this key by store_remove(), or purged. */
uint32_t store_removals(struct store *store, struct text key);
/* Nobody is to find it when that count is another one at its end: it was asked for before.  Without
 * this: the count of fill_new(). */
void fill_asked(struct fill *fill, uint32_t removals);

/* How many bytes are there: after an error of fill_append(), with the part that it took. */
uint64_t fill_length(const struct fill *fill);

/* Copies bytes behind what is there.  0, -ENOSPC (no room; what is there can still be read), -EFBIG
 * (over max_object).  After an error it will never be finished: fill_abort(). */
int fill_append(struct fill *fill, const char *bytes, size_t length) WARN_UNUSED;

/* It is whole: from now on found, in place of what was there under the same key and vary. */
void fill_finish(struct fill *fill);
void fill_abort(struct fill *fill); /* it will not be: readers are told with STORE_FAILED */

unsigned fill_references(const struct fill *fill); /* as of now */
struct fill *fill_get(struct fill *fill);
void fill_put(struct fill *fill); /* the last one frees; one without an end was aborted */

/* Does not change: `length` is UINT64_MAX when fill_new() was not told it. */
const struct stored *fill_stored(const struct fill *fill);
/* As store_read; STORE_LATER: the writer is not there yet.  *length 0 with STORE_READY: the end. */
enum store_result fill_read(struct fill *fill, uint64_t offset, struct piece *piece);
bool fill_wait(struct fill *fill, uint64_t offset, struct store_waiter *waiter);

/* A validated object gets another head and meta (RFC 9111 4.3.4); the body stays.  0, or -errno:
 * the old one stays as it is. */
int store_refresh(struct store *store, struct stored *stored, struct text head,
	const struct cache_meta *meta) WARN_UNUSED;

/* --- removal ---------------------------------------------------------------------------- */

/* All variants under this key.  How many there were. */
size_t store_remove(struct store *store, struct text key);
void store_remove_one(struct store *store, struct stored *stored);

/* Removes all objects of which `matches` says so; walks everything in the store's thread, then
 * calls on_done from there with the number.  -ENOMEM, or -EBUSY: one is under way. */
int store_purge(struct store *store, bool (*matches)(void *arg, const struct stored *stored),
	void (*on_done)(void *arg, size_t removed), void *arg) WARN_UNUSED;

/* --- counts ----------------------------------------------------------------------------- */

struct store_counts {
	uint64_t objects, bytes, size;     /* now: bytes in segments that hold something */
	uint64_t stored, evicted, removed; /* objects, since the start */
	uint64_t carried;                  /* objects that went on to another segment */
	uint64_t refused;                  /* fill_new/fill_append without room */
	uint64_t corrupt;                  /* records that were not what was written */
	uint64_t disk_errors;
	uint64_t index_bytes; /* of memory beside the segments */
	bool disk;            /* false: memory only, by configuration or after an error */
	bool loading;         /* still reading what is on disk */
};
void store_count(struct store *store, struct store_counts *counts);
