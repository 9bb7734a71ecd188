/*
 * counts_test.c - packets that the guard kept from leaving, as the kernel counted them.
 */
#include "guard_world.h"

#include <dlfcn.h>
#include <libnftnl/object.h>

#include "nat/counts.h"

static int name_lost = -1; /* NFTNL_OBJ_... for which libnftnl had no memory */

/* In front of libnftnl's. */
const char *nftnl_obj_get_str(struct nftnl_obj *object, uint16_t attribute)
{
	const char *(*real)(struct nftnl_obj *, uint16_t) = dlsym(RTLD_NEXT, "nftnl_obj_get_str");

	errno = ENOMEM;
	return attribute == name_lost ? NULL : real(object, attribute);
}

#define MOST 16

static struct counts_pair pairs[MOST];
static size_t n_pairs;

static void on_pair(void *arg, const struct counts_pair *pair)
{
	(void)arg;
	if (n_pairs < MOST)
		pairs[n_pairs] = *pair;
	n_pairs++;
}

static void read_pairs(const char *table)
{
	struct error e = {""};

	n_pairs = 0;
	if (counts_pairs(table, on_pair, NULL, &e))
		fail_msg("%s", e.text);
}

/* Packets of the pair; 0: there is none. */
static uint64_t counted(const char *source, const char *destination)
{
	struct addr from = addr_of(source), to = addr_of(destination);
	uint64_t packets = 0;

	for (size_t i = 0; i < n_pairs && i < MOST; i++)
		if (addr_equal(&pairs[i].source, &from) && addr_equal(&pairs[i].destination, &to)) {
			assert_int_equal(packets, 0);
			packets = pairs[i].packets;
		}
	return packets;
}

struct counter {
	const char *name;
	uint64_t packets;
	unsigned found;
};

static void on_counter(void *arg, const char *name, uint64_t packets)
{
	struct counter *c = arg;

	if (strcmp(name, c->name) != 0)
		return;
	c->found++;
	c->packets = packets;
}

static uint64_t denials(const char *name)
{
	struct counter c = {.name = name};
	struct error e = {""};

	if (counts_counters("egret", on_counter, &c, &e))
		fail_msg("%s", e.text);
	assert_int_equal(c.found, 1);
	return c.packets;
}

static void packets_without_a_flow_are_counted_by_source_and_destination(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	read_pairs("egret");
	assert_int_equal(n_pairs, 0);
	send_strays(4, "198.51.100.7", 3);
	send_strays(4, "8.8.8.8", 2);
	send_strays(6, "2001:db8:5::7", 4);
	read_pairs("egret");
	assert_int_equal(n_pairs, 3);
	assert_int_equal(counted("10.42.0.2", "198.51.100.7"), 3);
	assert_int_equal(counted("10.42.0.2", "8.8.8.8"), 2);
	assert_int_equal(counted("fd42::2", "2001:db8:5::7"), 4);
	send_strays(4, "198.51.100.7", 5);
	read_pairs("egret");
	assert_int_equal(n_pairs, 3);
	assert_int_equal(counted("10.42.0.2", "198.51.100.7"), 8);
}

static void packets_inside_the_cluster_are_not_counted(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	send_strays(4, MARKER4, 3);
	send_strays(6, MARKER6, 3);
	read_pairs("egret");
	assert_int_equal(n_pairs, 0);
}

/* A flow that has a class, and a source address that is not this class's. */
static void a_flow_with_another_source_is_counted_with_the_pods_address(void **state)
{
	int fd;

	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	fd = fresh_pod_socket(4);
	assert_string_equal(source_through(fd, "198.51.100.7"), "203.0.113.10");
	run("nft flush set inet egret ok4");
	assert_string_equal(source_through(fd, "198.51.100.7"), "");
	read_pairs("egret");
	assert_int_equal(n_pairs, 1);
	assert_int_equal(counted("10.42.0.2", "198.51.100.7"), 1);
	close(fd);
}

static void denials_are_counted_by_name(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	assert_int_equal(denials("block.nowhere"), 0);
	for (int i = 0; i < 3; i++)
		check_source("192.0.2.8", "");
	assert_int_equal(denials("block.nowhere"), 3);
	assert_int_equal(denials("partner.only-v6"), 0);
	check_source("8.8.8.8", "");
	assert_int_equal(denials("partner.only-v6"), 1);
	read_pairs("egret");
	assert_int_equal(n_pairs, 0);
}

static void without_memory_for_a_counter_it_is_an_error(void **state)
{
	static const int names[] = {NFTNL_OBJ_TABLE, NFTNL_OBJ_NAME};

	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct counter c = {.name = "block.nowhere"};
		struct error e = {""};
		int result;

		name_lost = names[i];
		result = counts_counters("egret", on_counter, &c, &e);
		name_lost = -1;
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(c.found, 0);
	}
	assert_int_equal(denials("block.nowhere"), 0);
}

static void without_the_table_nothing_is_counted(void **state)
{
	struct counter c = {.name = "block.nowhere"};

	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	send_strays(4, "198.51.100.7", 3);
	read_pairs("egret2");
	assert_int_equal(n_pairs, 0);
	assert_int_equal(table_remove("egret", NULL), 0);
	read_pairs("egret");
	assert_int_equal(n_pairs, 0);
	assert_int_equal(counts_counters("egret", on_counter, &c, NULL), 0);
	assert_int_equal(c.found, 0);
}

/* More than one message of the kernel holds. */
static void ten_thousand_pairs_are_read(void **state)
{
	(void)state;
	need_guard_world();
	guard_plan(guard_acl);
	put_pairs(10000, 7);
	read_pairs("egret");
	assert_int_equal(n_pairs, 10000);
	for (size_t i = 0; i < MOST; i++)
		assert_int_equal(pairs[i].packets, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_without_a_flow_are_counted_by_source_and_destination),
		cmocka_unit_test(packets_inside_the_cluster_are_not_counted),
		cmocka_unit_test(a_flow_with_another_source_is_counted_with_the_pods_address),
		cmocka_unit_test(denials_are_counted_by_name),
		cmocka_unit_test(without_memory_for_a_counter_it_is_an_error),
		cmocka_unit_test(without_the_table_nothing_is_counted),
		cmocka_unit_test(ten_thousand_pairs_are_read),
	};

	return cmocka_run_group_tests(tests, make_egress_world, leave_flow_world);
}
