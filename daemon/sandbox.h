/*
 * sandbox.h - what the proxy process gives up before it reads a stranger's byte.
 */
#pragma once

#include "base/check.h"
#include "base/error.h"

/* Numeric uid and gid (only as root), no supplementary groups, no capabilities in any set,
 * no_new_privs, not dumpable, no core files; then a seccomp filter: no programs, no new processes,
 * no files to write, no kernel interfaces that a proxy has no use for.  Call it while there is one
 * thread. 0, or -errno; then the process must not go on. */
int sandbox_drop(unsigned uid, unsigned gid, struct error *e) WARN_UNUSED;
