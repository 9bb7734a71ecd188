/*
 * sysctl.h - kernel parameters under /proc/sys: read, compared, set.
 *
 * Those of net/ are those of the calling thread's network namespace.
 */
#pragma once

#include <stddef.h>

#include "base/check.h"
#include "base/error.h"

#define SYSCTL_VALUE 128

struct sysctl {
	const char *path;  /* under /proc/sys: "net/ipv4/conf/all/src_valid_mark" */
	const char *value; /* wanted; how its words are separated does not matter */
};

/* The value without its line end; what does not fit is cut off.  0 or -errno. */
int sysctl_read(const char *path, char value[SYSCTL_VALUE], struct error *e) WARN_UNUSED;

/* Writes those that have another value.  The number of them or -errno; a value that is right
 * already need not be writable.  Where /proc/sys is read-only, as in a container, below
 * /host/proc/sys. */
int sysctl_apply(const struct sysctl *list, size_t n, struct error *e) WARN_UNUSED;

/* 1 when all are as wanted, 0 when not, -errno. */
int sysctl_matches(const struct sysctl *list, size_t n, struct error *e) WARN_UNUSED;
