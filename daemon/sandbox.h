/*
 * sandbox.h - what the proxy process gives up before it reads a stranger's byte.
 */
#pragma once

#include "base/check.h"
#include "base/error.h"

/* Numeric uid and gid (only as root), no supplementary groups, no capabilities in any set, no_new_privs, and not dumpable. */
int sandbox_drop(unsigned uid, unsigned gid, struct error *e) WARN_UNUSED;
