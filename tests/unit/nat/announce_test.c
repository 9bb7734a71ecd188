/*
 * announce_test.c - a neighbour in another namespace, which knows the address by another node's
 * link-layer address.
 */
#include "helpers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "nat/announce.h"

#define OLD "02:00:00:00:00:01"
#define NEW "02:00:00:00:00:02"

static struct {
	int node, neighbour;
} world;

/* Until then it drops what is sent. */
static void wait_for_link(const char *device)
{
	run("for i in $(seq 3000); do ip link show %s | grep -q 'state UP' && exit; sleep .01; "
	    "done;"
	    " exit 1",
		device);
}

static int make_world(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET))
		return 0; /* each test skips */
	world.neighbour = new_namespace();
	world.node = new_namespace();
	run("ip link add out address " NEW " type veth peer name eth0 netns /proc/%d/fd/%d;"
	    " ip link set out up; ip addr add 203.0.113.10/32 dev out;"
	    " ip addr add 2001:db8:1::10/128 dev out nodad",
		getpid(), world.neighbour);
	enter(world.neighbour);
	run("ip link set eth0 up; ip addr add 203.0.113.254/24 dev eth0;"
	    " ip addr add 2001:db8:1::fe/64 dev eth0 nodad");
	wait_for_link("eth0");
	enter(world.node);
	wait_for_link("out");
	return 0;
}

static void skip_without_world(void)
{
	if (world.node == 0)
		skip();
}

static void know_old(const char *addr)
{
	enter(world.neighbour);
	run("ip neigh replace %s lladdr " OLD " dev eth0 nud stale", addr);
}

static void wait_for_mac(const char *addr, const char *mac)
{
	enter(world.neighbour);
	run("for i in $(seq 3000); do ip neigh show %s | grep -q %s && exit; sleep .01; done;"
	    " ip neigh show; exit 1",
		addr, mac);
}

static void announce(const char *device, const char *text)
{
	struct addr addr = addr_of(text);
	struct error e = {0};

	enter(world.node);
	if (announce_send(device, &addr, &e))
		fail_msg("%s", e.text);
}

static void a_neighbour_learns_the_new_address(void **state)
{
	static const char *const addrs[] = {"203.0.113.10", "2001:db8:1::10"};

	(void)state;
	skip_without_world();
	for (size_t i = 0; i < COUNT_OF(addrs); i++) {
		know_old(addrs[i]);
		announce("out", addrs[i]);
		wait_for_mac(addrs[i], NEW);
	}
}

/* Each form alone: what the neighbour's packet filter lets in. */
static void both_forms_of_arp_are_understood(void **state)
{
	static const char *const forms[] = {"request", "reply"};

	(void)state;
	skip_without_world();
	for (size_t i = 0; i < COUNT_OF(forms); i++) {
		char table[256];

		know_old("203.0.113.10");
		snprintf(table, sizeof(table),
			"table arp form { chain in { type filter hook input priority 0;"
			" arp operation != %s drop; }; }\n",
			forms[i]);
		assert_int_equal(nft_takes("", table), 0);
		announce("out", "203.0.113.10");
		wait_for_mac("203.0.113.10", NEW);
		run("nft delete table arp form");
	}
}

/* What comes in at the neighbour; MLD reports and the like of the node are passed over. */
static int open_capture(void)
{
	const struct timeval patience = {.tv_sec = 5};
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd;

	enter(world.neighbour);
	at.sll_ifindex = (int)if_nametoindex("eth0");
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}

static void receive_as_hex(int fd, char *out, size_t size)
{
	uint8_t frame[256];
	ssize_t n;

	do {
		n = recv(fd, frame, sizeof(frame), 0);
		if (n < 0)
			fail_msg("no frame: %s", strerror(errno));
	} while (!(n > 13 && frame[12] == 0x08) && !(n > 54 && frame[54] == 136));
	for (ssize_t i = 0; i < n && 2 * (size_t)i + 2 < size; i++)
		snprintf(out + 2 * i, 3, "%02x", frame[i]);
}

/* Every field as RFC 826, RFC 5227 3, RFC 4861 4.4 and arping(8) have them. */
static void sends_these_frames(void **state)
{
	static const struct {
		const char *addr, *frames[2];
	} cases[] = {
		{"203.0.113.10", {"ffffffffffff 020000000002 0806 0001 0800 06 04 0001"
				  " 020000000002 cb00710a 000000000000 cb00710a",
					 "ffffffffffff 020000000002 0806 0001 0800 06 04 0002"
					 " 020000000002 cb00710a 020000000002 cb00710a"}},
		{"2001:db8:1::10",
			{"333300000001 020000000002 86dd 60000000 0020 3a ff"
			 " 20010db8000100000000000000000010 ff020000000000000000000000000001"
			 " 88 00 f909 20000000 20010db8000100000000000000000010"
			 " 02 01 020000000002"}},
	};

	(void)state;
	skip_without_world();
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int fd = open_capture();

		announce("out", cases[i].addr);
		for (size_t j = 0; j < 2 && cases[i].frames[j]; j++) {
			char found[256] = "", wanted[256] = "", *end = wanted;

			for (const char *at = cases[i].frames[j]; *at; at++)
				if (*at != ' ')
					*end++ = *at;
			receive_as_hex(fd, found, sizeof(found));
			assert_string_equal(found, wanted);
		}
		close(fd);
	}
}

static void a_node_that_forwards_is_a_router(void **state)
{
	char found[256] = "";
	int fd;

	(void)state;
	skip_without_world();
	fd = open_capture();
	enter(world.node);
	run("sysctl -qw net.ipv6.conf.out.forwarding=1");
	announce("out", "2001:db8:1::10");
	receive_as_hex(fd, found, sizeof(found));
	assert_memory_equal(found + 2 * 58, "a0000000", 8); /* router, override */
	run("sysctl -qw net.ipv6.conf.out.forwarding=0");
	close(fd);
	know_old("2001:db8:1::10");
	announce("out", "2001:db8:1::10");
	wait_for_mac("2001:db8:1::10", NEW);
}

static void says_what_is_wrong(void **state)
{
	struct addr addr = addr_of("203.0.113.10");
	struct error e = {0};

	(void)state;
	skip_without_world();
	enter(world.node);
	assert_int_equal(announce_send("nowhere0", &addr, &e), -ENODEV);
	assert_string_equal(e.text, "announcing 203.0.113.10 on nowhere0: No such device");
	run("ip link add down0 type veth");
	assert_int_equal(announce_send("down0", &addr, &e), -ENETDOWN);
	run("ip link del down0");
}

static void a_device_without_neighbours_hears_nothing(void **state)
{
	(void)state;
	skip_without_world();
	announce("lo", "203.0.113.10");
	announce("lo", "2001:db8:1::10");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_neighbour_learns_the_new_address),
		cmocka_unit_test(both_forms_of_arp_are_understood),
		cmocka_unit_test(sends_these_frames),
		cmocka_unit_test(a_node_that_forwards_is_a_router),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(a_device_without_neighbours_hears_nothing),
	};

	return cmocka_run_group_tests(tests, make_world, NULL);
}
