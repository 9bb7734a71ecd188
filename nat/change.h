/*
 * change.h - the messages that lead from what the kernel has to a plan.
 *
 * Only differences: sets, maps and base chains that are right stay.  The kernel takes up the
 * elements of interval sets a moment after the rules of the same transaction, so one transaction
 * is not one step for the packets.  Hence four, each of them harmless at every moment:
 *
 *     GUARD     what is new and nothing refers to yet; pairs of class and source that will be
 *               allowed; and the destinations whose sections change are held: a flow that
 *               begins to one of them now is dropped, not decided by half a map
 *     SWITCH    maps and base chains become what the plan says
 *     RELEASE   nothing is held any more
 *     CLEAN     what the plan does not have goes, and so do the pairs that are not allowed any
 *               more: flows that still have such a class and source end here
 */
#pragma once

#include "nat/netlink.h"
#include "nat/plan.h"
#include "nat/state.h"

enum change_phase { CHANGE_GUARD, CHANGE_SWITCH, CHANGE_RELEASE, CHANGE_CLEAN, CHANGE_N_PHASES };

/* The messages point at texts of `plan` and `state`, which is what the kernel had before the first
 * phase.  `flags`: those that the table is to have (TABLE_...).  No difference: no message.
 * Out of memory fails the batch. */
void change_put(struct batch *batch, const struct plan *plan, const struct state *state,
	uint32_t flags, enum change_phase phase);
