/*
 * flow_world.h - a pod, a gateway that translates it, and a partner, for tests of flows.
 *
 *     pod 10.42.0.2, fd42::2 ── gateway 203.0.113.10, 2001:db8:1::10 ── partner 198.51.100.7,
 *                                                                       2001:db8:5::7
 *
 * The rules are nft text.  The namespaces are held by file descriptors of this process only, so
 * they and all in them are gone when it ends, however it ends.
 */
#pragma once

#include "helpers.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#define FLOW_CLASS 0x5000U /* what the rules mark flows with, 0x7 aside */
#define FLOW_MARK 0x5007U

static struct {
	int home, pod, gateway, partner; /* namespaces */
} flow_world;

static const char flow_rules[] =
	"table inet t {\n"
	" chain zones { type filter hook prerouting priority raw;\n"
	"  udp dport 7007 ct zone set 7\n }\n"
	" chain marks { type filter hook forward priority filter;\n"
	"  ct state new udp dport != 9 ct mark set 0x5007\n"
	"  ct state new meta l4proto { tcp, icmp, ipv6-icmp } ct mark set 0x5007\n }\n"
	" chain translate { type nat hook postrouting priority srcnat;\n"
	"  udp dport 7777 ip saddr 10.42.0.0/16 snat ip to 203.0.113.10:2000-2009\n"
	"  ip saddr 10.42.0.0/16 snat ip to 203.0.113.10\n"
	"  ip6 saddr fd42::/64 snat ip6 to 2001:db8:1::10\n }\n"
	"}\n";

static inline void flow_enter(int namespace)
{
	assert_int_equal(setns(namespace, CLONE_NEWNET), 0);
}

static inline int flow_namespace(void)
{
	int fd;

	enter_new_namespace();
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	run("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0"
	    " net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; ip link set lo up");
	return fd;
}

static inline void flow_address(int namespace, const char *device, const char *addresses)
{
	flow_enter(namespace);
	run("ip link set %s up; for a in %s; do"
	    " case $a in *:*) o=nodad;; *) o=;; esac; ip addr add $a dev %s $o || exit; done",
		device, addresses, device);
}

/* cmocka's group setup.  Ends in the gateway. */
static inline int make_flow_world(void **state)
{
	(void)state;
	flow_world.home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (unshare(CLONE_NEWNET))
		return 0; /* each test skips */
	flow_world.pod = flow_namespace();
	flow_world.partner = flow_namespace();
	flow_world.gateway = flow_namespace();
	run("ip link add cni0 type veth peer name eth0 netns /proc/%d/fd/%d;"
	    " ip link add eth0 type veth peer name eth0 netns /proc/%d/fd/%d",
		getpid(), flow_world.pod, getpid(), flow_world.partner);
	flow_address(flow_world.gateway, "cni0", "10.42.0.1/24 fd42::1/64");
	flow_address(flow_world.gateway, "eth0",
		"203.0.113.1/24 203.0.113.10/32 2001:db8:1::1/64 2001:db8:1::10/128");
	flow_address(flow_world.pod, "eth0", "10.42.0.2/24 fd42::2/64");
	run("ip route add default via 10.42.0.1; ip route add default via fd42::1");
	flow_address(flow_world.partner, "eth0", "203.0.113.254/24 2001:db8:1::fe/64");
	flow_address(flow_world.partner, "lo", "198.51.100.7/32 2001:db8:5::7/128");
	assert_int_equal(
		nft_takes("", "table inet t { chain in { type filter hook input priority 0;"
			      " udp dport != 53 drop\n}\n}\n"),
		0);
	flow_enter(flow_world.gateway);
	run("ip route add 198.51.100.0/24 via 203.0.113.254;"
	    " ip route add 2001:db8:5::/64 via 2001:db8:1::fe;"
	    " sysctl -qw net.netfilter.nf_conntrack_acct=1"
	    " net.netfilter.nf_conntrack_timestamp=1 net.netfilter.nf_conntrack_events=1");
	assert_int_equal(nft_takes("", flow_rules), 0);
	return 0;
}

static inline int leave_flow_world(void **state)
{
	(void)state;
	flow_enter(flow_world.home);
	return 0;
}

/* Each test begins in the gateway, without flows. */
static inline void need_flow_world(void)
{
	if (!flow_world.gateway) {
		print_message("[  SKIP  ] needs root, to make network namespaces\n");
		skip();
	}
	flow_enter(flow_world.gateway);
	run("conntrack -F 2>/dev/null");
}

/* A socket in `namespace`, that waits for 5 seconds at most; the process stays in the gateway. */
static inline int flow_socket(int namespace, int version, int type, int protocol)
{
	const struct timeval patience = {.tv_sec = 5};
	const struct linger no_time_wait = {.l_onoff = 1};
	const int on = 1;
	int fd;

	flow_enter(namespace);
	fd = socket(version == 4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, protocol);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_time_wait, sizeof(no_time_wait));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	flow_enter(flow_world.gateway);
	return fd;
}

static inline socklen_t flow_sockaddr(struct sockaddr_storage *out, const char *host, uint16_t port)
{
	const struct endpoint endpoint = {addr_of(host), port};

	return endpoint_to_sockaddr(&endpoint, out);
}

static inline const char *flow_partner(int version)
{
	return version == 4 ? "198.51.100.7" : "2001:db8:5::7";
}

static inline const char *flow_pod(int version)
{
	return version == 4 ? "10.42.0.2" : "fd42::2";
}

static inline void flow_bind(int fd, const char *host, uint16_t port)
{
	struct sockaddr_storage at;
	socklen_t length = flow_sockaddr(&at, host, port);

	if (bind(fd, (struct sockaddr *)&at, length))
		fail_msg("bind %s %u: %s", host, port, strerror(errno));
}

static inline void flow_connect(int fd, const char *host, uint16_t port)
{
	struct sockaddr_storage at;
	socklen_t length = flow_sockaddr(&at, host, port);

	if (connect(fd, (struct sockaddr *)&at, length))
		fail_msg("connect %s %u: %s", host, port, strerror(errno));
}

/* A datagram there and back. */
static inline void make_udp_flow(int version, uint16_t sport)
{
	int pod = flow_socket(flow_world.pod, version, SOCK_DGRAM, 0);
	int partner = flow_socket(flow_world.partner, version, SOCK_DGRAM, 0);
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	char buffer[16];

	flow_bind(partner, flow_partner(version), 53);
	flow_bind(pod, flow_pod(version), sport);
	flow_connect(pod, flow_partner(version), 53);
	assert_int_equal(send(pod, "ask", 3, 0), 3);
	assert_int_equal(
		recvfrom(partner, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &length), 3);
	assert_int_equal(sendto(partner, "answer", 6, 0, (struct sockaddr *)&from, length), 6);
	assert_int_equal(recv(pod, buffer, sizeof(buffer), 0), 6);
	close(pod);
	close(partner);
}

/* Flows in the gateway. */
static inline unsigned count_flows(void)
{
	FILE *in = fopen("/proc/sys/net/netfilter/nf_conntrack_count", "re");
	unsigned n = 0;

	assert_non_null(in);
	assert_int_equal(fscanf(in, "%u", &n), 1);
	fclose(in);
	return n;
}

static inline void await_flows(unsigned n)
{
	for (unsigned ms = 0; count_flows() < n; ms++) {
		assert_true(ms < 5000);
		poll(NULL, 0, 1);
	}
}

/* Datagrams that nobody answers, a flow each: from `sport` to ports `first`, `first` + 1 ... */
static inline void make_udp_flows(uint16_t sport, uint16_t first, unsigned n)
{
	int pod = flow_socket(flow_world.pod, 4, SOCK_DGRAM, 0);
	unsigned before = count_flows();

	flow_bind(pod, flow_pod(4), sport);
	for (unsigned i = 0; i < n; i++) {
		struct sockaddr_storage at;
		socklen_t length = flow_sockaddr(&at, flow_partner(4), (uint16_t)(first + i));

		assert_int_equal(sendto(pod, "x", 1, 0, (struct sockaddr *)&at, length), 1);
		if (i % 200 == 199) /* queues between namespaces are short */
			await_flows(before + i + 1);
	}
	await_flows(before + n);
	close(pod);
}

/* A connection, both ends of it. */
static inline void make_tcp_flow(int version, uint16_t sport, int ends[2])
{
	int listener = flow_socket(flow_world.partner, version, SOCK_STREAM, 0);

	ends[0] = flow_socket(flow_world.pod, version, SOCK_STREAM, 0);
	flow_bind(listener, flow_partner(version), 443);
	assert_int_equal(listen(listener, 1), 0);
	flow_bind(ends[0], flow_pod(version), sport);
	flow_connect(ends[0], flow_partner(version), 443);
	ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(ends[1] >= 0);
	close(listener);
}

static inline uint16_t flow_checksum(const void *bytes, size_t length)
{
	const uint16_t *words = bytes;
	uint32_t sum = 0;

	for (size_t i = 0; i < length / 2; i++)
		sum += words[i];
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t) ~(sum + (sum >> 16));
}

/* An echo request with its reply. */
static inline void make_icmp_flow(int version, uint16_t id)
{
	int pod = flow_socket(flow_world.pod, version, SOCK_RAW,
		version == 4 ? IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
	struct icmphdr echo = {.type = version == 4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST};
	uint8_t buffer[128], want = version == 4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
	ssize_t n, at = version == 4 ? 20 : 0;

	echo.un.echo.id = htons(id);
	if (version == 4)
		echo.checksum = flow_checksum(&echo, sizeof(echo));
	flow_connect(pod, flow_partner(version), 0);
	assert_int_equal(send(pod, &echo, sizeof(echo), 0), (int)sizeof(echo));
	do
		n = recv(pod, buffer, sizeof(buffer), 0);
	while (n > at && buffer[at] != want);
	assert_true(n > at);
	close(pod);
}
