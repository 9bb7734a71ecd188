/*
 * plan_test.c - plans against golden text, against nft's parser, and against a plain first-match
 * walk over the policy.
 *
 * plans/NAME.ini becomes plans/NAME.nft; GOLDEN=write writes them anew.
 */
#include "helpers.h"

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

/* What happens to a packet. */
struct packet {
	struct addr source, destination;
	uint8_t protocol;
	unsigned port;
};

struct fate {
	bool refused;
	bool translated;
	struct addr source;
};

static const struct plan_set *set_named(const struct plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->n_sets; i++)
		if (strcmp(plan->sets[i]->name, name) == 0)
			return plan->sets[i];
	fail_msg("the plan has no set %s", name);
	return NULL;
}

static const struct plan_chain *chain_named(const struct plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->n_chains; i++)
		if (strcmp(plan->chains[i]->name, name) == 0)
			return plan->chains[i];
	fail_msg("the plan has no chain %s", name);
	return NULL;
}

static const struct plan_range *lookup(
	const struct plan *plan, const char *set_name, const struct addr *key)
{
	const struct plan_set *set = set_named(plan, set_name);

	for (size_t i = 0; i < set->n_ranges; i++)
		if (memcmp(&set->ranges[i].first, key, sizeof(*key)) <= 0 &&
			memcmp(&set->ranges[i].last, key, sizeof(*key)) >= 0)
			return &set->ranges[i];
	return NULL;
}

static struct addr number(unsigned n)
{
	return (struct addr){{[14] = (uint8_t)(n >> 8), [15] = (uint8_t)n}};
}

static bool rule_fits(const struct plan *plan, const struct plan_rule *rule, const struct packet *p)
{
	struct addr port = number(p->port), protocol = number(p->protocol);
	bool about_addresses = rule->from || rule->except || rule->action == PLAN_MAP;

	return !rule->established &&
	       (!about_addresses || (rule->version == 4) == addr_is_v4(&p->source)) &&
	       (!rule->from || lookup(plan, rule->from, &p->source)) &&
	       (!rule->except || !lookup(plan, rule->except, &p->destination)) &&
	       (!rule->protocol || rule->protocol == p->protocol) &&
	       (!rule->protocols || lookup(plan, rule->protocols, &protocol)) &&
	       (!rule->ports || lookup(plan, rule->ports, &port));
}

/* Walks a chain as the kernel would; true when a rule decided. */
static bool walk(
	const struct plan *plan, const char *chain_name, const struct packet *p, struct fate *fate)
{
	const struct plan_chain *chain = chain_named(plan, chain_name);
	const struct plan_range *range;

	for (size_t i = 0; i < chain->n_rules; i++) {
		const struct plan_rule *rule = &chain->rules[i];

		if (!rule_fits(plan, rule, p))
			continue;
		switch (rule->action) {
		case PLAN_MAP:
			range = lookup(plan, rule->map, &p->destination);
			if (range && walk(plan, range->jump, p, fate))
				return true;
			break;
		case PLAN_SNAT:
			fate->translated = true;
			fate->source = rule->address;
			return true;
		case PLAN_ACCEPT:
			return true;
		case PLAN_DROP:
		case PLAN_REJECT:
			fate->refused = true;
			return true;
		}
	}
	return false;
}

static struct fate fate_by_plan(const struct plan *plan, const struct packet *p)
{
	struct fate fate = {0};

	walk(plan, "forward", p, &fate);
	if (!fate.refused)
		walk(plan, "postrouting", p, &fate);
	return fate;
}

static bool list_holds(const struct cidr_list *list, const struct addr *addr)
{
	for (size_t i = 0; i < list->n; i++)
		if (cidr_contains(&list->at[i], addr))
			return true;
	return false;
}

static bool section_fits(const struct section *s, const struct packet *p)
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

/* The policy's words, without a map: sections in file order. */
static struct fate fate_by_policy(
	const struct policy *policy, const struct node *node, const struct packet *p)
{
	const struct section *decides = NULL, *reporter = NULL;
	const struct addr *egress = NULL;

	for (size_t i = 0; i < policy_n_sections(policy) && !decides; i++) {
		const struct section *s = policy_section(policy, i);

		if (!list_holds(&s->cidrs, &p->destination) ||
			(s->kind == SECTION_BLOCK && s->report))
			continue;
		if (s->report && !reporter)
			reporter = s;
		if (section_fits(s, p))
			decides = s;
	}
	if (!decides)
		decides = reporter;
	if (decides && decides->kind == SECTION_BLOCK)
		return (struct fate){.refused = true};
	if (decides && decides->n_egress > 0) {
		egress = section_egress(decides, &p->source);
		return egress ? (struct fate){.translated = true, .source = *egress}
			      : (struct fate){.refused = true};
	}
	for (size_t i = 0; i < 3 && node->egress[i]; i++) {
		struct addr addr = addr_of(node->egress[i]);

		if (addr_is_v4(&addr) == addr_is_v4(&p->source))
			return (struct fate){.translated = true, .source = addr};
	}
	return (struct fate){.refused = true};
}

/* A policy over a small space, so that networks nest, touch and repeat. */
static char *random_policy(void)
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
		bool block = rand() % 3 == 0;
		int bits = 24 + rand() % 9, low = (rand() % 256) & ~((1 << (32 - bits)) - 1);

		fprintf(out, "[%s s%d]\ncidr = 198.51.100.%d/%d", block ? "block" : "partner", i,
			low, bits);
		if (rand() % 8 == 0)
			fputs(", 0.0.0.0/1", out);
		if (rand() % 2)
			fprintf(out, ", 2001:db8::%x/%d", low, 96 + bits);
		if (rand() % 8 == 0)
			fputs(", 8000::/1", out);
		fprintf(out, "\nfrom = %s\n", froms[rand() % 5]);
		if (rand() % 2)
			fprintf(out, "ports = %s\n", ports[rand() % 3]);
		if (rand() % 2)
			fprintf(out, "protocol = %s\n", protocols[rand() % 3]);
		if (rand() % 5 == 0)
			fputs("mode = report\n", out);
		if (!block && rand() % 2)
			fprintf(out, "egress-ip = 203.0.113.%d%s\n", 10 + rand() % 3,
				rand() % 2 ? ", 2001:db8:1::10" : "");
	}
	fclose(out);
	return text;
}

static struct packet random_packet(void)
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
	struct packet p = {
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

static void check_packet(const struct plan *plan, const struct policy *policy,
	const struct node *node, const struct packet *p, const char *acl)
{
	struct fate found = fate_by_plan(plan, p), wanted = fate_by_policy(policy, node, p);
	char from[ADDR_TEXT], to[ADDR_TEXT], as[ADDR_TEXT];

	if (found.refused == wanted.refused &&
		(found.refused || (found.translated == wanted.translated &&
					  addr_equal(&found.source, &wanted.source))))
		return;
	fail_msg("%s to %s, protocol %d, port %u: refused %d, source %s\n%s",
		addr_print(&p->source, from), addr_print(&p->destination, to), p->protocol, p->port,
		found.refused, addr_print(&found.source, as), acl);
}

static void a_plan_decides_as_the_first_section_that_fits(void **state)
{
	(void)state;
	srand(1);
	for (int i = 0; i < 600; i++) {
		const struct node *node = i % 2 ? &dual_stack : &no_egress6;
		char *acl = random_policy();
		struct policy *policy = policy_of(acl, node);
		struct plan *plan = plan_for(policy, node);

		for (int j = 0; j < 200; j++) {
			struct packet p = random_packet();

			check_packet(plan, policy, node, &p, acl);
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
		struct packet p = {addr_of("10.42.1.1"), addr_of(inside[i]), IPPROTO_TCP, 443};
		struct fate fate = fate_by_plan(plan, &p);

		assert_false(fate.refused);
		assert_false(fate.translated);
	}
	plan_free(plan);
}

static void leaves_sources_that_are_no_pods_alone(void **state)
{
	struct plan *plan = plan_of("[block all]\ncidr = 0.0.0.0/0\n", &dual_stack);
	struct packet p = {addr_of("192.168.1.1"), addr_of("198.51.100.1"), IPPROTO_TCP, 443};
	struct fate fate = fate_by_plan(plan, &p);

	(void)state;
	assert_false(fate.refused);
	assert_false(fate.translated);
	plan_free(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_are_as_the_golden_texts),
		cmocka_unit_test(nft_takes_every_golden_text),
		cmocka_unit_test(a_plan_decides_as_the_first_section_that_fits),
		cmocka_unit_test(leaves_destinations_inside_the_cluster_alone),
		cmocka_unit_test(leaves_sources_that_are_no_pods_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
