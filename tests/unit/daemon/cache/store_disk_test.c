#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/daemon/cache/store_keys.h"

static void what_was_stored_is_found_again_after_a_restart(void **state)
{
	int fd = world_file(SMALLEST * 2);
	struct store *store = world_disk(fd, SMALLEST * 2);

	(void)state;
	fill_store(store);
	assert_int_equal(check_store(store), KEYS);
	store_free(store);
	for (int again = 0; again < 3; again++) {
		store = world_disk(fd, SMALLEST * 2);
		assert_int_equal(world_counts(store).objects, KEYS);
		assert_int_equal(check_store(store), KEYS);
		assert_int_equal(world_counts(store).corrupt, 0);
		store_free(store);
	}
	close(fd);
}

static void removed_and_replaced_ones_do_not_come_back(void **state)
{
	int fd = world_file(SMALLEST * 2);
	struct store *store = world_disk(fd, SMALLEST * 2);

	(void)state;
	fill_store(store);
	store_free(store);
	store = world_disk(fd, SMALLEST * 2);
	for (uint64_t i = 1; i <= KEYS; i += 2)
		assert_int_equal(store_remove(store, text_of(key_of(i))), 1);
	world_put(store, key_of(2), 1000, 300);
	world_put(store, key_of(4), 1001, 300);
	store_remove(store, text_of(key_of(4)));
	store_free(store);
	store = world_disk(fd, SMALLEST * 2);
	for (uint64_t i = 1; i <= KEYS; i++)
		assert_int_equal(world_check(store, key_of(i)), i % 2 || i == 4 ? 0
								: i == 2        ? 1000
										: i);
	store_free(store);
	close(fd);
}

static void what_is_removed_while_the_disk_is_still_read_does_not_come_back(void **state)
{
	int fd = world_file(SMALLEST * 2);
	struct store *store = world_disk(fd, SMALLEST * 2);

	(void)state;
	fill_store(store);
	store_free(store);
	store = world_store(dup(fd), SMALLEST * 2, true);
	for (uint64_t i = 1; i <= KEYS; i++)
		store_remove(store, text_of(key_of(i)));
	WAIT_UNTIL(!world_counts(store).loading);
	assert_int_equal(check_store(store), 0);
	store_free(store);
	store = world_disk(fd, SMALLEST * 2);
	assert_int_equal(check_store(store), 0);
	store_free(store);
	close(fd);
}

static void a_refreshed_one_keeps_its_body_over_restarts_and_moves(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);
	struct cache_meta meta = {.status = 200, .response_time = 5};
	char head[128];

	(void)state;
	for (uint64_t i = 1; i <= 8; i++)
		world_put(store, key_of(i), i, length_of(i));
	for (int round = 0; round < 6; round++) {
		for (uint64_t i = 1; i <= 8; i++) {
			struct stored *stored = world_find(store, key_of(i));

			assert_non_null(stored);
			world_head(head, sizeof(head), i, length_of(i));
			meta.response_time = round;
			assert_int_equal(store_refresh(store, stored, text_of(head), &meta), 0);
			store_put(stored);
		}
		for (uint64_t i = 0; i < 60 && round % 2; i++)
			world_put(store, key_of(1000 + i), 1000 + i, 100000);
		if (round != 3) {
			store_free(store);
			store = world_disk(fd, SMALLEST);
		}
		for (uint64_t i = 1; i <= 8; i++) {
			struct stored *stored = world_find(store, key_of(i));

			assert_non_null(stored);
			assert_int_equal(stored->meta.response_time, round);
			store_put(stored);
			assert_int_equal(world_check(store, key_of(i)), i);
		}
	}
	store_free(store);
	close(fd);
}

static void the_file_is_never_outgrown_and_eviction_goes_on_over_restarts(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store;
	struct stat st;

	(void)state;
	for (uint64_t round = 0; round < 4; round++) {
		store = world_disk(fd, SMALLEST);
		for (uint64_t i = 1; i <= 400; i++)
			world_put(store, key_of(i + 400 * round), i, 60000);
		for (uint64_t i = 1; i <= 400; i++) {
			uint64_t seed = world_check(store, key_of(i + 400 * round));

			assert_true(seed == 0 || seed == i);
		}
		assert_true(world_counts(store).objects > 150);
		assert_int_equal(world_counts(store).corrupt, 0);
		assert_true(world_counts(store).disk);
		store_free(store);
	}
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, SMALLEST);
	close(fd);
}

static unsigned headers_in(int fd)
{
	char magic[8];
	unsigned n = 0;

	for (uint64_t at = 4096; at + SEGMENT <= SMALLEST; at += SEGMENT) {
		assert_int_equal(pread(fd, magic, 8, (off_t)at), 8);
		n += memcmp(magic, "egretCS", 8) == 0;
	}
	return n;
}

static void what_was_carried_and_then_removed_does_not_come_back(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);
	uint64_t scanned = 1000;

	(void)state;
	for (uint64_t i = 1; i <= 40; i++) {
		world_put(store, key_of(i), i, 4000);
		assert_int_equal(world_check(store, key_of(i)), i);
	}
	for (; world_counts(store).carried < 40 && scanned < 5000; scanned++)
		world_put(store, key_of(scanned), scanned, 20000);
	assert_int_equal(world_counts(store).carried, 40);
	WAIT_UNTIL(world_counts(store).bytes <= (SEGMENTS - 4) * SEGMENT);
	for (uint64_t i = 1; i <= 40; i++)
		assert_int_equal(store_remove(store, text_of(key_of(i))), 1);
	store_free(store);
	/* Where they were before they were carried. */
	assert_true(headers_in(fd) <= SEGMENTS - 4);
	store = world_disk(fd, SMALLEST);
	assert_int_equal(check_store(store), 0);
	store_free(store);
	close(fd);
}

static void a_killed_process_leaves_nothing_wrong_behind(void **state)
{
	struct random random = {3};
	size_t found = 0;

	(void)state;
	for (int round = 0; round < 12; round++) {
		int fd = world_file(SMALLEST), pipes[2], status;
		struct store *store;
		char ready[1];
		pid_t child;

		assert_int_equal(pipe(pipes), 0);
		child = fork();
		if (child == 0) {
			store = world_disk(fd, SMALLEST);
			for (uint64_t i = 0;; i++) {
				uint64_t number = 1 + i % KEYS;

				world_put_as(store, key_of(number), "", number, length_of(number),
					i % 2);
				if (i == 500 && write(pipes[1], "", 1) != 1)
					_exit(1);
			}
		}
		assert_int_equal(read(pipes[0], ready, 1), 1);
		for (uint64_t n = random_below(&random, 30); n > 0; n--)
			world_pause();
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		store = world_disk(fd, SMALLEST);
		found += check_store(store);
		assert_int_equal(world_counts(store).corrupt, 0);
		world_put(store, "after", 9, 1000);
		assert_int_equal(world_check(store, "after"), 9);
		store_free(store);
		close(fd);
		close(pipes[0]);
		close(pipes[1]);
	}
	assert_true(found > 12 * 50);
}

/* ---- slow ones ---- */

static void a_fill_outlives_its_segment_going_to_disk(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);
	struct fill *slow = world_begin(store, "slow", "", 5, 90000, false);
	struct fill *known = world_begin(store, "known", "", 6, 50000, true);
	struct fill *aborted = world_begin(store, "aborted", "", 7, 50000, true);

	(void)state;
	for (uint64_t i = 0; i < 9; i++) {
		assert_int_equal(world_append(slow, 5, i * 10000, (i + 1) * 10000), 0);
		if (i < 5)
			assert_int_equal(world_append(known, 6, i * 10000, (i + 1) * 10000), 0);
		for (uint64_t j = 0; j < 20; j++)
			world_put(store, key_of(i * 20 + j), j + 1, 30000);
	}
	assert_int_equal(world_append(aborted, 7, 0, 100), 0);
	fill_finish(slow);
	fill_finish(known);
	fill_abort(aborted);
	for (uint64_t offset = 0; offset < 90000;) {
		struct piece piece;

		assert_int_equal(world_read_fill(slow, offset, &piece), STORE_READY);
		assert_true(body_is(piece.at, 5, offset, piece.length));
		offset += piece.length;
	}
	fill_put(slow);
	fill_put(known);
	fill_put(aborted);
	assert_int_equal(world_check(store, "slow"), 5);
	assert_int_equal(world_check(store, "known"), 6);
	assert_null(world_find(store, "aborted"));
	store_free(store);
	store = world_disk(fd, SMALLEST);
	assert_int_equal(world_check(store, "slow"), 5);
	assert_int_equal(world_check(store, "known"), 6);
	assert_null(world_find(store, "aborted"));
	store_free(store);
	close(fd);
}

static void what_the_kernel_has_dropped_is_read_again(void **state)
{
	int fd = world_file(SMALLEST * 2);
	struct store *store = world_disk(fd, SMALLEST * 2);
	struct stored *stored;

	(void)state;
	fill_store(store);
	store_free(store);
	store = world_disk(fd, SMALLEST * 2);
	stored = world_find(store, key_of(7));
	assert_int_equal(world_check_body(stored, 7), STORE_READY);
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	assert_int_equal(world_check_body(stored, 7), STORE_READY);
	store_put(stored);
	assert_int_equal(check_store(store), KEYS);
	store_free(store);
	close(fd);
}

static void waiting_can_be_given_up_at_any_time(void **state)
{
	int fd = world_file(SMALLEST * 2);
	struct store *store = world_disk(fd, SMALLEST * 2);
	struct waiting waiting;
	bool later;

	(void)state;
	fill_store(store);
	store_free(store);
	store = world_disk(fd, SMALLEST * 2);
	for (uint64_t i = 1; i <= KEYS; i++) {
		waiting_init(&waiting);
		assert_null(store_find(store, text_of(key_of(i)), NULL, NULL, &later));
		assert_true(later);
		store_wait_key(store, text_of(key_of(i)), &waiting.waiter);
		store_cancel(store, &waiting.waiter);
		store_cancel(store, &waiting.waiter);
		memset(&waiting, 0xee, sizeof(waiting));
	}
	assert_int_equal(check_store(store), KEYS);
	store_free(store);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_stored_is_found_again_after_a_restart),
		cmocka_unit_test(removed_and_replaced_ones_do_not_come_back),
		cmocka_unit_test(what_is_removed_while_the_disk_is_still_read_does_not_come_back),
		cmocka_unit_test(a_refreshed_one_keeps_its_body_over_restarts_and_moves),
		cmocka_unit_test(the_file_is_never_outgrown_and_eviction_goes_on_over_restarts),
		cmocka_unit_test(what_was_carried_and_then_removed_does_not_come_back),
		cmocka_unit_test(a_killed_process_leaves_nothing_wrong_behind),
		cmocka_unit_test(a_fill_outlives_its_segment_going_to_disk),
		cmocka_unit_test(what_the_kernel_has_dropped_is_read_again),
		cmocka_unit_test(waiting_can_be_given_up_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
