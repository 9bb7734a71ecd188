#include "daemon/net/hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/net/resolver.h"

/* The addresses of `name` in `text`, joined by spaces. */
static const char *addresses(const char *text, const char *name, char out[1024])
{
	struct names names;
	struct name *found;
	struct error e = {""};

	assert_true(names_init(&names, 0));
	if (hosts_add(&names, "hosts", text_of(text), &e) < 0)
		fail_msg("%s", e.text);
	found = names_find(&names, text_of(name));
	out[0] = '\0';
	for (size_t i = 0; found && i < found->n_addrs; i++) {
		char addr[ADDR_TEXT];

		strcat(strcat(out, i ? " " : ""), addr_print(&found->addrs[i], addr));
	}
	names_fini(&names);
	return out;
}

static void reads_addresses_and_names(void **state)
{
	static const struct {
		const char *text, *name, *want;
	} good[] = {
		{"192.0.2.1 a.test\n", "a.test", "192.0.2.1"},
		{"192.0.2.1 a.test", "a.test", "192.0.2.1"},
		{"192.0.2.1\ta.test  b.test\tc.test\r\n", "c.test", "192.0.2.1"},
		{" \t192.0.2.1 a.test", "a.test", "192.0.2.1"},
		{"192.0.2.1 A.Test.", "a.test", "192.0.2.1"},
		{"2001:db8::1 a.test\n192.0.2.1 a.test\n", "a.test", "2001:db8::1 192.0.2.1"},
		{"192.0.2.1 a.test\n::ffff:192.0.2.1 a.test\n", "a.test", "192.0.2.1"},
		{"# 192.0.2.1 a.test\n\n \n192.0.2.2 b.test # a.test\n", "a.test", ""},
		{"192.0.2.2 b.test#a.test\n", "b.test", "192.0.2.2"},
		{"fe80::1%lo0 a.test\n192.0.2.1 a.test\n", "a.test", "192.0.2.1"},
		{"", "a.test", ""},
		{"192.0.2.1 a.test", "b.test", ""},
	};
	char out[1024];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++)
		assert_string_equal(addresses(good[i].text, good[i].name, out), good[i].want);
}

static void says_what_is_wrong_and_in_which_line(void **state)
{
	static const struct {
		const char *text, *want;
	} bad[] = {
		{"192.0.2.1 a\n192.0.2.256 b\n",
			"hosts:2: 192.0.2.256: want an address, then names"},
		{"a.test 192.0.2.1\n", "hosts:1: a.test: want an address, then names"},
		{"\n\n192.0.2.1 # a.test\n", "hosts:3: want names after the address"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct names names;
		struct error e = {""};

		assert_true(names_init(&names, 0));
		assert_true(hosts_add(&names, "hosts", text_of(bad[i].text), &e) < 0);
		assert_string_equal(e.text, bad[i].want);
		names_fini(&names);
	}
}

static void refuses_a_name_that_is_too_long(void **state)
{
	char text[512] = "192.0.2.1 ";
	struct names names;
	struct error e = {""};

	(void)state;
	memset(text + strlen(text), 'a', NAME_LENGTH);
	assert_true(names_init(&names, 0));
	assert_int_equal(hosts_add(&names, "hosts", text_of(text), &e), 0);
	strcat(text, "a");
	assert_true(hosts_add(&names, "hosts", text_of(text), &e) < 0);
	names_fini(&names);
}

static void keeps_only_so_many_addresses_of_a_name(void **state)
{
	char text[4096] = "", out[1024];
	size_t n = 1;

	(void)state;
	for (int i = 1; i <= RESOLVER_ADDRS + 3; i++)
		snprintf(text + strlen(text), 64, "192.0.2.%d a.test\n", i);
	addresses(text, "a.test", out);
	for (const char *c = out; *c; c++)
		n += *c == ' ';
	assert_int_equal(n, RESOLVER_ADDRS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_addresses_and_names),
		cmocka_unit_test(says_what_is_wrong_and_in_which_line),
		cmocka_unit_test(refuses_a_name_that_is_too_long),
		cmocka_unit_test(keeps_only_so_many_addresses_of_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
