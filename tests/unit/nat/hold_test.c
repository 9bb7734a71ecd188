/*
 * hold_test.c - which destinations are held while plans change.
 */
#include "helpers.h"

#include "nat/hold.h"

/* Partners of two networks that are close to each other, and one of a single address. */
static struct plan *pairs_plan(unsigned n, const char *egress)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	struct plan *plan;

	fprintf(out, "[partner bank]\ncidr = 192.0.2.1\negress-ip = %s\n", egress);
	for (unsigned i = 0; i < n; i++)
		fprintf(out,
			"[partner p%1$u]\ncidr = 64.%2$u.%3$u.0/28, 64.%2$u.%3$u.32/28\n"
			"egress-ip = %4$s\n",
			i, i >> 8, i & 255, egress);
	fclose(out);
	plan = plan_of(text, &dual_stack);
	free(text);
	return plan;
}

static struct plan_set held(unsigned n)
{
	struct plan *from = pairs_plan(n, "203.0.113.10"), *to = pairs_plan(n, "203.0.113.11");
	struct plan_set out = {.key = PLAN_KEY_IPV4};
	struct state state;

	assert_true(state_of_plan(&state, from));
	assert_true(hold_collect(&out, to, &state));
	state_fini(&state);
	plan_free(from);
	plan_free(to);
	return out;
}

static bool holds(const struct plan_set *set, const char *text)
{
	struct addr addr = addr_of(text);

	for (size_t i = 0; i < set->n_ranges; i++)
		if (memcmp(&addr, &set->ranges[i].first, sizeof(addr)) >= 0 &&
			memcmp(&addr, &set->ranges[i].last, sizeof(addr)) <= 0)
			return true;
	return false;
}

static void few_are_held_as_they_are(void **state)
{
	struct plan_set set = held(2);

	(void)state;
	assert_int_equal(set.n_ranges, 5);
	assert_true(holds(&set, "192.0.2.1"));
	assert_true(holds(&set, "64.0.1.47"));
	assert_false(holds(&set, "64.0.1.16"));
	free(set.ranges);
}

/* 1023 pairs, and the one that stands alone. */
static void of_many_those_that_are_closest_are_held_together(void **state)
{
	struct plan_set set = held(1023);

	(void)state;
	assert_int_equal(set.n_ranges, HOLD_MOST);
	assert_true(holds(&set, "192.0.2.1"));
	for (unsigned i = 0; i < 1023; i++) {
		assert_int_equal(set.ranges[i].first.bytes[15], 0);
		assert_int_equal(set.ranges[i].last.bytes[15], 47);
	}
	assert_false(holds(&set, "64.0.1.48"));
	assert_false(holds(&set, "192.0.2.0"));
	free(set.ranges);
}

static void equal_gaps_do_not_become_one_range(void **state)
{
	struct plan_set set = held(5000);

	(void)state;
	assert_int_equal(set.n_ranges, HOLD_MOST);
	for (unsigned i = 0; i < 5000; i += 100) {
		char text[ADDR_TEXT];

		snprintf(text, sizeof(text), "64.%u.%u.40", i >> 8, i & 255);
		assert_true(holds(&set, text));
	}
	assert_false(holds(&set, "65.0.0.0"));
	assert_false(holds(&set, "192.0.2.0"));
	free(set.ranges);
}

static void of_a_part_only_what_changes_is_held(void **state)
{
	char *texts[] = {many_networks_acl(0), many_networks_acl(1)};
	struct plan *from = plan_of(texts[0], &dual_stack), *to = plan_of(texts[1], &dual_stack);
	struct plan_set set = {.key = PLAN_KEY_IPV4};
	struct state now;

	(void)state;
	assert_true(state_of_plan(&now, from));
	assert_true(hold_collect(&set, to, &now));
	assert_int_equal(set.n_ranges, 2);
	assert_true(holds(&set, "198.51.100.1"));
	assert_true(holds(&set, "198.51.100.5"));
	free(set.ranges);
	state_fini(&now);
	plan_free(from);
	plan_free(to);
	free(texts[0]);
	free(texts[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_are_held_as_they_are),
		cmocka_unit_test(of_many_those_that_are_closest_are_held_together),
		cmocka_unit_test(equal_gaps_do_not_become_one_range),
		cmocka_unit_test(of_a_part_only_what_changes_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
