#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "acl/cidrs.h"
#include "acl/netset.h"

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

static void an_address_finds_the_networks_that_hold_it_widest_first(void **state)
{
	static const char *const nets[] = {"10.42.3.7", "10.0.0.0/8", "10.42.0.0/16", "0.0.0.0/0",
		"10.43.0.0/16", "::/0", "2001:db8::/32", "2001:db8::1", "::/64", "10.42.3.6"};
	static const struct {
		const char *addr;
		int found[4];
	} cases[] = {
		{"10.42.3.7", {3, 1, 2, 0}},
		{"10.42.3.6", {3, 1, 2, 9}},
		{"10.42.3.5", {3, 1, 2, -1}},
		{"10.43.0.1", {3, 1, 4, -1}},
		{"11.0.0.1", {3, -1}},
		{"::ffff:11.0.0.1", {3, -1}},
		{"2001:db8::1", {5, 6, 7, -1}},
		{"2001:db8::2", {5, 6, -1}},
		{"::1", {5, 8, -1}},
		{"fe80::1", {5, -1}},
	};
	uint32_t found[NETSET_FOUND];
	struct netset set;
	size_t i, k, n;

	(void)state;
	assert_int_equal(netset_init(&set), 0);
	for (i = 0; i < COUNT_OF(nets); i++) {
		struct cidr cidr = net(nets[i]);

		assert_int_equal(netset_add(&set, &cidr, (uint32_t)i), 0);
	}
	netset_trim(&set);
	for (i = 0; i < COUNT_OF(cases); i++) {
		struct addr addr = address(cases[i].addr);

		n = netset_find(&set, &addr, found);
		for (k = 0; k < 4 && cases[i].found[k] >= 0; k++) {
			assert_true(k < n);
			assert_int_equal(set.chains.at[chain_first(&set.chains, found[k])].section,
				cases[i].found[k]);
		}
		assert_int_equal(n, k);
	}
	netset_fini(&set);
}

static void a_network_of_every_length_is_found(void **state)
{
	struct addr addr = address("a5a5:a5a5:a5a5:a5a5:a5a5:a5a5:a5a5:a5a5");
	uint32_t found[NETSET_FOUND];
	struct netset set;
	unsigned bits;

	(void)state;
	assert_int_equal(netset_init(&set), 0);
	for (bits = 0; bits <= 128; bits++) {
		struct cidr cidr = {.addr = {{0}}, .bits = (uint8_t)(bits * 37 % 129)};
		unsigned i;

		for (i = 0; i < cidr.bits; i++)
			cidr.addr.bytes[i / 8] |= addr.bytes[i / 8] & (uint8_t)(0x80 >> i % 8);
		assert_int_equal(netset_add(&set, &cidr, bits), 0);
	}
	assert_int_equal(netset_find(&set, &addr, found), 129);
	addr.bytes[8] ^= 0x80;
	assert_int_equal(netset_find(&set, &addr, found), 65);
	netset_fini(&set);
}

static void a_sorted_list_has_no_network_within_another(void **state)
{
	struct cidr cidrs[] = {net("::/0"), net("10.0.0.0/16"), net("10.1.0.0/16"),
		net("10.0.0.0/8"), net("10.0.0.0/8"), net("192.0.2.1"), net("0.0.0.0/5"),
		net("2001:db8::1"), net("9.255.255.255")};
	struct cidr_list list = {cidrs, cidrs_sort(cidrs, COUNT_OF(cidrs))};
	static const char *const left[] = {
		"0.0.0.0/5", "9.255.255.255", "10.0.0.0/8", "192.0.2.1", "::/0"};
	static const struct {
		const char *addr;
		bool in;
	} cases[] = {{"7.255.255.255", true}, {"8.0.0.0", false}, {"9.255.255.255", true},
		{"10.255.255.255", true}, {"11.0.0.0", false}, {"192.0.2.1", true},
		{"192.0.2.0", false}, {"192.0.2.2", false}, {"::", true}, {"ffff::", true}};
	char print[ADDR_TEXT + 4];
	size_t i;

	(void)state;
	assert_int_equal(list.n, COUNT_OF(left));
	for (i = 0; i < list.n; i++)
		assert_string_equal(cidr_print(&cidrs[i], print), left[i]);
	for (i = 0; i < COUNT_OF(cases); i++) {
		struct addr addr = address(cases[i].addr);

		assert_int_equal(cidrs_contain(&list, &addr), cases[i].in);
	}
	assert_false(cidrs_contain(&(struct cidr_list){NULL, 0}, &cidrs[0].addr));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_finds_the_networks_that_hold_it_widest_first),
		cmocka_unit_test(a_network_of_every_length_is_found),
		cmocka_unit_test(a_sorted_list_has_no_network_within_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
