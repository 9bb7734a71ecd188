/*
 * plan_print.c - a plan as nft reads it.
 */
#include <stdarg.h>
#include <string.h>

#include "nat/plan.h"

/* Appends to the text of a rule. */
static void __attribute__((format(printf, 2, 3))) say(char text[PLAN_TEXT], const char *format, ...)
{
	size_t length = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + length, PLAN_TEXT - length, format, args);
	va_end(args);
}

static const char *protocol_name(uint32_t protocol, char out[12])
{
	switch (protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "ipv6-icmp";
	}
	snprintf(out, 12, "%u", protocol);
	return out;
}

/* nft writes ports and flags behind the protocol's name, and needs no other match for it then. */
static bool names_protocol(const struct plan_step *step)
{
	return step->op == PLAN_PROTOCOL &&
	       (step[1].op == PLAN_PORTS || step[1].op == PLAN_PORT_SET || step[1].op == PLAN_SYN);
}

static void say_match(const struct plan_step *step, const char *ip, char text[PLAN_TEXT])
{
	char net[ADDR_TEXT + 4], number[12];

	switch (step->op) {
	case PLAN_VERSION:
		say(text, "meta nfproto %s", strcmp(ip, "ip") == 0 ? "ipv4" : "ipv6");
		break;
	case PLAN_FROM_NET:
		say(text, "%s saddr %s", ip, cidr_print(&step->net, net));
		break;
	case PLAN_TO_NET:
		say(text, "%s daddr %s", ip, cidr_print(&step->net, net));
		break;
	case PLAN_FROM_SET:
		say(text, "%s saddr @%s", ip, step->set->name);
		break;
	case PLAN_TO_SET:
		say(text, "%s daddr @%s", ip, step->set->name);
		break;
	case PLAN_TO_LOCAL:
		say(text, "fib daddr type local");
		break;
	case PLAN_TO_UNICAST:
		say(text, "fib daddr type unicast");
		break;
	case PLAN_PROTOCOL:
		if (names_protocol(step))
			say(text, "%s", protocol_name(step->number, number));
		else
			say(text, "meta l4proto %s", protocol_name(step->number, number));
		break;
	case PLAN_PROTOCOL_SET:
		say(text, "meta l4proto @%s th", step->set->name);
		break;
	case PLAN_PORTS:
		say(text, step->number == step->other ? "dport %u" : "dport %u-%u", step->number,
			step->other);
		break;
	case PLAN_PORT_SET:
		say(text, "dport @%s", step->set->name);
		break;
	case PLAN_SYN:
		say(text, "flags & (fin | syn | rst | ack) == syn");
		break;
	case PLAN_ORIGINAL:
		say(text, "ct direction original");
		break;
	case PLAN_REPLY:
		say(text, "ct direction reply");
		break;
	case PLAN_KNOWN:
		say(text, "ct state established,related");
		break;
	case PLAN_UNKNOWN:
		say(text, "ct state invalid,untracked");
		break;
	case PLAN_DNATTED:
		say(text, "ct status dnat");
		break;
	case PLAN_FROM_DEVICE:
		say(text, "iifname \"%s\"", step->name);
		break;
	case PLAN_CLASSED:
		say(text, "ct mark & 0x%08x != 0x00000000", step->other);
		break;
	case PLAN_CLASS:
		say(text, "ct mark & 0x%08x == 0x%08x", step->other, step->number);
		break;
	case PLAN_CLASS_SOURCE:
		say(text, "ct mark & 0x%08x . %s saddr @%s", step->other, ip, step->set->name);
		break;
	case PLAN_CLASS_HOP:
		say(text, "ct mark & 0x%08x . rt %s nexthop @%s", step->other, ip, step->set->name);
		break;
	case PLAN_HASHED:
		say(text, "jhash %s saddr mod %u seed 0x65677265 %u", ip, step->other,
			step->number);
		break;
	case PLAN_RANDOM:
		say(text, "numgen random mod %u 0", step->other);
		break;
	case PLAN_OVER:
		say(text, "add @%s { %s saddr ct count over %u }", step->set->name, ip,
			step->number);
		break;
	default:
		break;
	}
}

static void say_action(const struct plan_step *step, const char *ip, char text[PLAN_TEXT])
{
	char address[ADDR_TEXT];

	switch (step->op) {
	case PLAN_SET_MARK:
	case PLAN_SET_CLASS:
		say(text, "%1$s mark set %1$s mark & 0x%2$08x",
			step->op == PLAN_SET_MARK ? "meta" : "ct", ~step->other);
		if (step->number)
			say(text, " | 0x%08x", step->number);
		break;
	case PLAN_COUNT:
		say(text, "counter name \"%s\"", step->name);
		break;
	case PLAN_NOTE:
		say(text, "update @%s { %s saddr . %s daddr counter }", step->set->name, ip, ip);
		break;
	case PLAN_NOTE_ORIGIN:
		say(text, "update @%s { ct original %s saddr . %s daddr counter }", step->set->name,
			ip, ip);
		break;
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
		say(text, "snat %s to %s", ip, addr_print(&step->net.addr, address));
		break;
	case PLAN_REDIRECT:
		say(text, "redirect to :%u", step->number);
		break;
	case PLAN_SNAT_SELF:
		say(text, "snat %s to %s saddr", ip, ip);
		break;
	case PLAN_GOTO:
		say(text, "goto %s", step->chain->name);
		break;
	case PLAN_TO_MAP:
		say(text, "%s daddr vmap @%s", ip, step->set->name);
		break;
	case PLAN_CLASS_MAP:
		say(text, "ct mark & 0x%08x vmap @%s", step->other, step->set->name);
		break;
	case PLAN_NUMBER:
		say(text, "meta priority set %s daddr map @%s", ip, step->set->name);
		break;
	case PLAN_NUMBER_MAP:
		say(text, "meta priority vmap @%s", step->set->name);
		break;
	case PLAN_CLEAR_NUMBER:
		say(text, "meta priority set none");
		break;
	case PLAN_NUMBERED:
		say(text, "meta priority @%s", step->set->name);
		break;
	default:
		break;
	}
}

const char *plan_rule_print(const struct plan_rule *rule, char text[PLAN_TEXT])
{
	const char *ip = rule->version == 6 ? "ip6" : "ip";

	text[0] = '\0';
	for (const struct plan_step *step = rule->steps; step->op != PLAN_END; step++) {
		if (step != rule->steps)
			say(text, " ");
		say_match(step, ip, text);
		say_action(step, ip, text);
	}
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

static void print_classid(uint32_t number, FILE *out)
{
	fprintf(out, "%x:%x", number >> 16, number & 0xffff);
}

static void print_element(const struct plan_set *set, const struct plan_range *range, FILE *out)
{
	const struct plan_key_info *key = &plan_keys[set->key];

	if (set->key == PLAN_KEY_NUMBER)
		print_classid(range->mark, out);
	else if (key->mark)
		fprintf(out, "0x%08x", range->mark);
	if (key->mark && key->n > 0)
		fputs(" . ", out);
	if (key->n > 0 && key->size < 4)
		print_number(range, out);
	else if (key->n > 0)
		print_addresses(range, out);
	if (set->map)
		fputs(" : ", out);
	if (set->numbers)
		print_classid(range->number, out);
	else if (set->map)
		fprintf(out, "jump %s", range->jump);
}

static void print_set(const struct plan_set *set, FILE *out)
{
	fprintf(out, "\t%s %s {\n\t\ttype %s%s%s\n", set->map ? "map" : "set", set->name,
		plan_keys[set->key].name, set->map ? " : " : "",
		set->numbers ? plan_keys[PLAN_KEY_NUMBER].name
		: set->map   ? "verdict"
			     : "");
	if (set->kind == PLAN_INTERVAL)
		fputs("\t\tflags interval\n", out);
	if (set->kind == PLAN_DYNAMIC)
		fprintf(out, "\t\tsize %d\n\t\tflags dynamic%s\n", PLAN_DYNAMIC_SIZE,
			set->timeout ? ",timeout" : "");
	if (set->timeout)
		fprintf(out, "\t\ttimeout %us\n", set->timeout);
	for (size_t i = 0; i < set->n_ranges; i++) {
		fputs(i == 0 ? "\t\telements = { " : ",\n\t\t\t     ", out);
		print_element(set, &set->ranges[i], out);
	}
	fprintf(out, "%s\t}\n\n", set->n_ranges ? " }\n" : "");
}

static void print_chain(const struct plan_chain *chain, FILE *out)
{
	fprintf(out, "\tchain %s {\n", chain->name);
	if (chain->hook != PLAN_NO_HOOK)
		fprintf(out, "\t\ttype %s hook %s priority %d; policy accept;\n",
			plan_hooks[chain->hook].type, plan_hooks[chain->hook].name,
			chain->priority);
	for (size_t i = 0; i < chain->n_rules; i++)
		fprintf(out, "\t\t%s\n", chain->rules[i].text);
	fputs("\t}\n", out);
}

void plan_print(const struct plan *plan, FILE *out)
{
	fprintf(out, "table inet %s {\n\tcomment \"%s\"\n\n", plan->table, PLAN_COMMENT);
	for (size_t i = 0; i < plan->n_counters; i++)
		fprintf(out, "\tcounter %s {\n\t}\n\n", plan->counters[i]->name);
	for (size_t i = 0; i < plan->n_sets; i++)
		print_set(plan->sets[i], out);
	for (size_t i = 0; i < plan->n_chains; i++) {
		print_chain(plan->chains[i], out);
		if (i + 1 < plan->n_chains)
			fputc('\n', out);
	}
	fputs("}\n", out);
}
