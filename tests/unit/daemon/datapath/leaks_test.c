/*
 * leaks_test.c - sums of what a real guard refused.
 */
#include "../../nat/guard_world.h"

#include "daemon/datapath/leaks.h"
#include "daemon/log/log.h"

static struct leaks *leaks;
static FILE *logged;
static int stderr_before;

/* The log goes to a file. */
static int set_up(void **state)
{
	(void)state;
	leaks = leaks_new();
	logged = tmpfile();
	if (!leaks || !logged)
		return -1;
	fflush(stderr);
	stderr_before = dup(STDERR_FILENO);
	dup2(fileno(logged), STDERR_FILENO);
	log_set_level(LOG_LEVEL_WARN);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	dup2(stderr_before, STDERR_FILENO);
	close(stderr_before);
	fclose(logged);
	leaks_free(leaks);
	return 0;
}

static unsigned lines_with(const char *text)
{
	char *all, *at;
	unsigned n = 0;

	rewind(logged);
	all = read_all(logged);
	for (at = all; (at = strstr(at, text)); at += strlen(text))
		n++;
	free(all);
	return n;
}

static void update(void)
{
	struct error e = {""};

	if (leaks_update(leaks, guard_applied, guard_backstop, guard_policy, &e))
		fail_msg("%s", e.text);
}

static char *page(void)
{
	struct nat_metrics *metrics = nat_metrics_begin(NAT_METRICS_MOST);
	size_t length;
	char *text;

	assert_non_null(metrics);
	leaks_metrics(leaks, metrics);
	text = nat_metrics_finish(metrics, &length);
	assert_non_null(text);
	return text;
}

/* 0: no such line. */
static unsigned long metric(const char *partner, const char *source)
{
	char want[256], *text = page(), *at;
	unsigned long value = 0;

	snprintf(want, sizeof(want), "\negret_leaks_prevented_total{partner=\"%s\",source=\"%s\"} ",
		partner, source);
	at = strstr(text, want);
	if (at)
		value = strtoul(at + strlen(want), NULL, 10);
	free(text);
	return value;
}

static void sums_by_partner_and_source(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	update();
	assert_int_equal(leaks_total(leaks), 0);
	send_strays(4, "198.51.100.7", 3);
	send_strays(4, "198.51.100.8", 2); /* the same partner */
	send_strays(4, "10.99.0.9", 4);    /* nobody's */
	send_strays(4, "192.0.2.8", 1);
	send_strays(6, "2001:db8:5::7", 5);
	update();
	assert_int_equal(metric("bank", "10.42.0.2"), 5);
	assert_int_equal(metric("", "10.42.0.2"), 4);
	assert_int_equal(metric("nowhere", "10.42.0.2"), 1);
	assert_int_equal(metric("bank", "fd42::2"), 5);
	assert_int_equal(leaks_total(leaks), 15);
	update();
	assert_int_equal(leaks_total(leaks), 15);
	send_strays(4, "198.51.100.8", 2);
	update();
	assert_int_equal(metric("bank", "10.42.0.2"), 7);
	assert_int_equal(leaks_total(leaks), 17);
}

static void the_first_of_a_partner_and_a_source_is_logged(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	send_strays(4, "198.51.100.7", 3);
	update();
	assert_int_equal(
		lines_with("a packet of 10.42.0.2 to 198.51.100.7 (bank) did not leave"), 1);
	send_strays(4, "198.51.100.7", 3);
	send_strays(4, "198.51.100.8", 3);
	update();
	assert_int_equal(lines_with("did not leave"), 1);
	send_strays(4, "10.99.0.9", 1);
	update();
	assert_int_equal(lines_with("of 10.42.0.2 to 10.99.0.9 (no partner) did not leave"), 1);
	send_strays(6, "2001:db8:5::7", 1);
	update();
	assert_int_equal(lines_with("of fd42::2 to 2001:db8:5::7 (bank) did not leave"), 1);
	assert_int_equal(lines_with("did not leave"), 3);
}

/* A pair of both tables is told apart. */
static void what_the_backstop_held_counts_as_well(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	open_backstop();
	send_strays(4, "198.51.100.7", 3);
	update();
	guard_is_gone();
	for (unsigned i = 0; i < 5; i++)
		check_source("198.51.100.7", "");
	check_source("2001:db8:5::7", "");
	send_strays(4, "198.51.100.7", 2); /* are no flow: they do not get that far */
	update();
	assert_int_equal(metric("bank", "10.42.0.2"), 10);
	assert_int_equal(metric("bank", "fd42::2"), 1);
	backstop_close();
	update();
	assert_int_equal(metric("bank", "10.42.0.2"), 10);
}

/* Somebody flushed it, and the keeper brought it back. */
static void goes_on_counting_when_the_table_was_made_anew(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	send_strays(4, "198.51.100.7", 5);
	update();
	run("nft flush ruleset");
	put_flannel();
	guard_plan(guard_acl);
	send_strays(4, "198.51.100.7", 2); /* less than before, without a look in between */
	update();
	assert_int_equal(metric("bank", "10.42.0.2"), 7);
	run("nft flush ruleset");
	put_flannel();
	update(); /* no table */
	assert_int_equal(metric("bank", "10.42.0.2"), 7);
	guard_plan(guard_acl);
	send_strays(4, "198.51.100.7", 2); /* as many as before */
	update();
	assert_int_equal(metric("bank", "10.42.0.2"), 9);
	assert_int_equal(leaks_total(leaks), 9);
	assert_int_equal(lines_with("did not leave"), 1);
}

static void a_pair_that_the_kernel_forgot_begins_anew(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	send_strays(4, "198.51.100.7", 3);
	update();
	run("nft flush set inet egret leaks4");
	update();
	send_strays(4, "198.51.100.7", 4);
	update();
	assert_int_equal(metric("bank", "10.42.0.2"), 7);
}

/* Another policy: what was counted stays with its partner's name. */
static void sums_outlive_a_partner(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	send_strays(4, "198.51.100.7", 3);
	update();
	guard_plan("[partner renamed]\ncidr = 198.51.100.0/24\negress-ip = 203.0.113.10\n");
	update();
	send_strays(4, "198.51.100.7", 2);
	update();
	assert_int_equal(metric("bank", "10.42.0.2"), 3);
	assert_int_equal(metric("renamed", "10.42.0.2"), 2);
}

static void more_sources_than_are_told_apart_count_together(void **state)
{
	char *text;
	unsigned lines = 0;

	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	log_set_level(LOG_LEVEL_ERROR);
	put_pairs(LEAKS_MOST + 500, 7);
	update();
	assert_int_equal(leaks_total(leaks), 7 * (LEAKS_MOST + 500));
	assert_int_equal(metric("other", "other"), 7 * 500);
	text = page();
	for (char *at = text; (at = strstr(at, "\negret_leaks_prevented_total{")); at++)
		lines++;
	assert_int_equal(lines, LEAKS_MOST + 1);
	free(text);
	update();
	assert_int_equal(leaks_total(leaks), 7 * (LEAKS_MOST + 500));
	assert_int_equal(metric("other", "other"), 7 * 500);
}

#define LEAKS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LEAKS_TEST(sums_by_partner_and_source),
		LEAKS_TEST(the_first_of_a_partner_and_a_source_is_logged),
		LEAKS_TEST(what_the_backstop_held_counts_as_well),
		LEAKS_TEST(goes_on_counting_when_the_table_was_made_anew),
		LEAKS_TEST(a_pair_that_the_kernel_forgot_begins_anew),
		LEAKS_TEST(sums_outlive_a_partner),
		LEAKS_TEST(more_sources_than_are_told_apart_count_together),
	};

	return cmocka_run_group_tests(tests, make_egress_world, leave_flow_world);
}
