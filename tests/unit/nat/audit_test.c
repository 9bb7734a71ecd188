/*
 * audit_test.c - which flows of real packets a change of plan ends, marks and leaves alone.
 *
 * Each case: flows under one policy, the change to another, and what became of each flow.  All
 * flows that nothing is said of have to be as before.
 */
#include "egress_world.h"

#include "base/clock.h"
#include "nat/audit.h"
#include "nat/conntrack.h"

#define LISTENER_PORT 443
#define MANY 50000

enum outcome { KEPT, MARKED, GONE };

struct destination {
	const char *to;
	const char *protocols; /* u: UDP, t: TCP, i: ICMP */
	enum outcome outcome;
};

struct edition_of {
	const char *acl; /* NULL: without egret */
	struct node node;
};

struct change_case {
	const char *what;
	struct edition_of before, after;
	struct destination destinations[6];
};

/* A flow as it was begun. */
struct begun {
	const struct destination *at;
	char protocol;
	uint16_t sport; /* the identifier of ICMP */
	int fd, partner;
	struct flow flow;
};

static int listeners[2];

static int make_world(void **state)
{
	make_egress_world(state);
	if (!flow_world.gateway)
		return 0;
	flow_address(flow_world.pod, "eth0", "10.42.0.3/32 fd42::3/128");
	flow_enter(flow_world.partner);
	run("ip route add 10.42.0.0/16 via 203.0.113.1; ip route add fd42::/56 via 2001:db8:1::1");
	for (int i = 0; i < 2; i++) {
		listeners[i] = flow_socket(flow_world.partner, i ? 6 : 4, SOCK_STREAM, 0);
		setsockopt(listeners[i], IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
		flow_bind(listeners[i], i ? "::" : "0.0.0.0", LISTENER_PORT);
		assert_int_equal(listen(listeners[i], 16), 0);
	}
	return 0;
}

static void need_world(void)
{
	need_egress_world();
	assert_int_equal(nft_takes("", "table inet services { chain services {\n"
				       " type nat hook prerouting priority dstnat;\n"
				       " ip daddr 10.43.0.1 dnat ip to 10.42.0.3\n"
				       " ip6 daddr fd43::1 dnat ip6 to fd42::3\n"
				       " ip daddr 10.43.0.2 dnat ip to 198.51.100.7\n"
				       " ip6 daddr fd43::2 dnat ip6 to 2001:db8:5::7\n"
				       "}\n}\n"),
		0);
}

/* ---- flows ---- */

static int version_of(const char *to)
{
	return strchr(to, ':') ? 6 : 4;
}

static void send_echo(int fd, int version, const char *to, uint16_t id)
{
	struct icmphdr echo = {.type = version == 4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST};

	echo.un.echo.id = htons(id);
	if (version == 4)
		echo.checksum = flow_checksum(&echo, sizeof(echo));
	flow_connect(fd, to, 0);
	assert_int_equal(send(fd, &echo, sizeof(echo), 0), (int)sizeof(echo));
}

static void begin_packets(struct begun *b)
{
	int version = version_of(b->at->to);

	b->partner = -1;
	b->sport = egress_sport;
	switch (b->protocol) {
	case 'u':
		b->fd = fresh_pod_socket(version);
		send_token(b->fd, b->at->to);
		break;
	case 't':
		b->fd = flow_socket(flow_world.pod, version, SOCK_STREAM, 0);
		flow_bind(b->fd, flow_pod(version), egress_sport++);
		flow_connect(b->fd, b->at->to, LISTENER_PORT);
		b->partner = accept4(listeners[version == 6], NULL, NULL, SOCK_CLOEXEC);
		assert_true(b->partner >= 0);
		break;
	default:
		b->fd = flow_socket(flow_world.pod, version, SOCK_RAW,
			version == 4 ? IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
		flow_bind(b->fd, flow_pod(version), 0);
		send_echo(b->fd, version, b->at->to, egress_sport++);
		break;
	}
}

struct search {
	const struct begun *of;
	struct flow found;
};

static bool is_protocol(const struct begun *b, uint8_t protocol)
{
	switch (b->protocol) {
	case 'u':
		return protocol == IPPROTO_UDP;
	case 't':
		return protocol == IPPROTO_TCP;
	default:
		return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
	}
}

static void on_flow(void *arg, const struct flow *flow)
{
	struct search *s = arg;
	struct addr to = addr_of(s->of->at->to), pod = addr_of(flow_pod(version_of(s->of->at->to)));

	if (is_protocol(s->of, flow->original.protocol) && flow->original.sport == s->of->sport &&
		addr_equal(&flow->original.dst, &to) && addr_equal(&flow->original.src, &pod))
		s->found = *flow;
}

/* False: it is not there, or is another one. */
static bool find(const struct begun *b, struct flow *flow)
{
	struct search search = {.of = b};
	struct error e;

	if (conntrack_each(0, on_flow, &search, &e))
		fail_msg("%s", e.text);
	*flow = search.found;
	return search.found.version && (!b->flow.id || b->flow.id == search.found.id);
}

static struct begun begin(const struct destination *at, char protocol)
{
	struct begun b = {.at = at, .protocol = protocol};

	begin_packets(&b);
	for (unsigned times = 0; !find(&b, &b.flow); times++) {
		if (times == 200)
			fail_msg("no flow '%c' to %s", protocol, at->to);
		poll(NULL, 0, 10);
	}
	return b;
}

static void end(const struct begun *b)
{
	close(b->fd);
	if (b->partner >= 0)
		close(b->partner);
}

/* ---- changes ---- */

static const struct node *retiring; /* whose addresses of names retire; NULL: none */
static bool pods_are_elsewhere;     /* the node has no address in their networks */

struct audited {
	const struct plan *plan;
	const struct policy *policy;
	struct audit_retired retired;
	struct audit found;
};

static void drop_addresses_of_pods(struct address_list *list, const struct plan *plan)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->n; i++) {
		bool pods = false;

		for (size_t j = 0; j < plan->n_pods; j++)
			pods = pods || cidr_contains(&plan->pods[j], &list->at[i].addr);
		if (!pods)
			list->at[kept++] = list->at[i];
	}
	list->n = kept;
}

static int run_audit(void *arg, struct error *e)
{
	struct audited *a = arg;
	struct address_list addresses = {0};
	int error = address_list_load(&addresses, e);

	if (!error && pods_are_elsewhere)
		drop_addresses_of_pods(&addresses, a->plan);
	if (!error)
		error = audit_run(&a->found, a->plan, a->policy, &a->retired, &addresses, e);
	address_list_fini(&addresses);
	return error;
}

static int by_learnt(const void *a, const void *b)
{
	return memcmp(&((const struct plan_learnt *)a)->addr,
		&((const struct plan_learnt *)b)->addr, sizeof(struct addr));
}

/* Addresses of names that were known, and are not now. */
static size_t retired_of(
	const struct policy *policy, const struct node *node, struct plan_learnt out[5])
{
	struct plan_learnt all[5], now[5];
	size_t n_all = retiring ? learnt_of(policy, retiring, all) : 0, n = 0;
	size_t n_now = learnt_of(policy, node, now);

	for (size_t i = 0; i < n_all; i++) {
		bool known = false;

		for (size_t j = 0; j < n_now; j++)
			known = known || addr_equal(&now[j].addr, &all[i].addr);
		if (!known)
			out[n++] = all[i];
	}
	qsort(out, n, sizeof(*out), by_learnt);
	return n;
}

/* As the gate does it. */
static struct audit change_to(const struct edition_of *edition)
{
	struct policy *policy = policy_of(edition->acl, &edition->node);
	struct plan_learnt retired[5];
	struct audited audited = {plan_for(policy, &edition->node), policy,
		{retired, retired_of(policy, &edition->node, retired)}, {0}};
	const struct table_between between = {run_audit, &audited};
	struct error e = {0};

	if (table_apply(audited.plan, NULL, &between, &e))
		fail_msg("%s", e.text);
	plan_free((struct plan *)audited.plan);
	policy_put(policy);
	return audited.found;
}

static const char *source_of(const struct flow *flow, char out[ADDR_TEXT])
{
	return addr_print(&flow->reply.dst, out);
}

static void check_flow(const struct begun *b, const char *what)
{
	static const char *const names[] = {"kept", "marked", "gone"};
	char was[ADDR_TEXT], is[ADDR_TEXT];
	struct flow now;
	enum outcome found = !find(b, &now) ? GONE : now.mark != b->flow.mark ? MARKED : KEPT;

	if (found != b->at->outcome)
		fail_msg("%s: '%c' to %s was %s, marked %x, source %s: want it %s", what,
			b->protocol, b->at->to, names[found], b->flow.mark,
			source_of(&b->flow, was), names[b->at->outcome]);
	if (found != GONE)
		assert_string_equal(source_of(&now, is), source_of(&b->flow, was));
	if (found != GONE && b->protocol == 't') {
		char byte = 'x';

		assert_int_equal(send(b->fd, &byte, 1, MSG_NOSIGNAL), 1);
		assert_int_equal(recv(b->partner, &byte, 1, 0), 1);
		assert_int_equal(send(b->partner, &byte, 1, MSG_NOSIGNAL), 1);
		assert_int_equal(recv(b->fd, &byte, 1, 0), 1);
	}
}

/* What goes on leaves as before; what does not, not as before. */
static void check_packets(const struct begun *b, const char *what)
{
	bool stays = b->at->outcome != GONE;
	char was[ADDR_TEXT];
	const char *is;

	if (b->protocol != 'u' || !strchr(b->at->protocols, 't'))
		return; /* it does not come to the partner */
	is = source_through(b->fd, b->at->to);
	if ((strcmp(source_of(&b->flow, was), is) == 0) != stays)
		fail_msg("%s: UDP to %s left as %s, and now as '%s'", what, b->at->to, was, is);
}

static void check_case(const struct change_case *c)
{
	struct begun begun[18];
	size_t n = 0, gone = 0, marked = 0;
	struct audit audit;

	need_world();
	if (c->before.acl)
		change_to(&c->before);
	for (size_t i = 0; i < COUNT_OF(c->destinations) && c->destinations[i].to; i++)
		for (const char *p = c->destinations[i].protocols; *p; p++) {
			begun[n] = begin(&c->destinations[i], *p);
			gone += c->destinations[i].outcome == GONE;
			marked += c->destinations[i].outcome == MARKED;
			n++;
		}
	retiring = &c->before.node;
	audit = change_to(&c->after);
	for (size_t i = 0; i < n; i++)
		check_flow(&begun[i], c->what);
	if (audit.deleted != gone || audit.marked != marked)
		fail_msg("%s: %zu gone and %zu marked, want %zu and %zu", c->what, audit.deleted,
			audit.marked, gone, marked);
	for (size_t i = 0; i < n; i++) {
		check_packets(&begun[i], c->what);
		end(&begun[i]);
	}
	audit = change_to(&c->after);
	retiring = NULL;
	assert_int_equal(audit.deleted + audit.marked, 0);
}

#define NODE .pods = {"10.42.0.0/16", "fd42::/56"}, .egress = {"203.0.113.9", "2001:db8:1::9"}
#define SERVICES .exclude = {"10.43.0.0/16", "fd43::/112"}
#define PLAIN                                                                                      \
	{                                                                                          \
		NODE, SERVICES                                                                     \
	}

#define BANK "[partner bank]\ncidr = 198.51.100.0/24, 2001:db8:5::/64\n"
#define TEN "egress-ip = 203.0.113.10, 2001:db8:1::10\n"
#define ELEVEN "egress-ip = 203.0.113.11, 2001:db8:1::11\n"
#define MORE "egress-ip = 203.0.113.10, 203.0.113.11, 2001:db8:1::10\n"
#define STEADY "[partner steady]\ncidr = 192.0.2.7\negress-ip = 203.0.113.11\n"
#define SHOP "[partner shop]\nhosts = shop.test\nnat = resolve\negress-ip = 203.0.113.10\n"

#define LATE "[partner late]\nhosts = shop.test\nnat = resolve\negress-ip = 203.0.113.11\n"

static const struct change_case cases[] = {
	{"a partner moves to another address", {STEADY BANK TEN, PLAIN},
		{STEADY BANK ELEVEN, PLAIN},
		{{"198.51.100.7", "uti", GONE}, {"2001:db8:5::7", "uti", GONE},
			{"192.0.2.7", "uti", KEPT}, {"8.8.8.8", "uti", KEPT},
			{"2001:db8:8::8", "uti", KEPT}, {MARKER4, "uti", KEPT}}},
	{"a partner moves with one version only", {BANK TEN, PLAIN},
		{BANK "egress-ip = 203.0.113.10, 2001:db8:1::11\n", PLAIN},
		{{"198.51.100.7", "uti", MARKED}, {"2001:db8:5::7", "uti", GONE}}},
	{"a partner is renamed", {BANK TEN, PLAIN},
		{"[partner bank2]\ncidr = 198.51.100.0/24, 2001:db8:5::/64\n" TEN, PLAIN},
		{{"198.51.100.7", "uti", KEPT}, {"2001:db8:5::7", "uti", KEPT},
			{"8.8.8.8", "uti", KEPT}}},
	{"a partner has one more address", {BANK TEN, PLAIN}, {BANK MORE, PLAIN},
		{{"198.51.100.7", "uti", MARKED}, {"2001:db8:5::7", "uti", MARKED}}},
	{"a partner goes", {BANK TEN STEADY, PLAIN}, {STEADY, PLAIN},
		{{"198.51.100.7", "uti", GONE}, {"2001:db8:5::7", "uti", GONE},
			{"192.0.2.7", "uti", KEPT}}},
	{"a partner comes that leaves as the gateway", {STEADY, PLAIN}, {STEADY BANK, PLAIN},
		{{"198.51.100.7", "uti", KEPT}, {"2001:db8:5::7", "uti", KEPT},
			{"192.0.2.7", "uti", KEPT}, {"8.8.8.8", "uti", KEPT}}},
	{"a block before a part of a partner", {BANK TEN, PLAIN},
		{"[block one]\ncidr = 198.51.100.8\nprotocol = any\n" BANK TEN, PLAIN},
		{{"198.51.100.8", "uti", GONE}, {"198.51.100.7", "uti", KEPT},
			{"2001:db8:5::7", "uti", KEPT}}},
	{"a block that only reports", {BANK TEN, PLAIN},
		{"[block one]\ncidr = 198.51.100.0/24\nprotocol = any\nmode = report\n" BANK TEN,
			PLAIN},
		{{"198.51.100.8", "uti", KEPT}, {"198.51.100.7", "uti", KEPT}}},
	{"a partner for one port only", {BANK TEN, PLAIN}, {BANK TEN "ports = 443\n", PLAIN},
		{{"198.51.100.7", "t", KEPT}, {"2001:db8:5::7", "t", KEPT},
			{"198.51.100.8", "ui", GONE}, {"2001:db8:5::8", "ui", GONE}}},
	{"a partner for UDP only", {BANK TEN, PLAIN}, {BANK TEN "protocol = udp\n", PLAIN},
		{{"198.51.100.7", "u", KEPT}, {"198.51.100.8", "ti", GONE}}},
	{"a partner for other pods only", {BANK TEN, PLAIN},
		{"[group other]\ncidr = 10.42.9.0/24\n" BANK TEN "from = other\n", PLAIN},
		{{"198.51.100.7", "uti", GONE}, {"2001:db8:5::7", "uti", GONE}}},
	{"a limit of connections", {BANK TEN, PLAIN}, {BANK TEN "source-connections = 1\n", PLAIN},
		{{"198.51.100.7", "uti", KEPT}, {"198.51.100.8", "uti", KEPT},
			{"2001:db8:5::7", "uti", KEPT}}},
	{"an egress address leaves the node", {BANK TEN STEADY, PLAIN},
		{BANK TEN STEADY, {NODE, SERVICES, .away = {"203.0.113.10"}}},
		{{"198.51.100.7", "uti", GONE}, {"2001:db8:5::7", "uti", KEPT},
			{"192.0.2.7", "uti", KEPT}}},
	{"a network is not excluded any more",
		{"", {NODE, .exclude = {"10.43.0.0/16", "10.99.0.0/16", "fd43::/112"}}},
		{"", PLAIN},
		{{"10.99.0.9", "uti", GONE}, {MARKER4, "uti", KEPT}, {"8.8.8.8", "uti", KEPT}}},
	{"a network is excluded", {"", PLAIN},
		{"", {NODE, .exclude = {"10.43.0.0/16", "10.99.0.0/16", "fd43::/112"}}},
		{{"10.99.0.9", "uti", GONE}, {MARKER4, "uti", KEPT}, {"8.8.8.8", "uti", KEPT}}},
	{"the gateway moves", {BANK TEN, PLAIN},
		{BANK TEN, {.pods = {"10.42.0.0/16", "fd42::/56"},
				   .egress = {"203.0.113.11", "2001:db8:1::9"},
				   SERVICES}},
		{{"8.8.8.8", "uti", GONE}, {"2001:db8:8::8", "uti", KEPT},
			{"198.51.100.7", "uti", KEPT}}},
	{"from gateway to local", {BANK TEN, PLAIN},
		{BANK TEN, {NODE, SERVICES, .fallback = PLAN_LOCAL}},
		{{"8.8.8.8", "uti", GONE}, {"2001:db8:8::8", "uti", GONE},
			{"198.51.100.7", "uti", KEPT}, {"2001:db8:5::7", "uti", KEPT}}},
	{"from local to gateway", {BANK TEN, {NODE, SERVICES, .fallback = PLAN_LOCAL}},
		{BANK TEN, PLAIN},
		{{"8.8.8.8", "uti", GONE}, {"2001:db8:8::8", "uti", GONE},
			{"198.51.100.7", "uti", KEPT}, {"2001:db8:5::7", "uti", KEPT}}},
	{"from gateway to deny", {BANK TEN, PLAIN},
		{BANK TEN, {NODE, SERVICES, .fallback = PLAN_DENY}},
		{{"8.8.8.8", "uti", GONE}, {"2001:db8:8::8", "uti", GONE},
			{"198.51.100.7", "uti", KEPT}, {MARKER4, "uti", KEPT}}},
	{"from local to deny", {BANK TEN, {NODE, SERVICES, .fallback = PLAN_LOCAL}},
		{BANK TEN, {NODE, SERVICES, .fallback = PLAN_DENY}},
		{{"8.8.8.8", "uti", GONE}, {"2001:db8:8::8", "uti", GONE},
			{"198.51.100.7", "uti", KEPT}, {MARKER4, "uti", KEPT}}},
	{"with local a partner comes", {"", {NODE, SERVICES, .fallback = PLAN_LOCAL}},
		{BANK TEN, {NODE, SERVICES, .fallback = PLAN_LOCAL}},
		{{"8.8.8.8", "uti", KEPT}, {"198.51.100.7", "uti", GONE},
			{"2001:db8:5::7", "uti", GONE}}},
	{"with deny another partner comes", {BANK TEN, {NODE, SERVICES, .fallback = PLAN_DENY}},
		{STEADY BANK TEN, {NODE, SERVICES, .fallback = PLAN_DENY}},
		{{"198.51.100.7", "uti", KEPT}, {"2001:db8:5::7", "uti", KEPT}}},

	{"flows from before egret", {0}, {BANK TEN, PLAIN},
		{{"198.51.100.7", "uti", GONE}, {"2001:db8:5::7", "uti", GONE},
			{"8.8.8.8", "uti", GONE}, {"2001:db8:8::8", "uti", GONE},
			{MARKER4, "uti", KEPT}, {MARKER6, "uti", KEPT}}},
	{"flows from before egret, that local leaves alone", {0},
		{BANK TEN, {NODE, SERVICES, .fallback = PLAN_LOCAL}},
		{{"198.51.100.7", "uti", GONE}, {"2001:db8:5::7", "uti", GONE},
			{"8.8.8.8", "uti", KEPT}, {"2001:db8:8::8", "uti", KEPT}}},
	{"flows from before egret, that leave as they would", {0},
		{BANK TEN, {.pods = {"10.42.0.0/16", "fd42::/56"},
				   .egress = {"203.0.113.1", "2001:db8:1::1"},
				   SERVICES}},
		{{"8.8.8.8", "uti", MARKED}, {"2001:db8:8::8", "uti", MARKED},
			{"198.51.100.7", "uti", GONE}}},
	{"what stays on the node and in the cluster", {BANK TEN, PLAIN},
		{"[block all]\ncidr = 0.0.0.0/0, ::/0\nprotocol = any\n", PLAIN},
		{{"203.0.113.1", "ui", KEPT}, {"203.0.113.10", "ui", KEPT},
			{"10.42.0.1", "ui", KEPT}, {"2001:db8:1::1", "ui", KEPT},
			{"fd42:0:0:7::7", "ui", KEPT}, {"10.42.7.7", "ui", KEPT}}},
	{"services", {BANK TEN, PLAIN},
		{"[block all]\ncidr = 0.0.0.0/0, ::/0\nprotocol = any\n", PLAIN},
		{{"10.43.0.1", "ui", KEPT}, {"fd43::1", "ui", KEPT}, {"10.43.0.2", "uti", GONE},
			{"fd43::2", "uti", GONE}}},
	{"a service whose endpoint is a partner", {BANK TEN, PLAIN}, {STEADY BANK TEN, PLAIN},
		{{"10.43.0.2", "uti", KEPT}, {"fd43::2", "uti", KEPT}}},

	{"a name that moved on",
		{SHOP, {NODE, SERVICES, .learnt = {"shop 198.51.100.9", "shop 198.51.100.8"}}},
		{SHOP, {NODE, SERVICES, .learnt = {"shop 198.51.100.7"}}},
		{{"198.51.100.9", "uti", KEPT}, {"198.51.100.8", "uti", KEPT}}},
	{"a name that moved on, with local",
		{SHOP, {NODE, SERVICES, .fallback = PLAN_LOCAL, .learnt = {"shop 198.51.100.9"}}},
		{SHOP, {NODE, SERVICES, .fallback = PLAN_LOCAL}}, {{"198.51.100.9", "uti", KEPT}}},
	{"a name that moved on, with deny",
		{SHOP, {NODE, SERVICES, .fallback = PLAN_DENY, .learnt = {"shop 198.51.100.9"}}},
		{SHOP, {NODE, SERVICES, .fallback = PLAN_DENY}}, {{"198.51.100.9", "uti", KEPT}}},
	{"a name that moved on, and a port that its partner has not any more",
		{SHOP, {NODE, SERVICES, .learnt = {"shop 198.51.100.9"}}},
		{SHOP "ports = 443\n", {NODE, SERVICES}},
		{{"198.51.100.9", "ui", GONE}, {"198.51.100.9", "t", KEPT}}},
	{"a name that moved on, and another protocol",
		{SHOP, {NODE, SERVICES, .learnt = {"shop 198.51.100.9"}}},
		{SHOP "protocol = tcp\n", {NODE, SERVICES}},
		{{"198.51.100.9", "ui", GONE}, {"198.51.100.9", "t", KEPT}}},
	{"a name that moved on, and other pods",
		{SHOP, {NODE, SERVICES, .learnt = {"shop 198.51.100.9"}}},
		{"[group other]\ncidr = 10.42.9.0/24\n" SHOP "from = other\n", {NODE, SERVICES}},
		{{"198.51.100.9", "uti", GONE}}},
	{"a name that moved on, and a partner in report mode",
		{SHOP, {NODE, SERVICES, .learnt = {"shop 198.51.100.9"}}},
		{SHOP "ports = 443\nmode = report\n", {NODE, SERVICES}},
		{{"198.51.100.9", "uti", KEPT}}},
	{"a name's address that is another partner's now",
		{SHOP, {NODE, SERVICES, .learnt = {"shop 198.51.100.9"}}},
		{SHOP BANK ELEVEN, {NODE, SERVICES}}, {{"198.51.100.9", "uti", GONE}}},
	{"a name's address that is blocked now",
		{SHOP, {NODE, SERVICES, .learnt = {"shop 198.51.100.9"}}},
		{SHOP "[block one]\ncidr = 198.51.100.9\nprotocol = any\n", {NODE, SERVICES}},
		{{"198.51.100.9", "uti", GONE}}},
	{"a name's partner that goes",
		{SHOP STEADY, {NODE, SERVICES, .learnt = {"shop 198.51.100.9"}}},
		{STEADY, {NODE, SERVICES}}, {{"198.51.100.9", "uti", GONE}}},
	{"a name's partner that moves when the name has moved on",
		{SHOP, {NODE, SERVICES, .learnt = {"shop 198.51.100.9"}}},
		{"[partner shop]\nhosts = shop.test\nnat = resolve\negress-ip = 203.0.113.11\n",
			{NODE, SERVICES}},
		{{"198.51.100.9", "uti", GONE}}},
	{"a name that moved on, of two partners, one of which does not fit",
		{SHOP LATE, {NODE, SERVICES, .learnt = {"shop 198.51.100.9", "late 198.51.100.9"}}},
		{SHOP LATE "ports = 443\n", {NODE, SERVICES}}, {{"198.51.100.9", "uti", KEPT}}},
	{"a name that moved on, and is only of a partner that leaves as another address",
		{SHOP LATE, {NODE, SERVICES, .learnt = {"shop 198.51.100.9", "late 198.51.100.9"}}},
		{LATE "[partner ten]\ncidr = 192.0.2.7\negress-ip = 203.0.113.10\n",
			{NODE, SERVICES}},
		{{"198.51.100.9", "uti", GONE}}},
	{"a name whose address is known now", {SHOP, {NODE, SERVICES}},
		{SHOP, {NODE, SERVICES, .learnt = {"shop 198.51.100.9"}}},
		{{"198.51.100.9", "uti", GONE}, {"8.8.8.8", "uti", KEPT}}},
};

static void run_case(void **state)
{
	check_case(*state);
}

/* A pod that answers is no pod that leaves. */
static void what_began_outside_is_left_alone(void **state)
{
	const struct edition_of before = {BANK TEN, PLAIN};
	const struct edition_of after = {
		"[block all]\ncidr = 0.0.0.0/0, ::/0\nprotocol = any\n", PLAIN};
	int listener, client, server;
	struct audit audit;
	char byte = 'x';

	(void)state;
	need_world();
	change_to(&before);
	listener = flow_socket(flow_world.pod, 4, SOCK_STREAM, 0);
	flow_bind(listener, "10.42.0.2", 8080);
	assert_int_equal(listen(listener, 1), 0);
	client = flow_socket(flow_world.partner, 4, SOCK_STREAM, 0);
	flow_bind(client, "198.51.100.7", 0);
	flow_connect(client, "10.42.0.2", 8080);
	server = accept(listener, NULL, NULL);
	audit = change_to(&after);
	assert_int_equal(audit.flows + audit.deleted + audit.marked, 0);
	assert_int_equal(send(server, &byte, 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(client, &byte, 1, 0), 1);
	close(server);
	close(client);
	close(listener);
}

/* Bits of the mark that are not egret's stay. */
static void a_new_mark_leaves_other_bits(void **state)
{
	const struct edition_of before = {BANK TEN, PLAIN};
	const struct edition_of after = {BANK MORE, PLAIN};
	const struct destination to = {"198.51.100.7", "u", MARKED};
	struct conntrack_changes changes = {0};
	struct begun b;
	struct flow now;

	(void)state;
	need_world();
	change_to(&before);
	b = begin(&to, 'u');
	conntrack_set_mark(&changes, &b.flow, b.flow.mark | 0x321, UINT32_MAX);
	assert_int_equal(conntrack_commit(&changes, NULL), 0);
	conntrack_changes_fini(&changes);
	assert_int_equal(change_to(&after).marked, 1);
	assert_true(find(&b, &now));
	assert_int_equal(now.mark & 0xfff, 0x321);
	assert_int_not_equal(now.mark & 0xfffff000, b.flow.mark & 0xfffff000);
	end(&b);
}

#define TEN_IS(...)                                                                                \
	{                                                                                          \
		BANK TEN,                                                                          \
		{                                                                                  \
			NODE, SERVICES, .flow_sync = true, __VA_ARGS__                             \
		}                                                                                  \
	}

/* The partner's address comes and goes.  What is kept leaves with it, or not at all, and nothing of
 * it changes, which would be told to the other gateways. */
static void flows_wait_for_an_address_that_is_elsewhere(void **state)
{
	const struct edition_of here = TEN_IS(.away = {NULL});
	const struct edition_of away = TEN_IS(.away = {"203.0.113.10", "2001:db8:1::10"});
	static const struct destination to[] = {{"198.51.100.7", "ut", KEPT},
		{"2001:db8:5::7", "ut", KEPT}, {"8.8.8.8", "ut", KEPT}};
	struct begun begun[6];

	(void)state;
	need_world();
	pods_are_elsewhere = true;
	change_to(&here);
	for (size_t i = 0; i < COUNT_OF(begun); i++)
		begun[i] = begin(&to[i / 2], to[i / 2].protocols[i % 2]);
	for (int times = 0; times < 2; times++) {
		struct audit audit = change_to(&away);

		assert_int_equal(audit.flows, COUNT_OF(begun));
		assert_int_equal(audit.deleted + audit.marked, 0);
		for (size_t i = 0; i < 4; i += 2)
			assert_string_equal(source_through(begun[i].fd, begun[i].at->to), "");
	}
	assert_int_equal(change_to(&here).deleted, 0);
	for (size_t i = 0; i < COUNT_OF(begun); i++) {
		check_flow(&begun[i], "back again");
		check_packets(&begun[i], "back again");
		end(&begun[i]);
	}
	pods_are_elsewhere = false;
}

static void flows_of_the_nodes_own_pods_do_not_wait(void **state)
{
	const struct edition_of here = TEN_IS(.away = {NULL});
	const struct edition_of away = TEN_IS(.away = {"203.0.113.10", "2001:db8:1::10"});
	const struct edition_of changed = {"[block all]\ncidr = 0.0.0.0/0, ::/0\nprotocol = any\n",
		{NODE, SERVICES, .away = {"203.0.113.10"}, .flow_sync = true}};
	static const struct destination to[] = {
		{"198.51.100.7", "u", GONE}, {"2001:db8:5::7", "u", GONE}};
	struct begun begun[2];

	(void)state;
	need_world();
	for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
		change_to(&here);
		for (size_t i = 0; i < COUNT_OF(begun); i++)
			begun[i] = begin(&to[i], 'u');
		pods_are_elsewhere = elsewhere;
		/* Nor do those that the policy refuses, whoever's they are. */
		assert_int_equal(change_to(elsewhere ? &changed : &away).deleted, 2);
		pods_are_elsewhere = false;
		for (size_t i = 0; i < COUNT_OF(begun); i++) {
			check_flow(&begun[i], "own pods");
			end(&begun[i]);
		}
	}
}

static void fifty_thousand_flows_are_looked_at(void **state)
{
	const struct edition_of ten = {BANK TEN, PLAIN}, eleven = {BANK ELEVEN, PLAIN};
	const struct edition_of more = {BANK MORE, PLAIN};
	const struct {
		const char *what;
		const struct edition_of *to;
		size_t marked, deleted;
	} steps[] = {{"nothing to do", &ten, 0, 0}, {"all marked", &more, MANY, 0},
		{"all marked back", &ten, MANY, 0}, {"all deleted", &eleven, 0, MANY}};

	(void)state;
	need_world();
	run("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600");
	change_to(&ten);
	make_udp_flows(5000, 10000, MANY);
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		double start = clock_monotonic();
		struct audit audit = change_to(steps[i].to);

		assert_int_equal(audit.flows, MANY);
		assert_int_equal(audit.marked, steps[i].marked);
		assert_int_equal(audit.deleted, steps[i].deleted);
		print_message("%s: changed in %.3f s\n", steps[i].what, clock_monotonic() - start);
	}
	assert_int_equal(change_to(&eleven).flows, 0);
	run("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=30");
}

int main(void)
{
	static const struct CMUnitTest others[] = {
		cmocka_unit_test(what_began_outside_is_left_alone),
		cmocka_unit_test(a_new_mark_leaves_other_bits),
		cmocka_unit_test(flows_wait_for_an_address_that_is_elsewhere),
		cmocka_unit_test(flows_of_the_nodes_own_pods_do_not_wait),
		cmocka_unit_test(fifty_thousand_flows_are_looked_at),
	};
	struct CMUnitTest tests[COUNT_OF(cases) + COUNT_OF(others)] = {0};

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		tests[i] = (struct CMUnitTest){.name = cases[i].what,
			.test_func = run_case,
			.initial_state = (void *)&cases[i]};
	memcpy(tests + COUNT_OF(cases), others, sizeof(others));
	return cmocka_run_group_tests(tests, make_world, leave_flow_world);
}
