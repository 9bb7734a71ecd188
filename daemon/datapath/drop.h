/*
 * drop.h - takes from the kernel what an earlier datapath had and the one in force does not want.
 */
#pragma once

#include "base/check.h"
#include "base/error.h"
#include "daemon/datapath/datapath.h"

/* Of `before`; NULL: of whatever egretd ran here before, by what is found in the kernel.  What
 * cannot be dropped translates nothing, so it is logged and no reason to fail. */
void drop_unwanted(const struct datapath *datapath, const struct datapath *before);

/* Addresses that egretd added to `device`, in force or not.  0, or -errno with `e`, which says
 * which of `addrs` stay on which device, and why: whoever claims these elsewhere has them twice. */
int drop_addresses(
	const char *device, const struct addr *addrs, size_t n, struct error *e) WARN_UNUSED;
