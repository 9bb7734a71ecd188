#include "daemon/gate/edition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[96];

static void write_file(const char *name, const char *text)
{
	char at[160];
	FILE *out;

	snprintf(at, sizeof(at), "%s/%s", dir, name);
	out = fopen(at, "w");
	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
}

static int setup(void **state)
{
	char command[160];

	(void)state;
	strcpy(dir, "/tmp/edition-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/egret.ini", dir);
	snprintf(command, sizeof(command), "mkdir -p %s/p/acl.d", dir);
	write_file("egret.ini", "[gateway]\nacl = p/acl.ini\negress-ip = 192.0.2.1, 2001:db8::1\n"
				"[dns]\nhosts-file = hosts\n[nat]\nenable = no\n");
	write_file("hosts", "192.0.2.5 a.example\n");
	return system(command);
}

static int teardown(void **state)
{
	char command[160];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static bool has(const struct path_list *paths, const char *name)
{
	char at[160];

	snprintf(at, sizeof(at), "%s%s%s", name[0] == '/' ? "" : dir, name[0] == '/' ? "" : "/",
		name);
	for (size_t i = 0; i < paths->n; i++)
		if (strcmp(paths->at[i], at) == 0)
			return true;
	return false;
}

static void an_edition_says_what_it_is_and_what_it_is_made_from(void **state)
{
	struct edition *edition;
	char text[EDITION_TEXT];
	struct error e;

	(void)state;
	write_file("p/list", "x.example\n");
	write_file("p/acl.ini",
		"[block b]\nhosts = bad.example\n[partner a]\nhosts-file = list ; why\n");
	write_file("p/acl.d/x.ini", "[partner b]\nhosts = y.example\n");
	edition = edition_new(path, NULL, NULL, &e);
	if (!edition)
		fail_msg("%s", e.text);
	assert_null(edition->datapath);
	assert_non_null(strstr(edition_print(edition, text),
		"2 partners, 1 block, egress 192.0.2.1 and 2001:db8::1, digest "));
	assert_int_equal(edition->paths.n, 5);
	assert_true(has(&edition->paths, "egret.ini"));
	assert_true(has(&edition->paths, "hosts"));
	assert_true(has(&edition->paths, "p/acl.ini"));
	assert_true(has(&edition->paths, "p/acl.d/"));
	assert_true(has(&edition->paths, "p/list"));
	edition_free(edition);
}

static void an_edition_holds_as_many_egress_addresses_as_can_be_named(void **state)
{
	char text[2000] = "[gateway]\nacl = p/acl.ini\negress-ip = 192.0.2.1, 2001:db8::1";
	struct edition *edition;
	char out[EDITION_TEXT];
	struct error e;

	(void)state;
	for (unsigned i = 2; i <= EGRESS_MAX; i++) {
		size_t n = strlen(text);

		snprintf(text + n, sizeof(text) - n, ", 192.0.2.%u, 2001:db8::%x", i, i);
	}
	strcat(text, "\n[nat]\nenable = no\n");
	write_file("egret.ini", text);
	write_file("p/acl.ini", "");
	edition = edition_new(path, NULL, NULL, &e);
	if (!edition)
		fail_msg("%s", e.text);
	assert_int_equal(edition->n_egress, 32);
	assert_non_null(strstr(edition_print(edition, out),
		"egress 192.0.2.1 and 2001:db8::1 and 30 more, digest "));
	edition_free(edition);
}

static void what_a_failed_edition_names_is_told_found_or_not(void **state)
{
	struct path_list tried = {0};
	struct error e;

	(void)state;
	write_file("p/acl.ini",
		"[partner a]\nhosts-file = \"none\", /nowhere/list\ncidr-file=sub/n # x\n");
	write_file("p/acl.d/x.ini", "[partner b]\nHosts-File = y\n");
	assert_null(edition_new(path, NULL, &tried, &e));
	assert_true(has(&tried, "egret.ini"));
	assert_true(has(&tried, "p/acl.ini"));
	assert_true(has(&tried, "p/acl.d/"));
	assert_true(has(&tried, "p/none"));
	assert_true(has(&tried, "/nowhere/list"));
	assert_true(has(&tried, "p/sub/n"));
	assert_true(has(&tried, "p/y"));
	path_list_fini(&tried);
}

static void a_file_that_is_not_there_is_named_whole(void **state)
{
	struct path_list tried = {0};
	char want[160];
	struct error e;

	(void)state;
	unlink(path);
	snprintf(want, sizeof(want), "%s: No such file or directory", path);
	assert_null(edition_new(path, NULL, &tried, &e));
	assert_string_equal(e.text, want);
	assert_int_equal(tried.n, 1);
	path_list_fini(&tried);
}

static void editions_are_equal_when_their_bytes_are(void **state)
{
	struct edition *a, *b, *c;
	struct error e;

	(void)state;
	write_file("p/acl.ini", "[partner a]\nhosts = a.example\n");
	a = edition_new(path, NULL, NULL, &e);
	b = edition_new(path, NULL, NULL, &e);
	write_file("p/acl.ini", "[partner a]\nhosts = b.example\n");
	c = edition_new(path, NULL, NULL, &e);
	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
	assert_true(edition_equal(a, b));
	assert_false(edition_equal(a, c));
	edition_free(a);
	edition_free(b);
	edition_free(c);
}

static void nat_is_as_the_running_configuration_says(void **state)
{
	struct edition *now, *next;
	struct error e;

	(void)state;
	write_file("p/acl.ini", "[partner a]\nhosts = a.example\n");
	now = edition_new(path, NULL, NULL, &e);
	assert_non_null(now);
	write_file("egret.ini",
		"[gateway]\nacl = p/acl.ini\negress-ip = 192.0.2.1\n[nat]\nenable = yes\n");
	next = edition_new(path, &(struct edition_facts){.running = now->config}, NULL, &e);
	assert_non_null(next);
	assert_null(next->datapath);
	edition_free(next);
	next = edition_new(path, NULL, NULL, &e);
	assert_non_null(next);
	assert_non_null(next->datapath);
	edition_free(next);
	edition_free(now);
}

static void an_agent_never_manages_addresses(void **state)
{
	static const enum role agent = ROLE_AGENT, gateway = ROLE_GATEWAY;
	const struct edition_facts facts = {.role = &agent}, other = {.role = &gateway};
	struct edition *edition;
	struct error e;

	(void)state;
	write_file("p/acl.ini", "[partner a]\nhosts = a.example\n");
	write_file("egret.ini", "[gateway]\nacl = p/acl.ini\negress-ip = 192.0.2.1\nrole = agent\n"
				"egress-interface = lo\n[nat]\nmanage-address = yes\n");
	edition = edition_new(path, &other, NULL, &e);
	if (!edition)
		fail_msg("%s", e.text);
	assert_int_equal(edition->config->role, ROLE_GATEWAY);
	assert_int_equal(edition->datapath->n_managed, 1);
	edition_free(edition);
	edition = edition_new(path, &facts, NULL, &e);
	assert_non_null(edition);
	assert_int_equal(edition->config->role, ROLE_AGENT);
	assert_int_equal(edition->datapath->n_managed, 0);
	edition_free(edition);
	edition = edition_new(path, NULL, NULL, &e);
	assert_non_null(edition);
	assert_int_equal(edition->config->role, ROLE_AGENT);
	edition_free(edition);
}

/* Its own would be another source than the gateways'. */
static void an_agent_has_to_be_told_the_egress_address(void **state)
{
	struct error e;

	(void)state;
	write_file("p/acl.ini", "");
	write_file("egret.ini", "[gateway]\nacl = p/acl.ini\nrole = agent\n");
	assert_null(edition_new(path, NULL, NULL, &e));
	assert_string_equal(e.text,
		"egret.ini: [gateway] egress-ip = auto: want the addresses that "
		"the gateways have, for role = agent");
}

static void an_egress_address_reaches_beyond_the_node(void **state)
{
	static const struct {
		const char *egret, *acl, *want;
	} cases[] = {
		{"egress-ip = 127.0.0.1", "",
			"egret.ini: [gateway]: egress-ip = 127.0.0.1: want an "
			"address that reaches beyond this node"},
		{"egress-ip = fe80::1", "",
			"egret.ini: [gateway]: egress-ip = fe80::1: want an "
			"address that reaches beyond this link"},
		{"egress-ip = 192.0.2.1", "\n[partner a]\nhosts = a.example\negress-ip = ::1\n",
			"p/acl.ini:2: partner a: egress-ip = ::1: want an address that reaches "
			"beyond this node"},
		{"egress-ip = 10.42.0.1", "",
			"egret.ini: [gateway]: egress-ip = 10.42.0.1: want an address that is not "
			"in pod-cidr"},
		{"egress-ip = 192.0.2.1",
			"\n[partner a]\nhosts = a.example\negress-ip = 10.42.9.9\n",
			"p/acl.ini:2: partner a: egress-ip = 10.42.9.9: want an address that is "
			"not in pod-cidr"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[256];
		struct error e;

		write_file("p/acl.ini", cases[i].acl);
		snprintf(text, sizeof(text),
			"[gateway]\nacl = p/acl.ini\n%s\n[nat]\nenable = yes\n", cases[i].egret);
		write_file("egret.ini", text);
		assert_null(edition_new(path, NULL, NULL, &e));
		assert_string_equal(e.text, cases[i].want);
	}
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST_CASE(an_edition_says_what_it_is_and_what_it_is_made_from),
		TEST_CASE(an_edition_holds_as_many_egress_addresses_as_can_be_named),
		TEST_CASE(what_a_failed_edition_names_is_told_found_or_not),
		TEST_CASE(a_file_that_is_not_there_is_named_whole),
		TEST_CASE(editions_are_equal_when_their_bytes_are),
		TEST_CASE(nat_is_as_the_running_configuration_says),
		TEST_CASE(an_agent_never_manages_addresses),
		TEST_CASE(an_agent_has_to_be_told_the_egress_address),
		TEST_CASE(an_egress_address_reaches_beyond_the_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
