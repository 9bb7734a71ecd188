/*
 * counts.h - what the kernel's table has counted: refused pairs and denials.
 */
#pragma once

#include <stdint.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"

/* Packets that the guard did not let out: where they came from, and where they wanted to go. */
struct counts_pair {
	struct addr source, destination;
	uint64_t packets;
};

/* Calls `each` for the pairs of the last hour.  0, also when there is no such table, or -errno. */
int counts_pairs(const char *table, void (*each)(void *arg, const struct counts_pair *pair),
	void *arg, struct error *e) WARN_UNUSED;

/* Calls `each` for every named counter. */
int counts_counters(const char *table, void (*each)(void *arg, const char *name, uint64_t packets),
	void *arg, struct error *e) WARN_UNUSED;
