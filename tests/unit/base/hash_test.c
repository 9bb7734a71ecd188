#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define N 1000

static void finds_what_is_in_and_only_that(void **state)
{
	static struct hash_item items[N];
	struct hash hash = {0};

	(void)state;
	assert_null(hash_first(&hash, 1));
	for (size_t i = 0; i < N; i++)
		assert_true(hash_add(&hash, &items[i], i << 40));
	for (size_t i = 0; i < N; i += 2)
		hash_remove(&hash, &items[i]);
	assert_int_equal(hash.n, N / 2);
	for (size_t i = 0; i < N; i++)
		assert_ptr_equal(hash_first(&hash, i << 40), i % 2 ? &items[i] : NULL);
	hash_fini(&hash);
}

static void several_items_have_the_same_key(void **state)
{
	struct hash_item items[3];
	struct hash hash = {0};
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_true(hash_add(&hash, &items[i], i < 2 ? 64 : 0));
	for (struct hash_item *item = hash_first(&hash, 64); item; item = hash_next(item), n++)
		assert_int_equal(item->key, 64);
	assert_int_equal(n, 2);
	hash_fini(&hash);
}

static void remove_one(void *arg, struct hash_item *item)
{
	hash_remove(arg, item);
	item->key = 7;
}

static void a_walk_may_remove_what_it_meets(void **state)
{
	static struct hash_item items[N];
	struct hash hash = {0};

	(void)state;
	for (size_t i = 0; i < N; i++)
		assert_true(hash_add(&hash, &items[i], i % 10));
	hash_each(&hash, remove_one, &hash);
	assert_int_equal(hash.n, 0);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(items[i].key, 7);
	hash_fini(&hash);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_is_in_and_only_that),
		cmocka_unit_test(several_items_have_the_same_key),
		cmocka_unit_test(a_walk_may_remove_what_it_meets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
