/*
 * gate.h - the privileged process: reads the files, owns the kernel's table and the listeners,
 * keeps the proxy alive.  Of what comes from the network it reads only what gateways tell each
 * other: datagrams of one size (peer_message.h), and frames about its own egress addresses
 * (probe.h).
 */
#pragma once

#include <stdbool.h>

#include "daemon/config/config.h"

struct gate_options {
	const char *path;      /* of egret.ini, absolute */
	bool debug;            /* log level debug, whatever the file says */
	const enum role *role; /* whatever the file says; NULL: as it says */
};

/* Runs until SIGTERM or SIGINT (0), or until it cannot go on (1, and the log says why). */
int gate_run(const struct gate_options *options);
