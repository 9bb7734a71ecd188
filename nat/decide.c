/*
 * decide.c - a plan, evaluated: what the kernel would do with the first packet of a flow.
 *
 * The rules themselves are walked, so there is no second reading of the policy that could differ.
 */
#include <string.h>
#include <stdlib.h>

#include "nat/conntrack.h"
#include "nat/plan.h"

static int compare(const struct plan_range *range, uint32_t mark, const struct addr *key)
{
	if (range->mark != mark)
		return mark < range->mark ? -1 : 1;
	if (memcmp(key, &range->first, sizeof(*key)) < 0)
		return -1;
	return memcmp(key, &range->last, sizeof(*key)) > 0;
}

static const struct plan_range *find(
	const struct plan_set *set, uint32_t mark, const struct addr *key)
{
	size_t low = 0, high = set->n_ranges;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(&set->ranges[middle], mark, key);

		if (order == 0)
			return &set->ranges[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static bool holds_number(const struct plan_set *set, unsigned n)
{
	struct addr key = {{[14] = (uint8_t)(n >> 8), [15] = (uint8_t)n}};

	return find(set, 0, &key);
}

/* Matches of the chains that classify.  Whether a source is over its limit is not a plan's to
 * know: a flow that is there was not. */
static bool fits(const struct plan_step *step, const struct plan_packet *p)
{
	switch (step->op) {
	case PLAN_FROM_NET:
		return cidr_contains(&step->net, &p->source);
	case PLAN_FROM_SET:
		return find(step->set, 0, &p->source);
	case PLAN_TO_SET:
		return find(step->set, 0, &p->destination);
	case PLAN_PROTOCOL:
		return step->number == p->protocol;
	case PLAN_PROTOCOL_SET:
		return holds_number(step->set, p->protocol);
	case PLAN_PORTS:
		return step->number <= p->port && p->port <= step->other;
	case PLAN_PORT_SET:
		return holds_number(step->set, p->port);
	case PLAN_NUMBER:
		return find(step->set, 0, &p->destination);
	case PLAN_TO_LOCAL:
	case PLAN_OVER:
		return false;
	default:
		return true;
	}
}

/* One packet on its way through the chains. */
struct walk {
	const struct plan *plan;
	const struct plan_packet *packet;
	struct plan_decision *decision;
	uint32_t number; /* that its destination has in a part of a map */
};

static bool walk(struct walk *w, const struct plan_chain *chain);

static bool jump(struct walk *w, const struct plan_range *range)
{
	return range && walk(w, plan_chain(w->plan, range->jump));
}

/* True when the step decides. */
static bool act(struct walk *w, const struct plan_step *step)
{
	static const struct addr none;
	const struct addr *destination = &w->packet->destination;
	struct plan_decision *d = w->decision;

	switch (step->op) {
	case PLAN_SET_CLASS:
		d->fate = PLAN_CLASSED_AS;
		d->mark = step->number & w->plan->class_mask;
		return false;
	case PLAN_COUNT:
		d->counter = step->name;
		return false;
	case PLAN_REJECT:
	case PLAN_DROP:
		d->fate = PLAN_REFUSED;
		return true;
	case PLAN_ACCEPT:
	case PLAN_GOTO: /* where it leaves the node */
		return true;
	case PLAN_TO_MAP:
		return jump(w, find(step->set, 0, destination));
	case PLAN_NUMBER:
		w->number = find(step->set, 0, destination)->number;
		return false;
	case PLAN_CLEAR_NUMBER:
		w->number = 0;
		return false;
	case PLAN_NUMBER_MAP:
		return jump(w, find(step->set, w->number, &none));
	default:
		return false;
	}
}

/* As the kernel walks a chain; true when a rule decided. */
static bool walk(struct walk *w, const struct plan_chain *chain)
{
	for (size_t i = 0; chain && i < chain->n_rules; i++)
		for (const struct plan_step *s = chain->rules[i].steps; s->op != PLAN_END; s++) {
			if (!fits(s, w->packet))
				break;
			if (act(w, s))
				return true;
		}
	return false;
}

struct plan_decision plan_decide(const struct plan *plan, const struct plan_packet *packet)
{
	struct plan_decision d = {.fate = PLAN_LEFT_ALONE};
	struct walk w = {.plan = plan, .packet = packet, .decision = &d};
	bool pod = false;

	for (size_t i = 0; i < plan->n_pods && !pod; i++)
		pod = cidr_contains(&plan->pods[i], &packet->source);
	if (pod)
		walk(&w, plan_chain(plan, addr_is_v4(&packet->source) ? "classify4" : "classify6"));
	return d;
}

static int place_order(const void *key, const void *place)
{
	const struct addr *addr = key;
	const struct plan_place *p = place;

	if (memcmp(addr, &p->first, sizeof(*addr)) < 0)
		return -1;
	return memcmp(addr, &p->last, sizeof(*addr)) > 0;
}

static bool names_port(const struct section *s, const struct plan_packet *p)
{
	for (size_t i = 0; i < s->n_ports && flow_has_ports(p->protocol); i++)
		if (s->ports[i].first <= p->port && p->port <= s->ports[i].last)
			return true;
	return s->n_ports == 0;
}

/* Is anybody of the version in `from`? */
static bool admits_some(const struct section *s, bool v4)
{
	for (size_t i = 0; i < s->from.n; i++)
		if (cidr_is_v4(&s->from.at[i]) == v4)
			return true;
	return false;
}

bool plan_section_fits(const struct section *s, const struct plan_packet *p)
{
	if (p->protocol == 0)
		return admits_some(s, addr_is_v4(&p->destination));
	if (s->protocol == PROTOCOL_TCP && p->protocol != IPPROTO_TCP)
		return false;
	if (s->protocol == PROTOCOL_UDP && p->protocol != IPPROTO_UDP)
		return false;
	return names_port(s, p) && section_admits(s, &p->source);
}

int plan_section(
	const struct plan *plan, const struct policy *policy, const struct plan_packet *packet)
{
	const struct plan_place *place =
		plan->n_places == 0 ? NULL
				    : bsearch(&packet->destination, plan->places, plan->n_places,
					      sizeof(*place), place_order);
	int reporter = -1;

	for (size_t i = 0; place && i < place->n; i++) {
		unsigned index = plan->place_sections[place->begin + i];
		const struct section *s = policy_section(policy, index);

		if (plan_section_fits(s, packet))
			return (int)index;
		if (s->report && reporter < 0)
			reporter = (int)index;
	}
	return reporter;
}

static int by_mark(const void *key, const void *range)
{
	uint32_t a = *(const uint32_t *)key, b = ((const struct plan_range *)range)->mark;

	return (a > b) - (a < b);
}

bool plan_translates(const struct plan *plan, uint32_t mark, bool v4)
{
	const struct plan_set *ok = plan_set(plan, v4 ? "ok4" : "ok6");

	return ok && ok->n_ranges > 0 &&
	       bsearch(&mark, ok->ranges, ok->n_ranges, sizeof(*ok->ranges), by_mark);
}

int plan_spare_order(const void *a, const void *b)
{
	const struct plan_spare *x = a, *y = b;

	if (x->mark != y->mark)
		return x->mark < y->mark ? -1 : 1;
	return memcmp(&x->addr, &y->addr, sizeof(x->addr));
}

bool plan_spares(const struct plan *plan, uint32_t mark, const struct addr *source)
{
	const struct plan_spare key = {mark, *source};

	return plan->n_spares > 0 &&
	       bsearch(&key, plan->spares, plan->n_spares, sizeof(*plan->spares), plan_spare_order);
}

bool plan_allows(const struct plan *plan, uint32_t mark, const struct addr *source)
{
	const struct plan_set *ok = plan_set(plan, addr_is_v4(source) ? "ok4" : "ok6");

	return ok && find(ok, mark, source);
}
