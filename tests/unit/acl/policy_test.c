#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <malloc.h>

#include "acl/policy.h"
#include "base/clock.h"

/* ---- policies and queries from text ---- */

struct file {
	const char *name, *text;
};

static struct cidr net(const char *text)
{
	struct cidr cidr;

	if (!cidr_parse(&cidr, text_of(text)))
		fail_msg("not a network: %s", text);
	return cidr;
}

static struct addr address(const char *text)
{
	struct addr addr;

	if (!addr_parse(&addr, text_of(text)))
		fail_msg("not an address: %s", text);
	return addr;
}

/* The pods are 10.42.0.0/16 and fd42::/64. */
static struct policy *parse(struct files *files, struct error *e)
{
	struct cidr pods[] = {net("fd42::/64"), net("10.42.0.0/16")};

	return policy_new(files, "acl.ini", pods, COUNT_OF(pods), e);
}

static struct policy *policy_of(const char *text)
{
	struct files *files = files_new("/nonexistent");
	struct policy *policy;
	struct error e;

	assert_non_null(files);
	assert_int_equal(files_put(files, "acl.ini", text_of(text)), 0);
	policy = parse(files, &e);
	if (!policy)
		fail_msg("%s", e.text);
	files_free(files);
	return policy;
}

#define ADDRS_MAX 4

struct question {
	struct query query;
	struct addr addrs[ADDRS_MAX];
	char text[256];
};

/*
 * "10.42.0.1 CONNECT example.com:443 = 192.0.2.1 192.0.2.2": CONNECT, and what follows =, may be
 * missing; "= none" is a name without addresses; an IPv6 target stands in brackets; :53/udp.
 */
static const struct query *ask(struct question *q, const char *text)
{
	char *word, *rest, *port;

	*q = (struct question){.query = {.protocol = PROTOCOL_TCP}};
	snprintf(q->text, sizeof(q->text), "%s", text);
	q->query.client = address(strtok_r(q->text, " ", &rest));
	q->query.addrs = q->addrs;
	word = strtok_r(NULL, " ", &rest);
	if (strcmp(word, "CONNECT") == 0) {
		q->query.connect = true;
		word = strtok_r(NULL, " ", &rest);
	}
	port = strrchr(word, ':');
	*port++ = '\0';
	q->query.port = (uint16_t)atoi(port);
	if (strstr(port, "/udp"))
		q->query.protocol = PROTOCOL_UDP;
	if (word[0] == '[')
		q->addrs[q->query.n_addrs++] = address(strtok(word, "[]"));
	else if (addr_parse(&q->addrs[0], text_of(word)))
		q->query.n_addrs++;
	else
		q->query.host = text_of(word);
	if (!strtok_r(NULL, " ", &rest))
		return &q->query;
	q->query.resolved = true;
	while ((word = strtok_r(NULL, " ", &rest)) && strcmp(word, "none") != 0)
		q->addrs[q->query.n_addrs++] = address(word);
	return &q->query;
}

/* "allow NAME", "allow NAME report REPORTER", "deny NAME", "no-match", "not-resolved", "resolve" */
static const char *answer(const struct verdict *v, char *out, size_t size)
{
	if (v->action == ACTION_RESOLVE)
		snprintf(out, size, "resolve");
	else if (!v->section)
		snprintf(out, size, "%s", reason_name(v->reason));
	else
		snprintf(out, size, "%s %s%s%s", v->action == ACTION_ALLOW ? "allow" : "deny",
			v->section->name, v->reported ? " report " : "",
			v->reported ? v->reporter->name : "");
	return out;
}

struct expectation {
	const char *question, *answer;
};

static void expect(const char *policy_text, const struct expectation *expected, size_t n)
{
	struct policy *policy = policy_of(policy_text);
	struct question q;
	char got[256];
	size_t i;

	for (i = 0; i < n; i++) {
		struct verdict v = policy_decide(policy, ask(&q, expected[i].question));

		if (strcmp(answer(&v, got, sizeof(got)), expected[i].answer) != 0)
			fail_msg("%s: %s, not %s", expected[i].question, got, expected[i].answer);
	}
	policy_put(policy);
}

#define EXPECT(policy, ...)                                                                        \
	do {                                                                                       \
		static const struct expectation expected[] = {__VA_ARGS__};                        \
		expect(policy, expected, COUNT_OF(expected));                                      \
	} while (0)

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

/* ---- what a section holds ---- */

static void a_section_says_what_the_file_says(void **state)
{
	struct policy *policy = policy_of(
		"; comment\n\n[group g]\ncidr = 10.42.3.0/24, 10.42.3.7, fd42::7\n"
		"[partner stripe]\nhosts = api.stripe.com, *.stripe.com, .x.test, *, 192.0.2.1\n"
		"cidr = 198.51.100.0/24, 2001:db8::/32, 198.51.100.7\nports = 8443, 443, 444\n"
		"protocol = tcp\nfrom = g, pods\negress-ip = 203.0.113.10, 2001:db8::10\n"
		"rate = 10/1m\nburst = 5\nrate-per = source+host\nmode = report\n"
		"[block b]\nhosts = b.test\n");
	const struct section *s = policy_section(policy, 0), *b = policy_section(policy, 1);
	static const char *const hosts[] = {
		"api.stripe.com", "*.stripe.com", ".x.test", "*", "192.0.2.1"};
	struct addr v4 = address("1.2.3.4"), v6 = address("::5");
	char print[ADDR_TEXT + 4];
	size_t i;

	(void)state;
	assert_int_equal(policy_n_sections(policy), 2);
	assert_int_equal(s->kind, SECTION_PARTNER);
	assert_string_equal(s->name, "stripe");
	assert_string_equal(s->file, "acl.ini");
	assert_int_equal(s->line, 5);
	assert_true(s->report && s->has_hosts);
	assert_int_equal(s->n_ports, 2);
	assert_int_equal(s->ports[0].first, 443);
	assert_int_equal(s->ports[0].last, 444);
	assert_int_equal(s->ports[1].first, 8443);
	assert_int_equal(s->protocol, PROTOCOL_TCP);
	assert_int_equal(s->cidrs.n, 2);
	assert_string_equal(cidr_print(&s->cidrs.at[0], print), "198.51.100.0/24");
	assert_string_equal(cidr_print(&s->cidrs.at[1], print), "2001:db8::/32");
	assert_int_equal(s->from.n, 2); /* within the pods */
	assert_string_equal(addr_print(section_egress(s, &v4), print), "203.0.113.10");
	assert_string_equal(addr_print(section_egress(s, &v6), print), "2001:db8::10");
	assert_true(s->rate_ns == 6000000000u);
	assert_int_equal(s->rate_burst, 5);
	assert_string_equal(s->rate_text, "10/1m");
	assert_int_equal(s->rate_per, RATE_PER_SOURCE_HOST);
	for (i = 0; i < COUNT_OF(hosts); i++)
		assert_string_equal(section_host(policy, s, i), hosts[i]);
	assert_null(section_host(policy, s, i));

	assert_int_equal(b->kind, SECTION_BLOCK);
	assert_int_equal(b->index, 1);
	assert_int_equal(b->line, 16);
	assert_int_equal(b->n_ports, 0);
	assert_int_equal(b->protocol, PROTOCOL_ANY);
	assert_int_equal(b->from.n, 2);
	assert_int_equal(b->rate_ns, 0);
	assert_null(b->rate_text);
	assert_null(section_egress(b, &v4));
	assert_string_equal(section_host(policy, b, 0), "b.test");
	assert_null(section_host(policy, b, 1));
	assert_true(section_admits(b, &v4) && section_admits(b, &v6));
	assert_false(section_admits(s, &v4));
	policy_put(policy);
}

static void a_partner_says_how_it_is_left_for(void **state)
{
	struct policy *policy = policy_of(
		"[partner all]\nhosts = a.test, b.test\ncidr = 10.0.0.0/8\n"
		"egress-ip = 9.0.0.1, 2001:db8::1, 9.0.0.2\nspread = connection\nnat = resolve\n"
		"source-connections = 1000000\n"
		"[partner six]\nhosts = *\negress-ip = 9.0.0.1, ::1, ::2\nspread = source\n"
		"[partner none]\nhosts = *\n"
		"[partner many]\nhosts = *\negress-ip = 9.0.0.1, 9.0.0.2, 9.0.0.3, 9.0.0.4, "
		"9.0.0.5, 9.0.0.6, 9.0.0.7, 9.0.0.8, 9.0.0.9, 9.0.0.10, 9.0.0.11, 9.0.0.12, "
		"9.0.0.13, 9.0.0.14, 9.0.0.15, 9.0.0.16, ::1, ::2, ::3, ::4, ::5, ::6, ::7, ::8, "
		"::9, ::a, ::b, ::c, ::d, ::e, ::f, ::10\n");
	const struct section *all = policy_section(policy, 0), *six = policy_section(policy, 1);
	const struct section *none = policy_section(policy, 2), *many = policy_section(policy, 3);
	struct addr v6 = address("2001:db8::7");
	char print[ADDR_TEXT];

	(void)state;
	assert_int_equal(all->n_egress, 3);
	assert_string_equal(addr_print(&all->egress[2], print), "9.0.0.2");
	assert_int_equal(all->spread, SPREAD_CONNECTION);
	assert_true(all->resolve);
	assert_int_equal(all->source_connections, 1000000);
	assert_int_equal(six->spread, SPREAD_SOURCE);
	assert_string_equal(addr_print(section_egress(six, &v6), print), "::1");
	assert_int_equal(none->n_egress, 0);
	assert_int_equal(none->spread, SPREAD_SOURCE);
	assert_false(none->resolve);
	assert_int_equal(none->source_connections, 0);
	assert_int_equal(many->n_egress, 32);
	assert_string_equal(addr_print(&many->egress[31], print), "::10");
	policy_put(policy);
}

static void a_partner_says_what_is_stored_and_for_whom(void **state)
{
	struct policy *policy =
		policy_of("[partner all]\nhosts = a.test\ncache = yes\ncache-per = group\n"
			  "cache-min-lifetime = 90s\ncache-max-lifetime = 7d\n"
			  "cache-ignore-query = utm_*, fbclid\ncache-surrogate = yes\n"
			  "[partner plain]\nhosts = b.test\ncache = yes\n"
			  "[partner no]\nhosts = c.test\ncache = no\n"
			  "[partner none]\nhosts = d.test\n");
	const struct section_cache *all = policy_section(policy, 0)->cache;
	const struct section_cache *plain = policy_section(policy, 1)->cache;

	(void)state;
	assert_true(policy_caches(policy));
	assert_int_equal(all->per, CACHE_PER_GROUP);
	assert_int_equal(all->min_lifetime, 90);
	assert_int_equal(all->max_lifetime, 604800);
	assert_int_equal(all->n_ignored, 2);
	assert_true(text_equal(all->ignored[0], TEXT("utm_*")));
	assert_true(text_equal(all->ignored[1], TEXT("fbclid")));
	assert_int_equal(plain->per, CACHE_PER_PARTNER);
	assert_int_equal(plain->min_lifetime, 0);
	assert_true(plain->max_lifetime == UINT64_MAX);
	assert_int_equal(plain->n_ignored, 0);
	assert_true(all->surrogate && !plain->surrogate);
	assert_null(policy_section(policy, 2)->cache);
	assert_null(policy_section(policy, 3)->cache);
	policy_put(policy);
	policy = policy_of("[partner no]\nhosts = c.test\ncache = no\n");
	assert_false(policy_caches(policy));
	policy_put(policy);
}

static void a_rate_is_tokens_per_period(void **state)
{
	static const struct {
		const char *rate;
		uint64_t ns;
		uint32_t burst;
	} cases[] = {
		{"1/s", 1000000000, 1},
		{"100/m", 600000000, 100},
		{"3/1s", 333333334, 3},
		{"5/10s", 2000000000, 5},
		{"24/d", 3600000000000, 24},
		{"2/2h", 3600000000000, 2},
		{"1000000000/1s", 1, 1000000000},
		{"1/365d", 31536000000000000, 1},
	};
	char text[128];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT_OF(cases); i++) {
		struct policy *policy;

		snprintf(text, sizeof(text), "[partner p]\nhosts = *\nrate = %s\n", cases[i].rate);
		policy = policy_of(text);
		assert_true(policy_section(policy, 0)->rate_ns == cases[i].ns);
		assert_int_equal(policy_section(policy, 0)->rate_burst, cases[i].burst);
		policy_put(policy);
	}
}

static void a_client_knows_its_groups(void **state)
{
	struct policy *policy = policy_of("[group b]\ncidr = 10.42.3.0/24\n"
					  "[group a]\ncidr = 10.42.0.0/16\n"
					  "[group c]\ncidr = 8.8.8.8\n");
	struct addr pod = address("10.42.3.1"), other = address("8.8.8.8"),
		    none = address("1.1.1.1");
	const char *names[3] = {NULL, NULL, NULL};

	(void)state;
	assert_int_equal(policy_groups(policy, &pod, names, 2), 3);
	assert_string_equal(names[0], "pods");
	assert_string_equal(names[1], "b");
	assert_null(names[2]);
	assert_int_equal(policy_groups(policy, &pod, names, 3), 3);
	assert_string_equal(names[2], "a");
	assert_int_equal(policy_groups(policy, &other, names, 3), 1);
	assert_string_equal(names[0], "c");
	assert_int_equal(policy_groups(policy, &none, NULL, 0), 0);
	assert_true(policy_is_pod(policy, &pod));
	assert_false(policy_is_pod(policy, &other));
	policy_put(policy);
}

static void expect_nets(const struct cidr_list *list, const char *wanted)
{
	char got[512] = "", text[ADDR_TEXT + 4];

	for (size_t i = 0; i < list->n; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i ? " " : "",
			cidr_print(&list->at[i], text));
	assert_string_equal(got, wanted);
}

static void groups_say_whose_connections_are_captured(void **state)
{
	struct policy *policy =
		policy_of("[group a]\ncidr = fd42::7, 10.42.3.0/24\ncapture = http\n"
			  "[group b]\ncidr = 10.42.0.0/16\n"
			  "capture = https, http\n"
			  "[group c]\ncidr = 10.99.0.0/16\n");
	const char *file;
	int line;

	(void)state;
	expect_nets(policy_captured(policy, CAPTURE_HTTP), "10.42.0.0/16 fd42::7");
	expect_nets(policy_captured(policy, CAPTURE_HTTPS), "10.42.0.0/16");
	assert_string_equal(policy_capturing_group(policy, &file, &line), "a");
	assert_string_equal(file, "acl.ini");
	assert_int_equal(line, 3);
	policy_put(policy);
	policy = policy_of("[group c]\ncidr = 10.99.0.0/16\n");
	assert_null(policy_capturing_group(policy, &file, &line));
	expect_nets(policy_captured(policy, CAPTURE_HTTP), "");
	policy_put(policy);
}

static void an_address_that_nobody_named_passes_by_cidr_only(void **state)
{
	static const char *const partners[] = {"[partner p]\nhosts = *\n",
		"[partner p]\nhosts = 45.0.0.1\n", "[partner p]\ncidr = 45.0.0.0/24\n",
		"[block b]\nhosts = 45.0.0.1\n[partner p]\ncidr = 45.0.0.0/24\n",
		"[partner q]\nhosts = *\n[partner p]\ncidr = 45.0.0.0/24\n",
		"[partner p]\nhosts = 45.0.0.1\nmode = report\n"};
	static const bool passes[] = {false, false, true, false, true, false};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(partners); i++) {
		struct policy *policy = policy_of(partners[i]);
		struct question q;
		struct verdict v;

		ask(&q, "10.42.0.1 CONNECT 45.0.0.1:443");
		v = policy_decide(policy, &q.query);
		assert_int_equal(v.action, i == 3 ? ACTION_DENY : ACTION_ALLOW);
		q.query.unnamed = true;
		v = policy_decide(policy, &q.query);
		assert_int_equal(v.action, passes[i] ? ACTION_ALLOW : ACTION_DENY);
		if (passes[i])
			assert_string_equal(v.section->name, "p");
		policy_put(policy);
	}
}

static void a_reference_keeps_the_policy(void **state)
{
	struct policy *policy = policy_of("[partner p]\nhosts = *\n");

	(void)state;
	assert_ptr_equal(policy_get(policy), policy);
	policy_put(policy);
	assert_string_equal(policy_section(policy, 0)->name, "p");
	policy_put(policy);
	policy_put(NULL);
}

/* ---- files ---- */

static struct policy *policy_from(
	const char *name, const struct file *list, size_t n, struct error *e)
{
	struct files *files = files_new("/nonexistent");
	struct cidr pods = net("10.42.0.0/16");
	struct policy *policy;
	size_t i;

	assert_non_null(files);
	for (i = 0; i < n; i++)
		assert_int_equal(files_put(files, list[i].name, text_of(list[i].text)), 0);
	policy = policy_new(files, name, &pods, 1, e);
	files_free(files);
	return policy;
}

static void up_to_a_thousand_names_of_a_section_are_resolved(void **state)
{
	char text[20000], *end = text + sprintf(text, "# names\n");
	struct file files[] = {{"acl.ini", "[partner before]\nhosts = *, .a.test\n"
					   "[partner p]\nhosts-file = names\nnat = resolve\n"},
		{"names", text}};
	struct policy *policy;
	struct error e;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		end += sprintf(end, "n%u.test\n", i);
	policy = policy_from("acl.ini", files, COUNT_OF(files), &e);
	if (!policy)
		fail_msg("%s", e.text);
	assert_true(policy_section(policy, 1)->resolve);
	policy_put(policy);
	sprintf(end, "one.more.test\n");
	assert_null(policy_from("acl.ini", files, COUNT_OF(files), &e));
	assert_string_equal(e.text, "names:1002: partner p: hosts = one.more.test: want at most "
				    "1000 names with nat = resolve");
}

static void lists_stand_in_files_beside_acl_ini(void **state)
{
	static const struct file files[] = {
		{"conf/acl.ini", "[partner p]\nhosts = first.test\nhosts-file = lists/hosts.txt\n"
				 "cidr-file = lists/nets.txt\nfrom = g\n"
				 "[block none]\nhosts-file = /etc/none\ncidr-file = /etc/none\n"
				 "[group g]\ncidr = 10.1.0.0/16\ncidr-file = lists/nets.txt\n"},
		{"conf/lists/hosts.txt",
			"# hosts\r\n\r\n  a.test  # the first\r\n*.B.test\n\t.c.test\n*"},
		{"conf/lists/nets.txt", "#\n198.51.100.0/24\n\n2001:db8::/32 # documentation\r\n"},
		{"/etc/none", "# nothing yet\n"},
	};
	static const char *const hosts[] = {"first.test", "a.test", "*.b.test", ".c.test", "*"};
	const struct section *section;
	struct policy *policy;
	struct error e;
	size_t i;

	(void)state;
	policy = policy_from("conf/acl.ini", files, COUNT_OF(files), &e);
	if (!policy)
		fail_msg("%s", e.text);
	section = policy_section(policy, 0);
	assert_string_equal(section->file, "conf/acl.ini");
	assert_int_equal(section->cidrs.n, 2);
	assert_int_equal(section->from.n, 3);
	for (i = 0; i < COUNT_OF(hosts); i++)
		assert_string_equal(section_host(policy, section, i), hosts[i]);
	assert_null(section_host(policy, section, i));
	assert_null(section_host(policy, policy_section(policy, 1), 0));
	policy_put(policy);
}

static void files_of_acl_d_follow_in_name_order(void **state)
{
	char dir[] = "/tmp/policy_test.XXXXXX", command[512];
	struct cidr pods = net("10.42.0.0/16");
	struct files *files;
	struct policy *policy;
	struct error e;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(command, sizeof(command),
		"cd %s && mkdir acl.d && "
		"printf '[partner a]\\nhosts = a.test\\nfrom = late\\n' > acl.ini && "
		"printf '[partner c]\\nhosts-file = list.txt\\n' > acl.d/20.ini && "
		"printf '[partner b]\\nhosts = b.test\\n[group late]\\ncidr = 10.9.0.1\\n' > "
		"acl.d/10.ini && "
		"printf 'rubbish' > acl.d/README && printf 'c.test' > list.txt",
		dir);
	assert_int_equal(system(command), 0);
	files = files_new(dir);
	assert_non_null(files);
	policy = policy_new(files, "acl.ini", &pods, 1, &e);
	if (!policy)
		fail_msg("%s", e.text);
	assert_int_equal(policy_n_sections(policy), 3);
	assert_string_equal(policy_section(policy, 1)->name, "b");
	assert_string_equal(policy_section(policy, 1)->file, "acl.d/10.ini");
	assert_string_equal(policy_section(policy, 2)->name, "c");
	assert_string_equal(section_host(policy, policy_section(policy, 2), 0), "c.test");
	policy_put(policy);
	files_free(files);

	snprintf(command, sizeof(command), "cd %s && printf '\\n[partner a]\\n' > acl.d/30.ini",
		dir);
	assert_int_equal(system(command), 0);
	files = files_new(dir);
	assert_non_null(files);
	assert_null(policy_new(files, "acl.ini", &pods, 1, &e));
	assert_string_equal(
		e.text, "acl.d/30.ini:2: partner a: want each section once, see acl.ini:1");
	files_free(files);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void the_shipped_policy_is_safe_as_it_is(void **state)
{
	struct files *files = files_new("etc");
	struct policy *policy;
	struct question q;
	struct verdict v;
	struct error e;

	(void)state;
	assert_non_null(files);
	policy = parse(files, &e);
	if (!policy)
		fail_msg("%s", e.text);
	v = policy_decide(policy, ask(&q, "127.0.0.1 example.com:80"));
	assert_string_equal(v.section->name, "example");
	v = policy_decide(policy, ask(&q, "::1 CONNECT www.example.com:443"));
	assert_int_equal(v.action, ACTION_ALLOW);
	v = policy_decide(policy, ask(&q, "8.8.8.8 example.com:80"));
	assert_int_equal(v.action, ACTION_DENY);
	v = policy_decide(policy, ask(&q, "10.42.0.1 169.254.169.254:80"));
	assert_string_equal(v.section->name, "metadata");
	v = policy_decide(policy, ask(&q, "10.42.0.1 example.org:80"));
	assert_int_equal(v.reason, REASON_NO_MATCH);
	policy_put(policy);
	files_free(files);
}

/* ---- errors ---- */

#define PATTERN_WANTED "a name, *.NAME for all below it, .NAME for both, an address, or *"
#define NETWORK_WANTED                                                                             \
	"an address, or a network such as 10.42.0.0/16 or 2001:db8::/32, its host bits zero"
#define KEYS_WANTED                                                                                \
	"a key of: hosts, hosts-file, cidr, cidr-file, ports, protocol, from, mode, egress-ip, "   \
	"spread, nat, source-connections, rate, burst, rate-per, cache, cache-per, "               \
	"cache-min-lifetime, cache-max-lifetime, cache-ignore-query, cache-surrogate"
#define PLAIN_WANTED "a name without * or dot before it, as nat = resolve looks it up"

static const struct {
	const char *text, *error;
} bad[] = {
	{"[partnr p]\n", "acl.ini:1: partnr p: want [partner NAME], [block NAME] or [group NAME]"},
	{"[Partner p]\n",
		"acl.ini:1: Partner p: want [partner NAME], [block NAME] or [group NAME]"},
	{"[partner]\n", "acl.ini:1: partner: want [partner NAME], [block NAME] or [group NAME]"},
	{"[partner a b]\n", "acl.ini:1: partner a b: want a NAME of letters, digits, _ . and -, at "
			    "most 64 of them"},
	{"[block a/b]\n", "acl.ini:1: block a/b: want a NAME of letters, digits, _ . and -, at "
			  "most 64 of them"},
	{"[group any]\n",
		"acl.ini:1: group any: want another NAME: in `from` this one means something else"},
	{"[group Pods]\n", "acl.ini:1: group Pods: want another NAME: in `from` this one means "
			   "something else"},
	{"[group 10.0.0.1]\n", "acl.ini:1: group 10.0.0.1: want another NAME: in `from` this one "
			       "means something else"},
	{"\n[partner p]\nfrom = any\n",
		"acl.ini:2: partner p: want hosts, hosts-file, cidr or cidr-file in it"},
	{"[block p]\n", "acl.ini:1: block p: want hosts, hosts-file, cidr or cidr-file in it"},
	{"[group g]\n", "acl.ini:1: group g: want cidr or cidr-file in it"},
	{"[partner p]\nhots = a\n", "acl.ini:2: partner p: hots = a: want " KEYS_WANTED},
	{"[partner p]\nHosts = a\n", "acl.ini:2: partner p: Hosts = a: want " KEYS_WANTED},
	{"[block p]\nhosts = a\nrate = 1/s\n", "acl.ini:3: block p: rate = 1/s: want a key of: "
					       "hosts, hosts-file, cidr, cidr-file, "
					       "ports, protocol, from, mode"},
	{"[group g]\nhosts = a\n", "acl.ini:2: group g: hosts = a: want a key of: cidr, "
				   "cidr-file, capture"},
	{"[group g]\ncidr = 10.0.0.1\ncapture = http, ftp\n",
		"acl.ini:3: group g: capture = ftp: want http, https or both"},
	{"[partner p]\nhosts = a\ncapture = http\n",
		"acl.ini:3: partner p: capture = http: want " KEYS_WANTED},
	{"[partner p]\nhosts = a\ncache = maybe\n",
		"acl.ini:3: partner p: cache = maybe: want yes or no"},
	{"[partner p]\nhosts = a\ncache-per = group\n",
		"acl.ini:3: partner p: cache-per = group: want cache = yes beside it"},
	{"[partner p]\nhosts = a\ncache-surrogate = yes\n",
		"acl.ini:3: partner p: cache-surrogate = yes: want cache = yes beside it"},
	{"[partner p]\nhosts = a\ncache = yes\ncache-surrogate = maybe\n",
		"acl.ini:4: partner p: cache-surrogate = maybe: want yes or no"},
	{"[partner p]\nhosts = a\ncache = no\ncache-ignore-query = a\n",
		"acl.ini:4: partner p: cache-ignore-query = a: want cache = yes beside it"},
	{"[partner p]\nhosts = a\ncache = yes\ncache-per = pod\n",
		"acl.ini:4: partner p: cache-per = pod: want partner, group or source"},
	{"[partner p]\nhosts = a\ncache = yes\ncache-min-lifetime = 90\n",
		"acl.ini:4: partner p: cache-min-lifetime = 90: want a time such as 90s, 10m, 1h "
		"or "
		"7d, up to 365d"},
	{"[partner p]\nhosts = a\ncache = yes\ncache-max-lifetime = d\n",
		"acl.ini:4: partner p: cache-max-lifetime = d: want a time such as 90s, 10m, 1h or "
		"7d, up to 365d"},
	{"[partner p]\nhosts = a\ncache = yes\ncache-min-lifetime = 2h\ncache-max-lifetime = 1h\n",
		"acl.ini:4: partner p: cache-min-lifetime = 2h: want at most cache-max-lifetime"},
	{"[partner p]\nhosts = a\ncache = yes\ncache-ignore-query = a, b&c\n",
		"acl.ini:4: partner p: cache-ignore-query = b&c: want a query key such as "
		"utm_source, or utm_*"},
	{"[partner p]\nhosts = a\ncache = yes\ncache-ignore-query = a*b\n",
		"acl.ini:4: partner p: cache-ignore-query = a*b: want a query key such as "
		"utm_source, or utm_*"},
	{"[block p]\nhosts = a\ncache = yes\n", "acl.ini:3: block p: cache = yes: want a key of: "
						"hosts, hosts-file, cidr, cidr-file, "
						"ports, protocol, from, mode"},
	{"[partner p]\nhosts =\n", "acl.ini:2: partner p: hosts = : want a value"},
	{"[partner p]\nhosts = a,,b\n",
		"acl.ini:2: partner p: hosts = a,,b: want something before and behind each comma"},
	{"[partner p]\nhosts = a, b,\n",
		"acl.ini:2: partner p: hosts = a, b,: want something before and behind each comma"},
	{"[partner p]\nhosts = a b\n", "acl.ini:2: partner p: hosts = a b: want " PATTERN_WANTED},
	{"[partner p]\nhosts = a*.test\n",
		"acl.ini:2: partner p: hosts = a*.test: want " PATTERN_WANTED},
	{"[partner p]\nhosts = *.*.test\n",
		"acl.ini:2: partner p: hosts = *.*.test: want " PATTERN_WANTED},
	{"[partner p]\nhosts = *.\n", "acl.ini:2: partner p: hosts = *.: want " PATTERN_WANTED},
	{"[partner p]\nhosts = .\n", "acl.ini:2: partner p: hosts = .: want " PATTERN_WANTED},
	{"[partner p]\nhosts = **\n", "acl.ini:2: partner p: hosts = **: want " PATTERN_WANTED},
	{"[partner p]\nhosts = .*\n", "acl.ini:2: partner p: hosts = .*: want " PATTERN_WANTED},
	{"[partner p]\nhosts = *.192.0.2.1\n",
		"acl.ini:2: partner p: hosts = *.192.0.2.1: want " PATTERN_WANTED},
	{"[partner p]\nhosts = 0x7f.1\n",
		"acl.ini:2: partner p: hosts = 0x7f.1: want " PATTERN_WANTED},
	{"[partner p]\nhosts = b\xc3\xbc.test\n",
		"acl.ini:2: partner p: hosts = b??.test: want " PATTERN_WANTED},
	{"[partner p]\nhosts = http://a.test/\n",
		"acl.ini:2: partner p: hosts = http://a.test/: want " PATTERN_WANTED},
	{"[partner p]\nhosts = a.test:443\n",
		"acl.ini:2: partner p: hosts = a.test:443: want " PATTERN_WANTED},
	{"[partner p]\ncidr = 10.0.0.1/8\n",
		"acl.ini:2: partner p: cidr = 10.0.0.1/8: want " NETWORK_WANTED},
	{"[partner p]\ncidr = 10.0.0.0/33\n",
		"acl.ini:2: partner p: cidr = 10.0.0.0/33: want " NETWORK_WANTED},
	{"[group g]\ncidr = pods\n", "acl.ini:2: group g: cidr = pods: want " NETWORK_WANTED},
	{"[partner p]\nhosts = *\nports = 70000\n",
		"acl.ini:3: partner p: ports = 70000: want ports and LOW-HIGH, 1-65535"},
	{"[partner p]\nhosts = *\nports = 0\n",
		"acl.ini:3: partner p: ports = 0: want ports and LOW-HIGH, 1-65535"},
	{"[partner p]\nhosts = *\nports = 80, 90-85\n",
		"acl.ini:3: partner p: ports = 90-85: want ports and LOW-HIGH, 1-65535"},
	{"[partner p]\nhosts = *\nports = 80-\n",
		"acl.ini:3: partner p: ports = 80-: want ports and LOW-HIGH, 1-65535"},
	{"[partner p]\nhosts = *\nports = -80\n",
		"acl.ini:3: partner p: ports = -80: want ports and LOW-HIGH, 1-65535"},
	{"[partner p]\nhosts = *\nports = http\n",
		"acl.ini:3: partner p: ports = http: want ports and LOW-HIGH, 1-65535"},
	{"[partner p]\nhosts = *\nports = 18446744073709551617\n",
		"acl.ini:3: partner p: ports = 18446744073709551617: want ports and LOW-HIGH, "
		"1-65535"},
	{"[partner p]\nhosts = *\nprotocol = icmp\n",
		"acl.ini:3: partner p: protocol = icmp: want tcp, udp or any"},
	{"[partner p]\nhosts = *\nfrom = paymnts\n[group payments]\ncidr = 10.0.0.1\n",
		"acl.ini:3: partner p: from = paymnts: want a [group] that is defined, a network "
		"with host bits zero, pods or any"},
	{"[partner p]\nhosts = *\nfrom = pods, Payments\n[group payments]\ncidr = 10.0.0.1\n",
		"acl.ini:3: partner p: from = Payments: want a [group] that is defined, a network "
		"with host bits zero, pods or any"},
	{"[partner p]\nhosts = *\nfrom = 10.42.0.1/24\n",
		"acl.ini:3: partner p: from = 10.42.0.1/24: want a [group] that is defined, a "
		"network with host bits zero, pods or any"},
	{"[partner p]\nhosts = *\nmode = audit\n",
		"acl.ini:3: partner p: mode = audit: want enforce or report"},
	{"[partner p]\nhosts = *\negress-ip = 10.0.0.0/8\n",
		"acl.ini:3: partner p: egress-ip = 10.0.0.0/8: want an IPv4 or IPv6 address"},
	{"[partner p]\nhosts = *\negress-ip = 224.0.0.1\n",
		"acl.ini:3: partner p: egress-ip = 224.0.0.1: want an address that a host can "
		"have"},
	{"[partner p]\nhosts = *\negress-ip = 192.0.2.1, 2001:db8::1, 192.0.2.1\n",
		"acl.ini:3: partner p: egress-ip = 192.0.2.1: want each address once"},
	{"[partner p]\nhosts = *\negress-ip = 2001:db8::1, 2001:DB8:0::1\n",
		"acl.ini:3: partner p: egress-ip = 2001:DB8:0::1: want each address once"},
	{"[partner p]\nhosts = *\negress-ip = 192.0.2.1, 192.0.2.2,\n",
		"acl.ini:3: partner p: egress-ip = 192.0.2.1, 192.0.2.2,: want something before "
		"and behind each comma"},
	{"[partner p]\nhosts = *\negress-ip = 9.0.0.1, 9.0.0.2, 9.0.0.3, 9.0.0.4, 9.0.0.5, "
	 "9.0.0.6, 9.0.0.7, 9.0.0.8, ::1, ::2, 9.0.0.9, 9.0.0.10, 9.0.0.11, 9.0.0.12, 9.0.0.13, "
	 "9.0.0.14, 9.0.0.15, 9.0.0.16, 9.0.0.17\n",
		"acl.ini:3: partner p: egress-ip = 9.0.0.17: want at most 16 IPv4 and 16 IPv6 "
		"addresses"},
	{"[partner p]\nhosts = *\negress-ip = 9.0.0.1, 9.0.0.2\nspread = pod\n",
		"acl.ini:4: partner p: spread = pod: want source or connection"},
	{"[partner p]\nhosts = *\negress-ip = 9.0.0.1, ::1\nspread = connection\n",
		"acl.ini:4: partner p: spread = connection: want several addresses of a version in "
		"egress-ip beside it"},
	{"[partner p]\nhosts = *\nspread = source\n",
		"acl.ini:3: partner p: spread = source: want several addresses of a version in "
		"egress-ip beside it"},
	{"[block b]\nhosts = *\nspread = source\n",
		"acl.ini:3: block b: spread = source: want a key of: hosts, hosts-file, cidr, "
		"cidr-file, ports, protocol, from, mode"},
	{"[partner p]\nhosts = a.test\nnat = yes\n",
		"acl.ini:3: partner p: nat = yes: want resolve, or no such line"},
	{"[partner p]\nnat = resolve\ncidr = 192.0.2.0/24\n",
		"acl.ini:2: partner p: nat = resolve: want hosts or hosts-file beside it"},
	{"[partner p]\nnat = resolve\nhosts = a.test, *.b.test\n",
		"acl.ini:3: partner p: hosts = *.b.test: want " PLAIN_WANTED},
	{"[partner p]\nhosts = .b.test\nnat = resolve\n",
		"acl.ini:2: partner p: hosts = .b.test: want " PLAIN_WANTED},
	{"[partner p]\nhosts = *\nnat = resolve\n",
		"acl.ini:2: partner p: hosts = *: want " PLAIN_WANTED},
	{"[partner p]\nhosts = 192.0.2.1\nnat = resolve\n",
		"acl.ini:2: partner p: hosts = 192.0.2.1: want " PLAIN_WANTED},
	{"[partner p]\nhosts = [2001:db8::1]\nnat = resolve\n",
		"acl.ini:2: partner p: hosts = [2001:db8::1]: want " PLAIN_WANTED},
	{"[partner p]\nhosts-file = patterns\nnat = resolve\n",
		"patterns:2: partner p: hosts = *.x.test: want " PLAIN_WANTED},
	{"[partner p]\nhosts = *\nsource-connections = 0\n",
		"acl.ini:3: partner p: source-connections = 0: want a number of connections, "
		"1-1000000"},
	{"[partner p]\nhosts = *\nsource-connections = 1000001\n",
		"acl.ini:3: partner p: source-connections = 1000001: want a number of connections, "
		"1-1000000"},
	{"[partner p]\nhosts = *\nsource-connections = 5/1s\n",
		"acl.ini:3: partner p: source-connections = 5/1s: want a number of connections, "
		"1-1000000"},
	{"[partner p]\nsource-connections = 5\n",
		"acl.ini:1: partner p: want hosts, hosts-file, cidr or cidr-file in it"},
	{"[partner p]\nhosts = *\nrate = 100\n",
		"acl.ini:3: partner p: rate = 100: want requests per period, such as 100/1m: "
		"1-1000000000, in s, m, h or d"},
	{"[partner p]\nhosts = *\nrate = 0/1m\n",
		"acl.ini:3: partner p: rate = 0/1m: want requests per period, such as 100/1m: "
		"1-1000000000, in s, m, h or d"},
	{"[partner p]\nhosts = *\nrate = 1/366d\n",
		"acl.ini:3: partner p: rate = 1/366d: want requests per period, such as 100/1m: "
		"1-1000000000, in s, m, h or d"},
	{"[partner p]\nhosts = *\nrate = 1/\n",
		"acl.ini:3: partner p: rate = 1/: want requests per period, such as 100/1m: "
		"1-1000000000, in s, m, h or d"},
	{"[partner p]\nhosts = *\nrate = 1/1w\n",
		"acl.ini:3: partner p: rate = 1/1w: want requests per period, such as 100/1m: "
		"1-1000000000, in s, m, h or d"},
	{"[partner p]\nhosts = *\nrate = 1/1m\nburst = 0\n",
		"acl.ini:4: partner p: burst = 0: want a number of requests, 1-1000000000"},
	{"[partner p]\nhosts = *\nrate = 1/365d\nburst = 101\n",
		"acl.ini:4: partner p: burst = 101: want a bucket that is full again within 100 "
		"years"},
	{"[partner p]\nhosts = *\nburst = 5\n",
		"acl.ini:3: partner p: burst = 5: want a rate beside it"},
	{"[partner p]\nhosts = *\nrate-per = source\n",
		"acl.ini:3: partner p: rate-per = source: want a rate beside it"},
	{"[partner p]\nhosts = *\nrate = 1/s\nrate-per = pod\n",
		"acl.ini:4: partner p: rate-per = pod: want partner, source or source+host"},
	{"[partner p]\nhosts-file = gone.txt\n",
		"acl.ini:2: partner p: hosts-file = gone.txt: gone.txt: No such file or directory"},
	{"[partner p]\nhosts-file = list\n",
		"list:3: partner p: hosts = a b: want " PATTERN_WANTED},
	{"[group g]\ncidr-file = list\n",
		"list:2: group g: cidr = example.com: want " NETWORK_WANTED},
	{"[partner p]\nhosts = a\n[block p]\nhosts = b\n[partner p]\nhosts = c\n",
		"acl.ini:5: [partner p]: want each section once, see line 1"},
	{"[partner p]\nhosts = a\nhosts = b\n",
		"acl.ini:3: [partner p] hosts: want each key once, see line 2"},
	{"hosts = a\n", "acl.ini:1: hosts = a: want a [SECTION] before the first key"},
};

static void every_mistake_is_an_error_that_says_what_was_wanted(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT_OF(bad); i++) {
		struct file files[] = {{"acl.ini", bad[i].text},
			{"list", "# x\nexample.com\na b\n"}, {"patterns", "a.test\n*.x.test\n"}};
		struct error e = {.text = ""};
		struct policy *policy = policy_from("acl.ini", files, COUNT_OF(files), &e);

		if (policy)
			fail_msg("accepted: %s", bad[i].text);
		if (strcmp(e.text, bad[i].error) != 0)
			fail_msg("got:    %s\nwanted: %s", e.text, bad[i].error);
	}
}

static void a_missing_policy_is_an_error(void **state)
{
	struct error e;

	(void)state;
	assert_null(policy_from("acl.ini", NULL, 0, &e));
	assert_string_equal(e.text, "acl.ini: No such file or directory");
}

static void a_long_value_is_cut_in_the_message(void **state)
{
	char text[400] = "[partner p]\nhosts = ", wanted[400];
	struct file file = {"acl.ini", text};
	struct error e;

	(void)state;
	memset(text + strlen(text), 'a', 300);
	assert_null(policy_from("acl.ini", &file, 1, &e));
	snprintf(wanted, sizeof(wanted), "acl.ini:2: partner p: hosts = %.80s...: want %s",
		text + 20, PATTERN_WANTED);
	assert_string_equal(e.text, wanted);
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

/* ---- size ---- */

/* A growing text. */
struct writing {
	char *at;
	size_t size;
	FILE *out;
};

static void writing_begin(struct writing *w)
{
	w->out = open_memstream(&w->at, &w->size);
	assert_non_null(w->out);
}

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

/* ---- against a matcher that walks all sections ---- */

static const char *const some_hosts[] = {"a.test", "b.a.test", "c.b.a.test", "test", "d.test",
	"192.0.2.1", "2001:db8::1", "*", "*.a.test", ".a.test", "*.test", ".b.a.test"};
static const char *const some_nets[] = {"192.0.2.0/24", "192.0.2.0/31", "192.0.2.1",
	"198.51.100.0/24", "2001:db8::/32", "2001:db8::1", "0.0.0.0/0", "::/0", "192.0.0.0/16"};
static const char *const some_addrs[] = {"192.0.2.1", "192.0.2.0", "192.0.2.9", "198.51.100.1",
	"2001:db8::1", "2001:db8::2", "8.8.8.8", "fd00::1"};
static const char *const some_names[] = {
	"a.test", "b.a.test", "c.b.a.test", "test", "d.test", "e.test", "other"};
static const char *const some_ports[] = {NULL, "80", "443", "80-443, 8080", "*"};
static const char *const some_protocols[] = {NULL, "tcp", "udp", "any"};
static const char *const some_sources[] = {
	NULL, "pods", "any", "g", "10.42.1.0/24", "g, 10.42.1.0/24", "fd42::/64"};
static const char *const some_clients[] = {
	"10.42.0.1", "10.42.1.1", "fd42::1", "8.8.8.8", "10.9.0.1"};

struct naive {
	bool block, report;
	unsigned hosts, nets; /* bit masks */
	size_t ports, protocol, from;
};

#define NAIVE_MAX 12

static unsigned chance(unsigned *seed, unsigned n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 16) % n;
}

static bool naive_host(const char *pattern, const struct query *q)
{
	struct text name = q->host;
	struct addr addr;
	bool below = pattern[0] == '*';
	size_t length;

	if (strcmp(pattern, "*") == 0)
		return true;
	if (name.length == 0)
		return addr_parse(&addr, text_of(pattern)) && addr_equal(&addr, &q->addrs[0]);
	if (pattern[0] == '.' && text_equal(name, text_of(pattern + 1)))
		return true;
	if (pattern[0] != '.' && !below)
		return text_equal(name, text_of(pattern));
	pattern += below;
	length = strlen(pattern);
	return name.length > length && memcmp(name.at + name.length - length, pattern, length) == 0;
}

static bool naive_nets(unsigned nets, const struct addr *addr)
{
	size_t i;

	for (i = 0; i < COUNT_OF(some_nets); i++) {
		struct cidr cidr = net(some_nets[i]);

		if (nets >> i & 1 && cidr_contains(&cidr, addr))
			return true;
	}
	return false;
}

static bool naive_scope(const struct naive *s, const struct query *q)
{
	bool pod = (q->client.bytes[12] == 10 && q->client.bytes[13] == 42) ||
		   q->client.bytes[0] == 0xfd;
	bool one =
		q->client.bytes[12] == 10 && q->client.bytes[13] == 42 && q->client.bytes[14] == 1;
	bool g = q->client.bytes[12] == 10 && q->client.bytes[13] == 9;
	const bool from[] = {
		pod || s->block, pod, true, g, one, g || one, q->client.bytes[0] == 0xfd};
	const bool ports[] = {s->block || !q->connect || q->port == 443, q->port == 80,
		q->port == 443, (q->port >= 80 && q->port <= 443) || q->port == 8080, true};

	if (s->protocol == 1 && q->protocol != PROTOCOL_TCP)
		return false;
	if (s->protocol == 2 && q->protocol != PROTOCOL_UDP)
		return false;
	return from[s->from] && ports[s->ports];
}

enum naive_match { NO, YES, UNKNOWN };

static enum naive_match naive_destination(const struct naive *s, const struct query *q)
{
	size_t i;

	for (i = 0; i < COUNT_OF(some_hosts); i++)
		if (s->hosts >> i & 1 && naive_host(some_hosts[i], q))
			return YES;
	if (s->nets == 0)
		return NO;
	if (q->n_addrs == 0)
		return s->block ? NO : UNKNOWN;
	for (i = 0; i < q->n_addrs; i++)
		if (!naive_nets(s->nets, &q->addrs[i]))
			return NO;
	return YES;
}

static void naive_decide(
	const struct naive *s, size_t n, const struct query *q, char *out, size_t size)
{
	int reporter = -1;
	bool missing = false;
	size_t i, look;

	for (look = 0; look < 2; look++) {
		for (i = 0; i < n; i++) {
			enum naive_match match = naive_destination(&s[i], q);

			if (match == NO ||
				(look ? s[i].block || !s[i].report : !naive_scope(&s[i], q)))
				continue;
			if (match == UNKNOWN) {
				missing = true;
				if (!q->resolved) {
					snprintf(out, size, "resolve");
					return;
				}
				continue;
			}
			if (s[i].block && s[i].report) {
				reporter = reporter < 0 ? (int)i : reporter;
				continue;
			}
			reporter = look ? (int)i : reporter;
			if (s[i].block || reporter < 0)
				snprintf(out, size, "%s s%zu", s[i].block ? "deny" : "allow", i);
			else
				snprintf(out, size, "allow s%zu report s%d", i, reporter);
			return;
		}
	}
	snprintf(out, size, missing ? "not-resolved" : "no-match");
}

static void write_some(
	FILE *out, const char *key, const char *const *values, size_t n, unsigned mask)
{
	const char *before = key;
	size_t i;

	for (i = 0; i < n; i++) {
		if (!(mask >> i & 1))
			continue;
		fprintf(out, "%s%s%s", before, before == key ? " = " : "", values[i]);
		before = ", ";
	}
	fprintf(out, "\n");
}

static struct policy *naive_policy(struct naive *s, size_t n, unsigned *seed)
{
	struct policy *policy;
	struct writing w;
	size_t i;

	writing_begin(&w);
	fprintf(w.out, "[group g]\ncidr = 10.9.0.0/16\n");
	for (i = 0; i < n; i++) {
		s[i] = (struct naive){.block = chance(seed, 3) == 0,
			.report = chance(seed, 4) == 0,
			.hosts = chance(seed, 2) ? 1u << chance(seed, COUNT_OF(some_hosts)) : 0,
			.nets = chance(seed, 3) == 0 ? 1u << chance(seed, COUNT_OF(some_nets)) : 0,
			.ports = chance(seed, COUNT_OF(some_ports)),
			.protocol = chance(seed, COUNT_OF(some_protocols)),
			.from = chance(seed, COUNT_OF(some_sources))};
		s[i].nets |=
			s[i].nets && chance(seed, 2) ? 1u << chance(seed, COUNT_OF(some_nets)) : 0;
		if (!s[i].hosts && !s[i].nets)
			s[i].hosts = 1u << chance(seed, COUNT_OF(some_hosts));
		fprintf(w.out, "[%s s%zu]\n", s[i].block ? "block" : "partner", i);
		write_some(w.out, "hosts", some_hosts, COUNT_OF(some_hosts), s[i].hosts);
		write_some(w.out, "cidr", some_nets, COUNT_OF(some_nets), s[i].nets);
		if (some_ports[s[i].ports])
			fprintf(w.out, "ports = %s\n", some_ports[s[i].ports]);
		if (some_protocols[s[i].protocol])
			fprintf(w.out, "protocol = %s\n", some_protocols[s[i].protocol]);
		if (some_sources[s[i].from])
			fprintf(w.out, "from = %s\n", some_sources[s[i].from]);
		if (s[i].report)
			fprintf(w.out, "mode = report\n");
	}
	assert_int_equal(fclose(w.out), 0);
	policy = policy_of(w.at);
	free(w.at);
	return policy;
}

static void random_query(struct question *q, unsigned *seed)
{
	static const uint16_t ports[] = {80, 443, 8080, 22};
	size_t i;

	*q = (struct question){.query = {.protocol = chance(seed, 5) ? PROTOCOL_TCP : PROTOCOL_UDP,
				       .port = ports[chance(seed, COUNT_OF(ports))],
				       .connect = chance(seed, 2),
				       .client = address(some_clients[chance(seed, 5)])}};
	q->query.addrs = q->addrs;
	if (chance(seed, 4) == 0) {
		q->query.n_addrs = 1;
	} else {
		q->query.host = text_of(some_names[chance(seed, COUNT_OF(some_names))]);
		q->query.resolved = chance(seed, 3) > 0;
		q->query.n_addrs = q->query.resolved ? chance(seed, ADDRS_MAX) : 0;
	}
	for (i = 0; i < q->query.n_addrs; i++)
		q->addrs[i] = address(some_addrs[chance(seed, COUNT_OF(some_addrs))]);
}

/* What is decided without looking a name up stays so whatever its addresses are, once the
 * guard has had its say. */
static void check_that_addresses_change_nothing(const struct policy *policy, struct question *q,
	const struct verdict *before, unsigned *seed)
{
	struct query resolved = q->query;
	struct verdict after;
	size_t i;

	for (i = 0; i < ADDRS_MAX; i++)
		q->addrs[i] = address(some_addrs[chance(seed, COUNT_OF(some_addrs))]);
	resolved.resolved = true;
	resolved.n_addrs = 1 + chance(seed, ADDRS_MAX);
	after = policy_decide(policy, &resolved);
	if (before->action == ACTION_DENY || after.action == ACTION_ALLOW) {
		assert_int_equal(after.action, before->action);
		assert_true(before->action == ACTION_DENY || after.section == before->section);
		return;
	}
	for (i = 0; i < resolved.n_addrs; i++)
		assert_int_not_equal(policy_guard(policy, &resolved, before, &q->addrs[i], NULL),
			REASON_MATCHED);
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

/* The one that decided says so, and before it only report mode let pass what fits. */
static void check_considered(void *arg, const struct section *section, enum considered considered)
{
	const struct verdict *v = arg;

	assert_int_equal(considered == CONSIDERED_DECIDES, section == v->section);
	if (considered == CONSIDERED_REPORTS)
		assert_true(section->report && section->kind == SECTION_BLOCK);
}

static void check_what_is_considered(
	const struct policy *policy, const struct query *query, struct verdict *v)
{
	assert_true(policy_consider(policy, query, v, check_considered, v));
}

static void it_decides_like_a_matcher_that_walks_all_sections(void **state)
{
	struct naive sections[NAIVE_MAX];
	unsigned seed = 1, round, i;

	(void)state;
	for (round = 0; round < 1500; round++) {
		size_t n = 1 + chance(&seed, NAIVE_MAX);
		struct policy *policy = naive_policy(sections, n, &seed);

		for (i = 0; i < 60; i++) {
			char got[64], wanted[64];
			struct question q;
			struct verdict v;

			random_query(&q, &seed);
			v = policy_decide(policy, &q.query);
			answer(&v, got, sizeof(got));
			naive_decide(sections, n, &q.query, wanted, sizeof(wanted));
			if (strcmp(got, wanted) != 0) {
				policy_explain(&q.query, &v, q.text, sizeof(q.text));
				fail_msg("round %u: %s, not %s: %s", round, got, wanted, q.text);
			}
			check_what_is_considered(policy, &q.query, &v);
			if (q.query.host.length > 0 && !q.query.resolved &&
				v.action != ACTION_RESOLVE)
				check_that_addresses_change_nothing(policy, &q, &v, &seed);
		}
		policy_put(policy);
	}
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
		cmocka_unit_test(a_section_says_what_the_file_says),
		cmocka_unit_test(a_partner_says_how_it_is_left_for),
		cmocka_unit_test(up_to_a_thousand_names_of_a_section_are_resolved),
		cmocka_unit_test(a_partner_says_what_is_stored_and_for_whom),
		cmocka_unit_test(a_rate_is_tokens_per_period),
		cmocka_unit_test(a_client_knows_its_groups),
		cmocka_unit_test(groups_say_whose_connections_are_captured),
		cmocka_unit_test(an_address_that_nobody_named_passes_by_cidr_only),
		cmocka_unit_test(a_reference_keeps_the_policy),
		cmocka_unit_test(lists_stand_in_files_beside_acl_ini),
		cmocka_unit_test(files_of_acl_d_follow_in_name_order),
		cmocka_unit_test(the_shipped_policy_is_safe_as_it_is),
		cmocka_unit_test(every_mistake_is_an_error_that_says_what_was_wanted),
		cmocka_unit_test(a_missing_policy_is_an_error),
		cmocka_unit_test(a_long_value_is_cut_in_the_message),
		cmocka_unit_test(an_explanation_says_who_decided_and_where),
		cmocka_unit_test(an_explanation_covers_what_callers_find),
		cmocka_unit_test(every_section_says_what_became_of_it),
		cmocka_unit_test(ten_thousand_sections_are_decided_by_index),
		cmocka_unit_test(ten_thousand_sections_may_share_one_key),
		cmocka_unit_test(a_large_group_is_resolved_once),
		cmocka_unit_test(a_million_hosts_fit_in_150_mb),
		cmocka_unit_test(it_decides_like_a_matcher_that_walks_all_sections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
