/*
 * plan_test.c - plans against golden text, against nft's parser, and against a plain first-match
 * walk over the policy.
 *
 * plans/NAME.ini becomes plans/NAME.nft; GOLDEN=write writes them anew.
 */
#include "helpers.h"

#include "nat/classes.h"

/* One that has none of the addresses; of two gateways one has the gateway's, one the bank's. */
static const struct node agent = {
	.pods = {"10.42.0.0/16", "fd42::/56"},
	.exclude = {"10.43.0.0/16", "fd43::/112"},
	.egress = {"203.0.113.9", "2001:db8:1::9"},
	.away = {"203.0.113.9", "203.0.113.10", "2001:db8:1::9"},
	.devices = {"cni0", "flannel.1", "flannel-v6.1"},
	.gateways = {{{"flannel.1", "flannel-v6.1"}, {"10.42.0.0", "fd42::"}},
		{{"flannel.1"}, {"10.42.1.0"}}},
	.owners = {{"203.0.113.9", 0}, {"203.0.113.10", 1}, {"2001:db8:1::9", 0}},
};
/* A gateway with its own address, and the bank's on another one. */
static const struct node standby = {
	.pods = {"10.42.0.0/16"},
	.egress = {"203.0.113.9"},
	.away = {"203.0.113.10"},
	.gateways = {{{"eth0"}, {"192.0.2.11"}}},
	.owners = {{"203.0.113.10", 0}},
};
/* One whose ways lead over the link of the nodes, of which two are gateways. */
static const struct node host_gw = {
	.pods = {"10.42.0.0/16", "fd42::/56"},
	.exclude = {"10.43.0.0/16", "fd43::/112"},
	.egress = {"203.0.113.9", "2001:db8:1::9"},
	.away = {"203.0.113.9", "203.0.113.10", "2001:db8:1::9"},
	.devices = {"cni0"},
	.gateways = {{{"eth0", "eth0"}, {"192.0.2.11", "2001:db8:2::11"},
			     {"192.0.2.0/24", "2001:db8:2::/64"}},
		{{"eth0"}, {"192.0.2.12"}, {"192.0.2.0/24"}}},
	.owners = {{"203.0.113.9", 0}, {"203.0.113.10", 1}, {"2001:db8:1::9", 0}},
	.learnt = {"shop 192.0.2.210", "shop 198.51.101.7", "shop 2001:db8:2::d2"},
};
static const struct ports inbound[] = {{80, 80}, {8000, 8010}};
static const struct node local = {
	.pods = {"10.42.0.0/16", "fd42::/56"},
	.exclude = {"10.43.0.0/16"},
	.egress = {"203.0.113.9", "203.0.113.8", "203.0.113.7"},
	.fallback = PLAN_LOCAL,
	.away = {"203.0.113.8"},
	.dedicated = {"203.0.113.7", "203.0.113.10"},
	.inbound = inbound,
	.n_inbound = COUNT_OF(inbound),
};
static const struct node deny = {
	.pods = {"10.42.0.0/16"},
	.egress = {"203.0.113.9", "203.0.113.8"},
	.fallback = PLAN_DENY,
	.spread = SPREAD_CONNECTION,
	.dedicated = {"203.0.113.8"},
};
static const struct node sample = {
	.pods = {"10.42.0.0/16"},
	.exclude = {"10.43.0.0/16"},
	.egress = {"203.0.113.9"},
	.dedicated = {"203.0.113.9", "203.0.113.10"},
	.devices = {"cni0", "flannel.1"},
};
static const struct node ipv4_only = {
	.pods = {"10.42.0.0/16"},
	.exclude = {"10.43.0.0/16", "192.168.0.0/24"},
	.egress = {"203.0.113.9"},
};
static const struct node no_egress6 = {
	.pods = {"10.42.0.0/16", "fd42::/56"},
	.exclude = {"10.43.0.0/16", "fd43::/112"},
	.egress = {"203.0.113.9"},
};
static const struct node no_egress = {
	.pods = {"fd42::/56", "10.42.0.0/17", "10.42.128.0/17"},
};

static const struct node capturing = {
	.pods = {"10.42.0.0/16", "fd42::/56"},
	.exclude = {"10.43.0.0/16", "fd43::/112"},
	.egress = {"203.0.113.9", "2001:db8:1::9"},
	.dedicated = {"2001:db8:1::9"},
	.capture_port = 15001,
};
static const struct node capturing_elsewhere = {
	.pods = {"10.42.0.0/16", "fd42::/56"},
	.egress = {"203.0.113.9"},
	.away = {"203.0.113.9"},
	.capture_port = 15001,
};

static const struct golden {
	const char *name;
	const struct node *node;
} goldens[] = {
	{"empty", &dual_stack},
	{"empty-ipv4", &ipv4_only},
	{"hosts-only", &dual_stack},
	{"egress-per-partner", &dual_stack},
	{"first-match", &dual_stack},
	{"blocks", &dual_stack},
	{"report", &dual_stack},
	{"one-version", &dual_stack},
	{"no-egress6", &no_egress6},
	{"no-egress", &no_egress},
	{"whole-space", &dual_stack},
	{"shared", &ipv4_only},
	{"local", &local},
	{"deny", &deny},
	{"sample", &sample},
	{"capture", &capturing},
	{"capture-elsewhere", &capturing_elsewhere},
	{"capture-agent", &agent},
	{"agent", &agent},
	{"standby", &standby},
	{"host-gw", &host_gw},
};

static char *read_file(const char *name, const char *suffix)
{
	char path[128];
	FILE *in;
	char *text;

	snprintf(path, sizeof(path), "tests/unit/nat/plans/%s.%s", name, suffix);
	in = fopen(path, "r");
	if (!in)
		fail_msg("%s: %s", path, strerror(errno));
	text = read_all(in);
	fclose(in);
	return text;
}

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *out;

	snprintf(path, sizeof(path), "tests/unit/nat/plans/%s.nft", name);
	out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static void plans_are_as_the_golden_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(goldens); i++) {
		char *acl = read_file(goldens[i].name, "ini"), *golden, *text;
		struct plan *plan = plan_of(acl, goldens[i].node);

		text = print_plan(plan);
		if (getenv("GOLDEN"))
			write_file(goldens[i].name, text);
		golden = read_file(goldens[i].name, "nft");
		if (strcmp(text, golden) != 0)
			fail_msg("%s: the plan is\n%s", goldens[i].name, text);
		plan_free(plan);
		free(acl);
		free(golden);
		free(text);
	}
}

static void nft_takes_every_golden_text(void **state)
{
	(void)state;
	enter_new_namespace();
	for (size_t i = 0; i < COUNT_OF(goldens); i++) {
		char *golden = read_file(goldens[i].name, "nft");

		if (nft_takes("-c", golden) != 0)
			fail_msg("nft refuses plans/%s.nft", goldens[i].name);
		free(golden);
	}
}

static void the_page_about_the_datapath_shows_the_plan_of_the_sample(void **state)
{
	char *acl = read_file("sample", "ini"), *golden = read_file("sample", "nft");
	FILE *in = fopen("docs/datapath.md", "r");
	char *page = read_all(in);

	(void)state;
	fclose(in);
	if (!strstr(page, acl) || !strstr(page, golden))
		fail_msg("docs/datapath.md does not have plans/sample.ini or .nft");
	free(acl);
	free(golden);
	free(page);
}

/* What happens to a packet. */
struct fate {
	bool alone, refused, local;
	int section;             /* that decided; -1: none */
	struct addr sources[16]; /* it leaves with one of these, in this order */
	size_t n_sources;
};

static void put_source(struct fate *fate, const struct addr *addr, bool v4)
{
	if (addr_is_v4(addr) == v4)
		fate->sources[fate->n_sources++] = *addr;
}

/* Of n ways the i-th is taken by hash or by lot, and the last one always. */
static void check_choice(const struct plan_rule *rule, size_t i, size_t n, enum spread spread)
{
	const struct plan_step *s = &rule->steps[1];

	assert_int_equal(rule->steps[0].op, PLAN_VERSION);
	if (i + 1 == n) {
		assert_int_equal(s->op, PLAN_SNAT);
	} else if (spread == SPREAD_SOURCE) {
		assert_int_equal(s->op, PLAN_HASHED);
		assert_int_equal(s->number, i);
		assert_int_equal(s->other, n);
	} else {
		assert_int_equal(s->op, PLAN_RANDOM);
		assert_int_equal(s->other, n - i);
	}
}

static void chain_translates(
	const struct plan_chain *chain, bool v4, enum spread spread, struct fate *fate)
{
	size_t place = 0;

	for (size_t i = 0; chain && i < chain->n_rules; i++)
		for (const struct plan_step *s = chain->rules[i].steps; s->op != PLAN_END; s++)
			if (s->op == PLAN_SNAT)
				put_source(fate, &s->net.addr, v4);
	for (size_t i = 0; chain && i < chain->n_rules; i++)
		if (chain->rules[i].version == (v4 ? 4 : 6))
			check_choice(&chain->rules[i], place++, fate->n_sources, spread);
}

/* The pool of a class, as the chain `translate` finds it. */
static void translate(
	const struct plan *plan, uint32_t mark, bool v4, enum spread spread, struct fate *fate)
{
	const struct plan_set *pools = plan_set(plan, "pools");

	for (size_t i = 0; i < pools->n_ranges; i++)
		if (pools->ranges[i].mark == mark)
			chain_translates(plan_chain(plan, pools->ranges[i].jump), v4, spread, fate);
	for (size_t i = 0; i < fate->n_sources; i++)
		assert_true(plan_allows(plan, mark, &fate->sources[i]));
}

static enum spread spread_of(const struct policy *policy, const struct node *node, int section)
{
	const struct section *s = section < 0 ? NULL : policy_section(policy, (size_t)section);

	return s && s->n_egress > 0 ? s->spread : node->spread;
}

static struct fate fate_by_plan(const struct plan *plan, const struct policy *policy,
	const struct node *node, const struct plan_packet *p)
{
	struct plan_decision d = plan_decide(plan, p);
	struct fate fate = {.refused = d.fate == PLAN_REFUSED,
		.alone = d.fate == PLAN_LEFT_ALONE,
		.section = -1};

	if (fate.refused) {
		assert_non_null(d.counter);
		assert_non_null(plan_counter(plan, d.counter));
		assert_string_not_equal(
			plan_counter(plan, d.counter)->reason, "source-connections");
		fate.section = plan_counter(plan, d.counter)->section;
	}
	if (d.fate == PLAN_CLASSED_AS) {
		assert_non_null(plan_class(plan, d.mark));
		fate.section = plan_section(plan, policy, p);
		fate.local = d.mark == class_mark(plan, CLASS_LOCAL);
		translate(plan, d.mark, addr_is_v4(&p->source),
			spread_of(policy, node, fate.section), &fate);
	}
	return fate;
}

static bool list_holds(const struct cidr_list *list, const struct addr *addr)
{
	for (size_t i = 0; i < list->n; i++)
		if (cidr_contains(&list->at[i], addr))
			return true;
	return false;
}

static bool section_names(const struct section *s, const struct plan_learnt *learnt, size_t n,
	const struct addr *addr)
{
	bool named = list_holds(&s->cidrs, addr);

	for (size_t i = 0; i < n && s->resolve; i++)
		named = named ||
			(learnt[i].section == s->index && addr_equal(&learnt[i].addr, addr));
	return named;
}

static bool section_fits(const struct section *s, const struct plan_packet *p)
{
	bool port = s->n_ports == 0;

	if (s->protocol == PROTOCOL_TCP && p->protocol != IPPROTO_TCP)
		return false;
	if (s->protocol == PROTOCOL_UDP && p->protocol != IPPROTO_UDP)
		return false;
	for (size_t i = 0; i < s->n_ports && p->protocol != IPPROTO_ICMP; i++)
		port = port || (s->ports[i].first <= p->port && p->port <= s->ports[i].last);
	return port && list_holds(&s->from, &p->source);
}

static bool is_away(const struct node *node, const struct addr *addr)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < COUNT_OF(node->away) && node->away[i]; i++)
		if (strcmp(addr_print(addr, text), node->away[i]) == 0)
			return true;
	return false;
}

/* Leaves with these, of which some may be away; with none of the version at all it is refused. */
static void leave(
	struct fate *fate, const struct node *node, const struct addr *addrs, size_t n, bool v4)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		any = any || addr_is_v4(&addrs[i]) == v4;
		if (!is_away(node, &addrs[i]))
			put_source(fate, &addrs[i], v4);
	}
	fate->refused = !any;
}

static const struct section *decider(
	const struct policy *policy, const struct node *node, const struct plan_packet *p)
{
	const struct section *reporter = NULL;
	struct plan_learnt learnt[5];
	size_t n = learnt_of(policy, node, learnt);

	for (size_t i = 0; i < policy_n_sections(policy); i++) {
		const struct section *s = policy_section(policy, i);

		if (!section_names(s, learnt, n, &p->destination) ||
			(s->kind == SECTION_BLOCK && s->report))
			continue;
		if (s->report && !reporter)
			reporter = s;
		if (section_fits(s, p))
			return s;
	}
	return reporter;
}

/* The policy's words, without a map: sections in file order. */
static struct fate fate_by_policy(
	const struct policy *policy, const struct node *node, const struct plan_packet *p)
{
	const struct section *s = decider(policy, node, p);
	struct fate fate = {.section = s ? (int)s->index : -1};
	bool v4 = addr_is_v4(&p->source);
	struct addr gateway[3];
	size_t n = 0;

	for (; n < 3 && node->egress[n]; n++)
		gateway[n] = addr_of(node->egress[n]);
	if (s && s->kind == SECTION_BLOCK)
		fate.refused = true;
	else if (s && s->n_egress > 0)
		leave(&fate, node, s->egress, s->n_egress, v4);
	else if (s || node->fallback == PLAN_GATEWAY)
		leave(&fate, node, gateway, n, v4);
	else if (node->fallback == PLAN_LOCAL)
		fate.local = true;
	else
		fate.refused = true;
	return fate;
}

/* A policy over a small space, so that networks nest, touch and repeat. */
static char *random_policy(bool large)
{
	static const char *const froms[] = {"pods", "one", "two", "one, two", "10.42.0.0/16"};
	static const char *const ports[] = {"443", "1-80, 443", "80-65535"};
	static const char *const protocols[] = {"tcp", "udp", "any"};
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int n = 1 + rand() % 8;

	fputs("[group one]\ncidr = 10.42.1.0/24, fd42:0:0:1::/64\n", out);
	fputs("[group two]\ncidr = 10.42.0.0/17\n", out);
	for (int i = 0; i < n; i++) {
		bool block = rand() % 3 == 0, resolve = !block && rand() % 3 == 0;
		int bits = 24 + rand() % 9, low = (rand() % 256) & ~((1 << (32 - bits)) - 1);

		fprintf(out, "[%s s%d]\n", block ? "block" : "partner", i);
		if (resolve)
			fputs("hosts = a.test\nnat = resolve\n", out);
		if (!resolve || rand() % 2) {
			fprintf(out, "cidr = 198.51.100.%d/%d", low, bits);
			if (rand() % 8 == 0)
				fputs(", 0.0.0.0/1", out);
			if (rand() % 2)
				fprintf(out, ", 2001:db8::%x/%d", low, 96 + bits);
			if (rand() % 8 == 0)
				fputs(", 8000::/1", out);
		}
		fprintf(out, "\nfrom = %s\n", froms[rand() % 5]);
		if (rand() % 2)
			fprintf(out, "ports = %s\n", ports[rand() % 3]);
		if (rand() % 2)
			fprintf(out, "protocol = %s\n", protocols[rand() % 3]);
		if (rand() % 5 == 0)
			fputs("mode = report\n", out);
		if (!block && rand() % 2)
			fprintf(out, "egress-ip = 203.0.113.%d%s%s\n", 10 + rand() % 3,
				rand() % 2 ? ", 203.0.113.20, 203.0.113.21" : "",
				rand() % 2 ? ", 2001:db8:1::10, 2001:db8:1::11" : "");
		if (!block && rand() % 4 == 0)
			fprintf(out, "source-connections = %d\n", 1 + rand() % 3);
	}
	if (large)
		put_many_networks(out, (unsigned)rand() % 600);
	fclose(out);
	return text;
}

static struct plan_packet random_packet(void)
{
	static const char *const sources4[] = {"10.42.1.7", "10.42.2.7", "10.42.200.7"};
	static const char *const sources6[] = {"fd42:0:0:1::7", "fd42:0:0:2::7"};
	static const char *const far4[] = {"0.0.0.0", "1.2.3.4", "127.255.255.255", "128.0.0.0",
		"198.51.99.255", "198.51.101.0", "255.255.255.255"};
	static const char *const far6[] = {"::1", "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};
	static const unsigned ports[] = {1, 79, 80, 81, 443, 65535};
	bool v4 = rand() % 2;
	struct plan_packet p = {
		.source = addr_of(v4 ? sources4[rand() % 3] : sources6[rand() % 2]),
		.destination = addr_of(v4 ? "198.51.100.0" : "2001:db8::"),
		.protocol = protocols[rand() % 4],
		.port = ports[rand() % 6],
	};

	if (rand() % 8 == 0)
		p.destination = addr_of(v4 ? far4[rand() % 7] : far6[rand() % 4]);
	else
		p.destination.bytes[15] = (uint8_t)rand();
	return p;
}

static bool same_fate(const struct fate *a, const struct fate *b)
{
	return a->alone == b->alone && a->refused == b->refused && a->local == b->local &&
	       a->section == b->section && a->n_sources == b->n_sources &&
	       memcmp(a->sources, b->sources, a->n_sources * sizeof(a->sources[0])) == 0;
}

static void check_packet(const struct plan *plan, const struct policy *policy,
	const struct node *node, const struct plan_packet *p, const char *acl)
{
	struct fate found = fate_by_plan(plan, policy, node, p),
		    wanted = fate_by_policy(policy, node, p);
	char from[ADDR_TEXT], to[ADDR_TEXT], as[ADDR_TEXT];

	if (same_fate(&found, &wanted))
		return;
	fail_msg("%s to %s, protocol %d, port %u: section %d, want %d, refused %d, local %d, "
		 "%zu sources, want %zu, first %s\n%s",
		addr_print(&p->source, from), addr_print(&p->destination, to), p->protocol, p->port,
		found.section, wanted.section, found.refused, found.local, found.n_sources,
		wanted.n_sources, addr_print(&found.sources[0], as), acl);
}

static bool has_version(const struct cidr_list *from, bool v4)
{
	for (size_t i = 0; i < from->n; i++)
		if (cidr_is_v4(&from->at[i]) == v4)
			return true;
	return false;
}

/* Who is told of a packet of which no more is known than its destination. */
static void check_section_of(const struct plan *plan, const struct policy *policy,
	const struct node *node, const struct addr *to, const char *acl)
{
	int first = -1, reporter = -1,
	    found = plan_section(plan, policy, &(struct plan_packet){.destination = *to});
	struct plan_learnt learnt[5];
	size_t n = learnt_of(policy, node, learnt);
	char text[ADDR_TEXT];

	for (size_t i = policy_n_sections(policy); i-- > 0;) {
		const struct section *s = policy_section(policy, i);

		if (!section_names(s, learnt, n, to) || (s->kind == SECTION_BLOCK && s->report))
			continue;
		if (s->report)
			reporter = (int)i;
		if (has_version(&s->from, addr_is_v4(to)))
			first = (int)i;
	}
	if (found != (first >= 0 ? first : reporter))
		fail_msg("%s: section %d\n%s", addr_print(to, text), found, acl);
}

static const struct node plain_nodes[] = {
	{.pods = {"10.42.0.0/16", "fd42::/56"},
		.exclude = {"10.43.0.0/16", "fd43::/112"},
		.egress = {"203.0.113.9", "2001:db8:1::9"}},
	{.pods = {"10.42.0.0/16", "fd42::/56"}, .egress = {"203.0.113.9"}},
	{.pods = {"10.42.0.0/16", "fd42::/56"},
		.egress = {"203.0.113.9", "203.0.113.8", "2001:db8:1::9"},
		.spread = SPREAD_CONNECTION,
		.away = {"203.0.113.20"}},
	{.pods = {"10.42.0.0/16", "fd42::/56"},
		.egress = {"203.0.113.9", "203.0.113.8", "2001:db8:1::9"},
		.away = {"203.0.113.9"}},
	{.pods = {"10.42.0.0/16", "fd42::/56"}, .egress = {"203.0.113.9"}, .fallback = PLAN_LOCAL},
	{.pods = {"10.42.0.0/16", "fd42::/56"},
		.egress = {"203.0.113.9"},
		.fallback = PLAN_DENY,
		.away = {"203.0.113.11"}},
};

/* Addresses that names of the first sections have. */
static void learn(struct node *node, char texts[5][64])
{
	int section = 0;

	for (int i = 0; i < 5; i++) {
		snprintf(texts[i], 64, rand() % 2 ? "s%d 198.51.100.%d" : "s%d 2001:db8::%x",
			section, rand() % 256);
		node->learnt[i] = texts[i];
		section += rand() % 3;
	}
}

static void a_plan_decides_as_the_first_section_that_fits(void **state)
{
	(void)state;
	srand(1);
	for (int i = 0; i < 600; i++) {
		struct node node = plain_nodes[i % (int)COUNT_OF(plain_nodes)];
		bool large = i % 20 == 0;
		char *acl = random_policy(large), learnt[5][64];
		struct policy *policy;
		struct plan *plan;

		learn(&node, learnt);
		policy = policy_of(acl, &node);
		plan = plan_for(policy, &node);
		assert_int_equal(plan_set(plan, "outcomes") != NULL, large);
		for (int j = 0; j < 200; j++) {
			struct plan_packet p = random_packet();

			if (j < 5)
				p.destination = addr_of(strchr(learnt[j], ' ') + 1);
			if (addr_is_v4(&p.source) == addr_is_v4(&p.destination))
				check_packet(plan, policy, &node, &p, acl);
			check_section_of(plan, policy, &node, &p.destination, acl);
		}
		plan_free(plan);
		policy_put(policy);
		free(acl);
	}
}

static void leaves_destinations_inside_the_cluster_alone(void **state)
{
	static const char *const inside[] = {"10.42.9.9", "10.43.0.1"};
	struct plan *plan = plan_of("[block all]\ncidr = 0.0.0.0/0\n", &dual_stack);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(inside); i++) {
		struct plan_packet p = {addr_of("10.42.1.1"), addr_of(inside[i]), IPPROTO_TCP, 443};

		assert_int_equal(plan_decide(plan, &p).fate, PLAN_LEFT_ALONE);
	}
	plan_free(plan);
}

static void quic_of_captured_pods_is_refused(void **state)
{
	struct plan *plan =
		plan_of("[group a]\ncidr = 10.42.1.0/24\ncapture = https\n", &capturing);
	struct plan_packet p = {addr_of("10.42.1.1"), addr_of("198.51.100.1"), IPPROTO_UDP, 443};
	struct plan_decision d = plan_decide(plan, &p);

	(void)state;
	assert_int_equal(d.fate, PLAN_REFUSED);
	assert_string_equal(plan_counter(plan, d.counter)->reason, "quic");
	p.protocol = IPPROTO_TCP;
	assert_int_equal(plan_decide(plan, &p).fate, PLAN_CLASSED_AS);
	p.protocol = IPPROTO_UDP;
	p.source = addr_of("10.42.2.1");
	assert_int_equal(plan_decide(plan, &p).fate, PLAN_CLASSED_AS);
	plan_free(plan);
}

static void leaves_sources_that_are_no_pods_alone(void **state)
{
	struct plan *plan = plan_of("[block all]\ncidr = 0.0.0.0/0\n", &dual_stack);
	struct plan_packet p = {addr_of("192.168.1.1"), addr_of("198.51.100.1"), IPPROTO_TCP, 443};

	(void)state;
	assert_int_equal(plan_decide(plan, &p).fate, PLAN_LEFT_ALONE);
	plan_free(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_are_as_the_golden_texts),
		cmocka_unit_test(nft_takes_every_golden_text),
		cmocka_unit_test(the_page_about_the_datapath_shows_the_plan_of_the_sample),
		cmocka_unit_test(a_plan_decides_as_the_first_section_that_fits),
		cmocka_unit_test(leaves_destinations_inside_the_cluster_alone),
		cmocka_unit_test(leaves_sources_that_are_no_pods_alone),
		cmocka_unit_test(quic_of_captured_pods_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
