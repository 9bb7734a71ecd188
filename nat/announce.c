/*
 * announce.c - tells the link that an egress address is here now.
 *
 * Frames are built whole and sent by AF_PACKET, so that neither routing nor packet filters have a
 * say.  Linux takes a reply as an announcement only when its target hardware address is the
 * sender's, and other systems only look at requests: hence both.
 */
#include "nat/announce.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nat/sysctl.h"

struct link {
	const char *name;
	int index;
	bool has_neighbours;
	uint8_t mac[ETH_ALEN];
};

struct arp_frame {
	struct ether_header ethernet;
	struct ether_arp arp;
} __attribute__((packed));

/* RFC 4861 4.4 with the target link-layer address option of 4.6.1. */
struct advertisement {
	struct nd_neighbor_advert advert;
	struct nd_opt_hdr option;
	uint8_t mac[ETH_ALEN];
} __attribute__((packed));

struct na_frame {
	struct ether_header ethernet;
	struct ip6_hdr ip;
	struct advertisement icmp;
} __attribute__((packed));

static int find_link(int fd, const char *name, struct link *link)
{
	struct ifreq request = {0};
	short flags;

	*link = (struct link){.name = name};
	strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
	if (ioctl(fd, SIOCGIFINDEX, &request))
		return -errno;
	link->index = request.ifr_ifindex;
	if (ioctl(fd, SIOCGIFFLAGS, &request))
		return -errno;
	flags = request.ifr_flags;
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		return -errno;
	link->has_neighbours = request.ifr_hwaddr.sa_family == ARPHRD_ETHER &&
			       !(flags & (IFF_NOARP | IFF_LOOPBACK));
	memcpy(link->mac, request.ifr_hwaddr.sa_data, sizeof(link->mac));
	return 0;
}

static int send_frame(int fd, const struct link *link, const void *frame, size_t size)
{
	const struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = link->index};
	ssize_t sent;

	do
		sent = sendto(fd, frame, size, 0, (const struct sockaddr *)&to, sizeof(to));
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

static void fill_arp(
	struct arp_frame *frame, const struct link *link, const uint8_t addr[4], uint16_t operation)
{
	memset(frame->ethernet.ether_dhost, 0xff, ETH_ALEN);
	memcpy(frame->ethernet.ether_shost, link->mac, ETH_ALEN);
	frame->ethernet.ether_type = htons(ETHERTYPE_ARP);
	frame->arp.ea_hdr = (struct arphdr){
		.ar_hrd = htons(ARPHRD_ETHER),
		.ar_pro = htons(ETHERTYPE_IP),
		.ar_hln = ETH_ALEN,
		.ar_pln = 4,
		.ar_op = htons(operation),
	};
	memcpy(frame->arp.arp_sha, link->mac, ETH_ALEN);
	memcpy(frame->arp.arp_spa, addr, 4);
	if (operation == ARPOP_REPLY)
		memcpy(frame->arp.arp_tha, link->mac, ETH_ALEN);
	memcpy(frame->arp.arp_tpa, addr, 4);
}

static int send_arp(int fd, const struct link *link, const struct addr *addr)
{
	static const uint16_t operations[] = {ARPOP_REQUEST, ARPOP_REPLY};
	int error = 0;

	for (size_t i = 0; i < COUNT_OF(operations) && !error; i++) {
		struct arp_frame frame = {0};

		fill_arp(&frame, link, addr->bytes + 12, operations[i]);
		error = send_frame(fd, link, &frame, sizeof(frame));
	}
	return error;
}

/* The Internet checksum (RFC 1071) goes on from `sum`; `size` is even. */
static uint32_t add_words(uint32_t sum, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < size; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	return sum;
}

/* Over the pseudo-header of RFC 8200 8.1 too. */
static uint16_t icmp6_checksum(const struct na_frame *frame)
{
	uint32_t sum = (uint32_t)sizeof(frame->icmp) + IPPROTO_ICMPV6;

	sum = add_words(sum, &frame->ip.ip6_src, 2 * sizeof(struct in6_addr));
	sum = add_words(sum, &frame->icmp, sizeof(frame->icmp));
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* A node that forwards says so: a neighbour that has it as router would forget that otherwise. */
static bool is_router(const struct link *link)
{
	char path[64], value[SYSCTL_VALUE];

	snprintf(path, sizeof(path), "net/ipv6/conf/%s/forwarding", link->name);
	return sysctl_read(path, value, NULL) == 0 && strcmp(value, "0") != 0;
}

static int send_advertisement(int fd, const struct link *link, const struct addr *addr)
{
	static const uint8_t all_nodes_mac[ETH_ALEN] = {0x33, 0x33, [5] = 1}; /* RFC 2464 7 */
	static const struct in6_addr all_nodes = {{{0xff, 0x02, [15] = 1}}};
	struct nd_neighbor_advert advert = {.nd_na_type = ND_NEIGHBOR_ADVERT};
	struct na_frame frame = {0};

	memcpy(frame.ethernet.ether_dhost, all_nodes_mac, ETH_ALEN);
	memcpy(frame.ethernet.ether_shost, link->mac, ETH_ALEN);
	frame.ethernet.ether_type = htons(ETHERTYPE_IPV6);
	frame.ip.ip6_flow = htonl(6U << 28);
	frame.ip.ip6_plen = htons(sizeof(frame.icmp));
	frame.ip.ip6_nxt = IPPROTO_ICMPV6;
	frame.ip.ip6_hlim = 255;
	memcpy(&frame.ip.ip6_src, addr->bytes, sizeof(addr->bytes));
	frame.ip.ip6_dst = all_nodes;
	advert.nd_na_flags_reserved =
		ND_NA_FLAG_OVERRIDE | (is_router(link) ? ND_NA_FLAG_ROUTER : 0);
	memcpy(&advert.nd_na_target, addr->bytes, sizeof(addr->bytes));
	frame.icmp.advert = advert;
	frame.icmp.option.nd_opt_type = ND_OPT_TARGET_LINKADDR;
	frame.icmp.option.nd_opt_len = 1; /* times 8 bytes */
	memcpy(frame.icmp.mac, link->mac, ETH_ALEN);
	frame.icmp.advert.nd_na_cksum = icmp6_checksum(&frame);
	return send_frame(fd, link, &frame, sizeof(frame));
}

int announce_send(const char *device, const struct addr *addr, struct error *e)
{
	/* Protocol 0: it receives nothing. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	int error = fd < 0 ? -errno : 0;
	char text[ADDR_TEXT];
	struct link link;

	if (!error)
		error = find_link(fd, device, &link);
	if (!error && link.has_neighbours)
		error = addr_is_v4(addr) ? send_arp(fd, &link, addr)
					 : send_advertisement(fd, &link, addr);
	if (fd >= 0)
		close(fd);
	return error ? error_set(e, error, "announcing %s on %s: %s", addr_print(addr, text),
			       device, strerror(-error))
		     : 0;
}
