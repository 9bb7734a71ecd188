#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "acl/hostset.h"

static const struct {
	enum hostset_match match;
	const char *name, *pattern;
} patterns[] = {
	{HOSTSET_EXACT, "example.com", "example.com"},
	{HOSTSET_BELOW, "example.com", "*.example.com"},
	{HOSTSET_TREE, "example.com", ".example.com"},
	{HOSTSET_BELOW, "", "*"},
	{HOSTSET_EXACT, "com", "com"},
	{HOSTSET_TREE, "b.example.com", ".b.example.com"},
};

static int setup(void **state)
{
	static struct hostset set;
	struct addr addr;
	uint32_t i;

	*state = &set;
	assert_int_equal(hostset_init(&set), 0);
	for (i = 0; i < COUNT_OF(patterns); i++)
		assert_int_equal(
			hostset_add(&set, patterns[i].match, text_of(patterns[i].name), i), 0);
	assert_true(addr_parse(&addr, TEXT("192.0.2.1")));
	assert_int_equal(hostset_add_address(&set, &addr, 6), 0);
	assert_true(addr_parse(&addr, TEXT("6161:6161:6161:6161:6161:6161:6161:6161")));
	assert_int_equal(hostset_add_address(&set, &addr, 7), 0);
	hostset_trim(&set);
	return 0;
}

static int teardown(void **state)
{
	hostset_fini(*state);
	return 0;
}

/* The sections of some chains as a bit mask. */
static unsigned sections_of(const struct hostset *set, const uint32_t *found, size_t n)
{
	unsigned mask = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		uint32_t link = chain_first(&set->chains, found[i]);

		for (; link; link = chain_next(&set->chains, found[i], link))
			mask |= 1u << set->chains.at[link].section;
	}
	return mask;
}

static unsigned find(const struct hostset *set, const char *name)
{
	uint32_t found[HOSTSET_FOUND];

	return sections_of(set, found, hostset_find(set, text_of(name), found));
}

static void a_name_finds_the_patterns_that_match_it_and_no_other(void **state)
{
	static const struct {
		const char *name;
		unsigned sections;
	} names[] = {
		{"example.com", 1 | 4 | 8},
		{"a.example.com", 2 | 4 | 8},
		{"b.example.com", 2 | 4 | 8 | 32},
		{"c.b.example.com", 2 | 4 | 8 | 32},
		{"com", 8 | 16},
		{"ample.com", 8},
		{"xexample.com", 8},
		{"example.com.evil", 8},
		{"example.org", 8},
		{"aaaaaaaaaaaaaaaa", 8}, /* the bytes of an address */
		{"a..example.com", 2 | 4 | 8},
		{".", 8},
	};
	size_t i;

	for (i = 0; i < COUNT_OF(names); i++) {
		unsigned found = find(*state, names[i].name);

		if (found != names[i].sections)
			fail_msg("%s finds %x", names[i].name, found);
	}
}

static void an_address_finds_itself_and_the_star(void **state)
{
	static const struct {
		const char *addr;
		unsigned sections;
	} addrs[] = {
		{"192.0.2.1", 8 | 64},
		{"::ffff:192.0.2.1", 8 | 64},
		{"192.0.2.2", 8},
		{"6161:6161:6161:6161:6161:6161:6161:6161", 8 | 128},
	};
	uint32_t found[HOSTSET_FOUND];
	struct addr addr;
	size_t i, n;

	for (i = 0; i < COUNT_OF(addrs); i++) {
		assert_true(addr_parse(&addr, text_of(addrs[i].addr)));
		n = hostset_find_address(*state, &addr, found);
		assert_int_equal(sections_of(*state, found, n), addrs[i].sections);
	}
}

static void patterns_are_kept_in_the_order_they_came(void **state)
{
	size_t i;

	for (i = 0; i < COUNT_OF(patterns); i++)
		assert_string_equal(hostset_pattern(*state, (uint32_t)i), patterns[i].pattern);
	assert_string_equal(hostset_pattern(*state, 6), "192.0.2.1");
}

static void a_name_of_127_labels_finds_a_pattern_at_each(void **state)
{
	uint32_t found[HOSTSET_FOUND];
	struct hostset set;
	char name[254];
	uint32_t i;

	(void)state;
	memset(name, '.', sizeof(name));
	for (i = 0; i < 253; i += 2)
		name[i] = 'a';
	assert_int_equal(hostset_init(&set), 0);
	assert_int_equal(hostset_add(&set, HOSTSET_BELOW, TEXT(""), 0), 0);
	for (i = 0; i < 127; i++) {
		struct text tail = {name + 252 - 2 * i, 1 + 2 * i};

		assert_int_equal(hostset_add(&set, HOSTSET_TREE, tail, i), 0);
	}
	assert_int_equal(hostset_find(&set, (struct text){name, 253}, found), 128);
	hostset_fini(&set);
}

static void a_label_is_found_only_below_its_own_parent(void **state)
{
	uint32_t found[HOSTSET_FOUND];
	struct hostset set;
	char name[32];
	uint32_t i;

	(void)state;
	assert_int_equal(hostset_init(&set), 0);
	for (i = 0; i < 4000; i++) {
		snprintf(name, sizeof(name), "%sn%u", i % 2 ? "x." : "", i);
		assert_int_equal(hostset_add(&set, HOSTSET_EXACT, text_of(name), i), 0);
	}
	for (i = 0; i < 4000; i++) {
		snprintf(name, sizeof(name), "x.n%u", i);
		assert_int_equal(hostset_find(&set, text_of(name), found), i % 2);
	}
	hostset_fini(&set);
}

static void a_section_is_once_in_a_chain(void **state)
{
	uint32_t found[HOSTSET_FOUND];
	struct hostset set;

	(void)state;
	assert_int_equal(hostset_init(&set), 0);
	assert_int_equal(hostset_add(&set, HOSTSET_EXACT, TEXT("a"), 7), 0);
	assert_int_equal(hostset_add(&set, HOSTSET_TREE, TEXT("a"), 7), 0);
	assert_int_equal(hostset_add(&set, HOSTSET_EXACT, TEXT("a"), 8), 0);
	assert_int_equal(hostset_find(&set, TEXT("a"), found), 1);
	assert_int_equal(set.chains.n, 1 + 2 + 1); /* none; 7 and 8 of a; 7 below a */
	hostset_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_name_finds_the_patterns_that_match_it_and_no_other, setup, teardown),
		cmocka_unit_test_setup_teardown(
			an_address_finds_itself_and_the_star, setup, teardown),
		cmocka_unit_test_setup_teardown(
			patterns_are_kept_in_the_order_they_came, setup, teardown),
		cmocka_unit_test(a_name_of_127_labels_finds_a_pattern_at_each),
		cmocka_unit_test(a_label_is_found_only_below_its_own_parent),
		cmocka_unit_test(a_section_is_once_in_a_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
