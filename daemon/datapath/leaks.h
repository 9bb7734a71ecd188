/*
 * leaks.h - what the guard did not let out, by partner and source.
 *
 * The kernel counts packets by source and destination for an hour (nat/counts.h); here they are
 * told apart by partner, summed up for good, and the first of each is logged.
 */
#pragma once

#include "base/check.h"
#include "base/error.h"
#include "daemon/datapath/nat_metrics.h"
#include "nat/plan.h"

#define LEAKS_MOST 10000 /* partners and sources told apart; more count together, as "other" */

struct leaks;

struct leaks *leaks_new(void);        /* NULL: no memory */
void leaks_free(struct leaks *leaks); /* accepts NULL */

/* Takes up what the plan's table and the backstop's have counted since.  0 or -errno. */
int leaks_update(struct leaks *leaks, const struct plan *plan, const struct plan *backstop,
	const struct policy *policy, struct error *e) WARN_UNUSED;

uint64_t leaks_total(const struct leaks *leaks); /* packets */
void leaks_metrics(const struct leaks *leaks, struct nat_metrics *page);
