#include "acl/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"

#define L63 "abcdefghijklmnopqrstuvwxyz-0123456789_abcdefghijklmnopqrstuvwxy"
#define L61 "abcdefghijklmnopqrstuvwxyz-0123456789_abcdefghijklmnopqrstuvw"

static char out[HOST_MAX];
static struct addr addr;

static void names_have_one_form(void **state)
{
	static const struct {
		const char *text, *name;
	} good[] = {
		{"api.stripe.com", "api.stripe.com"},
		{"API.Stripe.COM", "api.stripe.com"},
		{"api.stripe.com.", "api.stripe.com"},
		{"localhost", "localhost"},
		{"a", "a"},
		{"_dmarc.a-b.c", "_dmarc.a-b.c"},
		{"-a.b-", "-a.b-"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"1.example", "1.example"},
		{"1.2.3.4.example", "1.2.3.4.example"},
		{"0x.example", "0x.example"},
		{"a.0xg", "a.0xg"},
		{"a.1a", "a.1a"},
		{"a.1-2", "a.1-2"},
		{"a.x0", "a.x0"},
		{L63, L63},
		{L63 "." L63 "." L63 "." L61, L63 "." L63 "." L63 "." L61},
		{L63 "." L63 "." L63 "." L61 ".", L63 "." L63 "." L63 "." L61},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		if (host_canonical(text_of(good[i].text), out, &addr) != HOST_NAME)
			fail_msg("%s is not a name", good[i].text);
		assert_string_equal(out, good[i].name);
	}
}

static void addresses_are_the_address_they_mean(void **state)
{
	static const struct {
		const char *text, *address;
	} good[] = {
		{"192.0.2.1", "192.0.2.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"[2001:DB8::1]", "2001:db8::1"},
		{"[::]", "::"},
		{"[::ffff:127.0.0.1]", "127.0.0.1"},
		{"[::ffff:7f00:1]", "127.0.0.1"},
	};
	char printed[ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		if (host_canonical(text_of(good[i].text), out, &addr) != HOST_ADDRESS)
			fail_msg("%s is not an address", good[i].text);
		assert_string_equal(addr_print(&addr, printed), good[i].address);
	}
}

static void what_parsers_read_differently_is_neither(void **state)
{
	static const char *const bad[] = {"", ".", "..", ".a", "a..b", "a..", "a b", " a", "a ",
		"a\t", "a,b", "a/b", "a:80", "a@b", "a%62", "a*", "*.a", "a?b", "a#b", "a\\b",
		"a\"", "b\xc3\xbc.de",
		"a\xe3\x80\x82"
		"b",
		"a\x7f", L63 "a", L63 "a.b", L63 "." L63 "." L63 "." L61 "a", "2130706433", "127.1",
		"127.0.1", "0177.0.0.1", "127.0.0.01", "0x7f.0.0.1", "0x7f000001", "0X7F.1",
		"127.0.0.0x1", "1.2.3.4.", "1.2.3.4.5", "1.2.3.256", "256", "a.1", "a.b.0x1f",
		"a.0x", "0x", "0x.", "0", "a.08", "1.2.3.4..", "a.999999999999999999999", "09", "[",
		"]", "[]", "[::1", "::1", "::1]", "[::1].", "[::1]a", "[[::1]]", "[1.2.3.4]", "[a]",
		"[fe80::1%1]", "[fe80::1%25eth0]", "[::1 ]", "[v1.a]", "1:2:3:4:5:6:7:8"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (host_canonical(text_of(bad[i]), out, &addr) != HOST_BAD)
			fail_msg("'%s' was taken", bad[i]);
	assert_int_equal(host_canonical(TEXT("a\0b"), out, &addr), HOST_BAD);
	assert_int_equal(host_canonical(TEXT("a\0"), out, &addr), HOST_BAD);
	assert_int_equal(host_canonical((struct text){NULL, 0}, out, &addr), HOST_BAD);
}

static void the_canonical_form_is_its_own_canonical_form(void **state)
{
	/* Every short text over the bytes that matter. */
	static const char bytes[] = "aF0x9.-[]:";
	char text[6], again[HOST_MAX];
	size_t n = sizeof(bytes) - 1;

	(void)state;
	for (size_t i = 0; i < n * n * n * n * n; i++) {
		for (size_t j = 0, rest = i; j < 5; j++, rest /= n)
			text[j] = bytes[rest % n];
		for (size_t length = 1; length <= 5; length++) {
			if (host_canonical((struct text){text, length}, out, &addr) != HOST_NAME)
				continue;
			assert_int_equal(host_canonical(text_of(out), again, &addr), HOST_NAME);
			assert_string_equal(again, out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_have_one_form),
		cmocka_unit_test(addresses_are_the_address_they_mean),
		cmocka_unit_test(what_parsers_read_differently_is_neither),
		cmocka_unit_test(the_canonical_form_is_its_own_canonical_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
