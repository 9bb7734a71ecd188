/*
 * listen.h - the listening sockets: opened once by the gate, kept over every proxy that dies.
 */
#pragma once

#include "base/check.h"
#include "base/error.h"
#include "daemon/config/config.h"
#include "daemon/proxy/proxy.h"

struct listener_list {
	struct listener *at;
	size_t n;
};

/* One socket for each proxy or capture address and worker, none on an agent (SO_REUSEPORT: the
 * kernel spreads the connections), one for each admin address.  An address that the node does not
 * have yet is fine (IP_FREEBIND): a pod network's bridge comes with its first pod. 0, or -errno
 * with "listen ADDRESS: why". */
int listen_open(struct listener_list *list, const struct config *config, unsigned workers,
	struct error *e) WARN_UNUSED;
void listen_close(struct listener_list *list); /* fine when empty */
