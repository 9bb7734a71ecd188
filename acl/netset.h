/*
 * netset.h - networks as an index to section numbers.
 *
 * Two prefix trees, one a version, with paths of one child folded: a look-up
 * visits only nodes whose network holds the address, at most 129.
 */
#pragma once

#include "acl/chain.h"
#include "base/addr.h"
#include "base/check.h"

#define NETSET_FOUND 129 /* most chains that one address can find */

struct netset_node;

struct netset {
	struct chains chains;
	struct netset_node *nodes;
	uint32_t n_nodes, max_nodes;
};

/* 0 or -ENOMEM; netset_fini() accepts what is left then, and a zeroed set. */
int netset_init(struct netset *set) WARN_UNUSED;
void netset_fini(struct netset *set);

/* Sections come in ascending order.  0 or -ENOMEM. */
int netset_add(struct netset *set, const struct cidr *net, uint32_t section) WARN_UNUSED;

void netset_trim(struct netset *set); /* nothing more will be added */

/* The chains of all networks that hold `addr`, widest first; returns how many. */
size_t netset_find(const struct netset *set, const struct addr *addr, uint32_t found[NETSET_FOUND]);
