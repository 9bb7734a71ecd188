/*
 * collisions.h - who else in the kernel uses what the datapath is to use.
 */
#pragma once

#include "base/check.h"
#include "base/error.h"
#include "daemon/datapath/datapath.h"

/* At the start: 0, or -errno and who else has the table's name, the route table, the rule's
 * priority or the bits of the mark, or translates before us.  Rules of others that write bits of
 * our marks are logged as warnings. */
int collisions_check(const struct datapath *datapath, struct error *e) WARN_UNUSED;
