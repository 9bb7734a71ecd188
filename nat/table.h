/*
 * table.h - brings the kernel's nftables to a plan, in the phases of change.h.
 */
#pragma once

#include "nat/plan.h"

/* From now on, and as long as this process lives, a table that it makes or changes is locked:
 * nobody else may change it, and `nft flush ruleset` passes it over.  Where kernel_features() has
 * it. 0 or -errno. */
int table_lock(struct error *e) WARN_UNUSED;
void table_unlock(void); /* for tests, and the end: the table stays and is everybody's */

/* What is to happen when new flows follow the plan already, and pairs of class and source that it
 * does not allow have not been removed yet.  NULL: nothing.  An error ends the change there. */
struct table_between {
	int (*call)(void *arg, struct error *e);
	void *arg;
};

/* The plan that the kernel was at in that generation (0: is at now), so that it need not be read.
 */
struct table_known {
	const struct plan *plan; /* NULL: none is known */
	uint32_t generation;
};

/* Brings the kernel to `plan`; established flows that it allows go on.  Reads the table when
 * `known` is NULL or not true any more.  0, or -errno with the kernel's refusal and the rule's
 * name: then a table_apply() of the plan before removes what was begun. */
int table_apply(const struct plan *plan, const struct table_known *known,
	const struct table_between *between, struct error *e) WARN_UNUSED;

/* 1 when the kernel's table is exactly what `plan` asks for, 0 when not, -errno. */
int table_matches(const struct plan *plan, struct error *e) WARN_UNUSED;

/* 0 when the table is not there, empty or made by egret; else -EEXIST: the name is somebody else's.
 * -EBUSY: another process has locked it.  Or -errno. */
int table_check_free(const char *table, struct error *e) WARN_UNUSED;

/* Takes the table away.  0 also when there was none. */
int table_remove(const char *table, struct error *e) WARN_UNUSED;

/* A netlink socket that becomes readable when anybody changes nftables (NFNLGRP_NFTABLES), for the
 * gate's loop; table_monitor_drain() empties it and answers true when `table` may have been touched
 * by somebody else than this process. */
int table_monitor_open(struct error *e) WARN_UNUSED;
bool table_monitor_drain(int fd, const char *table);

/* While somebody listens, the kernel writes a message for each element that changes.  Between
 * these two nobody does, so that a large change of our own costs a third less.  Both answer true
 * when somebody else may have changed `table` before; of what comes after table_monitor_pause(),
 * table_apply() and table_monitor_resume() know by `generation`. */
bool table_monitor_pause(int fd, const char *table, uint32_t *generation);
bool table_monitor_resume(int fd, const char *table);
