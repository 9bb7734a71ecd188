/*
 * datapath_test.c - what an edition asks of a node: which egress addresses are here, which egretd
 * adds, and when the node is another than it was.
 */
#include "datapath_world.h"

#define BANK "[partner bank]\ncidr = 198.51.100.0/24, 2001:db8:5::/64\n"
#define MANAGED "[nat]\nmanage-address = yes\n"

static struct made made;

static int tear_down(void **state)
{
	(void)state;
	free_made(&made);
	return 0;
}

/* "ADDRESS ADDRESS* ...", sorted; a star: dedicated. */
static const char *here(void)
{
	static char out[512];
	char text[ADDR_TEXT];
	int n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < made.datapath->n_addresses; i++)
		n += snprintf(out + n, sizeof(out) - (size_t)n, "%s%s%s", i ? " " : "",
			addr_print(&made.datapath->addresses[i].addr, text),
			made.datapath->addresses[i].dedicated ? "*" : "");
	return out;
}

static const char *list(const struct addr *addrs, size_t n_addrs)
{
	static char out[512];
	char text[ADDR_TEXT];
	int n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n_addrs; i++)
		n += snprintf(out + n, sizeof(out) - (size_t)n, "%s%s", i ? " " : "",
			addr_print(&addrs[i], text));
	return out;
}

static bool is_stale(void)
{
	struct datapath_ask ask = ask_of(&made);

	return datapath_is_stale(made.datapath, &ask);
}

static char *printed(void)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	datapath_print(made.datapath, out);
	fclose(out);
	return text;
}

static void assert_prints(const char *const lines[], size_t n, bool wanted)
{
	char *text = printed();

	for (size_t i = 0; i < n; i++) {
		char line[256];

		snprintf(line, sizeof(line), "\n%s\n", lines[i]);
		if ((strstr(text, line) != NULL) != wanted)
			fail_msg(
				"%s:\n%s\nin\n%s", wanted ? "missing" : "too much", lines[i], text);
	}
	free(text);
}

static void knows_which_egress_addresses_are_here_and_for_egress_alone(void **state)
{
	(void)state;
	need_egress_world();
	made = make_datapath("egress-ip = 203.0.113.1, 203.0.113.9, 2001:db8:1::9\n",
		BANK "egress-ip = 203.0.113.10, 203.0.113.50, 2001:db8:1::50\n"
		     "[partner two]\ncidr = 192.0.2.7\negress-ip = 203.0.113.10\n");
	assert_string_equal(here(), "203.0.113.1 203.0.113.9* 203.0.113.10* 2001:db8:1::9*");
	assert_string_equal(list(made.datapath->wanted, made.datapath->n_wanted),
		"203.0.113.1 203.0.113.9 203.0.113.10 203.0.113.50 2001:db8:1::9 2001:db8:1::50");
	assert_int_equal(made.datapath->n_managed, 0);
	assert_false(is_stale());
}

static void manages_every_egress_address_that_is_written_down(void **state)
{
	(void)state;
	need_egress_world();
	made = make_datapath("egress-ip = 203.0.113.9, 2001:db8:1::50\n" MANAGED,
		BANK "egress-ip = 203.0.113.50, 203.0.113.9\n");
	assert_string_equal(list(made.datapath->managed, made.datapath->n_managed),
		"203.0.113.9 203.0.113.50 2001:db8:1::50");
	assert_string_equal(made.datapath->device, "eth0");
	assert_string_equal(here(), "203.0.113.9* 203.0.113.50* 2001:db8:1::50*");
	assert_false(has_address("203.0.113.50")); /* made without touching the kernel */
}

#define TWO "gateways = gw1 203.0.113.1 10.42.0.1, gw2 203.0.113.77 10.42.9.1\n"

static const char *managed_by(const char *gateways, const struct released *released)
{
	struct datapath_ask ask;
	struct error e = {""};
	char text[256];

	free_made(&made);
	snprintf(text, sizeof(text), "egress-ip = 203.0.113.9\n%s" MANAGED, gateways);
	made = (struct made){.config = config_of(text),
		.policy = policy_of(BANK "egress-ip = 203.0.113.50\n", &dual_stack)};
	ask = ask_of(&made);
	ask.released = released;
	made.datapath = datapath_new(&ask, &e);
	if (!made.datapath)
		fail_msg("%s", e.text);
	return list(made.datapath->managed, made.datapath->n_managed);
}

static void one_of_several_gateways_manages_what_the_others_were_heard_out_about(void **state)
{
	const struct addr known = addr_of("203.0.113.9");
	struct released released = {0};

	(void)state;
	need_egress_world();
	assert_string_equal(managed_by(TWO, &released), "");
	assert_string_equal(list(made.datapath->manageable, made.datapath->n_manageable),
		"203.0.113.9 203.0.113.50");
	assert_string_equal(managed_by("", &released), "203.0.113.9 203.0.113.50");
	assert_int_equal(released_follow(&released, &known, 1, 0), 1);
	assert_string_equal(managed_by(TWO, &released), "");
	released_decide(&released, &known, 0);
	assert_string_equal(managed_by(TWO, &released), "203.0.113.9");
	assert_int_equal(released_add(&released, &known), 0);
	assert_string_equal(managed_by(TWO, &released), "");
	assert_string_equal(managed_by("", &released), "203.0.113.50");
	released_fini(&released);
}

/* The node's own address is not egretd's to add, whoever leaves with it. */
static void does_not_manage_the_nodes_own_address(void **state)
{
	struct addr own = addr_of("203.0.113.1");
	struct datapath_ask ask;
	struct error e = {""};

	(void)state;
	need_egress_world();
	made.config = config_of("egress-ip = auto\n" MANAGED);
	made.policy = policy_of(BANK "egress-ip = 203.0.113.50, 203.0.113.1\n", &dual_stack);
	ask = ask_of(&made);
	ask.egress = &own;
	ask.n_egress = 1;
	made.datapath = datapath_new(&ask, &e);
	assert_non_null(made.datapath);
	assert_string_equal(list(made.datapath->managed, made.datapath->n_managed), "203.0.113.50");
	assert_string_equal(here(), "203.0.113.1 203.0.113.50*");
}

static void manages_on_the_interface_that_is_named(void **state)
{
	static const struct {
		const char *device, *error;
	} cases[] = {{"cni0", NULL},
		{"nowhere0", "egress-interface = nowhere0: want an interface of this node"}};

	(void)state;
	need_egress_world();
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct datapath_ask ask;
		struct error e = {""};
		char text[256];

		snprintf(text, sizeof(text), "egress-ip = 203.0.113.50\negress-interface = %s\n%s",
			cases[i].device, MANAGED);
		made.config = config_of(text);
		made.policy = policy_of(BANK, &dual_stack);
		ask = ask_of(&made);
		made.datapath = datapath_new(&ask, &e);
		assert_int_equal(!made.datapath, cases[i].error != NULL);
		if (cases[i].error)
			assert_string_equal(e.text, cases[i].error);
		else
			assert_string_equal(made.datapath->device, cases[i].device);
		free_made(&made);
	}
}

static void without_a_default_route_it_says_what_it_wants(void **state)
{
	struct datapath_ask ask;
	struct error e = {""};

	(void)state;
	need_egress_world();
	enter_new_namespace();
	made.config = config_of("egress-ip = 203.0.113.50\n" MANAGED);
	made.policy = policy_of(BANK, &dual_stack);
	ask = ask_of(&made);
	assert_null(datapath_new(&ask, &e));
	assert_non_null(strstr(e.text, "there is no default route: want egress-interface"));
}

/* What a change of the node makes of a datapath. */
static void is_stale_when_egress_addresses_come_go_or_become_the_nodes_own(void **state)
{
	static const struct {
		const char *change, *back;
		bool stale;
	} cases[] = {
		{"ip addr add 203.0.113.50/32 dev eth0", "ip addr del 203.0.113.50/32 dev eth0",
			true},
		{"ip addr add 203.0.113.50/32 dev cni0", "ip addr del 203.0.113.50/32 dev cni0",
			true},
		{"ip addr del 203.0.113.10/32 dev eth0", "ip addr add 203.0.113.10/32 dev eth0",
			true},
		{"ip addr del 2001:db8:1::10/128 dev eth0",
			"ip addr add 2001:db8:1::10/128 dev eth0 nodad preferred_lft 0", true},
		{"ip route change default via 203.0.113.254 src 203.0.113.10",
			"ip route change default via 203.0.113.254", true},
		{"ip addr add 203.0.113.51/32 dev eth0", "ip addr del 203.0.113.51/32 dev eth0",
			false},
		{"ip link add other0 type veth", "ip link del other0", false},
	};

	(void)state;
	need_egress_world();
	made = make_datapath("egress-ip = 203.0.113.9\n",
		BANK "egress-ip = 203.0.113.10, 203.0.113.50, 2001:db8:1::10\n");
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		assert_false(is_stale());
		run("%s", cases[i].change);
		if (is_stale() != cases[i].stale)
			fail_msg("%s", cases[i].change);
		run("%s", cases[i].back);
	}
	assert_false(is_stale());
}

static void is_stale_when_the_network_of_the_nodes_is_another(void **state)
{
	(void)state;
	need_egress_world();
	made = make_datapath("egress-ip = 203.0.113.9\n"
			     "gateways = gw1 203.0.113.1 10.42.0.1, gw2 203.0.113.77 10.42.9.1\n",
		BANK);
	assert_false(is_stale());
	run("ip route add 203.0.113.64/26 dev eth0");
	assert_true(is_stale());
	run("ip route del 203.0.113.64/26 dev eth0");
	assert_false(is_stale());
}

/* An address that egretd adds is here by definition: the keeper sees to it. */
static void managed_addresses_that_go_make_nothing_stale(void **state)
{
	(void)state;
	need_egress_world();
	made = make_datapath(
		"egress-ip = 203.0.113.9\n" MANAGED, BANK "egress-ip = 203.0.113.50\n");
	assert_false(is_stale());
	run("ip addr add 203.0.113.50/32 dev eth0");
	assert_false(is_stale());
	run("ip addr del 203.0.113.50/32 dev eth0");
	assert_false(is_stale());
	run("ip link add other0 type veth; ip link set other0 up;"
	    " ip route add default dev other0 metric 1; ip route del default via 203.0.113.254;"
	    " ip -6 route del default");
	assert_true(is_stale()); /* another device */
	run("ip route add default via 203.0.113.254; ip route add default via 2001:db8:1::fe;"
	    " ip link del other0");
	assert_false(is_stale());
}

static void an_address_that_is_not_here_translates_nothing(void **state)
{
	struct plan_packet p = {addr_of("10.42.0.2"), addr_of("198.51.100.7"), IPPROTO_TCP, 443};
	struct addr away = addr_of("203.0.113.50"), present = addr_of("203.0.113.10");
	struct plan_decision d;

	(void)state;
	need_egress_world();
	made = make_datapath(
		"egress-ip = 203.0.113.9\n", BANK "egress-ip = 203.0.113.10, 203.0.113.50\n");
	d = plan_decide(made.datapath->plan, &p);
	assert_int_equal(d.fate, PLAN_CLASSED_AS);
	assert_true(plan_allows(made.datapath->plan, d.mark, &present));
	assert_false(plan_allows(made.datapath->plan, d.mark, &away));
}

static void flows_wait_for_addresses_only_where_conntrackd_tells_of_them(void **state)
{
	static const struct {
		const char *config;
		bool wait;
	} cases[] = {{"egress-ip = 203.0.113.9\n", false},
		{"egress-ip = 203.0.113.9\n[nat]\nflow-sync = yes\n", true},
		{"role = agent\negress-ip = 203.0.113.9\n[nat]\nflow-sync = yes\n", false}};
	static const char *const lines[] = {
		"# sysctl -w net/netfilter/nf_conntrack_tcp_be_liberal=1"};
	struct plan_packet p = {addr_of("10.42.0.2"), addr_of("198.51.100.7"), IPPROTO_TCP, 443};
	struct addr away = addr_of("203.0.113.50"), present = addr_of("203.0.113.10");

	(void)state;
	need_egress_world();
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint32_t mark;

		made = make_datapath(
			cases[i].config, BANK "egress-ip = 203.0.113.10, 203.0.113.50\n");
		mark = plan_decide(made.datapath->plan, &p).mark;
		assert_int_equal(plan_spares(made.datapath->plan, mark, &away), cases[i].wait);
		assert_false(plan_spares(made.datapath->plan, mark, &present));
		assert_prints(lines, 1, cases[i].wait);
		free_made(&made);
	}
}

static void learnt_addresses_are_in_plan_and_guard(void **state)
{
	struct addr addrs[] = {addr_of("198.51.100.9"), addr_of("2001:db8:5::9")};
	const struct learnt_answer answer = {.addrs = addrs, .n = 2, .ttl = 60};
	static const char *const lines[] = {
		"# ip route add unreachable 198.51.100.9 table 7099 protocol 230"};
	struct plan_packet p = {addr_of("10.42.0.2"), addrs[0], IPPROTO_TCP, 443};
	struct learnt *learnt = learnt_new();
	struct datapath_ask ask;
	struct plan_decision d;
	size_t dropped = 0;

	(void)state;
	need_egress_world();
	assert_non_null(learnt);
	learnt_put(learnt, "shop", "shop.test", &answer, 0, &dropped);
	made.config = config_of("egress-ip = 203.0.113.9\ndefault-egress = local\n");
	made.policy = policy_of("[partner shop]\nhosts = shop.test\nnat = resolve\n"
				"egress-ip = 203.0.113.10\n",
		&dual_stack);
	ask = ask_of(&made);
	ask.learnt = learnt;
	made.datapath = datapath_new(&ask, NULL);
	assert_non_null(made.datapath);
	d = plan_decide(made.datapath->plan, &p);
	assert_int_equal(d.fate, PLAN_CLASSED_AS);
	assert_int_equal(plan_class(made.datapath->plan, d.mark)->section, 0);
	assert_prints(lines, COUNT_OF(lines), true);
	learnt_free(learnt);
}

/* ---- addresses that names do not have any more ---- */

#define SHOP "nat = resolve\negress-ip = 203.0.113.10\n"
#define OTHER "nat = resolve\negress-ip = 203.0.113.50\n"

static const char shop[] = "[partner shop]\nhosts = a.test, b.test\n" SHOP;

/* What `learnt` (NULL: nothing) makes of `acl`; NULL: of the policy of `same`. */
static struct made plan_names(const char *acl, const struct made *same, const struct learnt *learnt)
{
	struct made m = {.config = config_of("egress-ip = 203.0.113.9\n"),
		.policy = acl ? policy_of(acl, &dual_stack) : policy_get(same->policy)};
	struct datapath_ask ask = ask_of(&m);
	struct error e = {""};

	ask.learnt = learnt;
	m.datapath = datapath_new(&ask, &e);
	if (!m.datapath)
		fail_msg("%s", e.text);
	return m;
}

static void learn(struct learnt *learnt, const char *host, const char *addr)
{
	struct addr one = addr_of(addr);
	const struct learnt_answer answer = {.addrs = &one, .n = 1, .ttl = 60};
	size_t dropped;

	assert_int_equal(learnt_put(learnt, "shop", host, &answer, 0, &dropped), LEARNT_CHANGED);
}

static const char *retired(const struct made *m)
{
	static char out[512];
	const struct audit_retired *r = &m->datapath->retired;
	char text[ADDR_TEXT];
	int n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < r->n; i++)
		n += snprintf(out + n, sizeof(out) - (size_t)n, "%s%s=%s", i ? " " : "",
			policy_section(m->policy, r->at[i].section)->name,
			addr_print(&r->at[i].addr, text));
	return out;
}

/* `learnt` is what `shop` had, and has no more when `acl` comes: at once, or after DNS said so. */
static void assert_retires(const struct learnt *learnt, const char *acl, const char *want)
{
	for (int dns_first = 0; dns_first < 2; dns_first++) {
		struct made had = plan_names(shop, NULL, learnt), next;

		if (dns_first) {
			next = plan_names(NULL, &had, NULL);
			assert_true(datapath_inherit(next.datapath, had.datapath));
			free_made(&had);
			had = next;
		}
		next = plan_names(acl, NULL, NULL);
		assert_true(datapath_inherit(next.datapath, had.datapath));
		free_made(&had);
		if (strcmp(retired(&next), want) != 0)
			fail_msg("%s\nwith\n%s\ninstead of\n%s", retired(&next), acl, want);
		free_made(&next);
	}
}

static void an_address_that_dns_gives_no_more_is_retired_until_it_is_back(void **state)
{
	struct learnt *both = learnt_new(), *one = learnt_new();
	struct made first, second, third;

	(void)state;
	need_egress_world();
	learn(both, "a.test", "198.51.100.1");
	learn(both, "b.test", "198.51.100.2");
	learn(one, "b.test", "198.51.100.2");
	first = plan_names(shop, NULL, both);
	second = plan_names(NULL, &first, one);
	assert_true(datapath_inherit(second.datapath, first.datapath));
	free_made(&first);
	assert_string_equal(retired(&second), "shop=198.51.100.1");
	third = plan_names(NULL, &second, both);
	assert_true(datapath_inherit(third.datapath, second.datapath));
	free_made(&second);
	assert_string_equal(retired(&third), "");
	free_made(&third);
	learnt_free(both);
	learnt_free(one);
}

static void only_a_host_that_is_still_named_and_leaves_the_same_keeps_its_flows(void **state)
{
	static const struct {
		const char *acl, *want;
	} cases[] = {
		{"[partner SHOP]\nhosts = b.test, a.test\n" SHOP,
			"SHOP=198.51.100.1 SHOP=198.51.100.2"},
		{"[partner shop]\nhosts = b.test\n" SHOP, "shop=198.51.100.2"},
		{"[partner shop]\nhosts = a.test, b.test\negress-ip = 203.0.113.10\n", ""},
		{"[partner shop]\nhosts = c.test\n" SHOP, ""},
		{"[partner bank]\nhosts = a.test\n" SHOP, "bank=198.51.100.1"},
		{"[partner bank]\nhosts = a.test\n" OTHER, ""},
		{"[partner shop]\nhosts = a.test, b.test\n" OTHER, ""},
		{"[partner shop]\nhosts = a.test, b.test\n"
		 "nat = resolve\n"
		 "egress-ip = 203.0.113.10, 203.0.113.50\n",
			""},
		{"[partner bank]\nhosts = a.test\nnat = resolve\n", ""},
		{"[partner bank]\nhosts = a.test\n" OTHER "[partner bonds]\nhosts = a.test\n" SHOP
		 "[partner shop]\nhosts = b.test\n" SHOP "[partner cash]\nhosts = a.test\n" SHOP,
			"bonds=198.51.100.1 shop=198.51.100.2"},
		{"[partner bank]\nhosts = a.test\n" SHOP "[partner shop]\nhosts = a.test\n" SHOP
		 "[partner cash]\nhosts = a.test\n" SHOP,
			"shop=198.51.100.1"},
		{"", ""},
	};
	struct learnt *learnt = learnt_new();

	(void)state;
	need_egress_world();
	learn(learnt, "a.test", "198.51.100.1");
	learn(learnt, "b.test", "198.51.100.2");
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_retires(learnt, cases[i].acl, cases[i].want);
	learnt_free(learnt);
}

/* One that an earlier gate had learnt, of nobody knows which host. */
static void an_address_of_an_unknown_host_is_retired_where_all_are_still_named(void **state)
{
	static const struct {
		const char *acl, *want;
	} cases[] = {
		{"[partner shop]\nhosts = a.test, b.test, c.test\n" SHOP, "shop=198.51.100.1"},
		{"[partner bank]\nhosts = b.test, a.test\n" SHOP, "bank=198.51.100.1"},
		{"[partner shop]\nhosts = a.test, c.test\n" SHOP, ""},
		{"[partner bank]\nhosts = b.test, a.test\n" OTHER, ""},
	};
	struct policy *policy = policy_of(shop, &dual_stack);
	struct addr addr = addr_of("198.51.100.1");
	struct learnt *learnt = learnt_new();

	(void)state;
	need_egress_world();
	assert_true(learnt_recover(learnt, policy, policy_section(policy, 0), &addr));
	policy_put(policy);
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_retires(learnt, cases[i].acl, cases[i].want);
	learnt_free(learnt);
}

/* The next edition has what is known before the proxy has asked anything. */
static void a_host_is_planned_where_the_next_policy_names_it(void **state)
{
	static const struct {
		const char *acl;
		int section; /* that 198.51.100.1 belongs to */
	} cases[] = {
		{shop, 0},
		{"[partner bank]\nhosts = b.test, a.test\n" OTHER, 0},
		{"[partner shop]\nhosts = b.test\n" SHOP "[partner bank]\nhosts = a.test\n" OTHER,
			1},
		{"[partner bank]\nhosts = a.test\n" OTHER "[partner shop]\nhosts = a.test\n" SHOP,
			0},
		{"[partner shop]\nhosts = b.test\n" SHOP, -1},
	};
	struct plan_packet p = {addr_of("10.42.0.2"), addr_of("198.51.100.1"), IPPROTO_TCP, 443};
	struct learnt *learnt = learnt_new();

	(void)state;
	need_egress_world();
	learn(learnt, "a.test", "198.51.100.1");
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		made = plan_names(cases[i].acl, NULL, learnt);
		if (plan_section(made.datapath->plan, made.policy, &p) != cases[i].section)
			fail_msg("%s", cases[i].acl);
		free_made(&made);
	}
	learnt_free(learnt);
}

static void prints_what_nft_reads_and_a_shell_could(void **state)
{
	static const char *const lines[] = {
		"# sysctl -w net/ipv4/conf/all/src_valid_mark=1",
		"# ip addr add 203.0.113.50/32 dev eth0",
		"# ip addr add 2001:db8:1::50/128 dev eth0 nodad preferred_lft 0",
		"# ip route add throw 10.43.0.0/16 table 7099 protocol 230",
		"# ip route add unreachable 0.0.0.0/0 table 7099 protocol 230",
		"# ip rule add pref 5220 from 10.42.0.0/16 fwmark 0/0xff000000 lookup 7099 "
		"protocol 230",
		"# ip -6 rule add pref 5220 from fd42::/56 fwmark 0/0xff000000 lookup 7099 "
		"protocol 230",
	};
	static const char *const flow_log[] = {"# sysctl -w net/netfilter/nf_conntrack_acct=1",
		"# sysctl -w net/netfilter/nf_conntrack_timestamp=1",
		"# sysctl -w net/netfilter/nf_conntrack_events=1"};
	char *text;

	(void)state;
	need_egress_world();
	made = make_datapath("egress-ip = 203.0.113.50, 2001:db8:1::50\n" MANAGED, BANK);
	assert_prints(lines, COUNT_OF(lines), true);
	assert_prints(flow_log, COUNT_OF(flow_log), false);
	text = printed();
	assert_int_equal(nft_takes("-c", text), 0);
	free(text);
	free_made(&made);
	made = make_datapath("egress-ip = 203.0.113.9\n[nat]\nflow-log = /tmp/flows\n", BANK);
	assert_prints(flow_log, COUNT_OF(flow_log), true);
}

#define DATAPATH_TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DATAPATH_TEST(knows_which_egress_addresses_are_here_and_for_egress_alone),
		DATAPATH_TEST(manages_every_egress_address_that_is_written_down),
		DATAPATH_TEST(one_of_several_gateways_manages_what_the_others_were_heard_out_about),
		DATAPATH_TEST(does_not_manage_the_nodes_own_address),
		DATAPATH_TEST(manages_on_the_interface_that_is_named),
		DATAPATH_TEST(without_a_default_route_it_says_what_it_wants),
		DATAPATH_TEST(is_stale_when_egress_addresses_come_go_or_become_the_nodes_own),
		DATAPATH_TEST(is_stale_when_the_network_of_the_nodes_is_another),
		DATAPATH_TEST(managed_addresses_that_go_make_nothing_stale),
		DATAPATH_TEST(an_address_that_is_not_here_translates_nothing),
		DATAPATH_TEST(flows_wait_for_addresses_only_where_conntrackd_tells_of_them),
		DATAPATH_TEST(learnt_addresses_are_in_plan_and_guard),
		DATAPATH_TEST(an_address_that_dns_gives_no_more_is_retired_until_it_is_back),
		DATAPATH_TEST(only_a_host_that_is_still_named_and_leaves_the_same_keeps_its_flows),
		DATAPATH_TEST(an_address_of_an_unknown_host_is_retired_where_all_are_still_named),
		DATAPATH_TEST(a_host_is_planned_where_the_next_policy_names_it),
		DATAPATH_TEST(prints_what_nft_reads_and_a_shell_could),
	};

	return cmocka_run_group_tests(tests, make_egress_world, leave_flow_world);
}
