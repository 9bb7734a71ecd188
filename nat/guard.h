/*
 * guard.h - what the routing guard is to keep in, from the networks and the policy.
 */
#pragma once

#include "acl/policy.h"
#include "nat/routing.h"

enum guard_reach {
	GUARD_ALL,   /* everything outside: default-egress gateway or deny */
	GUARD_NAMED, /* the networks that sections name: default-egress local */
};

struct guard {
	struct routing routing; /* its networks are those below */
	struct cidr *nets;
};

struct guard_ask {
	enum guard_reach reach;
	const struct policy *policy; /* read with GUARD_NAMED only, may be NULL else */
	const struct cidr_list *pods, *exclude;
	struct cidr_list named; /* with GUARD_NAMED: refused beside what the policy names */
	uint32_t table, priority, mark_mask; /* as in struct routing */
};

/* Pods and the excluded networks pass.  A block in report mode and a section without `cidr` name
 * nothing.  0 or -ENOMEM; guard_fini() in every case.  Nothing of what is asked is kept. */
int guard_init(struct guard *guard, const struct guard_ask *ask, struct error *e) WARN_UNUSED;
void guard_fini(struct guard *guard);
