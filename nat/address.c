/*
 * address.c - the egress addresses on this node: which are here, and adding and removing them.
 *
 * An IPv4 address of /32 is never chosen as source while the device has another; an IPv6 address
 * could be (RFC 6724), so ours is deprecated from birth: preferred lifetime 0.  It is used at once
 * and by this node alone, whatever the others think, so there is no duplicate address detection.
 */
#include "nat/address.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nat/facts.h"

#define FOREVER UINT32_MAX /* seconds */

static int on_address(const struct nlmsghdr *message, void *arg)
{
	struct address_list *list = arg;
	size_t room = list->room ? 2 * list->room : 64;
	struct rtnetlink_address address;

	if (!rtnetlink_read_address(message, &address))
		return MNL_CB_OK;
	if (list->n == list->room) {
		void *grown = reallocarray(list->at, room, sizeof(*list->at));

		if (!grown) {
			errno = ENOMEM;
			return MNL_CB_ERROR;
		}
		list->at = grown;
		list->room = room;
	}
	/* The kernel's own tags on loopback and link-local addresses give it away. */
	list->tells_protocol = list->tells_protocol || address.protocol != 0;
	list->at[list->n++] = address;
	return MNL_CB_OK;
}

static int load(struct address_list *list, struct mnl_socket *socket, struct error *e)
{
	int error = -EINTR;

	for (int i = 0; i < RTNETLINK_ATTEMPTS && error == -EINTR; i++) {
		list->n = 0;
		error = rtnetlink_ask_addresses(socket, AF_UNSPEC, on_address, list);
	}
	return error ? error_set(e, error, "reading addresses: %s", strerror(-error)) : 0;
}

int address_list_load(struct address_list *list, struct error *e)
{
	struct mnl_socket *socket;
	struct nat_facts facts;
	int error;

	*list = (struct address_list){0};
	error = netlink_open(NETLINK_ROUTE, &socket, e);
	if (error)
		return error;
	error = load(list, socket, e);
	mnl_socket_close(socket);
	if (!error)
		error = nat_facts(&facts, NULL, e);
	if (error)
		return error;
	memcpy(list->sources, facts.egress, sizeof(facts.egress));
	list->n_sources = facts.n_egress;
	return 0;
}

void address_list_fini(struct address_list *list)
{
	free(list->at);
	*list = (struct address_list){0};
}

static bool is_usable(const struct rtnetlink_address *address)
{
	bool tentative = (address->flags & IFA_F_TENTATIVE) != 0;
	bool optimistic = (address->flags & IFA_F_OPTIMISTIC) != 0; /* RFC 4429 */

	return !(address->flags & IFA_F_DADFAILED) && (!tentative || optimistic);
}

bool address_is_present(const struct address_list *list, const struct addr *addr)
{
	for (size_t i = 0; i < list->n; i++)
		if (addr_equal(&list->at[i].addr, addr) && is_usable(&list->at[i]))
			return true;
	return false;
}

static uint8_t full_length(const struct addr *addr)
{
	return addr_is_v4(addr) ? 32 : 128;
}

static bool is_ours(const struct address_list *list, const struct rtnetlink_address *address)
{
	return address->prefix_length == full_length(&address->addr) &&
	       (!list->tells_protocol || address->protocol == RTNETLINK_PROTOCOL);
}

bool address_find(
	const struct address_list *list, const struct addr *addr, struct address_place *place)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct rtnetlink_address *a = &list->at[i];

		if (!addr_equal(&a->addr, addr))
			continue;
		if (!if_indextoname(a->device, place->device))
			snprintf(place->device, sizeof(place->device), "%u", a->device);
		place->prefix_length = a->prefix_length;
		place->ours = is_ours(list, a);
		return true;
	}
	return false;
}

/* With IPv6, what would be the flag of secondary addresses is that of temporary ones (RFC 8981). */
static bool came_with_a_network(const struct rtnetlink_address *address)
{
	bool secondary = addr_is_v4(&address->addr) && (address->flags & IFA_F_SECONDARY);

	return address->prefix_length < full_length(&address->addr) && !secondary;
}

bool address_is_dedicated(const struct address_list *list, const struct addr *addr)
{
	for (size_t i = 0; i < list->n_sources; i++)
		if (addr_equal(&list->sources[i], addr))
			return false;
	for (size_t i = 0; i < list->n; i++)
		if (addr_equal(&list->at[i].addr, addr) && came_with_a_network(&list->at[i]))
			return false;
	return address_is_present(list, addr);
}

/* The device's entry for it, the /32 or /128 before others; NULL: none. */
static const struct rtnetlink_address *find(
	const struct address_list *list, uint32_t device, const struct addr *addr)
{
	const struct rtnetlink_address *found = NULL;

	for (size_t i = 0; i < list->n; i++) {
		const struct rtnetlink_address *a = &list->at[i];

		if (a->device == device && addr_equal(&a->addr, addr) &&
			(!found || a->prefix_length == full_length(addr)))
			found = a;
	}
	return found;
}

static int no_answer(const struct nlmsghdr *message, void *arg)
{
	(void)message;
	(void)arg;
	return MNL_CB_OK;
}

static struct nlmsghdr *put_address(
	void *buffer, uint16_t type, uint16_t flags, uint32_t device, const struct addr *addr)
{
	struct nlmsghdr *message = rtnetlink_request(buffer, type, (uint16_t)(NLM_F_ACK | flags),
		rtnetlink_family(addr), sizeof(struct ifaddrmsg));
	struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(message);

	ifa->ifa_prefixlen = full_length(addr);
	ifa->ifa_index = device;
	rtnetlink_put_addr(message, IFA_LOCAL, addr);
	rtnetlink_put_addr(message, IFA_ADDRESS, addr);
	return message;
}

static int send_new(struct mnl_socket *socket, uint32_t device, const struct addr *addr)
{
	const struct ifa_cacheinfo deprecated = {.ifa_valid = FOREVER};
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *message =
		put_address(buffer, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, device, addr);
	uint32_t flags = IFA_F_NOPREFIXROUTE;

	if (!addr_is_v4(addr)) {
		flags |= IFA_F_NODAD;
		mnl_attr_put(message, IFA_CACHEINFO, sizeof(deprecated), &deprecated);
	}
	mnl_attr_put_u32(message, IFA_FLAGS, flags);
	mnl_attr_put_u8(
		message, RTNETLINK_IFA_PROTO, RTNETLINK_PROTOCOL); /* ignored where unknown */
	return netlink_ask(socket, message, no_answer, NULL);
}

static int send_old(struct mnl_socket *socket, uint32_t device, const struct addr *addr)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};

	return netlink_ask(
		socket, put_address(buffer, RTM_DELADDR, 0, device, addr), no_answer, NULL);
}

static int add(struct mnl_socket *socket, const struct address_list *list, uint32_t device,
	const struct addr *addr)
{
	const struct rtnetlink_address *found = find(list, device, addr);
	int error;

	if (found)
		return found->flags & IFA_F_DADFAILED ? -EADDRINUSE : 0;
	error = send_new(socket, device, addr);
	return error == -EEXIST ? 0 : error ? error : 1;
}

static int take_away(struct mnl_socket *socket, const struct address_list *list, uint32_t device,
	const struct addr *addr)
{
	const struct rtnetlink_address *found = find(list, device, addr);
	int error;

	if (!found || !is_ours(list, found))
		return 0;
	error = send_old(socket, device, addr);
	return error == -EADDRNOTAVAIL ? 0 : error ? error : 1;
}

static int change(const char *device, const struct addr *addr,
	int (*how)(struct mnl_socket *, const struct address_list *, uint32_t, const struct addr *),
	const char *what, struct error *e)
{
	struct address_list list = {0};
	uint32_t index = if_nametoindex(device);
	struct mnl_socket *socket;
	char text[ADDR_TEXT];
	int result;

	if (index == 0)
		return error_set(e, -ENODEV, "egress address %s: no device %s",
			addr_print(addr, text), device);
	result = netlink_open(NETLINK_ROUTE, &socket, e);
	if (result)
		return result;
	result = load(&list, socket, e);
	if (!result) {
		result = how(socket, &list, index, addr);
		if (result < 0)
			error_set(e, result, "%s egress address %s on %s: %s", what,
				addr_print(addr, text), device,
				result == -EADDRINUSE ? "another node on the link has it"
						      : strerror(-result));
	}
	address_list_fini(&list);
	mnl_socket_close(socket);
	return result;
}

int address_add(const char *device, const struct addr *addr, struct error *e)
{
	return change(device, addr, add, "adding", e);
}

int address_remove(const char *device, const struct addr *addr, struct error *e)
{
	return change(device, addr, take_away, "removing", e);
}
