#include "daemon/log/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

static char bytes[2 * PIPE_BUF];

/* Writes until nothing more is taken; the alarm ends a writer that waits. */
static size_t fill(struct sink *sink)
{
	size_t sum = 0;
	ssize_t n;

	alarm(10);
	while ((n = sink_write(sink, bytes, sizeof(bytes))) > 0) {
		assert_true((size_t)n <= sink->piece);
		sum += (size_t)n;
	}
	alarm(0);
	assert_int_equal(n, -EAGAIN);
	return sum;
}

static void a_full_pipe_is_not_waited_for_in_any_way(void **state)
{
	static const enum sink_way ways[] = {SINK_NOWAIT, SINK_POLL};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		struct sink sink;
		int ends[2];

		assert_int_equal(pipe(ends), 0);
		sink_init(&sink, ends[1]);
		assert_int_equal(sink.way, SINK_NOWAIT);
		assert_int_equal(sink.piece, PIPE_BUF);
		sink.way = ways[i];
		assert_int_equal(fill(&sink), 65536);
		assert_int_equal(read(ends[0], bytes, PIPE_BUF), PIPE_BUF);
		assert_int_equal(sink_write(&sink, bytes, 100), 100);
		assert_int_equal(fill(&sink), 0);
		assert_false(fcntl(ends[1], F_GETFL) & O_NONBLOCK);
		close(ends[0]);
		assert_int_equal(sink_write(&sink, bytes, 100), -EPIPE);
		close(ends[1]);
	}
}

static void a_pipe_that_is_non_blocking_already_is_just_written_to(void **state)
{
	struct sink sink;
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	sink_init(&sink, ends[1]);
	assert_int_equal(sink.way, SINK_WRITE);
	assert_int_equal(sink.piece, PIPE_BUF);
	assert_int_equal(fill(&sink), 65536);
	close(ends[0]);
	close(ends[1]);
}

static void a_full_socket_is_not_waited_for(void **state)
{
	struct sink sink;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	sink_init(&sink, ends[1]);
	assert_int_equal(sink.way, SINK_SEND);
	assert_true(fill(&sink) > 0);
	close(ends[0]);
	assert_int_equal(sink_write(&sink, bytes, 1), -EPIPE);
	close(ends[1]);
}

static void a_terminal_stopped_by_ctrl_s_is_not_waited_for(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
	struct sink sink;

	(void)state;
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	slave = open(ptsname(master), O_WRONLY | O_NOCTTY);
	assert_true(slave >= 0);
	assert_int_equal(tcflow(slave, TCOOFF), 0);
	sink_init(&sink, slave);
	fill(&sink);
	close(slave);
	close(master);
}

static void a_regular_file_takes_any_length_at_once(void **state)
{
	FILE *f = tmpfile();
	struct sink sink;

	(void)state;
	sink_init(&sink, fileno(f));
	assert_int_equal(sink.piece, SIZE_MAX);
	assert_int_equal(sink_write(&sink, bytes, sizeof(bytes)), sizeof(bytes));
	fclose(f);
	sink_init(&sink, -1);
	assert_int_equal(sink_write(&sink, bytes, 1), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_pipe_is_not_waited_for_in_any_way),
		cmocka_unit_test(a_pipe_that_is_non_blocking_already_is_just_written_to),
		cmocka_unit_test(a_full_socket_is_not_waited_for),
		cmocka_unit_test(a_terminal_stopped_by_ctrl_s_is_not_waited_for),
		cmocka_unit_test(a_regular_file_takes_any_length_at_once),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
