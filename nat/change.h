/*
 * change.h - the messages that lead from what the kernel has to a plan.
 *
 * Only differences: sets, maps and base chains that are right stay, so that no
 * packet meets an empty set.  Nothing to change: no message.
 */
#pragma once

#include "nat/netlink.h"
#include "nat/plan.h"
#include "nat/state.h"

/* The messages point at texts of `plan` and `state`.  Out of memory fails the batch. */
void change_put(struct batch *batch, const struct plan *plan, const struct state *state);
