/*
 * answers.c - partners' answers that another gateway brings here, to flows that this node has
 * forgotten.
 *
 * Such an answer would begin a flow from outside, and the pod's packets would be its answers:
 * nobody's business, with the pod's address.  So it is dropped; the next packet of the pod begins
 * the flow anew, and TCP sends again what was lost.
 *
 *     by a tunnel of the pods     what comes out of it and is not a pod's is an answer: `late`
 *     by the node's own link      nodes, and routers that know the pods' networks, send to pods as
 *                                 well: `direct` lets pass what is no answer, the rest is `late`
 *
 * No answer is what belongs to a known flow; what a service's DNAT on this node made the pod's;
 * what comes from a node; what asks (a SYN; of ICMP conntrack lets nothing else begin a flow).
 */
#include "nat/answers.h"

#include <netinet/in.h>
#include <string.h>

#include "acl/cidrs.h"

struct answers {
	struct build *build;
	const struct plan_facts *facts;
	uint8_t version;
	const struct plan_set *exclude;
	struct plan_chain *prerouting, *late, *direct; /* `direct`: NULL until it is needed */
};

static const struct plan_gateway *gateway_at(const struct answers *a, size_t i)
{
	const struct plan_gateway *g = &a->facts->gateways[i];

	return g->device[a->version == 6] ? g : NULL;
}

static const char *device_at(const struct answers *a, size_t i)
{
	return gateway_at(a, i) ? gateway_at(a, i)->device[a->version == 6] : NULL;
}

static const struct cidr *link_at(const struct answers *a, size_t i)
{
	return gateway_at(a, i) ? &gateway_at(a, i)->link[a->version == 6] : NULL;
}

static bool is_known_device(const struct answers *a, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (device_at(a, j) && strcmp(device_at(a, j), device_at(a, i)) == 0)
			return true;
	return false;
}

static bool is_known_link(const struct answers *a, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (link_at(a, j) && link_at(a, j)->bits == link_at(a, i)->bits &&
			addr_equal(&link_at(a, j)->addr, &link_at(a, i)->addr))
			return true;
	return false;
}

static bool is_pods_device(const struct answers *a, const char *device)
{
	for (size_t i = 0; i < a->facts->n_devices; i++)
		if (strcmp(a->facts->devices[i], device) == 0)
			return true;
	return false;
}

static struct plan_chain *new_chain(const struct answers *a, const char *name)
{
	char full[PLAN_NAME];

	snprintf(full, sizeof(full), "%s%u", name, a->version);
	return build_chain(a->build, full, PLAN_NO_HOOK, 0);
}

static struct plan_step set_mark(const struct answers *a)
{
	uint32_t mask = a->facts->mark_mask;

	return (struct plan_step){.op = PLAN_SET_MARK, .number = mask & -mask, .other = mask};
}

/* ---- by the node's own link ---- */

/* Within a network of the nodes, and not all of it. */
static bool is_near(const struct answers *a, const struct cidr *net)
{
	for (size_t i = 0; i < a->facts->n_gateways; i++)
		if (link_at(a, i) && net->bits > link_at(a, i)->bits &&
			cidr_contains(link_at(a, i), &net->addr))
			return true;
	return false;
}

static void put_near(const struct answers *a, const struct cidr *net, struct plan_set **set)
{
	bool v4 = a->version == 4;
	char name[PLAN_NAME];

	if (!is_near(a, net))
		return;
	snprintf(name, sizeof(name), "near%u", a->version);
	if (!*set)
		*set = build_set(a->build, name, v4 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6, PLAN_INTERVAL);
	build_cidrs(a->build, *set, net, 1, a->version);
}

/* What sections name within the networks of the nodes, as such or by a name: partners, not nodes.
 */
static const struct plan_set *near_partners(const struct answers *a, const struct policy *policy)
{
	struct plan_set *set = NULL;

	for (size_t i = 0; i < policy_n_sections(policy); i++) {
		const struct section *s = policy_section(policy, i);

		for (size_t j = 0; j < s->cidrs.n && s->kind == SECTION_PARTNER; j++)
			put_near(a, &s->cidrs.at[j], &set);
	}
	for (size_t i = 0; i < a->facts->n_learnt; i++)
		put_near(a, &(struct cidr){a->facts->learnt[i].addr, 128}, &set);
	if (set) {
		set->guard = true;
		build_set_finish(set);
	}
	return set;
}

static void put_nodes(const struct answers *a, const struct policy *policy)
{
	const struct plan_set *near = near_partners(a, policy);

	if (near)
		build_rule(a->build, a->direct, a->version,
			STEPS({.op = PLAN_FROM_SET, .set = near},
				{.op = PLAN_GOTO, .chain = a->late}));
	for (size_t i = 0; i < a->facts->n_gateways; i++)
		if (link_at(a, i) && !is_pods_device(a, device_at(a, i)) && !is_known_link(a, i))
			build_rule(a->build, a->direct, a->version,
				STEPS({.op = PLAN_FROM_NET, .net = *link_at(a, i)},
					{.op = PLAN_ACCEPT}));
}

static void make_direct(struct answers *a, const struct policy *policy)
{
	uint32_t icmp = a->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	struct build *b = a->build;

	a->direct = new_chain(a, "direct");
	build_rule(b, a->direct, 0, STEPS(set_mark(a)));
	build_rule(b, a->direct, 0, STEPS({.op = PLAN_KNOWN}, {.op = PLAN_ACCEPT}));
	build_rule(b, a->direct, 0, STEPS({.op = PLAN_DNATTED}, {.op = PLAN_ACCEPT}));
	build_rule(
		b, a->direct, 0, STEPS({.op = PLAN_PROTOCOL, .number = icmp}, {.op = PLAN_ACCEPT}));
	build_rule(b, a->direct, 0,
		STEPS({.op = PLAN_PROTOCOL, .number = IPPROTO_TCP}, {.op = PLAN_SYN},
			{.op = PLAN_ACCEPT}));
	put_nodes(a, policy);
	build_rule(b, a->direct, 0, STEPS({.op = PLAN_GOTO, .chain = a->late}));
}

static void put_direct(struct answers *a, const struct policy *policy, const char *device)
{
	if (!a->direct)
		make_direct(a, policy);
	for (size_t i = 0; i < a->facts->n_pods; i++)
		if (cidr_is_v4(&a->facts->pods[i]) == (a->version == 4))
			build_rule(a->build, a->prerouting, a->version,
				STEPS({.op = PLAN_FROM_DEVICE,
					      .name = build_text(a->build, device)},
					{.op = PLAN_TO_NET, .net = a->facts->pods[i]},
					{.op = PLAN_ORIGINAL},
					{.op = PLAN_GOTO, .chain = a->direct}));
}

/* ---- all ---- */

static void put_tunnel(const struct answers *a, const char *device)
{
	build_rule(a->build, a->prerouting, a->version,
		STEPS({.op = PLAN_VERSION},
			{.op = PLAN_FROM_DEVICE, .name = build_text(a->build, device)},
			{.op = PLAN_ORIGINAL}, {.op = PLAN_GOTO, .chain = a->late}));
}

static void make_late(struct answers *a)
{
	struct build *b = a->build;

	a->late = new_chain(a, "late");
	build_rule(b, a->late, 0, STEPS(set_mark(a)));
	build_rule(b, a->late, a->version,
		STEPS({.op = PLAN_FROM_SET, .set = a->exclude}, {.op = PLAN_ACCEPT}));
	build_rule(b, a->late, 0, STEPS({.op = PLAN_TO_LOCAL}, {.op = PLAN_ACCEPT}));
	build_rule(b, a->late, 0,
		STEPS({.op = PLAN_COUNT, .name = build_counter(b, "late", "late-answer", -1)},
			{.op = PLAN_DROP}));
}

void answers_put(struct build *b, const struct policy *policy, const struct plan_facts *facts,
	uint8_t version, const struct plan_set *exclude, struct plan_chain *prerouting)
{
	struct answers a = {b, facts, version, exclude, prerouting, NULL, NULL};

	for (size_t i = 0; i < facts->n_gateways; i++) {
		const char *device = device_at(&a, i);

		if (!device || is_known_device(&a, i))
			continue;
		if (!a.late)
			make_late(&a);
		if (is_pods_device(&a, device))
			put_tunnel(&a, device);
		else
			put_direct(&a, policy, device);
	}
}
