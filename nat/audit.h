/*
 * audit.h - holds the flows that there are against a plan.
 *
 * The packet path decides about a flow once.  When the plan changes, flows whose egress address or
 * permission changed are deleted here, exactly these, by tuple; flows that stay get the mark that
 * the plan now has for them.
 */
#pragma once

#include "nat/address.h"
#include "nat/plan.h"

struct audit {
	size_t flows;   /* of pods, out of the cluster */
	size_t deleted; /* must not go on */
	size_t marked;  /* go on as another class */
};

/* Addresses that names of sections with nat = resolve had, sorted: names move, connections stay. */
struct audit_retired {
	struct plan_learnt *at;
	size_t n;
};

/* `addresses`: the node's, whose flows are its own matter.  `policy` is what the plan was made
 * from. 0 or -errno. */
int audit_run(struct audit *audit, const struct plan *plan, const struct policy *policy,
	const struct audit_retired *retired, const struct address_list *addresses,
	struct error *e) WARN_UNUSED;
