#include "acl/limits.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define S UINT64_C(1000000000)
#define NOBODY ((struct text){NULL, 0})

static struct section partner(uint64_t rate_ns, uint32_t burst, enum rate_per per)
{
	return (struct section){
		.name = "p", .rate_ns = rate_ns, .rate_burst = burst, .rate_per = per};
}

static struct addr client(uint32_t n)
{
	struct addr a = {{0}};

	memcpy(a.bytes + 8, &n, sizeof(n));
	return a;
}

static bool take(struct limits *l, const struct section *s, uint32_t who, uint64_t now)
{
	struct addr a = client(who);

	return limits_take(l, s, &a, NOBODY, now, NULL);
}

static uint32_t left(struct limits *l, const struct section *s, uint32_t who, uint64_t now)
{
	struct addr a = client(who);
	struct limit state;

	limits_look(l, s, &a, NOBODY, now, &state);
	return state.left;
}

static void five_pass_at_once_the_sixth_waits_and_one_more_passes_every_six_seconds(void **state)
{
	struct limits *l = limits_new(8);
	struct section s = partner(6 * S, 5, RATE_PER_PARTNER); /* 10/1m, burst 5 */
	struct addr a = client(1);
	struct limit limit;

	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		assert_true(limits_take(l, &s, &a, NOBODY, 100 * S, &limit));
		assert_int_equal(limit.left, 4 - i);
	}
	assert_false(limits_take(l, &s, &a, NOBODY, 100 * S, &limit));
	assert_int_equal(limit.left, 0);
	assert_int_equal(limit_retry_seconds(&limit), 6);
	for (uint64_t i = 1; i < 100; i++) {
		assert_false(limits_take(l, &s, &a, NOBODY, (100 + 6 * i) * S - 1, &limit));
		assert_int_equal(limit.retry_ns, 1);
		assert_int_equal(limit_retry_seconds(&limit), 1);
		assert_true(limits_take(l, &s, &a, NOBODY, (100 + 6 * i) * S, &limit));
		assert_false(limits_take(l, &s, &a, NOBODY, (100 + 6 * i) * S, NULL));
	}
	limits_free(l);
}

static void a_look_takes_nothing_and_says_the_same(void **state)
{
	struct limits *l = limits_new(8);
	struct section s = partner(6 * S, 2, RATE_PER_PARTNER);
	struct addr a = client(1);
	struct limit looked, taken;

	(void)state;
	assert_int_equal(left(l, &s, 1, S), 2);
	for (int i = 0; i < 3; i++) {
		limits_take(l, &s, &a, NOBODY, S, &taken);
		limits_look(l, &s, &a, NOBODY, S, &looked);
		assert_int_equal(looked.left, taken.left);
		assert_int_equal(looked.retry_ns, taken.retry_ns);
	}
	limits_free(l);
}

static void without_a_rate_everything_passes(void **state)
{
	struct limits *l = limits_new(1);
	struct section s = partner(0, 0, RATE_PER_SOURCE);
	struct limit limit;
	struct addr a = client(1);

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_true(limits_take(l, &s, &a, NOBODY, 0, &limit));
	assert_int_equal(limit.left, UINT32_MAX);
	assert_int_equal(limit.retry_ns, 0);
	limits_free(l);
}

/* Bursts, pauses and steady traffic of a day: never more than burst + rate * time. */
static void a_day_of_traffic_never_passes_more_than_its_rate(void **state)
{
	struct limits *l = limits_new(8);
	struct section s = partner(864 * S / 1000, 50, RATE_PER_PARTNER); /* 100,000 a day */
	uint64_t now = 0, passed = 0, random = 1;

	(void)state;
	while (now < 86400 * S) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		now += (random >> 33) % (random >> 60 ? 300000000 : 60 * S);
		passed += take(l, &s, 1, now);
		assert_true(passed <= 50 + now / s.rate_ns);
		assert_true(left(l, &s, 1, now) <= 50);
	}
	assert_true(passed > 40000);
	limits_free(l);
}

static void a_busy_bucket_passes_exactly_its_rate(void **state)
{
	struct limits *l = limits_new(8);
	struct section s = partner(S / 3, 7, RATE_PER_PARTNER);
	uint64_t passed = 0;

	(void)state;
	for (uint64_t ms = 0; ms < 3600 * 1000; ms += 50)
		passed += take(l, &s, 1, S + ms * 1000000);
	assert_in_range(passed, 3600 * 3 + 6, 3600 * 3 + 7);
	limits_free(l);
}

static void buckets_are_per_partner_per_source_or_per_source_and_host(void **state)
{
	static const struct {
		enum rate_per per;
		bool other_source, other_host;
	} rows[] = {
		{RATE_PER_PARTNER, false, false},
		{RATE_PER_SOURCE, true, false},
		{RATE_PER_SOURCE_HOST, true, true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct limits *l = limits_new(8);
		struct section s = partner(S, 1, rows[i].per), other = s;
		struct addr a = client(1), b = client(2);

		other.name = "q";
		assert_true(limits_take(l, &s, &a, TEXT("x"), 0, NULL));
		assert_false(limits_take(l, &s, &a, TEXT("x"), 0, NULL));
		assert_int_equal(limits_take(l, &s, &b, TEXT("x"), 0, NULL), rows[i].other_source);
		assert_int_equal(limits_take(l, &s, &a, TEXT("y"), 0, NULL), rows[i].other_host);
		assert_true(limits_take(l, &other, &a, TEXT("x"), 0, NULL));
		limits_free(l);
	}
}

static void tokens_that_were_missing_are_missing_after_a_reload(void **state)
{
	struct limits *l = limits_new(8);
	struct section old = partner(6 * S, 10, RATE_PER_PARTNER);
	struct section slower = partner(60 * S, 10, RATE_PER_PARTNER);
	struct section smaller = partner(6 * S, 2, RATE_PER_PARTNER);
	struct section larger = partner(S, 20, RATE_PER_PARTNER);

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_true(take(l, &old, 1, 0));
	assert_int_equal(left(l, &old, 1, 0), 6);
	assert_int_equal(left(l, &slower, 1, 0), 6);
	assert_int_equal(left(l, &larger, 1, 0), 16);
	assert_int_equal(left(l, &smaller, 1, 0), 0);
	assert_true(take(l, &slower, 1, 0));
	assert_int_equal(left(l, &slower, 1, 60 * S - 1), 5);
	assert_int_equal(left(l, &slower, 1, 60 * S), 6);
	limits_free(l);
}

static void after_a_reload_retry_is_true(void **state)
{
	struct section old = partner(60 * S, 10, RATE_PER_PARTNER);
	const struct section new[] = {partner(6 * S, 2, RATE_PER_PARTNER),
		partner(60 * S, 2, RATE_PER_PARTNER), partner(600 * S, 1, RATE_PER_PARTNER)};
	struct addr a = client(1);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(new); i++) {
		struct limits *l = limits_new(8);
		struct limit limit;

		for (int k = 0; k < 5; k++)
			assert_true(take(l, &old, 1, S));
		assert_false(limits_take(l, &new[i], &a, NOBODY, S, &limit));
		assert_int_equal(limit.retry_ns, new[i].rate_ns);
		assert_false(take(l, &new[i], 1, S + limit.retry_ns - 1));
		assert_true(take(l, &new[i], 1, S + limit.retry_ns));
		limits_free(l);
	}
}

static void an_emptied_bucket_is_never_emptier_than_its_new_burst(void **state)
{
	struct limits *l = limits_new(8);
	struct section old = partner(3600 * S, 100, RATE_PER_PARTNER);
	struct section new = partner(S, 5, RATE_PER_PARTNER);
	struct addr a = client(1);
	struct limit limit;

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_true(take(l, &old, 1, 0));
	limits_look(l, &new, &a, NOBODY, 0, &limit);
	assert_int_equal(limit.retry_ns, S);
	limits_free(l);
}

static void a_full_table_forgets_full_buckets_first(void **state)
{
	struct limits *l = limits_new(3);
	struct section s = partner(S, 2, RATE_PER_SOURCE);
	struct section slow = partner(100 * S, 1, RATE_PER_SOURCE);

	(void)state;
	slow.name = "slow";
	assert_true(take(l, &slow, 1, 0)); /* least recently used, but not full */
	assert_true(take(l, &s, 2, 0));    /* full again at 1 s */
	assert_true(take(l, &slow, 3, 0));
	assert_true(take(l, &slow, 4, S));
	assert_false(take(l, &slow, 1, S));
	assert_false(take(l, &slow, 3, S));
	assert_false(take(l, &slow, 4, S));
	limits_free(l);
}

static void without_a_full_bucket_the_least_recently_used_leaves(void **state)
{
	struct limits *l = limits_new(3);
	struct section s = partner(100 * S, 1, RATE_PER_SOURCE);

	(void)state;
	assert_true(take(l, &s, 1, 0));
	assert_true(take(l, &s, 2, 1));
	assert_true(take(l, &s, 3, 2));
	assert_false(take(l, &s, 1, 3));
	assert_true(take(l, &s, 4, 4)); /* 2 leaves */
	assert_int_equal(left(l, &s, 1, 5), 0);
	assert_int_equal(left(l, &s, 2, 5), 1);
	assert_int_equal(left(l, &s, 3, 5), 0);
	assert_int_equal(left(l, &s, 4, 5), 0);
	assert_true(take(l, &s, 5, 6)); /* 3 leaves, 1 was used since */
	assert_int_equal(left(l, &s, 1, 7), 0);
	assert_true(take(l, &s, 6, 8)); /* 1 leaves */
	assert_int_equal(left(l, &s, 1, 9), 1);
	limits_free(l);
}

/* More would be a leak, less would forget early; shards fill unevenly, so not quite `max`. */
static void never_keeps_more_than_max_buckets(void **state)
{
	static const struct {
		size_t max, least;
	} rows[] = {{1, 1}, {2, 2}, {100, 100}, {4095, 4095}, {65536, 63000}};
	struct section s = partner(1000 * S, 1, RATE_PER_SOURCE);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct limits *l = limits_new(rows[i].max);
		size_t kept = 0;
		uint32_t n = (uint32_t)rows[i].max * 2;

		for (uint32_t who = 0; who < n; who++)
			assert_true(take(l, &s, who, who));
		for (uint32_t who = 0; who < n; who++)
			kept += left(l, &s, who, n) == 0;
		assert_in_range(kept, rows[i].least, rows[i].max);
		limits_free(l);
	}
}

static void the_ends_of_the_clock_and_of_the_rate_are_no_traps(void **state)
{
	static const uint64_t ends[] = {0, 1, S, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX};
	struct addr a = client(1);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ends); i++)
		for (size_t j = 1; j < COUNT_OF(ends); j++)
			for (size_t k = 0; k < COUNT_OF(ends); k++) {
				struct limits *l = limits_new(1);
				struct section s = partner(ends[j], UINT32_MAX, RATE_PER_PARTNER);
				struct section one = partner(ends[j], 1, RATE_PER_PARTNER);
				struct section next = partner(ends[k] | 1, 3, RATE_PER_PARTNER);
				struct limit limit;

				assert_true(limits_take(l, &one, &a, NOBODY, ends[i], &limit));
				assert_int_equal(limit.left, 0);
				assert_true(limit.retry_ns > 0 && limit.retry_ns <= ends[j]);
				limits_take(l, &next, &a, NOBODY, ends[i], &limit);
				assert_true(limit.left <= 3);
				limits_take(l, &s, &a, NOBODY, ends[k], &limit);
				assert_true(limit_retry_seconds(&limit) <= UINT64_MAX / S + 1);
				limits_free(l);
			}
}

static void a_clock_of_another_thread_that_is_behind_gives_nothing_away(void **state)
{
	struct limits *l = limits_new(1);
	struct section s = partner(6 * S, 2, RATE_PER_PARTNER);

	(void)state;
	assert_true(take(l, &s, 1, 100 * S));
	assert_true(take(l, &s, 1, 100 * S));
	assert_false(take(l, &s, 1, 90 * S));
	assert_false(take(l, &s, 1, 0));
	assert_false(take(l, &s, 1, 106 * S - 1));
	assert_true(take(l, &s, 1, 106 * S));
	limits_free(l);
}

struct taker {
	struct limits *limits;
	pthread_t thread;
	unsigned shared, own;
	uint32_t number;
};

static void *take_many(void *arg)
{
	struct taker *t = arg;
	struct section s = partner(UINT64_MAX / 4000, 1000, RATE_PER_PARTNER);
	struct section own = partner(1000 * S, 1, RATE_PER_SOURCE);

	own.name = "own";
	for (uint32_t i = 0; i < 5000; i++) {
		t->shared += take(t->limits, &s, t->number, i);
		t->own += take(t->limits, &own, t->number << 16 | i, i);
	}
	return NULL;
}

static void two_threads_share_one_bucket_to_the_token(void **state)
{
	struct limits *l = limits_new(65536);
	struct taker takers[] = {{.limits = l, .number = 1}, {.limits = l, .number = 2}};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(takers); i++)
		assert_int_equal(pthread_create(&takers[i].thread, NULL, take_many, &takers[i]), 0);
	for (size_t i = 0; i < COUNT_OF(takers); i++)
		pthread_join(takers[i].thread, NULL);
	assert_int_equal(takers[0].shared + takers[1].shared, 1000);
	assert_int_equal(takers[0].own, 5000);
	assert_int_equal(takers[1].own, 5000);
	limits_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			five_pass_at_once_the_sixth_waits_and_one_more_passes_every_six_seconds),
		cmocka_unit_test(a_look_takes_nothing_and_says_the_same),
		cmocka_unit_test(without_a_rate_everything_passes),
		cmocka_unit_test(a_day_of_traffic_never_passes_more_than_its_rate),
		cmocka_unit_test(a_busy_bucket_passes_exactly_its_rate),
		cmocka_unit_test(buckets_are_per_partner_per_source_or_per_source_and_host),
		cmocka_unit_test(tokens_that_were_missing_are_missing_after_a_reload),
		cmocka_unit_test(after_a_reload_retry_is_true),
		cmocka_unit_test(an_emptied_bucket_is_never_emptier_than_its_new_burst),
		cmocka_unit_test(a_full_table_forgets_full_buckets_first),
		cmocka_unit_test(without_a_full_bucket_the_least_recently_used_leaves),
		cmocka_unit_test(never_keeps_more_than_max_buckets),
		cmocka_unit_test(the_ends_of_the_clock_and_of_the_rate_are_no_traps),
		cmocka_unit_test(a_clock_of_another_thread_that_is_behind_gives_nothing_away),
		cmocka_unit_test(two_threads_share_one_bucket_to_the_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
