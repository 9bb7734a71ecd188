/*
 * gate.h - the privileged process: reads the files, owns the kernel's table and the listeners,
 * keeps the proxy alive.  It reads nothing that comes from the network.
 */
#pragma once

#include <stdbool.h>

struct gate_options {
	const char *path; /* of egret.ini, absolute */
	bool debug;       /* log level debug, whatever the file says */
};

/* Runs until SIGTERM or SIGINT (0), or until it cannot go on (1, and the log says why). */
int gate_run(const struct gate_options *options);
