/*
 * plan.h - the complete kernel state that a policy asks for: a plain value.
 *
 * Made from a policy and facts without touching the kernel, compared and printed as
 * nft text; table.h brings the kernel to it.
 */
#pragma once

#include <stdio.h>

#include "acl/policy.h"

struct plan;

struct plan_facts {
	const char *table;	   /* name, family inet */
	const struct cidr *pods;   /* sources that are translated */
	size_t n_pods;
	const struct cidr *exclude; /* destinations that never are (pods themselves are added) */
	size_t n_exclude;
	const struct addr *egress; /* the gateway's, at most one a version */
	size_t n_egress;
};

/* NULL: no memory. */
struct plan *plan_new(const struct policy *policy, const struct plan_facts *facts);
void plan_free(struct plan *plan);

/* As `nft -f` would take it. */
void plan_print(const struct plan *plan, FILE *out);
