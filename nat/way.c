/*
 * way.c - how packets get to another gateway.
 */
#include "nat/way.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "nat/routing_state.h"
#include "nat/rtnetlink.h"
#include "nat/wireguard.h"

struct route {
	bool found;
	uint32_t device;
	bool has_via;
	struct addr via;
};

static int on_route(const struct nlmsghdr *message, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(message);
	struct route *route = arg;
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWROUTE ||
		mnl_nlmsg_get_payload_len(message) < sizeof(*rtm))
		return MNL_CB_OK;
	route->found = rtm->rtm_type == RTN_UNICAST;
	mnl_attr_for_each (attr, message, sizeof(*rtm)) {
		if (mnl_attr_get_type(attr) == RTA_OIF)
			route->device = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == RTA_GATEWAY)
			route->has_via = rtnetlink_addr(attr, &route->via);
	}
	return MNL_CB_OK;
}

static struct nlmsghdr *request(void *buffer, const struct addr *to)
{
	struct nlmsghdr *message = rtnetlink_request(
		buffer, RTM_GETROUTE, 0, rtnetlink_family(to), sizeof(struct rtmsg));
	struct rtmsg *rtm = mnl_nlmsg_get_payload(message);

	rtm->rtm_dst_len = addr_is_v4(to) ? 32 : 128;
	rtnetlink_put_addr(message, RTA_DST, to);
	return message;
}

/* What the kernel would do with a packet to `to`.  0, also when nothing leads there. */
static int ask(struct mnl_socket *socket, const struct addr *to, struct route *route)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	int error;

	*route = (struct route){0};
	error = netlink_ask(socket, request(buffer, to), on_route, route);
	return error == -ENETUNREACH || error == -EHOSTUNREACH || error == -EACCES ||
			       error == -EINVAL
		       ? 0
		       : error;
}

static int on_match(const struct nlmsghdr *message, void *arg)
{
	const struct addr none = {{0}};
	struct routing_route route;
	struct cidr *link = arg;
	bool v4 = cidr_is_v4(link);

	/* A default route to the link says nothing of who is there. */
	if (routing_read_route(message, &route) && route.type == RTN_UNICAST &&
		addr_equal(&route.via, &none) && route.to.bits > (v4 ? 96 : 0))
		*link = route.to;
	return MNL_CB_OK;
}

/* The route itself is asked for, not what becomes of a packet. */
static void find_link(struct mnl_socket *socket, const struct addr *via, struct cidr *link)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *message = request(buffer, via);
	struct rtmsg *rtm = mnl_nlmsg_get_payload(message);

	*link = (struct cidr){*via, 128};
	rtm->rtm_flags = RTM_F_FIB_MATCH;
	if (netlink_ask(socket, message, on_match, link))
		*link = (struct cidr){*via, 128};
}

static bool take(struct way *way, const struct route *route, const struct addr *via)
{
	if (!if_indextoname(route->device, way->device)) {
		way->device[0] = '\0'; /* gone meanwhile */
		return false;
	}
	way->via = *via;
	return true;
}

/* While Flannel's device or route is away the default route has a next hop too, which is nobody who
 * translates. */
static bool leads_there(const struct addr *via, const struct addr *pod, const struct addr *node)
{
	return addr_equal(via, pod) || (node && addr_equal(via, node));
}

static int find(
	struct way *way, struct mnl_socket *socket, const struct addr *pod, const struct addr *node)
{
	struct route pods = {0}, direct = {0};
	int error = pod ? ask(socket, pod, &pods) : 0;

	if (error || (pods.found && pods.has_via && leads_there(&pods.via, pod, node) &&
			     take(way, &pods, &pods.via)))
		return error;
	error = node ? ask(socket, node, &direct) : 0;
	if (error)
		return error;
	if (pods.found && !pods.has_via && !(direct.found && direct.device == pods.device)) {
		if (wireguard_is_device(pods.device)) {
			way->wireguard = take(way, &pods, pod);
			return 0;
		}
		if (!if_indextoname(pods.device, way->tunnel))
			way->tunnel[0] = '\0'; /* gone meanwhile */
		return 0;
	}
	if (direct.found && !direct.has_via)
		take(way, &direct, node);
	return 0;
}

int way_find(struct way *way, const struct addr *pod, const struct addr *node, struct error *e)
{
	struct mnl_socket *socket;
	int error = netlink_open(NETLINK_ROUTE, &socket, e);

	*way = (struct way){0};
	if (error)
		return error;
	error = find(way, socket, pod, node);
	if (way->wireguard)
		way->link = (struct cidr){way->via, 128};
	else if (!error && way->device[0])
		find_link(socket, &way->via, &way->link);
	mnl_socket_close(socket);
	return error ? error_set(e, error, "looking for the way to a gateway: %s", strerror(-error))
		     : 0;
}
