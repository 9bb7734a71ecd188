#include "daemon/flows/flow_log.h"

#include <fcntl.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/check.h"
#include "daemon/log/log.h"

static char dir[64], path[96], rotated[96];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/egret-flow-log-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/flow.log", dir);
	snprintf(rotated, sizeof(rotated), "%s/flow.log.1", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	unlink(rotated);
	return rmdir(dir);
}

static struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_true(addr_parse(&addr, text_of(text)));
	return addr;
}

static struct flow flow_of(
	uint8_t protocol, const char *pod, const char *partner, const char *egress)
{
	return (struct flow){
		.original = {addr_of(pod), addr_of(partner), 40000, 443, protocol, 0, 0},
		.reply = {addr_of(partner), addr_of(egress), 443, 41523, protocol, 0, 0},
		.id = 7,
	};
}

static const char *print(const struct flow_line *line)
{
	static char text[FLOW_LINE + 1];
	size_t length = flow_line_print(line, text);

	text[length] = 0;
	return text;
}

static void the_begin_of_a_flow_is_one_line(void **state)
{
	struct flow flow = flow_of(IPPROTO_TCP, "10.42.0.11", "198.51.100.7", "203.0.113.10");
	struct flow_line line = {
		.time = 1795420941.123, .start = 1795420940, .flow = &flow, .partner = "bank"};

	(void)state;
	assert_string_equal(print(&line),
		"{\"time\":\"2026-11-23T08:02:21.123Z\",\"event\":\"start\",\"partner\":\"bank\","
		"\"protocol\":\"tcp\",\"pod\":\"10.42.0.11\",\"source\":\"10.42.0.11:40000\","
		"\"destination\":\"198.51.100.7:443\",\"translated_source\":\"203.0.113.10:41523\","
		"\"translated_destination\":\"198.51.100.7:443\",\"id\":7,"
		"\"start\":\"2026-11-23T08:02:20.000Z\"}\n");
	line.resync = true;
	line.partner = NULL;
	line.start = 0;
	assert_non_null(strstr(print(&line), "\"partner\":null,"));
	assert_non_null(strstr(print(&line), "\"start\":null,\"resync\":true}\n"));
}

static void the_end_of_a_flow_says_how_much_and_why(void **state)
{
	struct flow flow = flow_of(IPPROTO_UDP, "fd42::2", "2001:db8:5::7", "2001:db8:1::10");
	struct flow_line line = {.time = 1795420941.123,
		.start = 1795420940,
		.end = 1795420941.5,
		.flow = &flow,
		.partner = "say \"hi\"",
		.reason = "timeout"};

	(void)state;
	flow.counted = true;
	flow.packets[FLOW_ORIGINAL] = 1;
	flow.packets[FLOW_REPLY] = 2;
	flow.bytes[FLOW_ORIGINAL] = 3;
	flow.bytes[FLOW_REPLY] = UINT64_MAX;
	assert_string_equal(print(&line),
		"{\"time\":\"2026-11-23T08:02:21.123Z\",\"event\":\"end\","
		"\"partner\":\"say \\\"hi\\\"\",\"protocol\":\"udp\",\"pod\":\"fd42::2\","
		"\"source\":\"[fd42::2]:40000\",\"destination\":\"[2001:db8:5::7]:443\","
		"\"translated_source\":\"[2001:db8:1::10]:41523\","
		"\"translated_destination\":\"[2001:db8:5::7]:443\",\"id\":7,"
		"\"start\":\"2026-11-23T08:02:20.000Z\",\"end\":\"2026-11-23T08:02:21.500Z\","
		"\"duration\":1.500000,\"packets_original\":1,\"packets_reply\":2,"
		"\"bytes_original\":3,\"bytes_reply\":18446744073709551615,"
		"\"reason\":\"timeout\"}\n");
	flow.counted = false;
	line.start = 0;
	assert_non_null(strstr(print(&line), "\"start\":null,\"end\":\"2026-11-23T08:02:21.500Z\","
					     "\"duration\":null,\"packets_original\":null,"));
}

static void what_has_no_ports_shows_none(void **state)
{
	struct flow flow = flow_of(IPPROTO_ICMP, "10.42.0.11", "198.51.100.7", "203.0.113.10");
	struct flow_line line = {.time = 1, .flow = &flow};

	(void)state;
	flow.original.sport = 5;
	flow.original.dport = flow.reply.dport = 0;
	flow.reply.sport = 6; /* its identifier was translated */
	assert_non_null(strstr(print(&line),
		"\"protocol\":\"icmp\",\"pod\":\"10.42.0.11\",\"source\":\"10.42.0.11:5\","
		"\"destination\":\"198.51.100.7\",\"translated_source\":\"203.0.113.10:6\","
		"\"translated_destination\":\"198.51.100.7\","));
	flow.original.protocol = 200;
	assert_non_null(strstr(print(&line),
		"\"protocol\":\"200\",\"pod\":\"10.42.0.11\",\"source\":\"10.42.0.11\","));
}

static void the_longest_line_fits_and_is_json(void **state)
{
	static char name[2000];
	struct flow flow = flow_of(IPPROTO_UDPLITE, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	struct flow_line line = {.time = 1e12,
		.start = 1,
		.end = 1e12,
		.flow = &flow,
		.partner = name,
		.reason = "deleted",
		.resync = true};
	json_t *json;

	(void)state;
	memset(name, 1, sizeof(name) - 1);
	flow.counted = true;
	flow.id = UINT32_MAX;
	memset(flow.packets, 255, sizeof(flow.packets));
	memset(flow.bytes, 127, sizeof(flow.bytes));
	flow.original.sport = flow.original.dport = flow.reply.sport = flow.reply.dport = 65535;
	flow.packets[0] = flow.packets[1] = INT64_MAX; /* as much as jansson takes */
	json = json_loads(print(&line), 0, NULL);
	assert_non_null(json);
	json_decref(json);
}

static void the_reason_comes_from_the_event(void **state)
{
	static const struct {
		uint8_t protocol, state;
		uint32_t portid;
		const char *reason;
	} all[] = {
		{IPPROTO_TCP, TCP_CONNTRACK_TIME_WAIT, 0, "closed"},
		{IPPROTO_TCP, TCP_CONNTRACK_LAST_ACK, 0, "closed"},
		{IPPROTO_TCP, TCP_CONNTRACK_CLOSE, 0, "reset"},
		{IPPROTO_TCP, TCP_CONNTRACK_ESTABLISHED, 0, "timeout"},
		{IPPROTO_TCP, TCP_CONNTRACK_SYN_SENT, 0, "timeout"},
		{IPPROTO_TCP, TCP_CONNTRACK_NONE, 0, "ended"},
		{IPPROTO_TCP, TCP_CONNTRACK_ESTABLISHED, 1234, "deleted"},
		{IPPROTO_UDP, 0, 0, "timeout"},
		{IPPROTO_UDP, 0, 1234, "deleted"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(all); i++) {
		struct flow flow = {.original.protocol = all[i].protocol,
			.tcp_state = all[i].state,
			.portid = all[i].portid};

		assert_string_equal(flow_reason(&flow), all[i].reason);
	}
}

/* ---- the file ---- */

static size_t count_lines(const char *name)
{
	FILE *in = fopen(name, "re");
	size_t n = 0;
	char line[FLOW_LINE + 1];

	if (!in)
		return 0;
	for (; fgets(line, sizeof(line), in); n++)
		assert_non_null(strstr(line, "\"id\":7,\"start\":null}\n"));
	fclose(in);
	return n;
}

static void write_lines(struct flow_log *log, size_t n)
{
	struct flow flow = flow_of(IPPROTO_TCP, "10.42.0.11", "198.51.100.7", "203.0.113.10");
	const struct flow_line line = {.time = 1, .flow = &flow, .partner = "bank"};

	for (size_t i = 0; i < n; i++)
		flow_log_write(log, &line);
}

static struct flow_log *open_log(const char *target)
{
	struct flow_log *log = flow_log_new();
	struct error e;

	assert_non_null(log);
	assert_int_equal(flow_log_open(log, target, &e), 0);
	return log;
}

static void lines_wait_for_a_flush_or_a_full_buffer(void **state)
{
	struct flow_log *log = open_log(path);

	(void)state;
	write_lines(log, 10);
	assert_int_equal(count_lines(path), 0);
	flow_log_flush(log);
	assert_int_equal(count_lines(path), 10);
	write_lines(log, 2000);
	assert_in_range(count_lines(path), 11, 2009);
	flow_log_free(log);
	assert_int_equal(count_lines(path), 2010);
}

static void it_is_opened_anew_after_a_rotation(void **state)
{
	struct flow_log *log = open_log(path);
	struct error e;

	(void)state;
	write_lines(log, 1);
	assert_int_equal(rename(path, rotated), 0);
	assert_int_equal(flow_log_open(log, flow_log_path(log), &e), 0);
	write_lines(log, 2);
	flow_log_flush(log);
	assert_int_equal(count_lines(rotated), 1);
	assert_int_equal(count_lines(path), 2);
	assert_true(flow_log_open(log, "/nonexistent/flow.log", &e) < 0);
	assert_non_null(strstr(e.text, "flow log /nonexistent/flow.log: "));
	assert_string_equal(flow_log_path(log), path);
	write_lines(log, 1);
	assert_int_equal(flow_log_open(log, NULL, &e), 0);
	assert_null(flow_log_path(log));
	write_lines(log, 100);
	flow_log_free(log);
	assert_int_equal(count_lines(path), 3);
}

static void a_reader_that_does_not_read_loses_lines_and_they_are_counted(void **state)
{
	struct flow_log *log;
	size_t n = 0;
	int reader;
	FILE *in;
	char line[FLOW_LINE + 1];

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	log = open_log(path);
	write_lines(log, 3000);
	assert_true(flow_log_lost(log) > 1000);
	in = fdopen(reader, "r");
	for (;;) {
		flow_log_flush(log);
		if (!fgets(line, sizeof(line), in))
			break;
		assert_non_null(strstr(line, "\"id\":7,\"start\":null}\n"));
		n++;
		clearerr(in);
	}
	assert_int_equal(n + flow_log_lost(log), 3000);
	flow_log_free(log);
	fclose(in);
}

static void a_full_disk_never_leaves_half_a_line_in_front_of_another(void **state)
{
	struct flow_log *log;
	char line[FLOW_LINE + 1];
	struct error e;
	FILE *in;

	(void)state;
	if (unshare(CLONE_NEWNS) || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) ||
		mount("none", dir, "tmpfs", 0, "size=64k")) {
		print_message("[  SKIP  ] needs root, to mount a file system\n");
		skip();
	}
	log_set_level(LOG_LEVEL_ERROR);
	log = open_log(path);
	write_lines(log, 1000); /* 300 bytes each */
	flow_log_flush(log);
	assert_int_equal(truncate(path, 0), 0); /* somebody makes room */
	flow_log_flush(log);
	in = fopen(path, "re");
	assert_non_null(in);
	assert_non_null(fgets(line, sizeof(line), in)); /* the rest of the torn one */
	assert_memory_not_equal(line, "{\"time\":", 8);
	while (fgets(line, sizeof(line), in) && strchr(line, '\n'))
		assert_memory_equal(line, "{\"time\":", 8);
	fclose(in);
	assert_int_equal(unlink(path), 0); /* nor at the begin of another file */
	assert_int_equal(flow_log_open(log, path, &e), 0);
	flow_log_flush(log);
	in = fopen(path, "re");
	assert_non_null(in);
	assert_non_null(fgets(line, sizeof(line), in));
	assert_memory_equal(line, "{\"time\":", 8);
	fclose(in);
	flow_log_free(log);
	assert_int_equal(umount(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_begin_of_a_flow_is_one_line),
		cmocka_unit_test(the_end_of_a_flow_says_how_much_and_why),
		cmocka_unit_test(what_has_no_ports_shows_none),
		cmocka_unit_test(the_longest_line_fits_and_is_json),
		cmocka_unit_test(the_reason_comes_from_the_event),
		cmocka_unit_test_setup_teardown(
			lines_wait_for_a_flush_or_a_full_buffer, setup, teardown),
		cmocka_unit_test_setup_teardown(
			it_is_opened_anew_after_a_rotation, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_reader_that_does_not_read_loses_lines_and_they_are_counted, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			a_full_disk_never_leaves_half_a_line_in_front_of_another, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
