/*
 * Days pass here in no time: the table is told what time it is.
 */
#include "daemon/datapath/learnt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char acl[] = "[partner one]\nhosts = a.test, b.test\n"
			  "[partner two]\nhosts = a.test\n"
			  "[partner three]\nhosts = a.test\n";

static struct learnt *table;
static size_t dropped;

static int set_up(void **state)
{
	(void)state;
	table = learnt_new();
	return table ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	learnt_free(table);
	return 0;
}

/* The policy with `nat = resolve` in the sections whose second letter (n, w, h) is in `resolve`. */
static struct policy *policy_of(const char *text, const char *resolve)
{
	struct files *files = files_new(".");
	struct error e = {""};
	struct policy *policy;

	assert_int_equal(files_put(files, "acl.ini", text_of(text)), 0);
	policy = policy_new(files, "acl.ini", NULL, 0, &e);
	if (!policy)
		fail_msg("%s", e.text);
	files_free(files);
	for (size_t i = 0; i < policy_n_sections(policy); i++) {
		struct section *section = (struct section *)policy_section(policy, i);

		section->resolve = strchr(resolve, section->name[1] | 0x20) != NULL;
	}
	return policy;
}

static struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_true(addr_parse(&addr, text_of(text)));
	return addr;
}

/* `addrs`: "ADDRESS ADDRESS ..." */
static enum learnt_put put_as(const char *section, const char *host, const char *addrs,
	bool partial, double ttl, double now)
{
	char text[1024], *save, *word;
	struct addr list[LEARNT_TOLD];
	struct learnt_answer answer = {.addrs = list, .partial = partial, .ttl = ttl};

	snprintf(text, sizeof(text), "%s", addrs);
	for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		list[answer.n++] = addr_of(word);
	return learnt_put(table, section, host, &answer, now, &dropped);
}

static enum learnt_put put(const char *host, const char *addrs, double ttl, double now)
{
	return put_as("one", host, addrs, false, ttl, now);
}

static char printed[1024];

static void print(
	void *arg, const struct section *section, const char *host, const struct addr *addr)
{
	char text[ADDR_TEXT];

	(void)host;
	if (!arg)
		return;
	snprintf(printed + strlen(printed), sizeof(printed) - strlen(printed), "%s%s=%s",
		printed[0] ? " " : "", section->name, addr_print(addr, text));
}

static void expect_of(const char *text, const char *resolve, const char *want)
{
	struct policy *policy = policy_of(text, resolve);

	printed[0] = '\0';
	learnt_each(table, policy, print, printed);
	assert_string_equal(printed, want);
	policy_put(policy);
}

static void expect(const char *want)
{
	expect_of(acl, "n", want);
}

static void expect_in_all(const char *want)
{
	expect_of(acl, "nwh", want);
}

static void knows_what_it_was_told(void **state)
{
	(void)state;
	expect("");
	assert_int_equal(put("a.test", "192.0.2.1 2001:db8::1", 60, 0), LEARNT_CHANGED);
	assert_int_equal(put("a.test", "2001:db8::1 192.0.2.1", 60, 5), LEARNT_SAME);
	assert_int_equal(put("b.test", "192.0.2.9", 60, 5), LEARNT_CHANGED);
	expect("one=192.0.2.1 one=2001:db8::1 one=192.0.2.9");
	assert_int_equal(learnt_count(table), 3);
}

static void a_host_has_its_addresses_in_every_section_that_names_it(void **state)
{
	(void)state;
	put("a.test", "192.0.2.1", 60, 0);
	put("b.test", "192.0.2.2", 60, 0);
	expect_in_all("one=192.0.2.1 one=192.0.2.2 two=192.0.2.1 three=192.0.2.1");
	assert_int_equal(put_as("two", "a.test", "192.0.2.1", false, 60, 0), LEARNT_SAME);
	assert_int_equal(put_as("two", "a.test", "192.0.2.3", false, 60, 0), LEARNT_CHANGED);
	assert_int_equal(learnt_count(table), 3);
	expect_of(
		acl, "nw", "one=192.0.2.1 one=192.0.2.3 one=192.0.2.2 two=192.0.2.1 two=192.0.2.3");
}

/* An edit may rename a section, and move a host to another one. */
static void addresses_are_of_whatever_section_names_their_host(void **state)
{
	(void)state;
	put("a.test", "192.0.2.1", 60, 0);
	put("b.test", "192.0.2.2", 60, 0);
	expect_of("[partner another]\nhosts = a.test, b.test\n", "n",
		"another=192.0.2.1 another=192.0.2.2");
	expect_of("[partner one]\nhosts = b.test\n[partner unlike]\nhosts = x.test, A.test\n", "n",
		"one=192.0.2.2 unlike=192.0.2.1");
	expect_of("[partner one]\nhosts = .a.test\n[partner unlike]\nhosts = *.test\n", "n", "");
	expect("one=192.0.2.1 one=192.0.2.2"); /* it was rolled back */
}

static void what_is_kept_of_a_host_keeps_its_time(void **state)
{
	struct policy *policy = policy_of("[partner another]\nhosts = a.test\n", "n");

	(void)state;
	put("a.test", "192.0.2.1", 60, 0);
	put("a.test", "192.0.2.2", 60, 100);
	assert_false(learnt_keep(table, policy));
	assert_false(learnt_expire(table, 100 + LEARNT_HOLD - 1));
	assert_true(learnt_expire(table, 100 + LEARNT_HOLD));
	assert_false(learnt_expire(table, 1e9));
	expect_of("[partner another]\nhosts = a.test\n", "n", "another=192.0.2.2");
	policy_put(policy);
}

static void an_address_of_the_newest_answer_never_expires(void **state)
{
	(void)state;
	put("a.test", "192.0.2.1", 1, 0);
	assert_false(learnt_expire(table, 1e9));
	expect("one=192.0.2.1");
}

static void an_address_left_out_is_held(void **state)
{
	(void)state;
	put("a.test", "192.0.2.1", 60, 0);
	assert_int_equal(put("a.test", "192.0.2.2", 60, 1000), LEARNT_CHANGED);
	expect("one=192.0.2.1 one=192.0.2.2");
	assert_false(learnt_expire(table, 1000 + LEARNT_HOLD - 1));
	assert_true(learnt_expire(table, 1000 + LEARNT_HOLD));
	expect("one=192.0.2.2");
	assert_int_equal(learnt_count(table), 1);
}

static void later_answers_do_not_hold_it_longer(void **state)
{
	(void)state;
	put("a.test", "192.0.2.1", 60, 0);
	for (int i = 1; i < 20; i++)
		put("a.test", "192.0.2.2", 60, i * 60.0);
	assert_true(learnt_expire(table, 60 + LEARNT_HOLD));
	expect("one=192.0.2.2");
}

static void a_ttl_longer_than_the_hold_counts(void **state)
{
	(void)state;
	put("a.test", "192.0.2.1", 3600, 0);
	put("a.test", "192.0.2.1", 10, 300); /* caches may have the answer of before */
	put("a.test", "", 10, 310);
	assert_false(learnt_expire(table, 3599));
	assert_true(learnt_expire(table, 3600));
	put("b.test", "192.0.2.1", 1e18, 3600);
	put("b.test", "", 0, 3600);
	assert_true(learnt_expire(table, 3600 + LEARNT_TTL_MOST));
	assert_int_equal(learnt_count(table), 0);
}

static void an_address_that_comes_back_stays(void **state)
{
	(void)state;
	put("a.test", "192.0.2.1", 60, 0);
	put("a.test", "192.0.2.2", 60, 60);
	assert_int_equal(put("a.test", "192.0.2.1", 60, 120), LEARNT_SAME);
	assert_true(learnt_expire(table, 1e6));
	expect("one=192.0.2.1");
}

static void a_partial_answer_leaves_nothing_out(void **state)
{
	(void)state;
	put("a.test", "192.0.2.1 2001:db8::1", 60, 0);
	put_as("one", "a.test", "192.0.2.2", true, 60, 60);
	assert_false(learnt_expire(table, 1e6));
	expect("one=192.0.2.1 one=2001:db8::1 one=192.0.2.2");
}

static void a_name_without_addresses_is_forgotten_after_the_hold(void **state)
{
	(void)state;
	assert_int_equal(put("a.test", "", 60, 0), LEARNT_SAME);
	put("a.test", "192.0.2.1", 60, 0);
	assert_int_equal(put("a.test", "", 60, 10), LEARNT_SAME);
	expect("one=192.0.2.1");
	assert_true(learnt_expire(table, 10 + LEARNT_HOLD));
	expect("");
}

static void any_policy_may_be_asked_for(void **state)
{
	(void)state;
	put("a.test", "192.0.2.1", 60, 0);
	put("b.test", "192.0.2.2", 60, 0);
	expect("one=192.0.2.1 one=192.0.2.2");
	expect_of(acl, "wh", "two=192.0.2.1 three=192.0.2.1");
	expect_of("[partner x]\nhosts = x.test\n[partner TWO]\nhosts = y.test, a.test\n"
		  "[partner one]\nhosts = b.test\n",
		"wn", "TWO=192.0.2.1 one=192.0.2.2");
}

static void a_host_written_twice_is_one_host(void **state)
{
	(void)state;
	put("a.test", "192.0.2.1", 60, 0);
	expect_of("[partner one]\nhosts = a.test, b.test, A.test\n", "n", "one=192.0.2.1");
}

static void keeps_what_the_policy_looks_up(void **state)
{
	struct policy *policy = policy_of(acl, "w");

	(void)state;
	put("a.test", "192.0.2.1", 60, 0);
	put("b.test", "192.0.2.3", 60, 0);
	assert_true(learnt_keep(table, policy));
	assert_int_equal(learnt_count(table), 1);
	expect_in_all("one=192.0.2.1 two=192.0.2.1 three=192.0.2.1");
	assert_false(learnt_keep(table, policy));
	policy_put(policy);
}

/* `n` addresses from 10.BASE.0.0 on. */
static enum learnt_put put_many(const char *host, unsigned base, unsigned n, double now)
{
	struct addr list[LEARNT_TOLD];
	struct learnt_answer answer = {.addrs = list, .n = n, .ttl = 60};

	for (unsigned i = 0; i < n; i++) {
		char text[32];

		snprintf(text, sizeof(text), "10.%u.%u.%u", base >> 8, base & 255, i);
		list[i] = addr_of(text);
	}
	return learnt_put(table, "one", host, &answer, now, &dropped);
}

static void a_name_has_a_bounded_number_of_addresses_the_newest(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(put_many("a.test", i, LEARNT_TOLD, i), LEARNT_CHANGED);
		assert_int_equal(dropped, 0);
	}
	assert_int_equal(learnt_count(table), LEARNT_NAME_ADDRS);
	assert_true(learnt_expire(table, 99 + LEARNT_HOLD));
	assert_int_equal(learnt_count(table), LEARNT_TOLD);
}

static void no_known_address_makes_room_for_a_new_one_of_its_answer(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LEARNT_NAME_ADDRS / LEARNT_TOLD; i++)
		put_many("a.test", i, LEARNT_TOLD, 0);
	put("a.test", "192.0.2.1 10.0.0.0 10.0.1.0", 60, 1);
	assert_int_equal(
		put("a.test", "192.0.2.2 10.0.0.1 10.0.0.0 192.0.2.1", 60, 2), LEARNT_CHANGED);
	assert_int_equal(
		put("a.test", "192.0.2.2 10.0.0.1 10.0.0.0 192.0.2.1", 60, 3), LEARNT_SAME);
}

static void the_table_is_bounded(void **state)
{
	char host[32];
	unsigned i;

	(void)state;
	for (i = 0; i < LEARNT_ADDRS / LEARNT_TOLD; i++) {
		snprintf(host, sizeof(host), "h%u.test", i);
		assert_int_equal(put_many(host, i, LEARNT_TOLD, 0), LEARNT_CHANGED);
	}
	assert_int_equal(learnt_count(table), LEARNT_ADDRS);
	assert_int_equal(put("a.test", "192.0.2.1", 60, 0), LEARNT_SAME);
	assert_int_equal(dropped, 1);
	assert_int_equal(put_many("h7.test", 7, LEARNT_TOLD, 0), LEARNT_SAME);
	assert_int_equal(dropped, 0);
	put_many("h7.test", 7, 1, 0);
	learnt_expire(table, LEARNT_HOLD);
	assert_int_equal(put("a.test", "192.0.2.1", 60, 0), LEARNT_CHANGED);
}

static void no_policy_gets_more_than_the_bound(void **state)
{
	struct policy *policy;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_non_null(out);
	for (unsigned i = 0; i < 2 * 3000; i++) {
		if (i % 50 == 0)
			fprintf(out, "\n[partner %s%u]\nhosts = ", i < 3000 ? "one" : "two", i);
		fprintf(out, "%sh%u.test", i % 50 ? "," : "", i % 3000);
	}
	fclose(out);
	for (unsigned i = 0; i < 3000; i++) {
		char host[32];

		snprintf(host, sizeof(host), "h%u.test", i);
		put_many(host, i, LEARNT_TOLD, 0);
	}
	policy = policy_of(text, "n");
	assert_int_equal(learnt_each(table, policy, print, NULL), 0);
	policy_put(policy);
	policy = policy_of(text, "nw");
	assert_int_equal(
		learnt_each(table, policy, print, NULL), 2 * 3000 * LEARNT_TOLD - LEARNT_ADDRS);
	policy_put(policy);
	free(text);
}

static void refuses_what_is_not_public_or_stays_in_the_cluster(void **state)
{
	struct cidr pods, excluded;
	const struct config config = {.pod_cidr = {&pods, 1}, .exclude_cidr = {&excluded, 1}};
	static const struct {
		const char *addr, *why;
	} cases[] = {
		{"45.0.1.10", NULL},
		{"2a00::1", NULL},
		{"10.42.0.1", "private"},
		{"127.0.0.1", "loopback"},
		{"::1", "loopback"},
		{"::ffff:127.0.0.1", "loopback"},
		{"64:ff9b::7f00:1", "embedded IPv4"},
		{"2a00:42::7", "of the pod networks"},
		{"45.9.8.7", "in exclude-cidr"},
	};

	(void)state;
	assert_true(cidr_parse(&pods, TEXT("2a00:42::/32")));
	assert_true(cidr_parse(&excluded, TEXT("45.9.0.0/16")));
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct addr addr = addr_of(cases[i].addr);
		const char *why = learnt_refuses(&config, &addr);

		if (cases[i].why)
			assert_string_equal(why, cases[i].why);
		else
			assert_null(why);
	}
}

/* For the section at `index` of `text`. */
static void recover_of(const char *text, size_t index, const char *addr)
{
	struct policy *policy = policy_of(text, "nwh");
	struct addr at = addr_of(addr);

	assert_true(learnt_recover(table, policy, policy_section(policy, index), &at));
	policy_put(policy);
}

static void recover(const char *section, const char *addr)
{
	recover_of(acl, strcmp(section, "one") == 0 ? 0 : 1, addr);
}

static void a_recovered_address_stays_until_its_section_is_answered_and_held(void **state)
{
	(void)state;
	recover("one", "192.0.2.1");
	recover("one", "192.0.2.2");
	recover("two", "192.0.2.3");
	expect_in_all("one=192.0.2.1 one=192.0.2.2 two=192.0.2.3");
	assert_false(learnt_expire(table, 1e9));
	put("a.test", "192.0.2.9", 60, 1e9);
	put("b.test", "192.0.2.9", 60, 1e9 + 100);
	assert_false(learnt_expire(table, 1e9 + LEARNT_HOLD - 1));
	assert_true(learnt_expire(table, 1e9 + LEARNT_HOLD));
	expect_in_all("one=192.0.2.9 one=192.0.2.9 two=192.0.2.9 two=192.0.2.3 three=192.0.2.9");
}

static void an_answer_takes_a_recovered_address_over(void **state)
{
	(void)state;
	recover("one", "192.0.2.1");
	recover("one", "192.0.2.2");
	recover_of("[partner ONE]\nhosts = a.test, b.test\n", 0, "192.0.2.3");
	put("a.test", "192.0.2.1", 60, 0);
	assert_int_equal(learnt_count(table), 3);
	expect("one=192.0.2.1 one=192.0.2.3 one=192.0.2.2");
	assert_true(learnt_expire(table, LEARNT_HOLD));
	expect("one=192.0.2.1");
}

static void a_recovered_address_goes_with_its_section(void **state)
{
	struct policy *policy = policy_of(acl, "wh");

	(void)state;
	recover("one", "192.0.2.1");
	recover("two", "192.0.2.2");
	assert_true(learnt_keep(table, policy));
	expect_in_all("two=192.0.2.2");
	assert_int_equal(learnt_count(table), 1);
	policy_put(policy);
}

static void two_sections_answers_take_over_what_was_recovered_of_both(void **state)
{
	(void)state;
	recover("one", "192.0.2.1");
	recover("two", "192.0.2.1");
	put("a.test", "192.0.2.1", 60, 0);
	put_as("two", "a.test", "192.0.2.1", false, 60, 0);
	assert_int_equal(learnt_count(table), 1);
	expect_of(acl, "nw", "one=192.0.2.1 two=192.0.2.1");
}

/* Nobody knows which host it is of. */
static void a_recovered_address_falls_to_a_section_that_names_all_hosts_of_its_own(void **state)
{
	static const char partly[] = "[partner another]\nhosts = a.test, c.test\n"
				     "[partner unlike]\nhosts = b.test\n";
	static const char whole[] = "[partner another]\nhosts = a.test, c.test\n"
				    "[partner unlike]\nhosts = c.test, b.test, a.test\n"
				    "[partner unnecessary]\nhosts = b.test, a.test\n"
				    "[partner Two]\nhosts = x.test\n";
	struct policy *policy = policy_of(whole, "nw");

	(void)state;
	recover("one", "192.0.2.1");
	recover("one", "192.0.2.2");
	recover("two", "192.0.2.3");
	expect_of(partly, "n", "another=192.0.2.3"); /* two has a.test alone */
	expect_of(whole, "nw", "unlike=192.0.2.1 unlike=192.0.2.2 Two=192.0.2.3");
	expect_of(acl, "nw", "one=192.0.2.1 one=192.0.2.2 two=192.0.2.3"); /* rolled back */
	assert_false(learnt_keep(table, policy));
	assert_int_equal(learnt_count(table), 3);
	expect_of(whole, "nw", "unlike=192.0.2.1 unlike=192.0.2.2 Two=192.0.2.3");
	expect(""); /* a section with one host more */
	put_as("unlike", "a.test", "192.0.2.1", false, 60, 0);
	assert_true(learnt_expire(table, LEARNT_HOLD));
	expect_of(whole, "w", "Two=192.0.2.3");
	expect_of(whole, "n", "another=192.0.2.1 unlike=192.0.2.1 unnecessary=192.0.2.1");
	policy_put(policy);
}

static void what_is_recovered_of_two_sections_may_fall_to_one(void **state)
{
	static const char joined[] = "[partner another]\nhosts = a.test, b.test\n";
	struct policy *policy = policy_of(joined, "n");

	(void)state;
	recover("one", "192.0.2.1");
	recover("two", "192.0.2.2");
	assert_false(learnt_keep(table, policy));
	assert_int_equal(learnt_count(table), 2);
	put_as("another", "b.test", "192.0.2.1", false, 60, 0);
	expect_of(joined, "n", "another=192.0.2.1 another=192.0.2.2");
	assert_true(learnt_expire(table, LEARNT_HOLD));
	expect_of(joined, "n", "another=192.0.2.1");
	policy_put(policy);
}

static void recovers_no_more_than_there_is_room_for(void **state)
{
	struct policy *policy = policy_of(acl, "nwh");
	struct addr at = addr_of("192.0.2.1");
	size_t n = 0;

	(void)state;
	while (learnt_recover(table, policy, policy_section(policy, 0), &at))
		n++;
	assert_int_equal(n, LEARNT_ADDRS);
	policy_put(policy);
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_CASE(knows_what_it_was_told),
		TEST_CASE(a_host_has_its_addresses_in_every_section_that_names_it),
		TEST_CASE(addresses_are_of_whatever_section_names_their_host),
		TEST_CASE(what_is_kept_of_a_host_keeps_its_time),
		TEST_CASE(an_address_of_the_newest_answer_never_expires),
		TEST_CASE(an_address_left_out_is_held),
		TEST_CASE(later_answers_do_not_hold_it_longer),
		TEST_CASE(a_ttl_longer_than_the_hold_counts),
		TEST_CASE(an_address_that_comes_back_stays),
		TEST_CASE(a_partial_answer_leaves_nothing_out),
		TEST_CASE(a_name_without_addresses_is_forgotten_after_the_hold),
		TEST_CASE(any_policy_may_be_asked_for),
		TEST_CASE(a_host_written_twice_is_one_host),
		TEST_CASE(keeps_what_the_policy_looks_up),
		TEST_CASE(a_name_has_a_bounded_number_of_addresses_the_newest),
		TEST_CASE(no_known_address_makes_room_for_a_new_one_of_its_answer),
		TEST_CASE(the_table_is_bounded),
		TEST_CASE(no_policy_gets_more_than_the_bound),
		TEST_CASE(a_recovered_address_stays_until_its_section_is_answered_and_held),
		TEST_CASE(an_answer_takes_a_recovered_address_over),
		TEST_CASE(a_recovered_address_goes_with_its_section),
		TEST_CASE(two_sections_answers_take_over_what_was_recovered_of_both),
		TEST_CASE(a_recovered_address_falls_to_a_section_that_names_all_hosts_of_its_own),
		TEST_CASE(what_is_recovered_of_two_sections_may_fall_to_one),
		TEST_CASE(recovers_no_more_than_there_is_room_for),
		TEST_CASE(refuses_what_is_not_public_or_stays_in_the_cluster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
