/*
 * status.h - what the gate says of itself: JSON for `egretctl status`.
 */
#pragma once

#include <sys/types.h>

#include "daemon/channel.h"
#include "daemon/edition.h"

struct status {
	const struct edition *edition; /* in force */
	const struct gate_counts *counts;
	pid_t gate, proxy; /* 0: none runs */
	bool reloading;    /* the proxy has been handed a later one */
};

/* malloc()ed text with a newline, or NULL: no memory. */
char *status_print(const struct status *status);
