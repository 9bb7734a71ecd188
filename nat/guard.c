/*
 * guard.c - what the routing guard is to keep in, from the networks and the policy.
 *
 * One block of memory: pods, then what passes, then what is refused.
 */
#include "nat/guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "acl/cidrs.h"

static const struct cidr_list all = {(struct cidr *)cidr_everything, COUNT_OF(cidr_everything)};

static const struct cidr_list *named_by(const struct section *section)
{
	static const struct cidr_list none;

	return section->kind == SECTION_BLOCK && section->report ? &none : &section->cidrs;
}

static size_t put(struct cidr *out, const struct cidr_list *list)
{
	if (list->n)
		memcpy(out, list->at, list->n * sizeof(*out));
	return list->n;
}

static size_t count_refused(const struct guard_ask *ask)
{
	size_t n = ask->named.n;

	if (ask->reach == GUARD_ALL)
		return all.n;
	for (size_t i = 0; i < policy_n_sections(ask->policy); i++)
		n += named_by(policy_section(ask->policy, i))->n;
	return n;
}

static size_t put_refused(struct cidr *out, const struct guard_ask *ask)
{
	size_t n;

	if (ask->reach == GUARD_ALL)
		return put(out, &all);
	n = put(out, &ask->named);
	for (size_t i = 0; i < policy_n_sections(ask->policy); i++)
		n += put(out + n, named_by(policy_section(ask->policy, i)));
	return n;
}

int guard_init(struct guard *guard, const struct guard_ask *ask, struct error *e)
{
	size_t n = 2 * ask->pods->n + ask->exclude->n + count_refused(ask);
	struct routing *routing = &guard->routing;
	struct cidr *at = reallocarray(NULL, n + 1, sizeof(*at));

	*guard = (struct guard){.nets = at};
	if (!at)
		return error_set(e, -ENOMEM, "no memory for the routing guard");
	*routing = (struct routing){
		.table = ask->table,
		.priority = ask->priority,
		.mark_mask = ask->mark_mask,
		.pods = at,
	};
	routing->n_pods = cidrs_sort(at, put(at, ask->pods));
	at += routing->n_pods;
	routing->pass = at;
	routing->n_pass = put(at, ask->pods);
	routing->n_pass += put(at + routing->n_pass, ask->exclude);
	routing->n_pass = cidrs_sort(at, routing->n_pass);
	at += routing->n_pass;
	routing->refuse = at;
	routing->n_refuse = cidrs_sort(at, put_refused(at, ask));
	return 0;
}

void guard_fini(struct guard *guard)
{
	free(guard->nets);
	*guard = (struct guard){0};
}
