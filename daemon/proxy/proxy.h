/*
 * proxy.h - the unprivileged process: a main thread that listens to the gate, and workers.
 */
#pragma once

#include <stddef.h>

#include "base/addr.h"

enum listener_kind {
	LISTENER_PROXY,
	LISTENER_CAPTURE, /* of connections that were made to others, and redirected here */
	LISTENER_ADMIN,
};

struct listener {
	int fd;
	enum listener_kind kind;
	unsigned worker; /* whose loop accepts; the admin listeners are worker 0's */
	struct endpoint at;
};

struct proxy_start {
	int channel;
	const struct listener *listeners; /* SO_REUSEPORT: one for each address and worker */
	size_t n_listeners;
	unsigned workers;
	int cache_fd; /* a file for the cache, of [cache] size; -1: none.  It becomes the proxy's */
};

/* Runs until drained, or until the gate is gone.  Returns the exit status.  Privileges are already
 * dropped (sandbox.h). The first message must be a GENERATION. */
int proxy_run(const struct proxy_start *start);
