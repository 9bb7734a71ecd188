/*
 * policy.c - decisions.
 *
 * The sections that a query's destination can match come from the indexes, as chains in file
 * order; a walk merges them, so only these are looked at, and the first whose scope (ports,
 * protocol, sources) fits decides:
 *
 *	name ──────────→ hostset ──┐
 *	its addresses ─→ netset ───┼─→ walk ─→ scope ─→ verdict
 *	not yet known ─→ lookups ──┘
 *
 * A second walk over the same sections looks for a partner in report mode when the first
 * ends without a match.
 */
#include "acl/policy.h"

#include <errno.h>
#include <stdlib.h>

#include "acl/cidrs.h"
#include "acl/policy_parts.h"

struct policy *policy_new(struct files *files, const char *name, const struct cidr *pods,
	size_t n_pods, struct error *e)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	struct cidr *copy;

	if (!policy) {
		error_set(e, -ENOMEM, "%s: out of memory", name);
		return NULL;
	}
	atomic_init(&policy->references, 1);
	copy = arena_copy(&policy->arena, pods, n_pods * sizeof(*pods));
	if (!copy) {
		error_set(e, -ENOMEM, "%s: out of memory", name);
		goto fail;
	}
	policy->pods = (struct cidr_list){copy, cidrs_sort(copy, n_pods)};
	if (policy_parse(policy, files, name, e))
		goto fail;
	return policy;
fail:
	policy_put(policy);
	return NULL;
}

struct policy *policy_get(struct policy *policy)
{
	atomic_fetch_add_explicit(&policy->references, 1, memory_order_relaxed);
	return policy;
}

void policy_put(struct policy *policy)
{
	if (!policy)
		return;
	if (atomic_fetch_sub_explicit(&policy->references, 1, memory_order_acq_rel) != 1)
		return;
	hostset_fini(&policy->hosts);
	netset_fini(&policy->nets);
	chains_fini(&policy->lookup_chains);
	free(policy->groups);
	free(policy->sections);
	free(policy->parts);
	free(policy->scopes);
	arena_fini(&policy->arena);
	free(policy);
}

size_t policy_n_sections(const struct policy *policy)
{
	return policy->n_sections;
}

const struct section *policy_section(const struct policy *policy, size_t index)
{
	CHECK(index < policy->n_sections);
	return &policy->sections[index];
}

bool section_admits(const struct section *section, const struct addr *client)
{
	return cidrs_contain(&section->from, client);
}

const char *section_host(const struct policy *policy, const struct section *section, size_t index)
{
	const struct part *part = &policy->parts[section->index];

	if (index >= part->n_hosts)
		return NULL;
	return hostset_pattern(&policy->hosts, part->first_host + (uint32_t)index);
}

size_t policy_groups(
	const struct policy *policy, const struct addr *client, const char **names, size_t max)
{
	size_t i, n = 0;

	if (policy_is_pod(policy, client)) {
		if (n < max)
			names[n] = "pods";
		n++;
	}
	for (i = 0; i < policy->n_groups; i++) {
		if (!cidrs_contain(&policy->groups[i].cidrs, client))
			continue;
		if (n < max)
			names[n] = policy->groups[i].name;
		n++;
	}
	return n;
}

bool policy_caches(const struct policy *policy)
{
	return policy->has_cache;
}

bool policy_is_pod(const struct policy *policy, const struct addr *client)
{
	return cidrs_contain(&policy->pods, client);
}

const struct cidr_list *policy_captured(const struct policy *policy, enum capture what)
{
	CHECK(what < N_CAPTURES);
	return &policy->captured[what];
}

const char *policy_capturing_group(const struct policy *policy, const char **file, int *line)
{
	size_t i;

	for (i = 0; i < policy->n_groups; i++) {
		if (!policy->groups[i].file)
			continue;
		*file = policy->groups[i].file;
		*line = policy->groups[i].line;
		return policy->groups[i].name;
	}
	return NULL;
}

const struct addr *section_egress(const struct section *section, const struct addr *like)
{
	size_t i;

	for (i = 0; i < section->n_egress; i++) {
		if (addr_is_v4(&section->egress[i]) == addr_is_v4(like))
			return &section->egress[i];
	}
	return NULL;
}

/* How a section came into the walk. */
enum way {
	BY_HOST,   /* its hosts match: it names the destination */
	BY_NET,    /* its networks hold the first address */
	BY_LOOKUP, /* it has networks, and there are no addresses to hold against them */
};

struct cursor {
	const struct chains *chains;
	uint32_t chain, link;
	enum way way;
};

struct walk {
	size_t n;
	struct cursor cursors[HOSTSET_FOUND + NETSET_FOUND + 1];
};

static void follow(struct walk *w, const struct chains *chains, uint32_t chain, enum way way)
{
	if (!chain)
		return;
	CHECK(w->n < COUNT_OF(w->cursors));
	w->cursors[w->n++] = (struct cursor){chains, chain, chain_first(chains, chain), way};
}

static void follow_host(struct walk *w, const struct policy *policy, const struct query *query)
{
	uint32_t found[HOSTSET_FOUND];
	size_t i, n;

	if (query->host.length > 0)
		n = hostset_find(&policy->hosts, query->host, found);
	else
		n = hostset_find_address(&policy->hosts, &query->addrs[0], found);
	for (i = 0; i < n; i++)
		follow(w, &policy->hosts.chains, found[i], BY_HOST);
}

static void follow_net(struct walk *w, const struct policy *policy, const struct addr *addr)
{
	uint32_t found[NETSET_FOUND];
	size_t i, n = netset_find(&policy->nets, addr, found);

	for (i = 0; i < n; i++)
		follow(w, &policy->nets.chains, found[i], BY_NET);
}

static bool addresses_are_known(const struct query *query)
{
	return query->n_addrs > 0 && (query->resolved || query->host.length == 0);
}

static void walk_init(struct walk *w, const struct policy *policy, const struct query *query)
{
	w->n = 0;
	follow_host(w, policy, query);
	if (addresses_are_known(query))
		follow_net(w, policy, &query->addrs[0]);
	else
		follow(w, &policy->lookup_chains, policy->lookups, BY_LOOKUP);
}

static uint32_t section_at(const struct cursor *c)
{
	return c->chains->at[c->link].section;
}

/* Takes the next section in file order; by its host first when it is there twice. */
static bool walk_next(struct walk *w, uint32_t *section, enum way *way)
{
	struct cursor *first = NULL;
	size_t i;

	for (i = 0; i < w->n; i++) {
		struct cursor *c = &w->cursors[i];

		if (c->link && (!first || section_at(c) < section_at(first)))
			first = c;
	}
	if (!first)
		return false;
	*section = section_at(first);
	*way = first->way;
	first->link = chain_next(first->chains, first->chain, first->link);
	return true;
}

static bool scope_has_port(const struct scope *scope, const struct query *query)
{
	size_t low = 0, high = scope->n_ports;

	if (scope->n_ports == 0)
		return !scope->connect_443 || !query->connect || query->port == 443;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (scope->ports[middle].last < query->port)
			low = middle + 1;
		else
			high = middle;
	}
	return low < scope->n_ports && scope->ports[low].first <= query->port;
}

static bool in_scope(const struct policy *policy, uint32_t section, const struct query *query)
{
	const struct scope *scope = &policy->scopes[policy->parts[section].scope];

	return (scope->protocol & query->protocol) == query->protocol &&
	       scope_has_port(scope, query) && cidrs_contain(&scope->from, &query->client);
}

static bool holds_all(const struct section *section, const struct query *query)
{
	size_t i;

	for (i = 0; i < query->n_addrs; i++) {
		if (!cidrs_contain(&section->cidrs, &query->addrs[i]))
			return false;
	}
	return true;
}

static struct verdict deny(enum reason reason, const struct section *section)
{
	return (struct verdict){.action = ACTION_DENY, .reason = reason, .section = section};
}

static struct verdict allow(
	const struct section *section, enum way way, const struct section *reporter)
{
	return (struct verdict){.action = ACTION_ALLOW,
		.reason = REASON_MATCHED,
		.section = section,
		.by_address = way == BY_NET,
		.reported = reporter != NULL,
		.reporter = reporter};
}

/*
 * The first section that `fits`, and by which way, or NULL.  Where that depends on addresses the query does not
 * have, *missing is set: the walk stops there when they can still be had.
 */
static const struct section *first_match(struct walk *w, const struct policy *policy,
	const struct query *query,
	bool (*fits)(const struct policy *, uint32_t, const struct query *), enum way *way,
	const struct section **blocks_reporter, bool *missing)
{
	uint32_t i, unfit = UINT32_MAX;

	while (walk_next(w, &i, way)) {
		const struct section *section = &policy->sections[i];

		if (i == unfit)
			continue;
		if (!fits(policy, i, query)) {
			unfit = i;
			continue;
		}
		if (*way == BY_HOST && query->unnamed && section->kind == SECTION_PARTNER)
			continue;
		if (*way == BY_NET && !holds_all(section, query))
			continue;
		if (*way == BY_LOOKUP) {
			*missing = true;
			if (!query->resolved)
				return NULL;
			continue;
		}
		if (section->kind == SECTION_PARTNER || !section->report)
			return section;
		if (!*blocks_reporter)
			*blocks_reporter = section;
	}
	return NULL;
}

static bool is_partner_in_report_mode(
	const struct policy *policy, uint32_t section, const struct query *query)
{
	(void)query;
	return policy->sections[section].kind == SECTION_PARTNER &&
	       policy->sections[section].report;
}

static struct verdict no_match(const struct query *query, bool missing)
{
	struct verdict verdict = deny(missing ? REASON_NOT_RESOLVED : REASON_NO_MATCH, NULL);

	if (missing && !query->resolved)
		verdict.action = ACTION_RESOLVE;
	return verdict;
}

struct verdict policy_decide(const struct policy *policy, const struct query *query)
{
	const struct section *section, *reporter = NULL;
	bool missing = false;
	enum way way;
	struct walk w;

	if (query->host.length == 0 && query->n_addrs == 0)
		return deny(REASON_NOT_RESOLVED, NULL);
	walk_init(&w, policy, query);
	section = first_match(&w, policy, query, in_scope, &way, &reporter, &missing);
	if (section && section->kind == SECTION_BLOCK)
		return deny(REASON_MATCHED, section);
	if (section)
		return allow(section, way, reporter);
	if (!policy->has_report_partner || (missing && !query->resolved))
		return no_match(query, missing);

	walk_init(&w, policy, query);
	section = first_match(
		&w, policy, query, is_partner_in_report_mode, &way, &reporter, &missing);
	return section ? allow(section, way, section) : no_match(query, missing);
}

/* The blocks that an address is held against: those before the deciding section; all, when a report
 * mode let pass what nothing matched. */
static uint32_t blocks_end(const struct policy *policy, const struct verdict *verdict)
{
	if (verdict->reporter == verdict->section)
		return (uint32_t)policy->n_sections;
	return verdict->section->index;
}

static const struct section *first_block(const struct policy *policy, const struct query *query,
	const struct addr *addr, uint32_t end, const struct section **reporter)
{
	struct walk w;
	uint32_t i;
	enum way way;

	*reporter = NULL;
	w.n = 0;
	follow_net(&w, policy, addr);
	while (walk_next(&w, &i, &way) && i < end) {
		const struct section *section = &policy->sections[i];

		if (section->kind != SECTION_BLOCK || !in_scope(policy, i, query))
			continue;
		if (!section->report)
			return section;
		if (!*reporter)
			*reporter = section;
	}
	return NULL;
}

enum reason policy_guard(const struct policy *policy, const struct query *query,
	const struct verdict *verdict, const struct addr *addr, const struct section **block)
{
	const struct section *blocking, *reporter;

	CHECK(verdict->action == ACTION_ALLOW && verdict->section);
	blocking = first_block(policy, query, addr, blocks_end(policy, verdict), &reporter);
	if (block)
		*block = blocking;
	if (blocking)
		return REASON_BLOCKED_ADDRESS;
	if (verdict->by_address && !cidrs_contain(&verdict->section->cidrs, addr))
		return REASON_ADDRESS;
	if (addr_classify(addr) != ADDR_GLOBAL &&
		!cidrs_contain(&policy->parts[verdict->section->index].named, addr))
		return REASON_ADDRESS;
	if (block)
		*block = reporter;
	return REASON_MATCHED;
}

/* ---- every section, for a person ---- */

static enum considered consider_scope(
	const struct policy *policy, uint32_t section, const struct query *query)
{
	const struct scope *scope = &policy->scopes[policy->parts[section].scope];

	if (!scope_has_port(scope, query))
		return CONSIDERED_PORT;
	if ((scope->protocol & query->protocol) != query->protocol)
		return CONSIDERED_PROTOCOL;
	if (!cidrs_contain(&scope->from, &query->client))
		return CONSIDERED_SOURCE;
	return CONSIDERED_DECIDES;
}

static enum considered consider(const struct policy *policy, const struct query *query,
	const struct verdict *verdict, uint32_t i, unsigned ways)
{
	const struct section *s = &policy->sections[i];
	bool by_host = ways & 1u << BY_HOST, by_net = ways & 1u << BY_NET;
	bool unresolved = !addresses_are_known(query) && s->cidrs.n > 0;
	enum considered scope;

	if (s == verdict->section)
		return CONSIDERED_DECIDES;
	if (verdict->section && verdict->section != verdict->reporter &&
		i > verdict->section->index)
		return CONSIDERED_AFTER;
	if (!by_host && !by_net && !unresolved)
		return CONSIDERED_ELSEWHERE;
	scope = consider_scope(policy, i, query);
	if (scope != CONSIDERED_DECIDES)
		return scope;
	if (by_host && query->unnamed && s->kind == SECTION_PARTNER)
		return CONSIDERED_UNNAMED;
	if (!by_host)
		return unresolved            ? CONSIDERED_UNRESOLVED
		       : holds_all(s, query) ? CONSIDERED_REPORTS
					     : CONSIDERED_NOT_ALL;
	return CONSIDERED_REPORTS;
}

bool policy_consider(const struct policy *policy, const struct query *query,
	const struct verdict *verdict,
	void (*each)(void *arg, const struct section *section, enum considered considered),
	void *arg)
{
	uint8_t *ways = calloc(policy->n_sections + 1, 1);
	bool stopped = false; /* the walk waits for addresses */
	struct walk w = {0};
	enum way way;
	uint32_t i;

	if (!ways)
		return false;
	follow_host(&w, policy, query);
	if (addresses_are_known(query))
		follow_net(&w, policy, &query->addrs[0]);
	while (walk_next(&w, &i, &way))
		ways[i] |= (uint8_t)(1u << way);
	for (i = 0; i < policy->n_sections; i++) {
		enum considered considered =
			stopped ? CONSIDERED_AFTER : consider(policy, query, verdict, i, ways[i]);

		stopped = stopped || (verdict->action == ACTION_RESOLVE &&
					     considered == CONSIDERED_UNRESOLVED &&
					     policy->sections[i].kind == SECTION_PARTNER);
		each(arg, &policy->sections[i], considered);
	}
	free(ways);
	return true;
}
