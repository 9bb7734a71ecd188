/*
 * ways_test.c - which gateway WireGuard's device leads to.  way_find() is this file's: the real one
 * needs a kernel with WireGuard, which tests/unit/nat/wireguard_test.c is for.
 */
#include "daemon/peers/ways.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nat/way.h"

static const char *kernel_device; /* over which everything in the pod network is reached */
static bool kernel_wireguard;
static struct config config;
static struct ways ways, before;

int way_find(struct way *way, const struct addr *pod, const struct addr *node, struct error *e)
{
	(void)node;
	(void)e;
	*way = (struct way){.wireguard = pod && kernel_wireguard};
	if (!pod)
		return 0;
	snprintf(way->device, sizeof(way->device), "%s", kernel_device);
	way->via = *pod;
	way->link = (struct cidr){*pod, 128};
	return 0;
}

static struct addr address(const char *text)
{
	struct addr a;

	assert_true(addr_parse(&a, text_of(text)));
	return a;
}

static int setup(void **state)
{
	static struct cidr pods[2];

	(void)state;
	kernel_device = "flannel-wg";
	kernel_wireguard = true;
	if (!cidr_parse(&pods[0], TEXT("10.42.0.0/16")) || !cidr_parse(&pods[1], TEXT("fd42::/48")))
		return -1;
	config = (struct config){.pod_cidr = {pods, 2},
		.mark_mask = 0xff000000,
		.route_table = 7099,
		.rule_priority = 5220};
	if (gateways_parse(&config.gateways, "gw1 192.0.2.1 10.42.1.0 fd42:0:0:1::, "
					     "gw2 192.0.2.2 10.42.2.0 fd42:0:0:2::, "
					     "gw3 192.0.2.3 10.42.3.0"))
		return -1;
	return gateways_place(&config.gateways, &config.pod_cidr) ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(config.gateways.at);
	return 0;
}

/* `here`: this node's own address, or NULL.  `owners`: "203.0.113.10 1", the second gateway. */
static void find(const char *here, const char *const owners[])
{
	struct plan_owner list[4];
	struct rtnetlink_address at = {0};
	const struct address_list addresses = {.at = &at, .n = here ? 1 : 0};
	size_t n = 0;
	struct error e;

	if (here)
		at.addr = address(here);
	for (; owners[n]; n++) {
		char text[64];
		unsigned gateway;

		assert_int_equal(sscanf(owners[n], "%63s %u", text, &gateway), 2);
		list[n] = (struct plan_owner){address(text), gateway};
	}
	assert_int_equal(ways_find(&ways, &config, &config, &addresses, list, n, &e), 0);
}

#define FIND(here, ...) find(here, (const char *const[]){__VA_ARGS__, NULL})

static const char *lead_of(size_t v)
{
	static char text[ADDR_TEXT];

	return ways.leads[v].device[0] ? addr_print(&ways.leads[v].to, text) : "";
}

static bool has_way(size_t gateway, size_t v)
{
	return ways.gateways[gateway].device[v] != NULL;
}

static void it_leads_to_whoever_has_the_addresses(void **state)
{
	(void)state;
	FIND(NULL, "203.0.113.10 1", "203.0.113.11 1");
	assert_string_equal(lead_of(0), "10.42.2.0");
	assert_string_equal(ways.leads[0].device, "flannel-wg");
	assert_string_equal(lead_of(1), "");
	assert_string_equal(ways.trouble, "");
	assert_true(has_way(0, 0) && has_way(1, 0) && has_way(0, 1));
	before = ways;
	FIND(NULL, "203.0.113.10 0", "203.0.113.11 0");
	assert_string_equal(lead_of(0), "10.42.1.0");
	assert_false(ways_equal(&ways, &before));
}

static void versions_lead_each_for_themselves(void **state)
{
	(void)state;
	FIND(NULL, "203.0.113.10 1", "2001:db8::10 0");
	assert_string_equal(lead_of(0), "10.42.2.0");
	assert_string_equal(lead_of(1), "fd42:0:0:1::");
	assert_string_equal(ways.trouble, "");
}

static void there_is_no_way_to_a_second_owner(void **state)
{
	(void)state;
	FIND(NULL, "203.0.113.10 2", "203.0.113.11 1");
	assert_string_equal(lead_of(0), "10.42.2.0");
	assert_true(has_way(1, 0));
	assert_false(has_way(2, 0));
	assert_true(has_way(0, 0)); /* which has none: nothing is steered there */
	assert_string_equal(ways.trouble,
		"no way to gateway gw3 over IPv4: flannel-wg leads to one gateway at a time, now "
		"gw2 (want all egress addresses on one gateway)");
}

static void what_this_node_has_needs_no_way(void **state)
{
	(void)state;
	FIND("192.0.2.1", "203.0.113.10 0", "203.0.113.11 1");
	assert_string_equal(lead_of(0), "10.42.2.0");
	assert_string_equal(ways.trouble, "");
	FIND("192.0.2.1", "203.0.113.10 0", "203.0.113.11 0");
	assert_string_equal(lead_of(0), "");
}

static void other_devices_lead_to_all(void **state)
{
	(void)state;
	kernel_device = "flannel.1";
	kernel_wireguard = false;
	FIND(NULL, "203.0.113.10 0", "203.0.113.11 1");
	assert_string_equal(lead_of(0), "");
	assert_string_equal(ways.trouble, "");
	assert_true(has_way(0, 0) && has_way(1, 0));
}

static void the_plan_says_what_peers_are_allowed(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *out;

	(void)state;
	FIND(NULL, "203.0.113.10 0", "203.0.113.11 2");
	out = open_memstream(&text, &size);
	assert_non_null(out);
	ways_print_leads(&ways, out);
	fclose(out);
	assert_string_equal(text,
		"wg set flannel-wg peer KEY-OF-10.42.1.0 allowed-ips +0.0.0.0/0 # when it has the "
		"egress addresses\n"
		"wg set flannel-wg peer KEY-OF-fd42:0:0:1:: allowed-ips +::/0 # when it has the "
		"egress addresses\n"
		"wg set flannel-wg peer KEY-OF-10.42.2.0 allowed-ips +0.0.0.0/0 # when it has the "
		"egress addresses\n"
		"wg set flannel-wg peer KEY-OF-fd42:0:0:2:: allowed-ips +::/0 # when it has the "
		"egress addresses\n");
	free(text);
}

#define WAYS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WAYS_TEST(it_leads_to_whoever_has_the_addresses),
		WAYS_TEST(versions_lead_each_for_themselves),
		WAYS_TEST(there_is_no_way_to_a_second_owner),
		WAYS_TEST(what_this_node_has_needs_no_way),
		WAYS_TEST(other_devices_lead_to_all),
		WAYS_TEST(the_plan_says_what_peers_are_allowed),
	};

	return cmocka_run_group_tests_name("ways", tests, NULL, NULL);
}
