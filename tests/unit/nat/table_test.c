/*
 * table_test.c - the kernel's table after each kind of change, in network namespaces of its own.
 */
#include "helpers.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "nat/netlink.h"
#include "nat/state.h"
#include "nat/table.h"

static bool no_memory;

/* In front of libnftnl's. */
struct nftnl_table *nftnl_table_alloc(void)
{
	struct nftnl_table *(*real)(void) = dlsym(RTLD_NEXT, "nftnl_table_alloc");

	errno = ENOMEM;
	return no_memory ? NULL : real();
}

static const char acl[] = "[group payments]\n"
			  "cidr = 10.42.3.0/24\n"
			  "[block metadata]\n"
			  "cidr = 169.254.0.0/16\n"
			  "[partner bank]\n"
			  "cidr = 198.51.100.0/24, 2001:db8:5::/64\n"
			  "ports = 443, 1024-2047\n"
			  "protocol = tcp\n"
			  "from = payments\n"
			  "egress-ip = 203.0.113.10\n"
			  "[partner other]\n"
			  "cidr = 192.0.2.0/24\n"
			  "egress-ip = 203.0.113.11\n";

static const char other_acl[] = "[block metadata]\n"
				"cidr = 169.254.169.254\n"
				"[partner bank]\n"
				"cidr = 198.51.100.0/25, 198.51.100.192/26\n"
				"ports = 443\n"
				"egress-ip = 203.0.113.12\n";

static void apply(const struct plan *plan)
{
	struct error e = {0};

	if (table_apply(plan, NULL, NULL, &e))
		fail_msg("%s", e.text);
}

static int matches(const struct plan *plan)
{
	struct error e = {0};
	int result = table_matches(plan, &e);

	if (result < 0)
		fail_msg("%s", e.text);
	return result;
}

static char *listed(void)
{
	return output_of("nft list ruleset");
}

/* What nft lists after `nft -f` of the printed plan: in another namespace. */
static char *listed_by_nft(const struct plan *plan)
{
	char *text = print_plan(plan), *list;

	enter_new_namespace();
	assert_int_equal(nft_takes("", text), 0);
	list = listed();
	free(text);
	return list;
}

static void assert_lists_equal(char *found, char *wanted)
{
	assert_string_equal(found, wanted);
	free(found);
	free(wanted);
}

static void applied_table_is_what_nft_makes_of_the_printed_plan(void **state)
{
	struct plan *plan = plan_of(acl, &dual_stack);
	char *wanted = listed_by_nft(plan);

	(void)state;
	enter_new_namespace();
	apply(plan);
	assert_int_equal(matches(plan), 1);
	assert_lists_equal(listed(), wanted);
	plan_free(plan);
}

static void large_maps_are_what_nft_makes_of_the_printed_plan(void **state)
{
	char *text = many_networks_acl(0), *wanted;
	struct plan *plan = plan_of(text, &dual_stack);

	(void)state;
	wanted = listed_by_nft(plan);
	enter_new_namespace();
	apply(plan);
	assert_int_equal(matches(plan), 1);
	assert_lists_equal(listed(), wanted);
	free(text);
	plan_free(plan);
}

static void capture_comes_and_goes_with_its_groups(void **state)
{
	static const char capturing_acl[] = "[group web]\n"
					    "cidr = 10.42.3.0/24, fd42::/64\n"
					    "capture = http, https\n";
	struct node node = dual_stack;
	struct plan *without, *with;
	char *wanted;

	(void)state;
	node.capture_port = 15001;
	node.dedicated[0] = "203.0.113.9";
	without = plan_of(acl, &node);
	with = plan_of(capturing_acl, &node);
	wanted = listed_by_nft(with);
	enter_new_namespace();
	apply(with);
	assert_lists_equal(listed(), wanted);
	assert_int_equal(matches(with), 1);
	apply(without);
	assert_int_equal(matches(without), 1);
	apply(with);
	assert_int_equal(matches(with), 1);
	plan_free(without);
	plan_free(with);
}

static void a_plan_that_steers_over_the_nodes_link_comes_and_goes(void **state)
{
	struct node node = dual_stack;
	struct plan *with, *without = plan_of(acl, &dual_stack);
	char *wanted;

	(void)state;
	node.away[0] = "203.0.113.9";
	for (size_t v = 0; v < 2; v++) {
		node.gateways[0].device[v] = "eth0";
		node.gateways[0].via[v] = v ? "2001:db8:2::11" : "192.0.2.11";
		node.gateways[0].link[v] = v ? "2001:db8:2::/64" : "192.0.2.0/24";
	}
	node.owners[0].addr = "203.0.113.9";
	with = plan_of("[partner near]\ncidr = 192.0.2.200, 2001:db8:2::c8\n", &node);
	wanted = listed_by_nft(with);
	enter_new_namespace();
	apply(with);
	assert_lists_equal(listed(), wanted);
	assert_int_equal(matches(with), 1);
	apply(without);
	assert_int_equal(matches(without), 1);
	apply(with);
	assert_int_equal(matches(with), 1);
	plan_free(without);
	plan_free(with);
}

static void a_second_apply_changes_nothing(void **state)
{
	struct plan *plan = plan_of(acl, &dual_stack);
	char *before;
	int monitor;

	(void)state;
	enter_new_namespace();
	apply(plan);
	before = output_of("nft -a list ruleset");
	monitor = table_monitor_open(NULL);
	assert_true(monitor >= 0);
	apply(plan);
	assert_int_equal(poll(&(struct pollfd){.fd = monitor, .events = POLLIN}, 1, 0), 0);
	assert_lists_equal(output_of("nft -a list ruleset"), before);
	close(monitor);
	plan_free(plan);
}

static void another_plan_keeps_the_base_chains_and_maps(void **state)
{
	static const char handles[] =
		"nft -a list table inet egret |"
		" grep -E '(chain (prerouting|input|forward|translate|guard|judge|classify.)|map|"
		"set (ok|exclude|hold|leaks).) .*handle'";
	struct plan *first = plan_of(acl, &dual_stack), *second = plan_of(other_acl, &dual_stack);
	char *before;

	(void)state;
	enter_new_namespace();
	apply(first);
	before = output_of(handles);
	apply(second);
	assert_int_equal(matches(second), 1);
	assert_int_equal(matches(first), 0);
	assert_lists_equal(output_of(handles), before);
	apply(first);
	assert_int_equal(matches(first), 1);
	plan_free(first);
	plan_free(second);
}

/* What somebody else does to the table, with the shell. */
static const char *const interferences[] = {
	"nft flush ruleset",
	"nft delete table inet egret",
	"nft flush table inet egret",
	"nft flush chain inet egret translate",
	"nft add rule inet egret guard accept",
	"nft insert rule inet egret forward ip daddr 192.0.2.1 accept",
	"nft add rule inet egret $CLASS accept",
	"nft insert rule inet egret $CLASS tcp dport '{ 1, 2 }' accept",
	"nft flush chain inet egret $CLASS",
	"nft add chain inet egret stranger",
	"nft add chain inet egret stranger '{ type filter hook forward priority 0; policy drop; }'",
	"nft 'add chain inet egret stranger; add rule inet egret stranger accept;"
	" add rule inet egret forward jump stranger'",
	"nft 'add chain inet egret forward { policy drop; }'",
	"nft add set inet egret stranger '{ type ipv4_addr; }'",
	"nft 'add set inet egret stranger { type ipv4_addr; elements = { 192.0.2.1 }; };"
	" add rule inet egret guard ip saddr @stranger accept'",
	"nft 'add chain inet egret odd; add map inet egret stranger { type ipv4_addr : verdict;"
	" elements = { 192.0.2.1 : goto odd }; }'",
	"nft flush set inet egret exclude4",
	"nft add element inet egret exclude4 '{ 10.99.0.0/16 }'",
	"nft add element inet egret exclude4 '{ 10.44.0.0/16, 240.0.0.0/4 }'",
	"nft add element inet egret hold4 '{ 198.51.100.0/24 }'",
	"nft add element inet egret ok4 '{ 0x00001000 . 192.0.2.1 }'",
	"nft flush set inet egret ok4",
	"nft flush map inet egret pools",
	"nft delete rule inet egret judge handle $(nft -a list chain inet egret judge |"
	" grep -o 'handle [0-9]*$' | tail -1 | cut -d' ' -f2)",
	"nft 'add counter inet egret stranger'",
	"nft 'add quota inet egret stranger { over 1 mbytes; }'",
	"nft 'add quota inet egret '$COUNTER' { over 1 mbytes; }'",
	"nft 'add limit inet egret stranger { rate 1/second; };"
	" insert rule inet egret guard limit name \"stranger\" accept'",
	"nft 'add ct helper inet egret stranger { type \"ftp\" protocol tcp; }'",
	"nft 'add ct timeout inet egret stranger { protocol tcp; policy = { established: 10 }; }'",
	"nft 'add synproxy inet egret stranger { mss 1460; wscale 7; };"
	" add map inet egret strangers { type ipv4_addr : synproxy;"
	" elements = { 192.0.2.1 : \"stranger\" }; }'",
	"nft add element inet egret sections4 '{ 192.0.3.0/24 : jump '$CLASS' }'",
	"nft delete element inet egret exclude6 '{ fd43::/112 }'",
	"nft flush map inet egret sections4",
	"nft delete element inet egret sections4 '{ 192.0.2.0/24 }'",
	"nft add element inet egret sections4 '{ 192.0.4.0/24 : accept }'",
	"nft 'delete element inet egret sections4 { 192.0.2.0/24 };"
	" add element inet egret sections4 { 192.0.2.0/24 : drop }'",
	"nft 'delete element inet egret sections4 { 192.0.2.0/24 };"
	" add element inet egret sections4 { 192.0.2.0/25 : jump '$CLASS' }'",
	"nft 'delete element inet egret sections4 { 192.0.2.0/24 };"
	" add element inet egret sections4 { 192.0.2.0/24 : goto '$CLASS' }'",
	"nft 'add chain inet egret stranger { type filter hook forward priority -20; };"
	" add rule inet egret stranger ip saddr 10.42.0.0/16 jump { counter; accept; }'",
	"nft 'insert rule inet egret forward ip saddr 10.42.0.0/16 jump { accept; }'",
	"nft insert rule inet egret $CLASS goto '{ ip ttl 1 drop; accept; }'",
	"nft 'add table inet egret { flags dormant; }'",
	"nft 'delete table inet egret; add table inet egret;"
	" add set inet egret exclude4 { type ipv6_addr; }; add chain inet egret guard'",
	"nft 'delete table inet egret; add table inet egret; add chain inet egret forward"
	" { type filter hook forward priority 7; }'",
};

static void whatever_somebody_else_does_is_seen_and_undone(void **state)
{
	struct plan *plan = plan_of(acl, &dual_stack);
	char *wanted;

	(void)state;
	enter_new_namespace();
	apply(plan);
	wanted = listed();
	for (size_t i = 0; i < COUNT_OF(interferences); i++) {
		run("CLASS=$(nft list map inet egret sections4 | grep -o 'to_[0-9a-f]*' | head -1);"
		    " COUNTER=$(nft list counters | grep -o 'counter [^ ]*' | head -1 | cut -d' ' "
		    "-f2);"
		    " %s 2>&1",
			interferences[i]);
		if (matches(plan) != 0)
			fail_msg("not seen: %s", interferences[i]);
		apply(plan);
		if (matches(plan) != 1)
			fail_msg("not undone: %s", interferences[i]);
		assert_lists_equal(listed(), strdup(wanted));
	}
	free(wanted);
	plan_free(plan);
}

/* As `nft add element inet egret SET { * }`, or `{ * : accept }`, which not every nft can. */
static void add_catch_all(const char *set, bool map)
{
	struct label label = {"add element to", set, NULL};
	struct nlattr *list, *element, *data, *verdict;
	struct mnl_socket *socket;
	struct nlmsghdr *message;
	struct batch batch;
	struct error e = {0};

	assert_int_equal(netlink_open(NETLINK_NETFILTER, &socket, &e), 0);
	batch_begin(&batch, 0);
	message = batch_open(&batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, &label);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, "egret");
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
	list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
	mnl_attr_put_u32(message, NFTA_SET_ELEM_FLAGS, htonl(ELEMENT_CATCH_ALL));
	if (map) {
		data = mnl_attr_nest_start(message, NFTA_SET_ELEM_DATA);
		verdict = mnl_attr_nest_start(message, NFTA_DATA_VERDICT);
		mnl_attr_put_u32(message, NFTA_VERDICT_CODE, htonl(NF_ACCEPT));
		mnl_attr_nest_end(message, verdict);
		mnl_attr_nest_end(message, data);
	}
	mnl_attr_nest_end(message, element);
	mnl_attr_nest_end(message, list);
	batch_close(&batch);
	if (batch_commit(&batch, socket, &e))
		fail_msg("%s", e.text);
	batch_fini(&batch);
	mnl_socket_close(socket);
}

static void an_element_without_a_key_is_seen_and_removed(void **state)
{
	static const struct {
		const char *set;
		bool map;
	} to[] = {
		{"exclude4", false},
		{"exclude6", false},
		{"hold4", false},
		{"ok4", false},
		{"hold6", false},
		{"sections4", true},
		{"sections6", true},
		{"pools", true},
	};
	struct plan *plan = plan_of(acl, &dual_stack), *other = plan_of(other_acl, &dual_stack);

	(void)state;
	enter_new_namespace();
	apply(plan);
	for (size_t i = 0; i < COUNT_OF(to); i++) {
		char *wanted = listed();

		add_catch_all(to[i].set, to[i].map);
		if (matches(plan) != 0)
			fail_msg("not seen: %s", to[i].set);
		apply(plan);
		if (matches(plan) != 1)
			fail_msg("not undone: %s", to[i].set);
		assert_lists_equal(listed(), wanted);
		add_catch_all(to[i].set, to[i].map);
		apply(other);
		assert_int_equal(matches(other), 1);
		apply(plan);
	}
	plan_free(plan);
	plan_free(other);
}

/* $PART and $NUMBER: a part of a map, and a number in it. */
static const char *const part_interferences[] = {
	"nft flush map inet egret $PART",
	"nft flush map inet egret outcomes",
	"nft delete element inet egret $PART '{ 198.51.100.4/31 }'",
	"nft add element inet egret $PART '{ 198.51.100.2 : '$NUMBER' }'",
	"nft \"delete element inet egret $PART { 198.51.100.4/31 };"
	" add element inet egret $PART { 198.51.100.4/31 : 1:1 }\"",
	"nft \"delete element inet egret outcomes { $NUMBER };"
	" add element inet egret outcomes { $NUMBER : accept }\"",
	"nft flush chain inet egret part4_${PART#sections4_}",
};

static void what_somebody_does_to_a_part_is_seen_and_undone(void **state)
{
	char *text = many_networks_acl(0), *wanted;
	struct plan *plan = plan_of(text, &dual_stack);

	(void)state;
	enter_new_namespace();
	apply(plan);
	wanted = listed();
	for (size_t i = 0; i < COUNT_OF(part_interferences); i++) {
		run("PART=$(nft list table inet egret | grep -o 'sections4_[0-9a-f]*' | head -1);"
		    " NUMBER=$(nft list map inet egret $PART | grep -o "
		    "'[0-9a-f][0-9a-f]*:[0-9a-f]*' |"
		    " head -1); %s 2>&1",
			part_interferences[i]);
		if (matches(plan) != 0)
			fail_msg("not seen: %s", part_interferences[i]);
		apply(plan);
		if (matches(plan) != 1)
			fail_msg("not undone: %s", part_interferences[i]);
		assert_lists_equal(listed(), strdup(wanted));
	}
	free(wanted);
	free(text);
	plan_free(plan);
}

static void a_table_that_nft_restored_is_taken_as_it_is(void **state)
{
	char *text = many_networks_acl(0), *saved;
	struct plan *plan = plan_of(text, &dual_stack);

	(void)state;
	enter_new_namespace();
	apply(plan);
	saved = listed();
	run("nft flush ruleset");
	assert_int_equal(nft_takes("", saved), 0);
	assert_int_equal(matches(plan), 1);
	free(saved);
	free(text);
	plan_free(plan);
}

static void tables_of_others_are_left_alone(void **state)
{
	static const char others[] =
		"table ip egret {\n\tchain forward {\n\t}\n}\n"
		"table inet egret2 {\n\tset exclude4 {\n\t\ttype ipv4_addr\n\t}\n"
		"\n\tchain postrouting {\n\t}\n}\n";
	struct plan *plan = plan_of(acl, &dual_stack);
	struct error e = {0};

	(void)state;
	enter_new_namespace();
	assert_int_equal(nft_takes("", others), 0);
	assert_int_equal(table_check_free("egret", NULL), 0);
	assert_int_equal(table_check_free("egret2", &e), -EEXIST);
	assert_non_null(strstr(e.text, "table inet egret2 that egret did not make"));
	apply(plan);
	assert_int_equal(table_check_free("egret", NULL), 0);
	apply(plan);
	assert_int_equal(matches(plan), 1);
	assert_int_equal(table_remove("egret", NULL), 0);
	assert_lists_equal(listed(), strdup(others));
	plan_free(plan);
}

static void removes_a_table_that_is_not_there(void **state)
{
	struct plan *plan = plan_of(acl, &dual_stack);

	(void)state;
	enter_new_namespace();
	assert_int_equal(table_remove("egret", NULL), 0);
	apply(plan);
	assert_int_equal(table_remove("egret", NULL), 0);
	assert_int_equal(matches(plan), 0);
	assert_int_equal(table_remove("egret", NULL), 0);
	assert_lists_equal(listed(), strdup(""));
	plan_free(plan);
}

static void a_refused_rule_is_named_and_nothing_is_applied(void **state)
{
	struct plan *plan = plan_of(acl, &dual_stack), *bad = plan_of(other_acl, &dual_stack);
	struct plan_set nowhere = {.name = "nowhere"};
	struct plan_chain *classify = (struct plan_chain *)plan_chain(bad, "classify4");
	struct error e = {0};
	char *before;

	(void)state;
	classify->rules[0].steps[0].set = &nowhere;
	memcpy(strstr(classify->rules[0].text, "exclude4"), "nowhere ", 8);
	enter_new_namespace();
	apply(plan);
	before = output_of("nft -a list ruleset");
	for (int known = 0; known < 2; known++)
		assert_int_equal(
			table_apply(
				bad, &(struct table_known){.plan = known ? plan : NULL}, NULL, &e),
			-ENOENT);
	assert_non_null(strstr(e.text, "add rule to classify4: ip daddr @nowhere"));
	assert_int_equal(matches(plan), 0); /* what nothing refers to is there */
	apply(plan);
	assert_lists_equal(output_of("nft -a list ruleset"), before);
	plan_free(plan);
	plan_free(bad);
}

static void says_what_is_missing_without_the_privilege(void **state)
{
	struct plan *plan = plan_of(acl, &dual_stack);
	pid_t pid;
	int status;

	(void)state;
	enter_new_namespace();
	pid = fork();
	if (pid == 0) {
		struct error e = {0};

		_exit(setresuid(65534, 65534, 65534) != 0 ||
			table_apply(plan, NULL, NULL, &e) != -EPERM ||
			!strstr(e.text, "not permitted"));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	plan_free(plan);
}

static void without_memory_for_the_table_nothing_is_changed(void **state)
{
	struct plan *plan = plan_of(acl, &dual_stack), *other = plan_of(other_acl, &dual_stack);
	struct error e = {0};
	int result;

	(void)state;
	enter_new_namespace();
	apply(plan);
	no_memory = true;
	result = table_apply(other, NULL, NULL, &e);
	no_memory = false;
	assert_int_equal(result, -ENOMEM);
	assert_non_null(strstr(e.text, "reading nftables table egret"));
	assert_int_equal(matches(plan), 1);
	plan_free(plan);
	plan_free(other);
}

static void a_transaction_for_another_generation_is_refused(void **state)
{
	struct label label = {"add table", "late", NULL};
	struct mnl_socket *socket;
	struct nlmsghdr *message;
	struct batch batch;
	struct error e = {0};

	(void)state;
	enter_new_namespace();
	assert_int_equal(netlink_open(NETLINK_NETFILTER, &socket, &e), 0);
	batch_begin(&batch, 12345);
	message = batch_open(&batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, &label);
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, "late");
	batch_close(&batch);
	assert_int_equal(batch_commit(&batch, socket, &e), -ERESTART);
	assert_lists_equal(listed(), strdup(""));
	batch_fini(&batch);
	mnl_socket_close(socket);
}

static void applies_while_a_neighbour_changes_its_rules_all_the_time(void **state)
{
	struct plan *plans[] = {plan_of(acl, &dual_stack), plan_of(other_acl, &dual_stack)};
	pid_t pid;

	(void)state;
	enter_new_namespace();
	pid = fork();
	if (pid == 0) {
		execlp("sh", "sh", "-c",
			"i=0; while [ $i -lt 2000 ]; do i=$((i+1));"
			" echo 'add table ip noise; add chain ip noise c; add rule ip noise c "
			"accept;"
			" delete table ip noise'; done | nft -i >/dev/null 2>&1",
			NULL);
		_exit(127);
	}
	for (int i = 0; i < 60; i++) {
		apply(plans[i % 2]);
		assert_int_equal(matches(plans[i % 2]), 1);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	plan_free(plans[0]);
	plan_free(plans[1]);
}

static void the_monitor_tells_others_from_us(void **state)
{
	static const struct {
		const char *command;
		bool ours;
	} others[] = {
		{"nft add rule inet egret forward accept", true},
		{"nft flush ruleset", true},
		{"nft add table ip egret", false},
		{"nft add table inet egret2", false},
		{"nft add chain inet egret2 forward", false},
	};
	struct plan *plan = plan_of(acl, &dual_stack), *other = plan_of(other_acl, &dual_stack);
	struct error e = {0};
	int monitor;

	(void)state;
	enter_new_namespace(); /* its generations are not those of the next */
	for (int i = 0; i < 8; i++)
		apply(i % 2 ? plan : other);
	enter_new_namespace();
	monitor = table_monitor_open(&e);
	assert_true(monitor >= 0);
	assert_false(table_monitor_drain(monitor, "egret"));
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		apply(plan);
		if (table_monitor_drain(monitor, "egret"))
			fail_msg("taken for somebody else's: our apply before %s",
				others[i].command);
		run("%s", others[i].command);
		if (table_monitor_drain(monitor, "egret") != others[i].ours)
			fail_msg("%s", others[i].command);
	}
	close(monitor);
	plan_free(plan);
	plan_free(other);
}

/* Whenever it comes: before the pause, within it, or before the change that is bound to it. */
static void a_change_by_others_is_not_missed_while_nobody_listens(void **state)
{
	struct plan *plan = plan_of(acl, &dual_stack), *other = plan_of(other_acl, &dual_stack);
	struct table_known known = {.plan = plan};
	int monitor;

	(void)state;
	enter_new_namespace();
	monitor = table_monitor_open(NULL);
	apply(plan);
	run("nft flush chain inet egret guard");
	assert_true(table_monitor_pause(monitor, "egret", &known.generation));
	apply(plan);
	assert_false(table_monitor_resume(monitor, "egret"));

	assert_false(table_monitor_pause(monitor, "egret", &known.generation));
	run("nft flush chain inet egret guard");
	assert_int_equal(table_apply(other, &known, NULL, NULL), 0);
	assert_int_equal(matches(other), 1);
	assert_false(table_monitor_resume(monitor, "egret"));

	assert_false(table_monitor_pause(monitor, "egret", &known.generation));
	known.plan = other;
	assert_int_equal(table_apply(plan, &known, NULL, NULL), 0);
	run("nft flush chain inet egret guard");
	assert_true(table_monitor_resume(monitor, "egret"));
	close(monitor);
	plan_free(plan);
	plan_free(other);
}

/* Networks that touch, nest and repeat, so that ranges split and join from plan to plan. */
static char *random_acl(void)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (int i = 0; i < 12; i++) {
		int bits = 24 + rand() % 9, low = (rand() % 256) & ~((1 << (32 - bits)) - 1);

		fprintf(out, "[%s s%d]\ncidr = 198.51.100.%d/%d, 2001:db8::%x/%d\n",
			rand() % 3 ? "partner" : "block", i, low, bits, low, 96 + bits);
		if (rand() % 2)
			fprintf(out, "ports = %d\n", 1 + rand() % 3);
		if (rand() % 2)
			fprintf(out, "from = 10.42.%d.0/24\n", rand() % 3);
	}
	if (rand() % 4 == 0)
		put_many_networks(out, (unsigned)rand() % 600);
	fclose(out);
	return text;
}

static void any_plan_follows_any_other(void **state)
{
	(void)state;
	srand(2);
	enter_new_namespace();
	for (int i = 0; i < 100; i++) {
		char *text = random_acl();
		struct plan *plan = plan_of(text, &dual_stack);

		apply(plan);
		if (matches(plan) != 1)
			fail_msg("policy %d:\n%s", i, text);
		plan_free(plan);
		free(text);
	}
}

/* Of this process, the kernel's work for it included: others may be busy meanwhile. */
static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static char *many_partners(unsigned first_egress, unsigned other)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (unsigned i = 0; i < 10000; i++) {
		fprintf(out, "[partner p%u]\negress-ip = 203.%u.%u.%u\ncidr = ", i,
			i == other ? 7 : first_egress, i / 250, i % 250 + 1);
		for (unsigned j = 0; j < 10; j++) {
			unsigned net = (i * 10 + j) * 2; /* every other /24, so that none join */

			fprintf(out, "%s%u.%u.%u.0/24", j ? ", " : "", 20 + net / 65536,
				net / 256 % 256, net % 256);
		}
		fputc('\n', out);
	}
	fclose(out);
	return text;
}

static void ten_thousand_partners_of_ten_networks_apply(void **state)
{
	static const char *const names[] = {"all new", "one changed", "all changed"};
	char *texts[] = {many_partners(0, 10000), many_partners(0, 5000), many_partners(1, 10000)};
	struct plan *plans[COUNT_OF(texts)];

	(void)state;
	enter_new_namespace();
	for (size_t i = 0; i < COUNT_OF(plans); i++) {
		struct error e = {0};
		double planned, applied, compared, start = cpu_seconds();

		plans[i] = plan_of(texts[i], &dual_stack);
		planned = cpu_seconds();
		if (table_apply(plans[i], &(struct table_known){.plan = i ? plans[i - 1] : NULL},
			    NULL, &e))
			fail_msg("%s", e.text);
		applied = cpu_seconds();
		assert_int_equal(matches(plans[i]), 1);
		compared = cpu_seconds();
		print_message(
			"%s: parsed and planned in %.0f ms, applied in %.0f, compared in %.0f "
			"(CPU)\n",
			names[i], (planned - start) * 1e3, (applied - planned) * 1e3,
			(compared - applied) * 1e3);
	}
	for (size_t i = 0; i < COUNT_OF(plans); i++) {
		plan_free(plans[i]);
		free(texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(applied_table_is_what_nft_makes_of_the_printed_plan),
		cmocka_unit_test(large_maps_are_what_nft_makes_of_the_printed_plan),
		cmocka_unit_test(capture_comes_and_goes_with_its_groups),
		cmocka_unit_test(a_plan_that_steers_over_the_nodes_link_comes_and_goes),
		cmocka_unit_test(a_second_apply_changes_nothing),
		cmocka_unit_test(another_plan_keeps_the_base_chains_and_maps),
		cmocka_unit_test(whatever_somebody_else_does_is_seen_and_undone),
		cmocka_unit_test(an_element_without_a_key_is_seen_and_removed),
		cmocka_unit_test(what_somebody_does_to_a_part_is_seen_and_undone),
		cmocka_unit_test(a_table_that_nft_restored_is_taken_as_it_is),
		cmocka_unit_test(tables_of_others_are_left_alone),
		cmocka_unit_test(removes_a_table_that_is_not_there),
		cmocka_unit_test(a_refused_rule_is_named_and_nothing_is_applied),
		cmocka_unit_test(says_what_is_missing_without_the_privilege),
		cmocka_unit_test(without_memory_for_the_table_nothing_is_changed),
		cmocka_unit_test(a_transaction_for_another_generation_is_refused),
		cmocka_unit_test(applies_while_a_neighbour_changes_its_rules_all_the_time),
		cmocka_unit_test(the_monitor_tells_others_from_us),
		cmocka_unit_test(a_change_by_others_is_not_missed_while_nobody_listens),
		cmocka_unit_test(any_plan_follows_any_other),
		cmocka_unit_test(ten_thousand_partners_of_ten_networks_apply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
