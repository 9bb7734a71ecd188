/*
 * config.c - egret.ini: every key in one table.
 *
 * What is read, what a message wants, what the shipped file says and what needs a restart all come
 * from keys[].  A key that the file does not give is read from its default text, by the same code.
 */
#include "daemon/config/config.h"

#include <errno.h>
#include <stdlib.h>

#include "acl/ini.h"
#include "acl/limits.h"
#include "base/check.h"
#include "daemon/config/value.h"

#define SHOWN 64 /* bytes of a value that a message repeats */

static const char *const on_reload[] = {"recheck", "keep", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const targets[] = {"stdout", "stderr", "off", NULL};
static const char *const egresses[] = {"gateway", "local", "deny", NULL};
static const char *const locks[] = {"no", "auto", NULL};
static const char *const spreads[] = {"source", "connection", NULL};
static const char *const roles[] = {"gateway", "agent", NULL};
static const char *const formats[] = {"json", "squid", "combined", NULL};

struct key {
	const char *section, *name, *full;
	size_t offset;    /* in struct config */
	bool restart;     /* a change waits for the next start */
	const char *text; /* default */
	struct value_spec spec;
	const char *about; /* lines */
};

/* clang-format off */
#define KEY(section, name, field) \
	section, name, "[" section "] " name, offsetof(struct config, field)
#define LIVE false
#define RESTART true

#define NETWORKS(...) {.kind = VALUE_NETWORKS, __VA_ARGS__}
#define ADDRESSES(high, ...) {.kind = VALUE_ADDRESSES, .max = high, __VA_ARGS__}
#define PORTS(...) {.kind = VALUE_PORTS, __VA_ARGS__}
#define ENDPOINTS(...) {.kind = VALUE_ENDPOINTS, __VA_ARGS__}
#define UNSIGNED(low, high, ...) {.kind = VALUE_UNSIGNED, .min = low, .max = high, __VA_ARGS__}
#define SIGNED(low, high) {.kind = VALUE_SIGNED, .min = low, .max = high}
#define MASK(bits) {.kind = VALUE_MASK, .min = bits}
#define COUNT(low, high) {.kind = VALUE_COUNT, .min = low, .max = high}
#define BYTES(low, high, ...) {.kind = VALUE_BYTES, .min = low, .max = high, __VA_ARGS__}
#define DURATION(low, high) {.kind = VALUE_DURATION, .min = low, .max = high}
#define NAME(high, ...) {.kind = VALUE_NAME, .max = high, __VA_ARGS__}
#define FILE_NAME(...) {.kind = VALUE_FILE, __VA_ARGS__}
#define PATH(...) {.kind = VALUE_PATH, __VA_ARGS__}
#define CHOICE(list) {.kind = VALUE_CHOICE, .choices = list}
#define YES_NO {.kind = VALUE_YES_NO}
#define GATEWAYS(...) {.kind = VALUE_GATEWAYS, __VA_ARGS__}
/* clang-format on */

#define MS 1
#define S 1000
#define H 3600000
#define DAY 86400000
#define KIB 1024
#define MIB 1048576

static const struct {
	const char *name, *about;
} sections[] = {
	{"gateway", "The node and its cluster."},
	{"proxy", "The HTTP and CONNECT proxy."},
	{"cache", "Responses of partners with `cache = yes`, for all who may have them."},
	{"dns", "How the proxy looks names up; each worker has a cache of its own."},
	{"log", "Its own log goes to stderr; each exchange and tunnel has a line elsewhere."},
	{"admin", "For operators and Prometheus."},
	{"nat", "Translation of pod traffic by the kernel (nftables)."},
};

static const struct key keys[] = {
	{KEY("gateway", "role", role), RESTART, "gateway", CHOICE(roles),
		"gateway: the proxy, and translation while an egress address is on this node.\n"
		"agent: every other node of the cluster: what its pods send is brought to the\n"
		"gateway that has the address.  egretd --role says otherwise, so that all nodes "
		"can\n"
		"have this file."},
	{KEY("gateway", "gateways", gateways), LIVE, "none", GATEWAYS(.word = "none"),
		"Every gateway of the cluster: its node's address, and its address in the pod "
		"network\n"
		"(of Flannel's device; with host-gw of the pods' bridge), one of each version:\n"
		"gw1 192.168.1.11 10.42.0.0, gw2 192.168.1.12 10.42.1.0"},
	{KEY("gateway", "probe-port", probe_port), LIVE, "9129", UNSIGNED(1, 65535),
		"UDP port where gateways are asked, at their address in the pod network, whether\n"
		"they are there and which egress addresses they have; over each IP version."},
	{KEY("gateway", "probe-interval", probe_interval), LIVE, "5s", DURATION(100 * MS, 60 * S),
		"How often they are asked.  After an answer that is missing: every 500ms; three\n"
		"missing ones mean down, and nothing is sent there any more."},
	{KEY("gateway", "pod-cidr", pod_cidr), LIVE, "10.42.0.0/16, 2001:cafe:42::/56", NETWORKS(),
		"The pod networks: whose traffic is translated, and what \"pods\" means\n"
		"in acl.ini.  K3s: --cluster-cidr."},
	{KEY("gateway", "exclude-cidr", exclude_cidr), LIVE,
		"10.43.0.0/16, 2001:cafe:43::/112, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4, "
		"::1, fe80::/10, ff00::/8",
		NETWORKS(.word = "none"),
		"Destinations that are never translated; the pod networks are so already.\n"
		"Here: the services of K3s (--service-cidr), loopback, link-local, multicast.\n"
		"Add the networks of the nodes when pods should reach them as pods."},
	{KEY("gateway", "default-egress", default_egress), LIVE, "gateway", CHOICE(egresses),
		"How what pods send to no partner leaves, when it does not use the proxy.\n"
		"gateway: with the gateway's egress address.  local: as if egret were not there.\n"
		"deny: it is rejected, and counted.  The proxy denies what no partner names in "
		"any case."},
	{KEY("gateway", "egress-ip", egress_ip), LIVE, "auto",
		ADDRESSES(EGRESS_MAX, .word = "auto"),
		"The address that partners see and allow; several share what leaves.\n"
		"auto: what this node uses towards its default route; looked at again every 5 s.\n"
		"What pods send over a version without an address is refused, not sent with "
		"another."},
	{KEY("gateway", "spread", spread), LIVE, "source", CHOICE(spreads),
		"Over several addresses of a version.  source: a pod keeps its address as long "
		"as the\n"
		"list does not change.  connection: each connection gets one of them.\n"
		"Partners with an egress-ip of their own have their own spread."},
	{KEY("gateway", "egress-interface", egress_interface), LIVE, "auto",
		NAME(15, .word = "auto"),
		"With egress-ip = auto: the device whose address it is.  auto: of the default "
		"route."},
	{KEY("gateway", "acl", acl), LIVE, "acl.ini", FILE_NAME(),
		"The policy, beside this file; acl.d/*.ini beside it is read after it."},

	{KEY("proxy", "listen", listen), RESTART, "0.0.0.0:3128, [::]:3128", ENDPOINTS(),
		"Where clients connect to.  [::] takes IPv6 only, hence both."},
	{KEY("proxy", "workers", workers), RESTART, "auto", UNSIGNED(1, 256, .word = "auto"),
		"Threads that serve.  auto: one for each CPU."},
	{KEY("proxy", "max-connections", max_connections), LIVE, "10000", COUNT(1, 1000000),
		"Clients at a time, over all workers.  One more gets 503."},
	{KEY("proxy", "uid", uid), RESTART, "65532", UNSIGNED(1, 4294967294),
		"User id of the proxy process, when egretd starts as root; no passwd entry "
		"needed."},
	{KEY("proxy", "gid", gid), RESTART, "65532", UNSIGNED(1, 4294967294), "Its group id."},
	{KEY("proxy", "name", name), LIVE, "egret", NAME(63),
		"How this proxy calls itself in Via and Proxy-Status.  Proxies in a row need\n"
		"different names: a request that carries the own name is a loop."},
	{KEY("proxy", "header-timeout", header_timeout), LIVE, "10s", DURATION(100 * MS, 1 * H),
		"For a request's head to arrive whole."},
	{KEY("proxy", "idle-timeout", idle_timeout), LIVE, "60s", DURATION(100 * MS, 1 * DAY),
		"A client's connection without a request."},
	{KEY("proxy", "connect-timeout", connect_timeout), LIVE, "10s", DURATION(100 * MS, 1 * H),
		"To reach an origin, all its addresses together."},
	{KEY("proxy", "response-timeout", response_timeout), LIVE, "60s",
		DURATION(100 * MS, 1 * DAY), "For an origin to start its response."},
	{KEY("proxy", "relay-timeout", relay_timeout), LIVE, "60s", DURATION(100 * MS, 1 * DAY),
		"Amid a body, without a byte either way."},
	{KEY("proxy", "tunnel-timeout", tunnel_timeout), LIVE, "1h", DURATION(100 * MS, 7 * DAY),
		"A CONNECT tunnel without a byte either way."},
	{KEY("proxy", "drain-timeout", drain_timeout), LIVE, "30s", DURATION(0, 1 * DAY),
		"At SIGTERM: for running exchanges and tunnels to end, before they are cut."},
	{KEY("proxy", "max-header-bytes", max_header_bytes), LIVE, "64k", BYTES(KIB, MIB),
		"Size of a head, of requests and responses.  More: 431, or 502 from an origin."},
	{KEY("proxy", "max-header-fields", max_header_fields), LIVE, "128", COUNT(1, 1024),
		"Field lines in a head.  More: 431, or 502 from an origin."},
	{KEY("proxy", "max-request-line", max_request_line), LIVE, "8k", BYTES(256, MIB),
		"Size of a request's first line, with its URI.  More: 414."},
	{KEY("proxy", "origin-connections", origin_connections), LIVE, "256", COUNT(0, 65536),
		"Idle connections to origins that a worker keeps."},
	{KEY("proxy", "origin-idle-timeout", origin_idle_timeout), LIVE, "30s",
		DURATION(0, 1 * DAY), "How long it keeps one."},
	{KEY("proxy", "max-sources", max_sources), RESTART, "65536", COUNT(1, LIMITS_MAX),
		"Rate buckets (of partners, sources, hosts) kept at most; full ones leave first."},
	{KEY("proxy", "on-reload", on_reload), LIVE, "recheck", CHOICE(on_reload),
		"Tunnels that a new policy denies: recheck closes them, keep lets them run."},
	{KEY("proxy", "capture-listen", capture_listen), RESTART, "off", ENDPOINTS(.word = "off"),
		"Where the connections of groups with `capture` (acl.ini) are redirected to:\n"
		"0.0.0.0:15001, [::]:15001, say.  One port, on the devices that pods' packets\n"
		"come in at.  Needs NAT."},

	{KEY("cache", "size", cache_size), RESTART, "64m",
		BYTES(16 * MIB, 1024LL * 1024 * MIB, .word = "off"),
		"Bytes of responses, with their heads: memory, or with a directory a file in it.\n"
		"It is used once a partner in acl.ini has `cache = yes`."},
	{KEY("cache", "directory", cache_directory), RESTART, "off", PATH(.word = "off"),
		"Where the file cache.store is, which is found again after a restart.  A path is\n"
		"beside this file.  off: in memory."},
	{KEY("cache", "max-object", cache_max_object), RESTART, "16m",
		BYTES(KIB, 256LL * 1024 * MIB),
		"The largest body that is stored; at most a quarter of size."},
	{KEY("cache", "heuristic-most", cache_heuristic), LIVE, "1d",
		DURATION(0, 365 * (int64_t)DAY),
		"Where an origin says nothing of how long a response is fresh: a tenth of its "
		"age,\n"
		"and no longer than this (RFC 9111 4.2.2).  0s: such responses are not stored."},

	{KEY("dns", "servers", dns_servers), RESTART, "resolv.conf",
		ENDPOINTS(.word = "resolv.conf", .port = 53),
		"resolv.conf: those of /etc/resolv.conf.\n"
		"On a node these know the outside; names of services they do not know."},
	{KEY("dns", "timeout", dns_timeout), RESTART, "5s", DURATION(100 * MS, 60 * S),
		"For a whole answer, repeated questions included."},
	{KEY("dns", "cache-size", dns_cache), RESTART, "10000", COUNT(0, 1000000),
		"Names that a worker remembers, at most as long as their TTL says."},
	{KEY("dns", "min-ttl", dns_min_ttl), RESTART, "1s", DURATION(0, 1 * H),
		"Answers with a shorter TTL are kept this long."},
	{KEY("dns", "max-ttl", dns_max_ttl), RESTART, "1h", DURATION(0, 7 * DAY),
		"Answers with a longer TTL are kept this long."},
	{KEY("dns", "negative-ttl", dns_negative_ttl), RESTART, "5s", DURATION(0, 1 * H),
		"How long a name without an address is remembered; a failed look-up: at most 1 s."},
	{KEY("dns", "queries", dns_queries), RESTART, "1000", COUNT(1, 65536),
		"Names that a worker asks for at the same time.  More: 503."},
	{KEY("dns", "waiters", dns_waiters), RESTART, "1000", COUNT(1, 65536),
		"Requests that wait for the same name, in a worker.  More: 503."},
	{KEY("dns", "hosts-file", dns_hosts_file), LIVE, "none", FILE_NAME(.word = "none"),
		"Names that need no DNS, as in /etc/hosts; beside this file."},

	{KEY("log", "level", log_level), LIVE, "info", CHOICE(levels),
		"Of egretd's own log: the least that is said."},
	{KEY("log", "access-log", access_log), LIVE, "stdout", PATH(.choices = targets),
		"Where a line for each exchange and tunnel goes.  A path is beside this file."},
	{KEY("log", "access-format", access_format), LIVE, "json", CHOICE(formats),
		"json has every field; squid and combined are for tools that read those."},

	{KEY("admin", "listen", admin_listen), RESTART, "127.0.0.1:9128", ENDPOINTS(.word = "off"),
		"/metrics, /healthz and /readyz, for whoever reaches it."},
	{KEY("admin", "control", control), RESTART, "/run/egret/control.sock", PATH(.word = "off"),
		"The control socket, for whoever may open it."},

	{KEY("nat", "enable", nat), RESTART, "yes", YES_NO,
		"Needs root or CAP_NET_ADMIN.  no: a proxy alone."},
	{KEY("nat", "table", nat_table), RESTART, "egret", NAME(31),
		"Name of the table (family inet), which is egret's alone, as the same with "
		"-backstop is."},
	{KEY("nat", "lock-table", lock_table), RESTART, "no", CHOICE(locks),
		"auto: while egretd runs nobody else can change its table, not by `nft delete "
		"table`\n"
		"and not by `nft flush ruleset`, where the kernel has that (Linux 6.9).  no: it is "
		"put\n"
		"right at once, and the routing guard holds until then."},
	{KEY("nat", "manage-address", manage_address), LIVE, "no", YES_NO,
		"yes: egretd adds the egress addresses to this node, announces them, and takes\n"
		"away what it added.  no: they are there or not, as others (keepalived, "
		"MetalLB) say."},
	{KEY("nat", "flow-sync", flow_sync), LIVE, "no", YES_NO,
		"yes: conntrackd tells this gateway of the flows of the others "
		"(docs/failover.md): those\n"
		"of an egress address that is elsewhere are kept.  no: they are deleted."},
	{KEY("nat", "inbound-ports", inbound_ports), LIVE, "none", PORTS(.word = "none"),
		"Ports (tcp and udp) that may be connected to at the egress addresses that are "
		"for\n"
		"egress alone.  Whatever else listens on this node is not reached through them."},
	{KEY("nat", "mark-mask", mark_mask), RESTART, "0xff000000", MASK(2),
		"Bits of the packet mark that are egret's between two hooks; others find them\n"
		"zero.  Kubernetes uses 0xc000; beside Calico (0xffff0000) choose others."},
	{KEY("nat", "ct-mark-mask", ct_mark_mask), RESTART, "0xfffff000", MASK(16),
		"Bits of the conntrack mark that are egret's: which partner a flow belongs to, and "
		"whether\n"
		"the guard has seen it.  A rule of another table that writes them, or those above, "
		"is logged\n"
		"at start."},
	{KEY("nat", "route-table", route_table), RESTART, "7099", UNSIGNED(256, 4294967295),
		"Number of the routing table, egret's alone, that refuses what the table of "
		"nftables\n"
		"has not marked: it holds while that is gone."},
	{KEY("nat", "rule-priority", rule_priority), RESTART, "5220", UNSIGNED(1, 32765),
		"Of the ip rules that lead there.  Rules with a lower number come first: those "
		"that\n"
		"route pods' packets (VPNs, multi-homing) have to come later."},
	{KEY("nat", "capture-priority", capture_priority), RESTART, "-110", SIGNED(-199, -101),
		"Of the chain (type nat) that redirects what groups with `capture` send.  "
		"Before dstnat\n"
		"(-100): the first redirect or DNAT that a connection meets is its own."},
	{KEY("nat", "prerouting-priority", prerouting_priority), RESTART, "-90", SIGNED(-99, -1),
		"Of the chain where a pod's first packet is judged.  After dstnat (-100), so "
		"that it is\n"
		"judged by where it goes, and not by the service's address it was sent to."},
	{KEY("nat", "forward-priority", forward_priority), RESTART, "-10", SIGNED(-149, -1),
		"Of the chains that take the mark away again (forward, input), before others "
		"filter\n"
		"by it at 0 and after they mangle at -150."},
	{KEY("nat", "translate-priority", translate_priority), RESTART, "90", SIGNED(-199, 99),
		"Of the chain that gives the source address.  Before srcnat (100): the first "
		"that\n"
		"translates wins, and Flannel, kube-proxy and others do it there.  Another nat "
		"chain\n"
		"with this number or a lower one keeps egretd from starting."},
	{KEY("nat", "guard-priority", guard_priority), RESTART, "150", SIGNED(101, 299),
		"Of the chain that refuses what has another source than it should.  After srcnat "
		"(100),\n"
		"where all translation takes place, so after translate-priority too."},
	{KEY("nat", "flow-log", flow_log), LIVE, "off", PATH(.word = "off"),
		"Where a line (JSON) for the start and the end of each translated flow goes:\n"
		"who had an address and port at what time.  A path is beside this file."},
	{KEY("nat", "max-flows", max_flows), RESTART, "262144", COUNT(1024, 16777216),
		"Flows that are remembered for the flow log and to count the ports in use.\n"
		"What is more is translated all the same."},
};

/* Each `low` may not be above its `high`. */
static const struct {
	const char *section, *low, *high;
} orders[] = {
	{"proxy", "max-request-line", "max-header-bytes"},
	{"cache", "max-object", "size"},
	{"dns", "min-ttl", "max-ttl"},
};

static void *field_of(const struct config *config, const struct key *key)
{
	return (char *)config + key->offset;
}

static const struct key *find_key(const char *section, const char *name)
{
	for (size_t i = 0; i < COUNT_OF(keys); i++)
		if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static bool is_section(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(sections); i++)
		if (strcmp(sections[i].name, name) == 0)
			return true;
	return false;
}

/* "listen, workers, ..." or "[gateway], [proxy] ..." (section NULL). */
static const char *list_names(const char *section, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; section && i < COUNT_OF(keys) && n < size; i++)
		if (strcmp(keys[i].section, section) == 0)
			n += (size_t)snprintf(
				out + n, size - n, "%s%s", n ? ", " : "", keys[i].name);
	for (size_t i = 0; !section && i < COUNT_OF(sections) && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s[%s]", n ? ", " : "", sections[i].name);
	return out;
}

static int refuse_value(
	const struct ini *ini, const struct ini_key *at, const struct key *key, struct error *e)
{
	char want[256];

	return error_set(e, -EINVAL, "%s:%d: %s = %.*s: want %s", ini->file, at->line, key->full,
		SHOWN, at->value, value_describe(&key->spec, want, sizeof(want)));
}

static int read_key(struct config *config, const struct files *files, const struct ini *ini,
	const struct ini_section *section, const struct ini_key *at, bool *given, struct error *e)
{
	const struct key *key = find_key(section->name, at->name);
	char known[400];
	int error;

	if (!key)
		return error_set(e, -EINVAL, "%s:%d: [%s] %.*s: no such key: want %s", ini->file,
			at->line, section->name, SHOWN, at->name,
			list_names(section->name, known, sizeof(known)));
	given[key - keys] = true;
	error = value_parse(&key->spec, files, at->value, field_of(config, key));
	if (error == -ENOMEM)
		return error_set(e, error, "%s: %s", ini->file, strerror(ENOMEM));
	return error ? refuse_value(ini, at, key, e) : 0;
}

static int read_given(struct config *config, const struct files *files, const struct ini *ini,
	bool *given, struct error *e)
{
	char known[200];

	for (size_t s = 0; s < ini->n_sections; s++) {
		const struct ini_section *section = &ini->sections[s];

		if (!is_section(section->name))
			return error_set(e, -EINVAL, "%s:%d: [%.*s]: no such section: want %s",
				ini->file, section->line, SHOWN, section->name,
				list_names(NULL, known, sizeof(known)));
		for (size_t k = 0; k < section->n_keys; k++) {
			int error =
				read_key(config, files, ini, section, &section->keys[k], given, e);

			if (error)
				return error;
		}
	}
	return 0;
}

static int read_defaults(struct config *config, const struct files *files, const struct ini *ini,
	const bool *given, struct error *e)
{
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		void *field = field_of(config, &keys[i]);
		int error = given[i] ? 0 : value_parse(&keys[i].spec, files, keys[i].text, field);

		CHECK(error != -EINVAL);
		if (error)
			return error_set(e, error, "%s: %s", ini->file, strerror(-error));
	}
	return 0;
}

/* Where the file gives `key`; 0: it does not. */
static int line_of(const struct ini *ini, const struct key *key)
{
	for (size_t s = 0; s < ini->n_sections; s++)
		for (size_t k = 0; k < ini->sections[s].n_keys; k++)
			if (strcmp(ini->sections[s].name, key->section) == 0 &&
				strcmp(ini->sections[s].keys[k].name, key->name) == 0)
				return ini->sections[s].keys[k].line;
	return 0;
}

static double number_of(const struct config *config, const struct key *key)
{
	const void *field = field_of(config, key);

	return key->spec.kind == VALUE_DURATION ? *(const double *)field
						: (double)*(const size_t *)field;
}

static int check_orders(const struct config *config, const struct ini *ini, struct error *e)
{
	for (size_t i = 0; i < COUNT_OF(orders); i++) {
		const struct key *low = find_key(orders[i].section, orders[i].low);
		const struct key *high = find_key(orders[i].section, orders[i].high);
		int at_low = line_of(ini, low), at_high = line_of(ini, high);

		if (number_of(config, low) > number_of(config, high))
			return error_set(e, -EINVAL, "%s:%d: %s is above %s: want it no higher",
				ini->file, at_low > at_high ? at_low : at_high, low->full,
				high->name);
	}
	return 0;
}

/* Listeners share ports by SO_REUSEPORT: the kernel would not refuse to give proxy and admin page
 * the same one, and clients would meet either. */
static int check_listeners(const struct config *config, const struct ini *ini, struct error *e)
{
	const struct key *key = find_key("admin", "listen");
	char text[ENDPOINT_TEXT];

	for (size_t i = 0; i < config->admin_listen.n; i++)
		for (size_t j = 0; j < config->listen.n; j++) {
			const struct endpoint *admin = &config->admin_listen.at[i];
			const struct endpoint *proxy = &config->listen.at[j];

			if (admin->port == proxy->port && addr_equal(&admin->addr, &proxy->addr))
				return error_set(e, -EINVAL,
					"%s:%d: %s = %s: want another than [proxy] listen has",
					ini->file, line_of(ini, key), key->full,
					endpoint_print(admin, text));
		}
	return 0;
}

/* REDIRECT changes the port alone, to one for all. */
static int check_capture(const struct config *config, const struct ini *ini, struct error *e)
{
	const struct key *key = find_key("proxy", "capture-listen");
	const struct endpoint_list *capture = &config->capture_listen;
	const struct endpoint_list *others[] = {&config->listen, &config->admin_listen};
	char text[ENDPOINT_TEXT];

	for (size_t i = 1; i < capture->n; i++)
		if (capture->at[i].port != capture->at[0].port)
			return error_set(e, -EINVAL, "%s:%d: %s = %s: want one port for all",
				ini->file, line_of(ini, key), key->full,
				endpoint_print(&capture->at[i], text));
	for (size_t i = 0; i < COUNT_OF(others) && capture->n > 0; i++)
		for (size_t j = 0; j < others[i]->n; j++)
			if (others[i]->at[j].port == capture->at[0].port)
				return error_set(e, -EINVAL,
					"%s:%d: %s = %s: want a port that no other listener has",
					ini->file, line_of(ini, key), key->full,
					endpoint_print(&capture->at[0], text));
	return 0;
}

/* Each gateway has a packet mark beside the one that says: decided. */
static int check_gateways(struct config *config, const struct ini *ini, struct error *e)
{
	const struct key *key = find_key("gateway", "gateways");
	uint32_t marks = config->mark_mask >> __builtin_ctz(config->mark_mask);
	const struct gateway_peer *bad = gateways_place(&config->gateways, &config->pod_cidr);

	if (bad)
		return error_set(e, -EINVAL,
			"%s:%d: %s: %s: want of each version one address in pod-cidr and one "
			"beyond, at most",
			ini->file, line_of(ini, key), key->full, bad->name);
	if (config->gateways.n >= marks)
		return error_set(e, -EINVAL,
			"%s:%d: %s: %zu gateways: want at most %u, or more bits in [nat] mark-mask",
			ini->file, line_of(ini, key), key->full, config->gateways.n, marks - 1);
	if (config->rule_priority <= config->gateways.n + 1 ||
		config->route_table > UINT32_MAX - 1 - config->gateways.n)
		return error_set(e, -EINVAL,
			"%s: [nat] rule-priority, route-table: want room for %zu more, one for "
			"each "
			"of %zu gateways: rules have lower numbers, tables higher ones",
			ini->file, config->gateways.n + 1, config->gateways.n);
	return 0;
}

/* The proxy has no disk to read it from: it must be in the set. */
static int read_hosts(
	const struct config *config, struct files *files, const struct ini *ini, struct error *e)
{
	const struct key *key = find_key("dns", "hosts-file");
	struct error why = {""};
	struct text ignored;
	int error = config->dns_hosts_file
			    ? files_get(files, config->dns_hosts_file, &ignored, &why)
			    : 0;

	return error ? error_set(e, error, "%s:%d: %s: %.300s", ini->file, line_of(ini, key),
			       key->full, why.text)
		     : 0;
}

struct config *config_new(struct files *files, const char *name, struct error *e)
{
	struct config *config = calloc(1, sizeof(*config));
	bool given[COUNT_OF(keys)] = {false};
	struct ini ini = {.file = name};
	struct text text;
	int error;

	if (!config) {
		error_set(e, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
		return NULL;
	}
	error = files_get(files, name, &text, e);
	if (!error)
		error = ini_parse(&ini, name, text, e);
	if (!error)
		error = read_given(config, files, &ini, given, e);
	if (!error)
		error = read_defaults(config, files, &ini, given, e);
	if (!error)
		error = check_orders(config, &ini, e);
	if (!error)
		error = check_listeners(config, &ini, e);
	if (!error)
		error = check_capture(config, &ini, e);
	if (!error)
		error = check_gateways(config, &ini, e);
	if (!error)
		error = read_hosts(config, files, &ini, e);
	ini_free(&ini);
	if (!error)
		return config;
	config_free(config);
	return NULL;
}

void config_free(struct config *config)
{
	for (size_t i = 0; config && i < COUNT_OF(keys); i++)
		value_fini(&keys[i].spec, field_of(config, &keys[i]));
	free(config);
}

const char *config_needs_restart(const struct config *now, const struct config *next, size_t *from)
{
	while (*from < COUNT_OF(keys)) {
		const struct key *key = &keys[(*from)++];

		if (key->restart &&
			!value_equal(&key->spec, field_of(now, key), field_of(next, key)))
			return key->full;
	}
	return NULL;
}

/* Each line of `text` as a comment. */
static void print_comment(const char *text, FILE *out)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		fprintf(out, ";%s%.*s\n", length ? " " : "", (int)length, text);
		text += length + (text[length] == '\n');
	}
}

static void print_key(const struct key *key, FILE *out)
{
	char want[256];

	fputc('\n', out);
	print_comment(key->about, out);
	fprintf(out, "; Values: %s.%s\n", value_describe(&key->spec, want, sizeof(want)),
		key->restart ? "  Needs a restart." : "");
	fprintf(out, "%s = %s\n", key->name, key->text);
}

void config_print_defaults(FILE *out)
{
	print_comment(
		"egret.ini - the machine: every key, with its default.\n"
		"\n"
		"egretd reads this file again when it changes, and on SIGHUP; an edit with a "
		"mistake in\n"
		"it changes nothing.  A comment starts at ; or #, with a blank before it; quotes\n"
		"around a value keep both.  Who may go where is in acl.ini.",
		out);
	for (size_t s = 0; s < COUNT_OF(sections); s++) {
		fprintf(out, "\n\n; %s\n[%s]\n", sections[s].about, sections[s].name);
		for (size_t i = 0; i < COUNT_OF(keys); i++)
			if (strcmp(keys[i].section, sections[s].name) == 0)
				print_key(&keys[i], out);
	}
}
