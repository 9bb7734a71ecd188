#include "daemon/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int pair[2];

static int setup(void **state)
{
	(void)state;
	return channel_open(pair);
}

static int teardown(void **state)
{
	(void)state;
	close(pair[0]);
	if (pair[1] >= 0)
		close(pair[1]);
	return 0;
}

static struct message sample(void)
{
	struct message m;

	memset(&m, 0, sizeof(m));
	m.type = MESSAGE_GENERATION;
	m.number = 7;
	strcpy(m.digest, "abc");
	m.n_egress = 1;
	return m;
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void a_message_arrives_as_it_was_sent(void **state)
{
	struct message sent = sample(), got;
	int fd;

	(void)state;
	assert_int_equal(channel_send(pair[0], &sent, -1), 0);
	assert_int_equal(channel_receive(pair[1], &got, &fd), 1);
	assert_memory_equal(&sent, &got, sizeof(got));
	assert_int_equal(fd, -1);
	assert_int_equal(channel_receive(pair[1], &got, &fd), 0);
}

static void a_descriptor_arrives_close_on_exec_and_only_once(void **state)
{
	struct message m = sample();
	int before = open_fds(), fd;

	(void)state;
	assert_int_equal(channel_send(pair[0], &m, STDIN_FILENO), 0);
	assert_int_equal(channel_receive(pair[1], &m, &fd), 1);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(open_fds(), before + 1);
	close(fd);
}

static void the_end_of_the_other_side_is_told_after_its_last_message(void **state)
{
	struct message m = sample();
	int fd;

	(void)state;
	assert_int_equal(channel_send(pair[1], &m, -1), 0);
	close(pair[1]);
	pair[1] = -1;
	assert_int_equal(channel_receive(pair[0], &m, &fd), 1);
	assert_int_equal(channel_receive(pair[0], &m, &fd), -EPIPE);
	assert_int_equal(channel_send(pair[0], &m, -1), -EPIPE);
}

static void a_side_that_does_not_read_makes_the_other_neither_wait_nor_fail(void **state)
{
	struct message m = sample();
	int error = 0, n = 0;

	(void)state;
	while (error == 0 && n < 100000) {
		error = channel_send(pair[0], &m, -1);
		n++;
	}
	assert_int_equal(error, -EAGAIN);
}

static void make_type_unknown(struct message *m)
{
	m->type = (enum message_type)MESSAGE_TYPES;
}

static void make_type_negative(struct message *m)
{
	m->type = (enum message_type) - 1;
}

static void fill_digest(struct message *m)
{
	memset(m->digest, 'a', sizeof(m->digest));
}

static void fill_text(struct message *m)
{
	memset(m->text, 'a', sizeof(m->text));
}

static void fill_not_ready(struct message *m)
{
	memset(m->counts.not_ready, 'a', sizeof(m->counts.not_ready));
}

static void make_ready_no_bool(struct message *m)
{
	memset(&m->counts.ready, 2, 1);
}

static void make_three_addresses(struct message *m)
{
	m->n_egress = MESSAGE_EGRESS_MAX + 1;
}

static void make_timeout_nan(struct message *m)
{
	m->drain_timeout = NAN;
}

static void make_timeout_negative(struct message *m)
{
	m->drain_timeout = -1;
}

static void make_too_many_learnt(struct message *m)
{
	m->learnt.n = LEARNT_TOLD + 1;
}

static void make_partial_no_bool(struct message *m)
{
	memset(&m->learnt.partial, 0xff, 1);
}

static void make_ttl_nan(struct message *m)
{
	m->learnt.ttl = NAN;
}

static void make_ttl_infinite(struct message *m)
{
	m->learnt.ttl = INFINITY;
}

static void make_ttl_negative(struct message *m)
{
	m->learnt.ttl = -0.1;
}

static void a_malformed_message_is_refused_and_its_descriptor_closed(void **state)
{
	static void (*const spoil[])(struct message *) = {make_type_unknown, make_type_negative,
		fill_digest, fill_text, fill_not_ready, make_ready_no_bool, make_three_addresses,
		make_timeout_nan, make_timeout_negative, make_too_many_learnt, make_partial_no_bool,
		make_ttl_nan, make_ttl_infinite, make_ttl_negative};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(spoil); i++) {
		struct message m = sample();
		int before = open_fds(), fd;

		spoil[i](&m);
		assert_int_equal(channel_send(pair[0], &m, STDIN_FILENO), 0);
		assert_int_equal(channel_receive(pair[1], &m, &fd), -EPROTO);
		assert_int_equal(fd, -1);
		assert_int_equal(open_fds(), before);
	}
}

static void a_message_of_another_size_is_refused(void **state)
{
	static char bytes[sizeof(struct message) + 1];
	static const size_t sizes[] = {1, sizeof(bytes) - 2, sizeof(bytes)};
	struct message m;
	int fd;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		assert_int_equal(send(pair[0], bytes, sizes[i], 0), sizes[i]);
		assert_int_equal(channel_receive(pair[1], &m, &fd), -EPROTO);
	}
}

static void send_with_fds(const struct message *m, int n)
{
	char control[CMSG_SPACE(8 * sizeof(int))] = {0};
	struct iovec iov = {(void *)m, sizeof(*m)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
	for (int i = 0; i < n; i++)
		memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &(int){STDIN_FILENO}, sizeof(int));
	assert_int_equal(sendmsg(pair[0], &msg, 0), sizeof(*m));
}

static void more_than_one_descriptor_is_refused_and_none_is_kept(void **state)
{
	struct message m = sample();
	int before = open_fds(), fd;

	(void)state;
	for (int n = 2; n <= 8; n++) {
		send_with_fds(&m, n);
		assert_int_equal(channel_receive(pair[1], &m, &fd), -EPROTO);
		assert_int_equal(open_fds(), before);
	}
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST_CASE(a_message_arrives_as_it_was_sent),
		TEST_CASE(a_descriptor_arrives_close_on_exec_and_only_once),
		TEST_CASE(the_end_of_the_other_side_is_told_after_its_last_message),
		TEST_CASE(a_side_that_does_not_read_makes_the_other_neither_wait_nor_fail),
		TEST_CASE(a_malformed_message_is_refused_and_its_descriptor_closed),
		TEST_CASE(a_message_of_another_size_is_refused),
		TEST_CASE(more_than_one_descriptor_is_refused_and_none_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
