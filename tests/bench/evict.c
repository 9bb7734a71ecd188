/*
 * evict.c - what the cache's store keeps, and costs.
 *
 *   evict ratios            hit ratios on a Zipf(0.9) trace with scans, beside LRU and the optimum
 *   evict speed             puts and finds a second, one thread; memory for the index of a million
 *   evict reopen FILE GIB BODY   fills a file of that size with bodies of BODY bytes, and times how
 *                                soon they are found again
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cache/store.h"

#define MIB (UINT64_C(1) << 20)
#define OBJECTS 200000
#define REQUESTS 3000000
#define BODY 700
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds of processor that this thread has used: the machine may be busy otherwise. */
static double used(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "evict: %s\n", what);
	exit(1);
}

/* ---- the store ---- */

static struct store *open_store(int fd, uint64_t size, bool disk)
{
	struct store_options options = {
		.fd = fd, .size = size, .disk = disk, .max_object = size / 4};
	struct error e;
	struct store *store;

	if (fd < 0 || ftruncate(fd, (off_t)size))
		die(strerror(errno));
	store = store_new(&options, &e);
	if (!store)
		die(e.text);
	return store;
}

static struct text key_of(uint64_t number, char out[48])
{
	int n = snprintf(
		out, 48, "http://origin.example/packages/%09llu", (unsigned long long)number);

	return (struct text){out, (size_t)n};
}

/* Waits for room, as many times as that has to be. */
static void put(struct store *store, uint64_t number, const char *body, size_t length)
{
	const struct cache_meta meta = {.status = 200};
	char key[48];

	for (;;) {
		struct fill *fill = fill_new(store, key_of(number, key), TEXT(""), TEXT(""),
			TEXT(HEAD), &meta, (int64_t)length);

		if (fill && fill_append(fill, body, length) == 0) {
			fill_finish(fill);
			fill_put(fill);
			return;
		}
		fill_put(fill);
		sched_yield();
	}
}

static bool find(struct store *store, uint64_t number)
{
	char key[48];
	bool later;
	struct stored *stored = store_find(store, key_of(number, key), NULL, NULL, &later);

	store_put(stored);
	return stored != NULL;
}

/* ---- the trace ---- */

static uint64_t random_state = 42;

static double random_unit(void)
{
	uint64_t x = random_state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (double)((x ^ x >> 31) >> 11) / 9007199254740992.0;
}

/* Zipf(0.9) over OBJECTS; every 100,000 requests a scan of `scan` objects that are asked for once.
 */
static uint32_t *make_trace(uint32_t scan, uint32_t *n_objects)
{
	double *sums = malloc(OBJECTS * sizeof(*sums)), sum = 0;
	uint32_t *trace = malloc(REQUESTS * sizeof(*trace)), once = OBJECTS;

	if (!sums || !trace)
		die("out of memory");
	for (int i = 0; i < OBJECTS; i++)
		sums[i] = sum += pow(i + 1, -0.9);
	for (uint32_t i = 0; i < REQUESTS; i++) {
		double wanted = random_unit() * sum;
		uint32_t low = 0, high = OBJECTS - 1;

		while (low < high) {
			uint32_t middle = (low + high) / 2;

			if (sums[middle] < wanted)
				low = middle + 1;
			else
				high = middle;
		}
		trace[i] = i % 100000 < scan ? once++ : low;
	}
	free(sums);
	*n_objects = once;
	return trace;
}

/* ---- LRU, and Belady's optimum: who is asked for the latest leaves ---- */

/* A heap of objects, the largest `when` on top. */
struct heap {
	uint32_t *objects, *place, n;
	int64_t *when;
};

static void heap_set(struct heap *h, uint32_t i, uint32_t object)
{
	h->objects[i] = object;
	h->place[object] = i + 1;
}

static void heap_up(struct heap *h, uint32_t i, uint32_t object)
{
	for (; i > 0 && h->when[h->objects[(i - 1) / 2]] < h->when[object]; i = (i - 1) / 2)
		heap_set(h, i, h->objects[(i - 1) / 2]);
	heap_set(h, i, object);
}

static void heap_down(struct heap *h, uint32_t i, uint32_t object)
{
	for (uint32_t child; (child = i * 2 + 1) < h->n; i = child) {
		if (child + 1 < h->n && h->when[h->objects[child + 1]] > h->when[h->objects[child]])
			child++;
		if (h->when[h->objects[child]] <= h->when[object])
			break;
		heap_set(h, i, h->objects[child]);
	}
	heap_set(h, i, object);
}

static void heap_pop(struct heap *h)
{
	uint32_t last = h->objects[h->n - 1];

	h->place[h->objects[0]] = 0;
	if (--h->n)
		heap_down(h, 0, last);
}

/* `when` of a request: -its time for LRU, the object's next time for the optimum. */
static double simulate(
	const uint32_t *trace, const int64_t *when, uint32_t n_objects, uint32_t room)
{
	struct heap h = {.objects = malloc(room * sizeof(uint32_t)),
		.place = calloc(n_objects, sizeof(uint32_t)),
		.when = calloc(n_objects, sizeof(int64_t))};
	uint64_t hits = 0;

	if (!h.objects || !h.place || !h.when)
		die("out of memory");
	for (uint32_t i = 0; i < REQUESTS; i++) {
		uint32_t object = trace[i];
		int64_t before = h.when[object];

		h.when[object] = when[i];
		if (h.place[object]) {
			hits++;
			if (when[i] > before)
				heap_up(&h, h.place[object] - 1, object);
			else
				heap_down(&h, h.place[object] - 1, object);
			continue;
		}
		if (h.n == room)
			heap_pop(&h);
		h.n++;
		heap_up(&h, h.n - 1, object);
	}
	free(h.objects);
	free(h.place);
	free(h.when);
	return (double)hits / REQUESTS;
}

static double simulate_lru(const uint32_t *trace, uint32_t n_objects, uint32_t room)
{
	int64_t *when = malloc(REQUESTS * sizeof(*when));
	double ratio;

	for (int64_t i = 0; i < REQUESTS; i++)
		when[i] = -i;
	ratio = simulate(trace, when, n_objects, room);
	free(when);
	return ratio;
}

static double simulate_optimum(const uint32_t *trace, uint32_t n_objects, uint32_t room)
{
	int64_t *when = malloc(REQUESTS * sizeof(*when));
	uint32_t *next = malloc(n_objects * sizeof(*next));
	double ratio;

	memset(next, 0xff, n_objects * sizeof(*next));
	for (uint32_t i = REQUESTS; i-- > 0;) {
		when[i] = next[trace[i]];
		next[trace[i]] = i;
	}
	ratio = simulate(trace, when, n_objects, room);
	free(when);
	free(next);
	return ratio;
}

/* ---- commands ---- */

static double replay(struct store *store, const uint32_t *trace)
{
	static const char body[BODY];
	uint64_t hits = 0;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		if (find(store, trace[i]))
			hits++;
		else
			put(store, trace[i], body, BODY);
	}
	return (double)hits / REQUESTS;
}

/* Bytes that one object takes in a segment. */
static uint64_t object_bytes(void)
{
	static const char body[BODY];
	struct store *store = open_store(memfd_create("cache", MFD_CLOEXEC), 64 * MIB, false);
	struct store_counts counts;

	for (uint64_t i = 0; i < 200000; i++)
		put(store, i, body, BODY);
	store_count(store, &counts);
	store_free(store);
	return counts.bytes / counts.objects;
}

static void print_ratios(uint64_t size, uint32_t scan, uint64_t each)
{
	struct store *store = open_store(memfd_create("cache", MFD_CLOEXEC), size, false);
	uint32_t n_objects, *trace = make_trace(scan, &n_objects);
	double ratio = replay(store, trace);
	uint32_t room = (uint32_t)(size / each);

	printf("%4llu MiB (%6u objects), scans of %5u: store %.4f  LRU %.4f  optimum %.4f\n",
		(unsigned long long)(size / MIB), room, scan, ratio,
		simulate_lru(trace, n_objects, room), simulate_optimum(trace, n_objects, room));
	store_free(store);
	free(trace);
}

static void ratios(void)
{
	uint64_t each = object_bytes();

	printf("Zipf(0.9) over %d objects of %llu bytes, %d requests\n", OBJECTS,
		(unsigned long long)each, REQUESTS);
	for (uint64_t size = 16 * MIB; size <= 64 * MIB; size *= 2) {
		print_ratios(size, 0, each);
		print_ratios(size, 20000, each);
	}
}

static void speed(void)
{
	struct store *store = open_store(memfd_create("cache", MFD_CLOEXEC), 2048 * MIB, false);
	static const char body[BODY];
	struct store_counts counts;
	double begin = used(), found = 0;

	for (uint64_t i = 0; i < 1000000; i++)
		put(store, i, body, BODY);
	printf("put:  %.0f objects/s of processor\n", 1e6 / (used() - begin));
	begin = used();
	for (uint64_t i = 0; i < 3000000; i++)
		found += find(store, i * 7919 % 1000000);
	printf("find: %.0f objects/s of processor (%.0f%% found)\n", 3e6 / (used() - begin),
		found / 3e4);
	store_count(store, &counts);
	printf("index: %.1f bytes an object\n",
		(double)counts.index_bytes / (double)counts.objects);
	store_free(store);
}

static void reopen(const char *path, uint64_t gib, size_t body_length)
{
	char *body = calloc(1, body_length);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t size = gib << 30, n = size / (body_length + 300) * 9 / 10;
	struct store *store = open_store(dup(fd), size, true);
	struct store_counts counts;
	double begin;

	for (uint64_t i = 0; i < n; i++)
		put(store, i, body, body_length);
	store_free(store);
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	begin = now();
	store = open_store(dup(fd), size, true);
	do {
		sched_yield();
		store_count(store, &counts);
	} while (!counts.objects);
	printf("reopen, %llu GiB of %zu byte bodies: first object %.3f s", (unsigned long long)gib,
		body_length, now() - begin);
	do {
		sched_yield();
		store_count(store, &counts);
	} while (counts.loading);
	printf(", all %llu %.3f s\n", (unsigned long long)counts.objects, now() - begin);
	store_free(store);
	close(fd);
	unlink(path);
	free(body);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "ratios") == 0)
		ratios();
	else if (argc == 2 && strcmp(argv[1], "speed") == 0)
		speed();
	else if (argc == 5 && strcmp(argv[1], "reopen") == 0)
		reopen(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
	else
		die("want: ratios, speed, or reopen FILE GIB BODY-BYTES");
	return 0;
}
