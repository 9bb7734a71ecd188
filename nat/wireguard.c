/*
 * wireguard.c - which peer of a WireGuard device takes what has no network of its own there.
 *
 * Generic netlink, family "wireguard", as linux/wireguard.h describes it.  There are no events, so
 * whoever needs a lead looks again from time to time.
 */
#include "nat/wireguard.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/wireguard.h>
#include <stdlib.h>
#include <string.h>

#include "nat/rtnetlink.h"

#define PEERS_NETWORKS 65536 /* most of one device */
#define PEER_NETWORKS 256    /* most of a peer that one is taken away from */

/* An allowed network, and whose. */
struct allowed {
	uint8_t key[WG_KEY_LEN];
	struct cidr net;
};

struct peers {
	struct mnl_socket *socket;
	const char *device;
	uint16_t family; /* of generic netlink */
	struct allowed *at;
	size_t n, room;
};

/* ---- what kind a device is ---- */

static int on_link(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attr, *info;
	bool *is = arg;

	mnl_attr_for_each (attr, message, sizeof(struct ifinfomsg)) {
		if (mnl_attr_get_type(attr) != IFLA_LINKINFO)
			continue;
		mnl_attr_for_each_nested (info, attr)
			if (mnl_attr_get_type(info) == IFLA_INFO_KIND)
				*is = strcmp(mnl_attr_get_str(info), WG_GENL_NAME) == 0;
	}
	return MNL_CB_OK;
}

bool wireguard_is_device(uint32_t index)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *request =
		rtnetlink_request(buffer, RTM_GETLINK, 0, AF_UNSPEC, sizeof(struct ifinfomsg));
	struct ifinfomsg *ifinfo = mnl_nlmsg_get_payload(request);
	struct mnl_socket *socket;
	bool is = false;

	ifinfo->ifi_index = (int)index;
	if (netlink_open(NETLINK_ROUTE, &socket, NULL))
		return false;
	if (netlink_ask(socket, request, on_link, &is))
		is = false;
	mnl_socket_close(socket);
	return is;
}

/* ---- the peers ---- */

static struct nlmsghdr *request(void *buffer, uint16_t type, uint16_t flags, uint8_t command)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *header;

	message->nlmsg_type = type;
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->cmd = command;
	header->version = WG_GENL_VERSION;
	return message;
}

static int on_family(const struct nlmsghdr *message, void *arg)
{
	struct peers *p = arg;
	const struct nlattr *attr;

	mnl_attr_for_each (attr, message, sizeof(struct genlmsghdr))
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID)
			p->family = mnl_attr_get_u16(attr);
	return MNL_CB_OK;
}

static int find_family(struct peers *p)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *message = request(buffer, GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY);

	mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
	return netlink_ask(p->socket, message, on_family, p);
}

static bool read_network(const struct nlattr *nest, struct cidr *net)
{
	const struct nlattr *attr, *addr = NULL;
	uint16_t family = 0;
	uint8_t bits = 0;

	mnl_attr_for_each_nested (attr, nest) {
		if (mnl_attr_get_type(attr) == WGALLOWEDIP_A_FAMILY)
			family = mnl_attr_get_u16(attr);
		else if (mnl_attr_get_type(attr) == WGALLOWEDIP_A_IPADDR)
			addr = attr;
		else if (mnl_attr_get_type(attr) == WGALLOWEDIP_A_CIDR_MASK)
			bits = mnl_attr_get_u8(attr);
	}
	return addr && rtnetlink_cidr((uint8_t)family, addr, bits, net);
}

static bool add_network(struct peers *p, const uint8_t *key, const struct cidr *net)
{
	size_t room = p->room ? 2 * p->room : 64;
	struct allowed *grown;

	if (p->n == p->room) {
		grown = p->n < PEERS_NETWORKS ? reallocarray(p->at, room, sizeof(*p->at)) : NULL;
		if (!grown) {
			errno = ENOMEM;
			return false;
		}
		p->at = grown;
		p->room = room;
	}
	memcpy(p->at[p->n].key, key, WG_KEY_LEN);
	p->at[p->n++].net = *net;
	return true;
}

static bool take_peer(struct peers *p, const struct nlattr *peer)
{
	const struct nlattr *attr, *nest;
	const uint8_t *key = NULL;
	struct cidr net;

	mnl_attr_for_each_nested (attr, peer) {
		if (mnl_attr_get_type(attr) == WGPEER_A_PUBLIC_KEY &&
			mnl_attr_get_payload_len(attr) == WG_KEY_LEN)
			key = mnl_attr_get_payload(attr);
		if (mnl_attr_get_type(attr) != WGPEER_A_ALLOWEDIPS || !key)
			continue;
		mnl_attr_for_each_nested (nest, attr)
			if (read_network(nest, &net) && !add_network(p, key, &net))
				return false;
	}
	return true;
}

static int on_device(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attr, *peer;

	mnl_attr_for_each (attr, message, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(attr) != WGDEVICE_A_PEERS)
			continue;
		mnl_attr_for_each_nested (peer, attr)
			if (!take_peer(arg, peer))
				return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

static int read_peers(struct peers *p)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	int error = -EINTR;

	for (int i = 0; i < RTNETLINK_ATTEMPTS && error == -EINTR; i++) {
		struct nlmsghdr *message;

		memset(buffer, 0, sizeof(buffer));
		p->n = 0;
		message = request(buffer, p->family, NLM_F_DUMP, WG_CMD_GET_DEVICE);
		mnl_attr_put_strz(message, WGDEVICE_A_IFNAME, p->device);
		error = netlink_ask(p->socket, message, on_device, p);
	}
	return error;
}

static int open_peers(struct peers *p, const char *device, struct error *e)
{
	int error;

	*p = (struct peers){.device = device};
	error = netlink_open(NETLINK_GENERIC, &p->socket, e);
	if (error)
		return error;
	error = find_family(p);
	if (!error)
		error = read_peers(p);
	return error ? error_set(e, error, "WireGuard's device %s: %s", device, strerror(-error))
		     : 0;
}

static void close_peers(struct peers *p)
{
	if (p->socket)
		mnl_socket_close(p->socket);
	free(p->at);
}

static bool is_everything(const struct cidr *net)
{
	return net->bits == cidr_everything[!cidr_is_v4(net)].bits;
}

/* The longest network that holds the address, but for those that hold all. */
static const struct allowed *peer_of(const struct peers *p, const struct addr *to)
{
	const struct allowed *found = NULL;

	for (size_t i = 0; i < p->n; i++)
		if (!is_everything(&p->at[i].net) && cidr_contains(&p->at[i].net, to) &&
			(!found || found->net.bits < p->at[i].net.bits))
			found = &p->at[i];
	return found;
}

/* Who has 0.0.0.0/0 or ::/0. */
static const struct allowed *leader(const struct peers *p, bool v4)
{
	for (size_t i = 0; i < p->n; i++)
		if (is_everything(&p->at[i].net) && cidr_is_v4(&p->at[i].net) == v4)
			return &p->at[i];
	return NULL;
}

static bool is_of(const struct allowed *a, const struct allowed *b)
{
	return memcmp(a->key, b->key, WG_KEY_LEN) == 0;
}

/* With networks of its own: a node. */
static bool is_node(const struct peers *p, const struct allowed *peer)
{
	for (size_t i = 0; i < p->n; i++)
		if (is_of(&p->at[i], peer) && !is_everything(&p->at[i].net))
			return true;
	return false;
}

/* ---- changes ---- */

static void put_network(struct nlmsghdr *message, const struct cidr *net)
{
	struct nlattr *nest = mnl_attr_nest_start(message, 0);

	mnl_attr_put_u16(message, WGALLOWEDIP_A_FAMILY, rtnetlink_family(&net->addr));
	rtnetlink_put_addr(message, WGALLOWEDIP_A_IPADDR, &net->addr);
	mnl_attr_put_u8(message, WGALLOWEDIP_A_CIDR_MASK, rtnetlink_prefix_length(net));
	mnl_attr_nest_end(message, nest);
}

/* Adds networks to a peer, or makes them all that it has. */
static int set_networks(struct peers *p, const uint8_t *key, uint32_t flags,
	const struct cidr *nets, size_t n, struct error *e)
{
	_Alignas(struct nlmsghdr) char buffer[512 + PEER_NETWORKS * 48] = {0};
	struct nlmsghdr *message = request(buffer, p->family, NLM_F_ACK, WG_CMD_SET_DEVICE);
	struct nlattr *peers, *peer, *allowed;
	int error;

	mnl_attr_put_strz(message, WGDEVICE_A_IFNAME, p->device);
	peers = mnl_attr_nest_start(message, WGDEVICE_A_PEERS);
	peer = mnl_attr_nest_start(message, 0);
	mnl_attr_put(message, WGPEER_A_PUBLIC_KEY, WG_KEY_LEN, key);
	mnl_attr_put_u32(message, WGPEER_A_FLAGS, WGPEER_F_UPDATE_ONLY | flags);
	allowed = mnl_attr_nest_start(message, WGPEER_A_ALLOWEDIPS);
	for (size_t i = 0; i < n; i++)
		put_network(message, &nets[i]);
	mnl_attr_nest_end(message, allowed);
	mnl_attr_nest_end(message, peer);
	mnl_attr_nest_end(message, peers);
	error = netlink_ask(p->socket, message, on_device, p);
	return error ? error_set(e, error, "WireGuard's device %s: allowed networks: %s", p->device,
			       strerror(-error))
		     : 1;
}

static int lead(struct peers *p, const struct addr *to, struct error *e)
{
	bool v4 = addr_is_v4(to);
	const struct allowed *wanted = peer_of(p, to), *now = leader(p, v4);
	char text[ADDR_TEXT];

	if (!wanted)
		return error_set(e, -ENOENT, "WireGuard's device %s: no peer has %s", p->device,
			addr_print(to, text));
	if (now && is_of(now, wanted))
		return 0;
	if (now && !is_node(p, now))
		return error_set(e, -EADDRINUSE,
			"WireGuard's device %s: a peer that is no node has %s: want it without",
			p->device, v4 ? "0.0.0.0/0" : "::/0");
	return set_networks(p, wanted->key, 0, &cidr_everything[!v4], 1, e);
}

int wireguard_lead(const char *device, const struct addr *to, struct error *e)
{
	struct peers p;
	int result = open_peers(&p, device, e);

	if (!result)
		result = lead(&p, to, e);
	close_peers(&p);
	return result;
}

int wireguard_leads(const char *device, const struct addr *to, struct error *e)
{
	const struct allowed *wanted, *now;
	struct peers p;
	int result = open_peers(&p, device, e);

	if (!result) {
		wanted = peer_of(&p, to);
		now = leader(&p, addr_is_v4(to));
		result = wanted && now && is_of(now, wanted);
	}
	close_peers(&p);
	return result;
}

/* A network can only be taken away by naming those that stay. */
static int release(struct peers *p, const struct allowed *peer, struct error *e)
{
	struct cidr stay[PEER_NETWORKS];
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (!is_of(&p->at[i], peer) || is_everything(&p->at[i].net))
			continue;
		if (n == PEER_NETWORKS)
			return error_set(e, -E2BIG,
				"WireGuard's device %s: a peer has more than %d networks",
				p->device, PEER_NETWORKS);
		stay[n++] = p->at[i].net;
	}
	return set_networks(p, peer->key, WGPEER_F_REPLACE_ALLOWEDIPS, stay, n, e);
}

int wireguard_release(const char *device, struct error *e)
{
	struct peers p;
	int changes = 0, result = open_peers(&p, device, e);

	for (int v = 0; v < 2 && result >= 0; v++) {
		const struct allowed *peer = leader(&p, v == 0);

		if (!peer || !is_node(&p, peer))
			continue;
		result = release(&p, peer, e);
		changes += result > 0;
		if (result >= 0) /* one change took both away if both were its */
			result = read_peers(&p);
	}
	close_peers(&p);
	return result < 0 ? result : changes;
}
