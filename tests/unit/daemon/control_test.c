#include "daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[96];
static struct ev_loop *loop;
static struct control *control;
static struct control_client *held[CONTROL_CLIENTS];
static int n_held, lines;
static char last_line[CONTROL_LINE];

/* "hold" is answered by the test; "big" is more than a socket takes; all else comes back. */
static void on_line(void *arg, struct control_client *client, const char *line)
{
	static char big[CONTROL_ANSWER + 100];

	(void)arg;
	lines++;
	snprintf(last_line, sizeof(last_line), "%s", line);
	memset(big, 'x', sizeof(big) - 1);
	if (strcmp(line, "hold") == 0)
		held[n_held++] = client;
	else
		control_answer(client, strcmp(line, "big") == 0 ? big : line);
}

static void on_late(struct ev_loop *l, ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	ev_break(l, EVBREAK_ALL);
}

static void run_for(double seconds)
{
	ev_timer late;

	ev_now_update(loop);
	ev_timer_init(&late, on_late, seconds, 0);
	ev_timer_start(loop, &late);
	ev_run(loop, 0);
	ev_timer_stop(loop, &late);
}

static int setup(void **state)
{
	struct error e;

	(void)state;
	strcpy(dir, "/tmp/control-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/run/control.sock", dir);
	loop = ev_default_loop(0);
	control = control_new(loop, on_line, NULL);
	n_held = lines = 0;
	return control_listen(control, path, &e);
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	control_free(control);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static int dial(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(at.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static int ask(const char *line)
{
	int fd = dial();

	assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL), strlen(line));
	return fd;
}

/* Runs the loop until the answer is there whole; returns its length. */
static size_t answer(int fd, char *out, size_t size)
{
	size_t length = 0;

	for (int i = 0; i < 1000; i++) {
		ssize_t got = recv(fd, out + length, size - length, 0);

		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		if (got > 0)
			length += (size_t)got;
		else
			run_for(0.005);
	}
	close(fd);
	return length;
}

static void assert_answer(int fd, const char *text)
{
	char got[8192];
	size_t length = answer(fd, got, sizeof(got) - 1);

	got[length] = 0;
	assert_string_equal(got, text);
}

static void a_line_is_answered_and_the_connection_closed(void **state)
{
	(void)state;
	assert_answer(ask("explain a b c\n"), "explain a b c");
	assert_answer(ask("one\ntwo\n"), "one");
}

static void a_line_may_come_in_pieces(void **state)
{
	int fd = ask("sta");

	(void)state;
	run_for(0.02);
	assert_int_equal(lines, 0);
	assert_int_equal(send(fd, "tus\n", 4, 0), 4);
	assert_answer(fd, "status");
}

static void what_is_no_line_is_refused(void **state)
{
	char line[CONTROL_LINE + 1];
	int fd = dial();

	(void)state;
	memset(line, 'a', CONTROL_LINE);
	line[CONTROL_LINE] = 0;
	assert_answer(ask(line), "error: line too long\n");
	assert_int_equal(send(fd, "a\0b\n", 4, 0), 4);
	assert_answer(fd, "error: want a line of text\n");
	line[CONTROL_LINE - 1] = '\n';
	fd = ask(line);
	line[CONTROL_LINE - 1] = 0;
	assert_answer(fd, line);
	assert_int_equal(lines, 1);
}

static void a_long_answer_arrives_cut_at_its_limit(void **state)
{
	char *got = malloc(2 * CONTROL_ANSWER);

	(void)state;
	assert_int_equal(answer(ask("big\n"), got, 2 * CONTROL_ANSWER), CONTROL_ANSWER);
	free(got);
}

static void an_answer_may_come_later_and_to_nobody(void **state)
{
	int first = ask("hold\n"), second = ask("hold\n");

	(void)state;
	run_for(0.05);
	assert_int_equal(n_held, 2);
	close(first);
	run_for(0.02);
	control_answer(held[0], "to nobody\n");
	control_answer(held[1], "to the second\n");
	assert_answer(second, "to the second\n");
}

static void a_client_too_many_waits_for_a_place(void **state)
{
	int fds[CONTROL_CLIENTS], one_more;

	(void)state;
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		fds[i] = ask("hold\n");
	one_more = ask("hello\n");
	run_for(0.05);
	assert_int_equal(n_held, CONTROL_CLIENTS);
	assert_int_equal(lines, CONTROL_CLIENTS);
	control_answer(held[0], "bye\n");
	assert_answer(fds[0], "bye\n");
	assert_answer(one_more, "hello");
	for (int i = 1; i < CONTROL_CLIENTS; i++)
		close(fds[i]);
}

static void a_client_that_says_nothing_is_hung_up_on(void **state)
{
	char byte;
	int fd = dial();

	(void)state;
	run_for(CONTROL_TIMEOUT - 0.5);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	run_for(1.0);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

static void the_socket_is_for_its_owner_only(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_second_gate_is_told_that_one_is_running(void **state)
{
	struct control *second = control_new(loop, on_line, NULL);
	struct error e;

	(void)state;
	assert_int_equal(control_listen(second, path, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "already running"));
	control_free(second);
	assert_true(control_answers(path));
}

static void a_socket_that_was_left_behind_is_replaced(void **state)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct error e;

	(void)state;
	control_free(control);
	assert_int_equal(access(path, F_OK), -1);
	strcpy(at.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	close(fd);
	assert_false(control_answers(path));
	control = control_new(loop, on_line, NULL);
	assert_int_equal(control_listen(control, path, &e), 0);
	assert_answer(ask("hello\n"), "hello");
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	struct control *other = control_new(loop, on_line, NULL);
	char file[128];
	struct error e;

	(void)state;
	snprintf(file, sizeof(file), "%s/precious", dir);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(control_listen(other, file, &e), -ENOTSOCK);
	assert_int_equal(access(file, F_OK), 0);
	control_free(other);
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST_CASE(a_line_is_answered_and_the_connection_closed),
		TEST_CASE(a_line_may_come_in_pieces),
		TEST_CASE(what_is_no_line_is_refused),
		TEST_CASE(a_long_answer_arrives_cut_at_its_limit),
		TEST_CASE(an_answer_may_come_later_and_to_nobody),
		TEST_CASE(a_client_too_many_waits_for_a_place),
		TEST_CASE(a_client_that_says_nothing_is_hung_up_on),
		TEST_CASE(the_socket_is_for_its_owner_only),
		TEST_CASE(a_second_gate_is_told_that_one_is_running),
		TEST_CASE(a_socket_that_was_left_behind_is_replaced),
		TEST_CASE(a_file_that_is_no_socket_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
