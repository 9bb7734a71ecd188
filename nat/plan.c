/*
 * plan.c - the complete kernel state that a policy asks for.
 *
 * Two base chains.  postrouting gives the first packet of a connection its source address, before
 * any masquerade at srcnat: the chain that binds a connection first wins.  forward refuses what a
 * block names, and what would leave with no egress address of its version; packets of known
 * connections pass it after one test.
 *
 *     pods -> not excluded -> map by destination -> chain of the sections there, in file order
 *                                                -> nothing decided: the gateway's address
 *
 * The maps and their chains are made in classes.c.
 */
#include "nat/plan.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "nat/build.h"
#include "nat/classes.h"

const struct plan_key_info plan_keys[] = {
	[PLAN_KEY_IPV4] = {"ipv4_addr", 7, 4},
	[PLAN_KEY_IPV6] = {"ipv6_addr", 8, 16},
	[PLAN_KEY_PROTOCOL] = {"inet_proto", 12, 1},
	[PLAN_KEY_PORT] = {"inet_service", 13, 2},
};

const struct plan_hook_info plan_hooks[] = {
	[PLAN_FORWARD] = {"filter", "forward", NF_INET_FORWARD, NF_IP_PRI_FILTER - 10,
		"filter - 10"},
	[PLAN_POSTROUTING] = {"nat", "postrouting", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC - 10,
		"srcnat - 10"},
};

static const struct addr *egress_of(const struct plan_facts *facts, unsigned version)
{
	for (size_t i = 0; i < facts->n_egress; i++)
		if (addr_is_v4(&facts->egress[i]) == (version == 4))
			return &facts->egress[i];
	return NULL;
}

/* The sets and rules of one version; nothing where no pod has it. */
static void plan_version(struct build *b, const struct policy *policy,
	const struct plan_facts *facts, struct plan_chain *forward, struct plan_chain *postrouting,
	uint8_t version)
{
	enum plan_key key = version == 4 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6;
	const struct addr *egress = egress_of(facts, version);
	struct plan_set *pods = build_set(b, version == 4 ? "pods4" : "pods6", key, false);
	struct plan_set *exclude = build_set(b, version == 4 ? "exclude4" : "exclude6", key, false);
	struct plan_set *partners =
		build_set(b, version == 4 ? "partners4" : "partners6", key, true);
	struct plan_set *blocks = build_set(b, version == 4 ? "blocks4" : "blocks6", key, true);
	struct plan_rule rule = {.version = version, .action = PLAN_MAP};

	if (b->failed)
		return;
	build_cidrs(b, pods, facts->pods, facts->n_pods, version);
	build_cidrs(b, exclude, facts->pods, facts->n_pods, version);
	build_cidrs(b, exclude, facts->exclude, facts->n_exclude, version);
	build_set_finish(pods);
	build_set_finish(exclude);
	classes_compile(b, policy, pods, egress, version, partners, blocks);

	rule.from = pods->name;
	rule.except = exclude->name;
	rule.map = blocks->name;
	build_rule(b, forward, &rule);
	rule.map = partners->name;
	build_rule(b, postrouting, &rule);
	rule.map = NULL;
	if (egress) {
		rule.action = PLAN_SNAT;
		rule.address = *egress;
		build_rule(b, postrouting, &rule);
	} else {
		rule.action = PLAN_DROP;
		build_rule(b, postrouting, &rule);
		rule.action = PLAN_REJECT;
		build_rule(b, forward, &rule);
	}
}

static bool any_pod_has(const struct plan_facts *facts, unsigned version)
{
	for (size_t i = 0; i < facts->n_pods; i++)
		if (cidr_is_v4(&facts->pods[i]) == (version == 4))
			return true;
	return false;
}

struct plan *plan_new(const struct policy *policy, const struct plan_facts *facts)
{
	static const struct plan_rule known = {.established = true, .action = PLAN_ACCEPT};
	struct plan_chain *forward, *postrouting;
	struct build b;

	build_begin(&b, facts->table);
	forward = build_chain(&b, "forward", PLAN_FORWARD);
	postrouting = build_chain(&b, "postrouting", PLAN_POSTROUTING);
	build_rule(&b, forward, &known);
	if (any_pod_has(facts, 4))
		plan_version(&b, policy, facts, forward, postrouting, 4);
	if (any_pod_has(facts, 6))
		plan_version(&b, policy, facts, forward, postrouting, 6);
	return build_finish(&b);
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->n_sets; i++) {
		free(plan->sets[i]->ranges);
		free(plan->sets[i]);
	}
	for (size_t i = 0; i < plan->n_chains; i++) {
		for (size_t j = 0; j < plan->chains[i]->n_rules; j++)
			free(plan->chains[i]->rules[j].text);
		free(plan->chains[i]->rules);
		free(plan->chains[i]);
	}
	free(plan->sets);
	free(plan->chains);
	free(plan->table);
	free(plan);
}

/* Appends to the text of a rule. */
static void __attribute__((format(printf, 2, 3))) say(char text[PLAN_TEXT], const char *format, ...)
{
	size_t length = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + length, PLAN_TEXT - length, format, args);
	va_end(args);
}

static void say_action(const struct plan_rule *rule, const char *ip, char text[PLAN_TEXT])
{
	char address[ADDR_TEXT];

	switch (rule->action) {
	case PLAN_ACCEPT:
		say(text, "accept");
		break;
	case PLAN_DROP:
		say(text, "drop");
		break;
	case PLAN_REJECT:
		say(text, "reject with icmpx type admin-prohibited");
		break;
	case PLAN_SNAT:
		say(text, "snat %s to %s", ip, addr_print(&rule->address, address));
		break;
	case PLAN_MAP:
		say(text, "%s daddr vmap @%s", ip, rule->map);
		break;
	}
}

const char *plan_rule_print(const struct plan_rule *rule, char text[PLAN_TEXT])
{
	const char *ip = rule->version == 4 ? "ip" : "ip6";
	const char *protocol = rule->protocol == IPPROTO_TCP ? "tcp" : "udp";

	text[0] = '\0';
	if (rule->established)
		say(text, "ct state established,related ");
	if (rule->from)
		say(text, "%s saddr @%s ", ip, rule->from);
	if (rule->except)
		say(text, "%s daddr != @%s ", ip, rule->except);
	if (rule->protocols)
		say(text, "meta l4proto @%s ", rule->protocols);
	else if (rule->protocol && !rule->ports)
		say(text, "meta l4proto %s ", protocol);
	if (rule->ports)
		say(text, "%s dport @%s ", rule->protocol ? protocol : "th", rule->ports);
	say_action(rule, ip, text);
	return text;
}

/* The length of the prefix that is exactly first-last, counted in the 16-byte form; -1: none is. */
static int prefix_of(const struct plan_range *range)
{
	struct cidr cidr = {.addr = range->first, .bits = 128};

	while (cidr.bits > 0 && !addr_equal(&range->last, &cidr.addr)) {
		uint8_t *byte = &cidr.addr.bytes[(cidr.bits - 1) / 8];
		uint8_t mask = (uint8_t)(1 << (128 - cidr.bits) % 8);

		if (*byte & mask)
			return -1;
		*byte |= mask;
		cidr.bits--;
	}
	return addr_equal(&range->last, &cidr.addr) ? cidr.bits : -1;
}

static void print_number(const struct plan_range *range, FILE *out)
{
	unsigned first = range->first.bytes[14] << 8 | range->first.bytes[15];
	unsigned last = range->last.bytes[14] << 8 | range->last.bytes[15];

	fprintf(out, first == last ? "%u" : "%u-%u", first, last);
}

static void print_addresses(const struct plan_range *range, FILE *out)
{
	struct cidr cidr = {.addr = range->first};
	char first[ADDR_TEXT + 4], last[ADDR_TEXT];
	int bits = prefix_of(range);

	if (bits >= 0) {
		cidr.bits = (uint8_t)bits;
		fputs(cidr_print(&cidr, first), out);
	} else {
		fprintf(out, "%s-%s", addr_print(&range->first, first),
			addr_print(&range->last, last));
	}
}

static void print_set(const struct plan_set *set, FILE *out)
{
	bool numbers = set->key == PLAN_KEY_PORT || set->key == PLAN_KEY_PROTOCOL;

	fprintf(out, "\t%s %s {\n\t\ttype %s%s\n\t\tflags interval\n", set->map ? "map" : "set",
		set->name, plan_keys[set->key].name, set->map ? " : verdict" : "");
	for (size_t i = 0; i < set->n_ranges; i++) {
		fputs(i == 0 ? "\t\telements = { " : ",\n\t\t\t     ", out);
		(numbers ? print_number : print_addresses)(&set->ranges[i], out);
		if (set->map)
			fprintf(out, " : jump %s", set->ranges[i].jump);
	}
	fprintf(out, "%s\t}\n\n", set->n_ranges ? " }\n" : "");
}

static void print_chain(const struct plan_chain *chain, FILE *out)
{
	fprintf(out, "\tchain %s {\n", chain->name);
	if (chain->hook != PLAN_NO_HOOK)
		fprintf(out, "\t\ttype %s hook %s priority %s; policy accept;\n",
			plan_hooks[chain->hook].type, plan_hooks[chain->hook].name,
			plan_hooks[chain->hook].priority_name);
	for (size_t i = 0; i < chain->n_rules; i++)
		fprintf(out, "\t\t%s\n", chain->rules[i].text);
	fputs("\t}\n", out);
}

void plan_print(const struct plan *plan, FILE *out)
{
	fprintf(out, "table inet %s {\n", plan->table);
	for (size_t i = 0; i < plan->n_sets; i++)
		print_set(plan->sets[i], out);
	for (size_t i = 0; i < plan->n_chains; i++) {
		print_chain(plan->chains[i], out);
		if (i + 1 < plan->n_chains)
			fputc('\n', out);
	}
	fputs("}\n", out);
}
