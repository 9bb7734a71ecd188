/*
 * probe.c - asks the link whether another node has an egress address, too.
 *
 * AF_PACKET, so that nothing between has a say, bound to one device and one EtherType.  The kernel
 * runs a classic BPF program on what comes in: a line of jumps for each address, so that the other
 * ARP and IPv6 packets of a busy node wake nobody.  Offsets are from the link-layer header on.
 */
#include "nat/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <netinet/icmp6.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nat/frames.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23 /* Linux 4.20 */
#endif

#define FRAMES_A_TURN 32

/* ---- what is heard ---- */

#define PROGRAM_MOST (8 + PROBE_MOST * 9)

struct program {
	struct sock_filter at[PROGRAM_MOST];
	unsigned short n;
};

static void put(struct program *p, uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t k)
{
	CHECK(p->n < PROGRAM_MOST);
	p->at[p->n++] = (struct sock_filter){code, if_true, if_false, k};
}

static void put_load(struct program *p, uint16_t size, uint32_t offset)
{
	put(p, BPF_LD | size | BPF_ABS, 0, 0, offset);
}

static void put_accept(struct program *p)
{
	put(p, BPF_RET | BPF_K, 0, 0, UINT32_MAX);
}

/* Goes on when the loaded value is `k`, else jumps over `skip` instructions. */
static void put_only(struct program *p, uint32_t k, uint8_t skip)
{
	put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, skip, k);
}

static uint32_t word_of(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

/* The sender's address of any ARP packet: replies, and announcements, too. */
static void program_arp(struct program *p, const struct addr *addrs, size_t n)
{
	put_load(p, BPF_W, offsetof(struct arp_frame, arp.arp_spa));
	for (size_t i = 0; i < n; i++) {
		put_only(p, word_of(addrs[i].bytes + 12), 1);
		put_accept(p);
	}
}

/* The target of a neighbour advertisement. */
static void program_ndp(struct program *p, const struct addr *addrs, size_t n)
{
	const uint32_t target = offsetof(struct ndp_frame, icmp.target);

	put_load(p, BPF_B, offsetof(struct ndp_frame, ip.ip6_nxt));
	put(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, IPPROTO_ICMPV6);
	put(p, BPF_RET | BPF_K, 0, 0, 0);
	put_load(p, BPF_B, offsetof(struct ndp_frame, icmp));
	put(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ND_NEIGHBOR_ADVERT);
	put(p, BPF_RET | BPF_K, 0, 0, 0);
	for (size_t i = 0; i < n; i++) {
		for (uint8_t word = 0; word < 4; word++) {
			put_load(p, BPF_W, target + 4u * word);
			put_only(p, word_of(addrs[i].bytes + 4 * word),
				(uint8_t)(2 * (3 - word) + 1));
		}
		put_accept(p);
	}
}

static int attach(int fd, const struct addr *addrs, size_t n)
{
	struct program program = {.n = 0};
	struct sock_fprog filter;

	if (addr_is_v4(&addrs[0]))
		program_arp(&program, addrs, n);
	else
		program_ndp(&program, addrs, n);
	put(&program, BPF_RET | BPF_K, 0, 0, 0);
	filter = (struct sock_fprog){program.n, program.at};
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) ? -errno : 0;
}

/* ---- the device ---- */

static bool is_ours(const uint8_t mac[PROBE_MAC])
{
	struct ifaddrs *all, *one;
	bool ours = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (one = all; one && !ours; one = one->ifa_next) {
		const struct sockaddr_ll *link = (const struct sockaddr_ll *)(void *)one->ifa_addr;

		ours = link && link->sll_family == AF_PACKET && link->sll_halen == PROBE_MAC &&
		       memcmp(link->sll_addr, mac, PROBE_MAC) == 0;
	}
	freeifaddrs(all);
	return ours;
}

int probe_open(uint32_t device, const struct addr *addrs, size_t n, struct error *e)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)device};
	uint8_t mac[PROBE_MAC];
	/* Hears nothing before the program is there and bind() names the protocol. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error = fd < 0 ? -errno : 0;

	CHECK(n > 0 && n <= PROBE_MOST);
	if (!error)
		error = frame_find_mac(fd, device, mac);
	if (!error)
		error = attach(fd, addrs, n);
	if (!error)
		setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &(int){1}, sizeof(int));
	at.sll_protocol = htons(addr_is_v4(&addrs[0]) ? ETHERTYPE_ARP : ETHERTYPE_IPV6);
	if (!error && bind(fd, (const struct sockaddr *)&at, sizeof(at)))
		error = -errno;
	if (!error)
		return fd;
	if (fd >= 0)
		close(fd);
	return error_set(
		e, error, "listening for other nodes with an egress address: %s", strerror(-error));
}

/* ---- asking ---- */

/* As the kernel chooses it for a neighbour: link-local, if the device has such an address. */
static int choose_source(uint32_t device, struct in6_addr *source)
{
	struct sockaddr_in6 at = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(9),
		.sin6_addr = {{{0xfe, 0x80, [15] = 1}}},
		.sin6_scope_id = device,
	};
	socklen_t length = sizeof(at);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&at, length) ||
		getsockname(fd, (struct sockaddr *)&at, &length))
		error = -errno;
	close(fd);
	*source = at.sin6_addr;
	return error;
}

static int send_solicitation(
	int fd, uint32_t device, const uint8_t mac[PROBE_MAC], const struct addr *addr)
{
	const uint8_t *low = addr->bytes + 13;
	/* Solicited-node multicast (RFC 4291 2.7.1). */
	const struct in6_addr group = {{{0xff, 2, [11] = 1, 0xff, low[0], low[1], low[2]}}};
	struct in6_addr source;
	int error = choose_source(device, &source);

	return error ? error
		     : frame_send_ndp(
			       fd, device, mac, ND_NEIGHBOR_SOLICIT, 0, &source, &group, addr);
}

int probe_send(int fd, uint32_t device, const struct addr *addr)
{
	uint8_t mac[PROBE_MAC];
	int error = frame_find_mac(fd, device, mac);

	if (error)
		return error;
	return addr_is_v4(addr) ? frame_send_arp(fd, device, mac, ARPOP_REQUEST, NULL, addr)
				: send_solicitation(fd, device, mac, addr);
}

/* ---- answers ---- */

static bool read_arp(const uint8_t *bytes, size_t length, struct probe_answer *answer)
{
	struct arp_frame frame;

	if (length < sizeof(frame))
		return false;
	memcpy(&frame, bytes, sizeof(frame));
	answer->addr = (struct addr){{[10] = 0xff, 0xff}};
	memcpy(answer->addr.bytes + 12, frame.arp.arp_spa, 4);
	memcpy(answer->mac, frame.arp.arp_sha, PROBE_MAC);
	return frame.arp.arp_pln == 4 && frame.arp.arp_hln == ETH_ALEN;
}

/* Its own link-layer address stands in the option; one without is told by who sent the frame. */
static bool read_advertisement(const uint8_t *bytes, size_t length, struct probe_answer *answer)
{
	const size_t least = offsetof(struct ndp_frame, icmp.option);
	struct ndp_frame frame = {0};

	if (length < least)
		return false;
	memcpy(&frame, bytes, length < sizeof(frame) ? length : sizeof(frame));
	memcpy(answer->addr.bytes, frame.icmp.target, sizeof(answer->addr.bytes));
	memcpy(answer->mac,
		length >= sizeof(frame) && frame.icmp.option == ND_OPT_TARGET_LINKADDR
			? frame.icmp.mac
			: frame.ethernet.ether_shost,
		PROBE_MAC);
	return frame.ip.ip6_hlim == 255;
}

bool probe_take(int fd, struct probe_answer *answer)
{
	uint8_t bytes[256];

	for (int i = 0; i < FRAMES_A_TURN; i++) {
		ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
		uint16_t type;

		if (got < (ssize_t)sizeof(struct ether_header))
			return false;
		memcpy(&type, bytes + offsetof(struct ether_header, ether_type), sizeof(type));
		if ((type == htons(ETHERTYPE_ARP)
				    ? read_arp(bytes, (size_t)got, answer)
				    : read_advertisement(bytes, (size_t)got, answer)) &&
			!is_ours(answer->mac))
			return true;
	}
	return false;
}

const char *probe_print_mac(const uint8_t mac[PROBE_MAC], char out[PROBE_MAC_TEXT])
{
	snprintf(out, PROBE_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		mac[3], mac[4], mac[5]);
	return out;
}
