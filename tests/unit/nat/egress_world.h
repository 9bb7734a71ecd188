/*
 * egress_world.h - flow_world.h without its rules: Flannel's masquerade, several egress addresses,
 * and a partner that tells as what a datagram of a pod came to it.
 *
 * The gateway's 203.0.113.1 and 2001:db8:1::1 are its own; .9, .10, .11 and ::9, ::10, ::11 are for
 * egress.  The partner is at every destination.
 */
#pragma once

#include "flow_world.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/udp.h>

#include "nat/table.h"

#define MARKER4 "10.43.0.9" /* excluded: leaves under every plan */
#define MARKER6 "fd43::9"
#define FIRST_SPORT 10000

static const char flannel_rules[] =
	"table ip flannel-ipv4 { chain postrtg { type nat hook postrouting priority srcnat;\n"
	" ip saddr 10.42.0.0/16 ip daddr 10.42.0.0/16 return\n"
	" ip saddr 10.42.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random\n"
	"}\n}\n"
	"table ip6 flannel-ipv6 { chain postrtg { type nat hook postrouting priority srcnat;\n"
	" ip6 saddr fd42::/56 ip6 daddr fd42::/56 return\n"
	" ip6 saddr fd42::/56 ip6 daddr != ff00::/8 masquerade fully-random\n"
	"}\n}\n";

/* As the partner sees a datagram of ours. */
struct sighting {
	struct addr source, destination;
	uint32_t token;
};

static int egress_capture;
static uint32_t egress_token;
static uint16_t egress_sport = FIRST_SPORT;

static inline int open_egress_capture(void)
{
	const struct timeval patience = {.tv_sec = 5};
	const int room = 16 << 20;
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd;

	flow_enter(flow_world.partner);
	at.sll_ifindex = (int)if_nametoindex("eth0");
	fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	flow_enter(flow_world.gateway);
	return fd;
}

static inline void put_flannel(void)
{
	flow_enter(flow_world.gateway);
	assert_int_equal(nft_takes("", flannel_rules), 0);
}

/* cmocka's group setup.  Packets stay in order, for the marker's sake: one CPU sends them all. */
static inline int make_egress_world(void **state)
{
	cpu_set_t one;

	make_flow_world(state);
	if (!flow_world.gateway)
		return 0;
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	flow_address(flow_world.partner, "lo",
		"198.51.100.8/32 198.51.100.9/32 192.0.2.7/32 192.0.2.8/32 8.8.8.8/32"
		" 10.43.0.9/32 10.99.0.9/32 2001:db8:5::8/128 2001:db8:8::8/128 fd43::9/128");
	flow_enter(flow_world.gateway);
	run("nft delete table inet t; for a in 9 11; do ip addr add 203.0.113.$a/32 dev eth0 &&"
	    " ip addr add 2001:db8:1::$a/128 dev eth0 nodad preferred_lft 0 || exit; done;"
	    " ip addr change 2001:db8:1::10/128 dev eth0 preferred_lft 0 valid_lft forever;"
	    " ip route add default via 203.0.113.254; ip route add default via 2001:db8:1::fe");
	put_flannel();
	egress_capture = open_egress_capture();
	return 0;
}

/* Each test begins in the gateway, with Flannel's rules only and without flows. */
static inline void need_egress_world(void)
{
	need_flow_world();
	run("nft flush ruleset");
	put_flannel();
}

/* False: no datagram of ours. */
static inline bool read_sighting(const uint8_t *packet, ssize_t n, struct sighting *seen)
{
	size_t at = n > 0 && packet[0] >> 4 == 6 ? 40 : 20;

	if (n < (ssize_t)(at + 8 + sizeof(uint32_t) + 4) || memcmp(packet + at + 8, "EGRT", 4) != 0)
		return false;
	*seen = (struct sighting){{{[10] = 0xff, [11] = 0xff}}, {{[10] = 0xff, [11] = 0xff}}, 0};
	if (at == 40) {
		memcpy(seen->source.bytes, packet + 8, 16);
		memcpy(seen->destination.bytes, packet + 24, 16);
	} else {
		memcpy(seen->source.bytes + 12, packet + 12, 4);
		memcpy(seen->destination.bytes + 12, packet + 16, 4);
	}
	memcpy(&seen->token, packet + at + 12, sizeof(seen->token));
	return true;
}

/* A socket of the pod, with a port that none had before. */
static inline int fresh_pod_socket(int version)
{
	int fd = flow_socket(flow_world.pod, version, SOCK_DGRAM, 0);

	flow_bind(fd, flow_pod(version), egress_sport++);
	return fd;
}

/* The number that tells the datagram from all others. */
static inline uint32_t send_token(int fd, const char *to)
{
	struct sockaddr_storage at;
	socklen_t length = flow_sockaddr(&at, to, 4000);
	char bytes[8] = "EGRT";

	egress_token++;
	memcpy(bytes + 4, &egress_token, sizeof(egress_token));
	if (sendto(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&at, length) < 0)
		/* what was said of an earlier one */
		assert_int_equal(
			sendto(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&at, length), 8);
	return egress_token;
}

/* A datagram through the socket: its source at the partner, "" when it does not arrive.  A marker
 * sent behind it tells that it would have.  Until the next call. */
static inline const char *source_through(int fd, const char *to)
{
	static char text[ADDR_TEXT];
	int marker = fresh_pod_socket(strchr(to, ':') ? 6 : 4);
	uint32_t token = send_token(fd, to), last;
	struct sighting seen = {0};
	uint8_t packet[2048];

	last = send_token(marker, strchr(to, ':') ? MARKER6 : MARKER4);
	text[0] = '\0';
	do {
		ssize_t n = recv(egress_capture, packet, sizeof(packet), 0);

		if (n < 0)
			fail_msg("the marker did not come: %s", strerror(errno));
		if (!read_sighting(packet, n, &seen))
			seen.token = 0;
		else if (seen.token == token)
			addr_print(&seen.source, text);
	} while (seen.token != last);
	close(marker);
	return text;
}

/* The same for a flow of its own. */
static inline const char *source_to(const char *to)
{
	int fd = fresh_pod_socket(strchr(to, ':') ? 6 : 4);
	const char *text = source_through(fd, to);

	close(fd);
	return text;
}

static inline void check_source(const char *to, const char *source)
{
	const char *seen = source_to(to);

	if (strcmp(seen, source) != 0)
		fail_msg("%s: the partner sees '%s', not '%s'", to, seen, source);
}
