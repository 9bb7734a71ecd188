#include "daemon/config/config.h"

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
	assert_int_equal(c->role, ROLE_GATEWAY);
	assert_int_equal(c->gateways.n, 0);
	assert_int_equal(c->probe_port, 9129);
	assert_true(c->probe_interval == 5);
	assert_int_equal(c->pod_cidr.n, 2);
	assert_string_equal(cidr_print(&c->pod_cidr.at[0], out), "10.42.0.0/16");
	assert_string_equal(cidr_print(&c->pod_cidr.at[1], out), "2001:cafe:42::/56");
	assert_int_equal(c->exclude_cidr.n, COUNT_OF(networks));
	for (size_t i = 0; i < COUNT_OF(networks); i++)
		assert_string_equal(cidr_print(&c->exclude_cidr.at[i], out), networks[i]);
	assert_int_equal(c->default_egress, DEFAULT_EGRESS_GATEWAY);
	assert_int_equal(c->egress_ip.n, 0);
	assert_int_equal(c->spread, SPREAD_SOURCE);
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
	assert_false(c->manage_address);
	assert_int_equal(c->inbound_ports.n, 0);
	assert_true(c->mark_mask == 0xff000000 && c->ct_mark_mask == 0xfffff000);
	assert_int_equal(c->route_table, 7099);
	assert_int_equal(c->rule_priority, 5220);
	assert_int_equal(c->capture_listen.n, 0);
	assert_int_equal(c->capture_priority, -110);
	assert_int_equal(c->prerouting_priority, -90);
	assert_int_equal(c->forward_priority, -10);
	assert_int_equal(c->translate_priority, 90);
	assert_int_equal(c->guard_priority, 150);
	assert_null(c->flow_log);
	assert_int_equal(c->max_flows, 262144);
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
				 "role = agent\n"
				 "probe-port = 1\n"
				 "probe-interval = 250ms\n"
				 "exclude-cidr = none\n"
				 "default-egress = deny\n"
				 "egress-ip = 203.0.113.10,2001:db8::10, 203.0.113.11\n"
				 "spread = connection\n"
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
				 "capture-listen = [::]:15001, 10.42.0.1:15001\n"
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
				 "enable = no\n"
				 "manage-address = yes\n"
				 "inbound-ports = 8080, 53, 8000-8100, 54\n"
				 "mark-mask = 0x0C\n"
				 "ct-mark-mask = 0xffff0\n"
				 "route-table = 4294967294\n"
				 "rule-priority = 2\n"
				 "capture-priority = -199\n"
				 "prerouting-priority = -1\n"
				 "forward-priority = -149\n"
				 "translate-priority = 0\n"
				 "guard-priority = 101\n"
				 "flow-log = flows.json\n"
				 "max-flows = 1024\n");
	char out[ADDR_TEXT + 8];

	(void)state;
	if (!c)
		fail_msg("%s", error.text);
	assert_int_equal(c->role, ROLE_AGENT);
	assert_int_equal(c->probe_port, 1);
	assert_true(c->probe_interval == 0.25);
	assert_int_equal(c->exclude_cidr.n, 0);
	assert_int_equal(c->default_egress, DEFAULT_EGRESS_DENY);
	assert_int_equal(c->egress_ip.n, 3);
	assert_int_equal(c->spread, SPREAD_CONNECTION);
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
	assert_int_equal(c->capture_listen.n, 2);
	assert_string_equal(endpoint_print(&c->capture_listen.at[1], out), "10.42.0.1:15001");
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
	assert_true(c->manage_address);
	assert_int_equal(c->inbound_ports.n, 2);
	assert_true(c->inbound_ports.at[0].first == 53 && c->inbound_ports.at[0].last == 54);
	assert_true(c->inbound_ports.at[1].first == 8000 && c->inbound_ports.at[1].last == 8100);
	assert_true(c->mark_mask == 0xc && c->ct_mark_mask == 0xffff0);
	assert_true(c->route_table == 4294967294u && c->rule_priority == 2);
	assert_int_equal(c->capture_priority, -199);
	assert_int_equal(c->prerouting_priority, -1);
	assert_int_equal(c->forward_priority, -149);
	assert_int_equal(c->translate_priority, 0);
	assert_int_equal(c->guard_priority, 101);
	assert_string_equal(c->flow_log, "/etc/egret/flows.json");
	assert_int_equal(c->max_flows, 1024);
	config_free(c);
}

/* `n` addresses of `format`, from 1. */
static const char *addresses(const char *format, unsigned n)
{
	static char list[1000];
	size_t at = 0;

	for (unsigned i = 1; i <= n; i++) {
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s", i > 1 ? ", " : "");
		at += (size_t)snprintf(list + at, sizeof(list) - at, format, i);
	}
	return list;
}

static void the_gateway_has_up_to_sixteen_addresses_of_each_version(void **state)
{
	static const char *const formats[] = {"203.0.113.%u", "2001:db8::%x"};
	char both[1000];
	struct config *c;

	(void)state;
	snprintf(both, sizeof(both), "%s, ", addresses(formats[0], 16));
	strcat(both, addresses(formats[1], 16));
	c = parse_key("gateway", "egress-ip", both);
	if (!c)
		fail_msg("%s", error.text);
	assert_int_equal(c->egress_ip.n, 32);
	config_free(c);
	for (size_t i = 0; i < COUNT_OF(formats); i++) {
		assert_null(parse_key("gateway", "egress-ip", addresses(formats[i], 17)));
		assert_non_null(strstr(error.text, "at most 16 IPv4 and 16 IPv6"));
	}
}

static void a_gateway_has_addresses_of_the_node_and_of_the_pod_network(void **state)
{
	struct config *c = parse_key("gateway", "gateways",
		"gw1 10.42.0.0 192.0.2.1\t2001:cafe:42:: 2001:db8::1 , gw-2.b  192.0.2.2");
	const struct gateway_peer *gw;
	char out[ADDR_TEXT];

	(void)state;
	if (!c)
		fail_msg("%s", error.text);
	assert_int_equal(c->gateways.n, 2);
	gw = &c->gateways.at[0];
	assert_string_equal(gw->name, "gw1");
	assert_true(gw->has_node[GATEWAY_V4] && gw->has_node[GATEWAY_V6]);
	assert_true(gw->has_pod[GATEWAY_V4] && gw->has_pod[GATEWAY_V6]);
	assert_string_equal(addr_print(&gw->node[GATEWAY_V4], out), "192.0.2.1");
	assert_string_equal(addr_print(&gw->pod[GATEWAY_V4], out), "10.42.0.0");
	assert_string_equal(addr_print(&gw->node[GATEWAY_V6], out), "2001:db8::1");
	assert_string_equal(addr_print(&gw->pod[GATEWAY_V6], out), "2001:cafe:42::");
	assert_string_equal(addr_print(gateway_probed(gw, GATEWAY_V4), out), "10.42.0.0");
	assert_string_equal(addr_print(gateway_probed(gw, GATEWAY_V6), out), "2001:cafe:42::");
	gw = &c->gateways.at[1];
	assert_string_equal(gw->name, "gw-2.b");
	assert_false(gw->has_pod[GATEWAY_V4] || gw->has_pod[GATEWAY_V6]);
	assert_string_equal(addr_print(gateway_probed(gw, GATEWAY_V4), out), "192.0.2.2");
	assert_null(gateway_probed(gw, GATEWAY_V6));
	config_free(c);
}

static void there_are_no_more_gateways_than_marks_for_them(void **state)
{
	static const char two[] = "[gateway]\ngateways = a 192.0.2.1, b 192.0.2.2\n"
				  "[nat]\nmark-mask = 0x3\n";
	static const char three[] = "[gateway]\ngateways = a 192.0.2.1, b 192.0.2.2, c 192.0.2.3\n"
				    "[nat]\nmark-mask = 0x3\n";
	struct config *c = parse(two);

	(void)state;
	assert_non_null(c);
	config_free(c);
	assert_null(parse(three));
	assert_non_null(strstr(error.text, "egret.ini:2: [gateway] gateways: 3 gateways: want at "
					   "most 2"));
}

#define NOT_NETWORKS                                                                               \
	"", "x", "10.42.0.1/16", "10.42.0.0/33", "10.0.0.0/8 10.1.0.0/16", "10.0.0.0/8,",          \
		",10.0.0.0/8", "10.0.0.0/8, 10.1.0.0/16", "::/0, ::1", "10.0.0.0/8, 10.0.0.0/8"
#define NOT_ENDPOINTS                                                                              \
	"", "3128", ":3128", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:3128",            \
		"localhost:3128", "127.0.0.1:1, 127.0.0.1:1", "127.0.0.1:1;"
#define NOT_COUNTS "", "x", "-1", "+1", "1.5", "1e3", "0x10", "10k", "1 0", "99999999999999999999"
#define NOT_MASKS "", "x", "0", "0x", "0x0", "255", "ff000000", "0xfg", "-0xff", "0xff0 ", "0Xff0"
#define NOT_PRIORITIES "", "x", "-", "+1", "--1", "-01", "-0", "1.5", "-9999999999", "0x10"
#define NOT_TIMES                                                                                  \
	"", "30", "1.5s", "-1s", "30 s", "30S", "30sec", "s", "1s2ms", "8d", "0",                  \
		"99999999999999999999s", "999999999999d"

static const struct {
	const char *section, *key;
	const char *bad[20];
} bad_values[] = {
	{"gateway", "role", {"", "Gateway", "agents", "gateway, agent"}},
	{"gateway", "gateways",
		{"", "x", "none, a 192.0.2.1", "a", "192.0.2.1", "a 192.0.2.1,", "a 192.0.2.1 a",
			"a 192.0.2.1, a 192.0.2.2", "a 192.0.2.1, b 192.0.2.1",
			"a 192.0.2.1 192.0.2.1", "1a 192.0.2.1", "a/b 192.0.2.1", "a 0.0.0.0",
			"a ff02::1", "a 127.0.0.1", "a fe80::1", "a 192.0.2.0/24",
			"a 192.0.2.1 192.0.2.2", "a 10.42.0.0 10.42.0.1"}},
	{"gateway", "probe-port", {NOT_COUNTS, "0", "65536", "auto"}},
	{"gateway", "probe-interval", {NOT_TIMES, "0s", "99ms", "61s"}},
	{"gateway", "pod-cidr", {NOT_NETWORKS, "none", "auto"}},
	{"gateway", "exclude-cidr", {NOT_NETWORKS, "auto"}},
	{"gateway", "default-egress", {"", "Gateway", "auto", "none", "gateway, local"}},
	{"gateway", "egress-ip",
		{"", "x", "AUTO", "10.0.0.0/8", "10.0.0.1, 10.0.0.2, 10.0.0.1", "::2, ::0:2",
			"0.0.0.0", "::", "224.0.0.1", "ff02::1", "10.0.0.1,", "auto, 10.0.0.1"}},
	{"gateway", "spread", {"", "Source", "random", "pod"}},
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
	{"proxy", "capture-listen", {NOT_ENDPOINTS, "none"}},
	{"cache", "size", {"", "x", "on", "15m", "0", "1025g", "64M", "1t"}},
	{"cache", "directory", {"", "/var/cache/", "cache/"}},
	{"cache", "max-object", {"", "x", "off", "1023", "65m", "257g"}},
	{"cache", "heuristic-most", {"", "30", "1.5s", "-1s", "30 s", "0", "366d"}},
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
	{"nat", "lock-table", {"", "yes", "Auto", "on"}},
	{"nat", "manage-address", {"", "true", "1", "on", "Yes"}},
	{"nat", "flow-sync", {"", "true", "1", "on", "Yes"}},
	{"nat", "inbound-ports",
		{"", "0", "65536", "53,", ",53", "80-79", "any", "none, 53", "53 54", "-1", "1-"}},
	{"nat", "mark-mask", {NOT_MASKS, "0x1", "0x80000000", "0xa0", "0xff0000ff", "0x100000000"}},
	{"nat", "ct-mark-mask", {NOT_MASKS, "0x7fff", "0xfffe0000", "0xff000000", "0x7fff7fff"}},
	{"nat", "route-table", {NOT_COUNTS, "0", "254", "255", "4294967296", "main"}},
	{"nat", "rule-priority", {NOT_COUNTS, "0", "32766"}},
	{"nat", "capture-priority", {NOT_PRIORITIES, "-200", "-100", "dstnat"}},
	{"nat", "prerouting-priority", {NOT_PRIORITIES, "0", "-100", "dstnat"}},
	{"nat", "forward-priority", {NOT_PRIORITIES, "0", "-150", "filter"}},
	{"nat", "translate-priority", {NOT_PRIORITIES, "-200", "100", "srcnat"}},
	{"nat", "guard-priority", {NOT_PRIORITIES, "100", "300", "0", "-150"}},
	{"nat", "flow-log", {"", "/var/log/", "logs/"}},
	{"nat", "max-flows", {NOT_COUNTS, "0", "1023", "16777217"}},
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
		{"[gateway]\ngateways = a 192.168.1.1 10.42.0.0, b 192.168.1.2 10.42.1.0\n"
		 "[nat]\nrule-priority = 3\n",
			"egret.ini: [nat] rule-priority, route-table: want room for 3 more"},
		{"[nat]\nroute-table = 4294967295\n",
			"egret.ini: [nat] rule-priority, route-table: want room for 1 more"},
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
			"egret.ini:4: [admin] listen = [::1]:3128: want another than [proxy] "
			"listen "
			"has"},
		{"[proxy]\ncapture-listen = 0.0.0.0:15001, [::]:15002\n",
			"egret.ini:2: [proxy] capture-listen = [::]:15002: want one port for all"},
		{"[proxy]\nlisten = [::1]:7\ncapture-listen = 0.0.0.0:7\n",
			"egret.ini:3: [proxy] capture-listen = 0.0.0.0:7: want a port that no "
			"other "
			"listener has"},
		{"[proxy]\ncapture-listen = 0.0.0.0:9128\n",
			"egret.ini:2: [proxy] capture-listen = 0.0.0.0:9128: want a port that no"},
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
		{"gateway", "role", "agent", "[gateway] role"},
		{"gateway", "gateways", "a 192.0.2.1", NULL},
		{"proxy", "uid", "3", "[proxy] uid"},
		{"dns", "servers", "192.0.2.53", "[dns] servers"},
		{"dns", "timeout", "4s", "[dns] timeout"},
		{"dns", "hosts-file", "hosts", NULL},
		{"admin", "listen", "off", "[admin] listen"},
		{"admin", "control", "off", "[admin] control"},
		{"nat", "enable", "no", "[nat] enable"},
		{"nat", "table", "other", "[nat] table"},
		{"nat", "lock-table", "auto", "[nat] lock-table"},
		{"nat", "mark-mask", "0x0f000000", "[nat] mark-mask"},
		{"nat", "ct-mark-mask", "0xffff0000", "[nat] ct-mark-mask"},
		{"nat", "route-table", "7100", "[nat] route-table"},
		{"nat", "rule-priority", "5221", "[nat] rule-priority"},
		{"proxy", "capture-listen", "[::]:15001", "[proxy] capture-listen"},
		{"nat", "capture-priority", "-111", "[nat] capture-priority"},
		{"nat", "prerouting-priority", "-91", "[nat] prerouting-priority"},
		{"nat", "forward-priority", "-11", "[nat] forward-priority"},
		{"nat", "translate-priority", "-91", "[nat] translate-priority"},
		{"nat", "guard-priority", "151", "[nat] guard-priority"},
		{"nat", "max-flows", "262145", "[nat] max-flows"},
		{"nat", "flow-log", "/var/log/flows", NULL},
		{"nat", "manage-address", "yes", NULL},
		{"nat", "flow-sync", "yes", NULL},
		{"nat", "inbound-ports", "53", NULL},
		{"gateway", "default-egress", "local", NULL},
		{"gateway", "spread", "connection", NULL},
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
	struct config *now = parse(""),
		      *next = parse("[proxy]\nworkers = 3\n[dns]\ntimeout = 4s\n");
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
		cmocka_unit_test(the_gateway_has_up_to_sixteen_addresses_of_each_version),
		cmocka_unit_test(a_gateway_has_addresses_of_the_node_and_of_the_pod_network),
		cmocka_unit_test(there_are_no_more_gateways_than_marks_for_them),
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
