#include "tests/unit/daemon/cache/store_world.h"

static void what_was_finished_is_found_and_read_whole(void **state)
{
	static const uint64_t lengths[] = {
		0, 1, 7, 4096, 65535, 65536, 65537, 300000, 1000000, 4194304};
	struct store *store = world_memory(SMALLEST * 2);
	struct cache_meta meta;
	struct stored *stored;
	char key[32], head[128];

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		snprintf(key, sizeof(key), "http://a/%zu", i);
		world_put_as(store, key, "accept=x\n", i + 1, lengths[i], i % 2);
		stored = world_find(store, key);
		assert_non_null(stored);
		world_head(head, sizeof(head), i + 1, lengths[i]);
		world_meta(&meta, i + 1);
		assert_true(text_equal(stored->head, text_of(head)));
		assert_true(text_equal(stored->vary, TEXT("accept=x\n")));
		assert_true(text_equal(stored->tags, TEXT("tag-a tag-b")));
		assert_memory_equal(&stored->meta, &meta, sizeof(meta));
		assert_int_equal(stored->length, lengths[i]);
		assert_int_equal(world_check_body(stored, i + 1), STORE_READY);
		store_put(stored);
	}
	assert_null(world_find(store, "http://a/"));
	assert_int_equal(world_counts(store).objects, 10);
	store_free(store);
}

static void nothing_is_found_before_it_is_finished(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct fill *fill = world_begin(store, "k", "", 1, 1000, true);

	(void)state;
	assert_int_equal(world_append(fill, 1, 0, 1000), 0);
	assert_null(world_find(store, "k"));
	fill_finish(fill);
	assert_int_equal(world_check(store, "k"), 1);
	fill_put(fill);
	assert_int_equal(world_check(store, "k"), 1);
	store_free(store);
}

static void what_was_cut_short_or_aborted_is_not_stored(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct fill *fill = world_begin(store, "k", "", 1, 1000, true);
	struct piece piece;

	(void)state;
	assert_int_equal(world_append(fill, 1, 0, 999), 0);
	fill_finish(fill);
	assert_int_equal(fill_read(fill, 0, &piece), STORE_READY);
	assert_int_equal(piece.length, 999);
	assert_int_equal(fill_read(fill, 999, &piece), STORE_FAILED);
	fill_put(fill);
	fill = world_begin(store, "k", "", 1, 1000, false);
	assert_int_equal(world_append(fill, 1, 0, 1000), 0);
	fill_put(fill);
	assert_null(world_find(store, "k"));
	assert_int_equal(world_counts(store).objects, 0);
	store_free(store);
}

static void more_than_was_announced_or_allowed_is_refused(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct fill *fill = world_begin(store, "k", "", 1, 10, true);

	(void)state;
	assert_int_equal(world_append(fill, 1, 0, 11), -EFBIG);
	assert_int_equal(world_append(fill, 1, 0, 1), -EFBIG);
	fill_abort(fill);
	fill_put(fill);
	assert_null(world_begin(store, "k", "", 1, SMALLEST / 4 + 1, true));
	fill = world_begin(store, "k", "", 1, 0, false);
	assert_int_equal(world_append(fill, 1, 0, SMALLEST / 4), 0);
	assert_int_equal(world_append(fill, 1, 0, 1), -EFBIG);
	fill_put(fill);
	store_free(store);
}

static void a_new_one_takes_the_old_ones_place_while_that_can_still_be_read(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct stored *old;

	(void)state;
	world_put(store, "k", 1, 5000);
	old = world_find(store, "k");
	world_put(store, "k", 2, 6000);
	assert_int_equal(world_check(store, "k"), 2);
	assert_int_equal(world_counts(store).objects, 1);
	for (int i = 0; i < 400; i++) {
		char key[32];

		snprintf(key, sizeof(key), "other %d", i);
		world_put(store, key, 100 + (uint64_t)i, 60000);
	}
	assert_int_equal(world_check_body(old, 1), STORE_READY);
	store_put(old);
	store_free(store);
}

static bool has_vary(void *arg, const struct stored *stored)
{
	return text_equal(stored->vary, text_of(arg));
}

static void variants_live_side_by_side_and_the_oldest_leaves_when_there_are_too_many(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct stored *stored;
	char vary[16];

	(void)state;
	for (uint64_t i = 0; i < 33; i++) {
		snprintf(vary, sizeof(vary), "a=%d\n", (int)i);
		world_put_as(store, "k", vary, i + 1, 100, true);
	}
	assert_int_equal(world_counts(store).objects, 32);
	assert_int_equal(world_check(store, "k"), 33);
	assert_null(world_find_fit(store, "k", has_vary, (char[]){"a=0\n"}));
	for (uint64_t i = 1; i < 33; i++) {
		snprintf(vary, sizeof(vary), "a=%d\n", (int)i);
		stored = world_find_fit(store, "k", has_vary, vary);
		assert_non_null(stored);
		assert_int_equal(world_check_body(stored, i + 1), STORE_READY);
		store_put(stored);
	}
	world_put_as(store, "k", "a=5\n", 77, 100, true);
	assert_int_equal(world_counts(store).objects, 32);
	assert_int_equal(store_remove(store, text_of("k")), 32);
	assert_null(world_find(store, "k"));
	store_free(store);
}

static void a_refreshed_one_has_another_head_and_the_same_body(void **state)
{
	static const uint64_t lengths[] = {0, 100, 60000, 700000};
	struct store *store = world_memory(SMALLEST);
	struct cache_meta meta = {.status = 200, .response_time = 99};
	char key[32];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct stored *old, *now;

		snprintf(key, sizeof(key), "%zu", i);
		world_put(store, key, i + 1, lengths[i]);
		for (int again = 0; again < 3; again++) {
			old = world_find(store, key);
			assert_int_equal(
				store_refresh(store, old, TEXT("HTTP/1.1 200 New\r\n\r\n"), &meta),
				0);
			assert_int_equal(
				store_refresh(store, old, TEXT("HTTP/1.1 200 Late\r\n\r\n"), &meta),
				-ENOENT);
			now = world_find(store, key);
			assert_true(text_equal(now->head, TEXT("HTTP/1.1 200 New\r\n\r\n")));
			assert_true(text_equal(now->key, text_of(key)));
			assert_true(text_equal(now->tags, TEXT("tag-a tag-b")));
			assert_int_equal(now->meta.response_time, 99);
			assert_int_equal(now->length, lengths[i]);
			assert_int_equal(world_check_body(now, i + 1), STORE_READY);
			assert_int_equal(world_check_body(old, i + 1), STORE_READY);
			store_put(now);
			store_put(old);
		}
	}
	assert_int_equal(world_counts(store).objects, 4);
	store_free(store);
}

static void one_that_was_removed_cannot_be_refreshed(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct cache_meta meta = {.status = 200};
	struct stored *stored;

	(void)state;
	world_put(store, "k", 1, 100);
	world_put_as(store, "k", "a=1\n", 2, 100, true);
	stored = world_find(store, "k");
	store_remove_one(store, stored);
	assert_int_equal(
		store_refresh(store, stored, TEXT("HTTP/1.1 200 New\r\n\r\n"), &meta), -ENOENT);
	assert_int_equal(world_check_body(stored, 2), STORE_READY);
	store_put(stored);
	assert_int_equal(world_check(store, "k"), 1);
	assert_int_equal(world_counts(store).removed, 1);
	store_free(store);
}

static bool key_ends_in_7(void *arg, const struct stored *stored)
{
	(void)arg;
	return stored->key.at[stored->key.length - 1] == '7';
}

struct purged {
	sem_t done;
	size_t removed;
};

static void on_done(void *arg, size_t removed)
{
	struct purged *purged = arg;

	purged->removed = removed;
	sem_post(&purged->done);
}

static void a_purge_removes_what_matches_and_nothing_else(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct purged purged;
	char key[32];

	(void)state;
	sem_init(&purged.done, 0, 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		world_put(store, key, (uint64_t)i + 1, 100);
	}
	assert_int_equal(store_purge(store, key_ends_in_7, on_done, &purged), 0);
	sem_wait(&purged.done);
	assert_int_equal(purged.removed, 100);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_int_equal(world_check(store, key), i % 10 == 7 ? 0 : i + 1);
	}
	store_free(store);
}

static void bytes_and_objects_stay_bounded_however_much_is_stored(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct store_counts counts;
	char key[32];

	(void)state;
	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		world_put(store, key, (uint64_t)i + 1, 20000);
	}
	counts = world_counts(store);
	assert_true(counts.bytes <= counts.size);
	assert_true(counts.objects * 20000 <= counts.size);
	assert_true(counts.evicted >= 2000);
	assert_int_equal(counts.stored, 3000);
	assert_int_equal(counts.objects + counts.evicted, 3000);
	assert_int_equal(world_check(store, "2999"), 3000);
	store_free(store);
}

static void what_is_asked_for_again_outlives_a_scan(void **state)
{
	struct store *store = world_memory(SMALLEST);
	char key[32];
	int hot = 0;

	(void)state;
	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "hot %d", i);
		world_put(store, key, (uint64_t)i + 1, 20000);
		assert_int_equal(world_check(store, key), i + 1);
	}
	for (int i = 0; i < 4000; i++) {
		snprintf(key, sizeof(key), "scan %d", i);
		world_put(store, key, 1000 + (uint64_t)i, 20000);
	}
	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "hot %d", i);
		hot += world_check(store, key) != 0;
	}
	assert_true(hot >= 45);
	assert_true(world_counts(store).carried >= 45);
	store_free(store);
}

static void when_all_is_hot_there_is_still_room_for_new_ones(void **state)
{
	struct store *store = world_memory(SMALLEST);
	char key[32];

	(void)state;
	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		world_put(store, key, (uint64_t)i + 1, 20000);
		for (int again = 0; again < 4; again++)
			for (int j = i; j > i - 3 && j >= 0; j--) {
				struct stored *stored;

				snprintf(key, sizeof(key), "%d", j);
				stored = world_find(store, key);
				store_put(stored);
			}
	}
	assert_int_equal(world_check(store, "2999"), 3000);
	store_free(store);
}

static void large_bodies_move_part_by_part_and_stay_whole(void **state)
{
	struct store *store = world_memory(SMALLEST);
	char key[32];

	(void)state;
	world_put(store, "large", 7, 1500000);
	for (int i = 0; i < 2000; i++) {
		struct stored *stored = world_find(store, "large");

		assert_non_null(stored);
		store_put(stored);
		if (i % 250 == 0)
			assert_int_equal(world_check(store, "large"), 7);
		snprintf(key, sizeof(key), "%d", i);
		world_put(store, key, 1000 + (uint64_t)i, 50000);
	}
	assert_int_equal(world_check(store, "large"), 7);
	store_free(store);
}

static void when_everything_is_held_new_ones_are_refused_and_later_not(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct stored *held[1000];
	size_t n = 0;
	char key[32];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		if (world_try_put(store, key, "", (uint64_t)i + 1, 50000, true)) {
			held[n] = world_find(store, key);
			n += held[n] != NULL;
		}
	}
	assert_true(n > 100 && n < 330);
	assert_true(world_counts(store).refused > 0);
	for (size_t i = 0; i < n; i++) {
		uint64_t seed;

		assert_int_equal(sscanf(held[i]->key.at, "%llu", (unsigned long long *)&seed), 1);
		assert_int_equal(world_check_body(held[i], seed + 1), STORE_READY);
		store_put(held[i]);
	}
	world_put(store, "now", 5, 50000);
	assert_int_equal(world_check(store, "now"), 5);
	store_free(store);
}

static bool all(void *arg, const struct stored *stored)
{
	(void)arg;
	(void)stored;
	return true;
}

static void on_purged(void *arg, size_t removed)
{
	(void)removed;
	sem_post(arg);
}

static void what_was_asked_for_before_a_removal_leaves_with_it(void **state)
{
	struct store *store = world_memory(SMALLEST);
	uint32_t before = store_removals(store, TEXT("k"));
	struct fill *fill;
	sem_t done;

	(void)state;
	sem_init(&done, 0, 0);
	for (int i = 0; i < 4; i++) {
		before = store_removals(store, TEXT("k"));
		if (i == 1) /* between the request and its response */
			store_remove(store, TEXT("k"));
		fill = world_begin(store, "k", "", 1, 1000, true);
		fill_asked(fill, before);
		assert_int_equal(world_append(fill, 1, 0, 1000), 0);
		if (i == 2)
			store_remove(store, TEXT("k"));
		if (i == 3) {
			assert_int_equal(store_purge(store, all, on_purged, &done), 0);
			sem_wait(&done);
		}
		fill_finish(fill);
		fill_put(fill);
		if (i == 0)
			assert_int_equal(world_check(store, "k"), 1);
		else
			assert_null(world_find(store, "k"));
	}
	assert_int_equal(world_counts(store).objects, 0);
	sem_destroy(&done);
	store_free(store);
}

static void what_is_too_small_or_too_large_is_refused_with_words(void **state)
{
	struct store_options options = {.fd = -1, .size = SMALLEST - 1, .max_object = 1};
	struct error e;

	(void)state;
	assert_null(store_new(&options, &e));
	assert_non_null(strstr(e.text, "at least 16 MiB"));
	options = (struct store_options){.fd = -1, .size = SMALLEST, .max_object = SMALLEST / 2};
	assert_null(store_new(&options, &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_finished_is_found_and_read_whole),
		cmocka_unit_test(nothing_is_found_before_it_is_finished),
		cmocka_unit_test(what_was_cut_short_or_aborted_is_not_stored),
		cmocka_unit_test(more_than_was_announced_or_allowed_is_refused),
		cmocka_unit_test(a_new_one_takes_the_old_ones_place_while_that_can_still_be_read),
		cmocka_unit_test(
			variants_live_side_by_side_and_the_oldest_leaves_when_there_are_too_many),
		cmocka_unit_test(a_refreshed_one_has_another_head_and_the_same_body),
		cmocka_unit_test(one_that_was_removed_cannot_be_refreshed),
		cmocka_unit_test(a_purge_removes_what_matches_and_nothing_else),
		cmocka_unit_test(bytes_and_objects_stay_bounded_however_much_is_stored),
		cmocka_unit_test(what_is_asked_for_again_outlives_a_scan),
		cmocka_unit_test(when_all_is_hot_there_is_still_room_for_new_ones),
		cmocka_unit_test(large_bodies_move_part_by_part_and_stay_whole),
		cmocka_unit_test(when_everything_is_held_new_ones_are_refused_and_later_not),
		cmocka_unit_test(what_was_asked_for_before_a_removal_leaves_with_it),
		cmocka_unit_test(what_is_too_small_or_too_large_is_refused_with_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
