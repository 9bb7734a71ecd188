/*
 * hold.h - destinations that are held while their sections change.
 */
#pragma once

#include "nat/plan.h"
#include "nat/state.h"

#define HOLD_MOST 1024 /* ranges; of more, close neighbours are held with what is between them */

/* Fills `out`, a scratch set, with what differs between the sets of its key that the plan wants
 * held and what the kernel has of them.  False without memory. */
bool hold_collect(
	struct plan_set *out, const struct plan *plan, const struct state *state) WARN_UNUSED;
