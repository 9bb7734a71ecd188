/*
 * policy_test.c - who may go where, and why.
 */
#include "policy_world.h"

/* ---- decisions ---- */

static void nothing_passes_an_empty_policy(void **state)
{
	(void)state;
	EXPECT("# nothing\n", {"10.42.0.1 example.com:80", "no-match"},
		{"10.42.0.1 example.com:80 = 1.2.3.4", "no-match"},
		{"10.42.0.1 1.2.3.4:80", "no-match"}, {"10.42.0.1 [2001:db8::1]:80", "no-match"});
}

static void the_first_match_in_file_order_decides(void **state)
{
	(void)state;
	EXPECT("[block bad]\nhosts = bad.example.com, .evil.example\n"
	       "[partner one]\nhosts = www.example.com\n"
	       "[partner below]\nhosts = *.example.com\n"
	       "[block late]\nhosts = late.example.com, other.net\n"
	       "[partner tree]\nhosts = .example.com\n"
	       "[partner other]\nhosts = other.net, a.org\n",
		{"10.42.0.1 bad.example.com:80", "deny bad"},
		{"10.42.0.1 evil.example:80", "deny bad"},
		{"10.42.0.1 a.b.evil.example:80", "deny bad"},
		{"10.42.0.1 www.example.com:80", "allow one"},
		{"10.42.0.1 a.www.example.com:80", "allow below"},
		{"10.42.0.1 late.example.com:80", "allow below"},
		{"10.42.0.1 example.com:80", "allow tree"}, {"10.42.0.1 other.net:80", "deny late"},
		{"10.42.0.1 a.org:80", "allow other"}, {"10.42.0.1 b.a.org:80", "no-match"},
		{"10.42.0.1 xexample.com:80", "no-match"});
}

static void names_hosts_and_networks_take_their_turn_in_every_order(void **state)
{
	(void)state;
	/* partner by network, then block by host */
	EXPECT("[partner net]\ncidr = 192.0.2.0/24\n[block host]\nhosts = a.test\n"
	       "[partner all]\nhosts = *\n",
		{"10.42.0.1 a.test:80", "resolve"},
		{"10.42.0.1 a.test:80 = 192.0.2.1", "allow net"},
		{"10.42.0.1 a.test:80 = 192.0.2.1 1.1.1.1", "deny host"},
		{"10.42.0.1 a.test:80 = none", "deny host"}, {"10.42.0.1 b.test:80", "resolve"},
		{"10.42.0.1 b.test:80 = 1.1.1.1", "allow all"},
		{"10.42.0.1 192.0.2.1:80", "allow net"}, {"10.42.0.1 1.1.1.1:80", "allow all"});
	/* block by host, then partner by network */
	EXPECT("[block host]\nhosts = a.test, 192.0.2.7\n[partner net]\ncidr = 192.0.2.0/24\n",
		{"10.42.0.1 a.test:80", "deny host"},
		{"10.42.0.1 a.test:80 = 192.0.2.1", "deny host"},
		{"10.42.0.1 b.test:80", "resolve"},
		{"10.42.0.1 b.test:80 = 192.0.2.7", "allow net"},
		{"10.42.0.1 b.test:80 = 1.1.1.1", "no-match"},
		{"10.42.0.1 b.test:80 = none", "not-resolved"},
		{"10.42.0.1 192.0.2.7:80", "deny host"}, {"10.42.0.1 192.0.2.8:80", "allow net"},
		{"10.42.0.1 192.0.3.8:80", "no-match"});
	/* block by network, then partner by host: decided without looking up */
	EXPECT("[block net]\ncidr = 192.0.2.0/24\n[partner host]\nhosts = a.test, 192.0.2.7\n",
		{"10.42.0.1 a.test:80", "allow host"},
		{"10.42.0.1 a.test:80 = 192.0.2.1 192.0.2.2", "deny net"},
		{"10.42.0.1 a.test:80 = 192.0.2.1 1.1.1.1", "allow host"},
		{"10.42.0.1 a.test:80 = none", "allow host"}, {"10.42.0.1 b.test:80", "no-match"},
		{"10.42.0.1 192.0.2.7:80", "deny net"}, {"10.42.0.1 192.0.2.7:80", "deny net"});
	/* block by network, then partner by a wider network */
	EXPECT("[block net]\ncidr = 192.0.2.128/25\n[partner wide]\ncidr = 192.0.2.0/24\n",
		{"10.42.0.1 a.test:80", "resolve"},
		{"10.42.0.1 a.test:80 = 192.0.2.1", "allow wide"},
		{"10.42.0.1 a.test:80 = 192.0.2.200", "deny net"},
		{"10.42.0.1 a.test:80 = 192.0.2.1 192.0.2.200", "allow wide"});
	/* both ways in one section */
	EXPECT("[partner both]\nhosts = a.test\ncidr = 192.0.2.0/24, 2001:db8::/32\n",
		{"10.42.0.1 a.test:80", "allow both"}, {"10.42.0.1 b.test:80", "resolve"},
		{"10.42.0.1 b.test:80 = 192.0.2.1 2001:db8::1", "allow both"},
		{"10.42.0.1 b.test:80 = 192.0.2.1 2001:db9::1", "no-match"},
		{"10.42.0.1 [2001:db8::1]:80", "allow both"},
		{"10.42.0.1 [::ffff:192.0.2.1]:80", "allow both"});
}

static void a_denied_name_is_never_looked_up(void **state)
{
	(void)state;
	EXPECT("[block net]\ncidr = 192.0.2.0/24\n"
	       "[partner elsewhere]\ncidr = 198.51.100.0/24\nports = 8443\n"
	       "[partner others]\ncidr = 198.51.100.0/24\nfrom = 10.42.9.0/24\n"
	       "[partner datagrams]\ncidr = 198.51.100.0/24\nprotocol = udp\n"
	       "[partner plain]\ncidr = 198.51.100.0/24\nfrom = 10.42.8.0/24\n",
		{"10.42.0.1 a.test:80", "no-match"}, {"10.42.0.1 a.test:8443", "resolve"},
		{"10.42.9.1 a.test:80", "resolve"}, {"10.42.0.1 a.test:53/udp", "resolve"},
		{"10.42.8.1 a.test:80", "resolve"}, {"10.42.8.1 CONNECT a.test:80", "no-match"},
		{"10.42.8.1 CONNECT a.test:443", "resolve"});
}

static void the_lookup_waits_for_its_turn_whatever_the_scopes(void **state)
{
	(void)state;
	/* the second and third have the scope of the first; only the last fits port 81 */
	EXPECT("[partner a]\ncidr = 192.0.2.0/25\nports = 80\n"
	       "[partner b]\nhosts = b.test\nports = 81\n"
	       "[partner c]\ncidr = 192.0.2.128/25\nports = 80\n"
	       "[block d]\nhosts = d.test\n"
	       "[partner e]\ncidr = 192.0.2.0/24\nports = 81\n",
		{"10.42.0.1 b.test:81", "allow b"}, {"10.42.0.1 b.test:80", "resolve"},
		{"10.42.0.1 b.test:80 = 192.0.2.129", "allow c"}, {"10.42.0.1 d.test:81", "deny d"},
		{"10.42.0.1 x.test:81", "resolve"}, {"10.42.0.1 x.test:82", "no-match"});
}

static void sources_are_pods_unless_from_says_more(void **state)
{
	(void)state;
	EXPECT("[block b]\nhosts = b.test\n"
	       "[partner team]\nhosts = team.test\nfrom = team\n"
	       "[partner all]\nhosts = all.test\nfrom = any\n"
	       "[partner mixed]\nhosts = mixed.test\nfrom = pods, team, 192.0.2.1\n"
	       "[partner pods]\nhosts = pods.test\n"
	       "[block some]\nhosts = some.test\nfrom = 10.42.1.0/24\n"
	       "[partner rest]\nhosts = some.test\n"
	       "[partner six]\nhosts = six.test\nfrom = ::/0\n"
	       "[group team]\ncidr = 10.9.0.0/24, fd09::/64\n",
		{"8.8.8.8 b.test:80", "deny b"}, {"2001:db8::1 b.test:80", "deny b"},
		{"10.9.0.1 team.test:80", "allow team"}, {"fd09::1 team.test:80", "allow team"},
		{"10.42.0.1 team.test:80", "no-match"}, {"8.8.8.8 all.test:80", "allow all"},
		{"2001:db8::1 all.test:80", "allow all"},
		{"10.42.0.1 mixed.test:80", "allow mixed"},
		{"10.9.0.1 mixed.test:80", "allow mixed"},
		{"192.0.2.1 mixed.test:80", "allow mixed"}, {"192.0.2.2 mixed.test:80", "no-match"},
		{"fd42::1 pods.test:80", "allow pods"}, {"fd42:0:0:1::1 pods.test:80", "no-match"},
		{"10.43.0.1 pods.test:80", "no-match"},
		{"::ffff:10.42.0.1 pods.test:80", "allow pods"},
		{"10.42.1.1 some.test:80", "deny some"}, {"10.42.2.1 some.test:80", "allow rest"},
		{"fd42::1 six.test:80", "allow six"}, {"10.42.0.1 six.test:80", "no-match"});
}

static void ports_and_protocol_are_part_of_the_match(void **state)
{
	(void)state;
	EXPECT("[block mail]\nhosts = *\nports = 25, 465\n"
	       "[partner web]\nhosts = .web.test\nports = 8000-8100, 443, 80-81, 82, 8050-8200\n"
	       "[partner dns]\nhosts = dns.test\nports = 53\nprotocol = udp\n"
	       "[partner tcp]\nhosts = tcp.test\nprotocol = tcp\n"
	       "[partner any]\nhosts = any.test\n"
	       "[partner star]\nhosts = star.test\nports = *\n",
		{"10.42.0.1 star.test:25", "deny mail"},
		{"10.42.0.1 CONNECT star.test:465", "deny mail"},
		{"10.42.0.1 web.test:80", "allow web"}, {"10.42.0.1 web.test:82", "allow web"},
		{"10.42.0.1 web.test:83", "no-match"}, {"10.42.0.1 web.test:79", "no-match"},
		{"10.42.0.1 web.test:8000", "allow web"}, {"10.42.0.1 web.test:8200", "allow web"},
		{"10.42.0.1 web.test:8201", "no-match"}, {"10.42.0.1 web.test:7999", "no-match"},
		{"10.42.0.1 dns.test:53/udp", "allow dns"}, {"10.42.0.1 dns.test:53", "no-match"},
		{"10.42.0.1 tcp.test:53", "allow tcp"}, {"10.42.0.1 tcp.test:53/udp", "no-match"},
		{"10.42.0.1 any.test:53/udp", "allow any"}, {"10.42.0.1 any.test:1", "allow any"},
		{"10.42.0.1 star.test:65535", "allow star"});
}

static void connect_goes_to_443_only_unless_the_partner_names_the_port(void **state)
{
	(void)state;
	EXPECT("[partner none]\nhosts = a.test\ncidr = 192.0.2.0/24\n"
	       "[partner named]\nhosts = a.test, b.test\nports = 8443\n"
	       "[partner star]\nhosts = c.test\nports = *\n",
		{"10.42.0.1 CONNECT a.test:443", "allow none"},
		{"10.42.0.1 a.test:8443", "allow none"},
		{"10.42.0.1 CONNECT a.test:8443", "allow named"},
		{"10.42.0.1 CONNECT b.test:443", "resolve"},
		{"10.42.0.1 CONNECT b.test:443 = 1.1.1.1", "no-match"},
		{"10.42.0.1 CONNECT 192.0.2.1:22", "no-match"},
		{"10.42.0.1 CONNECT 192.0.2.1:443", "allow none"},
		{"10.42.0.1 CONNECT c.test:22", "allow star"});
}

static void a_host_pattern_can_be_an_address_or_everything(void **state)
{
	(void)state;
	EXPECT("[partner v4]\nhosts = 192.0.2.1\n[partner v6]\nhosts = [2001:DB8:0::1], "
	       "2001:db8::2\n"
	       "[partner all]\nhosts = *\nfrom = 10.42.7.0/24\n",
		{"10.42.0.1 192.0.2.1:80", "allow v4"},
		{"10.42.0.1 [::ffff:192.0.2.1]:80", "allow v4"},
		{"10.42.0.1 [2001:db8::1]:80", "allow v6"},
		{"10.42.0.1 [2001:db8::2]:80", "allow v6"},
		{"10.42.0.1 a.test:80 = 192.0.2.1", "no-match"},
		{"10.42.0.1 a.test:80", "no-match"}, {"10.42.7.1 8.8.8.8:80", "allow all"},
		{"10.42.7.1 [2001:db8::3]:80", "allow all"}, {"10.42.7.1 a.test:80", "allow all"});
}

static void patterns_are_canonicalised_like_names(void **state)
{
	(void)state;
	EXPECT("[partner a]\nhosts = WWW.Example.COM., *.UP.test, .Tree.TEST.\n",
		{"10.42.0.1 www.example.com:80", "allow a"}, {"10.42.0.1 x.up.test:80", "allow a"},
		{"10.42.0.1 tree.test:80", "allow a"}, {"10.42.0.1 x.tree.test:80", "allow a"});
}

static void a_block_in_report_mode_never_denies(void **state)
{
	(void)state;
	EXPECT("[block trial]\nhosts = a.test, b.test\ncidr = 192.0.2.0/24\nmode = report\n"
	       "[block trial2]\nhosts = a.test\nmode = report\n"
	       "[block real]\nhosts = b.test\n"
	       "[partner p]\nhosts = *\n",
		{"10.42.0.1 a.test:80", "allow p report trial"},
		{"10.42.0.1 b.test:80", "deny real"}, {"10.42.0.1 c.test:80", "allow p"},
		{"10.42.0.1 c.test:80 = 192.0.2.1", "allow p report trial"},
		{"10.42.0.1 192.0.2.1:80", "allow p report trial"});
	EXPECT("[block trial]\nhosts = a.test\nmode = report\n",
		{"10.42.0.1 a.test:80", "no-match"});
}

static void a_partner_in_report_mode_lets_pass_what_nothing_else_does(void **state)
{
	(void)state;
	EXPECT("[partner trial]\nhosts = .a.test\nports = 443\nfrom = 10.42.1.0/24\nmode = report\n"
	       "[partner web]\nhosts = www.a.test\n"
	       "[block bad]\nhosts = bad.a.test\ncidr = 192.0.2.0/24\n"
	       "[partner nets]\ncidr = 198.51.100.0/24\nports = 22\nmode = report\n",
		{"10.42.1.1 a.test:443", "allow trial"},
		{"10.42.1.1 a.test:80", "allow trial report trial"},
		{"10.42.0.1 a.test:443", "allow trial report trial"},
		{"8.8.8.8 CONNECT a.test:22", "allow trial report trial"},
		{"10.42.0.1 www.a.test:80", "allow web"}, {"10.42.0.1 bad.a.test:80", "deny bad"},
		{"10.42.0.1 x.a.test:80 = 192.0.2.1", "deny bad"},
		{"10.42.0.1 b.test:80", "resolve"},
		{"10.42.0.1 b.test:80 = 198.51.100.1", "allow nets report nets"},
		{"10.42.0.1 b.test:80 = 1.1.1.1", "no-match"},
		{"10.42.0.1 b.test:80 = none", "not-resolved"},
		{"10.42.0.1 198.51.100.1:80", "allow nets report nets"},
		{"10.42.0.1 1.1.1.1:80", "no-match"});
}

static void addresses_count_only_when_they_are_the_whole_answer(void **state)
{
	struct policy *policy = policy_of("[partner net]\ncidr = 192.0.2.0/24\n");
	struct question q;

	(void)state;
	ask(&q, "10.42.0.1 a.test:80 = 192.0.2.1");
	q.query.resolved = false;
	assert_int_equal(policy_decide(policy, &q.query).action, ACTION_RESOLVE);
	q.query.host.length = 0; /* an address is its own answer */
	assert_int_equal(policy_decide(policy, &q.query).action, ACTION_ALLOW);
	q.query.n_addrs = 0;
	assert_int_equal(policy_decide(policy, &q.query).reason, REASON_NOT_RESOLVED);
	policy_put(policy);
}

static void a_name_without_dots_or_with_odd_bytes_is_only_a_name(void **state)
{
	(void)state;
	EXPECT("[partner all]\nhosts = .test, localhost\n", {"10.42.0.1 localhost:80", "allow all"},
		{"10.42.0.1 a..test:80", "allow all"}, {"10.42.0.1 test.:80", "no-match"},
		{"10.42.0.1 .:80", "no-match"});
}

/* ---- the guard ---- */

static const char guarded[] =
	"[block metadata]\ncidr = 169.254.0.0/16, fd00:ec2::254\n"
	"[block team]\ncidr = 203.0.114.0/24\nports = 80\nfrom = 10.42.1.0/24\n"
	"[block trial]\ncidr = 8.8.4.0/24\nmode = report\n"
	"[partner web]\nhosts = *\n"
	"[partner inside]\ncidr = 10.0.0.0/8, fd00::/8, 127.0.0.1, 64:ff9b::/96\n"
	"[block late]\ncidr = 10.9.0.0/16\n";

static void expect_guard(const struct policy *policy, const char *question, const char *addr,
	enum reason wanted, const char *wanted_block)
{
	const struct section *block = (const void *)-1;
	struct question q;
	struct verdict v = policy_decide(policy, ask(&q, question));
	struct addr a = address(addr);
	enum reason got;

	assert_int_equal(v.action, ACTION_ALLOW);
	got = policy_guard(policy, &q.query, &v, &a, &block);
	if (got != wanted || (block ? !wanted_block || strcmp(block->name, wanted_block) != 0
				    : wanted_block != NULL))
		fail_msg("%s, %s: %s by %s", question, addr, reason_name(got),
			block ? block->name : "none");
	assert_int_equal(policy_guard(policy, &q.query, &v, &a, NULL), wanted);
}

static void only_public_addresses_may_be_dialled_for_a_name(void **state)
{
	static const struct {
		const char *addr;
		enum reason reason;
		const char *block;
	} cases[] = {
		{"8.8.8.8", REASON_MATCHED, NULL}, {"2606:4700::1", REASON_MATCHED, NULL},
		{"169.254.169.254", REASON_BLOCKED_ADDRESS, "metadata"},
		{"::ffff:169.254.169.254", REASON_BLOCKED_ADDRESS, "metadata"},
		{"fd00:ec2::254", REASON_BLOCKED_ADDRESS, "metadata"},
		{"8.8.4.4", REASON_MATCHED, "trial"}, {"10.1.1.1", REASON_ADDRESS, NULL},
		{"::ffff:10.1.1.1", REASON_ADDRESS, NULL}, {"192.168.1.1", REASON_ADDRESS, NULL},
		{"172.16.0.1", REASON_ADDRESS, NULL}, {"100.64.0.1", REASON_ADDRESS, NULL},
		{"127.0.0.1", REASON_ADDRESS, NULL}, {"0.0.0.0", REASON_ADDRESS, NULL},
		{"255.255.255.255", REASON_ADDRESS, NULL}, {"224.0.0.1", REASON_ADDRESS, NULL},
		{"::1", REASON_ADDRESS, NULL}, {"::", REASON_ADDRESS, NULL},
		{"fe80::1", REASON_ADDRESS, NULL}, {"fd00::1", REASON_ADDRESS, NULL},
		{"ff02::1", REASON_ADDRESS, NULL},
		{"64:ff9b::a9fe:a9fe", REASON_ADDRESS, NULL},  /* NAT64 of 169.254.169.254 */
		{"2002:a9fe:a9fe::1", REASON_ADDRESS, NULL},   /* 6to4 */
		{"::169.254.169.254", REASON_ADDRESS, NULL},   /* IPv4-compatible */
		{"2001:0:a9fe:a9fe::1", REASON_ADDRESS, NULL}, /* Teredo */
	};
	struct policy *policy = policy_of(guarded);
	size_t i;

	(void)state;
	for (i = 0; i < COUNT_OF(cases); i++)
		expect_guard(policy, "10.42.0.1 a.test:80", cases[i].addr, cases[i].reason,
			cases[i].block);
	policy_put(policy);
}

static void a_block_guards_only_within_its_own_scope(void **state)
{
	struct policy *policy = policy_of(guarded);

	(void)state;
	expect_guard(policy, "10.42.1.1 a.test:80", "203.0.114.1", REASON_BLOCKED_ADDRESS, "team");
	expect_guard(policy, "10.42.1.1 a.test:81", "203.0.114.1", REASON_MATCHED, NULL);
	expect_guard(policy, "10.42.2.1 a.test:80", "203.0.114.1", REASON_MATCHED, NULL);
	policy_put(policy);
}

static void what_cidr_has_decided_stays_within_it(void **state)
{
	struct policy *policy = policy_of("[partner bank]\ncidr = 8.8.8.0/24\n"
					  "[partner both]\nhosts = b.test\ncidr = 9.9.9.0/24\n");
	(void)state;
	expect_guard(policy, "10.42.0.1 a.test:80 = 8.8.8.8", "8.8.8.9", REASON_MATCHED, NULL);
	expect_guard(policy, "10.42.0.1 a.test:80 = 8.8.8.8", "8.8.4.4", REASON_ADDRESS, NULL);
	expect_guard(policy, "10.42.0.1 a.test:80 = 9.9.9.9", "8.8.4.4", REASON_ADDRESS, NULL);
	expect_guard(policy, "10.42.0.1 b.test:80 = 9.9.9.9", "8.8.4.4", REASON_MATCHED, NULL);
	policy_put(policy);
}

static void only_cidr_of_the_deciding_partner_lifts_the_guard(void **state)
{
	struct policy *policy = policy_of("[block metadata]\ncidr = 169.254.0.0/16\n"
					  "[partner inside]\ncidr = 10.0.0.0/8, 127.0.0.1, "
					  "64:ff9b::/96, 169.254.0.0/16\n"
					  "[block late]\ncidr = 10.9.0.0/16\n"
					  "[partner hosts]\nhosts = 10.1.1.1, 192.168.0.1, *\n");

	(void)state;
	expect_guard(policy, "10.42.0.1 10.1.1.1:80", "10.1.1.1", REASON_MATCHED, NULL);
	expect_guard(policy, "10.42.0.1 127.0.0.1:80", "127.0.0.1", REASON_MATCHED, NULL);
	expect_guard(policy, "10.42.0.1 127.0.0.1:80", "127.0.0.2", REASON_ADDRESS, NULL);
	expect_guard(policy, "10.42.0.1 a.test:80 = 10.9.0.1", "10.9.0.1", REASON_MATCHED, NULL);
	expect_guard(policy, "10.42.0.1 [64:ff9b::102:304]:80", "64:ff9b::102:304", REASON_MATCHED,
		NULL);
	expect_guard(policy, "10.42.0.1 a.test:80 = 10.1.1.1 169.254.1.1", "169.254.1.1",
		REASON_BLOCKED_ADDRESS, "metadata");
	expect_guard(policy, "10.42.0.1 192.168.0.1:80", "192.168.0.1", REASON_ADDRESS, NULL);
	expect_guard(policy, "10.42.0.1 [::1]:80", "::1", REASON_ADDRESS, NULL);
	expect_guard(
		policy, "10.42.0.1 a.test:80 = 8.8.8.8 10.1.1.1", "10.1.1.1", REASON_ADDRESS, NULL);
	expect_guard(policy, "10.42.0.1 a.test:80 = 8.8.8.8 10.9.1.1", "10.9.1.1",
		REASON_BLOCKED_ADDRESS, "late");
	policy_put(policy);
}

static void a_network_of_all_addresses_names_none(void **state)
{
	struct policy *policy = policy_of("[partner wide]\ncidr = ::/0, 0.0.0.0/0, 10.8.0.0/16\n");

	(void)state;
	assert_int_equal(policy_section(policy, 0)->cidrs.n, 2);
	expect_guard(policy, "10.42.0.1 8.8.8.8:80", "8.8.8.8", REASON_MATCHED, NULL);
	expect_guard(policy, "10.42.0.1 10.8.1.1:80", "10.8.1.1", REASON_MATCHED, NULL);
	expect_guard(policy, "10.42.0.1 10.9.1.1:80", "10.9.1.1", REASON_ADDRESS, NULL);
	expect_guard(policy, "10.42.0.1 127.0.0.1:80", "127.0.0.1", REASON_ADDRESS, NULL);
	expect_guard(policy, "10.42.0.1 [::1]:80", "::1", REASON_ADDRESS, NULL);
	expect_guard(policy, "10.42.0.1 [fd00::1]:80", "fd00::1", REASON_ADDRESS, NULL);
	policy_put(policy);
}

static void what_a_report_mode_lets_pass_is_held_against_every_block(void **state)
{
	struct policy *policy =
		policy_of("[partner trial]\nhosts = a.test\nports = 443\nmode = report\n"
			  "[block late]\ncidr = 8.8.8.0/24\n");

	(void)state;
	expect_guard(policy, "10.42.0.1 a.test:443", "8.8.8.8", REASON_MATCHED, NULL);
	expect_guard(policy, "10.42.0.1 a.test:80", "8.8.8.8", REASON_BLOCKED_ADDRESS, "late");
	expect_guard(policy, "10.42.0.1 a.test:80", "9.9.9.9", REASON_MATCHED, NULL);
	expect_guard(policy, "10.42.0.1 a.test:80", "10.0.0.1", REASON_ADDRESS, NULL);
	policy_put(policy);
}

/* ---- explanations ---- */

static void an_explanation_says_who_decided_and_where(void **state)
{
	static const struct expectation cases[] = {
		{"10.42.0.1 CONNECT a.test:443",
			"10.42.0.1 to CONNECT a.test:443: allowed by partner a (acl.ini:3)"},
		{"10.42.0.1 CONNECT a.test:444", "10.42.0.1 to CONNECT a.test:444: denied: no "
						 "partner names it for this source "
						 "and port"},
		{"10.42.0.1 [2001:db8::1]:53/udp",
			"10.42.0.1 to [2001:db8::1]:53/udp: denied by block b (acl.ini:1)"},
		{"10.42.0.1 c.test:81", "10.42.0.1 to c.test:81: allowed because partner c "
					"(acl.ini:7) is in report "
					"mode: its ports or sources do not fit"},
		{"10.42.0.1 d.test:80",
			"10.42.0.1 to d.test:80: allowed by partner d (acl.ini:14) because block r "
			"(acl.ini:11) is in report mode"},
		{"10.42.0.1 x.test:8080",
			"10.42.0.1 to x.test:8080: depends on the addresses of the name"},
		{"10.42.0.1 x.test:8080 = none",
			"10.42.0.1 to x.test:8080: denied: the name has no address to decide on"},
	};
	struct policy *policy = policy_of("[block b]\ncidr = 2001:db8::/32\n"
					  "[partner a]\nhosts = a.test\nports = 443\nrate = 1/s\n"
					  "[partner c]\nhosts = c.test\nports = 80\nmode = report\n"
					  "[block r]\nhosts = d.test\nmode = report\n"
					  "[partner d]\nhosts = d.test\n"
					  "[partner n]\ncidr = 9.9.9.9\nports = 8080\n");
	struct verdict v;
	struct question q;
	char got[512];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT_OF(cases); i++) {
		v = policy_decide(policy, ask(&q, cases[i].question));
		policy_explain(&q.query, &v, got, sizeof(got));
		assert_string_equal(got, cases[i].answer);
	}
	policy_put(policy);
}

static void an_explanation_covers_what_callers_find(void **state)
{
	static const struct {
		enum reason reason;
		const char *name, *text;
	} cases[] = {
		{REASON_ADDRESS, "address",
			"denied: the address is not public, and partner a (acl.ini:1) does not "
			"name it "
			"by cidr"},
		{REASON_BLOCKED_ADDRESS, "blocked-address",
			"denied: the address lies in partner a (acl.ini:1)"},
		{REASON_RATE, "rate-limited",
			"denied: the rate of partner a (acl.ini:1), 1/s, is used up"},
		{REASON_LOOP, "loop", "denied: it leads back to this gateway"},
		{REASON_ORIGINAL_ADDRESS, "original-address",
			"denied: it was on its way to an address that the name does not have "
			"(partner a (acl.ini:1))"},
	};
	struct policy *policy = policy_of("[partner a]\nhosts = a.test\nrate = 1/s\n");
	struct question q;
	char got[512], small[8];
	size_t i;

	(void)state;
	ask(&q, "10.42.0.1 a.test:80");
	for (i = 0; i < COUNT_OF(cases); i++) {
		struct verdict v = {.action = ACTION_DENY,
			.reason = cases[i].reason,
			.section = policy_section(policy, 0)};

		assert_string_equal(reason_name(v.reason), cases[i].name);
		policy_explain(&q.query, &v, got, sizeof(got));
		assert_string_equal(got + strlen("10.42.0.1 to a.test:80: "), cases[i].text);
		policy_explain(&q.query, &v, small, sizeof(small));
		assert_string_equal(small, "10.42.0");
	}
	policy_explain(&q.query,
		&(struct verdict){.action = ACTION_ALLOW,
			.section = policy_section(policy, 0),
			.reported = true},
		got, sizeof(got));
	assert_string_equal(got,
		"10.42.0.1 to a.test:80: allowed because partner a (acl.ini:1) is in "
		"report mode");
	policy_put(policy);
}

/* ---- every section ---- */

static void note_considered(void *arg, const struct section *section, enum considered considered)
{
	static const char *const names[N_CONSIDERED] = {"elsewhere", "unresolved", "not-all",
		"port", "protocol", "source", "unnamed", "reports", "decides", "after"};
	char *out = arg;
	size_t n = strlen(out);

	snprintf(out + n, 256 - n, "%s%s", n ? " " : "", names[considered]);
	(void)section;
}

static void every_section_says_what_became_of_it(void **state)
{
	static const struct expectation expected[] = {
		{"10.42.0.1 a.test:53/udp", "elsewhere reports source decides after after after"},
		{"10.42.0.1 a.test:80 = 192.0.2.1", "elsewhere reports source port decides after "
						    "after"},
		{"10.42.0.1 a.test:80 = 192.0.2.1 1.1.1.1",
			"elsewhere reports source port not-all decides after"},
		{"10.9.0.1 a.test:80 = 192.0.2.1", "elsewhere reports decides after after after "
						   "after"},
		{"10.42.0.1 nobody.test:80 = none",
			"elsewhere elsewhere elsewhere elsewhere unresolved elsewhere elsewhere"},
		{"10.42.0.1 192.0.2.7:80",
			"elsewhere elsewhere elsewhere elsewhere decides after after"},
		{"10.42.0.1 b.test:80", "source elsewhere elsewhere elsewhere unresolved after "
					"after"},
	};
	struct policy *policy = policy_of("[partner far]\nhosts = b.test\nfrom = 10.9.0.0/16\n"
					  "[block watched]\nhosts = a.test\nmode = report\n"
					  "[block others]\nhosts = a.test\nfrom = 10.9.0.0/16\n"
					  "[partner dns]\nhosts = a.test\nports = 53\n"
					  "[partner net]\ncidr = 192.0.2.0/24\nprotocol = tcp\n"
					  "[partner a]\nhosts = a.test\n"
					  "[partner behind]\nhosts = a.test\n");

	(void)state;
	for (size_t i = 0; i < COUNT_OF(expected); i++) {
		char got[256] = "";
		struct question q;
		const struct query *query = ask(&q, expected[i].question);
		struct verdict v = policy_decide(policy, query);

		assert_true(policy_consider(policy, query, &v, note_considered, got));
		if (strcmp(got, expected[i].answer) != 0)
			fail_msg("%s: %s, not %s", expected[i].question, got, expected[i].answer);
	}
	policy_put(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_passes_an_empty_policy),
		cmocka_unit_test(the_first_match_in_file_order_decides),
		cmocka_unit_test(names_hosts_and_networks_take_their_turn_in_every_order),
		cmocka_unit_test(a_denied_name_is_never_looked_up),
		cmocka_unit_test(the_lookup_waits_for_its_turn_whatever_the_scopes),
		cmocka_unit_test(sources_are_pods_unless_from_says_more),
		cmocka_unit_test(ports_and_protocol_are_part_of_the_match),
		cmocka_unit_test(connect_goes_to_443_only_unless_the_partner_names_the_port),
		cmocka_unit_test(a_host_pattern_can_be_an_address_or_everything),
		cmocka_unit_test(patterns_are_canonicalised_like_names),
		cmocka_unit_test(a_block_in_report_mode_never_denies),
		cmocka_unit_test(a_partner_in_report_mode_lets_pass_what_nothing_else_does),
		cmocka_unit_test(addresses_count_only_when_they_are_the_whole_answer),
		cmocka_unit_test(a_name_without_dots_or_with_odd_bytes_is_only_a_name),
		cmocka_unit_test(only_public_addresses_may_be_dialled_for_a_name),
		cmocka_unit_test(a_block_guards_only_within_its_own_scope),
		cmocka_unit_test(what_cidr_has_decided_stays_within_it),
		cmocka_unit_test(only_cidr_of_the_deciding_partner_lifts_the_guard),
		cmocka_unit_test(a_network_of_all_addresses_names_none),
		cmocka_unit_test(what_a_report_mode_lets_pass_is_held_against_every_block),
		cmocka_unit_test(an_explanation_says_who_decided_and_where),
		cmocka_unit_test(an_explanation_covers_what_callers_find),
		cmocka_unit_test(every_section_says_what_became_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
