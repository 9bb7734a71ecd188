/*
 * backstop_test.c - packets that are under way when the guard goes, in real namespaces.
 */
#include "guard_world.h"

static void nobody_else_takes_it_away(void **state)
{
	char *before, *after;

	(void)state;
	need_guard_world();
	open_backstop();
	before = output_of("nft list table inet egret-backstop");
	run("! nft delete table inet egret-backstop 2>/dev/null");
	run("! nft flush table inet egret-backstop 2>/dev/null");
	run("! nft add chain inet egret-backstop stranger 2>/dev/null");
	run("nft add table inet other; nft flush ruleset");
	run("! nft list tables | grep other");
	after = output_of("nft list table inet egret-backstop");
	assert_string_equal(before, after);
	free(before);
	free(after);
	assert_int_equal(backstop_open(guard_backstop, NULL), 0);
	backstop_close();
	run("! nft list table inet egret-backstop 2>/dev/null");
}

static void what_was_guarded_passes(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	open_backstop();
	check_source("198.51.100.8", "203.0.113.10");
	check_source("2001:db8:5::8", "2001:db8:1::10");
	check_source("192.0.2.7", "203.0.113.9");
	check_source(MARKER4, "203.0.113.1"); /* Flannel's business */
	run("conntrack -L 2>/dev/null | grep -q ' mark=[1-9]'");
	run("! conntrack -L 2>/dev/null | grep -o ' mark=[0-9]*' | cut -d= -f2 |"
	    " while read m; do echo judged $((m / 0x1000 %% 2)); done | grep 'judged 1'");
}

static void what_nobody_judged_does_not_leave(void **state)
{
	int fd4, fd6;

	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	open_backstop();
	fd4 = fresh_pod_socket(4);
	fd6 = fresh_pod_socket(6);
	assert_string_equal(source_through(fd4, "198.51.100.8"), "203.0.113.10");
	assert_string_equal(source_through(fd6, "2001:db8:5::8"), "2001:db8:1::10");
	guard_is_gone();
	check_source("198.51.100.8", "");
	check_source("192.0.2.7", "");
	check_source("2001:db8:5::8", "");
	/* What was there before goes on, as what it was. */
	assert_string_equal(source_through(fd4, "198.51.100.8"), "203.0.113.10");
	assert_string_equal(source_through(fd6, "2001:db8:5::8"), "2001:db8:1::10");
	close(fd4);
	close(fd6);
}

/* A flow that others' rules have led into the node is never judged, and answered all the same. */
static void answers_are_none_of_its_business(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	open_backstop();
	assert_int_equal(
		nft_takes("", "table inet others { chain late { type filter hook postrouting"
			      " priority 160; ct mark set ct mark | 0x1000\n}\n}\n"),
		0);
	make_udp_flow(4, 7001);
	make_udp_flow(6, 7002);
}

/* Without any chain of type nat the kernel translates nothing any more, old flows neither. */
static void flows_outlive_all_rules(void **state)
{
	(void)state;
	for (int held = 1; held >= 0; held--) {
		int fd4, fd6;

		need_guard_world();
		guard_plan(guard_acl);
		if (held)
			open_backstop();
		fd4 = fresh_pod_socket(4);
		fd6 = fresh_pod_socket(6);
		assert_string_equal(source_through(fd4, "198.51.100.8"), "203.0.113.10");
		assert_string_equal(source_through(fd6, "2001:db8:5::8"), "2001:db8:1::10");
		run("nft flush ruleset");
		assert_string_equal(
			source_through(fd4, "198.51.100.8"), held ? "203.0.113.10" : "10.42.0.2");
		assert_string_equal(
			source_through(fd6, "2001:db8:5::8"), held ? "2001:db8:1::10" : "fd42::2");
		close(fd4);
		close(fd6);
	}
}

static void the_page_about_the_datapath_shows_it(void **state)
{
	FILE *in = fopen("docs/datapath.md", "r");
	char *page = read_all(in), *text;

	(void)state;
	fclose(in);
	need_guard_world();
	text = print_plan(guard_backstop);
	if (!strstr(page, text))
		fail_msg("docs/datapath.md does not have\n%s", text);
	free(page);
	free(text);
}

/* The proof that the tests above see what they are for. */
static void without_it_they_leave_as_the_node(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	guard_is_gone();
	check_source("198.51.100.8", "203.0.113.1");
	check_source("192.0.2.7", "203.0.113.1");
	check_source("2001:db8:5::8", "2001:db8:1::1");
}

static void another_gates_table_is_left_alone(void **state)
{
	struct error e;

	(void)state;
	need_guard_world();
	run("nft 'add table inet egret-backstop; add chain inet egret-backstop theirs'");
	assert_true(backstop_open(guard_backstop, &e) < 0);
	run("nft list chain inet egret-backstop theirs >/dev/null");
	run("! nft list chain inet egret-backstop backstop 2>/dev/null");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_else_takes_it_away),
		cmocka_unit_test(what_was_guarded_passes),
		cmocka_unit_test(what_nobody_judged_does_not_leave),
		cmocka_unit_test(answers_are_none_of_its_business),
		cmocka_unit_test(flows_outlive_all_rules),
		cmocka_unit_test(the_page_about_the_datapath_shows_it),
		cmocka_unit_test(without_it_they_leave_as_the_node),
		cmocka_unit_test(another_gates_table_is_left_alone),
	};

	return cmocka_run_group_tests(tests, make_egress_world, leave_flow_world);
}
