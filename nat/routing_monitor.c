/*
 * routing_monitor.c - hears of changes of rules, routes, addresses and links.
 *
 * Own changes are heard too: they cost a comparison that finds nothing.  (The kernel does say
 * which socket made a change, but gives the number of a closed one to others.)
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nat/routing_state.h"

#define MONITOR_ROOM (1 << 20)
#define EVERYTHING (ROUTING_CHANGED | ADDRESSES_CHANGED | LINKS_CHANGED)

static int join(int fd)
{
	static const int groups[] = {
		RTNLGRP_LINK,
		RTNLGRP_IPV4_IFADDR,
		RTNLGRP_IPV6_IFADDR,
		RTNLGRP_IPV4_ROUTE,
		RTNLGRP_IPV6_ROUTE,
		RTNLGRP_IPV4_RULE,
		RTNLGRP_IPV6_RULE,
	};

	for (size_t i = 0; i < COUNT_OF(groups); i++)
		if (setsockopt(
			    fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])))
			return -1;
	return 0;
}

int routing_monitor_open(struct error *e)
{
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	const int room = MONITOR_ROOM;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	int error;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&any, sizeof(any)) || join(fd)) {
		error = error_set(e, -errno, "watching the routing: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return error;
	}
	/* Best effort: an overflow only costs a comparison. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	return fd;
}

static unsigned see(const struct nlmsghdr *message, uint32_t table, uint32_t priority, uint32_t n)
{
	struct routing_route route;
	struct routing_rule rule;

	switch (message->nlmsg_type) {
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return ADDRESSES_CHANGED;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return LINKS_CHANGED;
	}
	if (routing_read_route(message, &route) && routing_is_in(route.table, table, n))
		return ROUTING_CHANGED;
	if (routing_read_rule(message, &rule) &&
		(routing_is_in(priority, rule.priority, n) || routing_is_in(rule.table, table, n)))
		return ROUTING_CHANGED;
	return 0;
}

unsigned routing_monitor_drain(int fd, uint32_t table, uint32_t priority, uint32_t n_tables)
{
	_Alignas(struct nlmsghdr) char buffer[64 * 1024];
	unsigned seen = 0;

	for (;;) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			seen = EVERYTHING; /* lost some */
			continue;
		}
		if (n <= 0)
			return seen;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			seen |= see(message, table, priority, n_tables);
	}
}
