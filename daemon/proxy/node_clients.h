/*
 * node_clients.h - clients of the proxy whose address is a node's, and not a pod's.
 *
 * Flannel masquerades what a pod sends to a node of the cluster.  A Service that leads to the
 * gateway's node address therefore makes all pods of a node one client, whom no `from` fits.  What
 * this module does is say so in the log.
 */
#pragma once

#include <pthread.h>

#include "base/addr.h"
#include "daemon/proxy/generation.h"

#define NODE_CLIENTS_TOLD 64 /* most addresses that are told of */

struct node_clients {
	pthread_mutex_t lock; /* over the rest */
	struct addr told[NODE_CLIENTS_TOLD];
	size_t n;
	double looked; /* monotonic seconds when a client's address was last looked at */
};

void node_clients_init(struct node_clients *clients);

/* A client connected by `fd`.  Logs a warning when its address is that of a node: of another
 * gateway, or on a network of this node's own outside the pod networks.  Not when a group of the
 * policy names it, nor twice; one address is looked at a second, so strangers cost nothing. */
void node_clients_note(struct node_clients *clients, const struct generation *generation,
	const struct addr *client, int fd, double now);
