/*
 * facts_test.c - what the node says, in namespaces with known routes and addresses.
 */
#include "helpers.h"

#include "nat/facts.h"

static const struct {
	const char *name, *setup, *device; /* device NULL: any */
	const char *found, *egress[2];
} cases[] = {
	{"no default route", "", NULL, "", {NULL}},
	{"both versions",
		"ip route add default via 203.0.113.254; ip route add default via 2001:db8:1::fe",
		NULL, "out", {"203.0.113.1", "2001:db8:1::1"}},
	{"IPv4 alone", "ip route add default via 203.0.113.254", NULL, "out", {"203.0.113.1"}},
	{"IPv6 alone", "ip route add default via 2001:db8:1::fe", NULL, "out", {"2001:db8:1::1"}},
	{"a preferred source", "ip route add default via 203.0.113.254 src 203.0.113.2", NULL,
		"out", {"203.0.113.2"}},
	{"the lowest metric",
		"ip route add default via 198.51.100.254 metric 200;"
		" ip route add default via 203.0.113.254 metric 100",
		NULL, "out", {"203.0.113.1"}},
	{"the named device, not the lowest metric",
		"ip route add default via 198.51.100.254 metric 200;"
		" ip route add default via 203.0.113.254 metric 100",
		"second", "second", {"198.51.100.1"}},
	{"a named device without default route", "ip route add default via 203.0.113.254", "second",
		"second", {"198.51.100.1"}},
	{"several ways",
		"ip route add default nexthop via 198.51.100.254 nexthop via 203.0.113.254", NULL,
		"second", {"198.51.100.1"}},
	{"other tables and unreachable routes do not count",
		"ip route add default via 203.0.113.254 table 7;"
		" ip route add unreachable default; ip -6 route add unreachable default",
		NULL, "", {NULL}},
	{"a link-local address is no egress address",
		"ip addr flush dev out scope global; ip -6 route add default via fe80::1 dev out",
		NULL, "out", {NULL}},
	{"an address that is not preferred is not taken",
		"ip addr add 2001:db8:1::9/128 dev out nodad preferred_lft 0;"
		" ip route add default via 2001:db8:1::fe",
		NULL, "out", {"2001:db8:1::1"}},
};

static void make_node(const char *setup)
{
	enter_new_namespace();
	run("sysctl -qw net.ipv6.conf.default.accept_dad=0; ip link set lo up;"
	    " ip link add out type veth peer name outside; ip link set out up; ip link set outside "
	    "up;"
	    " ip link add second type veth peer name beside; ip link set second up;"
	    " ip link set beside up;"
	    " ip addr add 203.0.113.1/24 dev out; ip addr add 203.0.113.2/24 dev out;"
	    " ip addr add 2001:db8:1::1/64 dev out nodad; ip addr add 198.51.100.1/24 dev second; "
	    "%s",
		setup);
}

static void finds_the_device_and_the_source_address(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct nat_facts facts;
		struct error e = {0};
		size_t n = 0;

		make_node(cases[i].setup);
		if (nat_facts(&facts, cases[i].device, &e))
			fail_msg("%s: %s", cases[i].name, e.text);
		while (n < 2 && cases[i].egress[n])
			n++;
		if (facts.n_egress != n || strcmp(facts.device, cases[i].found) != 0)
			fail_msg("%s: device %s, %zu addresses", cases[i].name, facts.device,
				facts.n_egress);
		for (size_t j = 0; j < n; j++) {
			char text[ADDR_TEXT];

			if (strcmp(addr_print(&facts.egress[j], text), cases[i].egress[j]) != 0)
				fail_msg("%s: %s", cases[i].name, text);
		}
	}
}

static void says_which_device_is_not_there(void **state)
{
	struct nat_facts facts;
	struct error e = {0};

	(void)state;
	assert_int_equal(nat_facts(&facts, "nowhere0", &e), -ENODEV);
	assert_non_null(strstr(e.text, "nowhere0"));
	assert_int_equal(facts.n_egress, 0);
}

static void knows_the_own_addresses(void **state)
{
	static const struct {
		const char *addr;
		bool local;
	} addresses[] = {
		{"203.0.113.1", true},
		{"203.0.113.2", true},
		{"2001:db8:1::1", true},
		{"127.0.0.1", true},
		{"::1", true},
		{"10.9.9.1", true},  /* the own end of a point-to-point address */
		{"10.9.9.2", false}, /* the other */
		{"203.0.113.3", false},
		{"203.0.113.255", false},
		{"2001:db8:1::2", false},
	};

	(void)state;
	make_node("ip addr add 10.9.9.1 peer 10.9.9.2 dev second");
	for (size_t i = 0; i < COUNT_OF(addresses); i++) {
		struct addr addr = addr_of(addresses[i].addr);

		if (nat_address_is_local(&addr) != addresses[i].local)
			fail_msg("%s", addresses[i].addr);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_device_and_the_source_address),
		cmocka_unit_test(says_which_device_is_not_there),
		cmocka_unit_test(knows_the_own_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
