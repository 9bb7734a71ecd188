#include "daemon/datapath/released.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct released released;

static struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_true(addr_parse(&addr, text_of(text)));
	return addr;
}

static int tear_down(void **state)
{
	(void)state;
	released_fini(&released);
	return 0;
}

static void a_name_is_released_until_it_is_removed(void **state)
{
	const struct addr a = addr_of("192.0.2.1"), b = addr_of("2001:db8::1");

	(void)state;
	assert_false(released_has(&released, &a));
	assert_int_equal(released_add(&released, &a), 0);
	assert_int_equal(released_add(&released, &a), 0);
	assert_true(released_has(&released, &a));
	assert_false(released_has(&released, &b));
	released_remove(&released, &a);
	assert_false(released_has(&released, &a));
	assert_int_equal(released_add(&released, &a), 0);
	released_set_all(&released, true);
	assert_true(released_has(&released, &b));
	released_set_all(&released, false);
	assert_false(released_has(&released, &a));
}

static void what_is_new_waits_and_what_is_known_does_not(void **state)
{
	const struct addr all[] = {addr_of("192.0.2.1"), addr_of("192.0.2.2")};
	double until = 0;

	(void)state;
	assert_true(released_waits(&released, &all[0]));
	assert_false(released_next(&released, &until));
	assert_int_equal(released_follow(&released, all, 1, 5), 1);
	assert_true(released_waits(&released, &all[0]));
	released_decide(&released, &all[0], 15);
	assert_false(released_next(&released, &until));
	assert_int_equal(released_follow(&released, all, 2, 7), 1);
	assert_false(released_waits(&released, &all[0]));
	assert_true(released_waits(&released, &all[1]));
	assert_true(released_next(&released, &until));
	assert_true(until == 7);
}

static void who_waits_longest_is_next(void **state)
{
	const struct addr all[] = {
		addr_of("192.0.2.1"), addr_of("192.0.2.2"), addr_of("192.0.2.3")};
	double until = 0;

	(void)state;
	assert_int_equal(released_follow(&released, &all[1], 1, 3), 1);
	assert_int_equal(released_follow(&released, all, 3, 4), 2);
	assert_true(released_next(&released, &until));
	assert_true(until == 3);
	released_decide(&released, &all[1], 0);
	assert_true(released_next(&released, &until));
	assert_true(until == 4);
}

static void a_newcomer_is_one_for_its_time(void **state)
{
	const struct addr a = addr_of("192.0.2.1");

	(void)state;
	assert_int_equal(released_follow(&released, &a, 1, 5), 1);
	assert_false(released_is_newcomer(&released, &a, 4));
	released_decide(&released, &a, 15);
	assert_true(released_is_newcomer(&released, &a, 14));
	assert_false(released_is_newcomer(&released, &a, 15));
}

static void what_was_forgotten_is_new_again(void **state)
{
	const struct addr a = addr_of("192.0.2.1");

	(void)state;
	assert_int_equal(released_follow(&released, &a, 1, 5), 1);
	released_decide(&released, &a, 15);
	assert_int_equal(released_follow(&released, NULL, 0, 6), 0);
	assert_true(released_waits(&released, &a));
	assert_int_equal(released_follow(&released, &a, 1, 7), 1);
	assert_true(released_waits(&released, &a));
}

static void a_copy_is_its_own(void **state)
{
	const struct addr all[] = {addr_of("192.0.2.1"), addr_of("192.0.2.2")};
	struct released copy;

	(void)state;
	assert_int_equal(released_add(&released, &all[0]), 0);
	assert_int_equal(released_follow(&released, all, 2, 5), 2);
	released_decide(&released, &all[1], 9);
	assert_int_equal(released_copy(&released, &copy), 0);
	released_set_all(&released, false);
	released_decide(&released, &all[0], 9);
	assert_true(released_has(&copy, &all[0]));
	assert_true(released_waits(&copy, &all[0]));
	assert_false(released_waits(&copy, &all[1]));
	released_fini(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_name_is_released_until_it_is_removed, tear_down),
		cmocka_unit_test_teardown(what_is_new_waits_and_what_is_known_does_not, tear_down),
		cmocka_unit_test_teardown(who_waits_longest_is_next, tear_down),
		cmocka_unit_test_teardown(a_newcomer_is_one_for_its_time, tear_down),
		cmocka_unit_test_teardown(what_was_forgotten_is_new_again, tear_down),
		cmocka_unit_test_teardown(a_copy_is_its_own, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
