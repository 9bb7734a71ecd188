/*
 * store_world.h - stores to test: in memory or in a file, objects whose bytes follow from their
 * number.
 */
#pragma once

#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cache/store.h"

#define SMALLEST (UINT64_C(16) << 20)

/* A number, to tell which bytes belong there. */
static inline uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

struct random {
	uint64_t state;
};

static inline uint64_t random_below(struct random *random, uint64_t below)
{
	random->state += UINT64_C(0x9e3779b97f4a7c15);
	return mix(random->state) % below;
}

static inline char body_byte(uint64_t seed, uint64_t offset)
{
	return (char)(mix(seed * UINT64_C(1000003) + offset / 8) >> offset % 8 * 8);
}

static inline void body_fill(char *to, uint64_t seed, uint64_t offset, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = body_byte(seed, offset + i);
}

static inline bool body_is(const char *at, uint64_t seed, uint64_t offset, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (at[i] != body_byte(seed, offset + i))
			return false;
	return true;
}

static inline struct store *world_store(int fd, uint64_t size, bool disk)
{
	struct store_options options = {
		.fd = fd, .size = size, .disk = disk, .max_object = size / 4};
	struct error e;
	struct store *store = store_new(&options, &e);

	if (!store)
		fail_msg("%s", e.text);
	return store;
}

static inline struct store *world_memory(uint64_t size)
{
	int fd = memfd_create("cache", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return world_store(fd, size, false);
}

/* Gives other threads the processor, up to ten thousand times. */
static inline void world_pause(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		int tries_ = 0;                                                                    \
		while (!(condition)) {                                                             \
			if (++tries_ > 60000)                                                      \
				fail_msg("never came: %s", #condition);                            \
			world_pause();                                                             \
		}                                                                                  \
	} while (0)

static inline struct store_counts world_counts(struct store *store)
{
	struct store_counts counts;

	store_count(store, &counts);
	return counts;
}

/* A file that has no name any more. */
static inline int world_file(uint64_t size)
{
	char path[] = "/tmp/store_test.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static inline struct store *world_disk(int fd, uint64_t size)
{
	struct store *store = world_store(dup(fd), size, true);

	WAIT_UNTIL(!world_counts(store).loading);
	return store;
}

struct waiting {
	struct store_waiter waiter;
	sem_t rung;
};

static inline void on_ready(struct store_waiter *waiter)
{
	sem_post(&((struct waiting *)waiter)->rung);
}

static inline void waiting_init(struct waiting *waiting)
{
	memset(waiting, 0, sizeof(*waiting));
	waiting->waiter.on_ready = on_ready;
	sem_init(&waiting->rung, 0, 0);
}

static inline void waiting_for(struct waiting *waiting)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	while (sem_timedwait(&waiting->rung, &until))
		if (errno != EINTR)
			fail_msg("nobody was told");
}

/* Finds it, waiting for the disk as long as it takes; NULL: it is not there. */
static inline struct stored *world_find_fit(struct store *store, const char *key,
	bool (*fits)(void *arg, const struct stored *stored), void *arg)
{
	struct waiting waiting;
	struct stored *stored;
	bool later;

	waiting_init(&waiting);
	for (int tries = 0; tries < 1000; tries++) {
		stored = store_find(store, text_of(key), fits, arg, &later);
		if (stored || !later)
			return stored;
		if (store_wait_key(store, text_of(key), &waiting.waiter))
			waiting_for(&waiting);
	}
	fail_msg("never read: %s", key);
	return NULL;
}

static inline struct stored *world_find(struct store *store, const char *key)
{
	return world_find_fit(store, key, NULL, NULL);
}

static inline enum store_result world_read(
	struct stored *stored, uint64_t offset, struct piece *piece)
{
	struct waiting waiting;
	enum store_result result;

	waiting_init(&waiting);
	for (int tries = 0; tries < 1000; tries++) {
		result = store_read(stored, offset, piece);
		if (result != STORE_LATER)
			return result;
		if (store_wait(stored, offset, &waiting.waiter))
			waiting_for(&waiting);
	}
	fail_msg("never read");
	return STORE_FAILED;
}

/* Waits for who writes it, and for the disk. */
static inline enum store_result world_read_fill(
	struct fill *fill, uint64_t offset, struct piece *piece)
{
	struct waiting waiting;
	enum store_result result;

	waiting_init(&waiting);
	while ((result = fill_read(fill, offset, piece)) == STORE_LATER)
		if (fill_wait(fill, offset, &waiting.waiter))
			waiting_for(&waiting);
	return result;
}

/* Reads it to its end.  STORE_FAILED: it could not; a wrong byte fails the test. */
static inline enum store_result world_check_body(struct stored *stored, uint64_t seed)
{
	struct piece piece;

	for (uint64_t offset = 0; offset < stored->length; offset += piece.length) {
		if (world_read(stored, offset, &piece) == STORE_FAILED)
			return STORE_FAILED;
		assert_true(piece.length >= 1 && piece.length <= stored->length - offset);
		if (!body_is(piece.at, seed, offset, piece.length))
			fail_msg("wrong bytes of body %llu at %llu", (unsigned long long)seed,
				(unsigned long long)offset);
	}
	return STORE_READY;
}

/* The seed and length of a body are in its head, so that whatever is found can be checked. */
static inline void world_head(char *out, size_t size, uint64_t seed, uint64_t length)
{
	snprintf(out, size, "HTTP/1.1 200 OK\r\nX-Seed: %llu\r\nX-Length: %llu\r\n\r\n",
		(unsigned long long)seed, (unsigned long long)length);
}

static inline void world_meta(struct cache_meta *meta, uint64_t seed)
{
	*meta = (struct cache_meta){.response_time = (int64_t)seed, .status = 200, .lifetime = 60};
}

/* NULL: no room.  `known`: with its length told. */
static inline struct fill *world_begin(struct store *store, const char *key, const char *vary,
	uint64_t seed, uint64_t length, bool known)
{
	struct cache_meta meta;
	char head[128];

	world_head(head, sizeof(head), seed, length);
	world_meta(&meta, seed);
	return fill_new(store, text_of(key), text_of(vary), TEXT("tag-a tag-b"), text_of(head),
		&meta, known ? (int64_t)length : -1);
}

static inline int world_append(struct fill *fill, uint64_t seed, uint64_t from, uint64_t to)
{
	static __thread char bytes[100000];
	int error = 0;

	while (from < to && !error) {
		size_t n = to - from < sizeof(bytes) ? to - from : sizeof(bytes);

		body_fill(bytes, seed, from, n);
		error = fill_append(fill, bytes, n);
		from += n;
	}
	return error;
}

/* False: there was no room. */
static inline bool world_try_put(struct store *store, const char *key, const char *vary,
	uint64_t seed, uint64_t length, bool known)
{
	struct fill *fill = world_begin(store, key, vary, seed, length, known);
	int error;

	if (!fill)
		return false;
	error = world_append(fill, seed, 0, length);
	if (error)
		fill_abort(fill);
	else
		fill_finish(fill);
	fill_put(fill);
	return !error;
}

/* Waits for room. */
static inline void world_put_as(struct store *store, const char *key, const char *vary,
	uint64_t seed, uint64_t length, bool known)
{
	WAIT_UNTIL(world_try_put(store, key, vary, seed, length, known));
}

static inline void world_put(struct store *store, const char *key, uint64_t seed, uint64_t length)
{
	world_put_as(store, key, "", seed, length, true);
}

/* What is found under a key is what was once written under it; returns its seed, 0: not found, or
 * not readable. */
static inline uint64_t world_check(struct store *store, const char *key)
{
	struct stored *stored = world_find(store, key);
	unsigned long long seed = 0, length = 0;
	enum store_result result;
	char head[200];

	if (!stored)
		return 0;
	assert_true(text_equal(stored->key, text_of(key)));
	assert_true(stored->head.length < sizeof(head));
	memcpy(head, stored->head.at, stored->head.length);
	head[stored->head.length] = 0;
	assert_int_equal(
		sscanf(head, "HTTP/1.1 200 OK X-Seed: %llu X-Length: %llu", &seed, &length), 2);
	assert_int_equal(stored->length, length);
	result = world_check_body(stored, seed);
	store_put(stored);
	return result == STORE_READY ? seed : 0;
}
