/*
 * node_clients.c - clients of the proxy whose address is a node's, and not a pod's.
 */
#include "daemon/proxy/node_clients.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <sys/socket.h>

#include "daemon/log/log.h"

#define LOOK_EVERY 1.0 /* seconds */

void node_clients_init(struct node_clients *c)
{
	pthread_mutex_init(&c->lock, NULL);
	c->n = 0;
	c->looked = -LOOK_EVERY;
}

static bool is_gateway(const struct config *config, const struct addr *client)
{
	for (size_t i = 0; i < config->gateways.n; i++)
		for (size_t j = 0; j < config->gateways.at[i].n_given; j++)
			if (addr_equal(&config->gateways.at[i].given[j], client))
				return true;
	return false;
}

/* Bits of the 16-byte form. */
static uint8_t prefix(const struct sockaddr *mask)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)mask;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)mask;
	uint8_t bits = 0;

	if (mask->sa_family == AF_INET)
		return (uint8_t)(96 + __builtin_popcount(v4->sin_addr.s_addr));
	for (size_t i = 0; i < sizeof(v6->sin6_addr); i++)
		bits = (uint8_t)(bits + __builtin_popcount(v6->sin6_addr.s6_addr[i]));
	return bits;
}

/* The client is on the network of this interface, and is not this node. */
static bool is_neighbour(const struct ifaddrs *i, const struct addr *client, bool *self)
{
	struct endpoint own;
	struct cidr network;

	if (!i->ifa_addr || !i->ifa_netmask || (i->ifa_flags & IFF_LOOPBACK) ||
		!endpoint_from_sockaddr(&own, i->ifa_addr))
		return false;
	*self = *self || addr_equal(&own.addr, client);
	network = (struct cidr){.addr = own.addr, .bits = prefix(i->ifa_netmask)};
	return addr_is_v4(client) == addr_is_v4(&own.addr) && cidr_contains(&network, client);
}

static bool is_on_a_network(const struct addr *client)
{
	struct ifaddrs *all;
	bool near = false, self = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		near |= is_neighbour(i, client, &self);
	freeifaddrs(all);
	return near && !self;
}

/* One address a second, and each once. */
static bool is_due(struct node_clients *c, const struct addr *client, double now)
{
	if (c->n == NODE_CLIENTS_TOLD || now - c->looked < LOOK_EVERY)
		return false;
	for (size_t i = 0; i < c->n; i++)
		if (addr_equal(&c->told[i], client))
			return false;
	c->looked = now;
	return true;
}

static void tell(const struct addr *client, int fd)
{
	char node[ADDR_TEXT], here[ENDPOINT_TEXT] = "the proxy";
	struct sockaddr_storage ss;
	socklen_t length = sizeof(ss);
	struct endpoint at;

	if (getsockname(fd, (struct sockaddr *)&ss, &length) == 0 &&
		endpoint_from_sockaddr(&at, (struct sockaddr *)&ss))
		endpoint_print(&at, here);
	log_warn(
		"%s, which connected to %s, is a node's address: Flannel puts it in the place of a "
		"pod's that connects to a node; let the Service lead to this gateway's address "
		"in the pod network (docs/kubernetes.md)",
		addr_print(client, node), here);
}

static bool is_node(const struct generation *g, const struct addr *client)
{
	const char *group;

	return policy_groups(g->policy, client, &group, 1) == 0 &&
	       (is_gateway(g->config, client) || is_on_a_network(client));
}

void node_clients_note(struct node_clients *c, const struct generation *g,
	const struct addr *client, int fd, double now)
{
	bool node;

	if (policy_is_pod(g->policy, client))
		return;
	pthread_mutex_lock(&c->lock);
	node = is_due(c, client, now) && is_node(g, client);
	if (node)
		c->told[c->n++] = *client;
	pthread_mutex_unlock(&c->lock);
	if (node)
		tell(client, fd);
}
