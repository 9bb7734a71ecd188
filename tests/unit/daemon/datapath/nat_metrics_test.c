#include "daemon/datapath/nat_metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *page;
static size_t length;

static int tear_down(void **state)
{
	(void)state;
	free(page);
	page = NULL;
	return 0;
}

static void finish(struct nat_metrics *m)
{
	page = nat_metrics_finish(m, &length);
	assert_non_null(page);
	assert_int_equal(length, strlen(page));
	assert_true(nat_metrics_is_page((struct text){page, length}));
}

static void expect_line(const char *want)
{
	char line[512];

	snprintf(line, sizeof(line), "\n%s\n", want);
	if (!strstr(page, line))
		fail_msg("no line %s in\n%s", want, page);
}

/* metrics_check.py is the judge. */
static void expect_valid(void)
{
	FILE *judge = popen("python3 tests/unit/daemon/admin/metrics_check.py >/dev/null", "w");

	assert_non_null(judge);
	fputs(page, judge);
	assert_int_equal(pclose(judge), 0);
}

static void every_family_is_valid(void **state)
{
	struct nat_metrics *m = nat_metrics_begin(NAT_METRICS_MOST);
	const char *const *endpoint = LABELS("45.0.0.10", "45.0.1.10", "443", "tcp");

	(void)state;
	nat_metrics_value(m, NAT_LEAKS_PREVENTED, 3, LABELS("bank", "10.42.0.11"));
	nat_metrics_value(m, NAT_LEAKS_PREVENTED, 4, LABELS("bank", "10.42.0.12"));
	nat_metrics_value(m, NAT_DENIED, UINT64_MAX, LABELS("metadata", "blocked"));
	nat_metrics_value(m, NAT_REPAIRS, 1, LABELS("table"));
	nat_metrics_value(m, NAT_EGRESS_ADDRESS_PRESENT, 1, LABELS("2a00::10"));
	nat_metrics_value(m, NAT_PORTS_USED, 7, endpoint);
	nat_metrics_value(m, NAT_PORTS_AVAILABLE, 64505, endpoint);
	for (int family = NAT_CONNTRACK_ENTRIES; family <= NAT_FLOW_EVENTS_LOST; family++)
		nat_metrics_value(m, (enum nat_family)family, 5, NO_LABELS);
	nat_metrics_value(m, NAT_LEARNT_ADDRESSES, 2, LABELS("bank"));
	nat_metrics_value(m, NAT_GATEWAY_UP, 1, LABELS("gw1", "6"));
	nat_metrics_value(m, NAT_GATEWAY_OWNED, 2, LABELS("gw1"));
	nat_metrics_seconds(m, NAT_GATEWAY_RTT, 0.000321, LABELS("gw1", "6"));
	nat_metrics_seconds(m, NAT_GATEWAY_CHANGE, 1795420941.5, LABELS("gw1", "6"));
	nat_metrics_value(m, NAT_GATEWAY_CONFLICTS, 0, NO_LABELS);
	nat_metrics_seconds(m, NAT_PLAN_TIME, 1795420941.5, NO_LABELS);
	finish(m);
	expect_line("egret_leaks_prevented_total{partner=\"bank\",source=\"10.42.0.12\"} 4");
	expect_line("egret_nat_denied_total{section=\"metadata\",reason=\"blocked\"} "
		    "18446744073709551615");
	expect_line("egret_nat_ports_used{address=\"45.0.0.10\",destination=\"45.0.1.10\","
		    "port=\"443\",protocol=\"tcp\"} 7");
	expect_line("egret_nat_conntrack_early_drop_total 5");
	expect_line("egret_nat_flows 5");
	expect_line("egret_nat_plan_last_success_timestamp_seconds 1795420941.500");
	expect_line("egret_gateway_up{gateway=\"gw1\",ip_version=\"6\"} 1");
	expect_line("egret_gateway_rtt_seconds{gateway=\"gw1\",ip_version=\"6\"} 0.000321");
	expect_line("egret_nat_metrics_complete 1");
	expect_valid();
}

static void a_page_of_nothing_is_valid(void **state)
{
	(void)state;
	finish(nat_metrics_begin(NAT_METRICS_MOST));
	expect_line("egret_nat_metrics_complete 1");
	expect_valid();
}

static void any_label_is_valid(void **state)
{
	struct nat_metrics *m = nat_metrics_begin(NAT_METRICS_MOST);
	char name[5000];

	(void)state;
	nat_metrics_value(m, NAT_DENIED, 1, LABELS("a\"b\\c\nd\xe9", "blocked"));
	memset(name, '"', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	nat_metrics_value(m, NAT_DENIED, 2, LABELS(name, "blocked"));
	finish(m);
	expect_line(
		"egret_nat_denied_total{section=\"a\\\"b\\\\c\\nd\xc3\xa9\",reason=\"blocked\"} 1");
	assert_true(length < 2000);
	expect_valid();
}

static void a_full_page_says_so_and_stays_valid(void **state)
{
	const size_t most = 20000;
	struct nat_metrics *m = nat_metrics_begin(most);

	(void)state;
	for (int i = 0; i < 10000; i++) {
		char source[32];

		snprintf(source, sizeof(source), "10.42.%d.%d", i >> 8, i & 255);
		nat_metrics_value(m, NAT_LEAKS_PREVENTED, 1, LABELS("bank", source));
	}
	nat_metrics_value(m, NAT_FLOWS, 1, NO_LABELS);
	finish(m);
	assert_true(length <= most && length > most / 2);
	assert_null(strstr(page, "egret_nat_flows"));
	expect_line("egret_nat_metrics_complete 0");
	expect_valid();
}

static void only_whole_lines_about_nat_are_a_page(void **state)
{
	static const struct {
		const char *page;
		bool is;
	} cases[] = {
		{"", true},
		{"egret_nat_flows 1\n", true},
		{"# HELP egret_nat_flows x\negret_leaks_prevented_total 1\n", true},
		{"egret_nat_flows 1", false},
		{"egret_nat_flows 1\n\n", false},
		{"egret_requests_total 1\n", false},
		{"egret_nat_flows 1\nup 1\n", false},
		{" egret_nat_flows 1\n", false},
		{"egret_nat_flows\r 1\n", false},
		{"egret_nat", false},
		{"\n", false},
	};
	size_t over = NAT_METRICS_MOST + 1;
	char *large = malloc(over);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_int_equal(nat_metrics_is_page(text_of(cases[i].page)), cases[i].is);
	assert_false(nat_metrics_is_page(TEXT("egret_nat_flows \0 1\n")));
	memset(large, '#', over);
	large[over - 1] = '\n';
	assert_false(nat_metrics_is_page((struct text){large, over}));
	assert_true(nat_metrics_is_page((struct text){large + 1, over - 1}));
	free(large);
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_teardown(name, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_CASE(every_family_is_valid),
		TEST_CASE(a_page_of_nothing_is_valid),
		TEST_CASE(any_label_is_valid),
		TEST_CASE(a_full_page_says_so_and_stays_valid),
		TEST_CASE(only_whole_lines_about_nat_are_a_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
