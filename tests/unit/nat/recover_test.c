/*
 * recover_test.c - addresses that were learnt, noted in a table and read back.
 */
#include "helpers.h"

#include "nat/recover.h"
#include "nat/table.h"

static const char acl[] = "[partner bank]\nhosts = a.test, b.test\nnat = resolve\n"
			  "egress-ip = 203.0.113.10\n"
			  "[partner Other]\nhosts = c.test\nnat = resolve\n"
			  "egress-ip = 203.0.113.10\n";

static struct policy *policy;
static struct plan *plan;
static char found[1024];

static struct plan *plan_with(const struct plan_learnt *learnt, size_t n)
{
	struct cidr pods[3];
	const struct plan_facts facts = {
		.table = "egret",
		.pods = pods,
		.n_pods = cidrs_of(dual_stack.pods, pods),
		.learnt = learnt,
		.n_learnt = n,
		.mark_mask = 0xff000000,
		.ct_mark_mask = 0xfffff000,
		.prerouting_priority = -90,
		.forward_priority = -10,
		.translate_priority = 90,
		.guard_priority = 150,
	};
	struct plan *made = plan_new(policy, &facts);

	assert_non_null(made);
	return made;
}

static void apply(const struct plan *to)
{
	struct error e = {0};

	if (table_apply(to, NULL, NULL, &e))
		fail_msg("%s", e.text);
	assert_int_equal(table_matches(to, &e), 1);
}

static void print(void *arg, uint32_t section, const struct addr *addr)
{
	char text[ADDR_TEXT];

	(void)arg;
	snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s=%s ",
		section == recover_hash("BANK")    ? "bank"
		: section == recover_hash("other") ? "other"
						   : "?",
		addr_print(addr, text));
}

static void expect(const char *table, const char *wanted)
{
	struct error e = {0};

	found[0] = '\0';
	if (recover_each(table, print, NULL, &e))
		fail_msg("%s", e.text);
	assert_string_equal(found, wanted);
}

static int set_up(void **state)
{
	(void)state;
	enter_new_namespace();
	policy = policy_of(acl, &dual_stack);
	plan = NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	plan_free(plan);
	policy_put(policy);
	return 0;
}

/* One address of two names of a section, and of another section, whose class is the same. */
static void every_address_is_read_back_with_its_section(void **state)
{
	const struct plan_learnt learnt[] = {
		{0, addr_of("198.51.100.7")},
		{0, addr_of("2001:db8::7")},
		{0, addr_of("198.51.100.7")},
		{0, addr_of("198.51.100.8")},
		{1, addr_of("198.51.100.8")},
	};
	struct plan *less = NULL;

	(void)state;
	plan = plan_with(learnt, COUNT_OF(learnt));
	apply(plan);
	expect("egret", recover_hash("bank") < recover_hash("other")
				? "bank=198.51.100.7 bank=198.51.100.8 other=198.51.100.8 "
				  "bank=2001:db8::7 "
				: "other=198.51.100.8 bank=198.51.100.7 bank=198.51.100.8 "
				  "bank=2001:db8::7 ");
	less = plan_with(learnt, 1);
	apply(less);
	expect("egret", "bank=198.51.100.7 ");
	plan_free(less);
	less = plan_with(NULL, 0);
	apply(less);
	expect("egret", "");
	plan_free(less);
}

static void the_printed_plan_has_the_notes(void **state)
{
	const struct plan_learnt learnt[] = {{0, addr_of("198.51.100.7")}};
	char *text;

	(void)state;
	plan = plan_with(learnt, COUNT_OF(learnt));
	text = print_plan(plan);
	assert_int_equal(nft_takes("", text), 0);
	assert_int_equal(table_matches(plan, NULL), 1);
	expect("egret", "bank=198.51.100.7 ");
	free(text);
}

static void a_table_that_is_not_there_or_not_ours_tells_nothing(void **state)
{
	const struct plan_learnt learnt[] = {{0, addr_of("198.51.100.7")}};

	(void)state;
	expect("egret", "");
	plan = plan_with(learnt, COUNT_OF(learnt));
	apply(plan);
	run("nft -s list table inet egret | grep -v comment | sed s/egret/other/ | nft -f -");
	expect("other", "");
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_CASE(every_address_is_read_back_with_its_section),
		TEST_CASE(the_printed_plan_has_the_notes),
		TEST_CASE(a_table_that_is_not_there_or_not_ours_tells_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
