/* Bodies of which some bytes are there: united, never taken for whole. */
#include "tests/unit/daemon/cache/store_keys.h"

#include <sys/syscall.h>

#define TOTAL UINT64_C(100000)

/* The bytes of body `seed` from `first` to before `end`.  NULL: no room. */
static struct fill *begin_range(struct store *store, const char *key, uint64_t seed,
	const char *validator, uint64_t first, uint64_t end, uint64_t total,
	const struct stored *base)
{
	struct fill_range range = {first, end - first, text_of(validator), base};
	struct cache_meta meta;
	char head[128];

	world_head(head, sizeof(head), seed, total);
	world_meta(&meta, seed);
	return fill_new_range(
		store, text_of(key), TEXT(""), TEXT(""), text_of(head), &meta, total, &range);
}

static void end_range(struct fill *fill, uint64_t seed, uint64_t first, uint64_t end)
{
	assert_int_equal(world_append(fill, seed, first, end), 0);
	fill_finish(fill);
	fill_put(fill);
}

static void put_range(struct store *store, const char *key, uint64_t seed, const char *validator,
	uint64_t first, uint64_t end)
{
	struct stored *base = world_find(store, key);
	struct fill *fill;

	WAIT_UNTIL((fill = begin_range(store, key, seed, validator, first, end, TOTAL, base)));
	store_put(base);
	end_range(fill, seed, first, end);
}

/* Is exactly that there, and are its bytes right? */
static void holds(struct store *store, const char *key, uint64_t seed, uint64_t first, uint64_t end)
{
	struct stored *stored = world_find(store, key);
	struct piece piece;

	assert_non_null(stored);
	assert_int_equal(stored->length, TOTAL);
	assert_int_equal(stored->meta.response_time, seed);
	assert_int_equal(store_is_whole(stored), first == 0 && end == TOTAL);
	assert_true(store_holds(stored, first, end - 1));
	assert_true(store_holds(stored, first, first));
	assert_true(store_holds(stored, end - 1, end - 1));
	if (first > 0) {
		assert_false(store_holds(stored, first - 1, end - 1));
		assert_false(store_holds(stored, first - 1, first - 1));
		assert_int_equal(world_read(stored, first - 1, &piece), STORE_FAILED);
	}
	if (end < TOTAL) {
		assert_false(store_holds(stored, first, end));
		assert_false(store_holds(stored, end, end));
		assert_int_equal(world_read(stored, end, &piece), STORE_FAILED);
	}
	for (uint64_t at = first; at < end; at += piece.length) {
		assert_int_equal(world_read(stored, at, &piece), STORE_READY);
		assert_true(piece.length >= 1 && piece.length <= end - at);
		assert_true(body_is(piece.at, seed, at, piece.length));
	}
	store_put(stored);
}

static void a_range_is_found_with_what_it_has(void **state)
{
	struct store *store = world_memory(SMALLEST);

	(void)state;
	put_range(store, "k", 1, "\"a\"", 1000, 70000);
	holds(store, "k", 1, 1000, 70000);
	put_range(store, "l", 2, "\"a\"", 0, 1);
	holds(store, "l", 2, 0, 1);
	put_range(store, "m", 3, "\"a\"", 0, TOTAL);
	holds(store, "m", 3, 0, TOTAL);
	store_free(store);
}

static void its_client_reads_it_while_it_comes(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct fill *fill = begin_range(store, "k", 1, "\"a\"", 1000, 3000, TOTAL, NULL);
	struct piece piece;
	uint64_t first, end;

	(void)state;
	assert_true(fill_is_range(fill, &first, &end));
	assert_true(first == 1000 && end == 3000);
	assert_int_equal(fill_stored(fill)->length, TOTAL);
	assert_int_equal(fill_read(fill, 1000, &piece), STORE_LATER);
	assert_int_equal(world_append(fill, 1, 1000, 2000), 0);
	assert_int_equal(fill_read(fill, 1500, &piece), STORE_READY);
	assert_int_equal(piece.length, 500);
	assert_true(body_is(piece.at, 1, 1500, 500));
	assert_int_equal(fill_read(fill, 2000, &piece), STORE_LATER);
	assert_int_equal(fill_read(fill, 999, &piece), STORE_FAILED);
	assert_null(world_find(store, "k"));
	assert_int_equal(world_append(fill, 1, 2000, 3001), -EFBIG);
	fill_abort(fill);
	fill_put(fill);
	fill = begin_range(store, "k", 1, "\"a\"", 1000, 3000, TOTAL, NULL);
	assert_int_equal(world_append(fill, 1, 1000, 2999), 0);
	fill_finish(fill); /* cut short */
	fill_put(fill);
	assert_null(world_find(store, "k"));
	assert_null(begin_range(store, "k", 1, "\"a\"", 0, 10, SMALLEST / 4 + 1, NULL));
	store_free(store);
}

static void ranges_of_the_same_body_are_united(void **state)
{
	static const struct {
		uint64_t first[3], end[3], is_first, is_end;
	} cases[] = {
		{{0, 1000, 2000}, {1000, 2000, 3000}, 0, 3000},  /* one behind the other */
		{{2000, 1000, 0}, {3000, 2000, 1000}, 0, 3000},  /* one before the other */
		{{0, 2000, 1000}, {1000, 3000, 2000}, 0, 3000},  /* the hole last */
		{{10, 500, 900}, {600, 1000, 40000}, 10, 40000}, /* they overlap */
		{{900, 500, 10}, {40000, 1000, 600}, 10, 40000},
		{{0, 100, 200}, {50000, 200, 300}, 0, 50000}, /* one has it already */
		{{100, 200, 0}, {200, 300, 50000}, 0, 50000}, /* one has all the others */
		{{0, 99999, 50000}, {50000, 100000, 99999}, 0,
			TOTAL}, /* the last one makes it whole */
		{{0, 60000, 30000}, {50000, 100000, 80000}, 0, TOTAL},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct store *store = world_memory(SMALLEST);

		for (int j = 0; j < 3; j++)
			put_range(store, "k", 1, "\"a\"", cases[i].first[j], cases[i].end[j]);
		holds(store, "k", 1, cases[i].is_first, cases[i].is_end);
		assert_int_equal(world_counts(store).objects, 1);
		store_free(store);
	}
}

static void ranges_that_come_at_once_are_united(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct fill *fills[4];

	(void)state;
	for (uint64_t i = 0; i < 4; i++)
		fills[i] = begin_range(
			store, "k", 1, "\"a\"", i * 25000, (i + 1) * 25000, TOTAL, NULL);
	for (uint64_t i = 4; i-- > 0;)
		end_range(fills[i], 1, i * 25000, (i + 1) * 25000);
	holds(store, "k", 1, 0, TOTAL);
	store_free(store);
}

static void what_lies_between_two_ranges_is_missing(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct stored *stored;
	struct piece piece;

	(void)state;
	put_range(store, "k", 1, "\"a\"", 0, 1000);
	put_range(store, "k", 1, "\"a\"", 5000, 6000);
	stored = world_find(store, "k");
	assert_true(store_holds(stored, 0, 999) && store_holds(stored, 5000, 5999));
	assert_false(store_is_whole(stored) || store_holds(stored, 999, 5000) ||
		     store_holds(stored, 1000, 1000) || store_holds(stored, 4999, 4999));
	assert_int_equal(world_read(stored, 3000, &piece), STORE_FAILED);
	assert_int_equal(world_read(stored, 999, &piece), STORE_READY);
	assert_int_equal(piece.length, 1);
	store_put(stored);
	store_free(store);
}

static void another_body_takes_its_place(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct fill *fill;

	(void)state;
	put_range(store, "k", 1, "\"a\"", 0, 1000);
	WAIT_UNTIL((fill = begin_range(store, "k", 2, "\"b\"", 1000, 2000, TOTAL, NULL)));
	end_range(fill, 2, 1000, 2000);
	holds(store, "k", 2, 1000, 2000);
	/* the same validator, but of a body of another length */
	WAIT_UNTIL((fill = begin_range(store, "k", 3, "\"b\"", 2000, 3000, TOTAL + 1, NULL)));
	end_range(fill, 3, 2000, 3000);
	WAIT_UNTIL((fill = begin_range(store, "k", 4, "\"b\"", 3000, 4000, TOTAL, NULL)));
	end_range(fill, 4, 3000, 4000);
	assert_int_equal(world_counts(store).objects, 1);
	store_free(store);
}

static void a_whole_one_takes_its_place_whichever_began_first(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct fill *whole = world_begin(store, "k", "", 1, TOTAL, true), *part;

	(void)state;
	put_range(store, "k", 1, "\"a\"", 0, 1000);
	assert_int_equal(world_append(whole, 1, 0, TOTAL), 0);
	fill_finish(whole);
	fill_put(whole);
	holds(store, "k", 1, 0, TOTAL);
	WAIT_UNTIL((part = begin_range(store, "k", 2, "\"a\"", 0, 1000, TOTAL, NULL)));
	end_range(part, 2, 0, 1000);
	holds(store, "k", 1, 0, TOTAL);
	assert_int_equal(world_check(store, "k"), 1);
	store_free(store);
}

static void what_was_removed_meanwhile_is_not_united(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct fill *before, *after;

	(void)state;
	put_range(store, "k", 1, "\"a\"", 0, 1000);
	before = begin_range(store, "k", 1, "\"a\"", 1000, 2000, TOTAL, NULL);
	store_remove(store, TEXT("k"));
	after = begin_range(store, "k", 1, "\"a\"", 2000, 3000, TOTAL, NULL);
	end_range(after, 1, 2000, 3000);
	end_range(before, 1, 1000, 2000);
	put_range(store, "k", 1, "\"a\"", 3000, 4000);
	holds(store, "k", 1, 2000, 4000);
	store_free(store);
}

static void a_refreshed_one_keeps_what_it_has(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct stored *stored;
	struct cache_meta meta;
	char head[128];

	(void)state;
	put_range(store, "k", 1, "\"a\"", 500, 60000);
	stored = world_find(store, "k");
	world_head(head, sizeof(head), 1, TOTAL);
	world_meta(&meta, 1);
	assert_int_equal(store_refresh(store, stored, text_of(head), &meta), 0);
	store_put(stored);
	holds(store, "k", 1, 500, 60000);
	put_range(store, "k", 1, "\"a\"", 60000, TOTAL);
	holds(store, "k", 1, 500, TOTAL);
	store_free(store);
}

static void very_many_small_ranges_are_not_all_kept(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct stored *stored;
	int n = 0;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		put_range(store, "k", 1, "\"a\"", i * 2, i * 2 + 1);
	assert_int_equal(world_counts(store).objects, 1);
	stored = world_find(store, "k");
	for (uint64_t i = 0; i < 1000; i++)
		n += store_holds(stored, i * 2, i * 2);
	assert_true(n > 0 && n < 100);
	store_put(stored);
	put_range(store, "k", 1, "\"a\"", 0, TOTAL);
	holds(store, "k", 1, 0, TOTAL);
	store_free(store);
}

static void they_are_found_again_after_a_restart(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);

	(void)state;
	put_range(store, "k", 1, "\"a\"", 10000, 40000);
	put_range(store, "k", 1, "\"a\"", 30000, 80000);
	put_range(store, "gone", 2, "\"a\"", 0, 5000);
	store_remove(store, TEXT("gone"));
	store_free(store);
	store = world_disk(fd, SMALLEST);
	holds(store, "k", 1, 10000, 80000);
	assert_null(world_find(store, "gone"));
	put_range(store, "k", 1, "\"a\"", 80000, TOTAL);
	put_range(store, "k", 1, "\"a\"", 0, 10000);
	put_range(store, "gone", 2, "\"a\"", 5000, 6000);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	holds(store, "k", 1, 0, TOTAL);
	holds(store, "gone", 2, 5000, 6000);
	assert_int_equal(world_counts(store).corrupt, 0);
	store_free(store);
	close(fd);
}

/* What a slow client has left behind is in the file alone by then. */
static void one_that_comes_slowly_outlives_its_segment_going_to_disk(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);
	struct fill *fill = begin_range(store, "k", 1, "\"a\"", 50000, 90000, TOTAL, NULL);
	struct piece piece;

	(void)state;
	assert_int_equal(world_append(fill, 1, 50000, 70000), 0);
	for (uint64_t i = 0; i < 100; i++)
		world_put(store, key_of(i), i, 30000);
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	for (uint64_t at = 50000; at < 70000; at += piece.length) {
		assert_int_equal(world_read_fill(fill, at, &piece), STORE_READY);
		assert_true(piece.length > 0 && body_is(piece.at, 1, at, piece.length));
	}
	end_range(fill, 1, 70000, 90000);
	holds(store, "k", 1, 50000, 90000);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	holds(store, "k", 1, 50000, 90000);
	store_free(store);
	close(fd);
}

static void those_that_are_asked_for_outlast_others(void **state)
{
	struct store *store = world_memory(SMALLEST);

	(void)state;
	put_range(store, "k", 1, "\"a\"", 10000, 40000);
	put_range(store, "k", 1, "\"a\"", 30000, 80000);
	for (uint64_t i = 0; i < 2000; i++) {
		world_put(store, key_of(i), i, 30000);
		holds(store, "k", 1, 10000, 80000);
	}
	put_range(store, "k", 1, "\"a\"", 80000, 90000);
	holds(store, "k", 1, 10000, 90000);
	assert_true(world_counts(store).carried > 0);
	store_free(store);
}

/* ---- at random ---- */

#define MANY 40

struct known {
	uint64_t seed;
	bool has[100]; /* each stands for a hundredth of the body */
};

static void random_put(
	struct store *store, struct random *random, uint64_t key, struct known *known)
{
	uint64_t first = random_below(random, 100),
		 end = first + 1 + random_below(random, 100 - first);
	struct stored *base = world_find(store, key_of(key));
	char validator[32];
	struct fill *fill;

	if (!known->seed || random_below(random, 30) == 0)
		*known = (struct known){.seed = random_below(random, 1u << 30) + 1};
	if (base && base->meta.response_time != (int64_t)known->seed) {
		store_remove_one(store, base);
		store_put(base);
		base = NULL;
	}
	snprintf(validator, sizeof(validator), "\"%llu\"", (unsigned long long)known->seed);
	WAIT_UNTIL((fill = begin_range(store, key_of(key), known->seed, validator, first * 1000,
			    end * 1000, TOTAL, base)));
	store_put(base);
	if (world_append(fill, known->seed, first * 1000, end * 1000) == 0) {
		fill_finish(fill);
		for (uint64_t i = first; i < end; i++)
			known->has[i] = true;
	}
	fill_put(fill);
}

/* What it has was once put, and is right.  How many bytes. */
static uint64_t random_check(struct store *store, uint64_t key, const struct known *known)
{
	struct stored *stored = world_find(store, key_of(key));
	struct piece piece;
	uint64_t held = 0;

	for (uint64_t i = 0; stored && i < 100; i++) {
		if (!store_holds(stored, i * 1000, i * 1000 + 999))
			continue;
		assert_true(known->has[i]);
		held += 1000;
		for (uint64_t at = i * 1000; at < i * 1000 + 1000; at += piece.length) {
			assert_int_equal(world_read(stored, at, &piece), STORE_READY);
			if (piece.length > i * 1000 + 1000 - at)
				piece.length = i * 1000 + 1000 - at;
			assert_true(body_is(piece.at, known->seed, at, piece.length));
		}
	}
	store_put(stored);
	return held;
}

static void random_ranges(bool disk)
{
	struct random random = {disk};
	struct known known[MANY] = {0};
	int fd = disk ? world_file(SMALLEST) : -1;
	struct store *store = disk ? world_disk(fd, SMALLEST) : world_memory(SMALLEST);
	uint64_t held = 0;

	for (uint64_t i = 0; i < 4000; i++) {
		uint64_t key = random_below(&random, MANY);

		if (random_below(&random, 4) == 0)
			world_put(store, key_of(1000 + i), i, 50000);
		else if (random_below(&random, 2))
			random_put(store, &random, key, &known[key]);
		else
			held += random_check(store, key, &known[key]);
		if (random_below(&random, 50) == 0) {
			store_remove(store, text_of(key_of(key)));
			known[key] = (struct known){.seed = known[key].seed};
		}
		if (disk && random_below(&random, 400) == 0) {
			store_free(store);
			store = world_disk(fd, SMALLEST);
		}
	}
	assert_true(held > 10 * TOTAL);
	assert_true(world_counts(store).evicted + world_counts(store).carried > 0);
	assert_int_equal(world_counts(store).corrupt, 0);
	store_free(store);
	if (disk)
		close(fd);
}

static void at_random_in_memory_what_is_held_is_right(void **state)
{
	(void)state;
	random_ranges(false);
}

static void at_random_on_disk_what_is_held_is_right(void **state)
{
	(void)state;
	random_ranges(true);
}

/* ---- threads ---- */

static atomic_bool forgetful;

/* In place of libc's: of what is in memory some is said not to be, so that it is waited for. */
int mincore(void *at, size_t length, unsigned char *pages)
{
	static __thread struct random random;
	int error = (int)syscall(SYS_mincore, at, length, pages);

	if (!error && atomic_load(&forgetful) && random_below(&random, 100) < 30)
		memset(pages, 0, (length + 4095) / 4096);
	return error;
}

struct member {
	struct store *store;
	struct random random;
	uint64_t checked;
	pthread_t thread;
};

static void member_put(struct member *member, uint64_t key)
{
	uint64_t first = random_below(&member->random, TOTAL);
	uint64_t end = first + 1 + random_below(&member->random, TOTAL - first);
	struct stored *base =
		random_below(&member->random, 2) ? world_find(member->store, key_of(key)) : NULL;
	struct fill *fill =
		begin_range(member->store, key_of(key), key, "\"a\"", first, end, TOTAL, base);

	store_put(base);
	if (!fill)
		return;
	if (world_append(fill, key, first, end) == 0)
		fill_finish(fill);
	fill_put(fill);
}

static void member_check(struct member *member, uint64_t key)
{
	struct stored *stored = world_find(member->store, key_of(key));
	uint64_t at = random_below(&member->random, TOTAL);
	struct piece piece;

	if (stored && store_holds(stored, at, at) &&
		world_read(stored, at, &piece) == STORE_READY) {
		assert_true(body_is(piece.at, key, at, piece.length));
		member->checked += piece.length;
	}
	store_put(stored);
}

static void *member_run(void *arg)
{
	struct member *member = arg;

	for (int i = 0; i < 3000; i++) {
		uint64_t key = 1 + random_below(&member->random, 6);
		uint64_t what = random_below(&member->random, 100);

		if (what < 40)
			member_put(member, key);
		else if (what < 80)
			member_check(member, key);
		else if (what < 98)
			world_try_put(member->store,
				key_of(1000 + random_below(&member->random, 300)), "", 1, 30000,
				true);
		else
			store_remove(member->store, text_of(key_of(key)));
	}
	return NULL;
}

static void run_members(struct store *store)
{
	struct member members[3];
	uint64_t checked = 0;

	for (uint64_t i = 0; i < COUNT_OF(members); i++) {
		members[i] = (struct member){.store = store, .random = {i * 77}};
		assert_int_equal(
			pthread_create(&members[i].thread, NULL, member_run, &members[i]), 0);
	}
	for (size_t i = 0; i < COUNT_OF(members); i++) {
		pthread_join(members[i].thread, NULL);
		checked += members[i].checked;
	}
	assert_true(checked > 0);
	assert_int_equal(world_counts(store).corrupt, 0);
}

static void threads_never_see_a_wrong_byte(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_memory(SMALLEST);

	(void)state;
	run_members(store);
	store_free(store);
	for (int i = 0; i < 4; i++) {
		atomic_store(&forgetful, i % 2);
		store = world_disk(fd, SMALLEST);
		run_members(store);
		store_free(store);
	}
	atomic_store(&forgetful, false);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_range_is_found_with_what_it_has),
		cmocka_unit_test(its_client_reads_it_while_it_comes),
		cmocka_unit_test(ranges_of_the_same_body_are_united),
		cmocka_unit_test(ranges_that_come_at_once_are_united),
		cmocka_unit_test(what_lies_between_two_ranges_is_missing),
		cmocka_unit_test(another_body_takes_its_place),
		cmocka_unit_test(a_whole_one_takes_its_place_whichever_began_first),
		cmocka_unit_test(what_was_removed_meanwhile_is_not_united),
		cmocka_unit_test(a_refreshed_one_keeps_what_it_has),
		cmocka_unit_test(very_many_small_ranges_are_not_all_kept),
		cmocka_unit_test(they_are_found_again_after_a_restart),
		cmocka_unit_test(one_that_comes_slowly_outlives_its_segment_going_to_disk),
		cmocka_unit_test(those_that_are_asked_for_outlast_others),
		cmocka_unit_test(at_random_in_memory_what_is_held_is_right),
		cmocka_unit_test(at_random_on_disk_what_is_held_is_right),
		cmocka_unit_test(threads_never_see_a_wrong_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
