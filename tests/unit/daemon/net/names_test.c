#include "daemon/net/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct name *add(struct names *names, const char *text)
{
	struct name *name = names_add(names, text_of(text));

	assert_non_null(name);
	return name;
}

static void finds_what_was_added(void **state)
{
	struct names names;
	struct name *name;

	(void)state;
	assert_true(names_init(&names, 10));
	assert_null(names_find(&names, TEXT("a.test")));
	name = add(&names, "a.test");
	assert_ptr_equal(names_find(&names, TEXT("a.test")), name);
	assert_null(names_find(&names, TEXT("a.tes")));
	assert_null(names_find(&names, TEXT("a.testt")));
	assert_null(names_find(&names, (struct text){0}));
	names_fini(&names);
}

static void finds_each_of_many(void **state)
{
	struct names names;
	char text[32];

	(void)state;
	assert_true(names_init(&names, 10000));
	for (int i = 0; i < 10000; i++) {
		snprintf(text, sizeof(text), "host-%d.test", i);
		names_keep(&names, add(&names, text));
	}
	for (int i = 0; i < 10000; i++) {
		snprintf(text, sizeof(text), "host-%d.test", i);
		assert_string_equal(names_find(&names, text_of(text))->text, text);
	}
	assert_int_equal(names.n, 10000);
	names_fini(&names);
}

static void the_least_recently_used_leaves(void **state)
{
	struct names names;

	(void)state;
	assert_true(names_init(&names, 2));
	names_keep(&names, add(&names, "a"));
	names_keep(&names, add(&names, "b"));
	assert_non_null(names_find(&names, TEXT("a")));
	names_keep(&names, add(&names, "c"));
	assert_non_null(names_find(&names, TEXT("a")));
	assert_null(names_find(&names, TEXT("b")));
	assert_non_null(names_find(&names, TEXT("c")));
	names_fini(&names);
}

static void a_pinned_name_never_leaves(void **state)
{
	struct names names;

	(void)state;
	assert_true(names_init(&names, 1));
	add(&names, "pinned");
	names_keep(&names, add(&names, "a"));
	names_pin(&names, names_find(&names, TEXT("a")));
	names_keep(&names, add(&names, "b"));
	names_keep(&names, add(&names, "c"));
	assert_non_null(names_find(&names, TEXT("pinned")));
	assert_non_null(names_find(&names, TEXT("a")));
	assert_null(names_find(&names, TEXT("b")));
	assert_int_equal(names.n, 3);
	names_fini(&names);
}

static void nothing_is_kept_where_nothing_may_be(void **state)
{
	struct names names;

	(void)state;
	assert_true(names_init(&names, 0));
	names_keep(&names, add(&names, "a"));
	assert_null(names_find(&names, TEXT("a")));
	assert_int_equal(names.n, 0);
	names_fini(&names);
}

static void what_is_removed_is_gone(void **state)
{
	struct names names;

	(void)state;
	assert_true(names_init(&names, 10));
	names_keep(&names, add(&names, "a"));
	names_keep(&names, add(&names, "b"));
	names_keep(&names, add(&names, "c"));
	names_remove(&names, names_find(&names, TEXT("b")));
	assert_null(names_find(&names, TEXT("b")));
	names_remove(&names, names_find(&names, TEXT("a")));
	names_remove(&names, names_find(&names, TEXT("c")));
	assert_null(names.oldest);
	assert_null(names.newest);
	names_fini(&names);
}

static void addresses_replace_those_of_before(void **state)
{
	static const struct addr addrs[2] = {{{1}}, {{2}}};
	struct names names;
	struct name *name;

	(void)state;
	assert_true(names_init(&names, 10));
	name = add(&names, "a");
	assert_true(name_set_addrs(name, addrs, 2));
	assert_true(name_set_addrs(name, addrs + 1, 1));
	assert_int_equal(name->n_addrs, 1);
	assert_true(addr_equal(&name->addrs[0], &addrs[1]));
	assert_true(name_set_addrs(name, NULL, 0));
	assert_null(name->addrs);
	names_fini(&names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_added),
		cmocka_unit_test(finds_each_of_many),
		cmocka_unit_test(the_least_recently_used_leaves),
		cmocka_unit_test(a_pinned_name_never_leaves),
		cmocka_unit_test(nothing_is_kept_where_nothing_may_be),
		cmocka_unit_test(what_is_removed_is_gone),
		cmocka_unit_test(addresses_replace_those_of_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
