#include "nat/frames.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int frame_find_mac(int fd, uint32_t device, uint8_t mac[ETH_ALEN])
{
	struct ifreq request = {0};

	if (!if_indextoname(device, request.ifr_name) || ioctl(fd, SIOCGIFFLAGS, &request))
		return -errno;
	if (request.ifr_flags & (IFF_NOARP | IFF_LOOPBACK))
		return -ENOTSUP;
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		return -errno;
	if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -ENOTSUP;
	memcpy(mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
	return 0;
}

static int send_frame(int fd, uint32_t device, const void *frame, size_t size)
{
	const struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)device};
	ssize_t sent;

	do
		sent = sendto(fd, frame, size, 0, (const struct sockaddr *)&to, sizeof(to));
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

int frame_send_arp(int fd, uint32_t device, const uint8_t mac[ETH_ALEN], uint16_t operation,
	const struct addr *sender, const struct addr *target)
{
	struct arp_frame frame = {0};

	memset(frame.ethernet.ether_dhost, 0xff, ETH_ALEN);
	memcpy(frame.ethernet.ether_shost, mac, ETH_ALEN);
	frame.ethernet.ether_type = htons(ETHERTYPE_ARP);
	frame.arp.ea_hdr = (struct arphdr){
		.ar_hrd = htons(ARPHRD_ETHER),
		.ar_pro = htons(ETHERTYPE_IP),
		.ar_hln = ETH_ALEN,
		.ar_pln = 4,
		.ar_op = htons(operation),
	};
	memcpy(frame.arp.arp_sha, mac, ETH_ALEN);
	if (sender)
		memcpy(frame.arp.arp_spa, sender->bytes + 12, 4);
	if (operation == ARPOP_REPLY)
		memcpy(frame.arp.arp_tha, mac, ETH_ALEN);
	memcpy(frame.arp.arp_tpa, target->bytes + 12, 4);
	return send_frame(fd, device, &frame, sizeof(frame));
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
static uint16_t icmp6_checksum(const struct ndp_frame *frame)
{
	uint32_t sum = (uint32_t)sizeof(frame->icmp) + IPPROTO_ICMPV6;

	sum = add_words(sum, &frame->ip.ip6_src, 2 * sizeof(struct in6_addr));
	sum = add_words(sum, &frame->icmp, sizeof(frame->icmp));
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

int frame_send_ndp(int fd, uint32_t device, const uint8_t mac[ETH_ALEN], uint8_t type,
	uint32_t flags, const struct in6_addr *from, const struct in6_addr *to,
	const struct addr *target)
{
	const uint8_t *group = to->s6_addr + 12;
	struct ndp_frame frame = {
		/* RFC 2464 7 */
		.ethernet.ether_dhost = {0x33, 0x33, group[0], group[1], group[2], group[3]},
		.ethernet.ether_type = htons(ETHERTYPE_IPV6),
		.ip.ip6_flow = htonl(6U << 28),
		.ip.ip6_plen = htons(sizeof(struct ndp_message)),
		.ip.ip6_nxt = IPPROTO_ICMPV6,
		.ip.ip6_hlim = 255,
		.ip.ip6_src = *from,
		.ip.ip6_dst = *to,
		.icmp.type = type,
		.icmp.flags = flags,
		.icmp.option = type == ND_NEIGHBOR_SOLICIT ? ND_OPT_SOURCE_LINKADDR
							   : ND_OPT_TARGET_LINKADDR,
		.icmp.option_length = 1, /* times 8 bytes */
	};

	memcpy(frame.ethernet.ether_shost, mac, ETH_ALEN);
	memcpy(frame.icmp.target, target->bytes, sizeof(frame.icmp.target));
	memcpy(frame.icmp.mac, mac, ETH_ALEN);
	frame.icmp.checksum = icmp6_checksum(&frame);
	return send_frame(fd, device, &frame, sizeof(frame));
}
