/*
 * plan.c - the complete kernel state that a policy asks for.
 *
 *     capture      web connections of captured groups are the proxy's (capture.c)
 *     prerouting   a pod's packet is marked, so that routing lets it pass; the first one of a flow
 *                  gets its class: not excluded → map by destination → the sections there, in file
 *                  order → the fallback.  After DNAT, so that a service's backends are seen.
 *                  Answers to flows that are forgotten end here (answers.c)
 *     input        no new connections from outside to dedicated egress addresses
 *     forward      the mark goes: other tables and tunnels never see it
 *     translate    class → egress address; before any masquerade, because the chain that
 *                  binds a connection first wins
 *     guard        after all translation: the source address is one of the class's, or the packet
 *                  does not leave.  The first packet of a flow takes the way through `fresh`, which
 *                  notes that it was here: see backstop.h
 *
 * The networks of pods stand in rules as constants, not in a set: they are few, and a set may be
 * seen empty for a moment while the kernel takes up a transaction.
 *
 * The maps by destination and their chains are made in ranges.c.
 */
#include "nat/plan.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <stdlib.h>
#include <string.h>

#include "nat/answers.h"
#include "nat/build.h"
#include "nat/capture.h"
#include "nat/classes.h"
#include "nat/parts.h"
#include "nat/pools.h"
#include "nat/ranges.h"
#include "nat/recover.h"

const struct plan_key_info plan_keys[PLAN_N_KEYS] = {
	[PLAN_KEY_IPV4] = {"ipv4_addr", 7, 0, 4, 1, 2},
	[PLAN_KEY_IPV6] = {"ipv6_addr", 8, 0, 16, 1, 2},
	[PLAN_KEY_PROTOCOL] = {"inet_proto", 12, 0, 1, 1, 2},
	[PLAN_KEY_PORT] = {"inet_service", 13, 0, 2, 1, 2},
	[PLAN_KEY_CLASS] = {"mark", 19, 4, 0, 0, 1},
	[PLAN_KEY_NUMBER] = {"classid", 23, 4, 0, 0, 1},
	[PLAN_KEY_CLASS_IPV4] = {"mark . ipv4_addr", 19 << 6 | 7, 4, 4, 1, 0},
	[PLAN_KEY_CLASS_IPV6] = {"mark . ipv6_addr", 19 << 6 | 8, 4, 16, 1, 0},
	[PLAN_KEY_PAIR4] = {"ipv4_addr . ipv4_addr", 7 << 6 | 7, 0, 4, 2, 0},
	[PLAN_KEY_PAIR6] = {"ipv6_addr . ipv6_addr", 8 << 6 | 8, 0, 16, 2, 0},
};

const struct plan_hook_info plan_hooks[] = {
	[PLAN_CAPTURE] = {"nat", "prerouting", NF_INET_PRE_ROUTING},
	[PLAN_PREROUTING] = {"filter", "prerouting", NF_INET_PRE_ROUTING},
	[PLAN_INPUT] = {"filter", "input", NF_INET_LOCAL_IN},
	[PLAN_FORWARD] = {"filter", "forward", NF_INET_FORWARD},
	[PLAN_TRANSLATE] = {"nat", "postrouting", NF_INET_POST_ROUTING},
	[PLAN_GUARD] = {"filter", "postrouting", NF_INET_POST_ROUTING},
};

/* What one version adds to the chains that both share. */
struct half {
	struct build *build;
	const struct plan_facts *facts;
	const struct policy *policy;
	uint8_t version;
	struct plan_set *exclude, *hold, *sections, *ok, *notes;
	struct plan_set *steer, *steered; /* NULL: there are no other gateways */
	struct plan_chain *from_pod, *classify, *raw, *refuse, *leave;
};

struct shared {
	struct plan_chain *prerouting, *input, *forward, *translate, *guard, *fresh, *judge;
	struct plan_chain *capture; /* NULL: nothing is captured here */
	struct plan_set *pools;
};

static const char *name_of(const struct half *h, const char *name, char out[PLAN_NAME])
{
	snprintf(out, PLAN_NAME, "%s%u", name, h->version);
	return out;
}

static struct plan_set *half_set(struct half *h, const char *name, enum plan_key key4,
	enum plan_key key6, enum plan_kind kind)
{
	char full[PLAN_NAME];

	return build_set(h->build, name_of(h, name, full), h->version == 4 ? key4 : key6, kind);
}

static struct plan_chain *half_chain(struct half *h, const char *name)
{
	char full[PLAN_NAME];

	return build_chain(h->build, name_of(h, name, full), PLAN_NO_HOOK, 0);
}

static bool is_version(const struct addr *addr, uint8_t version)
{
	return addr_is_v4(addr) == (version == 4);
}

static bool any_pod_has(const struct plan_facts *facts, uint8_t version)
{
	for (size_t i = 0; i < facts->n_pods; i++)
		if (cidr_is_v4(&facts->pods[i]) == (version == 4))
			return true;
	return false;
}

static int by_address(const void *a, const void *b)
{
	return memcmp(&((const struct plan_address *)a)->addr,
		&((const struct plan_address *)b)->addr, sizeof(struct addr));
}

bool plan_address_is_in(const struct plan_address *addresses, size_t n, const struct addr *addr)
{
	struct plan_address key = {.addr = *addr};

	return n > 0 && bsearch(&key, addresses, n, sizeof(key), by_address);
}

static struct plan_step set_mark(const struct half *h, bool pass)
{
	uint32_t mask = h->facts->mark_mask;

	return (struct plan_step){
		.op = PLAN_SET_MARK, .number = pass ? mask & -mask : 0, .other = mask};
}

static struct plan_step set_class(const struct half *h, uint32_t class)
{
	return class_step(h->build->plan, class_mark(h->build->plan, class));
}

static struct plan_step classed(const struct half *h, enum plan_op op)
{
	return (struct plan_step){.op = op, .other = h->build->plan->class_mask};
}

/* The class, and whether the guard has still to judge. */
static struct plan_step judged(const struct half *h, enum plan_op op)
{
	return (struct plan_step){.op = op, .other = h->facts->ct_mark_mask};
}

/* What has a class goes on to the chain that knows whether to another gateway. */
static struct plan_step go_on(const struct half *h)
{
	return h->leave ? (struct plan_step){.op = PLAN_GOTO, .chain = h->leave}
			: (struct plan_step){.op = PLAN_ACCEPT};
}

static bool make_half(struct half *h)
{
	h->exclude = half_set(h, "exclude", PLAN_KEY_IPV4, PLAN_KEY_IPV6, PLAN_INTERVAL);
	h->hold = half_set(h, "hold", PLAN_KEY_IPV4, PLAN_KEY_IPV6, PLAN_INTERVAL);
	h->sections = half_set(h, "sections", PLAN_KEY_IPV4, PLAN_KEY_IPV6, PLAN_INTERVAL);
	h->ok = half_set(h, "ok", PLAN_KEY_CLASS_IPV4, PLAN_KEY_CLASS_IPV6, PLAN_HASH);
	h->notes = half_set(h, "leaks", PLAN_KEY_PAIR4, PLAN_KEY_PAIR6, PLAN_DYNAMIC);
	h->from_pod = half_chain(h, "from_pod");
	h->classify = half_chain(h, "classify");
	h->raw = half_chain(h, "raw");
	h->refuse = half_chain(h, "refuse");
	if (h->facts->n_gateways > 0) {
		h->steer = half_set(h, "steer", PLAN_KEY_CLASS, PLAN_KEY_CLASS, PLAN_HASH);
		h->steered =
			half_set(h, "steered", PLAN_KEY_CLASS_IPV4, PLAN_KEY_CLASS_IPV6, PLAN_HASH);
		h->leave = half_chain(h, "leave");
	}
	if (h->build->failed)
		return false;
	h->sections->map = true;
	h->exclude->held = h->sections->held = true;
	h->ok->guard = true;
	if (h->steer) {
		h->steer->map = true;
		h->steered->guard = true;
	}
	h->notes->timeout = PLAN_NOTE_TIMEOUT;
	build_cidrs(h->build, h->exclude, h->facts->pods, h->facts->n_pods, h->version);
	build_cidrs(h->build, h->exclude, h->facts->exclude, h->facts->n_exclude, h->version);
	build_set_finish(h->exclude);
	return true;
}

/* What no section named. */
static void put_fallback(struct half *h)
{
	bool egress = false;

	for (size_t i = 0; i < h->facts->n_egress; i++)
		egress = egress || is_version(&h->facts->egress[i], h->version);
	if (h->facts->fallback == PLAN_LOCAL)
		build_rule(h->build, h->classify, 0,
			STEPS(set_class(h, CLASS_LOCAL), {.op = PLAN_ACCEPT}));
	else if (h->facts->fallback == PLAN_GATEWAY && egress)
		build_rule(h->build, h->classify, 0, STEPS(set_class(h, CLASS_GATEWAY), go_on(h)));
	else
		build_rule(h->build, h->classify, 0,
			STEPS({.op = PLAN_COUNT,
				      .name = build_counter(
					      h->build, "default", "default-egress", -1)},
				{.op = PLAN_REJECT}));
}

static bool is_known_device(const struct half *h, size_t i)
{
	size_t v = h->version == 6;

	for (size_t j = 0; j < i; j++)
		if (h->facts->gateways[j].device[v] &&
			strcmp(h->facts->gateways[j].device[v], h->facts->gateways[i].device[v]) ==
				0)
			return true;
	return false;
}

/* Where packets of a class part.  What another node has steered here is not sent on: should two
 * take each other for the owner, their packets end here.  Answers take the mark as well: the
 * reverse path look-up of rp_filter then finds the device that they come in at. */
static void put_leave(struct half *h, struct shared *s)
{
	struct build *b = h->build;
	struct plan_step steer = classed(h, PLAN_CLASS_MAP);
	size_t v = h->version == 6;

	steer.set = h->steer;
	for (size_t i = 0; i < h->facts->n_gateways; i++)
		if (h->facts->gateways[i].device[v] && !is_known_device(h, i))
			build_rule(b, h->leave, 0,
				STEPS({.op = PLAN_ORIGINAL},
					{.op = PLAN_FROM_DEVICE,
						.name = build_text(
							b, h->facts->gateways[i].device[v])},
					{.op = PLAN_ACCEPT}));
	build_rule(b, h->leave, 0, STEPS(steer));
	build_rule(b, h->leave, 0, STEPS({.op = PLAN_ACCEPT}));
	build_rule(b, s->prerouting, h->version,
		STEPS({.op = PLAN_VERSION}, classed(h, PLAN_CLASSED), set_mark(h, true),
			{.op = PLAN_GOTO, .chain = h->leave}));
}

/* Of a packet without a flow nothing can be noted for the guard, so it does not get that far. */
static void put_unknown(struct half *h)
{
	build_rule(h->build, h->from_pod, 0,
		STEPS({.op = PLAN_UNKNOWN}, {.op = PLAN_TO_UNICAST},
			{.op = PLAN_GOTO, .chain = h->raw}));
}

static void put_classification(struct half *h, struct shared *s)
{
	struct build *b = h->build;

	if (h->leave)
		put_leave(h, s);

	for (size_t i = 0; i < h->facts->n_pods; i++)
		if (cidr_is_v4(&h->facts->pods[i]) == (h->version == 4))
			build_rule(b, s->prerouting, h->version,
				STEPS({.op = PLAN_FROM_NET, .net = h->facts->pods[i]},
					{.op = PLAN_GOTO, .chain = h->from_pod}));
	answers_put(b, h->policy, h->facts, h->version, h->exclude, s->prerouting);
	for (size_t i = 0; i < h->facts->n_pods; i++)
		if (cidr_is_v4(&h->facts->pods[i]) == (h->version == 4))
			build_rule(b, s->prerouting, h->version,
				STEPS({.op = PLAN_TO_NET, .net = h->facts->pods[i]},
					set_mark(h, true), {.op = PLAN_ACCEPT}));
	build_rule(b, h->from_pod, 0, STEPS(set_mark(h, true)));
	put_unknown(h);
	build_rule(b, h->from_pod, 0,
		STEPS({.op = PLAN_ORIGINAL}, {.op = PLAN_GOTO, .chain = h->classify}));
	build_rule(b, h->classify, h->version,
		STEPS({.op = PLAN_TO_SET, .set = h->exclude}, {.op = PLAN_ACCEPT}));
	build_rule(b, h->classify, 0, STEPS({.op = PLAN_TO_LOCAL}, {.op = PLAN_ACCEPT}));
	build_rule(b, h->classify, h->version,
		STEPS({.op = PLAN_TO_SET, .set = h->hold}, {.op = PLAN_DROP}));
	capture_put(b, h->policy, h->facts, h->version,
		&(struct capture_way){h->exclude, h->classify, go_on(h)}, &s->capture);
	build_rule(b, h->classify, h->version, STEPS({.op = PLAN_TO_MAP, .set = h->sections}));
	put_fallback(h);
}

/* What may leave.  To another gateway packets of pods go as they are, and only that way.  A flow
 * that has not been judged has no pair. */
static void put_pairs(struct half *h, struct plan_chain *chain)
{
	struct plan_step source = judged(h, PLAN_CLASS_SOURCE), hop = judged(h, PLAN_CLASS_HOP);

	source.set = h->ok;
	hop.set = h->steered;
	build_rule(h->build, chain, h->version, STEPS(source, {.op = PLAN_ACCEPT}));
	for (size_t i = 0; h->steered && i < h->facts->n_pods; i++)
		if (cidr_is_v4(&h->facts->pods[i]) == (h->version == 4))
			build_rule(h->build, chain, h->version,
				STEPS({.op = PLAN_FROM_NET, .net = h->facts->pods[i]}, hop,
					{.op = PLAN_ACCEPT}));
}

/* A source that no pod has does not pass from pods' devices.  Looked for here, behind all that pods
 * and answers to them take: in postrouting what a tunnel has wrapped comes from such a device too.
 * With PLAN_LOCAL such packets are nobody's business. */
static void put_forged(struct half *h, struct shared *s)
{
	for (size_t i = 0; h->facts->fallback != PLAN_LOCAL && i < h->facts->n_devices; i++)
		build_rule(h->build, s->prerouting, h->version,
			STEPS({.op = PLAN_VERSION},
				{.op = PLAN_FROM_DEVICE,
					.name = build_text(h->build, h->facts->devices[i])},
				{.op = PLAN_TO_UNICAST}, {.op = PLAN_GOTO, .chain = h->raw}));
}

static void put_guard(struct half *h, struct shared *s)
{
	struct build *b = h->build;

	put_pairs(h, s->guard);
	put_pairs(h, s->fresh);
	for (size_t i = 0; i < h->facts->n_pods; i++)
		if (cidr_is_v4(&h->facts->pods[i]) == (h->version == 4))
			build_rule(b, s->judge, h->version,
				STEPS({.op = PLAN_FROM_NET, .net = h->facts->pods[i]},
					{.op = PLAN_GOTO, .chain = h->raw}));
	build_rule(b, s->judge, h->version,
		STEPS({.op = PLAN_VERSION}, classed(h, PLAN_CLASSED),
			{.op = PLAN_GOTO, .chain = h->refuse}));
	build_rule(b, h->raw, h->version,
		STEPS({.op = PLAN_TO_SET, .set = h->exclude}, {.op = PLAN_ACCEPT}));
	build_rule(b, h->raw, h->version, STEPS({.op = PLAN_NOTE, .set = h->notes}));
	build_rule(b, h->refuse, h->version, STEPS({.op = PLAN_NOTE_ORIGIN, .set = h->notes}));
	for (int i = 0; i < 2; i++) {
		struct plan_chain *chain = i ? h->refuse : h->raw;

		/* The next packet is looked at afresh.  Not where it would be told to the gateway
		 * that has the address, whose flow it is now. */
		if (chain == h->raw || !h->facts->flow_sync)
			build_rule(b, chain, 0, STEPS(set_class(h, 0)));
		build_rule(b, chain, 0, STEPS({.op = PLAN_DROP}));
	}
}

static bool any_dedicated(const struct plan_facts *facts, uint8_t version)
{
	for (size_t i = 0; i < facts->n_addresses; i++)
		if (facts->addresses[i].dedicated && is_version(&facts->addresses[i].addr, version))
			return true;
	for (size_t i = 0; i < facts->n_absent; i++)
		if (is_version(&facts->absent[i], version))
			return true;
	return false;
}

static const struct plan_set *inbound_ports(struct build *b, const struct plan_facts *facts)
{
	struct plan_set *set = build_set(b, "inbound_ports", PLAN_KEY_PORT, PLAN_INTERVAL);

	for (size_t i = 0; i < facts->n_inbound; i++) {
		const struct ports *p = &facts->inbound[i];
		struct addr first = {{[14] = (uint8_t)(p->first >> 8), [15] = (uint8_t)p->first}};
		struct addr last = {{[14] = (uint8_t)(p->last >> 8), [15] = (uint8_t)p->last}};

		build_range(b, set, &first, &last, NULL);
	}
	build_set_finish(set);
	return set;
}

/* Who does not know yet that the address has moved sends answers here, which the node would
 * forward. Conntrack would take them for a connection from outside, and the port would not be free
 * for the pod's when the address comes back. */
static void put_stray(struct half *h, struct shared *s, const struct plan_set *egress)
{
	struct plan_chain *stray = half_chain(h, "stray");

	build_rule(h->build, s->prerouting, h->version,
		STEPS({.op = PLAN_TO_SET, .set = egress}, {.op = PLAN_GOTO, .chain = stray}));
	build_rule(h->build, stray, 0, STEPS({.op = PLAN_TO_LOCAL}, {.op = PLAN_ACCEPT}));
	build_rule(h->build, stray, 0, STEPS({.op = PLAN_DROP}));
}

/* Addresses that partners know: what listens on the node is not for them.  Nor is the node's TCP:
 * an address that comes here from another gateway brings the middle of connections, which it would
 * reset before egret has seen the address. */
static void put_inbound(struct half *h, struct shared *s, struct plan_chain **inbound)
{
	static const uint8_t ported[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct build *b = h->build;
	struct plan_set *set;

	if (!any_dedicated(h->facts, h->version))
		return;
	set = half_set(h, "dedicated", PLAN_KEY_IPV4, PLAN_KEY_IPV6, PLAN_INTERVAL);
	for (size_t i = 0; i < h->facts->n_addresses; i++) {
		const struct plan_address *a = &h->facts->addresses[i];

		if (a->dedicated && is_version(&a->addr, h->version))
			build_range(b, set, &a->addr, &a->addr, NULL);
	}
	for (size_t i = 0; i < h->facts->n_absent; i++)
		if (is_version(&h->facts->absent[i], h->version))
			build_range(b, set, &h->facts->absent[i], &h->facts->absent[i], NULL);
	build_set_finish(set);
	if (!*inbound) {
		*inbound = build_chain(b, "inbound", PLAN_NO_HOOK, 0);
		build_rule(b, *inbound, 0, STEPS({.op = PLAN_KNOWN}, {.op = PLAN_ACCEPT}));
		capture_put_inbound(b, h->facts, *inbound);
		build_rule(b, *inbound, 0,
			STEPS({.op = PLAN_FROM_DEVICE, .name = "lo"}, {.op = PLAN_ACCEPT}));
		build_rule(b, *inbound, 0,
			STEPS({.op = PLAN_PROTOCOL, .number = IPPROTO_ICMP}, {.op = PLAN_ACCEPT}));
		build_rule(b, *inbound, 0,
			STEPS({.op = PLAN_PROTOCOL, .number = IPPROTO_ICMPV6},
				{.op = PLAN_ACCEPT}));
		if (h->facts->n_inbound > 0) {
			const struct plan_set *ports = inbound_ports(b, h->facts);

			for (size_t i = 0; i < COUNT_OF(ported); i++)
				build_rule(b, *inbound, 0,
					STEPS({.op = PLAN_PROTOCOL, .number = ported[i]},
						{.op = PLAN_PORT_SET, .set = ports},
						{.op = PLAN_ACCEPT}));
		}
		build_rule(b, *inbound, 0,
			STEPS({.op = PLAN_COUNT,
				      .name = build_counter(b, "inbound", "inbound", -1)},
				{.op = PLAN_DROP}));
	}
	build_rule(b, s->input, h->version,
		STEPS({.op = PLAN_TO_SET, .set = set}, {.op = PLAN_GOTO, .chain = *inbound}));
	put_stray(h, s, set);
}

/* ---- the whole ---- */

static void make_shared(struct build *b, const struct plan_facts *f, struct shared *s)
{
	s->pools = build_set(b, "pools", PLAN_KEY_CLASS, PLAN_HASH);
	s->prerouting = build_chain(b, "prerouting", PLAN_PREROUTING, f->prerouting_priority);
	s->input = build_chain(b, "input", PLAN_INPUT, f->forward_priority);
	s->forward = build_chain(b, "forward", PLAN_FORWARD, f->forward_priority);
	s->translate = build_chain(b, "translate", PLAN_TRANSLATE, f->translate_priority);
	s->guard = build_chain(b, "guard", PLAN_GUARD, f->guard_priority);
	s->fresh = build_chain(b, "fresh", PLAN_NO_HOOK, 0);
	s->judge = build_chain(b, "judge", PLAN_NO_HOOK, 0);
	if (!b->failed)
		s->pools->map = true;
}

/* Both versions take the same steps in these.  What has a class is most of all packets, in both
 * directions: it passes prerouting after one test. */
static void put_first(struct half *h, struct shared *s)
{
	struct build *b = h->build;
	struct plan_step pools = classed(h, PLAN_CLASS_MAP);
	struct plan_step local = classed(h, PLAN_CLASS);

	pools.set = s->pools;
	local.number = class_mark(b->plan, CLASS_LOCAL);
	if (h->facts->n_gateways == 0)
		build_rule(b, s->prerouting, 0,
			STEPS(classed(h, PLAN_CLASSED), set_mark(h, true), {.op = PLAN_ACCEPT}));
	build_rule(b, s->forward, 0, STEPS(set_mark(h, false)));
	build_rule(b, s->input, 0, STEPS(set_mark(h, false)));
	build_rule(b, s->translate, 0, STEPS(pools));
	build_rule(b, s->guard, 0, STEPS({.op = PLAN_REPLY}, {.op = PLAN_ACCEPT}));
	build_rule(b, s->fresh, 0, STEPS({.op = PLAN_SET_CLASS, .other = b->plan->unjudged}));
	if (h->facts->fallback == PLAN_LOCAL)
		build_rule(b, s->judge, 0, STEPS(local, {.op = PLAN_ACCEPT}));
}

static bool copy_pods(struct plan *plan, const struct plan_facts *facts)
{
	plan->pods = calloc(facts->n_pods + 1, sizeof(*plan->pods));
	if (!plan->pods)
		return false;
	for (size_t i = 0; i < facts->n_pods; i++)
		plan->pods[plan->n_pods++] = facts->pods[i];
	return true;
}

struct plan *plan_new(const struct policy *policy, const struct plan_facts *facts)
{
	struct pool_sets sets[2] = {{0}};
	struct parts_place places[2] = {{0}};
	struct plan_chain *inbound = NULL;
	uint32_t *marks = NULL;
	struct shared s = {0};
	struct build b;

	build_begin(&b, facts->table);
	if (!b.failed) {
		b.plan->mark_mask = facts->mark_mask;
		b.plan->unjudged = class_unjudged(facts->ct_mark_mask);
		b.plan->class_mask = facts->ct_mark_mask ^ b.plan->unjudged;
		b.failed = !copy_pods(b.plan, facts);
		marks = classes_marks(&b, policy, facts->fallback);
	}
	make_shared(&b, facts, &s);
	if (!b.failed)
		put_first(&(struct half){.build = &b, .facts = facts}, &s);
	for (uint8_t version = 4; version <= 6 && !b.failed; version += 2) {
		struct half h = {.build = &b, .facts = facts, .policy = policy, .version = version};

		put_inbound(&h, &s, &inbound);
		if (!any_pod_has(facts, version) || !make_half(&h))
			continue;
		places[version == 6] = (struct parts_place){h.sections, h.classify};
		sets[version == 6] = (struct pool_sets){h.ok, h.steer, h.steered};
		put_classification(&h, &s);
		put_forged(&h, &s);
		put_guard(&h, &s);
		ranges_compile(
			&(struct outcomes){&b, facts, marks, version, h.leave}, policy, h.sections);
	}
	parts_put(&b, places, s.translate);
	if (!b.failed) {
		pools_put(&b, policy, facts, s.pools, sets);
		recover_put(&b, policy, facts);
		build_rule(&b, s.guard, 0,
			STEPS({.op = PLAN_CLASSED, .other = b.plan->unjudged},
				{.op = PLAN_GOTO, .chain = s.fresh}));
		build_rule(&b, s.guard, 0, STEPS({.op = PLAN_GOTO, .chain = s.judge}));
		build_rule(&b, s.fresh, 0, STEPS({.op = PLAN_GOTO, .chain = s.judge}));
	}
	free(marks);
	return build_finish(&b);
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->n_sets; i++)
		build_set_drop(plan->sets[i]);
	for (size_t i = 0; i < plan->n_chains; i++) {
		struct plan_chain *chain = plan->chains[i];

		while (chain->n_rules > 0)
			build_rule_fini(&chain->rules[--chain->n_rules]);
		free(chain->rules);
		free(chain);
	}
	for (size_t i = 0; i < plan->n_counters; i++)
		free(plan->counters[i]);
	free(plan->sets);
	free(plan->sets_by_name);
	free(plan->chains);
	free(plan->chains_by_name);
	free(plan->counters);
	free(plan->classes);
	free(plan->spares);
	free(plan->places);
	free(plan->place_sections);
	free(plan->pods);
	for (size_t i = 0; i < plan->n_texts; i++)
		free(plan->texts[i]);
	free(plan->texts);
	free(plan->table);
	free(plan);
}

/* Sets and chains begin with their names. */
static int name_order(const void *name, const void *pointer)
{
	return strcmp(name, *(const char *const *)pointer);
}

static const void *named(void *pointers, size_t n, const char *name)
{
	void **found = n > 0 ? bsearch(name, pointers, n, sizeof(*found), name_order) : NULL;

	return found ? *found : NULL;
}

const struct plan_set *plan_set(const struct plan *plan, const char *name)
{
	return named(plan->sets_by_name, plan->n_sets, name);
}

const struct plan_chain *plan_chain(const struct plan *plan, const char *name)
{
	return named(plan->chains_by_name, plan->n_chains, name);
}

const struct plan_counter *plan_counter(const struct plan *plan, const char *name)
{
	return named(plan->counters, plan->n_counters, name);
}

uint32_t plan_set_flags(const struct plan_set *set)
{
	static const uint32_t flags[] = {
		[PLAN_INTERVAL] = NFT_SET_INTERVAL, [PLAN_HASH] = 0, [PLAN_DYNAMIC] = NFT_SET_EVAL};

	return flags[set->kind] | (set->map ? NFT_SET_MAP : 0) |
	       (set->timeout ? NFT_SET_TIMEOUT : 0);
}

uint32_t plan_set_data(const struct plan_set *set)
{
	if (!set->map)
		return 0;
	return set->numbers ? plan_keys[PLAN_KEY_NUMBER].number : (uint32_t)NFT_DATA_VERDICT;
}

static int mark_order(const void *key, const void *class)
{
	uint32_t a = *(const uint32_t *)key, b = ((const struct plan_class *)class)->mark;

	return (a > b) - (a < b);
}

const struct plan_class *plan_class(const struct plan *plan, uint32_t mark)
{
	return plan->n_classes == 0 ? NULL
				    : bsearch(&mark, plan->classes, plan->n_classes,
					      sizeof(*plan->classes), mark_order);
}
