/*
 * flows_test.c - the book kept in a real loop, of flows of real packets.
 */
#include "../../nat/flow_world.h"
#include "tests/unit/daemon/run_until.h"

#include <dirent.h>

#include "base/clock.h"
#include "daemon/flows/flows.h"
#include "daemon/log/log.h"

#define BURST 20000
#define FIRST_PORT 10000

static char path[64], rotated[72];
static struct ev_loop *loop;
static struct flows *flows;

static const char *name_of(void *arg, uint32_t mark, const struct flow *flow)
{
	(void)arg;
	(void)flow;
	return (mark & 0xfffff000) == FLOW_CLASS ? "bank" : NULL;
}

static int setup(void **state)
{
	(void)state;
	strcpy(path, "/tmp/egret-flows-XXXXXX");
	close(mkstemp(path));
	snprintf(rotated, sizeof(rotated), "%s.1", path);
	loop = ev_loop_new(0);
	flows = NULL;
	log_set_level(LOG_LEVEL_ERROR);
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	flows_free(flows);
	ev_loop_destroy(loop);
	unlink(rotated);
	return unlink(path);
}

static void begin(int receive_buffer, unsigned port_range)
{
	const struct flows_config config = {.log = path,
		.class_mask = 0xfffff000,
		.max_flows = 100000,
		.port_range = port_range,
		.receive_buffer = receive_buffer};
	struct error e;

	flows = flows_new(loop, &config, name_of, NULL, &e);
	if (!flows)
		fail_msg("%s", e.text);
}

static struct flows_counts counts(void)
{
	return flows_counts(flows);
}

/* Lines of the log that hold all words. */
static unsigned lines_with(const char *a, const char *b, const char *c)
{
	FILE *in = fopen(path, "re");
	char line[2048];
	unsigned n = 0;

	assert_non_null(in);
	while (fgets(line, sizeof(line), in))
		n += strstr(line, a) && strstr(line, b) && strstr(line, c);
	fclose(in);
	return n;
}

static void commit_all(void *arg, const struct flow *flow)
{
	conntrack_delete(arg, flow);
}

static void delete_all(void)
{
	struct conntrack_changes changes = {0};
	struct error e = {0};

	if (conntrack_each(0, commit_all, &changes, &e) || conntrack_commit(&changes, &e))
		fail_msg("%s", e.text);
	conntrack_changes_fini(&changes);
}

static void flows_are_logged_as_they_come_and_go(void **state)
{
	int ends[2];

	(void)state;
	need_flow_world();
	begin(0, 0);
	RUN_UNTIL(counts().dumps == 1);
	make_tcp_flow(4, 4000, ends);
	make_udp_flow(6, 4000);
	make_icmp_flow(4, 4000);
	make_udp_flows(4000, 9, 1); /* without a class */
	RUN_UNTIL(counts().started == 3);
	assert_int_equal(counts().flows, 3);
	assert_int_equal(counts().endpoints, 2);
	delete_all();
	RUN_UNTIL(counts().ended == 3);
	assert_int_equal(counts().flows + counts().endpoints, 0);
	flows_free(flows);
	flows = NULL;
	assert_int_equal(lines_with("\"partner\":\"bank\"", "", ""), 6);
	assert_int_equal(lines_with("\"event\":\"start\",\"partner\":\"bank\",\"protocol\":\"tcp\"",
				 "\"pod\":\"10.42.0.2\",\"source\":\"10.42.0.2:4000\"",
				 "\"translated_source\":\"203.0.113.10:4000\""),
		1);
	assert_int_equal(lines_with("\"event\":\"end\",\"partner\":\"bank\",\"protocol\":\"udp\"",
				 "\"translated_source\":\"[2001:db8:1::10]:4000\"",
				 "\"packets_original\":1,\"packets_reply\":1,\"bytes_original\":51,"
				 "\"bytes_reply\":54,\"reason\":\"deleted\""),
		1);
	assert_int_equal(lines_with("\"protocol\":\"icmp\"",
				 "\"translated_source\":\"203.0.113.10:4000\"", ""),
		2);
	close(ends[0]);
	close(ends[1]);
}

static void a_connection_that_was_reset_says_so(void **state)
{
	int ends[2];

	(void)state;
	need_flow_world();
	run("sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_close=1");
	begin(0, 0);
	make_tcp_flow(4, 4000, ends);
	RUN_UNTIL(counts().started == 1);
	close(ends[0]);
	close(ends[1]);
	/* A dump puts away what has expired. */
	RUN_UNTIL((free(output_of("conntrack -L 2>/dev/null")), counts().ended == 1));
	flows_free(flows);
	flows = NULL;
	assert_int_equal(lines_with("\"reason\":\"reset\"", "\"event\":\"end\"", ""), 1);
}

/* The kernel forgets it with the packet that refuses it. */
static void a_connection_that_was_refused_is_told_all_the_same(void **state)
{
	struct sockaddr_storage at;
	socklen_t length = flow_sockaddr(&at, flow_partner(4), 444);
	int pod;

	(void)state;
	need_flow_world();
	begin(0, 0);
	RUN_UNTIL(counts().dumps == 1);
	pod = flow_socket(flow_world.pod, 4, SOCK_STREAM, 0);
	assert_int_not_equal(connect(pod, (struct sockaddr *)&at, length), 0);
	RUN_UNTIL(counts().ended == 1);
	flows_free(flows);
	flows = NULL;
	assert_int_equal(lines_with("\"reason\":\"reset\"", "198.51.100.7:444", ""), 1);
	assert_int_equal(lines_with("\"event\":\"start\"", "198.51.100.7:444", ""), 1);
	close(pod);
}

static void what_was_there_first_is_found(void **state)
{
	(void)state;
	need_flow_world();
	make_udp_flow(4, 4000);
	make_udp_flow(6, 4000);
	begin(0, 0);
	RUN_UNTIL(counts().dumps == 1);
	assert_int_equal(counts().flows, 2);
	delete_all();
	RUN_UNTIL(counts().ended == 2);
	flows_free(flows);
	flows = NULL;
	assert_int_equal(lines_with("\"event\":\"start\"", "\"resync\":true", "\"bank\""), 2);
}

static void an_end_that_the_kernel_does_not_tell_is_found(void **state)
{
	(void)state;
	need_flow_world();
	run("sysctl -qw net.netfilter.nf_conntrack_events=0");
	make_udp_flow(4, 4000);
	run("sysctl -qw net.netfilter.nf_conntrack_events=1");
	begin(0, 0);
	RUN_UNTIL(counts().dumps == 1);
	delete_all();
	flows_resync(flows);
	RUN_UNTIL(counts().dumps == 2);
	assert_int_equal(counts().unseen, 1);
	flows_free(flows);
	flows = NULL;
	assert_int_equal(lines_with("\"event\":\"end\"", "\"reason\":\"unseen\"", ""), 1);
}

/* How often each of BURST flows begins and ends, by the port of its destination. */
static void count_burst(unsigned wanted_ends)
{
	static uint8_t starts[BURST], ends[BURST];
	FILE *in = fopen(path, "re");
	char line[2048];

	memset(starts, 0, sizeof(starts));
	memset(ends, 0, sizeof(ends));
	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		const char *at = strstr(line, "\"destination\":\"198.51.100.7:");
		int flow = at ? atoi(at + 28) - FIRST_PORT : -1;

		assert_in_range(flow, 0, BURST - 1);
		(strstr(line, "\"event\":\"start\"") ? starts : ends)[flow]++;
	}
	fclose(in);
	for (int i = 0; i < BURST; i++)
		if (starts[i] != 1 || ends[i] != wanted_ends)
			fail_msg(
				"flow %d began %u times and ended %u times", i, starts[i], ends[i]);
}

static void a_burst_beyond_the_receive_buffer_loses_no_flow(void **state)
{
	uint64_t overflows;

	(void)state;
	need_flow_world();
	run("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=300");
	begin(32 << 10, 0);
	RUN_UNTIL(counts().dumps == 1);
	for (unsigned i = 0; i < BURST; i += 500) {
		make_udp_flows(4000, (uint16_t)(FIRST_PORT + i), 500);
		ev_run(loop, EVRUN_NOWAIT);
	}
	RUN_UNTIL(counts().flows == BURST);
	overflows = counts().overflows;
	assert_true(overflows > 0);
	assert_int_equal(counts().started, BURST);
	delete_all();
	RUN_UNTIL(counts().flows == 0);
	assert_true(counts().overflows > overflows);
	assert_true(counts().unseen > 0);
	assert_int_equal(counts().ended, BURST);
	assert_int_equal(counts().lines_lost, 0);
	print_message("%llu overflows, %llu dumps, %llu ends only seen by a dump\n",
		(unsigned long long)counts().overflows, (unsigned long long)counts().dumps,
		(unsigned long long)counts().unseen);
	flows_free(flows);
	flows = NULL;
	count_burst(1);
}

static void a_burst_within_the_receive_buffer_needs_no_dump(void **state)
{
	(void)state;
	need_flow_world();
	run("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=300");
	begin(64 << 20, 0);
	make_udp_flows(4000, FIRST_PORT, BURST);
	RUN_UNTIL(counts().flows == BURST);
	delete_all();
	RUN_UNTIL(counts().flows == 0);
	assert_int_equal(counts().overflows, 0);
	flows_free(flows);
	flows = NULL;
	count_burst(1);
}

static void ports_in_use_are_those_of_conntrack(void **state)
{
	struct port_use out[4];
	int pod[12];

	(void)state;
	need_flow_world();
	begin(0, 10);
	for (int i = 0; i < 12; i++) { /* for 10 ports */
		struct sockaddr_storage at;
		socklen_t length = flow_sockaddr(&at, flow_partner(4), 7777);

		pod[i] = flow_socket(flow_world.pod, 4, SOCK_DGRAM, 0);
		(void)!sendto(pod[i], "x", 1, 0, (struct sockaddr *)&at, length);
	}
	make_udp_flow(4, 4000);
	RUN_UNTIL(counts().flows == 11);
	assert_int_equal(flows_busiest(flows, out, 4), 2);
	assert_int_equal(out[0].used, flows_port_range(flows));
	assert_int_equal(out[0].port, 7777);
	assert_int_equal(out[1].used, 1);
	for (int i = 0; i < 12; i++)
		close(pod[i]);
}

static void the_log_is_opened_anew(void **state)
{
	struct error e;

	(void)state;
	need_flow_world();
	begin(0, 0);
	make_udp_flow(4, 4000);
	RUN_UNTIL(counts().flows == 1);
	assert_int_equal(rename(path, rotated), 0);
	assert_int_equal(flows_reopen(flows, &e), 0);
	delete_all();
	RUN_UNTIL(counts().flows == 0);
	flows_free(flows);
	flows = NULL;
	assert_int_equal(lines_with("\"event\":\"start\"", "", ""), 0);
	assert_int_equal(lines_with("\"event\":\"end\"", "", ""), 1);
}

static void a_log_that_is_switched_on_begins_with_what_lives(void **state)
{
	const struct flows_config config = {
		.class_mask = 0xfffff000, .max_flows = 100, .port_range = 10};
	struct port_use out[4];
	struct error e;

	(void)state;
	need_flow_world();
	flows = flows_new(loop, &config, name_of, NULL, &e);
	assert_non_null(flows);
	make_udp_flow(4, 4000);
	make_udp_flow(6, 4000);
	RUN_UNTIL(counts().dumps == 1);
	flows_resync(flows);
	RUN_UNTIL(counts().dumps == 2);
	assert_int_equal(counts().flows, 2);
	assert_int_equal(flows_busiest(flows, out, 4), 2);
	assert_int_equal(flows_set_log(flows, path, &e), 0);
	make_udp_flow(4, 4001);
	RUN_UNTIL(counts().flows == 3 && counts().dumps == 3);
	delete_all();
	RUN_UNTIL(counts().flows == 0);
	flows_free(flows);
	flows = NULL;
	assert_int_equal(lines_with("\"event\":\"start\"", "\"resync\":true", "\"bank\""), 2);
	assert_int_equal(lines_with("\"event\":\"start\"", "", ""), 3);
	assert_int_equal(lines_with("\"event\":\"end\"", "", ""), 3);
}

static void on_resync(struct ev_loop *l, ev_timer *timer, int revents)
{
	(void)l;
	(void)timer;
	(void)revents;
	flows_resync(flows);
}

static size_t open_files(void)
{
	DIR *all = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(all);
	while (readdir(all))
		n++;
	closedir(all);
	return n;
}

/* The loop was busy: the pause between dumps is over, and its timer waits to be called. */
static void a_dump_that_is_due_already_is_begun_once(void **state)
{
	uint64_t dumps;
	ev_timer first;
	size_t files;
	double until;

	(void)state;
	need_flow_world();
	begin(0, 0);
	RUN_UNTIL(counts().dumps == 1);
	files = open_files();
	flows_resync(flows);
	ev_timer_init(&first, on_resync, 0.01, 0);
	ev_set_priority(&first, EV_MAXPRI);
	ev_now_update(loop);
	ev_timer_start(loop, &first);
	for (until = clock_monotonic() + 1.1; clock_monotonic() < until;)
		;
	RUN_UNTIL(counts().dumps >= 2);
	dumps = counts().dumps;
	flows_resync(flows);
	RUN_UNTIL(counts().dumps > dumps);
	assert_int_equal(open_files(), files);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(flows_are_logged_as_they_come_and_go),
		TEST(a_connection_that_was_reset_says_so),
		TEST(a_connection_that_was_refused_is_told_all_the_same),
		TEST(what_was_there_first_is_found),
		TEST(an_end_that_the_kernel_does_not_tell_is_found),
		TEST(a_burst_beyond_the_receive_buffer_loses_no_flow),
		TEST(a_burst_within_the_receive_buffer_needs_no_dump),
		TEST(ports_in_use_are_those_of_conntrack),
		TEST(a_dump_that_is_due_already_is_begun_once),
		TEST(the_log_is_opened_anew),
		TEST(a_log_that_is_switched_on_begins_with_what_lives),
	};

	return cmocka_run_group_tests(tests, make_flow_world, leave_flow_world);
}
