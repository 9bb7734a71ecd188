/*
 * frames.h - ARP and neighbour discovery as they are on the wire, sent by AF_PACKET, so that
 * neither routing nor packet filters have a say.
 */
#pragma once

#include <net/ethernet.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/check.h"

struct arp_frame {
	struct ether_header ethernet;
	struct ether_arp arp; /* RFC 826 */
} __attribute__((packed));

/* A neighbour solicitation or advertisement (RFC 4861 4.3, 4.4) with the sender's link-layer
 * address as its option (4.6.1). */
struct ndp_message {
	uint8_t type, code;
	uint16_t checksum;
	uint32_t flags;
	uint8_t target[16];
	uint8_t option, option_length;
	uint8_t mac[ETH_ALEN];
};

struct ndp_frame {
	struct ether_header ethernet;
	struct ip6_hdr ip;
	struct ndp_message icmp;
} __attribute__((packed));

/* The link-layer address of the device, by a packet socket.  0; -ENOTSUP on devices without
 * neighbours (loopback, dummy, tunnels); -errno. */
int frame_find_mac(int fd, uint32_t device, uint8_t mac[ETH_ALEN]) WARN_UNUSED;

/* To everybody; a reply names the sender as its target, as announcements do (RFC 5227 3).  `sender`
 * NULL: a probe.  0 or -errno. */
int frame_send_arp(int fd, uint32_t device, const uint8_t mac[ETH_ALEN], uint16_t operation,
	const struct addr *sender, const struct addr *target) WARN_UNUSED;

/* `type`: ND_NEIGHBOR_SOLICIT or ND_NEIGHBOR_ADVERT; `flags` in network order; `to` is a multicast
 * address.  0 or -errno. */
int frame_send_ndp(int fd, uint32_t device, const uint8_t mac[ETH_ALEN], uint8_t type,
	uint32_t flags, const struct in6_addr *from, const struct in6_addr *to,
	const struct addr *target) WARN_UNUSED;
