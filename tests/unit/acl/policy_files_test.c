/*
 * policy_files_test.c - from which files a policy is read, and which error says what was wanted.
 */
#include "policy_world.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(up_to_a_thousand_names_of_a_section_are_resolved),
		cmocka_unit_test(lists_stand_in_files_beside_acl_ini),
		cmocka_unit_test(files_of_acl_d_follow_in_name_order),
		cmocka_unit_test(the_shipped_policy_is_safe_as_it_is),
		cmocka_unit_test(every_mistake_is_an_error_that_says_what_was_wanted),
		cmocka_unit_test(a_missing_policy_is_an_error),
		cmocka_unit_test(a_long_value_is_cut_in_the_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
