/*
 * hostset.h - names, and what lies below names, as an index to section numbers.
 *
 * A trie of labels, read from the right.  The children of all its nodes are found in one
 * hash table with a secret seed, so a name costs one probe a label however many
 * names there are and whoever chose them.  The patterns themselves are kept in one text, which the
 * nodes point into: 1,000,000 hosts take 70 MB.
 */
#pragma once

#include "acl/chain.h"
#include "base/addr.h"
#include "base/check.h"
#include "base/text.h"

#define HOSTSET_FOUND 130 /* most chains that one name can find: one a label, the root, itself */

enum hostset_match {
	HOSTSET_EXACT, /* x */
	HOSTSET_BELOW, /* *.x; of "": every name and every address */
	HOSTSET_TREE,  /* .x: x and below */
};

struct hostset_node;

struct hostset {
	struct chains chains;
	struct hostset_node *nodes;
	uint32_t n_nodes, max_nodes;
	uint32_t *slots; /* open addressing; 0: free */
	uint32_t n_slots;
	char *text; /* the patterns, NUL-terminated, one behind the other */
	uint32_t text_used, text_max;
	uint32_t *patterns; /* where each begins */
	uint32_t n_patterns, max_patterns;
	uint64_t seed[2];
};

/* 0 or -ENOMEM; hostset_fini() accepts what is left then, and a zeroed set. */
int hostset_init(struct hostset *set) WARN_UNUSED;
void hostset_fini(struct hostset *set);

/* `name` is canonical.  Sections come in ascending order.  0, -ENOMEM, -EFBIG (4 GiB of text). */
int hostset_add(struct hostset *set, enum hostset_match match, struct text name,
	uint32_t section) WARN_UNUSED;
int hostset_add_address(struct hostset *set, const struct addr *addr, uint32_t section) WARN_UNUSED;

void hostset_trim(struct hostset *set); /* nothing more will be added */

/* The chains of all patterns that match; returns how many. */
size_t hostset_find(const struct hostset *set, struct text name, uint32_t found[HOSTSET_FOUND]);
size_t hostset_find_address(
	const struct hostset *set, const struct addr *addr, uint32_t found[HOSTSET_FOUND]);

/* The pattern that was added as number `index`, in one spelling: "*.x", ".x", "x", "*". */
const char *hostset_pattern(const struct hostset *set, uint32_t index);
