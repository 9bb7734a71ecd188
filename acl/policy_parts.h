/*
 * policy_parts.h - what a policy is made of: for its parser and its decisions only.
 */
#pragma once

#include <stdatomic.h>

#include "acl/arena.h"
#include "acl/chain.h"
#include "acl/hostset.h"
#include "acl/netset.h"
#include "acl/policy.h"

/* Whom and what a section is about, beside its destination.  Sections that say the same
 * share one scope. */
struct scope {
	struct ports *ports;
	size_t n_ports;
	struct cidr_list from;
	enum protocol protocol;
	bool connect_443;  /* a partner that names no ports */
	bool has_networks; /* a partner of this scope is in `lookups` */
};

struct group {
	const char *name;
	struct cidr_list cidrs;
	bool captures[N_CAPTURES];
	const char *file; /* where `capture` stands */
	int line;
};

/* What is known of a section beyond policy.h, by the same index. */
struct part {
	uint32_t scope;
	uint32_t first_host, n_hosts; /* patterns in the hostset */
	struct cidr_list named;       /* networks that lift the guard: `cidrs` without /0 */
};

struct policy {
	atomic_uint references;
	struct arena arena;
	struct cidr_list pods;
	struct group *groups; /* in file order */
	size_t n_groups;
	struct cidr_list captured[N_CAPTURES];
	struct section *sections;
	struct part *parts;
	size_t n_sections;
	bool has_report_partner;
	bool has_cache;
	struct scope *scopes;
	size_t n_scopes;
	struct hostset hosts;
	struct netset nets;

	/* Partners with networks: where a walk with a name has to stop for its addresses.  Only the
	 * first of each scope, and the first in report mode, can be that place. */
	struct chains lookup_chains;
	uint32_t lookups;
};

/* Fills a zeroed policy.  What it leaves behind on failure is policy_put()'s to free. */
int policy_parse(
	struct policy *policy, struct files *files, const char *name, struct error *e) WARN_UNUSED;
