#include "daemon/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"

#define STAMP "2026-11-23T08:02:21.123Z"

static int saved, ends[2];

static int stderr_becomes_a_pipe(void **state)
{
	(void)state;
	saved = dup(STDERR_FILENO);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	log_set_level(LOG_LEVEL_INFO);
	log_set_process("gate");
	return 0;
}

static int stderr_comes_back(void **state)
{
	(void)state;
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

/* What was written since the last time. */
static const char *written(void)
{
	static char bytes[1 << 17];
	ssize_t n = read(ends[0], bytes, sizeof(bytes) - 1);

	bytes[n > 0 ? n : 0] = '\0';
	return bytes;
}

static void a_line_has_time_level_process_and_message(void **state)
{
	const char *line;
	int n = 0;

	(void)state;
	log_warn("acl.ini:%d: want %s", 14, "\"ports\"");
	line = written();
	assert_string_equal(line + strlen(STAMP), " warn gate: acl.ini:14: want \"ports\"\n");
	assert_int_equal(
		sscanf(line, "20%*2[0-9]-%*2[0-9]-%*2[0-9]T%*2[0-9]:%*2[0-9]:%*2[0-9].%*3[0-9]Z%n",
			&n),
		0);
	assert_int_equal(n, strlen(STAMP));
}

static void only_what_the_level_asks_for_is_written(void **state)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	(void)state;
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
		const char *at;

		log_set_level((enum log_level)level);
		assert_int_equal(log_get_level(), level);
		log_error("x");
		log_warn("x");
		log_info("x");
		log_debug("x");
		at = written();
		for (int i = 0; i <= level; i++) {
			char want[32];

			snprintf(want, sizeof(want), " %s gate: x\n", names[i]);
			assert_memory_equal(at + strlen(STAMP), want, strlen(want));
			at += strlen(STAMP) + strlen(want);
		}
		assert_string_equal(at, "");
	}
}

static void strangers_bytes_are_escaped(void **state)
{
	(void)state;
	log_info("%s", "a\nb\x1b[0m\\ \xc3\xa9\x7f\t");
	assert_string_equal(written() + strlen(STAMP),
		" info gate: a\\x0ab\\x1b[0m\\\\ \\xc3\\xa9\\x7f\\x09\n");
}

static void a_long_message_is_one_line_that_a_pipe_takes_whole(void **state)
{
	static const char fillers[] = {'a', '\x01', '\\'};
	char message[9000];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(fillers); i++) {
		const char *line;

		memset(message, fillers[i], sizeof(message) - 1);
		message[sizeof(message) - 1] = '\0';
		log_info("%s", message);
		line = written();
		assert_in_range(strlen(line), 2000, PIPE_BUF);
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		assert_non_null(strstr(line, "..."));
	}
}

static void a_full_stderr_is_not_waited_for_and_says_later_what_was_lost(void **state)
{
	int n = 0, lost = 0;

	(void)state;
	alarm(10);
	for (n = 0; n < 3000; n++)
		log_info("line %d of many that nobody reads while they come", n);
	for (const char *at = written(); (at = strchr(at, '\n')); at++)
		n--;
	errno = ENOTTY;
	log_info("back");
	alarm(0);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(sscanf(strstr(written(), "gate: "),
				 "gate: %d lines of this log were lost\n", &lost),
		1);
	assert_true(lost > 0);
	assert_int_equal(lost, n);
	log_info("again");
	assert_string_equal(written() + strlen(STAMP), " info gate: again\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, stderr_becomes_a_pipe, stderr_comes_back)
		TEST(a_line_has_time_level_process_and_message),
		TEST(only_what_the_level_asks_for_is_written),
		TEST(strangers_bytes_are_escaped),
		TEST(a_long_message_is_one_line_that_a_pipe_takes_whole),
		TEST(a_full_stderr_is_not_waited_for_and_says_later_what_was_lost),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
