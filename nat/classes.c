/*
 * classes.c - destinations that the sections of a policy treat alike.
 *
 * Any two networks are nested or disjoint.  So sorted networks (outer before inner) are walked with
 * a stack: on it stand the networks that hold the address the walk is at.  Whenever one begins or
 * ends, the range behind is complete, and the sections on the stack, in file order, are its class:
 *
 *     0.0.0.0/0 (bank)   |------------------------------|
 *     198.51.100.0/24 (stripe)      |-------|
 *     ranges             | bank     | both  | bank      |
 *
 * The list of a class ends at the first section that fits every packet, and what says the same as
 * no section at all is cut off its end; when nothing is left, the range is not in the map.
 */
#include "nat/classes.h"

#include <stdlib.h>
#include <string.h>

/* What one section does to packets for its networks. */
struct step {
	bool partner, report;
	bool never;                            /* no pod of this version is in `from` */
	bool always;                           /* fits every packet */
	struct plan_rule source, pass;         /* in postrouting and in forward */
	struct plan_rule any_source, any_pass; /* the same for every packet: for report mode */
};

/* One network of one section. */
struct piece {
	struct plan_range range;
	size_t section;
};

struct classes {
	struct build *build;
	const struct plan_set *pods;
	const struct addr *egress;
	uint8_t version;
	struct plan_set *partners, *blocks;

	struct step *steps; /* by section */
	struct piece *pieces;
	size_t n_pieces, room;
	const struct piece **stack; /* outermost first */
	size_t depth;
	size_t *active; /* the sections on the stack, in file order */
	const struct plan_rule **source, **pass;
	struct addr at; /* the walk has come to here */
	bool end;       /* behind the last address of all */
};

static bool is_version(const struct classes *c, const struct cidr *cidr)
{
	return cidr_is_v4(cidr) == (c->version == 4);
}

static bool range_holds(const struct plan_range *outer, const struct plan_range *inner)
{
	return memcmp(&outer->first, &inner->first, sizeof(struct addr)) <= 0 &&
	       memcmp(&outer->last, &inner->last, sizeof(struct addr)) >= 0;
}

/* Does `from` leave no pod out? */
static bool covers_pods(const struct classes *c, const struct plan_set *from)
{
	for (size_t i = 0, j = 0; i < c->pods->n_ranges; i++) {
		while (j < from->n_ranges && !range_holds(&from->ranges[j], &c->pods->ranges[i]))
			j++;
		if (j == from->n_ranges)
			return false;
	}
	return true;
}

/* Is there a pod in `from`? */
static bool touches_pods(const struct classes *c, const struct cidr *from)
{
	struct plan_range range = build_range_of(from);

	for (size_t i = 0; i < c->pods->n_ranges; i++)
		if (memcmp(&range.first, &c->pods->ranges[i].last, sizeof(struct addr)) <= 0 &&
			memcmp(&range.last, &c->pods->ranges[i].first, sizeof(struct addr)) >= 0)
			return true;
	return false;
}

static void match_from(struct classes *c, const struct section *s, struct step *step)
{
	enum plan_key key = c->version == 4 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6;
	struct plan_set *from = build_set(c->build, NULL, key, false);

	if (!from)
		return;
	for (size_t i = 0; i < s->from.n; i++)
		if (is_version(c, &s->from.at[i]) && touches_pods(c, &s->from.at[i]))
			build_cidrs(c->build, from, &s->from.at[i], 1, c->version);
	build_set_finish(from);
	step->never = from->n_ranges == 0;
	if (!step->never && !covers_pods(c, from)) {
		step->source.from =
			build_share_set(c->build, from, c->version == 4 ? "from4" : "from6");
		return;
	}
	build_set_drop(from);
}

static struct addr number(unsigned n)
{
	return (struct addr){{[14] = (uint8_t)(n >> 8), [15] = (uint8_t)n}};
}

/* The protocols that have ports. */
static const char *share_transports(struct classes *c)
{
	static const uint8_t transports[] = {
		IPPROTO_TCP, IPPROTO_UDP, IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_UDPLITE};
	struct plan_set *set = build_set(c->build, NULL, PLAN_KEY_PROTOCOL, false);

	for (size_t i = 0; i < COUNT_OF(transports); i++) {
		struct addr protocol = number(transports[i]);

		build_range(c->build, set, &protocol, &protocol, NULL);
	}
	return build_share_set(c->build, set, "protocols");
}

static void match_ports(struct classes *c, const struct section *s, struct step *step)
{
	struct plan_set *set;

	if (s->protocol != PROTOCOL_ANY)
		step->source.protocol = s->protocol == PROTOCOL_TCP ? IPPROTO_TCP : IPPROTO_UDP;
	if (s->n_ports == 0)
		return;
	if (s->protocol == PROTOCOL_ANY)
		step->source.protocols = share_transports(c);
	set = build_set(c->build, NULL, PLAN_KEY_PORT, false);
	for (size_t i = 0; i < s->n_ports; i++) {
		struct addr first = number(s->ports[i].first), last = number(s->ports[i].last);

		build_range(c->build, set, &first, &last, NULL);
	}
	step->source.ports = build_share_set(c->build, set, "ports");
}

/* What no egress address of its version is there for does not leave with another one. */
static enum plan_action without_egress(bool forward)
{
	return forward ? PLAN_REJECT : PLAN_DROP;
}

static void act_as_gateway(const struct classes *c, struct plan_rule *rule)
{
	rule->action = c->egress ? PLAN_SNAT : without_egress(false);
	if (c->egress)
		rule->address = *c->egress;
}

static enum plan_action gateway_pass(const struct classes *c)
{
	return c->egress ? PLAN_ACCEPT : without_egress(true);
}

static void choose_actions(const struct classes *c, const struct section *s, struct step *step)
{
	const struct addr *egress = section_egress(s, &c->pods->ranges[0].first);

	step->pass.action = s->kind == SECTION_PARTNER ? PLAN_ACCEPT : PLAN_REJECT;
	if (egress) {
		step->source.action = PLAN_SNAT;
		step->source.address = *egress;
	} else if (s->n_egress == 0) {
		act_as_gateway(c, &step->source);
		if (s->kind == SECTION_PARTNER)
			step->pass.action = gateway_pass(c);
	} else {
		step->source.action = without_egress(false);
		step->pass.action = without_egress(true);
	}
}

static void with_text(struct classes *c, struct plan_rule *rule)
{
	char text[PLAN_TEXT];

	rule->text = strdup(plan_rule_print(rule, text));
	if (!rule->text)
		c->build->failed = true;
}

static void make_step(struct classes *c, const struct section *s, struct step *step)
{
	struct plan_rule all = {.version = c->version};

	step->partner = s->kind == SECTION_PARTNER;
	step->report = s->report;
	step->source.version = c->version;
	match_from(c, s, step);
	match_ports(c, s, step);
	step->always = !step->never && !step->source.from && !step->source.protocol &&
		       !step->source.protocols;
	step->pass = step->source;
	choose_actions(c, s, step);
	step->any_source = step->any_pass = all;
	step->any_source.action = step->source.action;
	step->any_source.address = step->source.address;
	step->any_pass.action = step->pass.action;
	with_text(c, &step->source);
	with_text(c, &step->pass);
	with_text(c, &step->any_source);
	with_text(c, &step->any_pass);
}

static bool add_piece(struct classes *c, const struct cidr *cidr, size_t section)
{
	if (c->n_pieces == c->room) {
		size_t room = c->room ? 2 * c->room : 64;
		struct piece *grown = reallocarray(c->pieces, room, sizeof(*grown));

		if (!grown)
			return false;
		c->pieces = grown;
		c->room = room;
	}
	c->pieces[c->n_pieces++] = (struct piece){build_range_of(cidr), section};
	return true;
}

/* Collects the networks of a section, and what it does, when it does anything. */
static bool add_section(struct classes *c, const struct section *s)
{
	size_t before = c->n_pieces;

	if (s->kind == SECTION_BLOCK && s->report)
		return true;
	for (size_t i = 0; i < s->cidrs.n; i++)
		if (is_version(c, &s->cidrs.at[i]) && !add_piece(c, &s->cidrs.at[i], s->index))
			return false;
	if (c->n_pieces == before)
		return true;
	make_step(c, s, &c->steps[s->index]);
	if (c->steps[s->index].never && !s->report)
		c->n_pieces = before;
	return !c->build->failed;
}

/* Outer before inner, then file order. */
static int by_place(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;
	int order = memcmp(&x->range.first, &y->range.first, sizeof(struct addr));

	if (order == 0)
		order = memcmp(&y->range.last, &x->range.last, sizeof(struct addr));
	return order ? order : (x->section > y->section) - (x->section < y->section);
}

/* Whether the rule does what happens to a packet that no rule fits. */
static bool is_default(const struct classes *c, const struct plan_rule *rule)
{
	struct plan_rule gateway = {0};

	act_as_gateway(c, &gateway);
	return rule->action == gateway.action && addr_equal(&rule->address, &gateway.address);
}

static void add_class(struct classes *c, struct plan_set *map, const char *prefix,
	const struct plan_rule *const *rules, size_t n, const struct addr *last)
{
	if (n > 0)
		build_range(
			c->build, map, &c->at, last, build_share_chain(c->build, prefix, rules, n));
}

/* The range from where the walk is to `last` has the class of the sections on the stack. */
static void emit(struct classes *c, const struct addr *last)
{
	const struct step *reporter = NULL, *step = NULL;
	size_t n_source = 0, n_pass = 0;

	for (size_t i = 0; i < c->depth && !(step && step->always); i++) {
		step = &c->steps[c->active[i]];
		if (step->report && !reporter)
			reporter = step;
		if (step->never)
			continue;
		if (step->partner)
			c->source[n_source++] = &step->source;
		c->pass[n_pass++] = &step->pass;
	}
	if (reporter && !step->always) {
		c->source[n_source++] = &reporter->any_source;
		c->pass[n_pass++] = &reporter->any_pass;
	}
	while (n_source > 0 && is_default(c, c->source[n_source - 1]))
		n_source--;
	while (n_pass > 0 && c->pass[n_pass - 1]->action == gateway_pass(c))
		n_pass--;
	add_class(c, c->partners, "to", c->source, n_source, last);
	add_class(c, c->blocks, "pass", c->pass, n_pass, last);
}

static void walk_to(struct classes *c, const struct addr *last)
{
	if (c->end || memcmp(&c->at, last, sizeof(*last)) > 0)
		return;
	if (c->depth > 0)
		emit(c, last);
	c->at = *last;
	c->end = !build_next(&c->at);
}

static void push(struct classes *c, const struct piece *piece)
{
	size_t i = c->depth;

	for (; i > 0 && c->active[i - 1] > piece->section; i--)
		c->active[i] = c->active[i - 1];
	c->active[i] = piece->section;
	c->stack[c->depth++] = piece;
}

static void pop(struct classes *c)
{
	const struct piece *piece = c->stack[c->depth - 1];
	size_t i = 0;

	walk_to(c, &piece->range.last);
	while (c->active[i] != piece->section)
		i++;
	memmove(&c->active[i], &c->active[i + 1], (c->depth - i - 1) * sizeof(c->active[0]));
	c->depth--;
}

static bool begins_behind(const struct piece *piece, const struct piece *top)
{
	return memcmp(&piece->range.first, &top->range.last, sizeof(struct addr)) > 0;
}

static void walk(struct classes *c)
{
	for (size_t i = 0; i < c->n_pieces && !c->build->failed; i++) {
		const struct piece *piece = &c->pieces[i];

		while (c->depth > 0 && begins_behind(piece, c->stack[c->depth - 1]))
			pop(c);
		if (c->depth > 0 && memcmp(&c->at, &piece->range.first, sizeof(c->at)) < 0) {
			struct addr before = piece->range.first;

			build_previous(&before);
			walk_to(c, &before);
		}
		c->at = piece->range.first;
		push(c, piece);
	}
	while (c->depth > 0 && !c->build->failed)
		pop(c);
}

static void free_steps(struct classes *c, size_t n)
{
	for (size_t i = 0; c->steps && i < n; i++) {
		free(c->steps[i].source.text);
		free(c->steps[i].pass.text);
		free(c->steps[i].any_source.text);
		free(c->steps[i].any_pass.text);
	}
	free(c->steps);
}

void classes_compile(struct build *b, const struct policy *policy, const struct plan_set *pods,
	const struct addr *egress, uint8_t version, struct plan_set *partners,
	struct plan_set *blocks)
{
	size_t n = policy_n_sections(policy);
	struct classes c = {.build = b,
		.pods = pods,
		.egress = egress,
		.version = version,
		.partners = partners,
		.blocks = blocks,
		.steps = calloc(n + 1, sizeof(*c.steps))};
	bool ok = c.steps && !b->failed;

	for (size_t i = 0; ok && i < n; i++)
		ok = add_section(&c, policy_section(policy, i));
	if (!ok || c.n_pieces == 0)
		goto out;
	qsort(c.pieces, c.n_pieces, sizeof(*c.pieces), by_place);
	c.stack = calloc(c.n_pieces, sizeof(struct piece *));
	c.active = calloc(c.n_pieces, sizeof(*c.active));
	c.source = calloc(c.n_pieces + 1, sizeof(struct plan_rule *));
	c.pass = calloc(c.n_pieces + 1, sizeof(struct plan_rule *));
	ok = c.stack && c.active && c.source && c.pass;
	if (ok)
		walk(&c);
	build_set_finish(partners);
	build_set_finish(blocks);
out:
	if (!ok)
		b->failed = true;
	free(c.stack);
	free(c.active);
	free(c.source);
	free(c.pass);
	free(c.pieces);
	free_steps(&c, n);
}
