/*
 * chain.h - lists of section numbers, very many and mostly of length one.
 *
 * All chains of one index live in one array.  A chain is a ring and is known by
 * its last link, so that it grows at its end and is read from its beginning;
 * 0 is the empty chain.
 */
#pragma once

#include <stdint.h>

#include "base/check.h"

struct link {
	uint32_t section, next;
};

struct chains {
	struct link *at; /* zeroed: no chains yet */
	uint32_t n, max;
};

/* Puts `section` at the end of the chain, unless it is its end already: sections come in
 * ascending order.  0 or -ENOMEM. */
int chain_append(struct chains *chains, uint32_t *chain, uint32_t section) WARN_UNUSED;

void chains_trim(struct chains *chains); /* gives back what was reserved for more */
void chains_fini(struct chains *chains);

/* Reading: the first link of a chain and the one behind `link`; 0 ends. */
static inline uint32_t chain_first(const struct chains *chains, uint32_t chain)
{
	return chain ? chains->at[chain].next : 0;
}

static inline uint32_t chain_next(const struct chains *chains, uint32_t chain, uint32_t link)
{
	return link == chain ? 0 : chains->at[link].next;
}
