/*
 * routing_test.c - the routing guard in network namespaces of its own, as ip shows it.
 */
#include "helpers.h"

#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "nat/routing.h"

static const char *const pods[] = {"10.42.0.0/16", "fd42::/56"};
static const char *const pass[] = {"10.42.0.0/16", "10.43.0.0/16", "fd42::/56", "fd43::/112"};
static const char *const all[] = {"0.0.0.0/0", "::/0"};

#define MOST 16

/* A struct routing with its networks, from text. */
struct made {
	struct routing routing;
	struct cidr pods[MOST], pass[MOST], refuse[MOST];
};

static size_t parse(const char *const *texts, size_t n, struct cidr *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = cidr_of(texts[i]);
	return n;
}

static struct routing *make(struct made *made, size_t n_pods, const char *const *pass_texts,
	size_t n_pass, const char *const *refuse_texts, size_t n_refuse)
{
	*made = (struct made){
		.routing = {.table = 7099, .priority = 5220, .mark_mask = 0xff000000}};
	made->routing.pods = made->pods;
	made->routing.pass = made->pass;
	made->routing.refuse = made->refuse;
	made->routing.n_pods = parse(pods, n_pods, made->pods);
	made->routing.n_pass = parse(pass_texts, n_pass, made->pass);
	made->routing.n_refuse = parse(refuse_texts, n_refuse, made->refuse);
	return &made->routing;
}

static struct routing *make_usual(struct made *made)
{
	return make(made, 2, pass, 4, all, 2);
}

static int apply(const struct routing *routing)
{
	struct error e = {0};
	int result = routing_apply(routing, &e);

	if (result < 0)
		fail_msg("%s", e.text);
	return result;
}

static int matches(const struct routing *routing)
{
	struct error e = {0};
	int result = routing_matches(routing, &e);

	if (result < 0)
		fail_msg("%s", e.text);
	return result;
}

/* Rules and all routes of both versions, as ip shows them. */
static char *shown(void)
{
	return output_of("for v in -4 -6; do ip $v -d rule; ip $v -d route show table all; done");
}

static void assert_shown(const char *what)
{
	char *text = shown();

	if (!strstr(text, what))
		fail_msg("not there: %s\n%s", what, text);
	free(text);
}

static void assert_equal_and_free(char *found, char *wanted)
{
	assert_string_equal(found, wanted);
	free(found);
	free(wanted);
}

static void applies_the_differences_and_then_none(void **state)
{
	struct made made;
	struct routing *routing = make_usual(&made);

	(void)state;
	enter_new_namespace();
	assert_int_equal(matches(routing), 0);
	assert_int_equal(apply(routing), 10);
	assert_int_equal(matches(routing), 1);
	assert_int_equal(apply(routing), 0);
	assert_shown("5219:\tfrom 10.42.0.0/16 iif lo lookup main proto 230");
	assert_shown("5219:\tfrom fd42::/56 iif lo lookup main proto 230");
	assert_shown("5220:\tfrom 10.42.0.0/16 fwmark 0/0xff000000 lookup 7099 proto 230");
	assert_shown("5220:\tfrom fd42::/56 fwmark 0/0xff000000 lookup 7099 proto 230");
	assert_shown("unreachable default table 7099 proto 230");
	assert_shown("throw 10.43.0.0/16 table 7099 proto 230");
	assert_shown("throw fd43::/112 dev lo table 7099 proto 230");
}

static void removes_without_a_trace(void **state)
{
	struct made made;
	char *before;

	(void)state;
	enter_new_namespace();
	before = shown();
	apply(make_usual(&made));
	assert_int_equal(
		routing_remove(&(struct routing){.table = 7099, .priority = 5220}, NULL), 10);
	assert_equal_and_free(shown(), before);
	assert_int_equal(
		routing_remove(&(struct routing){.table = 7099, .priority = 5220}, NULL), 0);
}

static void is_about_the_versions_that_pods_have(void **state)
{
	struct made made;
	struct routing *routing = make(&made, 1, pass, 4, all, 2);

	(void)state;
	enter_new_namespace();
	assert_int_equal(apply(routing), 5);
	assert_int_equal(matches(routing), 1);
	run("test -z \"$(ip -6 route show table 7099 2>/dev/null)\"");
}

static void follows_every_change_of_what_is_asked(void **state)
{
	static const struct {
		const char *pass[3], *refuse[3];
		size_t n_pass, n_refuse;
		int routes; /* in the kernel after it */
	} steps[] = {
		{{"10.43.0.0/16"}, {"0.0.0.0/0", "::/0"}, 1, 2, 3},
		{{"10.43.0.0/16"}, {"198.51.100.0/24", "2001:db8::/32"}, 1, 2, 3},
		/* a network changes its type, both ways */
		{{"198.51.100.0/24", "2001:db8::/32"}, {"10.43.0.0/16"}, 2, 1, 3},
		{{"10.43.0.0/16"}, {"198.51.100.0/24", "2001:db8::/32"}, 1, 2, 3},
		/* in both lists, or within a network that passes: passes */
		{{"10.0.0.0/8", "fd43::/112"}, {"10.0.0.0/8", "10.1.0.0/16", "fd43::/112"}, 2, 3,
			2},
		/* wider than one that passes */
		{{"10.1.0.0/16"}, {"10.0.0.0/8", "10.2.0.0/16", "10.1.2.0/24"}, 1, 3, 2},
		{{"::/0"}, {"0.0.0.0/0"}, 1, 1, 2},
		{{NULL}, {NULL}, 0, 0, 0},
	};

	(void)state;
	enter_new_namespace();
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		struct made made;
		struct routing *routing = make(&made, 2, steps[i].pass, steps[i].n_pass,
			steps[i].refuse, steps[i].n_refuse);

		assert_true(apply(routing) > 0);
		assert_int_equal(matches(routing), 1);
		assert_int_equal(apply(routing), 0);
		run("test \"$( (ip route show table 7099; ip -6 route show table 7099) | wc -l)\" "
		    "= %d",
			steps[i].routes);
	}
}

static void repairs_what_others_did_to_ours(void **state)
{
	static const char *const damage[] = {
		"ip rule del pref 5220", "ip -6 rule del pref 5220", "ip rule del pref 5219",
		"ip -6 rule del pref 5219",
		"ip rule add pref 5219 from 10.43.0.0/16 iif lo lookup main protocol 230",
		"ip route del unreachable default table 7099", "ip -6 route flush table 7099",
		"ip route flush table 7099", "ip route del throw 10.43.0.0/16 table 7099",
		"ip route replace blackhole default table 7099 protocol 230",
		"ip -6 route add blackhole default table 7099 metric 3 protocol 230",
		"ip route add 10.9.0.0/16 dev lo table 7099 protocol 230",
		"ip route add unreachable 10.9.0.0/16 table 7099 metric 5 protocol 230",
		"ip -6 rule add pref 5220 from fd99::/56 fwmark 0/0xff000000 lookup 7099 protocol "
		"230",
		"ip rule add pref 5220 from 10.42.0.0/16 fwmark 0/0xf000000 lookup 7099 protocol "
		"230",
		"ip rule add pref 5220 lookup main protocol 230",
		"ip rule del pref 5220; ip rule add pref 5220 from 10.42.0.0/16 fwmark 0/0xf000000"
		" lookup 7099 protocol 230",
		"ip rule del pref 5220; ip rule add pref 5220 from 10.42.0.0/16 fwmark "
		"0x1000000/0xff000000"
		" lookup 7099 protocol 230",
		"ip rule add pref 77 from 10.42.0.0/16 lookup 7099 protocol 230",
		"ip rule del pref 5220;"
		" ip rule add pref 5220 not from 10.42.0.0/16 fwmark 0/0xff000000 lookup 7099 "
		"protocol 230",
		"ip rule del pref 5220; ip rule add pref 5220 from 10.42.0.0/16 iif lo"
		" fwmark 0/0xff000000 lookup 7099 protocol 230",
		"ip rule del pref 5220; ip rule add pref 5220 from 10.42.0.0/16 ipproto tcp"
		" fwmark 0/0xff000000 lookup 7099 protocol 230",
		"ip link set lo down; ip link set lo up", /* takes IPv6 routes along */
	};
	struct made made;
	struct routing *routing = make_usual(&made);
	char *whole;

	(void)state;
	enter_new_namespace();
	run("ip link set lo up");
	apply(routing);
	whole = shown();
	for (size_t i = 0; i < COUNT_OF(damage); i++) {
		char *text;

		run("%s", damage[i]);
		if (matches(routing))
			fail_msg("not seen: %s", damage[i]);
		assert_true(apply(routing) > 0);
		text = shown();
		if (!matches(routing) || strcmp(text, whole) != 0)
			fail_msg("after %s\n%s\nnot\n%s", damage[i], text, whole);
		free(text);
	}
	free(whole);
}

static void leaves_what_is_not_ours(void **state)
{
	struct made made;
	struct routing *routing = make_usual(&made);
	char *before;

	(void)state;
	enter_new_namespace();
	run("ip link set lo up;"
	    " ip rule add pref 5220 from 10.42.0.0/16 fwmark 0/0xff000000 lookup 7099;"
	    " ip rule add pref 5220 from 10.99.0.0/16 lookup main; ip rule add pref 99 lookup 7099;"
	    " ip route add 10.98.0.0/16 dev lo table 7099; ip -6 route add fd98::/64 dev lo table "
	    "7099;"
	    " ip route add unreachable 10.97.0.0/16 protocol 230;" /* ours is only what is in the
								      table */
	    " ip rule add pref 98 lookup main protocol 230");
	before = shown();
	apply(routing);
	assert_int_equal(matches(routing), 1);
	assert_int_equal(
		routing_remove(&(struct routing){.table = 7099, .priority = 5220}, NULL), 10);
	assert_equal_and_free(shown(), before);
}

static int remove_stale(uint32_t n)
{
	struct error e = {0};
	int result = routing_remove_stale(7099, 5220, n, &e);

	if (result < 0)
		fail_msg("%s", e.text);
	return result;
}

static void removes_what_other_numbers_have_left_and_nothing_else(void **state)
{
	struct made made, other_made, way_made;
	struct routing *routing = make_usual(&made), *other = make_usual(&other_made);
	struct routing *way = make(&way_made, 0, pass, 4, all, 0);
	char *before;

	(void)state;
	enter_new_namespace();
	run("ip link set lo up; ip link add eth0 type veth peer name eth1; ip link set eth1 up; ip "
	    "addr add 192.0.2.1/24 dev eth0;"
	    " ip link set eth0 up");
	other->table = 8123;
	other->priority = 4321;
	way->n_pods = parse(all, 1, way_made.pods);
	way->mark = 0x2000000;
	strcpy(way->ways[0].device, "eth0");
	way->ways[0].via = addr_of("192.0.2.2");
	/* Of others, ours, and theirs of our protocol that are not of our form. */
	run("ip rule add pref 4321 from 10.42.0.0/16 fwmark 0/0xff000000 lookup 8123;"
	    " ip rule add pref 97 from 10.42.0.0/16 lookup 8124 protocol 230;"
	    " ip rule add pref 98 lookup main protocol 230;"
	    " ip rule add pref 99 fwmark 1/0xff iif eth0 lookup 8999 protocol 230;"
	    " ip route add 10.98.0.0/16 dev lo table 8999;"
	    " ip route add 10.96.0.0/16 dev lo table 8999 protocol 230;"
	    " ip route add unreachable 10.97.0.0/16 protocol 230");
	apply(routing);
	way->table = 7101;
	way->priority = 5218;
	apply(way);
	before = shown();
	assert_int_equal(remove_stale(18), 0);
	for (uint32_t i = 0; i < 3; i++) { /* the same routes in several tables */
		other->table = 8123 + 100 * i;
		other->priority = 4321 + 100 * i;
		apply(other);
		way->table = other->table + 2;
		way->priority = other->priority - 2;
		apply(way);
	}
	assert_int_equal(remove_stale(18), 3 * (10 + 5));
	assert_equal_and_free(shown(), before);
	assert_int_equal(remove_stale(0), 10 + 5);
	assert_int_equal(matches(routing), 0);
	assert_int_equal(routing_remove(routing, NULL), 0);
	assert_shown("10.97.0.0/16");
	assert_shown("10.96.0.0/16");
	assert_shown("lookup main proto 230");
}

static int rank(uint16_t type)
{
	static const uint16_t order[] = {RTM_NEWROUTE, RTM_NEWRULE, RTM_DELRULE, RTM_DELROUTE};
	int i = 0;

	while (i < 3 && order[i] != type)
		i++;
	return i;
}

/* The changes that the monitor heard of came in this order. */
static void assert_in_order(int fd)
{
	_Alignas(struct nlmsghdr) char buffer[8192];
	int last = 0, seen = 0;
	ssize_t n;

	for (; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0; seen++) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;

		assert_true(rank(message->nlmsg_type) >= last);
		last = rank(message->nlmsg_type);
	}
	assert_true(seen > 0);
}

static void is_never_open_in_between(void **state)
{
	static const char *const fewer[] = {"10.42.0.0/16"};
	static const char *const named[] = {"10.43.0.0/16", "198.51.100.0/24"};
	struct made made;
	struct routing *routing;
	int fd;

	(void)state;
	enter_new_namespace();
	fd = routing_monitor_open(NULL);
	assert_true(fd >= 0);
	apply(make_usual(&made));
	assert_in_order(fd);
	routing = make(&made, 1, fewer, 1, named, 2);
	routing->mark_mask = 0xf0000000;
	apply(routing);
	assert_in_order(fd);
	assert_true(routing_remove(&(struct routing){.table = 7099, .priority = 5220}, NULL) > 0);
	assert_in_order(fd);
	close(fd);
}

/* Somebody puts another route in the place of ours: both are there then, ours first. */
static void goes_before_a_foreign_route_to_the_same_network(void **state)
{
	struct made made;
	struct routing *routing = make_usual(&made);

	(void)state;
	enter_new_namespace();
	run("ip link set lo up; ip link add out type veth peer name outside; ip link set out up;"
	    " ip link set outside up; ip addr add 10.42.0.1/24 dev out;"
	    " ip addr add fd42::1/64 dev out nodad");
	apply(routing);
	run("ip route replace default dev out table 7099; ip -6 route add default dev out table "
	    "7099");
	assert_int_equal(matches(routing), 0);
	apply(routing);
	assert_int_equal(matches(routing), 1);
	run("! ip route get 203.0.113.1 from 10.42.0.1 2>/dev/null");
	run("! ip route get 2001:db8::1 from fd42::1 2>/dev/null");
	run("ip route show table 7099 | grep -q 'default dev out'");
}

static void gives_up_where_another_is_in_its_place(void **state)
{
	struct error e = {0};
	struct made made;

	(void)state;
	enter_new_namespace();
	run("ip -6 route add unreachable default table 7099 metric 2");
	assert_int_equal(routing_apply(make_usual(&made), &e), -EBUSY);
	assert_string_equal(e.text, "the routing guard: somebody else has or changes rules of"
				    " priority 5220 or routes of table 7099");
}

static void shuts_in_pods_without_a_mark(void **state)
{
	static const struct {
		const char *query;
		bool passes;
	} queries[] = {
		{"203.0.113.7 from 10.42.0.5 iif cni0", false},
		{"203.0.113.7 from 10.42.0.5 iif cni0 mark 0x4000", false}, /* another's mark */
		{"203.0.113.7 from 10.42.0.5 iif cni0 mark 0x1000000", true},
		{"203.0.113.7 from 10.42.0.5 iif cni0 mark 0x7f004000", true},
		{"10.43.0.9 from 10.42.0.5 iif cni0", true},
		{"10.42.0.6 from 10.42.0.5 iif cni0", true},
		{"10.42.0.1 from 10.42.0.5 iif cni0", true}, /* the node */
		{"192.0.2.1 from 10.42.0.5 iif cni0", true},
		{"203.0.113.7", true}, /* the node's own traffic */
		{"203.0.113.7 from 192.0.2.1", true},
		{"2001:db8:5::7 from fd42::5 iif cni0", false},
		{"2001:db8:5::7 from fd42::5 iif cni0 mark 0x1000000", true},
		{"fd43::9 from fd42::5 iif cni0", true},
		{"fd42::6 from fd42::5 iif cni0", true},
		{"2001:db8:5::7", true},
	};
	struct made made;

	(void)state;
	enter_new_namespace();
	run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; ip link set lo up;"
	    " ip link add out type veth peer name outside; ip link set out up; ip link set outside "
	    "up;"
	    " ip link add cni0 type veth peer name pod; ip link set cni0 up; ip link set pod up;"
	    " ip addr add 192.0.2.1/24 dev out; ip addr add 2001:db8:1::1/64 dev out nodad;"
	    " ip addr add 10.42.0.1/24 dev cni0; ip addr add fd42::1/64 dev cni0 nodad;"
	    " ip route add default via 192.0.2.254; ip route add default via 2001:db8:1::fe");
	for (int guarded = 0; guarded < 2; guarded++) {
		for (size_t i = 0; i < COUNT_OF(queries); i++) {
			char command[128];

			snprintf(command, sizeof(command), "ip route get %s >/dev/null 2>&1",
				queries[i].query);
			if ((system(command) == 0) != (queries[i].passes || !guarded))
				fail_msg("guard %d: %s", guarded, queries[i].query);
		}
		apply(make_usual(&made));
	}
}

static char *printed(const struct routing *routing)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	routing_print(routing, out);
	fclose(out);
	return text;
}

static void prints_what_ip_takes(void **state)
{
	static const char *const commands[][2] = {
		{"sh -e -s"},
		{"sed -n 's/^ip -6 //p' | ip -6 -batch -",
			"sed -n '/^ip -6/!s/^ip //p' | ip -batch -"},
	};
	struct made made;
	struct routing *routing = make_usual(&made);
	char *text = printed(routing);

	(void)state;
	assert_string_equal(text,
		"ip route add unreachable 0.0.0.0/0 table 7099 protocol 230\n"
		"ip route add throw 10.42.0.0/16 table 7099 protocol 230\n"
		"ip route add throw 10.43.0.0/16 table 7099 protocol 230\n"
		"ip -6 route add unreachable ::/0 metric 2 table 7099 protocol 230\n"
		"ip -6 route add throw fd42::/56 metric 1 table 7099 protocol 230\n"
		"ip -6 route add throw fd43::/112 metric 1 table 7099 protocol 230\n"
		"ip rule add pref 5219 from 10.42.0.0/16 iif lo lookup main protocol 230\n"
		"ip -6 rule add pref 5219 from fd42::/56 iif lo lookup main protocol 230\n"
		"ip rule add pref 5220 from 10.42.0.0/16 fwmark 0/0xff000000 lookup 7099 protocol "
		"230\n"
		"ip -6 rule add pref 5220 from fd42::/56 fwmark 0/0xff000000 lookup 7099 protocol "
		"230\n");
	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		enter_new_namespace();
		for (size_t j = 0; j < 2 && commands[i][j]; j++) {
			FILE *out = popen(commands[i][j], "w");

			assert_non_null(out);
			fputs(text, out);
			assert_int_equal(pclose(out), 0);
		}
		assert_int_equal(matches(routing), 1);
	}
	free(text);
}

static void says_with_whom_it_collides(void **state)
{
	static const struct {
		const char *setup, *text; /* NULL: free */
	} cases[] = {
		{"true", NULL},
		{"ip route add unreachable 10.0.0.0/8 table 7099 protocol bird",
			"[nat] route-table = 7099: is in use: 10.0.0.0/8 by protocol bird"},
		{"ip -6 route add unreachable fd00::/8 table 7099 protocol static",
			"[nat] route-table = 7099: is in use: fd00::/8 by protocol static"},
		{"ip rule add pref 5220 from 10.0.0.0/8 lookup main protocol static",
			"[nat] rule-priority = 5220: is in use: ip rule 5220: from 10.0.0.0/8 "
			"lookup main"
			" by protocol static"},
		{"ip rule add pref 100 iif lo lookup 7099 protocol 77",
			"[nat] route-table = 7099: is in use: ip rule 100: iif lo lookup 7099"
			" by protocol 77"},
		{"ip rule add pref 5210 fwmark 0x8000000/0xff000000 lookup 52 protocol zebra",
			"[nat] mark-mask = 0xff000000: is in use: ip rule 5210:"
			" fwmark 0x8000000/0xff000000 lookup 52 by protocol zebra"},
		{"ip -6 rule add pref 9 not fwmark 0/0x1000000 unreachable protocol zebra",
			"[nat] mark-mask = 0xff000000: is in use: ip -6 rule 9: not fwmark "
			"0x0/0x1000000"
			" unreachable by protocol zebra"},
		{"ip rule add pref 9 fwmark 0x1000001 lookup 52 protocol zebra",
			"[nat] mark-mask = 0xff000000: is in use: ip rule 9: fwmark 0x1000001 "
			"lookup 52"
			" by protocol zebra"},
		{"ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup 52", NULL},
		{"ip rule add pref 5210 not fwmark 0xca6c lookup 51820", NULL}, /* WireGuard */
		{"ip rule add pref 5210 fwmark 0x2000000/0xff000000 lookup 7007 protocol 230",
			NULL},
		{"ip route add unreachable 10.0.0.0/8 table 7099 protocol 230", NULL},
	};
	struct made made;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct error e = {0};
		int result;

		enter_new_namespace();
		run("%s", cases[i].setup);
		result = routing_check_free(make_usual(&made), &e);
		assert_int_equal(result, cases[i].text ? -EADDRINUSE : 0);
		assert_string_equal(e.text, cases[i].text ? cases[i].text : "");
	}
}

static void names_the_route_that_is_refused(void **state)
{
	struct error e = {0};
	struct made made;
	pid_t child;
	int status;

	(void)state;
	enter_new_namespace();
	child = fork();
	if (child == 0) {
		int result;

		if (setuid(65534))
			_exit(9);
		result = routing_apply(make_usual(&made), &e);
		_exit(result == -EPERM && strcmp(e.text,
						  "add ip route unreachable 0.0.0.0/0 table 7099:"
						  " Operation not permitted") == 0
				? 0
				: 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(matches(make_usual(&made)), 0);
}

static void deletes_nothing_before_all_is_added(void **state)
{
	struct made made;
	struct error e = {0};
	char *before;

	(void)state;
	enter_new_namespace();
	apply(make_usual(&made));
	before = shown();
	made.routing.n_pods = 1;
	made.refuse[0] = cidr_of("198.51.100.7");
	made.refuse[0].bits = 120; /* no network: the kernel takes no host bits */
	assert_int_equal(routing_apply(&made.routing, &e), -EINVAL);
	assert_string_equal(
		e.text, "add ip route unreachable 198.51.100.7/24 table 7099: Invalid argument");
	assert_equal_and_free(shown(), before);
}

static void one_refusal_leaves_the_rest_shut_in(void **state)
{
	struct cidr many[1000];
	struct made made;
	struct routing *routing = make_usual(&made);

	(void)state;
	enter_new_namespace();
	for (size_t i = 0; i < COUNT_OF(many); i++) {
		many[i] = cidr_of("198.18.0.0/32");
		many[i].addr.bytes[14] = (uint8_t)(i >> 8);
		many[i].addr.bytes[15] = (uint8_t)i;
	}
	many[1] = cidr_of("10.1.0.1");
	many[1].bits = 120; /* host bits */
	routing->refuse = many;
	routing->n_refuse = COUNT_OF(many);
	assert_int_equal(routing_apply(routing, NULL), -EINVAL);
	run("test \"$(ip route show table 7099 | wc -l)\" = %zu", COUNT_OF(many) - 1 + 2);
	assert_shown("5220:\tfrom 10.42.0.0/16 fwmark 0/0xff000000 lookup 7099 proto 230");
	assert_shown("5220:\tfrom fd42::/56 fwmark 0/0xff000000 lookup 7099 proto 230");
}

static void hears_of_changes(void **state)
{
	static const struct {
		const char *change;
		unsigned seen;
	} changes[] = {
		{"ip rule add pref 5220 from 10.0.0.0/8 lookup main", ROUTING_CHANGED},
		{"ip -6 rule add pref 5221 lookup 7099", ROUTING_CHANGED},
		{"ip rule add pref 5221 lookup main", 0},
		{"ip route add unreachable 10.0.0.0/8 table 7099", ROUTING_CHANGED},
		{"ip -6 route add unreachable fd00::/8 table 7099", ROUTING_CHANGED},
		{"ip route add unreachable 10.0.0.0/8 table 7098", 0},
		{"ip -6 route flush table 7099", ROUTING_CHANGED},
		{"ip addr add 203.0.113.1/32 dev lo", ADDRESSES_CHANGED},
		{"ip addr add 2001:db8::1/128 dev lo", ADDRESSES_CHANGED},
		{"ip addr del 203.0.113.1/32 dev lo", ADDRESSES_CHANGED},
		{"ip link add dummy9 type veth", LINKS_CHANGED},
		{"ip -6 route add unreachable fd00::/8 table 7099", ROUTING_CHANGED},
		{"ip link set lo down", ROUTING_CHANGED | ADDRESSES_CHANGED | LINKS_CHANGED},
	};
	struct error e = {0};
	int fd;

	(void)state;
	enter_new_namespace();
	run("ip link set lo up");
	fd = routing_monitor_open(&e);
	assert_true(fd >= 0);
	assert_int_equal(routing_monitor_drain(fd, 7099, 5220, 1), 0);
	for (size_t i = 0; i < COUNT_OF(changes); i++) {
		unsigned seen = 0;

		/* What a link does comes in several messages, the last ones a while later. */
		run("%s", changes[i].change);
		do {
			struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

			assert_int_equal(poll(&poll_fd, 1, 5000), 1);
			seen |= routing_monitor_drain(fd, 7099, 5220, 1);
		} while (changes[i].seen & ~seen);
		if ((seen ^ changes[i].seen) & ROUTING_CHANGED)
			fail_msg("%s", changes[i].change);
	}
	close(fd);
}

static void an_overflow_may_be_anything(void **state)
{
	struct made made;
	int fd, room = 2048;

	(void)state;
	enter_new_namespace();
	fd = routing_monitor_open(NULL);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
	apply(make_usual(&made));
	assert_int_equal(routing_monitor_drain(fd, 7099, 5220, 1),
		ROUTING_CHANGED | ADDRESSES_CHANGED | LINKS_CHANGED);
	assert_int_equal(routing_monitor_drain(fd, 7099, 5220, 1), 0);
	close(fd);
}

/* Applies both in turn, whatever others do meanwhile. */
static void apply_in_turn(const struct routing *a, const struct routing *b)
{
	for (int i = 0; i < 50; i++) {
		int result = routing_apply(i % 2 ? a : b, NULL);

		if ((result < 0 && result != -EBUSY) || routing_matches(a, NULL) < 0)
			_exit(1);
	}
	_exit(0);
}

static void several_at_a_time_do_not_fail(void **state)
{
	struct cidr many[600];
	struct made made[2];
	pid_t children[3];
	struct routing *a = make_usual(&made[0]), *b = make_usual(&made[1]);

	(void)state;
	enter_new_namespace();
	for (size_t i = 0; i < COUNT_OF(many); i++) {
		many[i] = cidr_of(i % 2 ? "2001:db8::/64" : "198.18.0.0/32");
		many[i].addr.bytes[i % 2 ? 7 : 15] = (uint8_t)(i / 2);
		many[i].addr.bytes[i % 2 ? 6 : 14] = (uint8_t)(i >> 9);
	}
	b->refuse = many;
	b->n_refuse = COUNT_OF(many);
	b->pass = many + 1; /* the same networks, of the other type */
	b->n_pass = 1;
	for (size_t i = 0; i < COUNT_OF(children); i++) {
		children[i] = fork();
		if (children[i] == 0)
			apply_in_turn(a, b);
	}
	for (size_t i = 0; i < COUNT_OF(children); i++) {
		int status;

		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	apply(b);
	assert_int_equal(matches(b), 1);
	apply(a);
	assert_int_equal(matches(a), 1);
}

/* Networks of each version. */
static uint32_t many_networks(void)
{
	return getenv("EGRET_SLOW") ? 500 : 50000;
}

static void carries_many_networks(void **state)
{
	const uint32_t n = many_networks();
	struct cidr *many = calloc(2 * n, sizeof(*many));
	struct made made;
	struct routing *routing = make_usual(&made);
	double start, applied, matched;

	(void)state;
	enter_new_namespace();
	assert_non_null(many);
	for (uint32_t i = 0; i < n; i++) {
		many[2 * i] = cidr_of("198.0.0.0/30");
		many[2 * i].addr.bytes[13] = (uint8_t)(i >> 14);
		many[2 * i].addr.bytes[14] = (uint8_t)(i >> 6);
		many[2 * i].addr.bytes[15] = (uint8_t)(i << 2);
		many[2 * i + 1] = cidr_of("2001:db8::/64");
		many[2 * i + 1].addr.bytes[6] = (uint8_t)(i >> 8);
		many[2 * i + 1].addr.bytes[7] = (uint8_t)i;
	}
	routing->refuse = many;
	routing->n_refuse = 2 * n;
	start = clock_monotonic();
	assert_int_equal(apply(routing), 2 * (int)n + 8);
	applied = clock_monotonic();
	assert_int_equal(matches(routing), 1);
	matched = clock_monotonic();
	routing->n_refuse--;
	assert_int_equal(apply(routing), 1);
	print_message("%d routes: applied in %.3f s, compared in %.3f s, one changed in %.3f s\n",
		2 * (int)n, applied - start, matched - applied, clock_monotonic() - matched);
	start = clock_monotonic();
	assert_int_equal(routing_remove(&(struct routing){.table = 7099, .priority = 5220}, NULL),
		2 * (int)n + 7);
	print_message("removed in %.3f s\n", clock_monotonic() - start);
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(applies_the_differences_and_then_none),
		cmocka_unit_test(removes_without_a_trace),
		cmocka_unit_test(is_about_the_versions_that_pods_have),
		cmocka_unit_test(follows_every_change_of_what_is_asked),
		cmocka_unit_test(repairs_what_others_did_to_ours),
		cmocka_unit_test(leaves_what_is_not_ours),
		cmocka_unit_test(removes_what_other_numbers_have_left_and_nothing_else),
		cmocka_unit_test(is_never_open_in_between),
		cmocka_unit_test(goes_before_a_foreign_route_to_the_same_network),
		cmocka_unit_test(gives_up_where_another_is_in_its_place),
		cmocka_unit_test(shuts_in_pods_without_a_mark),
		cmocka_unit_test(prints_what_ip_takes),
		cmocka_unit_test(says_with_whom_it_collides),
		cmocka_unit_test(names_the_route_that_is_refused),
		cmocka_unit_test(deletes_nothing_before_all_is_added),
		cmocka_unit_test(one_refusal_leaves_the_rest_shut_in),
		cmocka_unit_test(hears_of_changes),
		cmocka_unit_test(an_overflow_may_be_anything),
		cmocka_unit_test(several_at_a_time_do_not_fail),
		cmocka_unit_test(carries_many_networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
