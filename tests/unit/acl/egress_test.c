#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "acl/egress.h"

static struct addr address(const char *text)
{
	struct addr addr;

	assert_true(addr_parse(&addr, text_of(text)));
	return addr;
}

/* Sixteen of each version, 9.0.0.0-9.0.0.15 and 2001:db8::0-2001:db8::f, taking turns. */
static struct addr list[2 * EGRESS_MAX];

static int fill(void **state)
{
	char text[ADDR_TEXT];

	(void)state;
	for (unsigned i = 0; i < EGRESS_MAX; i++) {
		snprintf(text, sizeof(text), "9.0.0.%u", i);
		list[2 * i] = address(text);
		snprintf(text, sizeof(text), "2001:db8::%x", i);
		list[2 * i + 1] = address(text);
	}
	return 0;
}

/* What Linux counts for `ip saddr SOURCE jhash ip saddr mod 16 seed 0x65677265 PLACE`. */
static void a_source_has_the_place_that_nftables_gives_it(void **state)
{
	static const struct {
		const char *source, *v4, *v6;
	} cases[] = {
		{"10.42.0.11", "9.0.0.9", "2001:db8::9"},
		{"fd42::11", "9.0.0.1", "2001:db8::1"},
	};
	struct addr like4 = address("1.1.1.1"), like6 = address("2001:db8::99");
	char text[ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct addr source = address(cases[i].source);

		for (uint32_t random = 0; random < 5; random++) {
			const struct addr *v4 = egress_choose(
				list, COUNT_OF(list), SPREAD_SOURCE, &like4, &source, random << 30);
			const struct addr *v6 = egress_choose(
				list, COUNT_OF(list), SPREAD_SOURCE, &like6, &source, random << 30);

			assert_string_equal(addr_print(v4, text), cases[i].v4);
			assert_string_equal(addr_print(v6, text), cases[i].v6);
		}
	}
}

static void many_sources_share_the_addresses_evenly(void **state)
{
	struct addr like = address("1.1.1.1"), source = address("10.42.0.0");
	unsigned counts[EGRESS_MAX] = {0};

	(void)state;
	for (unsigned i = 0; i < 16000; i++) {
		const struct addr *chosen;

		source.bytes[14] = (uint8_t)(i >> 8);
		source.bytes[15] = (uint8_t)i;
		chosen = egress_choose(list, COUNT_OF(list), SPREAD_SOURCE, &like, &source, 0);
		counts[chosen->bytes[15]]++;
	}
	for (size_t i = 0; i < EGRESS_MAX; i++)
		assert_in_range(counts[i], 850, 1150);
}

static void a_connection_gets_the_one_its_number_falls_on(void **state)
{
	struct addr like = address("2001:db8::99"), source = address("10.42.0.11");
	char text[ADDR_TEXT];

	(void)state;
	assert_string_equal(addr_print(egress_choose(list, COUNT_OF(list), SPREAD_CONNECTION, &like,
					       &source, 0),
				    text),
		"2001:db8::");
	assert_string_equal(addr_print(egress_choose(list, COUNT_OF(list), SPREAD_CONNECTION, &like,
					       &source, 0x7fffffff),
				    text),
		"2001:db8::7");
	assert_string_equal(addr_print(egress_choose(list, COUNT_OF(list), SPREAD_CONNECTION, &like,
					       &source, 0xffffffff),
				    text),
		"2001:db8::f");
}

static void no_other_version_stands_in(void **state)
{
	struct addr two[] = {address("9.0.0.1"), address("9.0.0.2")};
	struct addr like4 = address("1.1.1.1"), like6 = address("::1");

	(void)state;
	assert_null(egress_choose(two, 2, SPREAD_CONNECTION, &like6, &like4, 5));
	assert_null(egress_choose(two, 2, SPREAD_SOURCE, &like6, &like6, 5));
	assert_null(egress_choose(NULL, 0, SPREAD_SOURCE, &like4, &like4, 5));
	assert_ptr_equal(egress_choose(two, 1, SPREAD_SOURCE, &like4, &like6, ~0u), &two[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_source_has_the_place_that_nftables_gives_it),
		cmocka_unit_test(many_sources_share_the_addresses_evenly),
		cmocka_unit_test(a_connection_gets_the_one_its_number_falls_on),
		cmocka_unit_test(no_other_version_stands_in),
	};

	return cmocka_run_group_tests(tests, fill, NULL);
}
