/*
 * backstop.h - what holds when somebody takes the table away while a packet is in it.
 *
 * Between `prerouting`, which lets the first packet of a flow pass the routing guard, and `guard`
 * are some microseconds.  When the table goes just then, or is emptied, nothing translates the
 * packet and nobody judges it.  So a flow's mark says from the start that nobody has judged yet
 * (plan->unjudged), the guard takes that away, and behind it a chain of another table drops what
 * still says so.  That table belongs to the gate's socket: nobody else can change it, and
 * `nft flush ruleset` passes it over (NFT_TABLE_F_OWNER, Linux 5.12).  It goes with the gate.
 *
 * Flows that were judged before stay translated as long as anybody has a chain of type nat: the
 * table has one too.
 */
#pragma once

#include "nat/plan.h"

/* The table, `TABLE-backstop`; of the facts its name, marks and the guard's priority count.  For
 * plan_free(); NULL without memory. */
struct plan *backstop_plan(const struct plan_facts *facts) WARN_UNUSED;

/* Makes it, for as long as this process lives or until backstop_close().  0, also when it is there
 * already, or -errno: the kernel does not know such tables, or another gate has it. */
int backstop_open(const struct plan *backstop, struct error *e) WARN_UNUSED;
void backstop_close(void);
