/*
 * parts_test.c - large maps by destination: how they are cut, and what pods' packets meet in them.
 */
#include "egress_world.h"

#include "nat/parts.h"

static size_t count_parts(const struct plan *plan, const char *prefix)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->n_sets; i++)
		n += strncmp(plan->sets[i]->name, prefix, strlen(prefix)) == 0;
	return n;
}

static bool same_set(const struct plan_set *a, const struct plan_set *b)
{
	if (!a || !b || a->n_ranges != b->n_ranges)
		return false;
	for (size_t i = 0; i < a->n_ranges; i++)
		if (!addr_equal(&a->ranges[i].first, &b->ranges[i].first) ||
			!addr_equal(&a->ranges[i].last, &b->ranges[i].last) ||
			a->ranges[i].number != b->ranges[i].number)
			return false;
	return true;
}

static void a_map_of_few_ranges_is_whole(void **state)
{
	struct plan *plan = plan_of("[partner bank]\ncidr = 198.51.100.7\n", &dual_stack);

	(void)state;
	assert_null(plan_set(plan, "outcomes"));
	assert_int_equal(count_parts(plan, "sections4"), 1);
	plan_free(plan);
}

static void no_part_has_more_ranges_than_it_may(void **state)
{
	char *text = many_networks_acl(0);
	struct plan *plan = plan_of(text, &dual_stack);
	size_t total = 0;

	(void)state;
	assert_true(count_parts(plan, "sections4_") > 1);
	assert_true(count_parts(plan, "sections6_") > 1);
	for (size_t i = 0; i < plan->n_sets; i++) {
		const struct plan_set *set = plan->sets[i];

		if (!set->numbers)
			continue;
		assert_true(set->n_ranges > 0 && set->n_ranges <= PARTS_RANGES);
		total += set->n_ranges;
	}
	assert_int_equal(total, 1200);
	free(text);
	plan_free(plan);
}

static void another_size_of_one_network_is_one_part_of_each_version(void **state)
{
	char *texts[] = {many_networks_acl(0), many_networks_acl(1)};
	struct plan *plans[] = {plan_of(texts[0], &dual_stack), plan_of(texts[1], &dual_stack)};
	size_t differ = 0;

	(void)state;
	assert_int_equal(plans[0]->n_sets, plans[1]->n_sets);
	for (size_t i = 0; i < plans[0]->n_sets; i++)
		differ += !same_set(plans[0]->sets[i], plan_set(plans[1], plans[0]->sets[i]->name));
	assert_int_equal(differ, 2);
	for (size_t i = 0; i < 2; i++) {
		plan_free(plans[i]);
		free(texts[i]);
	}
}

/* A network around all others, and half of the address space. */
static void a_wide_network_is_in_every_part(void **state)
{
	char *many = many_networks_acl(0), *text = NULL;
	struct plan *plan;

	(void)state;
	assert_true(asprintf(&text,
			    "%s[partner wide]\ncidr = 198.51.0.0/16, 2001:db8::/32, 0.0.0.0/1\n"
			    "egress-ip = 203.0.113.12, 2001:db8:1::12\n",
			    many) > 0);
	plan = plan_of(text, &dual_stack);
	for (unsigned i = 0; i < 600 * 4; i++) {
		struct plan_packet p = {addr_of("10.42.0.2"), addr_of("198.51.100.0"), 17, 1};
		struct plan_packet q = {addr_of("fd42::2"), addr_of("2001:db8::"), 17, 1};
		bool wide = i % 4 > (i < 4 ? 0 : 1);

		p.destination.bytes[14] = (uint8_t)(100 + (i >> 8));
		p.destination.bytes[15] = q.destination.bytes[15] = (uint8_t)i;
		q.destination.bytes[14] = (uint8_t)(i >> 8);
		assert_int_equal(plan_allows(plan, plan_decide(plan, &p).mark,
					 &(struct addr){{[10] = 0xff, 0xff, 203, 0, 113, 12}}),
			wide);
		assert_int_equal(plan_decide(plan, &q).mark == plan_decide(plan, &p).mark, wide);
	}
	free(text);
	free(many);
	plan_free(plan);
}

static void packets_leave_as_the_parts_say(void **state)
{
	static const char *const rest = "[partner rest]\ncidr = 198.51.100.8/30, 2001:db8:5::/64\n"
					"egress-ip = 203.0.113.11, 2001:db8:1::11\n";
	char *many, *text = NULL;
	struct plan *plan;

	(void)state;
	need_egress_world();
	many = many_networks_acl(0);
	assert_true(asprintf(&text, "%s%s", many, rest) > 0);
	plan = plan_of(text, &dual_stack);
	assert_non_null(plan_set(plan, "outcomes"));
	assert_int_equal(table_apply(plan, NULL, NULL, NULL), 0);
	check_source("198.51.100.8", "203.0.113.10");
	check_source("198.51.100.9", "203.0.113.10");
	check_source("192.0.2.7", "203.0.113.9"); /* nobody's */
	check_source("2001:db8:5::8", "2001:db8:1::11");
	check_source("2001:db8:8::8", "2001:db8:1::9");
	plan_free(plan);
	free(text);
	free(many);
}

/* The number that a destination has stands in the packet's priority only for a moment. */
static void packets_leave_without_a_priority(void **state)
{
	static const char look[] =
		"table inet look { chain look { type filter hook postrouting priority 200;\n"
		"udp dport 4000 meta priority none counter\n"
		"udp dport 4000 meta priority != none counter\n}\n}\n";
	char *many, *counts;
	struct plan *plan;

	(void)state;
	need_egress_world();
	many = many_networks_acl(0);
	plan = plan_of(many, &dual_stack);
	assert_int_equal(table_apply(plan, NULL, NULL, NULL), 0);
	assert_int_equal(nft_takes("", look), 0);
	check_source("198.51.100.8", "203.0.113.10");
	check_source("2001:db8::4", "2001:db8:1::10");
	counts = output_of("nft list table inet look");
	assert_non_null(strstr(counts, "none counter packets"));
	assert_null(strstr(counts, "meta priority none counter packets 0"));
	assert_non_null(strstr(counts, "meta priority != none counter packets 0"));
	free(counts);
	plan_free(plan);
	free(many);
}

static void start_look(struct plan **plan, const char *rules)
{
	char *many = many_networks_acl(0);

	need_egress_world();
	*plan = plan_of(many, &dual_stack);
	assert_int_equal(table_apply(*plan, NULL, NULL, NULL), 0);
	assert_int_equal(nft_takes("", rules), 0);
	free(many);
}

/* Counted are the packets that have lost what somebody else gave them. */
static void check_nothing_lost(void)
{
	char *counts = output_of("nft list table inet look");

	assert_non_null(strstr(counts, "counter packets 0 bytes 0 comment \"lost\""));
	assert_null(strstr(counts, "counter packets 0 bytes 0 comment \"kept\""));
	free(counts);
}

static void a_priority_that_others_give_stays(void **state)
{
	static const char look[] =
		"table inet look { chain give { type filter hook postrouting priority -150;\n"
		"meta priority set 1:10\n}\n"
		"chain look { type filter hook postrouting priority 200;\n"
		"meta nfproto ipv4 meta priority 1:10 counter comment \"kept\"\n"
		"meta nfproto ipv6 meta priority 1:10 counter comment \"kept\"\n"
		"meta priority != 1:10 counter comment \"lost\"\n}\n}\n";
	struct plan *plan;

	(void)state;
	start_look(&plan, look);
	check_source("198.51.100.8", "203.0.113.10");
	check_source("2001:db8::4", "2001:db8:1::10");
	check_nothing_lost();
	plan_free(plan);
}

static void the_nodes_own_packets_keep_their_priority(void **state)
{
	static const char look[] =
		"table inet look { chain look { type filter hook postrouting priority 200;\n"
		"udp dport 4000 meta priority 0:5 counter comment \"kept\"\n"
		"udp dport 4000 meta priority != 0:5 counter comment \"lost\"\n}\n}\n";
	struct plan *plan;
	int fd;

	(void)state;
	start_look(&plan, look);
	fd = flow_socket(flow_world.gateway, 6, SOCK_DGRAM, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &(int){5}, sizeof(int)), 0);
	send_token(fd, "2001:db8::4");
	close(fd);
	check_nothing_lost();
	plan_free(plan);
}

/* Then the kernel lets stand what it finds. */
static void no_number_stays_where_forwarding_gives_no_priority(void **state)
{
	static const char look[] =
		"table inet look { chain look { type filter hook postrouting priority 200;\n"
		"udp dport 4000 meta priority none counter comment \"kept\"\n"
		"udp dport 4000 meta priority != none counter comment \"lost\"\n}\n}\n";
	struct plan *plan;

	(void)state;
	start_look(&plan, look);
	run("sysctl -qw net.ipv4.ip_forward_update_priority=0");
	check_source("198.51.100.8", "203.0.113.10");
	run("sysctl -qw net.ipv4.ip_forward_update_priority=1");
	check_nothing_lost();
	plan_free(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_map_of_few_ranges_is_whole),
		cmocka_unit_test(no_part_has_more_ranges_than_it_may),
		cmocka_unit_test(another_size_of_one_network_is_one_part_of_each_version),
		cmocka_unit_test(a_wide_network_is_in_every_part),
		cmocka_unit_test(packets_leave_as_the_parts_say),
		cmocka_unit_test(packets_leave_without_a_priority),
		cmocka_unit_test(a_priority_that_others_give_stays),
		cmocka_unit_test(the_nodes_own_packets_keep_their_priority),
		cmocka_unit_test(no_number_stays_where_forwarding_gives_no_priority),
	};

	return cmocka_run_group_tests(tests, make_egress_world, leave_flow_world);
}
