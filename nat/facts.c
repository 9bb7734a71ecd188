/*
 * facts.c - what the node itself says.
 *
 * The default route of the main table with the lowest metric names the device.  The source address
 * is the one that the route prefers; most prefer none, so the kernel is asked which one it
 * would take for a destination that only a default route leads to.
 */
#include "nat/facts.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "nat/rtnetlink.h"

struct route {
	bool found;
	uint32_t metric;
	uint32_t device; /* index */
	bool has_source;
	struct addr source;
};

struct search {
	uint32_t device; /* 0: any */
	struct route route;
};

/* The device of the first of several ways. */
static uint32_t first_device(const struct nlattr *multipath)
{
	struct rtnexthop hop = {0};

	if (mnl_attr_get_payload_len(multipath) >= sizeof(hop))
		memcpy(&hop, mnl_attr_get_payload(multipath), sizeof(hop));
	return (uint32_t)hop.rtnh_ifindex;
}

static struct route read_route(const struct nlmsghdr *message)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(message);
	uint32_t table = rtm->rtm_table;
	struct route route = {0};
	const struct nlattr *attr;

	mnl_attr_for_each (attr, message, sizeof(*rtm)) {
		switch (mnl_attr_get_type(attr)) {
		case RTA_TABLE:
			table = mnl_attr_get_u32(attr);
			break;
		case RTA_OIF:
			route.device = mnl_attr_get_u32(attr);
			break;
		case RTA_MULTIPATH:
			route.device = first_device(attr);
			break;
		case RTA_PRIORITY:
			route.metric = mnl_attr_get_u32(attr);
			break;
		case RTA_PREFSRC:
			route.has_source = rtnetlink_addr(attr, &route.source);
			break;
		}
	}
	route.found = rtm->rtm_type == RTN_UNICAST && rtm->rtm_dst_len == 0 &&
		      table == RT_TABLE_MAIN && route.device != 0;
	return route;
}

static int on_route(const struct nlmsghdr *message, void *arg)
{
	struct search *search = arg;
	struct route route;

	if (message->nlmsg_type != RTM_NEWROUTE ||
		mnl_nlmsg_get_payload_len(message) < sizeof(struct rtmsg))
		return MNL_CB_OK;
	route = read_route(message);
	if (route.found && (search->device == 0 || search->device == route.device) &&
		(!search->route.found || route.metric < search->route.metric))
		search->route = route;
	return MNL_CB_OK;
}

static int find_default(
	struct mnl_socket *socket, uint8_t family, uint32_t device, struct route *route)
{
	int error = -EINTR;

	for (int i = 0; i < RTNETLINK_ATTEMPTS && error == -EINTR; i++) {
		_Alignas(struct nlmsghdr) char buffer[256] = {0};
		struct nlmsghdr *request = rtnetlink_request(
			buffer, RTM_GETROUTE, NLM_F_DUMP, family, sizeof(struct rtmsg));
		struct search search = {.device = device};

		error = netlink_ask(socket, request, on_route, &search);
		*route = search.route;
	}
	return error;
}

static int on_source(const struct nlmsghdr *message, void *arg)
{
	struct route *route = arg;
	struct route answer;

	if (message->nlmsg_type != RTM_NEWROUTE ||
		mnl_nlmsg_get_payload_len(message) < sizeof(struct rtmsg))
		return MNL_CB_OK;
	answer = read_route(message);
	route->has_source = answer.has_source;
	route->source = answer.source;
	return MNL_CB_OK;
}

/* Which source the kernel would take through the route's device.  No answer: none. */
static void ask_source(struct mnl_socket *socket, uint8_t family, struct route *route)
{
	static const uint8_t outside4[4] = {192, 0, 2, 1};                      /* RFC 5737 */
	static const uint8_t outside6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}; /* RFC 3849 */
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *message =
		rtnetlink_request(buffer, RTM_GETROUTE, 0, family, sizeof(struct rtmsg));
	struct rtmsg *rtm = mnl_nlmsg_get_payload(message);

	if (family == AF_INET) {
		rtm->rtm_dst_len = 32;
		mnl_attr_put(message, RTA_DST, sizeof(outside4), outside4);
	} else {
		rtm->rtm_dst_len = 128;
		mnl_attr_put(message, RTA_DST, sizeof(outside6), outside6);
	}
	mnl_attr_put_u32(message, RTA_OIF, route->device);
	if (netlink_ask(socket, message, on_source, route))
		route->has_source = false;
}

/* Until a device has an address of its own, the kernel answers with one of loopback. */
static bool leaves_the_link(enum addr_class class)
{
	return class != ADDR_LINK_LOCAL && class != ADDR_LOOPBACK;
}

static int ask_addresses(struct mnl_socket *socket, uint8_t family, mnl_cb_t each, void *arg)
{
	int error = -EINTR;

	for (int i = 0; i < RTNETLINK_ATTEMPTS && error == -EINTR; i++)
		error = rtnetlink_ask_addresses(socket, family, each, arg);
	return error;
}

/* The first address of the route's device that the kernel would prefer. */
static int on_device_address(const struct nlmsghdr *message, void *arg)
{
	struct route *route = arg;
	struct rtnetlink_address address;

	if (!rtnetlink_read_address(message, &address) || route->has_source ||
		address.device != route->device ||
		(address.flags & (IFA_F_DEPRECATED | IFA_F_TENTATIVE)))
		return MNL_CB_OK;
	route->has_source = leaves_the_link(addr_classify(&address.addr));
	route->source = address.addr;
	return MNL_CB_OK;
}

static int add_version(struct nat_facts *facts, struct mnl_socket *socket, uint8_t family,
	uint32_t device, struct error *e)
{
	struct route route = {0};
	int error = find_default(socket, family, device, &route);

	if (error)
		return error_set(e, error, "reading routes: %s", strerror(-error));
	if (!route.found && !device)
		return 0;
	if (!route.found) {
		route.device = device;
		error = ask_addresses(socket, family, on_device_address, &route);
		if (error)
			return error_set(e, error, "reading addresses: %s", strerror(-error));
	} else if (!route.has_source) {
		ask_source(socket, family, &route);
	}
	if (facts->device[0] == '\0' && !if_indextoname(route.device, facts->device))
		facts->device[0] = '\0'; /* gone meanwhile */
	if (route.has_source && leaves_the_link(addr_classify(&route.source)))
		facts->egress[facts->n_egress++] = route.source;
	return 0;
}

int nat_facts(struct nat_facts *facts, const char *device, struct error *e)
{
	uint32_t index = device ? if_nametoindex(device) : 0;
	struct mnl_socket *socket;
	int error;

	*facts = (struct nat_facts){0};
	if (device && index == 0)
		return error_set(e, -ENODEV,
			"egress-interface = %s: want an interface of this node", device);
	error = netlink_open(NETLINK_ROUTE, &socket, e);
	if (error)
		return error;
	error = add_version(facts, socket, AF_INET, index, e);
	if (!error)
		error = add_version(facts, socket, AF_INET6, index, e);
	mnl_socket_close(socket);
	return error;
}

struct local_search {
	const struct addr *addr;
	bool found;
};

static int on_address(const struct nlmsghdr *message, void *arg)
{
	struct local_search *search = arg;
	struct rtnetlink_address address;

	if (rtnetlink_read_address(message, &address) && addr_equal(&address.addr, search->addr))
		search->found = true;
	return MNL_CB_OK;
}

bool nat_address_is_local(const struct addr *addr)
{
	struct local_search search = {.addr = addr};
	struct mnl_socket *socket;
	enum addr_class class = addr_classify(addr);
	int error;

	if (class == ADDR_LOOPBACK || class == ADDR_UNSPECIFIED)
		return true;
	if (netlink_open(NETLINK_ROUTE, &socket, NULL))
		return true;
	error = ask_addresses(socket, addr_is_v4(addr) ? AF_INET : AF_INET6, on_address, &search);
	mnl_socket_close(socket);
	return search.found || error < 0;
}
