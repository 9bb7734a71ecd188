/*
 * rivals_test.c - a node and a rival on a veth pair.
 */
#include "../../nat/helpers.h"
#include "tests/unit/daemon/run_until.h"

#include "daemon/log/log.h"
#include "daemon/peers/rivals.h"

#define A4 "203.0.113.10"
#define A6 "2001:db8:1::10"
#define MAC "02:00:00:00:00:02"

static struct {
	int node, rival;
} world;

static struct ev_loop *loop;
static struct rivals *rivals;
static unsigned changes;

static void on_change(void *arg)
{
	(void)arg;
	changes++;
}

static int set_up(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET))
		return 0; /* each test skips */
	log_set_level(LOG_LEVEL_ERROR);
	world.rival = new_namespace();
	world.node = new_namespace();
	run("ip link add eth0 type veth peer name eth0 address " MAC " netns /proc/%d/fd/%d;"
	    " ip link set eth0 up; ip link add d0 type veth peer name d1; ip link set d0 arp off "
	    "up",
		getpid(), world.rival);
	enter(world.rival);
	run("ip link set eth0 up");
	enter(world.node);
	loop = ev_loop_new(0);
	rivals = loop ? rivals_new(loop, on_change, NULL) : NULL;
	changes = 0;
	return rivals ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	rivals_free(rivals);
	if (loop)
		ev_loop_destroy(loop);
	if (world.node) {
		close(world.node);
		close(world.rival);
	}
	rivals = NULL;
	loop = NULL;
	world.node = world.rival = 0;
	return 0;
}

static void skip_without_world(void)
{
	if (world.node == 0)
		skip();
}

static void give(int namespace, const char *what, const char *device)
{
	enter(namespace);
	run("ip addr add %s dev %s %s", what, device, strchr(what, ':') ? "nodad" : "");
	enter(world.node);
}

static void take_from_rival(const char *what)
{
	enter(world.rival);
	run("ip addr del %s dev eth0", what);
	enter(world.node);
}

static void follow(const char *first, const char *second)
{
	struct addr addrs[2];
	size_t n = 0;

	if (first)
		addrs[n++] = addr_of(first);
	if (second)
		addrs[n++] = addr_of(second);
	rivals_follow(rivals, addrs, n);
}

static void another_node_with_the_address_is_trouble_until_it_is_gone(void **state)
{
	(void)state;
	skip_without_world();
	give(world.rival, A4 "/32", "eth0");
	give(world.node, A4 "/32", "eth0");
	give(world.node, A6 "/128", "eth0");
	follow(A4, A6);
	assert_null(rivals_trouble(rivals));
	RUN_UNTIL(changes == 1);
	assert_string_equal(
		rivals_trouble(rivals), "egress address " A4 " is on another node, too: " MAC);
	take_from_rival(A4 "/32");
	RUN_UNTIL(changes == 2);
	assert_null(rivals_trouble(rivals));
	give(world.rival, A6 "/128", "eth0"); /* found at the next round, whoever asks */
	RUN_UNTIL(changes == 3);
	assert_string_equal(
		rivals_trouble(rivals), "egress address " A6 " is on another node, too: " MAC);
}

static void an_address_that_leaves_takes_its_trouble_with_it(void **state)
{
	(void)state;
	skip_without_world();
	give(world.rival, A4 "/32", "eth0");
	give(world.node, A4 "/32", "eth0");
	follow(A4, NULL);
	RUN_UNTIL(changes == 1);
	follow(A4, A6); /* not here: nothing else */
	assert_non_null(rivals_trouble(rivals));
	follow(NULL, NULL);
	assert_null(rivals_trouble(rivals));
	assert_int_equal(changes, 2);
}

/* The new owner announces it before the former one has taken it away. */
static void a_take_over_is_no_trouble(void **state)
{
	(void)state;
	skip_without_world();
	give(world.rival, A4 "/32", "eth0");
	give(world.node, A4 "/32", "eth0");
	give(world.rival, A6 "/128", "eth0");
	give(world.node, A6 "/128", "eth0");
	follow(A4, A6);
	take_from_rival(A4 "/32"); /* after the first round, at most */
	RUN_UNTIL(changes == 1);
	assert_string_equal(
		rivals_trouble(rivals), "egress address " A6 " is on another node, too: " MAC);
}

static void an_address_without_neighbours_is_not_watched(void **state)
{
	(void)state;
	skip_without_world();
	give(world.node, "203.0.113.11/32", "d0");
	give(world.node, "203.0.113.12/32", "lo");
	follow("203.0.113.11", "203.0.113.12");
	assert_null(rivals_trouble(rivals));
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_CASE(another_node_with_the_address_is_trouble_until_it_is_gone),
		TEST_CASE(an_address_that_leaves_takes_its_trouble_with_it),
		TEST_CASE(a_take_over_is_no_trouble),
		TEST_CASE(an_address_without_neighbours_is_not_watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
