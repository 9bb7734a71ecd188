/*
 * conntrack_test.c - flows of real packets, with the conntrack tool as the other opinion.
 */
#include "flow_world.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <poll.h>
#include <time.h>

#include "base/clock.h"
#include "nat/conntrack.h"

struct flows {
	struct flow *at;
	size_t n, room;
};

static void gather(void *arg, const struct flow *flow)
{
	struct flows *flows = arg;

	if (flows->n == flows->room) {
		flows->room = flows->room ? 2 * flows->room : 64;
		flows->at = realloc(flows->at, flows->room * sizeof(*flows->at));
		assert_non_null(flows->at);
	}
	flows->at[flows->n++] = *flow;
}

static struct flows all_flows(int version)
{
	struct flows flows = {0};
	struct error e = {0};

	if (conntrack_each(version, gather, &flows, &e))
		fail_msg("%s", e.text);
	return flows;
}

static const struct flow *find(const struct flows *flows, uint8_t protocol, uint16_t dport)
{
	for (size_t i = 0; i < flows->n; i++)
		if (flows->at[i].original.protocol == protocol &&
			flows->at[i].original.dport == dport)
			return &flows->at[i];
	return NULL;
}

static void commit(struct conntrack_changes *changes)
{
	struct error e = {0};

	if (conntrack_commit(changes, &e))
		fail_msg("%s", e.text);
}

static unsigned count_by_tool(const char *filter)
{
	char command[256], *text;
	unsigned n;

	snprintf(command, sizeof(command),
		"{ conntrack -L -f ipv4 %s; conntrack -L -f ipv6 %s; } 2>/dev/null | wc -l", filter,
		filter);
	text = output_of(command);
	n = (unsigned)atoi(text);
	free(text);
	return n;
}

/* ---- as the tool prints ---- */

static int print_tuple(char *out, size_t room, const struct flow *flow, enum flow_direction d)
{
	const struct flow_tuple *t = d == FLOW_ORIGINAL ? &flow->original : &flow->reply;
	char src[ADDR_TEXT], dst[ADDR_TEXT];
	int n = snprintf(
		out, room, "src=%s dst=%s ", addr_print(&t->src, src), addr_print(&t->dst, dst));

	if (t->protocol == IPPROTO_ICMP || t->protocol == IPPROTO_ICMPV6)
		n += snprintf(out + n, room - (size_t)n, "type=%u code=%u id=%u ", t->type, t->code,
			t->sport);
	else
		n += snprintf(out + n, room - (size_t)n, "sport=%u dport=%u ", t->sport, t->dport);
	return n + snprintf(out + n, room - (size_t)n, "packets=%llu bytes=%llu ",
			   (unsigned long long)flow->packets[d],
			   (unsigned long long)flow->bytes[d]);
}

static void print_flow(char *out, size_t room, const struct flow *flow)
{
	int n = print_tuple(out, room, flow, FLOW_ORIGINAL);

	if (!(flow->status & IPS_SEEN_REPLY))
		n += snprintf(out + n, room - (size_t)n, "[UNREPLIED] ");
	n += print_tuple(out + n, room - (size_t)n, flow, FLOW_REPLY);
	if (flow->status & IPS_ASSURED)
		n += snprintf(out + n, room - (size_t)n, "[ASSURED] ");
	n += snprintf(out + n, room - (size_t)n, "mark=%u ", flow->mark);
	if (flow->zone)
		n += snprintf(out + n, room - (size_t)n, "zone=%u ", flow->zone);
	snprintf(out + n, room - (size_t)n, "use=1 id=%u\n", flow->id);
}

static void a_dump_is_what_the_tool_lists(void **state)
{
	int tcp4[2], tcp6[2];
	struct flows flows, v4, v6;
	char line[512], *listed;

	(void)state;
	need_flow_world();
	make_udp_flow(4, 4000);
	make_udp_flow(6, 4000);
	make_tcp_flow(4, 4001, tcp4);
	make_tcp_flow(6, 4001, tcp6);
	make_icmp_flow(4, 4002);
	make_icmp_flow(6, 4002);
	make_udp_flows(4003, 9, 1);
	make_udp_flows(4004, 7007, 1);
	listed = output_of("{ conntrack -L -f ipv4 -o id; conntrack -L -f ipv6 -o id; }"
			   " 2>/dev/null | sed 's/delta-time=[0-9]* //'");
	flows = all_flows(0);
	v4 = all_flows(4);
	v6 = all_flows(6);
	assert_true(flows.n >= 8);
	assert_int_equal(flows.n, v4.n + v6.n);
	assert_int_equal(flows.n, count_by_tool(""));
	for (size_t i = 0; i < flows.n; i++) {
		print_flow(line, sizeof(line), &flows.at[i]);
		if (!strstr(listed, line))
			fail_msg("not listed: %s\n%s", line, listed);
	}
	free(listed);
	free(flows.at);
	free(v4.at);
	free(v6.at);
	for (int i = 0; i < 2; i++)
		assert_int_equal(close(tcp4[i]) | close(tcp6[i]), 0);
}

static void a_flow_says_how_it_is_translated_and_since_when(void **state)
{
	struct timespec now;
	struct flows flows;
	const struct flow *udp;
	struct addr pod = addr_of("10.42.0.2"), egress = addr_of("203.0.113.10");

	(void)state;
	need_flow_world();
	make_udp_flow(4, 4000);
	flows = all_flows(4);
	udp = find(&flows, IPPROTO_UDP, 53);
	assert_non_null(udp);
	assert_int_equal(udp->version, 4);
	assert_true(addr_equal(&udp->original.src, &pod));
	assert_true(addr_equal(&udp->reply.dst, &egress));
	assert_int_equal(udp->original.sport, 4000);
	assert_int_equal(udp->reply.dport, 4000);
	assert_int_equal(udp->mark, FLOW_MARK);
	assert_true(udp->counted);
	assert_int_equal(udp->packets[FLOW_ORIGINAL], 1);
	assert_int_equal(udp->bytes[FLOW_REPLY], 20 + 8 + 6);
	clock_gettime(CLOCK_REALTIME, &now);
	assert_true(udp->start > (double)now.tv_sec - 60 && udp->start <= (double)now.tv_sec + 1);
	assert_true(udp->stop == 0);
	free(flows.at);
}

static void a_tcp_flow_has_its_state(void **state)
{
	int ends[2];
	struct flows flows;

	(void)state;
	need_flow_world();
	make_tcp_flow(4, 4001, ends);
	flows = all_flows(4);
	assert_int_equal(find(&flows, IPPROTO_TCP, 443)->tcp_state, TCP_CONNTRACK_ESTABLISHED);
	free(flows.at);
	close(ends[0]);
	close(ends[1]);
}

/* ---- changes ---- */

static void deletes_exactly_the_flow_it_is_given(void **state)
{
	struct conntrack_changes changes = {0};
	struct flows flows;
	int tcp6[2];

	(void)state;
	need_flow_world();
	make_udp_flow(4, 4000);
	make_udp_flow(4, 4001);
	make_udp_flow(6, 4000);
	make_tcp_flow(6, 4000, tcp6);
	make_icmp_flow(4, 4000);
	flows = all_flows(0);
	for (size_t i = 0; i < flows.n; i++)
		if (flows.at[i].original.sport == 4000)
			conntrack_delete(&changes, &flows.at[i]);
	assert_int_equal(changes.n, 4);
	commit(&changes);
	assert_int_equal(changes.done, 4);
	assert_int_equal(changes.n, 0);
	assert_int_equal(count_by_tool("-p udp --sport 4000") + count_by_tool("-p tcp"), 0);
	assert_int_equal(count_by_tool("-p udp --sport 4001"), 1);
	conntrack_changes_fini(&changes);
	free(flows.at);
	close(tcp6[0]);
	close(tcp6[1]);
}

static void a_flow_that_is_gone_is_no_error(void **state)
{
	struct conntrack_changes changes = {0};
	struct flows flows;

	(void)state;
	need_flow_world();
	make_udp_flow(4, 4000);
	make_udp_flow(4, 4001);
	flows = all_flows(4);
	run("conntrack -D -p udp --sport 4000 2>/dev/null");
	for (size_t i = 0; i < flows.n; i++)
		conntrack_delete(&changes, &flows.at[i]);
	commit(&changes);
	assert_int_equal(changes.done, 1);
	assert_int_equal(changes.gone, 1);
	assert_int_equal(changes.refused, 0);
	conntrack_changes_fini(&changes);
	free(flows.at);
}

static void a_later_flow_with_the_same_tuple_is_not_deleted(void **state)
{
	struct conntrack_changes changes = {0};
	struct flows flows;

	(void)state;
	need_flow_world();
	make_udp_flow(4, 4000);
	flows = all_flows(4);
	run("conntrack -F 2>/dev/null");
	make_udp_flow(4, 4000);
	flows.at[0].id ^= 1; /* the kernel may use the same memory, and so the same id, again */
	conntrack_delete(&changes, &flows.at[0]);
	commit(&changes);
	assert_int_equal(changes.gone, 1);
	assert_int_equal(count_by_tool("-p udp --sport 4000"), 1);
	conntrack_changes_fini(&changes);
	free(flows.at);
}

static void finds_a_flow_in_its_zone(void **state)
{
	struct conntrack_changes changes = {0};
	struct flows flows;

	(void)state;
	need_flow_world();
	make_udp_flows(4000, 7007, 1);
	flows = all_flows(4);
	assert_int_equal(flows.n, 1);
	assert_int_equal(flows.at[0].zone, 7);
	conntrack_set_mark(&changes, &flows.at[0], 0x9000, 0xf000);
	commit(&changes);
	assert_int_equal(count_by_tool("-p udp -m 36871"), 1);
	conntrack_delete(&changes, &flows.at[0]);
	commit(&changes);
	assert_int_equal(changes.done, 2);
	assert_int_equal(count_by_tool("-p udp"), 0);
	conntrack_changes_fini(&changes);
	free(flows.at);
}

static void marks_only_the_bits_of_the_mask(void **state)
{
	struct conntrack_changes changes = {0};
	struct flows flows;

	(void)state;
	need_flow_world();
	make_udp_flow(4, 4000);
	make_udp_flow(6, 4000);
	flows = all_flows(0);
	for (size_t i = 0; i < flows.n; i++)
		conntrack_set_mark(&changes, &flows.at[i], 0xabcdefff, 0xfffff000);
	commit(&changes);
	free(flows.at);
	flows = all_flows(0);
	assert_int_equal(flows.n, 2);
	for (size_t i = 0; i < flows.n; i++)
		assert_int_equal(flows.at[i].mark, 0xabcde007);
	run("conntrack -F 2>/dev/null");
	conntrack_set_mark(&changes, &flows.at[0], 0, 0xffffffff);
	commit(&changes); /* does not make a flow */
	assert_int_equal(changes.gone, 1);
	assert_int_equal(count_by_tool("-p udp"), 0);
	conntrack_changes_fini(&changes);
	free(flows.at);
}

static void a_refusal_does_not_stop_the_others(void **state)
{
	struct conntrack_changes changes = {0};
	struct flows flows;
	struct error e = {0};

	(void)state;
	need_flow_world();
	make_udp_flows(4000, 1000, 600);
	flows = all_flows(4);
	assert_int_equal(flows.n, 600);
	flows.at[0].raw_length = 4; /* half a tuple */
	for (size_t i = 0; i < flows.n; i++)
		conntrack_delete(&changes, &flows.at[i]);
	assert_int_equal(conntrack_commit(&changes, &e), -EINVAL);
	assert_non_null(strstr(e.text, "1 not made"));
	assert_int_equal(changes.refused, 1);
	assert_int_equal(changes.done, 599);
	assert_int_equal(count_by_tool("-p udp"), 1);
	conntrack_changes_fini(&changes);
	free(flows.at);
}

struct sweep {
	struct conntrack_changes changes;
	size_t seen;
};

static void sweep_away(void *arg, const struct flow *flow)
{
	struct sweep *sweep = arg;
	struct error e = {0};

	sweep->seen++;
	conntrack_delete(&sweep->changes, flow);
	if (sweep->changes.n == 4000 && conntrack_commit(&sweep->changes, &e))
		fail_msg("%s", e.text);
}

static void deletes_ten_thousand_while_it_dumps(void **state)
{
	struct sweep sweep = {0};
	struct error e = {0};
	double begin, dumped;

	(void)state;
	need_flow_world();
	make_udp_flows(4000, 10000, 10000);
	assert_int_equal(count_by_tool("-p udp"), 10000);
	begin = clock_monotonic();
	assert_int_equal(conntrack_each(4, sweep_away, &sweep, &e), 0);
	dumped = clock_monotonic();
	commit(&sweep.changes);
	print_message("10000 flows dumped and 8000 deleted in %.1f ms, the rest in %.1f ms\n",
		(dumped - begin) * 1e3, (clock_monotonic() - dumped) * 1e3);
	assert_true(sweep.seen >= 10000);
	assert_int_equal(sweep.changes.done, 10000);
	assert_int_equal(count_by_tool("-p udp"), 0);
	conntrack_changes_fini(&sweep.changes);
}

static void a_dump_goes_in_steps(void **state)
{
	struct flows flows = {0};
	struct error e = {0};
	unsigned steps = 0;
	int fd, result = 1;

	(void)state;
	need_flow_world();
	make_udp_flows(4000, 10000, 2000);
	fd = conntrack_dump_open(0, &e);
	assert_true(fd >= 0);
	for (; result == 1; steps++) {
		assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5000), 1);
		result = conntrack_dump_step(fd, gather, &flows, 1);
	}
	assert_int_equal(result, 0);
	assert_true(steps > 10);
	assert_int_equal(flows.n, 2000);
	free(flows.at);
	close(fd);
}

/* ---- statistics ---- */

static void statistics_count_what_found_no_port(void **state)
{
	struct conntrack_stats before, after;
	struct error e = {0};
	char *max;
	int pod[12];

	(void)state;
	need_flow_world();
	assert_int_equal(conntrack_stats(&before, &e), 0);
	for (int i = 0; i < 12; i++) { /* for 10 ports */
		struct sockaddr_storage at;
		socklen_t length = flow_sockaddr(&at, flow_partner(4), 7777);

		pod[i] = flow_socket(flow_world.pod, 4, SOCK_DGRAM, 0);
		(void)!sendto(pod[i], "x", 1, 0, (struct sockaddr *)&at, length);
	}
	assert_int_equal(conntrack_stats(&after, &e), 0);
	assert_int_equal(after.entries, 10);
	assert_int_equal(after.drop + after.insert_failed - before.drop - before.insert_failed, 4);
	max = output_of("sysctl -n net.netfilter.nf_conntrack_max");
	assert_int_equal(after.max, atoi(max));
	free(max);
	for (int i = 0; i < 12; i++)
		close(pod[i]);
}

/* ---- events ---- */

struct seen {
	struct flows made, destroyed;
};

static void see(void *arg, enum conntrack_event event, const struct flow *flow)
{
	struct seen *seen = arg;

	gather(event == CONNTRACK_NEW ? &seen->made : &seen->destroyed, flow);
}

static int listen_to_flows(int room)
{
	struct error e = {0};
	int fd = conntrack_events_open(room, &e);

	if (fd < 0)
		fail_msg("%s", e.text);
	return fd;
}

static void drain_until(int fd, struct seen *seen, size_t made, size_t destroyed)
{
	while (seen->made.n < made || seen->destroyed.n < destroyed) {
		assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5000), 1);
		assert_int_not_equal(conntrack_events_drain(fd, see, seen, 100), CONNTRACK_LOST);
	}
}

static void forget(struct seen *seen)
{
	free(seen->made.at);
	free(seen->destroyed.at);
}

static void events_tell_of_the_begin_and_the_end(void **state)
{
	struct seen seen = {0};
	struct conntrack_changes changes = {0};
	const struct flow *begin, *end;
	int fd, ends[2];

	(void)state;
	need_flow_world();
	fd = listen_to_flows(1 << 20);
	make_tcp_flow(6, 4000, ends);
	drain_until(fd, &seen, 1, 0);
	begin = &seen.made.at[0];
	assert_int_equal(begin->version, 6);
	assert_int_equal(begin->mark, FLOW_MARK);
	assert_int_equal(begin->reply.dport, 4000);
	conntrack_delete(&changes, begin);
	commit(&changes);
	drain_until(fd, &seen, 1, 1);
	end = &seen.destroyed.at[0];
	assert_int_equal(end->id, begin->id);
	assert_int_equal(end->mark, FLOW_MARK);
	assert_int_equal(end->tcp_state, TCP_CONNTRACK_ESTABLISHED);
	assert_true(end->counted && end->packets[FLOW_ORIGINAL] >= 2);
	assert_true(end->start > 0 && end->stop >= end->start);
	assert_int_not_equal(end->portid, 0);
	assert_int_equal(conntrack_events_drain(fd, see, &seen, 100), CONNTRACK_EMPTY);
	conntrack_changes_fini(&changes);
	forget(&seen);
	close(fd);
	close(ends[0]);
	close(ends[1]);
}

static void the_end_that_time_brings_is_nobodys_request(void **state)
{
	struct seen seen = {0};
	int fd;

	(void)state;
	need_flow_world();
	run("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=1");
	fd = listen_to_flows(1 << 20);
	make_udp_flows(4000, 10000, 1);
	drain_until(fd, &seen, 1, 0);
	for (int i = 0; seen.destroyed.n == 0 && i < 50; i++) {
		poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 100);
		run("conntrack -L >/dev/null 2>&1"); /* a dump puts away what has expired */
		assert_int_not_equal(conntrack_events_drain(fd, see, &seen, 100), CONNTRACK_LOST);
	}
	assert_int_equal(seen.destroyed.n, 1);
	run("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=30");
	assert_int_equal(seen.destroyed.at[0].portid, 0);
	forget(&seen);
	close(fd);
}

static void a_drain_keeps_to_its_budget(void **state)
{
	struct seen seen = {0};
	int fd;

	(void)state;
	need_flow_world();
	fd = listen_to_flows(1 << 20);
	make_udp_flows(4000, 10000, 50);
	drain_until(fd, &seen, 1, 0);
	make_udp_flows(4001, 10000, 50);
	seen.made.n = 0;
	assert_int_equal(conntrack_events_drain(fd, see, &seen, 10), CONNTRACK_MORE);
	assert_int_equal(seen.made.n, 10);
	forget(&seen);
	close(fd);
}

static void an_overflow_is_told_and_the_rest_comes(void **state)
{
	struct seen seen = {0};
	enum conntrack_drained drained = CONNTRACK_MORE;
	unsigned lost = 0;
	int fd;

	(void)state;
	need_flow_world();
	fd = listen_to_flows(4096);
	make_udp_flows(4000, 10000, 1000);
	while (drained != CONNTRACK_EMPTY) {
		drained = conntrack_events_drain(fd, see, &seen, 100);
		lost += drained == CONNTRACK_LOST;
	}
	assert_int_equal(lost, 1);
	assert_in_range(seen.made.n, 1, 999);
	make_udp_flows(4001, 10000, 1);
	drain_until(fd, &seen, seen.made.n + 1, 0);
	forget(&seen);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dump_is_what_the_tool_lists),
		cmocka_unit_test(a_flow_says_how_it_is_translated_and_since_when),
		cmocka_unit_test(a_tcp_flow_has_its_state),
		cmocka_unit_test(deletes_exactly_the_flow_it_is_given),
		cmocka_unit_test(a_flow_that_is_gone_is_no_error),
		cmocka_unit_test(a_later_flow_with_the_same_tuple_is_not_deleted),
		cmocka_unit_test(finds_a_flow_in_its_zone),
		cmocka_unit_test(marks_only_the_bits_of_the_mask),
		cmocka_unit_test(a_refusal_does_not_stop_the_others),
		cmocka_unit_test(deletes_ten_thousand_while_it_dumps),
		cmocka_unit_test(a_dump_goes_in_steps),
		cmocka_unit_test(statistics_count_what_found_no_port),
		cmocka_unit_test(events_tell_of_the_begin_and_the_end),
		cmocka_unit_test(the_end_that_time_brings_is_nobodys_request),
		cmocka_unit_test(a_drain_keeps_to_its_budget),
		cmocka_unit_test(an_overflow_is_told_and_the_rest_comes),
	};

	return cmocka_run_group_tests(tests, make_flow_world, leave_flow_world);
}
