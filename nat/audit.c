/*
 * audit.c - holds the flows that there are against a plan.
 *
 * What counts is where a flow really goes and what it really leaves as: behind DNAT and SNAT, which
 * the reply tuple tells.
 *
 * Where conntrackd keeps the flows of all gateways the same (flow-sync), what is deleted at one of
 * them is deleted at the others.  So a flow of an egress address that is elsewhere is not wrong: it
 * waits for the day that the address comes.  But for the node's own pods: theirs begins anew, on
 * the way to the other gateway.
 */
#include "nat/audit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nat/classes.h"
#include "nat/conntrack.h"

struct run {
	struct audit *audit;
	const struct plan *plan;
	const struct policy *policy;
	const struct audit_retired *retired;
	const struct address_list *addresses;
	struct addr *own; /* sorted */
	size_t n_own;
	struct conntrack_changes changes;
};

enum judgement { ALONE, STAYS, MARK, DELETE };

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct addr));
}

static bool is_pod(const struct plan *plan, const struct addr *addr)
{
	for (size_t i = 0; i < plan->n_pods; i++)
		if (cidr_contains(&plan->pods[i], addr))
			return true;
	return false;
}

static int by_retired(const void *key, const void *retired)
{
	return memcmp(key, &((const struct plan_learnt *)retired)->addr, sizeof(struct addr));
}

/* Of this node: in a network of pods that is on one of its devices. */
static bool is_own_pod(const struct run *r, const struct addr *pod)
{
	for (size_t i = 0; i < r->addresses->n; i++) {
		const struct rtnetlink_address *a = &r->addresses->at[i];
		bool v4 = addr_is_v4(&a->addr);
		struct cidr net = {a->addr, a->prefix_length + (v4 ? 96 : 0)};

		if (a->prefix_length < (v4 ? 32 : 128) && is_pod(r->plan, &a->addr) &&
			cidr_contains(&net, pod))
			return true;
	}
	return false;
}

static bool is_spare(const struct run *r, const struct flow *flow, uint32_t mark)
{
	return plan_spares(r->plan, mark, &flow->reply.dst) && !is_own_pod(r, &flow->original.src);
}

/* Is the mark that of the section's list of egress addresses? */
static bool is_class_of(const struct run *r, uint32_t mark, const struct section *s)
{
	const struct plan_class *class = plan_class(r->plan, mark);
	const struct section *first;

	if (!class || class->local)
		return false;
	if (class->section < 0 || s->n_egress == 0)
		return class->section < 0 && s->n_egress == 0;
	first = policy_section(r->policy, (size_t) class->section);
	return first->spread == s->spread && first->n_egress == s->n_egress &&
	       memcmp(first->egress, s->egress, s->n_egress * sizeof(*s->egress)) == 0;
}

/* The first of what retired at `addr`; NULL: nothing. */
static const struct plan_learnt *retired_at(
	const struct audit_retired *retired, const struct addr *addr)
{
	const struct plan_learnt *found = retired->n == 0 ? NULL
							  : bsearch(addr, retired->at, retired->n,
								    sizeof(*found), by_retired);

	while (found && found > retired->at && addr_equal(&found[-1].addr, addr))
		found--;
	return found;
}

/* Its destination had a name of a section that still lets it out as it goes out, and is nobody's
 * now. */
static bool outlives_its_name(
	const struct run *r, const struct flow *flow, const struct plan_packet *packet)
{
	const struct plan_packet any = {.destination = packet->destination};
	const struct plan_learnt *at = retired_at(r->retired, &packet->destination);
	uint32_t has = flow->mark & r->plan->class_mask;
	bool fits = false;

	for (; at && at < r->retired->at + r->retired->n &&
		addr_equal(&at->addr, &packet->destination) && !fits;
		at++) {
		const struct section *s = policy_section(r->policy, at->section);

		fits = (s->report || plan_section_fits(s, packet)) && is_class_of(r, has, s);
	}
	return fits && plan_section(r->plan, r->policy, &any) < 0 &&
	       (plan_allows(r->plan, has, &flow->reply.dst) || is_spare(r, flow, has));
}

/* A flow that keeps the pod's address goes to another gateway.  While nobody is known to have the
 * egress address nothing passes the guard, and the flow waits for one that has it. */
static bool may_leave_as_it_is(const struct plan *plan, const struct flow *flow, uint32_t mark)
{
	bool v4 = flow->version == 4, own = addr_equal(&flow->reply.dst, &flow->original.src);

	if (plan_translates(plan, mark, v4))
		return plan_allows(plan, mark, &flow->reply.dst);
	return own;
}

static enum judgement judge(const struct run *r, const struct flow *flow, uint32_t *mark)
{
	uint32_t has = flow->mark & r->plan->class_mask;
	uint32_t local = class_mark(r->plan, CLASS_LOCAL);
	struct plan_packet packet = {
		.source = flow->original.src,
		.destination = flow->reply.src,
		.protocol = flow->original.protocol,
		.port = flow_has_ports(flow->original.protocol) ? flow->reply.sport : 0,
	};
	struct plan_decision d = plan_decide(r->plan, &packet);

	*mark = d.mark;
	if (d.fate == PLAN_LEFT_ALONE)
		return has ? DELETE : ALONE;
	if (outlives_its_name(r, flow, &packet))
		return STAYS;
	if (d.fate == PLAN_REFUSED)
		return DELETE;
	if (d.mark == local)
		return has == local ? STAYS : has ? DELETE : ALONE;
	if (!may_leave_as_it_is(r->plan, flow, d.mark) && !is_spare(r, flow, d.mark))
		return DELETE;
	return has == d.mark ? STAYS : MARK;
}

static void on_flow(void *arg, const struct flow *flow)
{
	struct run *r = arg;
	uint32_t mark;
	enum judgement judgement;

	if (!is_pod(r->plan, &flow->original.src) ||
		bsearch(&flow->reply.src, r->own, r->n_own, sizeof(*r->own), by_bytes))
		return;
	judgement = judge(r, flow, &mark);
	r->audit->flows += judgement != ALONE;
	if (judgement == DELETE) {
		r->audit->deleted++;
		conntrack_delete(&r->changes, flow);
	} else if (judgement == MARK) {
		r->audit->marked++;
		conntrack_set_mark(&r->changes, flow, mark, r->plan->class_mask);
	}
}

int audit_run(struct audit *audit, const struct plan *plan, const struct policy *policy,
	const struct audit_retired *retired, const struct address_list *addresses, struct error *e)
{
	struct run r = {.audit = audit,
		.plan = plan,
		.policy = policy,
		.retired = retired,
		.addresses = addresses,
		.own = calloc(addresses->n + 1, sizeof(*r.own))};
	int error;

	*audit = (struct audit){0};
	if (!r.own)
		return error_set(e, -ENOMEM, "no memory to look at flows");
	for (; r.n_own < addresses->n; r.n_own++)
		r.own[r.n_own] = addresses->at[r.n_own].addr;
	qsort(r.own, r.n_own, sizeof(*r.own), by_bytes);
	error = conntrack_each(0, on_flow, &r, e);
	if (!error)
		error = conntrack_commit(&r.changes, e);
	conntrack_changes_fini(&r.changes);
	free(r.own);
	return error;
}
