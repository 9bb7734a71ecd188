/*
 * keeper_test.c - a keeper in a real loop, the kernel of a gateway, and others who change things.
 */
#include "datapath_world.h"

#define RUN_UNTIL_SECONDS 30 /* every 60 the keeper compares all */
#include "tests/unit/daemon/run_until.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "daemon/gate/collisions.h"
#include "daemon/datapath/keeper.h"
#include "daemon/log/log.h"

#define MANAGED "[nat]\nmanage-address = yes\n"
#define BANK "[partner bank]\ncidr = 198.51.100.0/24, 2001:db8:5::/64\n"

static const char egress[] = "egress-ip = 203.0.113.20, 2001:db8:1::20\n" MANAGED;
static const char acl[] = BANK "egress-ip = 203.0.113.21, 2001:db8:1::21\n";
static const char other_acl[] = BANK "egress-ip = 203.0.113.22, 2001:db8:1::22\n";

static struct ev_loop *loop;
static struct keeper *keeper;
static struct made first, second;
static unsigned changes, addresses, marks;
static const char *meanwhile; /* what somebody does while the keeper changes things */
static pid_t child;

static void on_change(void *arg)
{
	(void)arg;
	changes++;
}

static void on_addresses(void *arg)
{
	(void)arg;
	addresses++;
}

static void on_marks(void *arg)
{
	(void)arg;
	marks++;
	if (meanwhile)
		run("%s", meanwhile);
}

static const struct keeper_events events = {on_change, on_addresses, on_marks, NULL};

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	loop = ev_loop_new(0);
	keeper = loop ? keeper_new(loop, &events) : NULL;
	changes = addresses = marks = 0;
	meanwhile = NULL;
	return keeper ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	child = 0;
	keeper_free(keeper);
	free_made(&first);
	free_made(&second);
	ev_loop_destroy(loop);
	return 0;
}

/* A node as it was before egretd. */
static void need_node(void)
{
	need_egress_world();
	run("ip rule flush protocol 230 2>/dev/null; ip -6 rule flush protocol 230 2>/dev/null;"
	    " ip route flush table 7099; ip -6 route flush table 7099;"
	    " for a in 20 21 22 23 77; do ip addr del 203.0.113.$a/32 dev eth0;"
	    " ip addr del 2001:db8:1::$a/128 dev eth0; done 2>/dev/null;"
	    " sysctl -qw net.ipv4.conf.all.src_valid_mark=0");
}

static void apply(const struct made *m)
{
	struct error e = {""};

	if (keeper_apply(keeper, m->datapath, &e))
		fail_msg("%s", e.text);
}

static bool is_in_force(const struct datapath *d)
{
	bool all = table_matches(d->plan, NULL) == 1 &&
		   routing_matches(&d->guard.routing, NULL) == 1 &&
		   sysctl_matches(d->sysctls, d->n_sysctls, NULL) == 1;
	char text[ADDR_TEXT];

	for (size_t i = 0; i < d->n_managed; i++)
		all = all && has_address(addr_print(&d->managed[i], text));
	return all;
}

static uint64_t repairs_of(enum keeper_part part)
{
	return keeper_repairs(keeper, part);
}

static uint64_t all_repairs(void)
{
	uint64_t n = 0;

	for (int part = 0; part < KEEPER_PARTS; part++)
		n += repairs_of(part);
	return n;
}

/* All that the keeper was told before this has been looked at when this returns: somebody takes an
 * address away, and it is back. */
static void settle(const char *address)
{
	uint64_t before = repairs_of(KEEPER_ADDRESSES);

	run("ip addr del %s dev eth0", address);
	RUN_UNTIL(repairs_of(KEEPER_ADDRESSES) == before + 1);
}

static void brings_everything_and_takes_nothing_of_it_for_somebody_elses(void **state)
{
	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	assert_int_equal(collisions_check(first.datapath, NULL), 0);
	assert_false(is_in_force(first.datapath));
	apply(&first);
	assert_true(is_in_force(first.datapath));
	assert_true(keeper_applied(keeper) > 0);
	settle("203.0.113.20/32");
	assert_int_equal(all_repairs(), 1);
	assert_null(keeper_trouble(keeper));
	assert_int_equal(collisions_check(first.datapath, NULL), 0);
	check_source("198.51.100.7", "203.0.113.21");
	check_source("2001:db8:5::7", "2001:db8:1::21");
	check_source("8.8.8.8", "203.0.113.20");
	check_source("2001:db8:8::8", "2001:db8:1::20");
	check_source(MARKER4, "203.0.113.1");
}

/* ---- what others do ---- */

static const struct {
	enum keeper_part part;
	const char *command;
} attacks[] = {
	{KEEPER_TABLE, "nft flush ruleset"},
	{KEEPER_TABLE, "nft delete table inet egret"},
	{KEEPER_TABLE, "nft flush table inet egret"},
	{KEEPER_TABLE, "nft flush chain inet egret guard"},
	{KEEPER_TABLE, "nft insert rule inet egret guard accept"},
	{KEEPER_TABLE, "nft add rule inet egret forward accept"},
	{KEEPER_TABLE, "nft add element inet egret exclude4 '{ 198.51.100.0/24 }'"},
	{KEEPER_TABLE, "nft flush set inet egret ok6"},
	{KEEPER_TABLE, "nft flush map inet egret pools"},
	{KEEPER_TABLE, "nft add chain inet egret stranger"},
	{KEEPER_TABLE, "nft 'add table inet egret { flags dormant; }'"},
	{KEEPER_ROUTES, "ip rule del pref 5220"},
	{KEEPER_ROUTES, "ip -6 rule del pref 5220"},
	{KEEPER_ROUTES, "ip rule add pref 5220 from 10.42.7.0/24 lookup main protocol 230"},
	{KEEPER_ROUTES, "ip route del unreachable default table 7099"},
	{KEEPER_ROUTES, "ip -6 route flush table 7099"},
	{KEEPER_ROUTES, "ip route flush table 7099"},
	{KEEPER_ROUTES, "ip route del throw 10.43.0.0/16 table 7099"},
	{KEEPER_ROUTES, "ip route add throw 198.51.100.0/24 table 7099 protocol 230"},
	{KEEPER_ADDRESSES, "ip addr del 203.0.113.21/32 dev eth0"},
	{KEEPER_ADDRESSES, "ip addr del 2001:db8:1::21/128 dev eth0"},
	{KEEPER_SYSCTLS, "sysctl -qw net.ipv4.conf.all.src_valid_mark=0"},
};

static void puts_right_and_counts_what_others_change(void **state)
{
	uint64_t counted[KEEPER_PARTS] = {0};

	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	apply(&first);
	for (size_t i = 0; i < COUNT_OF(attacks); i++) {
		enum keeper_part part = attacks[i].part;
		unsigned told = changes;

		run("%s", attacks[i].command);
		if (is_in_force(first.datapath))
			fail_msg("changes nothing: %s", attacks[i].command);
		RUN_UNTIL(repairs_of(part) > counted[part] && is_in_force(first.datapath));
		if (changes == told)
			fail_msg("not told: %s", attacks[i].command);
		counted[part] = repairs_of(part);
		for (int other = 0; other < KEEPER_PARTS; other++)
			if (repairs_of(other) != counted[other])
				fail_msg("%s: counted as %s", attacks[i].command,
					keeper_part_names[other]);
		assert_null(keeper_trouble(keeper));
	}
	settle("203.0.113.20/32");
	for (int part = 0; part < KEEPER_PARTS; part++) {
		size_t n = part == KEEPER_ADDRESSES;

		for (size_t i = 0; i < COUNT_OF(attacks); i++)
			n += (int)attacks[i].part == part;
		if (part == KEEPER_ROUTES) /* a flush is many changes */
			assert_true(repairs_of(part) >= n);
		else
			assert_int_equal(repairs_of(part), n);
	}
}

static void leaves_alone_what_is_not_its_own(void **state)
{
	static const struct {
		const char *command, *shown;
	} others[] = {
		{"nft 'add table ip egret; add chain ip egret guard;"
		 " add rule ip egret guard counter'",
			"nft list table ip egret"},
		{"nft 'add table inet egret2; add set inet egret2 ok4 { type ipv4_addr; }'",
			"nft list table inet egret2"},
		{"ip rule add pref 5219 from 192.0.2.99 lookup 100", "ip rule show pref 5219"},
		{"ip -6 rule add pref 5221 from 2001:db8:9::9 lookup 100",
			"ip -6 rule show pref 5221"},
		{"ip route add unreachable 192.0.2.99 table 100", "ip route show table 100"},
		{"ip route add blackhole 192.0.2.98 table 7099",
			"ip route show table 7099 proto boot"},
		{"ip addr add 203.0.113.77/32 dev eth0", "ip -o addr show to 203.0.113.77"},
	};
	char *shown[COUNT_OF(others)];

	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	apply(&first);
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		run("%s", others[i].command);
		shown[i] = output_of(others[i].shown);
		assert_string_not_equal(shown[i], "");
		settle("203.0.113.21/32");
	}
	assert_int_equal(all_repairs(), COUNT_OF(others));
	assert_true(addresses > 0);
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		char *now = output_of(others[i].shown);

		assert_string_equal(now, shown[i]);
		free(now);
		free(shown[i]);
	}
	assert_true(is_in_force(first.datapath));
	run("ip rule del pref 5219; ip -6 rule del pref 5221; ip route flush table 100");
}

/* ARP announcements of the address that have come to the partner. */
static unsigned announced(const char *address)
{
	struct addr addr = addr_of(address);
	uint8_t frame[2048];
	struct sockaddr_ll from;
	socklen_t length = sizeof(from);
	unsigned n = 0;
	ssize_t size;

	while ((size = recvfrom(egress_capture, frame, sizeof(frame), MSG_DONTWAIT,
			(struct sockaddr *)&from, &length)) >= 0)
		n += size >= 28 && ntohs(from.sll_protocol) == ETH_P_ARP && frame[7] == 1 &&
		     memcmp(frame + 14, addr.bytes + 12, 4) == 0 &&
		     memcmp(frame + 24, addr.bytes + 12, 4) == 0;
	return n;
}

/* ---- refusals ---- */

static void refuse_device(struct datapath *d)
{
	strcpy(d->device, "nowhere0");
}

/* -400: before connection tracking there is no NAT.  The table would have to be made anew. */
static void refuse_hook(struct datapath *d)
{
	((struct plan_chain *)plan_chain(d->plan, "translate"))->priority = -400;
}

/* What comes first is done by then. */
static void refuse_rule(struct datapath *d)
{
	static const struct plan_set nowhere = {.name = "nowhere"};
	struct plan_chain *classify = (struct plan_chain *)plan_chain(d->plan, "classify4");

	classify->rules[0].steps[0].set = &nowhere;
	memcpy(strstr(classify->rules[0].text, "exclude4"), "nowhere ", 8);
}

static void refuse_sysctl(struct datapath *d)
{
	d->sysctls[0].path = "net/ipv4/nowhere";
}

static const struct {
	void (*make)(struct datapath *d);
	const char *says;
} refusals[] = {
	{refuse_device, "no device nowhere0"},
	{refuse_hook, "translate"},
	{refuse_rule, "nowhere"},
	{refuse_sysctl, "net/ipv4/nowhere"},
};

static void a_refused_datapath_leaves_the_one_before_in_force(void **state)
{
	int flow;

	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	apply(&first);
	flow = fresh_pod_socket(4);
	assert_string_equal(source_through(flow, "198.51.100.7"), "203.0.113.21");
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		struct error e = {""};
		uint64_t repaired = repairs_of(KEEPER_TABLE);

		second = make_datapath(egress, other_acl);
		refusals[i].make(second.datapath);
		assert_true(keeper_apply(keeper, second.datapath, &e) < 0);
		if (!strstr(e.text, refusals[i].says))
			fail_msg("said: %s", e.text);
		assert_true(is_in_force(first.datapath));
		assert_false(has_address("203.0.113.22"));
		assert_false(has_address("2001:db8:1::22"));
		free_made(&second);
		assert_string_equal(source_through(flow, "198.51.100.7"), "203.0.113.21");
		check_source("198.51.100.8", "203.0.113.21");
		settle("203.0.113.21/32");
		assert_int_equal(repairs_of(KEEPER_TABLE), repaired);
		assert_int_equal(repairs_of(KEEPER_ROUTES), 0);
		run("nft flush ruleset");
		RUN_UNTIL(repairs_of(KEEPER_TABLE) == repaired + 1);
		assert_true(is_in_force(first.datapath));
		assert_null(keeper_trouble(keeper));
		put_flannel();
	}
	close(flow);
}

/* An address is an open door to what listens on the node, until the table guards it. */
static void a_first_datapath_that_is_refused_brings_no_address(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		struct error e = {""};

		need_node();
		first = make_datapath(egress, acl);
		refusals[i].make(first.datapath);
		assert_true(keeper_apply(keeper, first.datapath, &e) < 0);
		if (!strstr(e.text, refusals[i].says))
			fail_msg("said: %s", e.text);
		for (size_t j = 0; j < first.datapath->n_managed; j++) {
			char text[ADDR_TEXT];

			if (has_address(addr_print(&first.datapath->managed[j], text)))
				fail_msg("%s: %s is here", refusals[i].says, text);
		}
		free_made(&first);
	}
}

static void an_address_comes_when_the_table_is_in_force(void **state)
{
	int flow;

	(void)state;
	need_node();
	first = make_datapath(egress, "");
	second = make_datapath(egress, "[partner bank]\ncidr = 198.51.100.0/24\n"
				       "egress-ip = 203.0.113.20, 203.0.113.22\n");
	apply(&first);
	flow = fresh_pod_socket(4);
	assert_string_equal(source_through(flow, "198.51.100.7"), "203.0.113.20");
	meanwhile = "nft list set inet egret dedicated4 | grep -q 203.0.113.22 &&"
		    " ! ip addr show dev eth0 | grep -q 203.0.113.22/";
	apply(&second);
	assert_int_equal(marks, 1);
	meanwhile = NULL;
	assert_true(is_in_force(second.datapath));
	close(flow);
}

static void a_first_datapath_that_is_refused_is_not_kept(void **state)
{
	struct error e = {""};
	unsigned turns = 0;
	ev_timer end;
	int left = 1;

	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	refuse_rule(first.datapath);
	assert_true(keeper_apply(keeper, first.datapath, &e) < 0);
	run("nft add table inet egret; nft flush ruleset");
	ev_timer_init(&end, run_until_tick, 0.2, 0);
	end.data = &left;
	ev_timer_start(loop, &end);
	for (; left > 0; turns++)
		ev_run(loop, EVRUN_ONCE);
	assert_true(turns < 100); /* nothing to do, and no hurry about it */
	assert_int_equal(all_repairs(), 0);
	free_made(&first);
	first = make_datapath(egress, acl);
	(void)announced("203.0.113.21");
	apply(&first);
	assert_true(is_in_force(first.datapath));
	RUN_UNTIL(announced("203.0.113.21") > 0);
}

static void what_cannot_be_put_right_is_told_and_tried_again(void **state)
{
	unsigned told;

	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	apply(&first);
	told = changes;
	if (system("ip link set eth0 name eth7 2>/dev/null"))
		skip(); /* a kernel before 6.2 renames no device that is up */
	run("ip addr del 203.0.113.21/32 dev eth7");
	RUN_UNTIL(keeper_trouble(keeper));
	assert_non_null(strstr(keeper_trouble(keeper), "no device eth0"));
	assert_true(changes > told);
	run("ip link set eth7 name eth0");
	RUN_UNTIL(!keeper_trouble(keeper));
	assert_true(is_in_force(first.datapath));
}

/* ---- one after the other ---- */

static void addresses_that_are_not_wanted_any_more_go(void **state)
{
	const char *seen;

	(void)state;
	need_node();
	run("ip addr add 203.0.113.23/32 dev eth0");
	first = make_datapath(egress, acl);
	second = make_datapath(egress, BANK "egress-ip = 203.0.113.22, 203.0.113.23\n");
	apply(&first);
	apply(&second);
	assert_true(is_in_force(second.datapath));
	assert_false(has_address("203.0.113.21"));
	assert_false(has_address("2001:db8:1::21"));
	assert_true(has_address("203.0.113.20"));
	seen = source_to("198.51.100.7");
	assert_true(strcmp(seen, "203.0.113.22") == 0 || strcmp(seen, "203.0.113.23") == 0);
	apply(&first);
	assert_true(is_in_force(first.datapath));
	assert_false(has_address("203.0.113.22"));
	assert_true(has_address("203.0.113.23")); /* somebody else's */
	free_made(&second);
	second = make_datapath("egress-ip = 203.0.113.9, 2001:db8:1::9\n", "");
	apply(&second);
	assert_false(has_address("203.0.113.20"));
	assert_false(has_address("203.0.113.21"));
	assert_true(has_address("203.0.113.9"));
	run("nft add table ip other; nft flush ruleset");
	RUN_UNTIL(repairs_of(KEEPER_TABLE) == 1);
	assert_int_equal(all_repairs(), 1);
}

/* Before the loop has heard of it: what the edit would mend on its way is somebody's doing. */
static void what_somebody_changed_before_an_edit_is_counted(void **state)
{
	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	second = make_datapath(egress, other_acl);
	apply(&first);
	run("nft add table ip other; nft flush ruleset");
	apply(&second);
	assert_int_equal(repairs_of(KEEPER_TABLE), 1);
	run("ip rule del pref 5220");
	apply(&first);
	assert_int_equal(repairs_of(KEEPER_ROUTES), 1);
	assert_true(is_in_force(first.datapath));
	assert_int_equal(all_repairs(), 2);
}

static void goes_back(void **state)
{
	int flow;

	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	second = make_datapath(egress, other_acl);
	apply(&first);
	apply(&second);
	flow = fresh_pod_socket(4);
	assert_string_equal(source_through(flow, "198.51.100.7"), "203.0.113.22");
	keeper_revert(keeper, first.datapath);
	assert_true(is_in_force(first.datapath));
	assert_false(has_address("203.0.113.22"));
	free_made(&second);
	check_source("198.51.100.7", "203.0.113.21");
	settle("203.0.113.20/32");
	assert_int_equal(all_repairs(), 1);
	RUN_UNTIL(strcmp(source_through(flow, "198.51.100.7"), "203.0.113.21") == 0);
	close(flow);
}

static void flows_that_go_on_as_another_class_are_told(void **state)
{
	int flow;

	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	second = make_datapath(egress, "[partner bank]\ncidr = 198.51.100.0/24\n"
				       "egress-ip = 203.0.113.21, 203.0.113.20\n");
	apply(&first);
	flow = fresh_pod_socket(4);
	assert_string_equal(source_through(flow, "198.51.100.7"), "203.0.113.21");
	apply(&second);
	assert_int_equal(marks, 1);
	assert_string_equal(source_through(flow, "198.51.100.7"), "203.0.113.21");
	close(flow);
}

/* ---- announcements ---- */

static void an_address_that_came_or_came_back_is_announced_four_times(void **state)
{
	static const double gaps[] = {0, 1, 1, 3};
	ev_tstamp last = 0;

	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	(void)announced("203.0.113.21");
	apply(&first);
	for (int times = 0; times < 2; times++) {
		for (size_t i = 0; i < COUNT_OF(gaps); i++) {
			RUN_UNTIL(announced("203.0.113.21") > 0);
			assert_true(ev_time() - last > gaps[i] - 0.1);
			last = ev_time();
		}
		last = 0;
		settle("203.0.113.21/32");
	}
}

/* ---- large plans ---- */

/* A tenth of them under valgrind. */
static char *thousand_partners(unsigned from)
{
	unsigned n = getenv("EGRET_SLOW") ? 100 : 1000;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (unsigned i = 0; i < n; i++) {
		fprintf(out, "[partner p%u]\negress-ip = 203.0.113.%u\ncidr = ", from + i,
			21 + i % 2);
		for (unsigned j = 0; j < 10; j++)
			fprintf(out, "%s20.%u.%u.0/24", j ? ", " : "", (from + i) / 12,
				((from + i) % 12 * 10 + j) * 2);
		fputc('\n', out);
	}
	fclose(out);
	return text;
}

static void own_changes_of_ten_thousand_elements_are_nobody_elses(void **state)
{
	char *texts[] = {thousand_partners(0), thousand_partners(500)};

	(void)state;
	need_node();
	first = make_datapath(egress, texts[0]);
	second = make_datapath(egress, texts[1]);
	for (unsigned i = 0; i < 6; i++) {
		apply(i % 2 ? &second : &first);
		settle("203.0.113.21/32");
		assert_int_equal(repairs_of(KEEPER_TABLE), 0);
		assert_int_equal(repairs_of(KEEPER_ROUTES), 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		run("nft flush ruleset");
		RUN_UNTIL(repairs_of(KEEPER_TABLE) == i + 1);
		settle("203.0.113.21/32");
		assert_int_equal(repairs_of(KEEPER_TABLE), i + 1);
		assert_true(is_in_force(second.datapath));
	}
	free(texts[0]);
	free(texts[1]);
}

/* Nobody listens to the monitor then, and the last transaction has nothing to change. */
static void what_others_do_in_the_middle_of_a_change_is_seen(void **state)
{
	int flow;

	(void)state;
	need_node();
	first = make_datapath(egress, "");
	second = make_datapath(egress, "[partner bank]\ncidr = 198.51.100.0/24\n"
				       "egress-ip = 203.0.113.20, 203.0.113.21\n");
	apply(&first);
	flow = fresh_pod_socket(4);
	assert_string_equal(source_through(flow, "198.51.100.7"), "203.0.113.20");
	meanwhile = "nft insert rule inet egret guard accept";
	apply(&second);
	assert_int_equal(marks, 1);
	assert_false(is_in_force(second.datapath));
	meanwhile = NULL;
	RUN_UNTIL(repairs_of(KEEPER_TABLE) == 1);
	assert_true(is_in_force(second.datapath));
	close(flow);
}

/* Whatever is done to the table while the keeper itself changes it. */
static void a_change_under_its_own_is_seen(void **state)
{
	char *texts[] = {thousand_partners(0), thousand_partners(500)};

	(void)state;
	need_node();
	first = make_datapath(egress, texts[0]);
	second = make_datapath(egress, texts[1]);
	apply(&second);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("sh", "sh", "-c",
			"while :; do nft insert rule inet egret guard accept; sleep 0.1; done"
			" 2>/dev/null",
			NULL);
		_exit(127);
	}
	RUN_UNTIL(repairs_of(KEEPER_TABLE) > 0);
	for (unsigned i = 0; i < 6; i++)
		apply(i % 2 ? &second : &first);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	child = 0;
	RUN_UNTIL(is_in_force(second.datapath));
	settle("203.0.113.21/32");
	assert_true(is_in_force(second.datapath));
	assert_null(keeper_trouble(keeper));
	free(texts[0]);
	free(texts[1]);
}

static int release_all(struct released *released, struct error *e)
{
	const struct addr addrs[] = {addr_of("203.0.113.20"), addr_of("203.0.113.21"),
		addr_of("2001:db8:1::20"), addr_of("2001:db8:1::21")};

	released_set_all(released, true);
	return keeper_release(keeper, released, addrs, COUNT_OF(addrs), e);
}

static void what_is_released_goes_and_is_not_brought_back(void **state)
{
	static struct released released;
	struct error e = {""};

	(void)state;
	need_node();
	first = make_datapath(egress, acl);
	apply(&first);
	assert_int_equal(release_all(&released, &e), 0);
	assert_false(has_address("203.0.113.20") || has_address("2001:db8:1::21"));
	apply(&first);
	assert_false(has_address("203.0.113.20") || has_address("2001:db8:1::21"));
}

/* One that somebody else had added, and those of a device that has another name now. */
static void what_is_released_and_stays_is_told(void **state)
{
	static struct released released;
	struct error e = {""};

	(void)state;
	need_node();
	run("ip addr add 203.0.113.21/32 dev eth0");
	first = make_datapath(egress, acl);
	apply(&first);
	assert_int_equal(release_all(&released, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "`ip addr del`"));
	assert_non_null(strstr(e.text, "here: 203.0.113.21/32 on eth0 (egretd did not add it)"));
	assert_null(strstr(e.text, "203.0.113.20"));
	assert_null(strstr(e.text, "2001:db8:1::"));
	run("ip addr del 203.0.113.21/32 dev eth0");
	released_set_all(&released, false);
	apply(&first);
	run("ip link set eth0 name wan0");
	assert_int_equal(release_all(&released, &e), -EADDRINUSE);
	run("ip link set wan0 name eth0");
	assert_non_null(strstr(e.text, "203.0.113.20/32 on wan0 (egretd adds to eth0)"));
	assert_non_null(strstr(e.text, "2001:db8:1::21/128 on wan0 (egretd adds to eth0)"));
	assert_int_equal(release_all(&released, &e), 0);
}

#define KEEPER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KEEPER_TEST(brings_everything_and_takes_nothing_of_it_for_somebody_elses),
		KEEPER_TEST(puts_right_and_counts_what_others_change),
		KEEPER_TEST(leaves_alone_what_is_not_its_own),
		KEEPER_TEST(a_refused_datapath_leaves_the_one_before_in_force),
		KEEPER_TEST(a_first_datapath_that_is_refused_brings_no_address),
		KEEPER_TEST(an_address_comes_when_the_table_is_in_force),
		KEEPER_TEST(a_first_datapath_that_is_refused_is_not_kept),
		KEEPER_TEST(what_cannot_be_put_right_is_told_and_tried_again),
		KEEPER_TEST(addresses_that_are_not_wanted_any_more_go),
		KEEPER_TEST(what_somebody_changed_before_an_edit_is_counted),
		KEEPER_TEST(goes_back),
		KEEPER_TEST(flows_that_go_on_as_another_class_are_told),
		KEEPER_TEST(an_address_that_came_or_came_back_is_announced_four_times),
		KEEPER_TEST(own_changes_of_ten_thousand_elements_are_nobody_elses),
		KEEPER_TEST(what_others_do_in_the_middle_of_a_change_is_seen),
		KEEPER_TEST(a_change_under_its_own_is_seen),
		KEEPER_TEST(what_is_released_goes_and_is_not_brought_back),
		KEEPER_TEST(what_is_released_and_stays_is_told),
	};

	return cmocka_run_group_tests(tests, make_egress_world, leave_flow_world);
}
