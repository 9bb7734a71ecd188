#include "daemon/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "acl/ini.h"

static struct error error;
static struct files *files;

static struct config *parse(const char *text)
{
	files_free(files);
	files = files_new("/etc/egret");
	assert_int_equal(files_put(files, "egret.ini", text_of(text)), 0);
	assert_int_equal(files_put(files, "hosts", TEXT("192.0.2.1 a")), 0);
	error.text[0] = '\0';
	return config_new(files, "egret.ini", &error);
}

static struct config *parse_key(const char *section, const char *key, const char *value)
{
	char text[2000];

	snprintf(text, sizeof(text), "; first\n[%s]\n%s = %s\n", section, key, value);
	return parse(text);
}

static char *defaults(void)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	config_print_defaults(out);
	fclose(out);
	return text;
}

static void the_shipped_file_is_the_table(void **state)
{
	char *text = defaults();
	struct files *shipped = files_new("etc");
	struct text file;

	(void)state;
	if (files_get(shipped, "egret.ini", &file, &error))
		fail_msg("%s: run this in the project's directory", error.text);
	assert_true(text_equal(file, text_of(text)));
	files_free(shipped);
	free(text);
}

static void an_empty_file_means_the_defaults(void **state)
{
	static const char *const networks[] = {"10.43.0.0/16", "2001:cafe:43::/112", "127.0.0.0/8",
		"169.254.0.0/16", "224.0.0.0/4", "::1", "fe80::/10", "ff00::/8"};
	struct config *c = parse("");
	char out[ADDR_TEXT + 8];

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->pod_cidr.n, 2);
	assert_string_equal(cidr_print(&c->pod_cidr.at[0], out), "10.42.0.0/16");
	assert_string_equal(cidr_print(&c->pod_cidr.at[1], out), "2001:cafe:42::/56");
	assert_int_equal(c->exclude_cidr.n, COUNT_OF(networks));
	for (size_t i = 0; i < COUNT_OF(networks); i++)
		assert_string_equal(cidr_print(&c->exclude_cidr.at[i], out), networks[i]);
	assert_int_equal(c->egress_ip.n, 0);
	assert_null(c->egress_interface);
	assert_string_equal(c->acl, "acl.ini");
	assert_int_equal(c->listen.n, 2);
	assert_string_equal(endpoint_print(&c->listen.at[0], out), "0.0.0.0:3128");
	assert_string_equal(endpoint_print(&c->listen.at[1], out), "[::]:3128");
	assert_int_equal(c->workers, 0);
	assert_int_equal(c->max_connections, 10000);
	assert_int_equal(c->uid, 65532);
	assert_int_equal(c->gid, 65532);
	assert_string_equal(c->name, "egret");
	assert_true(c->header_timeout == 10 && c->idle_timeout == 60 && c->connect_timeout == 10);
	assert_true(c->response_timeout == 60 && c->relay_timeout == 60);
	assert_true(c->tunnel_timeout == 3600 && c->drain_timeout == 30);
	assert_int_equal(c->max_header_bytes, 65536);
	assert_int_equal(c->max_header_fields, 128);
	assert_int_equal(c->max_request_line, 8192);
	assert_int_equal(c->origin_connections, 256);
	assert_true(c->origin_idle_timeout == 30);
	assert_int_equal(c->max_sources, 65536);
	assert_int_equal(c->on_reload, ON_RELOAD_RECHECK);
	assert_int_equal(c->dns_servers.n, 0);
	assert_true(c->dns_timeout == 5 && c->dns_min_ttl == 1 && c->dns_max_ttl == 3600);
	assert_true(c->dns_negative_ttl == 5);
	assert_int_equal(c->dns_cache, 10000);
	assert_int_equal(c->dns_queries, 1000);
	assert_int_equal(c->dns_waiters, 1000);
	assert_null(c->dns_hosts_file);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	assert_string_equal(c->access_log, "stdout");
	assert_int_equal(c->access_format, ACCESS_JSON);
	assert_int_equal(c->admin_listen.n, 1);
	assert_string_equal(c->control, "/run/egret/control.sock");
	assert_true(c->nat);
	assert_string_equal(c->nat_table, "egret");
	config_free(c);
}

/* Each key alone, then every other key of the file at its default: the same configuration. */
static const char *first_for_restart(const struct config *now, const struct config *next)
{
	size_t from = 0;

	return config_needs_restart(now, next, &from);
}

static void every_default_reads_as_itself(void **state)
{
	char *text = defaults(), *again;
	struct config *nothing = parse(""), *all = parse(text);
	struct ini ini;

	(void)state;
	assert_non_null(nothing);
	assert_non_null(all);
	assert_null(first_for_restart(nothing, all));
	assert_int_equal(ini_parse(&ini, "egret.ini", text_of(text), &error), 0);
	for (size_t s = 0; s < ini.n_sections; s++)
		for (size_t k = 0; k < ini.sections[s].n_keys; k++) {
			const struct ini_key *key = &ini.sections[s].keys[k];
			struct config *c = parse_key(ini.sections[s].name, key->name, key->value);

			if (!c)
				fail_msg("%s", error.text);
			assert_null(first_for_restart(nothing, c));
			config_free(c);
		}
	again = defaults();
	assert_string_equal(text, again);
	ini_free(&ini);
	config_free(nothing);
	config_free(all);
	free(again);
	free(text);
}

static void values_reach_their_fields(void **state)
{
	struct config *c = parse("[gateway]\n"
				 "exclude-cidr = none\n"
				 "egress-ip = 203.0.113.10,2001:db8::10\n"
				 "egress-interface = eth0.100\n"
				 "acl = policy/acl.ini\n"
				 "[proxy]\n"
				 "listen = 127.0.0.1:1 , [::1]:65535\n"
				 "workers = 256\n"
				 "uid = 4294967294\n"
				 "header-timeout = 100ms\n"
				 "idle-timeout = 2m\n"
				 "tunnel-timeout = 7d\n"
				 "drain-timeout = 0s\n"
				 "max-header-bytes = 1m\n"
				 "max-request-line = 8192\n"
				 "on-reload = keep\n"
				 "[dns]\n"
				 "servers = 192.0.2.53, 2001:db8::53, [2001:db8::53]:5353\n"
				 "hosts-file = hosts\n"
				 "[log]\n"
				 "level = debug\n"
				 "access-log = logs/access.log\n"
				 "access-format = combined\n"
				 "[admin]\n"
				 "listen = off\n"
				 "control = off\n"
				 "[nat]\n"
				 "enable = no\n");
	char out[ADDR_TEXT + 8];

	(void)state;
	if (!c)
		fail_msg("%s", error.text);
	assert_int_equal(c->exclude_cidr.n, 0);
	assert_int_equal(c->egress_ip.n, 2);
	assert_string_equal(addr_print(&c->egress_ip.at[1], out), "2001:db8::10");
	assert_string_equal(c->egress_interface, "eth0.100");
	assert_string_equal(c->acl, "policy/acl.ini");
	assert_int_equal(c->listen.n, 2);
	assert_string_equal(endpoint_print(&c->listen.at[1], out), "[::1]:65535");
	assert_int_equal(c->workers, 256);
	assert_true(c->uid == 4294967294u);
	assert_true(c->header_timeout == 0.1 && c->idle_timeout == 120);
	assert_true(c->tunnel_timeout == 7 * 86400 && c->drain_timeout == 0);
	assert_int_equal(c->max_header_bytes, 1048576);
	assert_int_equal(c->max_request_line, 8192);
	assert_int_equal(c->on_reload, ON_RELOAD_KEEP);
	assert_int_equal(c->dns_servers.n, 3);
	assert_string_equal(endpoint_print(&c->dns_servers.at[1], out), "[2001:db8::53]:53");
	assert_string_equal(endpoint_print(&c->dns_servers.at[2], out), "[2001:db8::53]:5353");
	assert_string_equal(c->dns_hosts_file, "hosts");
	assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(c->access_log, "/etc/egret/logs/access.log");
	assert_int_equal(c->access_format, ACCESS_COMBINED);
	assert_int_equal(c->admin_listen.n, 0);
	assert_null(c->control);
	assert_false(c->nat);
	config_free(c);
}

#define NOT_NETWORKS                                                                               \
	"", "x", "10.42.0.1/16", "10.42.0.0/33", "10.0.0.0/8 10.1.0.0/16", "10.0.0.0/8,",          \
		",10.0.0.0/8", "10.0.0.0/8, 10.1.0.0/16", "::/0, ::1", "10.0.0.0/8, 10.0.0.0/8"
#define NOT_ENDPOINTS                                                                              \
	"", "3128", ":3128", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:3128",            \
		"localhost:3128", "127.0.0.1:1, 127.0.0.1:1", "127.0.0.1:1;"
#define NOT_COUNTS "", "x", "-1", "+1", "1.5", "1e3", "0x10", "10k", "1 0", "99999999999999999999"
#define NOT_TIMES                                                                                  \
	"", "30", "1.5s", "-1s", "30 s", "30S", "30sec", "s", "1s2ms", "8d", "0",                  \
		"99999999999999999999s", "999999999999d"

static const struct {
	const char *section, *key;
	const char *bad[20];
} bad_values[] = {
	{"gateway", "pod-cidr", {NOT_NETWORKS, "none", "auto"}},
	{"gateway", "exclude-cidr", {NOT_NETWORKS, "auto"}},
	{"gateway", "egress-ip",
		{"", "x", "AUTO", "10.0.0.0/8", "10.0.0.1, 10.0.0.2", "::1, ::2", "0.0.0.0",
			"::", "224.0.0.1", "ff02::1", "10.0.0.1,", "auto, 10.0.0.1"}},
	{"gateway", "egress-interface", {"", "a b", "eth0/1", "sixteencharacter", "-"}},
	{"gateway", "acl", {""}},
	{"proxy", "listen", {NOT_ENDPOINTS, "off"}},
	{"proxy", "workers", {NOT_COUNTS, "0", "257"}},
	{"proxy", "max-connections", {NOT_COUNTS, "0", "1000001", "auto"}},
	{"proxy", "uid", {NOT_COUNTS, "0", "4294967295", "nobody"}},
	{"proxy", "gid", {NOT_COUNTS, "0", "4294967295", "nogroup"}},
	{"proxy", "name", {"", "a b", "a,b", "1", "a/b", "\xc3\xbc"}},
	{"proxy", "header-timeout", {NOT_TIMES, "0s", "99ms", "61m"}},
	{"proxy", "idle-timeout", {NOT_TIMES, "0s", "99ms", "25h"}},
	{"proxy", "connect-timeout", {NOT_TIMES, "0s", "99ms", "61m"}},
	{"proxy", "response-timeout", {NOT_TIMES, "0s", "99ms", "25h"}},
	{"proxy", "relay-timeout", {NOT_TIMES, "0s", "99ms", "25h"}},
	{"proxy", "tunnel-timeout", {NOT_TIMES, "0s", "99ms", "169h"}},
	{"proxy", "drain-timeout", {NOT_TIMES, "25h"}},
	{"proxy", "max-header-bytes",
		{"", "x", "1023", "0", "1025k", "2m", "64K", "64 k", "64kb", "1.5k",
			"99999999999999999m"}},
	{"proxy", "max-header-fields", {NOT_COUNTS, "0", "1025"}},
	{"proxy", "max-request-line", {"", "x", "255", "0", "1025k", "8K", "65k"}},
	{"proxy", "origin-connections", {NOT_COUNTS, "65537"}},
	{"proxy", "origin-idle-timeout", {NOT_TIMES, "25h"}},
	{"proxy", "max-sources", {NOT_COUNTS, "0", "16777217"}},
	{"proxy", "on-reload", {"", "close", "Keep", "recheck, keep"}},
	{"dns", "servers",
		{"", "x", "192.0.2.1:0", "[192.0.2.1]:53", "192.0.2.1, 192.0.2.1:53", "off"}},
	{"dns", "timeout", {NOT_TIMES, "0s", "99ms", "61s"}},
	{"dns", "cache-size", {NOT_COUNTS, "1000001"}},
	{"dns", "min-ttl", {NOT_TIMES, "61m"}},
	{"dns", "max-ttl", {NOT_TIMES, "169h"}},
	{"dns", "negative-ttl", {NOT_TIMES, "61m"}},
	{"dns", "queries", {NOT_COUNTS, "0", "65537"}},
	{"dns", "waiters", {NOT_COUNTS, "0", "65537"}},
	{"dns", "hosts-file", {"", "nowhere", "/nowhere/hosts", "/etc"}},
	{"log", "level", {"", "verbose", "INFO", "0"}},
	{"log", "access-log", {"", "/var/log/", "logs/"}},
	{"log", "access-format", {"", "JSON", "common"}},
	{"admin", "listen", {NOT_ENDPOINTS, "none"}},
	{"admin", "control", {"", "/run/"}},
	{"nat", "enable", {"", "true", "1", "on", "Yes"}},
	{"nat", "table", {"", "a b", "1a", "inet/egret", "thirty-two-characters-are-too-many"}},
};

static void bad_values_are_refused_with_line_and_what_was_wanted(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad_values); i++)
		for (size_t k = 0; k < COUNT_OF(bad_values[i].bad) && bad_values[i].bad[k]; k++) {
			char want[100], quoted[100];

			snprintf(quoted, sizeof(quoted), "\"%s\"", bad_values[i].bad[k]);
			if (parse_key(bad_values[i].section, bad_values[i].key, quoted))
				fail_msg("[%s] %s = %s was taken", bad_values[i].section,
					bad_values[i].key, bad_values[i].bad[k]);
			snprintf(want, sizeof(want), "egret.ini:3: [%s] %s", bad_values[i].section,
				bad_values[i].key);
			if (strncmp(error.text, want, strlen(want)) != 0)
				fail_msg("'%s', want '%s'", error.text, want);
			if (!strstr(error.text, ": want ") && !strstr(error.text, "above") &&
				strcmp(bad_values[i].key, "hosts-file") != 0)
				fail_msg("'%s' does not say what was wanted", error.text);
		}
}

static void every_key_has_bad_values_in_this_test(void **state)
{
	char *text = defaults();
	struct ini ini;
	size_t n = 0;

	(void)state;
	assert_int_equal(ini_parse(&ini, "egret.ini", text_of(text), &error), 0);
	for (size_t s = 0; s < ini.n_sections; s++)
		for (size_t k = 0; k < ini.sections[s].n_keys; k++, n++) {
			assert_true(n < COUNT_OF(bad_values));
			assert_string_equal(ini.sections[s].name, bad_values[n].section);
			assert_string_equal(ini.sections[s].keys[k].name, bad_values[n].key);
		}
	assert_int_equal(n, COUNT_OF(bad_values));
	ini_free(&ini);
	free(text);
}

static void unknown_and_doubled_sections_and_keys_are_refused(void **state)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"[proxi]\n", "egret.ini:1: [proxi]: no such section: want [gateway], [proxy]"},
		{"[Proxy]\n", "egret.ini:1: [Proxy]: no such section"},
		{"[partner x]\n", "egret.ini:1: [partner x]: no such section"},
		{"[proxy]\n\nworker = 1\n",
			"egret.ini:3: [proxy] worker: no such key: want listen, workers"},
		{"[proxy]\nWorkers = 1\n", "egret.ini:2: [proxy] Workers: no such key"},
		{"[nat]\nlisten = 127.0.0.1:1\n",
			"egret.ini:2: [nat] listen: no such key: want enable, table"},
		{"[nat]\nenable = no\nenable = no\n",
			"egret.ini:3: [nat] enable: want each key once, see line 2"},
		{"[nat]\n[log]\n[nat]\n", "egret.ini:3: [nat]: want each section once, see line 1"},
		{"enable = no\n", "egret.ini:1: enable = no: want a [SECTION]"},
		{"[nat]\nenable = no;\n", "egret.ini:2: enable = no;: want quotes around"},
		{"[dns]\nmin-ttl = 10m\nmax-ttl = 5m\n",
			"egret.ini:3: [dns] min-ttl is above max-ttl"},
		{"[proxy]\nlisten = [::1]:3128\n[admin]\nlisten = 127.0.0.1:1, [::1]:3128\n",
			"egret.ini:4: [admin] listen = [::1]:3128: want another than [proxy] listen "
			"has"},
		{"[proxy]\nmax-header-bytes = 4k\n",
			"egret.ini:2: [proxy] max-request-line is above max-header-bytes"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		assert_null(parse(bad[i].text));
		if (strncmp(error.text, bad[i].message, strlen(bad[i].message)) != 0)
			fail_msg("'%s', want '%s'", error.text, bad[i].message);
	}
}

static void a_missing_file_is_named(void **state)
{
	struct files *none = files_new("/nowhere");

	(void)state;
	assert_null(config_new(none, "egret.ini", &error));
	assert_string_equal(error.text, "egret.ini: No such file or directory");
	files_free(none);
}

static void the_hosts_file_is_packed_with_the_set(void **state)
{
	struct config *c = parse_key("dns", "hosts-file", "hosts");
	int fd = files_pack(files, &error);
	struct files *copy = files_unpack(fd, &error);
	struct config *same = config_new(copy, "egret.ini", &error);

	(void)state;
	assert_non_null(c);
	assert_non_null(same);
	assert_null(first_for_restart(c, same));
	config_free(same);
	config_free(c);
	files_free(copy);
	close(fd);
}

static void some_changes_need_a_restart_and_are_named(void **state)
{
	static const struct {
		const char *section, *key, *value, *named;
	} rows[] = {
		{"proxy", "listen", "0.0.0.0:3128, [::]:3129", "[proxy] listen"},
		{"proxy", "listen", "0.0.0.0:3128", "[proxy] listen"},
		{"proxy", "workers", "3", "[proxy] workers"},
		{"proxy", "uid", "3", "[proxy] uid"},
		{"dns", "servers", "192.0.2.53", "[dns] servers"},
		{"dns", "timeout", "4s", "[dns] timeout"},
		{"dns", "hosts-file", "hosts", NULL},
		{"admin", "listen", "off", "[admin] listen"},
		{"admin", "control", "off", "[admin] control"},
		{"nat", "enable", "no", "[nat] enable"},
		{"nat", "table", "other", "[nat] table"},
		{"gateway", "pod-cidr", "10.0.0.0/8", NULL},
		{"gateway", "egress-ip", "10.0.0.1", NULL},
		{"proxy", "idle-timeout", "1s", NULL},
		{"log", "level", "debug", NULL},
		{"log", "access-log", "off", NULL},
	};
	struct config *now = parse("");

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct config *next = parse_key(rows[i].section, rows[i].key, rows[i].value);
		const char *named, *back;

		assert_non_null(next);
		named = first_for_restart(now, next);
		back = first_for_restart(next, now);
		if (rows[i].named) {
			assert_non_null(named);
			assert_non_null(back);
			assert_string_equal(named, rows[i].named);
			assert_string_equal(back, rows[i].named);
		} else {
			assert_null(named);
			assert_null(back);
		}
		config_free(next);
	}
	config_free(now);
}

static int free_files(void **state)
{
	(void)state;
	files_free(files);
	return 0;
}

static void every_key_for_a_restart_is_named(void **state)
{
	struct config *now = parse(""), *next = parse("[proxy]\nworkers = 3\n[dns]\ntimeout = 4s\n");
	size_t from = 0;

	(void)state;
	assert_non_null(next);
	assert_string_equal(config_needs_restart(now, next, &from), "[proxy] workers");
	assert_string_equal(config_needs_restart(now, next, &from), "[dns] timeout");
	assert_null(config_needs_restart(now, next, &from));
	config_free(next);
	config_free(now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_shipped_file_is_the_table),
		cmocka_unit_test(an_empty_file_means_the_defaults),
		cmocka_unit_test(every_default_reads_as_itself),
		cmocka_unit_test(values_reach_their_fields),
		cmocka_unit_test(bad_values_are_refused_with_line_and_what_was_wanted),
		cmocka_unit_test(every_key_has_bad_values_in_this_test),
		cmocka_unit_test(unknown_and_doubled_sections_and_keys_are_refused),
		cmocka_unit_test(a_missing_file_is_named),
		cmocka_unit_test(the_hosts_file_is_packed_with_the_set),
		cmocka_unit_test(some_changes_need_a_restart_and_are_named),
		cmocka_unit_test(every_key_for_a_restart_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, free_files);
}
