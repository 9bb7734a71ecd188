/* Room that nothing needs any more is used again, in whichever queue it is. */
#include "tests/unit/daemon/cache/store_keys.h"

#define LENGTH 60000 /* four in a segment */

/* Again and again, so that most come back while they are remembered, and enter the main queue. */
static void fill_main_queue(struct store *store, uint64_t n)
{
	for (uint64_t round = 0; round < 4; round++)
		for (uint64_t i = 0; i < n; i++)
			world_put(store, key_of(i), 1 + i + round * n, LENGTH);
}

static uint64_t found(struct store *store, uint64_t from, uint64_t to, uint64_t seed)
{
	uint64_t count = 0;

	for (uint64_t i = from; i < to; i++) {
		uint64_t is = world_check(store, key_of(i));

		assert_true(is == 0 || is == seed + i);
		count += is != 0;
	}
	return count;
}

static bool all(void *arg, const struct stored *stored)
{
	(void)arg;
	(void)stored;
	return true;
}

static void on_done(void *arg, size_t removed)
{
	(void)removed;
	sem_post(arg);
}

static void purge_all(struct store *store)
{
	sem_t done;

	sem_init(&done, 0, 0);
	WAIT_UNTIL(store_purge(store, all, on_done, &done) == 0);
	sem_wait(&done);
	sem_destroy(&done);
}

static void of_what_was_purged(void **state)
{
	struct store *store = world_memory(SMALLEST);

	(void)state;
	fill_main_queue(store, 400);
	purge_all(store);
	for (uint64_t i = 1000; i < 1200; i++)
		world_put(store, key_of(i), i, LENGTH);
	assert_int_equal(found(store, 1000, 1200, 0), 200);
	store_free(store);
}

static void of_what_was_replaced(void **state)
{
	struct store *store = world_memory(SMALLEST);

	(void)state;
	fill_main_queue(store, 400);
	for (uint64_t i = 200; i < 400; i++)
		world_put(store, key_of(i), 10000 + i, LENGTH);
	assert_true(found(store, 200, 400, 10000) > 180);
	store_free(store);
}

/* Here and there something is left, which nobody has asked for. */
static void of_what_is_mostly_gone(void **state)
{
	struct store *store = world_memory(SMALLEST);

	(void)state;
	fill_main_queue(store, 400);
	for (uint64_t i = 0; i < 400; i++)
		if (i % 20)
			store_remove(store, text_of(key_of(i)));
	for (uint64_t i = 1000; i < 1200; i++)
		world_put(store, key_of(i), i, LENGTH);
	assert_true(found(store, 1000, 1200, 0) > 180);
	store_free(store);
}

static void on_disk_too(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);

	(void)state;
	fill_main_queue(store, 400);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	purge_all(store);
	for (uint64_t i = 1000; i < 1200; i++)
		world_put(store, key_of(i), i, LENGTH);
	assert_int_equal(found(store, 1000, 1200, 0), 200);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	assert_int_equal(found(store, 1000, 1200, 0), 200);
	store_free(store);
	close(fd);
}

static void what_is_asked_for_stays_where_most_is_gone(void **state)
{
	struct store *store = world_memory(SMALLEST);

	(void)state;
	fill_main_queue(store, 400);
	for (uint64_t i = 0; i < 400; i++)
		if (i != 399)
			store_remove(store, text_of(key_of(i)));
	for (uint64_t i = 1000; i < 2000; i++) {
		assert_int_equal(world_check(store, key_of(399)), 1 + 399 + 3 * 400);
		world_put(store, key_of(i), i, LENGTH);
	}
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_what_was_purged),
		cmocka_unit_test(of_what_was_replaced),
		cmocka_unit_test(of_what_is_mostly_gone),
		cmocka_unit_test(on_disk_too),
		cmocka_unit_test(what_is_asked_for_stays_where_most_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
