/*
 * others_test.c - other tables of nftables, made with nft and iptables-nft, held against a plan.
 */
#include "helpers.h"

#include "nat/others.h"
#include "nat/table.h"

static const char acl[] = "[partner bank]\ncidr = 198.51.100.0/24\negress-ip = 203.0.113.10\n";

static struct plan *plan;
static char found[1024];

static int set_up(void **state)
{
	struct error e = {0};

	(void)state;
	enter_new_namespace();
	plan = plan_of(acl, &dual_stack);
	return table_apply(plan, NULL, NULL, &e);
}

static int tear_down(void **state)
{
	(void)state;
	plan_free(plan);
	return 0;
}

#define CHAIN(family, name, priority)                                                              \
	"nft 'add table " family " " name "; add chain " family " " name                           \
	" c { type nat hook postrouting priority " priority "; }'"

static void a_nat_chain_that_would_win_is_an_error(void **state)
{
	static const char *const bad[][2] = {
		{CHAIN("inet", "a", "90"), "chain c of table inet a translates at priority 90 "},
		{CHAIN("ip", "a", "-150"), "chain c of table ip a translates at priority -150 "},
		{CHAIN("ip6", "egret", "89"), "chain c of table ip6 egret translates at priority "},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct error e = {0};

		run("%s", bad[i][0]);
		assert_int_equal(others_check_chains(plan, &e), -EADDRINUSE);
		if (!strstr(e.text, bad[i][1]) || !strstr(e.text, "[nat] translate-priority = 90:"))
			fail_msg("%s", e.text);
		run("nft list tables | grep -v 'inet egret' | sed 's/^/delete /' | nft -f -");
	}
}

static void chains_that_come_later_or_do_something_else_are_fine(void **state)
{
	static const char *const good[] = {
		"true",
		CHAIN("ip", "a", "91"),
		"iptables-nft -t nat -A POSTROUTING -j MASQUERADE",
		"nft 'add table ip b; add chain ip b c { type nat hook prerouting priority -150; "
		"}'",
		"nft 'add chain ip b d { type nat hook input priority 50; }'",
		"nft 'add chain ip b e { type filter hook postrouting priority 0; }'",
		"nft 'add chain ip b f; add table netdev n; add table bridge g; add table arp h'",
	};
	struct error e = {0};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		run("%s 2>&1", good[i]);
		if (others_check_chains(plan, &e))
			fail_msg("%s: %s", good[i], e.text);
	}
}

static void print(void *arg, const struct others_clash *c)
{
	(void)arg;
	snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s %s %s %s %08x;",
		c->family, c->table, c->chain, c->conntrack ? "conntrack" : "packet", c->bits);
}

static int clashes(void)
{
	struct error e = {0};
	int result = others_clashes(plan, print, (found[0] = '\0', NULL), &e);

	if (result < 0)
		fail_msg("%s", e.text);
	return result;
}

/* Rules of a chain x; what is found of "ip t x". */
static const struct {
	const char *rule, *found;
} rules[] = {
	{"counter accept", ""},
	{"meta mark set meta mark or 0x4000", ""},
	{"meta mark set meta mark and 0xff00ffff", ""},
	{"meta mark 0xff000000 accept", ""},
	{"ct mark and 0xfffff000 == 0x1000 drop", ""},
	{"ct mark set ct mark or 0x1", ""},
	{"ct mark set ct mark and 0xfffff000", ""},
	{"meta mark set meta mark xor 0x01000000", "packet 01000000"},
	{"meta mark set meta mark and 0x00ffffff or 0x02000000", "packet ff000000"},
	{"meta mark set meta mark or 0x81004000", "packet 81000000"},
	{"meta mark set 0x1", "packet ff000000"},
	{"meta mark set ct mark", "packet ff000000"},
	{"meta mark set ip saddr map { 192.0.2.1 : 0x1 }", "packet ff000000"},
	{"ct mark set 0x1", "conntrack fffff000"},
	{"ct mark set meta mark", "conntrack fffff000"},
	{"ct mark set ct mark and 0xfffffff or 0x1", "conntrack f0000000"},
	{"tcp dport 80 ct mark set ct mark or 0x80001000 counter", "conntrack 80001000"},
};

static void rules_that_write_our_bits_are_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rules); i++) {
		char wanted[64] = "";

		run("nft 'add table ip t; add chain ip t x; add rule ip t x %s'", rules[i].rule);
		if (rules[i].found[0])
			snprintf(wanted, sizeof(wanted), "ip t x %s;", rules[i].found);
		assert_int_equal(clashes(), 0);
		if (strcmp(found, wanted) != 0)
			fail_msg("%s: %s, not %s", rules[i].rule, found, wanted);
		run("nft delete table ip t");
	}
}

static const struct {
	const char *target, *found;
} targets[] = {
	{"MASQUERADE -t nat", ""},
	{"MARK --set-xmark 0x4000/0x4000", ""},
	{"MARK --set-xmark 0x1000000/0x3000000", "packet 03000000"},
	{"MARK --or-mark 0x80000000", "packet 80000000"},
	{"MARK --set-mark 1", "packet ff000000"},
	{"CONNMARK --set-xmark 0x1/0xfff", ""},
	{"CONNMARK --set-xmark 0x2000/0xf000", "conntrack 0000f000"},
	{"CONNMARK --save-mark --nfmask 0xff --ctmask 0xff", ""},
	{"CONNMARK --save-mark", "conntrack fffff000"},
	{"CONNMARK --restore-mark --nfmask 0xffffff --ctmask 0xffffffff", ""},
	{"CONNMARK --restore-mark", "packet ff000000"},
};

static void targets_of_iptables_are_understood(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(targets); i++) {
		const char *table = strstr(targets[i].target, "-t nat") ? "nat" : "mangle";
		char wanted[64] = "";

		run("iptables-nft -t %s -A POSTROUTING -j %s 2>&1", table, targets[i].target);
		if (targets[i].found[0])
			snprintf(wanted, sizeof(wanted), "ip mangle POSTROUTING %s;",
				targets[i].found);
		assert_int_equal(clashes(), 0);
		if (strcmp(found, wanted) != 0)
			fail_msg("%s: %s, not %s", targets[i].target, found, wanted);
		run("nft delete table ip %s", table);
	}
}

static void a_chain_is_told_once_for_each_mark(void **state)
{
	(void)state;
	run("nft 'add table inet t; add chain inet t x; add chain inet t y;"
	    " add rule inet t x meta mark set meta mark or 0x01000000;"
	    " add rule inet t x meta mark set meta mark or 0x02000000 ct mark set 1;"
	    " add rule inet t y meta mark set meta mark or 0x04000000'");
	assert_int_equal(clashes(), 0);
	assert_string_equal(found,
		"inet t x packet 03000000;inet t x conntrack fffff000;inet t y packet 04000000;");
}

static void it_ends_somewhere(void **state)
{
	(void)state;
	run("for i in 0 1 2 3 4 5 6 7 8 9 10; do echo add table ip t$i; echo add chain ip t$i x;"
	    " echo add rule ip t$i x meta mark set 1; done | nft -f -");
	assert_int_equal(clashes(), 1);
	assert_int_equal(strlen(found), OTHERS_MOST_CLASHES * strlen("ip t0 x packet ff000000;"));
}

static void no_more_rules_are_looked_at_than_the_limit(void **state)
{
	(void)state;
	run("(echo add table ip t; echo add chain ip t x;"
	    " yes add rule ip t x accept | head -%u; echo add rule ip t x meta mark set 1) |"
	    " nft -f -",
		OTHERS_MOST_RULES);
	assert_int_equal(clashes(), 1);
	assert_string_equal(found, "");
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_CASE(a_nat_chain_that_would_win_is_an_error),
		TEST_CASE(chains_that_come_later_or_do_something_else_are_fine),
		TEST_CASE(rules_that_write_our_bits_are_found),
		TEST_CASE(targets_of_iptables_are_understood),
		TEST_CASE(a_chain_is_told_once_for_each_mark),
		TEST_CASE(it_ends_somewhere),
		TEST_CASE(no_more_rules_are_looked_at_than_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
