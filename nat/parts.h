/*
 * parts.h - a large map by destination, in parts.
 */
#pragma once

#include "nat/build.h"

#define PARTS_RANGES 512 /* most of a map that is whole, and of a part */

/* A map to verdicts, and the chain with the rule that looks a destination up in it. */
struct parts_place {
	struct plan_set *map; /* NULL: no pod has an address of the version */
	struct plan_chain *chain;
};

/* Divides those of IPv4 and IPv6 that are large.  `translate`: the chain that the first packet of
 * each flow passes on its way out. */
void parts_put(struct build *b, const struct parts_place places[2], struct plan_chain *translate);
