/*
 * policy_size_test.c - ten thousand sections, a million hosts.
 */
#include "policy_world.h"

#include <malloc.h>

#include "base/clock.h"

static struct policy *writing_finish(struct writing *w)
{
	struct policy *policy;
	double start;

	assert_int_equal(fclose(w->out), 0);
	start = clock_monotonic();
	policy = policy_of(w->at);
	print_message(
		"  %zu sections in %.3f s\n", policy_n_sections(policy), clock_monotonic() - start);
	free(w->at);
	return policy;
}

/* Asks the same a few times and says how long one decision takes. */
static struct verdict timed(const struct policy *policy, const char *question)
{
	const int n = 200;
	struct question q;
	struct verdict v;
	double start;
	int i;

	ask(&q, question);
	start = clock_monotonic();
	for (i = 0; i < n; i++)
		v = policy_decide(policy, &q.query);
	print_message("  %-34s %6.0f ns\n", question, (clock_monotonic() - start) / n * 1e9);
	return v;
}

static void ten_thousand_sections_are_decided_by_index(void **state)
{
	struct writing w;
	struct policy *policy;
	struct verdict v;
	unsigned i;

	(void)state;
	writing_begin(&w);
	for (i = 0; i < 10000; i++)
		fprintf(w.out,
			"[partner p%u]\nhosts = h%u.test, *.h%u.test\ncidr = 198.18.%u.%u\n"
			"ports = 80\nrate = 1/s\n",
			i, i, i, i >> 8, i & 255);
	policy = writing_finish(&w);
	v = timed(policy, "10.42.0.1 h9999.test:80 = 9.9.9.9");
	assert_string_equal(v.section->name, "p9999");
	v = timed(policy, "10.42.0.1 a.h5000.test:80 = 9.9.9.9");
	assert_string_equal(v.section->name, "p5000");
	v = timed(policy, "10.42.0.1 198.18.39.15:80");
	assert_string_equal(v.section->name, "p9999");
	v = timed(policy, "10.42.0.1 x.test:80 = 198.18.39.15");
	assert_string_equal(v.section->name, "p9999");
	v = timed(policy, "10.42.0.1 x.test:80");
	assert_int_equal(v.action, ACTION_RESOLVE);
	v = timed(policy, "10.42.0.1 x.test:81");
	assert_int_equal(v.reason, REASON_NO_MATCH);
	policy_put(policy);
}

static void ten_thousand_sections_may_share_one_key(void **state)
{
	struct writing w;
	struct policy *policy;
	struct verdict v;
	unsigned i;

	(void)state;
	writing_begin(&w);
	for (i = 0; i < 10000; i++)
		fprintf(w.out,
			"[partner p%u]\nhosts = *\ncidr = 198.18.0.0/15\nfrom = 10.43.%u.%u\n", i,
			i >> 8, i & 255);
	policy = writing_finish(&w);
	v = timed(policy, "10.43.39.15 a.test:80");
	assert_string_equal(v.section->name, "p9999");
	v = timed(policy, "10.43.0.0 a.test:80");
	assert_string_equal(v.section->name, "p0");
	v = timed(policy, "10.44.0.0 a.test:80");
	assert_int_equal(v.reason, REASON_NO_MATCH);
	policy_put(policy);
}

static void a_large_group_is_resolved_once(void **state)
{
	struct writing w;
	struct policy *policy;
	unsigned i;

	(void)state;
	writing_begin(&w);
	for (i = 0; i < 10000; i++)
		fprintf(w.out, "[partner p%u]\nhosts = h%u.test\nfrom = big%s\n", i, i,
			i % 2 ? ", 10.9.0.0/16" : "");
	fprintf(w.out, "[group big]\ncidr = ");
	for (i = 0; i < 60; i++)
		fprintf(w.out, "%s10.8.%u.0/30", i ? ", " : "", i);
	fprintf(w.out, "\n");
	policy = writing_finish(&w);
	assert_ptr_equal(policy_section(policy, 0)->from.at, policy_section(policy, 9998)->from.at);
	assert_ptr_equal(policy_section(policy, 1)->from.at, policy_section(policy, 9999)->from.at);
	assert_int_equal(policy_section(policy, 1)->from.n, 61);
	policy_put(policy);
}

static void a_million_hosts_fit_in_150_mb(void **state)
{
	struct files *files = files_new("/nonexistent");
	struct policy *policy;
	struct mallinfo2 used;
	struct verdict v;
	struct error e;
	double start, mb;
	char *list;
	size_t size;
	FILE *out;
	unsigned i;

	(void)state;
	assert_non_null(files);
	out = open_memstream(&list, &size);
	assert_non_null(out);
	for (i = 0; i < 1000000; i++)
		fprintf(out, "host-%u.zone%u.example\n", i, i % 5000);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(files_put(files, "list", (struct text){list, size}), 0);
	free(list);
	assert_int_equal(files_put(files, "acl.ini", TEXT("[partner p]\nhosts-file = list\n")), 0);
	start = clock_monotonic();
	policy = parse(files, &e);
	if (!policy)
		fail_msg("%s", e.text);
	used = mallinfo2();
	mb = (double)(used.uordblks + used.hblkhd) / 1e6;
	print_message("  1,000,000 hosts in %.3f s, %.0f MB with their %.0f MB of text\n",
		clock_monotonic() - start, mb, (double)size / 1e6);
	assert_true(mb < 150);
	for (i = 0; i < 1000000; i += 99991) {
		char question[64];

		snprintf(question, sizeof(question), "10.42.0.1 host-%u.zone%u.example:80", i,
			i % 5000);
		v = timed(policy, question);
		assert_int_equal(v.action, ACTION_ALLOW);
	}
	v = timed(policy, "10.42.0.1 host-0.zone1.example:80");
	assert_int_equal(v.reason, REASON_NO_MATCH);
	assert_string_equal(
		section_host(policy, v.section ? v.section : policy_section(policy, 0), 999999),
		"host-999999.zone4999.example");
	policy_put(policy);
	files_free(files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_thousand_sections_are_decided_by_index),
		cmocka_unit_test(ten_thousand_sections_may_share_one_key),
		cmocka_unit_test(a_large_group_is_resolved_once),
		cmocka_unit_test(a_million_hosts_fit_in_150_mb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
