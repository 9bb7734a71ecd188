/*
 * outcome.c - what one section does to the packets for its networks, as rules.
 */
#include "nat/outcome.h"

#include <stdlib.h>
#include <string.h>

#include "nat/classes.h"

#define INLINE_RULES 4 /* more combinations of sources and ports than this stand in sets */

static bool is_version(const struct outcomes *o, const struct cidr *cidr)
{
	return cidr_is_v4(cidr) == (o->version == 4);
}

/* Two networks are nested or disjoint. */
static bool cidr_within(const struct cidr *inner, const struct cidr *outer)
{
	return inner->bits >= outer->bits && cidr_contains(outer, &inner->addr);
}

/* Does `from` leave no pod of the version out? */
static bool covers_pods(const struct outcomes *o, const struct cidr_list *from)
{
	for (size_t i = 0; i < o->facts->n_pods; i++) {
		bool covered = !is_version(o, &o->facts->pods[i]);

		for (size_t j = 0; j < from->n && !covered; j++)
			covered = cidr_within(&o->facts->pods[i], &from->at[j]);
		if (!covered)
			return false;
	}
	return true;
}

/* Is there a pod in the network? */
static bool touches_pods(const struct outcomes *o, const struct cidr *from)
{
	for (size_t i = 0; i < o->facts->n_pods; i++)
		if (is_version(o, &o->facts->pods[i]) &&
			(cidr_within(from, &o->facts->pods[i]) ||
				cidr_within(&o->facts->pods[i], from)))
			return true;
	return false;
}

static struct addr number(unsigned n)
{
	return (struct addr){{[14] = (uint8_t)(n >> 8), [15] = (uint8_t)n}};
}

/* The protocols that have ports. */
static const struct plan_set *share_transports(struct outcomes *o)
{
	static const uint8_t transports[] = {
		IPPROTO_TCP, IPPROTO_UDP, IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_UDPLITE};
	struct plan_set *set = build_set(o->build, NULL, PLAN_KEY_PROTOCOL, PLAN_INTERVAL);

	for (size_t i = 0; i < COUNT_OF(transports); i++) {
		struct addr protocol = number(transports[i]);

		build_range(o->build, set, &protocol, &protocol, NULL);
	}
	return build_share_set(o->build, set, "protocols");
}

static const struct plan_set *share_ports(struct outcomes *o, const struct section *s)
{
	struct plan_set *set = build_set(o->build, NULL, PLAN_KEY_PORT, PLAN_INTERVAL);

	for (size_t i = 0; i < s->n_ports; i++) {
		struct addr first = number(s->ports[i].first), last = number(s->ports[i].last);

		build_range(o->build, set, &first, &last, NULL);
	}
	return build_share_set(o->build, set, "ports");
}

static const struct plan_set *share_from(struct outcomes *o, const struct cidr_list *from)
{
	bool v4 = o->version == 4;
	struct plan_set *set =
		build_set(o->build, NULL, v4 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6, PLAN_INTERVAL);

	build_cidrs(o->build, set, from->at, from->n, o->version);
	return build_share_set(o->build, set, v4 ? "from4" : "from6");
}

/* The networks of `from` with a pod of the version in them; at[] has room for all. */
static struct cidr_list pods_in(const struct outcomes *o, const struct section *s, struct cidr *at)
{
	struct cidr_list out = {at, 0};

	for (size_t i = 0; i < s->from.n; i++)
		if (is_version(o, &s->from.at[i]) && touches_pods(o, &s->from.at[i]))
			out.at[out.n++] = s->from.at[i];
	return out;
}

static void add_rule(struct outcomes *o, struct outcome *r, const struct plan_step *steps)
{
	if (r->n_rules == r->room) {
		size_t room = r->room ? 2 * r->room : 2;
		struct plan_rule *grown = reallocarray(r->rules, room, sizeof(*grown));

		if (!grown) {
			o->build->failed = true;
			return;
		}
		r->rules = grown;
		r->room = room;
	}
	r->rules[r->n_rules++] = build_rule_of(o->build, o->version, steps);
}

/* Appends a step to a list of them. */
static void put(struct plan_step *steps, struct plan_step step)
{
	while (steps->op != PLAN_END)
		steps++;
	*steps = step;
}

static void put_all(struct plan_step *steps, const struct plan_step *more)
{
	for (; more->op != PLAN_END; more++)
		put(steps, *more);
}

static struct plan_step protocol_step(struct outcomes *o, const struct section *s)
{
	if (s->protocol != PROTOCOL_ANY)
		return (struct plan_step){.op = PLAN_PROTOCOL,
			.number = s->protocol == PROTOCOL_TCP ? IPPROTO_TCP : IPPROTO_UDP};
	if (s->n_ports > 0)
		return (struct plan_step){.op = PLAN_PROTOCOL_SET, .set = share_transports(o)};
	return (struct plan_step){.op = PLAN_END};
}

/* One rule for each combination of a source network and a range of ports when they are few: the
 * kernel looks sets up one by one, so that many of them take long.  Else one rule, with sets. */
static void add_matches(struct outcomes *o, const struct section *s, const struct cidr_list *from,
	const struct plan_step *outcome, struct outcome *r)
{
	size_t n_from = from->n ? from->n : 1, n_ports = s->n_ports ? s->n_ports : 1;
	bool few = n_from * n_ports <= INLINE_RULES;
	struct plan_step protocol = protocol_step(o, s);

	for (size_t i = 0; i < (few ? n_from : 1); i++)
		for (size_t j = 0; j < (few ? n_ports : 1); j++) {
			struct plan_step steps[PLAN_MAX_STEPS] = {0};

			if (from->n > 0 && few)
				put(steps, (struct plan_step){
						   .op = PLAN_FROM_NET, .net = from->at[i]});
			else if (from->n > 0)
				put(steps, (struct plan_step){.op = PLAN_FROM_SET,
						   .set = share_from(o, from)});
			put(steps, protocol);
			if (s->n_ports > 0 && few)
				put(steps, (struct plan_step){.op = PLAN_PORTS,
						   .number = s->ports[j].first,
						   .other = s->ports[j].last});
			else if (s->n_ports > 0)
				put(steps, (struct plan_step){
						   .op = PLAN_PORT_SET, .set = share_ports(o, s)});
			put_all(steps, outcome);
			add_rule(o, r, steps);
		}
}

static const char *counter(struct outcomes *o, const struct section *s, const char *reason)
{
	char name[PLAN_NAME];

	snprintf(name, sizeof(name), "%s.%s",
		s->kind == SECTION_BLOCK                    ? "block"
		: strcmp(reason, "source-connections") == 0 ? "limit"
							    : "partner",
		s->name);
	return build_counter(o->build, name, reason, (int)s->index);
}

static bool has_address(const struct addr *addrs, size_t n, uint8_t version)
{
	for (size_t i = 0; i < n; i++)
		if (addr_is_v4(&addrs[i]) == (version == 4))
			return true;
	return false;
}

static bool has_egress(const struct outcomes *o, const struct section *s)
{
	return s->n_egress > 0 ? has_address(s->egress, s->n_egress, o->version)
			       : has_address(o->facts->egress, o->facts->n_egress, o->version);
}

static const struct plan_set *limit_set(struct outcomes *o, const struct section *s)
{
	char name[PLAN_NAME];
	uint64_t h = build_hash(BUILD_HASH_START, s->name, strlen(s->name));
	bool v4 = o->version == 4;

	/* A set's elements keep the limit that they were made with. */
	snprintf(name, sizeof(name), "limit%u_%012llx_%u", o->version,
		(unsigned long long)h & 0xffffffffffff, s->source_connections);
	return build_set(o->build, name, v4 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6, PLAN_DYNAMIC);
}

/* What becomes of a packet that fits. */
static void outcome_of(struct outcomes *o, const struct section *s, struct plan_step *out)
{
	if (s->kind == SECTION_BLOCK || !has_egress(o, s)) {
		const char *reason = s->kind == SECTION_BLOCK ? "blocked" : "no-egress-address";

		put(out, (struct plan_step){.op = PLAN_COUNT, .name = counter(o, s, reason)});
		put(out, (struct plan_step){.op = PLAN_REJECT});
	} else {
		put(out, class_step(o->build->plan, o->marks[s->index]));
		put(out, o->leave ? (struct plan_step){.op = PLAN_GOTO, .chain = o->leave}
				  : (struct plan_step){.op = PLAN_ACCEPT});
	}
}

static void add_limit(struct outcomes *o, const struct section *s, const struct cidr_list *from,
	struct outcome *r)
{
	struct plan_step over[] = {
		{.op = PLAN_OVER, .set = limit_set(o, s), .number = s->source_connections},
		{.op = PLAN_COUNT, .name = counter(o, s, "source-connections")},
		{.op = PLAN_REJECT}, {.op = PLAN_END}};

	add_matches(o, s, from, over, r);
}

void outcome_init(struct outcome *r, struct outcomes *o, const struct section *s)
{
	struct cidr *at = calloc(s->from.n + 1, sizeof(*at));
	struct plan_step outcome[4] = {0};
	struct cidr_list from = {0};

	if (!at) {
		o->build->failed = true;
		return;
	}
	from = pods_in(o, s, at);
	r->report = s->report;
	r->never = from.n == 0;
	if (covers_pods(o, &from))
		from.n = 0;
	outcome_of(o, s, outcome);
	if (!r->never && s->source_connections > 0 && has_egress(o, s))
		add_limit(o, s, &from, r);
	if (!r->never)
		add_matches(o, s, &from, outcome, r);
	r->always = !r->never && from.n == 0 && s->n_ports == 0 && s->protocol == PROTOCOL_ANY;
	if (s->report)
		r->any = build_rule_of(o->build, o->version, outcome);
	free(at);
}

void outcome_fini(struct outcome *r)
{
	while (r->n_rules > 0)
		build_rule_fini(&r->rules[--r->n_rules]);
	free(r->rules);
	build_rule_fini(&r->any);
	*r = (struct outcome){0};
}
