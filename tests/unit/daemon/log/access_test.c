#include "daemon/log/access.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WHEN 1795420941.1234 /* 2026-11-23T08:02:21Z */

static struct section stripe = {
	.kind = SECTION_PARTNER, .name = "stripe", .file = "acl.ini", .line = 14};

static struct section reporter = {
	.kind = SECTION_BLOCK, .name = "x", .file = "acl.d/x.ini", .line = 3};

static struct endpoint endpoint_of(const char *text)
{
	struct endpoint e = {0};

	assert_true(endpoint_parse(&e, text_of(text)));
	return e;
}

static struct record request(void)
{
	return (struct record){
		.when = WHEN,
		.total = 0.25,
		.dns = 0.001,
		.connect = 0.0125,
		.first_byte = 0.2,
		.client = endpoint_of("10.42.3.7:41234"),
		.method = TEXT("GET"),
		.target = TEXT("http://api.stripe.com/v1/charges?limit=3"),
		.verdict = {.action = ACTION_ALLOW, .reason = REASON_MATCHED, .section = &stripe},
		.decided = true,
		.status = 200,
		.from_client = 12,
		.to_client = 2326,
		.origin = endpoint_of("198.51.100.7:80"),
		.egress = endpoint_of("203.0.113.10:1").addr,
		.has_egress = true,
		.ending = ENDING_DONE,
	};
}

static struct record tunnel(void)
{
	struct record r = request();

	r.method = TEXT("CONNECT");
	r.target = TEXT("api.stripe.com:443");
	r.origin = endpoint_of("[2001:db8::7]:443");
	r.egress = endpoint_of("[2001:db8::10]:1").addr;
	r.tunnel = true;
	r.first_byte = -1;
	return r;
}

static struct record nothing_read(void)
{
	return (struct record){
		.when = WHEN,
		.total = 10,
		.dns = -1,
		.connect = -1,
		.first_byte = -1,
		.client = endpoint_of("[2001:db8::1]:5"),
		.status = 0,
		.ending = ENDING_CLIENT_TIMEOUT,
		.detail = "no \"request\" came",
	};
}

static void expect_line(enum access_format format, const struct record *record, const char *want)
{
	char out[ACCESS_LINE];
	size_t length = access_format(format, record, out, sizeof(out) - 1);

	out[length] = '\0';
	assert_string_equal(out, want);
}

static void a_json_line_tells_everything(void **state)
{
	struct record r = request();

	(void)state;
	expect_line(ACCESS_JSON, &r,
		"{\"time\":\"2026-11-23T08:02:21.123Z\",\"client\":\"10.42.3.7\",\"client_port\":"
		"41234,"
		"\"method\":\"GET\",\"target\":\"http://api.stripe.com/v1/charges?limit=3\","
		"\"partner\":\"stripe\",\"verdict\":\"allow\",\"policy\":\"acl.ini:14\","
		"\"reporter\":null,"
		"\"reason\":\"matched\",\"status\":200,\"bytes_in\":12,\"bytes_out\":2326,"
		"\"dns\":0.001000,\"connect\":0.012500,\"first_byte\":0.200000,\"total\":0.250000,"
		"\"origin\":\"198.51.100.7:80\",\"egress\":\"203.0.113.10\",\"tunnel\":false,"
		"\"pooled\":false,\"captured\":false,\"cache\":null,\"end\":\"done\",\"detail\":"
		"null}");
	r = tunnel();
	r.pooled = r.captured = true;
	r.cache = CACHE_RESULT_HIT;
	r.verdict.reported = true;
	r.verdict.reporter = &reporter;
	expect_line(ACCESS_JSON, &r,
		"{\"time\":\"2026-11-23T08:02:21.123Z\",\"client\":\"10.42.3.7\",\"client_port\":"
		"41234,"
		"\"method\":\"CONNECT\",\"target\":\"api.stripe.com:443\","
		"\"partner\":\"stripe\",\"verdict\":\"report\",\"policy\":\"acl.ini:14\","
		"\"reporter\":\"acl.d/x.ini:3\","
		"\"reason\":\"matched\",\"status\":200,\"bytes_in\":12,\"bytes_out\":2326,"
		"\"dns\":0.001000,\"connect\":0.012500,\"first_byte\":null,\"total\":0.250000,"
		"\"origin\":\"[2001:db8::7]:443\",\"egress\":\"2001:db8::10\",\"tunnel\":true,"
		"\"pooled\":true,\"captured\":true,\"cache\":\"hit\",\"end\":\"done\",\"detail\":"
		"null}");
}

static void what_is_not_there_is_null(void **state)
{
	struct record r = nothing_read();

	(void)state;
	expect_line(ACCESS_JSON, &r,
		"{\"time\":\"2026-11-23T08:02:21.123Z\",\"client\":\"2001:db8::1\",\"client_port\":"
		"5,"
		"\"method\":null,\"target\":null,\"partner\":null,\"verdict\":\"-\",\"policy\":"
		"null,"
		"\"reporter\":null,\"reason\":null,\"status\":0,\"bytes_in\":0,\"bytes_out\":0,"
		"\"dns\":null,"
		"\"connect\":null,\"first_byte\":null,\"total\":10.000000,\"origin\":null,"
		"\"egress\":null,\"tunnel\":false,\"pooled\":false,\"captured\":false,\"cache\":"
		"null,\"end\":\"client-timeout\","
		"\"detail\":\"no \\\"request\\\" came\"}");
}

static void a_denial_that_nothing_matched_has_a_reason_but_no_partner(void **state)
{
	struct record r = request();
	char out[ACCESS_LINE];
	size_t length;

	(void)state;
	r.verdict = (struct verdict){.action = ACTION_DENY, .reason = REASON_NO_MATCH};
	r.ending = ENDING_DENIED;
	r.status = 403;
	length = access_format(ACCESS_JSON, &r, out, sizeof(out) - 1);
	out[length] = '\0';
	assert_non_null(strstr(out, "\"partner\":null,\"verdict\":\"deny\",\"policy\":null,"
				    "\"reporter\":null,\"reason\":\"no-match\""));
}

static void squid_lines_have_squids_codes(void **state)
{
	struct record r = request();

	(void)state;
	expect_line(ACCESS_SQUID, &r,
		"1795420941.373 250 10.42.3.7 TCP_MISS/200 2326 GET "
		"http://api.stripe.com/v1/charges?limit=3 - HIER_DIRECT/198.51.100.7 -");
	r.ending = ENDING_CLIENT_GONE;
	r.target = TEXT("http://a/b c\n%20\xff\"\\");
	expect_line(ACCESS_SQUID, &r,
		"1795420941.373 250 10.42.3.7 TCP_MISS_ABORTED/200 2326 GET "
		"http://a/b%20c%0A%20%FF\"\\ - HIER_DIRECT/198.51.100.7 -");
	r = tunnel();
	expect_line(ACCESS_SQUID, &r,
		"1795420941.373 250 10.42.3.7 TCP_TUNNEL/200 2326 CONNECT api.stripe.com:443 "
		"- HIER_DIRECT/2001:db8::7 -");
	r.ending = ENDING_IDLE_TIMEOUT;
	r.total = -1;
	expect_line(ACCESS_SQUID, &r,
		"1795420941.123 0 10.42.3.7 TCP_TUNNEL_TIMEDOUT/200 2326 CONNECT "
		"api.stripe.com:443 "
		"- HIER_DIRECT/2001:db8::7 -");
	r.ending = ENDING_RATE_LIMITED;
	r.status = 429;
	r.origin.port = 0;
	expect_line(ACCESS_SQUID, &r,
		"1795420941.123 0 10.42.3.7 TCP_DENIED/429 2326 CONNECT api.stripe.com:443 "
		"- HIER_NONE/- -");
	r = nothing_read();
	expect_line(ACCESS_SQUID, &r,
		"1795420951.123 10000 2001:db8::1 NONE_TIMEDOUT/000 0 NONE error:invalid-request "
		"- HIER_NONE/- -");
	r.ending = ENDING_BAD_REQUEST;
	r.status = 400;
	expect_line(ACCESS_SQUID, &r,
		"1795420951.123 10000 2001:db8::1 NONE/400 0 NONE error:invalid-request "
		"- HIER_NONE/- -");
}

static void combined_lines_are_apaches(void **state)
{
	struct record r = request();

	(void)state;
	expect_line(ACCESS_COMBINED, &r,
		"10.42.3.7 - - [23/Nov/2026:08:02:21 +0000] "
		"\"GET http://api.stripe.com/v1/charges?limit=3 HTTP/1.1\" 200 2326 \"-\" \"-\"");
	r.target = TEXT("http://a/\"x\\\x1b");
	expect_line(ACCESS_COMBINED, &r,
		"10.42.3.7 - - [23/Nov/2026:08:02:21 +0000] "
		"\"GET http://a/\\\"x\\\\\\x1b HTTP/1.1\" 200 2326 \"-\" \"-\"");
	r = nothing_read();
	expect_line(ACCESS_COMBINED, &r,
		"2001:db8::1 - - [23/Nov/2026:08:02:21 +0000] \"-\" 000 0 \"-\" \"-\"");
}

/* Python's json is the judge: every byte is had back, and every line is one object. */
static void json_lines_give_every_byte_back(void **state)
{
	FILE *judge =
		popen("python3 -c '\n"
		      "import sys, json\n"
		      "def once(pairs):\n"
		      "    assert len(dict(pairs)) == len(pairs), pairs\n"
		      "    return dict(pairs)\n"
		      "lines = sys.stdin.buffer.read().split(b\"\\n\")\n"
		      "assert lines.pop() == b\"\"\n"
		      "assert len(lines) == 257, len(lines)\n"
		      "for i, line in enumerate(lines[:256]):\n"
		      "    assert all(32 <= b < 127 for b in line), line\n"
		      "    d = json.loads(line, object_pairs_hook=once)\n"
		      "    want = bytes([97, i, 98, 255 - i, i]).decode(\"latin-1\")\n"
		      "    assert d[\"target\"] == want and d[\"method\"] == want, line\n"
		      "    assert d[\"partner\"] == \"stripe\" and d[\"total\"] == 0.25\n"
		      "t = json.loads(lines[256])[\"target\"]\n"
		      "assert t.startswith(\"\\x00\\x00\") and t.endswith(\"...(+9659)\"), t\n"
		      "'",
			"w");
	char out[ACCESS_LINE], huge[10000] = {0};
	struct record r = request();

	(void)state;
	assert_non_null(judge);
	for (int i = 0; i < 256; i++) {
		char bytes[5] = {'a', (char)i, 'b', (char)(255 - i), (char)i};

		r.target = r.method = (struct text){bytes, sizeof(bytes)};
		fprintf(judge, "%.*s\n", (int)access_format(ACCESS_JSON, &r, out, sizeof(out)),
			out);
	}
	r = request();
	r.target = (struct text){huge, sizeof(huge)};
	fprintf(judge, "%.*s\n", (int)access_format(ACCESS_JSON, &r, out, sizeof(out)), out);
	assert_int_equal(pclose(judge), 0);
}

/* The longest of everything at once. */
static void no_line_is_longer_than_a_pipe_takes_whole(void **state)
{
	static char long_text[20001];
	struct section s = {.name = long_text, .file = long_text, .line = 2147483647};
	struct record r = {
		.when = 1e300,
		.total = 1e300,
		.dns = 1e300,
		.connect = 1e300,
		.first_byte = 1e300,
		.client = endpoint_of("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
		.decided = true,
		.verdict = {.reason = REASON_BLOCKED_ADDRESS, .section = &s, .reporter = &s},
		.status = 999,
		.from_client = UINT64_MAX,
		.to_client = UINT64_MAX,
		.has_egress = true,
		.ending = ENDING_POLICY_CHANGED,
		.detail = long_text,
	};
	const char fillers[] = {'a', '\x01', '"', ' ', '\xff'};
	char out[ACCESS_LINE];

	(void)state;
	r.origin = r.client;
	r.egress = r.client.addr;
	for (size_t i = 0; i < sizeof(fillers); i++) {
		memset(long_text, fillers[i], sizeof(long_text) - 1);
		r.method = r.target = text_of(long_text);
		for (int f = ACCESS_JSON; f <= ACCESS_COMBINED; f++) {
			size_t length =
				access_format((enum access_format)f, &r, out, sizeof(out) - 1);

			assert_in_range(length, 1, ACCESS_LINE - 1);
			for (size_t size = 0; size < length; size += 7)
				assert_int_equal(
					access_format((enum access_format)f, &r, out, size), 0);
		}
	}
}

static void wild_numbers_are_still_a_line(void **state)
{
	const double wild[] = {-1, 0.0 / 0.0, 1.0 / 0.0, -1.0 / 0.0, 1e300};
	struct record r = request();
	char out[ACCESS_LINE];

	(void)state;
	r.status = -5;
	for (size_t i = 0; i < COUNT_OF(wild); i++) {
		r.when = r.total = r.dns = wild[i];
		for (int f = ACCESS_JSON; f <= ACCESS_COMBINED; f++)
			assert_true(access_format((enum access_format)f, &r, out, sizeof(out)) > 0);
	}
}

static void times_are_those_of_the_c_library(void **state)
{
	struct record r = request();
	char out[ACCESS_LINE], want[64];

	(void)state;
	for (time_t t = 0; t < 20000000000; t += 86400 * 3 + 3661) {
		struct tm tm;

		gmtime_r(&t, &tm);
		r.when = (double)t;
		access_format(ACCESS_JSON, &r, out, sizeof(out));
		strftime(want, sizeof(want), "{\"time\":\"%FT%T.000Z\"", &tm);
		assert_memory_equal(out, want, strlen(want));
		access_format(ACCESS_COMBINED, &r, out, sizeof(out));
		strftime(want, sizeof(want), "10.42.3.7 - - [%d/%b/%Y:%T +0000]", &tm);
		assert_memory_equal(out, want, strlen(want));
	}
}

/* A temporary file without a name. */
static int scratch(void)
{
	FILE *f = tmpfile();
	int fd;

	assert_non_null(f);
	fd = dup(fileno(f));
	fclose(f);
	return fd;
}

static size_t count_lines(const char *bytes, size_t length)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++)
		n += bytes[i] == '\n';
	return n;
}

/* Reads what is there, checks that it is whole JSON lines, and returns how many. */
static size_t whole_lines(int fd)
{
	static char bytes[4 << 20];
	size_t length = 0;
	ssize_t n;

	while ((n = read(fd, bytes + length, sizeof(bytes) - length)) > 0)
		length += (size_t)n;
	if (length == 0)
		return 0;
	assert_int_equal(bytes[length - 1], '\n');
	for (size_t i = 0; i < length;
		i = (size_t)((char *)memchr(bytes + i, '\n', length - i) - bytes) + 1) {
		assert_memory_equal(bytes + i, "{\"time\":", 8);
		assert_memory_equal((char *)memchr(bytes + i, '\n', length - i) - 1, "}", 1);
	}
	return count_lines(bytes, length);
}

static void lines_are_gathered_and_written_together(void **state)
{
	struct record r = request();
	int fd = scratch();
	struct access *access = access_new(fd, ACCESS_JSON, 0);
	struct stat st;

	(void)state;
	access_write(access, &r);
	access_write(access, &r);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	access_flush(access);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(whole_lines(fd), 2);
	for (int i = 0; i < 1000; i++)
		access_write(access, &r);
	access_free(access);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(whole_lines(fd), 1002);
	close(fd);
}

static void without_an_fd_nothing_is_kept_or_lost(void **state)
{
	struct record r = request();
	struct access *access = access_new(-1, ACCESS_JSON, 0);
	int fd = scratch();

	(void)state;
	access_write(access, &r);
	access_set_fd(access, fd);
	access_flush(access);
	assert_int_equal(access_lost(access), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	access_free(access);
	access_free(NULL);
	close(fd);
}

/* More lines than a buffer and a reader that sleeps, then wakes: what came is whole, what did not
 * is counted.  The time bound is that of the whole test: a writer that waits never ends. */
static void full_target(int from, int to)
{
	struct record r = request();
	struct access *access = access_new(to, ACCESS_JSON, 65536);
	size_t got, wrote = 5000;

	alarm(20);
	for (size_t i = 0; i < wrote; i++)
		access_write(access, &r);
	assert_true(access_lost(access) > 0);
	assert_int_equal(fcntl(from, F_SETFL, O_NONBLOCK), 0);
	got = whole_lines(from);
	for (int i = 0; i < 8; i++) {
		access_flush(access);
		got += whole_lines(from);
	}
	assert_int_equal(got + access_lost(access), wrote);
	access_write(access, &r);
	access_free(access);
	assert_int_equal(whole_lines(from), 1);
	alarm(0);
}

static void a_full_pipe_loses_whole_lines_and_never_waits(void **state)
{
	int ends[2];

	(void)state;
	for (int nonblock = 0; nonblock <= 1; nonblock++) {
		assert_int_equal(pipe(ends), 0);
		if (nonblock)
			assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
		full_target(ends[0], ends[1]);
		if (!nonblock)
			assert_false(fcntl(ends[1], F_GETFL) & O_NONBLOCK);
		close(ends[0]);
		close(ends[1]);
	}
}

static void a_full_socket_loses_whole_lines_and_never_waits(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	full_target(ends[0], ends[1]);
	assert_false(fcntl(ends[1], F_GETFL) & O_NONBLOCK);
	close(ends[0]);
	close(ends[1]);
}

/* A file that may not grow further takes half a line, as a full disk does. */
static void half_a_line_is_never_followed_by_another_workers(void **state)
{
	struct rlimit old, small;
	struct record r = request();
	int fd = scratch();
	struct access *a, *b;

	(void)state;
	assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
	a = access_new(fd, ACCESS_JSON, 0);
	b = access_new(fd, ACCESS_JSON, 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){1000, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 5; i++)
		access_write(a, &r);
	access_flush(a);
	assert_int_equal(lseek(fd, 0, SEEK_END), 1000);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	access_write(b, &r);
	access_flush(b);
	assert_int_equal(lseek(fd, 0, SEEK_END), 1000);
	access_flush(a);
	access_flush(b);
	assert_int_equal(access_lost(a) + access_lost(b), 0);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(whole_lines(fd), 6);
	access_free(a);
	access_free(b);
	close(fd);
}

static void another_fd_gets_the_whole_lines_that_the_old_one_did_not_take(void **state)
{
	struct record r = request();
	int full = open("/dev/full", O_WRONLY), fd = scratch();
	struct access *access = access_new(full, ACCESS_JSON, 0);

	(void)state;
	access_write(access, &r);
	access_write(access, &r);
	access_set_fd(access, fd);
	access_flush(access);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(whole_lines(fd), 2);
	access_set_fd(access, full);
	access_write(access, &r);
	access_set_fd(access, -1);
	assert_int_equal(access_lost(access), 1);
	access_free(access);
	close(full);
	close(fd);
}

static void half_a_line_stays_with_the_file_that_took_the_other_half(void **state)
{
	struct rlimit old, small;
	struct record r = request();
	int fd = scratch(), next = scratch();
	struct access *a = access_new(fd, ACCESS_JSON, 0), *b = access_new(next, ACCESS_JSON, 0);

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){100, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	access_write(a, &r);
	access_write(a, &r);
	access_set_fd(a, next);
	assert_int_equal(access_lost(a), 1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	access_write(b, &r);
	access_flush(b);
	access_flush(a);
	lseek(next, 0, SEEK_SET);
	assert_int_equal(whole_lines(next), 2);
	access_free(a);
	access_free(b);
	close(fd);
	close(next);
}

#define WORKERS 4
#define EACH 2000

static void *work(void *arg)
{
	struct access *access = arg;
	static char target[1500];
	struct record r = request();

	for (int i = 0; i < EACH; i++) {
		r.target = (struct text){target, (size_t)(i * 37 % 1500)};
		access_write(access, &r);
		if (i % 50 == 0)
			access_flush(access);
	}
	access_flush(access);
	return NULL;
}

struct reader {
	int fd;
	size_t lines;
};

static void *read_all(void *arg)
{
	struct reader *reader = arg;
	FILE *in = fdopen(reader->fd, "r");
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, in)) > 0) {
		assert_memory_equal(line, "{\"time\":", 8);
		assert_memory_equal(line + n - 2, "}\n", 2);
		assert_null(strstr(line + 1, "{\"time\":"));
		reader->lines++;
	}
	free(line);
	fclose(in);
	return NULL;
}

static void lines_of_workers_that_share_a_pipe_do_not_mix(void **state)
{
	pthread_t threads[WORKERS], thread;
	struct access *workers[WORKERS];
	struct reader reader = {0};
	uint64_t lost = 0;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	reader.fd = ends[0];
	assert_int_equal(pthread_create(&thread, NULL, read_all, &reader), 0);
	for (int i = 0; i < WORKERS; i++) {
		workers[i] = access_new(ends[1], ACCESS_JSON, 0);
		assert_int_equal(pthread_create(&threads[i], NULL, work, workers[i]), 0);
	}
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < WORKERS; i++) {
		access_set_fd(workers[i], -1);
		lost += access_lost(workers[i]);
		access_free(workers[i]);
	}
	close(ends[1]);
	pthread_join(thread, NULL);
	assert_int_equal(reader.lines + lost, WORKERS * EACH);
}

/* `access_test bench`: what a line costs. */
static int bench(void)
{
	const char *const names[] = {"json", "squid", "combined"};
	struct record r = request();
	int null = open("/dev/null", O_WRONLY);

	for (int f = ACCESS_JSON; f <= ACCESS_COMBINED; f++) {
		struct access *access = access_new(null, (enum access_format)f, 65536);
		const int n = 1000000;
		struct timespec from, to;

		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		for (int i = 0; i < n; i++)
			access_write(access, &r);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		printf("%s: %.0f ns\n", names[f],
			((double)(to.tv_sec - from.tv_sec) * 1e9 +
				(double)(to.tv_nsec - from.tv_nsec)) /
				n);
		access_free(access);
	}
	close(null);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_json_line_tells_everything),
		cmocka_unit_test(what_is_not_there_is_null),
		cmocka_unit_test(a_denial_that_nothing_matched_has_a_reason_but_no_partner),
		cmocka_unit_test(squid_lines_have_squids_codes),
		cmocka_unit_test(combined_lines_are_apaches),
		cmocka_unit_test(json_lines_give_every_byte_back),
		cmocka_unit_test(no_line_is_longer_than_a_pipe_takes_whole),
		cmocka_unit_test(wild_numbers_are_still_a_line),
		cmocka_unit_test(times_are_those_of_the_c_library),
		cmocka_unit_test(lines_are_gathered_and_written_together),
		cmocka_unit_test(without_an_fd_nothing_is_kept_or_lost),
		cmocka_unit_test(a_full_pipe_loses_whole_lines_and_never_waits),
		cmocka_unit_test(a_full_socket_loses_whole_lines_and_never_waits),
		cmocka_unit_test(half_a_line_is_never_followed_by_another_workers),
		cmocka_unit_test(half_a_line_stays_with_the_file_that_took_the_other_half),
		cmocka_unit_test(another_fd_gets_the_whole_lines_that_the_old_one_did_not_take),
		cmocka_unit_test(lines_of_workers_that_share_a_pipe_do_not_mix),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && strcmp(argv[1], "bench") == 0)
		return bench();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
