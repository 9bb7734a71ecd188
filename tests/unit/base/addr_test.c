#include "base/addr.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/check.h"

static struct addr addr(const char *text)
{
	struct addr a;

	if (!addr_parse(&a, text_of(text)))
		fail_msg("%s is not an address", text);
	return a;
}

static struct cidr cidr(const char *text)
{
	struct cidr c;

	if (!cidr_parse(&c, text_of(text)))
		fail_msg("%s is not a network", text);
	return c;
}

static void addresses_are_printed_in_one_form(void **state)
{
	static const struct {
		const char *text, *printed;
	} good[] = {
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"::ffff:c000:201", "192.0.2.1"},
		{"::", "::"},
		{"0:0:0:0:0:0:0:1", "::1"},
		{"2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"64:ff9b::192.0.2.1", "64:ff9b::c000:201"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	};
	char out[ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		struct addr a = addr(good[i].text), again = addr(good[i].printed);

		assert_string_equal(addr_print(&a, out), good[i].printed);
		assert_true(addr_equal(&a, &again));
	}
}

static void spellings_that_parsers_read_differently_are_refused(void **state)
{
	static const char *const bad[] = {"", " ", "1", "1.2.3", "1.2.3.4.", "1.2.3.4.5",
		".1.2.3.4", "1..2.3", "256.1.1.1", "1.2.3.256", "01.2.3.4", "1.2.3.04", "00.0.0.0",
		"0x1.2.3.4", "+1.2.3.4", "-1.2.3.4", " 1.2.3.4", "1.2.3.4 ", "1.2.3.4/32",
		"2130706433", "99999999999999999999.1.1.1", ":", ":::", "1::2::3", "[::1]",
		"fe80::1%eth0", "::1%1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "::g",
		"::1.2.3", "::01.2.3.4", "::256.1.1.1", "1.2.3.4::", " ::1", "::1 ",
		"\xef\xbc\x91.2.3.4", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
	struct addr a;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (addr_parse(&a, text_of(bad[i])))
			fail_msg("'%s' was read as an address", bad[i]);
	assert_false(addr_parse(&a, TEXT("::1\0")));
	assert_false(addr_parse(&a, TEXT("1.2.3.4\0")));
	assert_false(addr_parse(&a, TEXT("1.2\0.3.4")));
	assert_false(addr_parse(&a, (struct text){NULL, 0}));
}

static void a_text_ends_where_its_length_says(void **state)
{
	struct addr a, want = addr("1.2.3.4"), want6 = addr("::1");

	(void)state;
	assert_true(addr_parse(&a, (struct text){"1.2.3.45", 7}));
	assert_true(addr_equal(&a, &want));
	assert_true(addr_parse(&a, (struct text){"::1234", 3}));
	assert_true(addr_equal(&a, &want6));
}

static void networks_are_printed_in_one_form(void **state)
{
	static const struct {
		const char *text, *printed;
		unsigned bits;
	} good[] = {
		{"10.42.0.0/16", "10.42.0.0/16", 112},
		{"0.0.0.0/0", "0.0.0.0/0", 96},
		{"128.0.0.0/1", "128.0.0.0/1", 97},
		{"192.0.2.1/32", "192.0.2.1", 128},
		{"192.0.2.1", "192.0.2.1", 128},
		{"::ffff:10.0.0.0/104", "10.0.0.0/8", 104},
		{"::/0", "::/0", 0},
		{"2001:db8::/33", "2001:db8::/33", 33},
		{"2001:db8::1/128", "2001:db8::1", 128},
		{"2001:db8::1", "2001:db8::1", 128},
		{"8000::/1", "8000::/1", 1},
	};
	char out[ADDR_TEXT + 4];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		struct cidr c = cidr(good[i].text);

		assert_int_equal(c.bits, good[i].bits);
		assert_string_equal(cidr_print(&c, out), good[i].printed);
	}
}

static void networks_with_host_bits_or_a_wrong_length_are_refused(void **state)
{
	static const char *const bad[] = {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08",
		"10.0.0.0/8/8", "10.0.0.0/-1", "10.0.0.0/ 8", "10.0.0.0 /8", "10.0.0.1/8",
		"10.0.0.1/31", "128.0.0.0/0", "10.0.0.0/255.0.0.0", "::/129", "::1/127", "::1/0",
		"2001:db8::1/32", "::ffff:0:0/95", "10/8"};
	struct cidr c;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (cidr_parse(&c, text_of(bad[i])))
			fail_msg("'%s' was read as a network", bad[i]);
	assert_false(cidr_parse(&c, (struct text){NULL, 0}));
}

static void a_network_holds_its_first_and_last_address_and_no_neighbour(void **state)
{
	static const struct {
		const char *net, *below, *first, *last, *above;
	} rows[] = {
		{"10.42.0.0/16", "10.41.255.255", "10.42.0.0", "10.42.255.255", "10.43.0.0"},
		{"10.0.0.8/29", "10.0.0.7", "10.0.0.8", "10.0.0.15", "10.0.0.16"},
		{"10.0.0.8/32", "10.0.0.7", "10.0.0.8", "10.0.0.8", "10.0.0.9"},
		{"2001:db8::/33",
			"2001:db7:ffff::", "2001:db8::", "2001:db8:7fff:ffff::", "2001:db8:8000::"},
		{"0.0.0.0/0", "::fffe:ffff:ffff", "0.0.0.0", "255.255.255.255", "0:0:0:0:1::"},
		{"::/0", "0.0.0.0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
			"255.255.255.255"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct cidr c = cidr(rows[i].net);
		struct addr below = addr(rows[i].below), first = addr(rows[i].first);
		struct addr last = addr(rows[i].last), above = addr(rows[i].above);

		assert_true(cidr_contains(&c, &first));
		assert_true(cidr_contains(&c, &last));
		assert_false(cidr_contains(&c, &below));
		assert_false(cidr_contains(&c, &above));
	}
}

static void endpoints_are_read_printed_and_handed_to_the_kernel(void **state)
{
	static const struct {
		const char *text, *printed;
		int family;
	} good[] = {
		{"192.0.2.1:80", "192.0.2.1:80", AF_INET},
		{"0.0.0.0:65535", "0.0.0.0:65535", AF_INET},
		{"[2001:db8::1]:1", "[2001:db8::1]:1", AF_INET6},
		{"[::]:3128", "[::]:3128", AF_INET6},
		{"[::ffff:192.0.2.1]:80", "192.0.2.1:80", AF_INET},
	};
	static const char *const bad[] = {"", ":80", "192.0.2.1", "192.0.2.1:", "192.0.2.1:0",
		"192.0.2.1:080", "192.0.2.1:65536", "192.0.2.1:80 ", "192.0.2.1:8:0", "::1:80",
		"[::1]", "[::1]:", "[::1:80", "[]:80", "[192.0.2.1]:80", "[::1]80", "[::1]]:80",
		"[fe80::1%1]:80", "localhost:80"};
	char out[ENDPOINT_TEXT];
	struct endpoint e, again;
	struct sockaddr_storage ss;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		socklen_t length;

		assert_true(endpoint_parse(&e, text_of(good[i].text)));
		assert_string_equal(endpoint_print(&e, out), good[i].printed);
		length = endpoint_to_sockaddr(&e, &ss);
		assert_int_equal(ss.ss_family, good[i].family);
		assert_int_equal(length, good[i].family == AF_INET ? sizeof(struct sockaddr_in)
								   : sizeof(struct sockaddr_in6));
		assert_true(endpoint_from_sockaddr(&again, (struct sockaddr *)&ss));
		assert_true(addr_equal(&again.addr, &e.addr));
		assert_int_equal(again.port, e.port);
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (endpoint_parse(&e, text_of(bad[i])))
			fail_msg("'%s' was read as an endpoint", bad[i]);
	ss.ss_family = AF_UNIX;
	assert_false(endpoint_from_sockaddr(&e, (struct sockaddr *)&ss));
	assert_false(endpoint_parse(&e, (struct text){NULL, 0}));
}

/* Rows of neighbours: each address is the first or the last of its class there. */
static void every_range_of_the_registries_has_its_class_up_to_its_edges(void **state)
{
	static const struct {
		const char *text;
		enum addr_class class;
	} rows[] = {
		{"0.0.0.0", ADDR_UNSPECIFIED},
		{"0.0.0.1", ADDR_RESERVED},
		{"0.255.255.255", ADDR_RESERVED},
		{"1.0.0.0", ADDR_GLOBAL},
		{"9.255.255.255", ADDR_GLOBAL},
		{"10.0.0.0", ADDR_PRIVATE},
		{"10.255.255.255", ADDR_PRIVATE},
		{"11.0.0.0", ADDR_GLOBAL},
		{"100.63.255.255", ADDR_GLOBAL},
		{"100.64.0.0", ADDR_PRIVATE},
		{"100.100.100.200", ADDR_PRIVATE}, /* a metadata service */
		{"100.127.255.255", ADDR_PRIVATE},
		{"100.128.0.0", ADDR_GLOBAL},
		{"126.255.255.255", ADDR_GLOBAL},
		{"127.0.0.0", ADDR_LOOPBACK},
		{"127.0.0.1", ADDR_LOOPBACK},
		{"127.255.255.255", ADDR_LOOPBACK},
		{"128.0.0.0", ADDR_GLOBAL},
		{"169.253.255.255", ADDR_GLOBAL},
		{"169.254.0.0", ADDR_LINK_LOCAL},
		{"169.254.169.254", ADDR_LINK_LOCAL}, /* metadata services */
		{"169.254.255.255", ADDR_LINK_LOCAL},
		{"169.255.0.0", ADDR_GLOBAL},
		{"172.15.255.255", ADDR_GLOBAL},
		{"172.16.0.0", ADDR_PRIVATE},
		{"172.31.255.255", ADDR_PRIVATE},
		{"172.32.0.0", ADDR_GLOBAL},
		{"191.255.255.255", ADDR_GLOBAL},
		{"192.0.0.0", ADDR_RESERVED},
		{"192.0.0.9", ADDR_RESERVED},
		{"192.0.0.192", ADDR_RESERVED}, /* a metadata service */
		{"192.0.0.255", ADDR_RESERVED},
		{"192.0.1.0", ADDR_GLOBAL},
		{"192.0.1.255", ADDR_GLOBAL},
		{"192.0.2.0", ADDR_RESERVED},
		{"192.0.2.255", ADDR_RESERVED},
		{"192.0.3.0", ADDR_GLOBAL},
		{"192.88.98.255", ADDR_GLOBAL},
		{"192.88.99.0", ADDR_RESERVED},
		{"192.88.99.255", ADDR_RESERVED},
		{"192.88.100.0", ADDR_GLOBAL},
		{"192.167.255.255", ADDR_GLOBAL},
		{"192.168.0.0", ADDR_PRIVATE},
		{"192.168.255.255", ADDR_PRIVATE},
		{"192.169.0.0", ADDR_GLOBAL},
		{"198.17.255.255", ADDR_GLOBAL},
		{"198.18.0.0", ADDR_RESERVED},
		{"198.19.255.255", ADDR_RESERVED},
		{"198.20.0.0", ADDR_GLOBAL},
		{"198.51.99.255", ADDR_GLOBAL},
		{"198.51.100.0", ADDR_RESERVED},
		{"198.51.100.255", ADDR_RESERVED},
		{"198.51.101.0", ADDR_GLOBAL},
		{"203.0.112.255", ADDR_GLOBAL},
		{"203.0.113.0", ADDR_RESERVED},
		{"203.0.113.255", ADDR_RESERVED},
		{"203.0.114.0", ADDR_GLOBAL},
		{"223.255.255.255", ADDR_GLOBAL},
		{"224.0.0.0", ADDR_MULTICAST},
		{"239.255.255.255", ADDR_MULTICAST},
		{"240.0.0.0", ADDR_RESERVED},
		{"255.255.255.254", ADDR_RESERVED},
		{"255.255.255.255", ADDR_RESERVED},
		{"::ffff:127.0.0.1", ADDR_LOOPBACK},
		{"::ffff:a9fe:a9fe", ADDR_LINK_LOCAL},
		{"::ffff:8.8.8.8", ADDR_GLOBAL},

		{"::", ADDR_UNSPECIFIED},
		{"::1", ADDR_LOOPBACK},
		{"::2", ADDR_EMBEDDED},
		{"::127.0.0.1", ADDR_EMBEDDED},
		{"::8.8.8.8", ADDR_EMBEDDED},
		{"::ffff:ffff", ADDR_EMBEDDED},
		{"::1:0:0", ADDR_RESERVED},
		{"::fffe:0:0", ADDR_RESERVED},
		{"::fffe:ffff:ffff", ADDR_RESERVED},
		{"::fffe:ffff:0:0", ADDR_RESERVED},
		{"::ffff:0:0:0", ADDR_EMBEDDED},
		{"::ffff:0:ffff:ffff", ADDR_EMBEDDED},
		{"::ffff:1:0:0", ADDR_RESERVED},
		{"64:ff9a:ffff::", ADDR_RESERVED},
		{"64:ff9b::", ADDR_EMBEDDED},
		{"64:ff9b::169.254.169.254", ADDR_EMBEDDED},
		{"64:ff9b::ffff:ffff", ADDR_EMBEDDED},
		{"64:ff9b::1:0:0", ADDR_RESERVED},
		{"64:ff9b:0:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED},
		{"64:ff9b:1::", ADDR_EMBEDDED},
		{"64:ff9b:1:ffff:ffff:ffff:ffff:ffff", ADDR_EMBEDDED},
		{"64:ff9b:2::", ADDR_RESERVED},
		{"100::", ADDR_RESERVED},
		{"100::ffff:ffff:ffff:ffff", ADDR_RESERVED},
		{"100:0:0:1::", ADDR_RESERVED},
		{"1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED},
		{"2000::", ADDR_GLOBAL},
		{"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_GLOBAL},
		{"2001::", ADDR_EMBEDDED},
		{"2001:0:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_EMBEDDED},
		{"2001:1::", ADDR_RESERVED},
		{"2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED},
		{"2001:200::", ADDR_GLOBAL},
		{"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_GLOBAL},
		{"2001:db8::", ADDR_RESERVED},
		{"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED},
		{"2001:db9::", ADDR_GLOBAL},
		{"2001:cafe:42::1", ADDR_GLOBAL}, /* pods of K3s: the policy knows them */
		{"2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_GLOBAL},
		{"2002::", ADDR_EMBEDDED},
		{"2002:7f00:1::", ADDR_EMBEDDED},
		{"2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_EMBEDDED},
		{"2003::", ADDR_GLOBAL},
		{"2606:4700::1111", ADDR_GLOBAL},
		{"2620:4f:8000::1", ADDR_GLOBAL},
		{"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_GLOBAL},
		{"3fff::", ADDR_RESERVED},
		{"3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED},
		{"3fff:1000::", ADDR_GLOBAL},
		{"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_GLOBAL},
		{"4000::", ADDR_RESERVED},
		{"5f00::", ADDR_RESERVED},
		{"5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED},
		{"fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED},
		{"fc00::", ADDR_PRIVATE},
		{"fd00:ec2::254", ADDR_PRIVATE}, /* a metadata service */
		{"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_PRIVATE},
		{"fe00::", ADDR_RESERVED},
		{"fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED},
		{"fe80::", ADDR_LINK_LOCAL},
		{"fe80::200:5efe:c000:201", ADDR_LINK_LOCAL},
		{"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_LINK_LOCAL},
		{"fec0::", ADDR_PRIVATE},
		{"feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_PRIVATE},
		{"ff00::", ADDR_MULTICAST},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_MULTICAST},

		{"2606:4700::5efe:127.0.0.1", ADDR_EMBEDDED},
		{"2606:4700::200:5efe:127.0.0.1", ADDR_EMBEDDED},
		{"2606:4700::5efd:127.0.0.1", ADDR_GLOBAL},
		{"2606:4700::100:5efe:127.0.0.1", ADDR_GLOBAL},
		{"2606:4700::201:5efe:127.0.0.1", ADDR_GLOBAL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct addr a = addr(rows[i].text);

		if (addr_classify(&a) != rows[i].class)
			fail_msg("%s is %s, want %s", rows[i].text,
				addr_class_name(addr_classify(&a)), addr_class_name(rows[i].class));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_printed_in_one_form),
		cmocka_unit_test(spellings_that_parsers_read_differently_are_refused),
		cmocka_unit_test(a_text_ends_where_its_length_says),
		cmocka_unit_test(networks_are_printed_in_one_form),
		cmocka_unit_test(networks_with_host_bits_or_a_wrong_length_are_refused),
		cmocka_unit_test(a_network_holds_its_first_and_last_address_and_no_neighbour),
		cmocka_unit_test(endpoints_are_read_printed_and_handed_to_the_kernel),
		cmocka_unit_test(every_range_of_the_registries_has_its_class_up_to_its_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
