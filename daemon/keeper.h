/*
 * keeper.h - keeps the kernel's table what the plan says, whoever else changes it.
 *
 * The kernel tells of every change of nftables (a netlink group); one that is not ours is put
 * right within milliseconds.  A whole comparison every minute finds what was not told.
 */
#pragma once

#include <ev.h>

#include "base/check.h"
#include "base/error.h"
#include "nat/plan.h"

struct keeper;

/* `on_change` is called from the loop when keeper_repairs() or keeper_trouble() changed.  NULL: no
 * memory. */
struct keeper *keeper_new(struct ev_loop *loop, void (*on_change)(void *arg), void *arg);
void keeper_free(struct keeper *keeper); /* the table stays; accepts NULL */

/* Brings the kernel to `plan` and keeps it there.  All plans of a keeper name the same table.  The
 * plan stays the caller's and must live until the next call or keeper_free().  On -errno the kernel
 * is as it was, and kept at the plan of before. */
int keeper_apply(struct keeper *keeper, const struct plan *plan, struct error *e) WARN_UNUSED;

/* The way back: keeps the kernel at `plan` from now on, and tries until it is there. */
void keeper_revert(struct keeper *keeper, const struct plan *plan);

uint64_t keeper_repairs(const struct keeper *keeper);    /* times that the table was put right */
const char *keeper_trouble(const struct keeper *keeper); /* why it is not right now; NULL: it is */
