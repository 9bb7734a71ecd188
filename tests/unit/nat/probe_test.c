/*
 * probe_test.c - two nodes and a third on a bridge: who answers for an address, and what is passed
 * over.
 */
#include "helpers.h"

#include <net/if.h>
#include <poll.h>

#include "nat/announce.h"
#include "nat/probe.h"

#define RIVAL_MAC "02:00:00:00:00:02"
#define A4 "203.0.113.10"
#define A6 "2001:db8:1::10"

static struct {
	int bridge, node, rival, third;
} world;

static int new_node(int number)
{
	int fd = new_namespace();

	run("ip link add eth0 address 02:00:00:00:00:0%d type veth peer name port%d netns "
	    "/proc/%d/fd/%d; ip link set eth0 up; ip addr add 203.0.113.%d/24 dev eth0",
		number, number, getpid(), world.bridge, number);
	enter(world.bridge);
	run("ip link set port%d up master br0; for i in $(seq 1000); do"
	    " ip -d link show port%d | grep -q 'state forwarding' && exit; sleep .01; done; exit 1",
		number, number);
	enter(fd);
	return fd;
}

static int make_world(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET))
		return 0; /* each test skips */
	world.bridge = new_namespace();
	run("ip link add br0 type bridge mcast_snooping 0; ip link set br0 up");
	world.node = new_node(1);
	world.rival = new_node(2);
	world.third = new_node(3);
	return 0;
}

static int each_begins_without_egress_addresses(void **state)
{
	(void)state;
	for (int i = 0; world.rival && i < 2; i++) {
		enter(i ? world.rival : world.node);
		run("ip addr flush dev eth0 to 203.0.113.8/29; ip addr flush dev eth0 to "
		    "2001:db8::/32; ip link del eth1 2>&- ||:");
	}
	return 0;
}

static void skip_without_world(void)
{
	if (world.rival == 0)
		skip();
	enter(world.node);
}

static int open_for(const char *text)
{
	struct addr addrs[PROBE_MOST];
	size_t n = strchr(text, ':') ? 3 : PROBE_MOST; /* it is in the middle of others */
	struct error e = {""};
	int fd;

	for (size_t i = 0; i < n; i++) {
		addrs[i] = addr_of(text);
		addrs[i].bytes[13] = (uint8_t)i;
	}
	addrs[n / 2] = addr_of(text);
	fd = probe_open(if_nametoindex("eth0"), addrs, n, &e);
	if (fd < 0)
		fail_msg("%s", e.text);
	return fd;
}

static bool hear(int fd, struct probe_answer *answer, int milliseconds)
{
	struct pollfd wait = {fd, POLLIN, 0};

	while (!probe_take(fd, answer))
		if (poll(&wait, 1, milliseconds) <= 0)
			return false;
	return true;
}

static void ask(int fd, const char *text)
{
	struct addr addr = addr_of(text);

	assert_int_equal(probe_send(fd, if_nametoindex("eth0"), &addr), 0);
}

/* An IPv6 address hears questions a moment after it came. */
static bool ask_until_heard(int fd, const char *text, struct probe_answer *answer)
{
	for (int i = 0; i < 100; i++) {
		ask(fd, text);
		if (hear(fd, answer, 100))
			return true;
	}
	return false;
}

static void who_has_the_address_answers(void **state)
{
	static const char *const addresses[] = {A4 "/32", A6 "/128"}, *const texts[] = {A4, A6};
	char mac[PROBE_MAC_TEXT];

	(void)state;
	skip_without_world();
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct addr want = addr_of(texts[i]);
		struct probe_answer answer;
		int fd = open_for(texts[i]);

		enter(world.rival);
		run("ip addr add %s dev eth0 %s", addresses[i], i ? "nodad" : "");
		enter(world.node);
		run("ip addr add %s dev eth0 %s", addresses[i], i ? "nodad" : "");
		assert_true(ask_until_heard(fd, texts[i], &answer));
		assert_true(addr_equal(&answer.addr, &want));
		assert_string_equal(probe_print_mac(answer.mac, mac), RIVAL_MAC);
		close(fd);
	}
}

/* The question leaves no trace at the other node, and the answer of another address is not for the
 * first socket. */
static void nobody_else_is_heard(void **state)
{
	static const char *const texts[] = {A4, A6};

	(void)state;
	skip_without_world();
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct probe_answer answer;
		int fd = open_for(texts[i]), all;

		run("ip addr add %s dev eth0 %s", texts[i], i ? "nodad" : "");
		enter(world.rival);
		run("ip addr add %s dev eth0 %s", i ? "2001:db8:1::11/64" : "203.0.113.11/24",
			i ? "nodad" : "");
		enter(world.node);
		all = open_for(i ? "2001:db8:1::11" : "203.0.113.11");
		ask(fd, texts[i]);
		assert_true(ask_until_heard(all, i ? "2001:db8:1::11" : "203.0.113.11", &answer));
		assert_false(hear(fd, &answer, 0));
		close(fd);
		close(all);
	}
	enter(world.rival);
	run("! ip neigh show | grep -E '203.0.113.10|2001:db8:1::10'");
}

/* Who asks would else make the partner's router send to the other one. */
static void no_neighbour_of_the_two_learns_from_the_answer(void **state)
{
	static const char *const texts[] = {A4, A6};

	(void)state;
	skip_without_world();
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct probe_answer answer;
		int fd;

		enter(world.node);
		fd = open_for(texts[i]);
		enter(world.third);
		run("ip neigh replace %s lladdr 02:00:00:00:00:01 dev eth0 nud stale", texts[i]);
		enter(world.rival);
		run("ip addr add %s dev eth0 %s", texts[i], i ? "nodad" : "");
		enter(world.node);
		run("ip addr add %s dev eth0 %s", texts[i], i ? "nodad" : "");
		for (int times = 0; times < 10; times++)
			assert_true(ask_until_heard(fd, texts[i], &answer));
		enter(world.third);
		run("ip neigh show %s | grep 02:00:00:00:00:01", texts[i]);
		close(fd);
	}
}

/* Another device of this node on the same link answers for all its addresses. */
static void this_node_itself_is_no_rival(void **state)
{
	struct probe_answer answer;
	int fd, control;

	(void)state;
	skip_without_world();
	run("ip link add eth1 type veth peer name port9 netns /proc/%d/fd/%d; ip link set eth1 up;"
	    " ip addr add " A4 "/32 dev eth0",
		getpid(), world.bridge);
	enter(world.bridge);
	run("ip link set port9 up master br0; for i in $(seq 1000); do"
	    " ip -d link show port9 | grep -q 'state forwarding' && exit; sleep .01; done; exit 1");
	enter(world.rival);
	run("ip addr add 203.0.113.12/32 dev eth0");
	enter(world.node);
	fd = open_for(A4);
	control = open_for("203.0.113.12");
	ask(fd, A4);
	ask(control, "203.0.113.12");
	assert_true(hear(control, &answer, 10000));
	assert_false(hear(fd, &answer, 0));
	close(fd);
	close(control);
}

/* As a node does that takes it over. */
static void an_announcement_is_heard(void **state)
{
	static const char *const texts[] = {A4, A6};

	(void)state;
	skip_without_world();
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct addr addr = addr_of(texts[i]);
		struct probe_answer answer;
		struct error e = {""};
		int fd = open_for(texts[i]);

		enter(world.rival);
		assert_int_equal(announce_send("eth0", &addr, &e), 0);
		enter(world.node);
		assert_true(hear(fd, &answer, 10000));
		assert_true(addr_equal(&answer.addr, &addr));
		close(fd);
	}
}

static void there_is_nobody_to_ask_without_neighbours(void **state)
{
	struct addr addr = addr_of(A4);
	struct error e;

	(void)state;
	skip_without_world();
	assert_int_equal(probe_open(if_nametoindex("lo"), &addr, 1, &e), -ENOTSUP);
	assert_true(probe_open(4711, &addr, 1, &e) < 0);
	assert_non_null(strstr(e.text, "No such device"));
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup(name, each_begins_without_egress_addresses)
	const struct CMUnitTest tests[] = {
		TEST_CASE(who_has_the_address_answers),
		TEST_CASE(nobody_else_is_heard),
		TEST_CASE(no_neighbour_of_the_two_learns_from_the_answer),
		TEST_CASE(this_node_itself_is_no_rival),
		TEST_CASE(an_announcement_is_heard),
		TEST_CASE(there_is_nobody_to_ask_without_neighbours),
	};

	return cmocka_run_group_tests(tests, make_world, NULL);
}
