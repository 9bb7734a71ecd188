/*
 * table.h - brings the kernel's nftables to a plan: one transaction, whole or not at all.
 */
#pragma once

#include "nat/plan.h"

/* Applies `plan`; established connections go on.  0, or -errno with the kernel's refusal and the
 * rule's name. */
int table_apply(const struct plan *plan, struct error *e) WARN_UNUSED;

/* 1 when the kernel's table is exactly what `plan` asks for, 0 when not, -errno. */
int table_matches(const struct plan *plan, struct error *e) WARN_UNUSED;

/* Takes the table away.  0 also when there was none. */
int table_remove(const char *table, struct error *e) WARN_UNUSED;

/* A netlink socket that becomes readable when anybody changes nftables (NFNLGRP_NFTABLES), for the
 * gate's loop; table_monitor_drain() empties it and answers true when `table` may have been touched
 * by somebody else than this process. */
int table_monitor_open(struct error *e) WARN_UNUSED;
bool table_monitor_drain(int fd, const char *table);
