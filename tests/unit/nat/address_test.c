/*
 * address_test.c - egress addresses in network namespaces of its own.
 */
#include "helpers.h"

#include <linux/if_addr.h>

#include "nat/address.h"

static void make_node(const char *more)
{
	enter_new_namespace();
	run("sysctl -qw net.ipv6.conf.default.accept_dad=0; ip link set lo up;"
	    " ip link add out type veth peer name outside; ip link set out up;"
	    " ip link set outside up; ip addr add 203.0.113.1/24 dev out;"
	    " ip addr add 2001:db8:1::1/64 dev out nodad;"
	    " ip route add default via 203.0.113.254; ip route add default via 2001:db8:1::fe; %s",
		more);
}

static int add(const char *text)
{
	struct addr addr = addr_of(text);
	struct error e = {0};
	int result = address_add("out", &addr, &e);

	if (result < 0)
		fail_msg("%s", e.text);
	return result;
}

static int take_away(const char *text)
{
	struct addr addr = addr_of(text);
	struct error e = {0};
	int result = address_remove("out", &addr, &e);

	if (result < 0)
		fail_msg("%s", e.text);
	return result;
}

static struct address_list load(void)
{
	struct address_list list;
	struct error e = {0};

	if (address_list_load(&list, &e))
		fail_msg("%s", e.text);
	return list;
}

static bool is_present(const char *text)
{
	struct address_list list = load();
	struct addr addr = addr_of(text);
	bool present = address_is_present(&list, &addr);

	address_list_fini(&list);
	return present;
}

static bool is_dedicated(const char *text)
{
	struct address_list list = load();
	struct addr addr = addr_of(text);
	bool dedicated = address_is_dedicated(&list, &addr);

	address_list_fini(&list);
	return dedicated;
}

static char *shown(void)
{
	return output_of("ip -o addr; ip route; ip -6 route");
}

static void adds_and_removes_once(void **state)
{
	static const char *const egress[] = {"203.0.113.10", "198.51.100.9", "2001:db8:1::10"};
	char *before, *after;

	(void)state;
	make_node("sysctl -qw net.ipv6.conf.out.accept_dad=1 net.ipv6.conf.out.dad_transmits=60");
	before = shown();
	for (size_t i = 0; i < COUNT_OF(egress); i++) {
		assert_false(is_present(egress[i]));
		assert_int_equal(add(egress[i]), 1);
		assert_int_equal(add(egress[i]), 0);
		assert_true(is_present(egress[i]));
		assert_true(is_dedicated(egress[i]));
	}
	run("ip -o addr show dev out | grep -q '203.0.113.10/32 .*noprefixroute'");
	run("ip -o addr show dev out | grep -q '2001:db8:1::10/128 .*deprecated.*preferred_lft "
	    "0sec'");
	for (size_t i = 0; i < COUNT_OF(egress); i++) {
		assert_int_equal(take_away(egress[i]), 1);
		assert_int_equal(take_away(egress[i]), 0);
	}
	after = shown();
	assert_string_equal(after, before);
	free(before);
	free(after);
}

static void the_nodes_own_connections_do_not_take_it(void **state)
{
	(void)state;
	make_node("");
	add("203.0.113.10");
	add("2001:db8:1::10");
	add("2001:db8:5::6"); /* closest to the destination (RFC 6724 rule 8) */
	run("ip route get 198.51.100.7 | grep -q 'src 203.0.113.1 '");
	run("ip route get 2001:db8:5::7 | grep -q 'src 2001:db8:1::1 '");
	assert_false(is_dedicated("203.0.113.1"));
	assert_false(is_dedicated("2001:db8:1::1"));
}

static void knows_dedicated_addresses(void **state)
{
	static const struct {
		const char *addr;
		bool present, dedicated;
	} cases[] = {
		{"203.0.113.1", true, false},
		{"203.0.113.2", true, true}, /* secondary: keepalived */
		{"203.0.113.3", true, true}, /* /32 */
		{"203.0.113.4", false, false},
		{"198.51.100.1", true, false}, /* of another network */
		{"192.0.2.1", true, false},    /* /32, and the source of the default route */
		{"2001:db8:1::1", true, false}, {"2001:db8:1::2", true, true},
		{"2001:db8:1::3", true, false}, /* /64 */
		{"127.0.0.1", true, false},
		{"::1", true, true}, /* the caller knows that it is no egress address */
	};

	(void)state;
	make_node("ip addr add 203.0.113.2/24 dev out; ip addr add 203.0.113.3/32 dev lo;"
		  " ip addr add 198.51.100.1/24 dev out; ip addr add 192.0.2.1/32 dev lo;"
		  " ip route replace default via 203.0.113.254 src 192.0.2.1;"
		  " ip addr add 2001:db8:1::2/128 dev out nodad preferred_lft 0;"
		  " ip addr add 2001:db8:1::3/64 dev out nodad preferred_lft 0");
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		if (is_present(cases[i].addr) != cases[i].present ||
			is_dedicated(cases[i].addr) != cases[i].dedicated)
			fail_msg("%s", cases[i].addr);
}

/* Temporary addresses (RFC 8981) have the flag that secondary ones have with IPv4. */
static void a_temporary_address_is_the_nodes_own(void **state)
{
	struct address_list list;
	size_t n = 0;

	(void)state;
	make_node("sysctl -qw net.ipv6.conf.out.use_tempaddr=1;"
		  " ip addr add 2001:db8:9::1/64 dev out nodad mngtmpaddr;"
		  " for i in $(seq 500); do ip addr show dev out | grep -q 'temporary' && exit;"
		  " sleep .01; done; exit 1");
	list = load();
	for (size_t i = 0; i < list.n; i++) {
		if (addr_is_v4(&list.at[i].addr) || !(list.at[i].flags & IFA_F_TEMPORARY))
			continue;
		n++;
		assert_false(address_is_dedicated(&list, &list.at[i].addr));
	}
	assert_int_equal(n, 1);
	address_list_fini(&list);
}

/* Another node on the link has the address: duplicate address detection finds out. */
static void an_address_under_detection_is_not_present(void **state)
{
	struct addr addr = addr_of("2001:db8:1::10");
	struct error e = {0};

	(void)state;
	make_node("sysctl -qw net.ipv6.conf.out.accept_dad=1 net.ipv6.conf.out.dad_transmits=60");
	run("ip addr add 2001:db8:1::10/128 dev out");
	assert_false(is_present("2001:db8:1::10"));
	assert_false(is_dedicated("2001:db8:1::10"));
	assert_int_equal(add("2001:db8:1::10"), 0); /* there, by somebody else's hand */
	run("ip addr del 2001:db8:1::10/128 dev out;"
	    " ip addr add 2001:db8:1::10/128 dev outside nodad;"
	    " ip addr add 2001:db8:1::10/128 dev out;"
	    " for i in $(seq 500); do ip addr show dev out | grep -q dadfailed && exit; sleep .01;"
	    " done; exit 1");
	assert_int_equal(address_add("out", &addr, &e), -EADDRINUSE);
	assert_string_equal(e.text, "adding egress address 2001:db8:1::10 on out:"
				    " another node on the link has it");
}

static void tags_its_own_and_leaves_the_others(void **state)
{
	struct address_list list;

	(void)state;
	make_node(
		"ip addr add 203.0.113.11/32 dev out; ip addr add 2001:db8:1::11/128 dev out nodad;"
		" ip addr add 203.0.113.12/24 dev out");
	add("203.0.113.10");
	add("2001:db8:1::10");
	list = load();
	if (!list.tells_protocol) {
		address_list_fini(&list);
		skip();
	}
	for (size_t i = 0; i < list.n; i++) {
		char text[ADDR_TEXT];
		bool ours;

		addr_print(&list.at[i].addr, text);
		ours = strcmp(text, "203.0.113.10") == 0 || strcmp(text, "2001:db8:1::10") == 0;

		if (ours != (list.at[i].protocol == RTNETLINK_PROTOCOL))
			fail_msg("%s: protocol %d", text, list.at[i].protocol);
	}
	address_list_fini(&list);
	assert_int_equal(take_away("203.0.113.11"), 0);
	assert_int_equal(take_away("2001:db8:1::11"), 0);
	assert_int_equal(take_away("203.0.113.12"), 0);
	assert_true(is_present("203.0.113.11"));
	assert_true(is_present("2001:db8:1::11"));
	assert_true(is_present("203.0.113.12"));
}

static void says_which_device_is_not_there(void **state)
{
	struct addr addr = addr_of("203.0.113.10");
	struct error e = {0};

	(void)state;
	assert_int_equal(address_add("nowhere0", &addr, &e), -ENODEV);
	assert_string_equal(e.text, "egress address 203.0.113.10: no device nowhere0");
}

static void says_where_an_address_is_and_whose(void **state)
{
	const struct addr foreign = addr_of("203.0.113.11"), wide = addr_of("203.0.113.12"),
			  own = addr_of("203.0.113.10"), none = addr_of("203.0.113.99");
	struct address_place place;
	struct address_list list;

	(void)state;
	make_node("ip addr add 203.0.113.11/32 dev out; ip addr add 203.0.113.12/24 dev out");
	add("203.0.113.10");
	list = load();
	assert_true(address_find(&list, &own, &place));
	assert_string_equal(place.device, "out");
	assert_int_equal(place.prefix_length, 32);
	assert_true(place.ours);
	assert_true(address_find(&list, &foreign, &place));
	assert_int_equal(place.ours, !list.tells_protocol);
	assert_true(address_find(&list, &wide, &place));
	assert_int_equal(place.prefix_length, 24);
	assert_false(place.ours);
	assert_false(address_find(&list, &none, &place));
	address_list_fini(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adds_and_removes_once),
		cmocka_unit_test(the_nodes_own_connections_do_not_take_it),
		cmocka_unit_test(knows_dedicated_addresses),
		cmocka_unit_test(a_temporary_address_is_the_nodes_own),
		cmocka_unit_test(an_address_under_detection_is_not_present),
		cmocka_unit_test(tags_its_own_and_leaves_the_others),
		cmocka_unit_test(says_which_device_is_not_there),
		cmocka_unit_test(says_where_an_address_is_and_whose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
