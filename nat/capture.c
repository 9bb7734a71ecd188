/*
 * capture.c - connections to the web that pods make without a proxy.
 *
 * A redirect before others' DNAT binds the connection; what is excluded from translation (the
 * cluster) or this node's own is left to them.  The connection is then one to this node, which
 * nothing of the rest touches: its destination is local in `classify`, and its answers are
 * answers.  The proxy's own connections begin on the node and never come here.
 */
#include "nat/capture.h"

#include "nat/classes.h"

static const struct {
	const char *set;
	uint16_t port;
} captures[N_CAPTURES] = {
	[CAPTURE_HTTP] = {"captured_http", 80},
	[CAPTURE_HTTPS] = {"captured_https", 443},
};

static bool any_of(const struct cidr_list *list, uint8_t version)
{
	for (size_t i = 0; i < list->n; i++)
		if (cidr_is_v4(&list->at[i]) == (version == 4))
			return true;
	return false;
}

/* Without an address of the version there is nowhere else to go: the proxy says so. */
static bool is_here(const struct plan_facts *facts, uint8_t version)
{
	bool any = false;

	for (size_t i = 0; i < facts->n_egress; i++) {
		if (addr_is_v4(&facts->egress[i]) != (version == 4))
			continue;
		if (plan_address_is_in(facts->addresses, facts->n_addresses, &facts->egress[i]))
			return facts->capture_port > 0;
		any = true;
	}
	return !any && facts->capture_port > 0;
}

static struct plan_chain *capture_chain(struct build *b, const struct plan_facts *facts)
{
	struct plan_chain *chain = build_chain(b, "capture", PLAN_CAPTURE, facts->capture_priority);

	build_rule(b, chain, 0, STEPS({.op = PLAN_TO_LOCAL}, {.op = PLAN_ACCEPT}));
	return chain;
}

static const struct plan_set *sources_of(
	struct build *b, const struct cidr_list *from, const char *name, uint8_t version)
{
	char full[PLAN_NAME];
	struct plan_set *set;

	snprintf(full, sizeof(full), "%s%u", name, version);
	set = build_set(b, full, version == 4 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6, PLAN_INTERVAL);
	if (!set)
		return NULL;
	set->guard = true; /* who is captured before and after an update is so all the time */
	build_cidrs(b, set, from->at, from->n, version);
	build_set_finish(set);
	return set;
}

#define FROM_TO(from, protocol, to)                                                                \
	{.op = PLAN_FROM_SET, .set = (from)}, {.op = PLAN_PROTOCOL, .number = (protocol)},         \
	{                                                                                          \
		.op = PLAN_PORTS, .number = (to), .other = (to)                                    \
	}

/* The first rule of a version is about what stays with others. */
static void put_redirect(struct build *b, const struct plan_facts *facts, uint8_t version,
	const struct plan_set *exclude, const struct plan_set *from, uint16_t port,
	struct plan_chain **chain)
{
	size_t n;

	if (!*chain)
		*chain = capture_chain(b, facts);
	n = b->failed ? 0 : (*chain)->n_rules;
	if (n == 0 || (*chain)->rules[n - 1].version != version)
		build_rule(b, *chain, version,
			STEPS({.op = PLAN_TO_SET, .set = exclude}, {.op = PLAN_ACCEPT}));
	build_rule(b, *chain, version,
		STEPS(FROM_TO(from, IPPROTO_TCP, port),
			{.op = PLAN_REDIRECT, .number = facts->capture_port}));
}

static void put_class(struct build *b, uint8_t version, const struct capture_way *way,
	const struct plan_set *from, uint16_t port)
{
	build_rule(b, way->classify, version,
		STEPS(FROM_TO(from, IPPROTO_TCP, port),
			class_step(b->plan, class_mark(b->plan, CLASS_GATEWAY)), way->go_on));
}

void capture_put(struct build *b, const struct policy *policy, const struct plan_facts *facts,
	uint8_t version, const struct capture_way *way, struct plan_chain **chain)
{
	for (int i = 0; i < N_CAPTURES && !b->failed; i++) {
		const struct cidr_list *list = policy_captured(policy, (enum capture)i);
		uint16_t port = captures[i].port;
		const struct plan_set *from;

		if (!any_of(list, version))
			continue;
		from = sources_of(b, list, captures[i].set, version);
		if (is_here(facts, version))
			put_redirect(b, facts, version, way->exclude, from, port, chain);
		else
			put_class(b, version, way, from, port);
		if (i == CAPTURE_HTTPS)
			build_rule(b, way->classify, version,
				STEPS(FROM_TO(from, IPPROTO_UDP, port),
					{.op = PLAN_COUNT,
						.name = build_counter(b, "quic", "quic", -1)},
					{.op = PLAN_REJECT}));
	}
}

void capture_put_inbound(
	struct build *b, const struct plan_facts *facts, struct plan_chain *inbound)
{
	if (facts->capture_port > 0)
		build_rule(b, inbound, 0,
			STEPS({.op = PLAN_PROTOCOL, .number = IPPROTO_TCP},
				{.op = PLAN_PORTS,
					.number = facts->capture_port,
					.other = facts->capture_port},
				{.op = PLAN_DNATTED}, {.op = PLAN_ACCEPT}));
}
