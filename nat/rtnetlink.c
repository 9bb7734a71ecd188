/*
 * rtnetlink.c - addresses and questions in the kernel's routing messages.
 */
#include "nat/rtnetlink.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#define V4_BITS 96

bool rtnetlink_addr(const struct nlattr *attr, struct addr *out)
{
	size_t size = mnl_attr_get_payload_len(attr);

	if (size != 4 && size != 16)
		return false;
	*out = (struct addr){{[10] = 0xff, [11] = 0xff}};
	memcpy(out->bytes + sizeof(out->bytes) - size, mnl_attr_get_payload(attr), size);
	return true;
}

bool rtnetlink_cidr(
	uint8_t family, const struct nlattr *attr, uint8_t prefix_length, struct cidr *out)
{
	*out = (struct cidr){.bits = prefix_length};
	if (family == AF_INET) {
		out->addr = (struct addr){{[10] = 0xff, [11] = 0xff}};
		out->bits = (uint8_t)(V4_BITS + prefix_length);
	}
	return !attr || rtnetlink_addr(attr, &out->addr);
}

uint8_t rtnetlink_family(const struct addr *addr)
{
	return addr_is_v4(addr) ? AF_INET : AF_INET6;
}

uint8_t rtnetlink_prefix_length(const struct cidr *cidr)
{
	return cidr_is_v4(cidr) ? cidr->bits - V4_BITS : cidr->bits;
}

void rtnetlink_put_addr(struct nlmsghdr *message, uint16_t type, const struct addr *addr)
{
	size_t size = addr_is_v4(addr) ? 4 : 16;

	mnl_attr_put(message, type, size, addr->bytes + sizeof(addr->bytes) - size);
}

struct nlmsghdr *rtnetlink_request(
	void *buffer, uint16_t type, uint16_t flags, uint8_t family, size_t size)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	uint8_t *header;

	message->nlmsg_type = type;
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	header = mnl_nlmsg_put_extra_header(message, size);
	header[0] = family;
	return message;
}

static void read_address_attr(const struct nlattr *attr, struct rtnetlink_address *address)
{
	switch (mnl_attr_get_type(attr)) {
	case IFA_FLAGS:
		address->flags = mnl_attr_get_u32(attr);
		break;
	case RTNETLINK_IFA_PROTO:
		address->protocol = mnl_attr_get_u8(attr);
		break;
	}
}

/* IFA_LOCAL is the own address; without one, IFA_ADDRESS is.  (With both, that is the peer.) */
bool rtnetlink_read_address(const struct nlmsghdr *message, struct rtnetlink_address *address)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(message);
	bool has_local = false, has_addr = false;
	const struct nlattr *attr;
	struct addr peer;

	if (message->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(message) < sizeof(*ifa))
		return false;
	*address = (struct rtnetlink_address){
		.device = ifa->ifa_index,
		.prefix_length = ifa->ifa_prefixlen,
		.flags = ifa->ifa_flags,
	};
	mnl_attr_for_each (attr, message, sizeof(*ifa)) {
		if (mnl_attr_get_type(attr) == IFA_LOCAL)
			has_local = rtnetlink_addr(attr, &address->addr);
		else if (mnl_attr_get_type(attr) == IFA_ADDRESS)
			has_addr = rtnetlink_addr(attr, &peer);
		else
			read_address_attr(attr, address);
	}
	if (!has_local && has_addr)
		address->addr = peer;
	return has_local || has_addr;
}

int rtnetlink_ask_addresses(struct mnl_socket *socket, uint8_t family, mnl_cb_t each, void *arg)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *request = rtnetlink_request(
		buffer, RTM_GETADDR, NLM_F_DUMP, family, sizeof(struct ifaddrmsg));

	return netlink_ask(socket, request, each, arg);
}

const char *rtnetlink_protocol_name(uint8_t protocol, char out[4])
{
	/* As iproute2 names them, in /etc/iproute2/rt_protos. */
	static const char *const names[] = {
		[RTPROT_UNSPEC] = "unspec",
		[RTPROT_REDIRECT] = "redirect",
		[RTPROT_KERNEL] = "kernel",
		[RTPROT_BOOT] = "boot",
		[RTPROT_STATIC] = "static",
		[RTPROT_GATED] = "gated",
		[RTPROT_RA] = "ra",
		[RTPROT_MRT] = "mrt",
		[RTPROT_ZEBRA] = "zebra",
		[RTPROT_BIRD] = "bird",
		[RTPROT_DNROUTED] = "dnrouted",
		[RTPROT_XORP] = "xorp",
		[RTPROT_NTK] = "ntk",
		[RTPROT_DHCP] = "dhcp",
		[RTPROT_KEEPALIVED] = "keepalived",
		[RTPROT_BABEL] = "babel",
		[RTPROT_OPENR] = "openr",
		[RTPROT_BGP] = "bgp",
		[RTPROT_ISIS] = "isis",
		[RTPROT_OSPF] = "ospf",
		[RTPROT_RIP] = "rip",
		[RTPROT_EIGRP] = "eigrp",
	};

	if (protocol < COUNT_OF(names) && names[protocol])
		return names[protocol];
	snprintf(out, 4, "%u", protocol);
	return out;
}
