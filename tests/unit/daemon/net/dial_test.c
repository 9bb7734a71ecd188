#include "daemon/net/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MOST_SOCKETS 32

/* One loop, and sockets that the far ends keep open until the test is over. */
static struct world {
	struct ev_loop *loop;
	uint16_t port;
	int sockets[MOST_SOCKETS];
	size_t n_sockets;
	int done;
	bool late;
	ev_timer watchdog;
} world;

static struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_true(addr_parse(&addr, text_of(text)));
	return addr;
}

static int keep_open(int fd)
{
	assert_true(fd >= 0 && world.n_sockets < MOST_SOCKETS);
	world.sockets[world.n_sockets++] = fd;
	return fd;
}

static void on_watchdog(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)timer, (void)revents;
	world.late = true;
	ev_break(loop, EVBREAK_ALL);
}

static int set_up(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	world.loop = ev_loop_new(EVFLAG_AUTO);
	ev_timer_init(&world.watchdog, on_watchdog, 10.0, 0.0);
	ev_timer_start(world.loop, &world.watchdog);
	return world.loop ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	while (world.n_sockets > 0)
		close(world.sockets[--world.n_sockets]);
	ev_timer_stop(world.loop, &world.watchdog);
	ev_loop_destroy(world.loop);
	return 0;
}

/* A listening socket at the port of this world, which the first one chooses. */
static int listen_at(const char *text, int backlog)
{
	struct endpoint at = {.addr = addr_of(text), .port = world.port};
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&at, &sa);
	int fd = keep_open(socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, length), 0);
	assert_int_equal(listen(fd, backlog), 0);
	length = sizeof(sa);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &length), 0);
	assert_true(endpoint_from_sockaddr(&at, (struct sockaddr *)&sa));
	world.port = at.port;
	return fd;
}

/* An address that answers nothing: its queue of connections is full, so SYNs are dropped. */
static void black_hole_at(const char *text)
{
	struct endpoint at = {.addr = addr_of(text)};
	struct sockaddr_storage sa;
	socklen_t length;

	listen_at(text, 0);
	at.port = world.port;
	length = endpoint_to_sockaddr(&at, &sa);
	for (int i = 0; i < 2; i++) {
		int fd = keep_open(socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0));

		connect(fd, (struct sockaddr *)&sa, length);
	}
}

static void on_done(struct dial *dial)
{
	(void)dial;
	world.done++;
	ev_break(world.loop, EVBREAK_ALL);
}

static void run(void)
{
	ev_run(world.loop, 0);
	assert_false(world.late);
}

/* Dials `n` addresses given as text, and waits for the answer. */
static void dial_all(
	struct dial *dial, const char *const *texts, size_t n, struct dial_options options)
{
	struct addr addrs[RESOLVER_ADDRS];

	for (size_t i = 0; i < n; i++)
		addrs[i] = addr_of(texts[i]);
	options.addrs = addrs;
	options.n_addrs = n;
	options.port = world.port;
	if (options.timeout == 0)
		options.timeout = 5.0;
	ev_now_update(world.loop);
	dial_start(dial, world.loop, &options, on_done);
	assert_int_equal(world.done, 0);
	run();
	assert_int_equal(world.done, 1);
	assert_ptr_equal(dial->loop, NULL);
	for (size_t i = 0; i < DIAL_OPEN; i++)
		assert_false(ev_is_active(&dial->attempts[i]) || ev_is_pending(&dial->attempts[i]));
	assert_false(ev_is_active(&dial->stagger) || ev_is_pending(&dial->stagger));
	assert_false(ev_is_active(&dial->deadline) || ev_is_pending(&dial->deadline));
}

static void expect_origin(struct dial *dial, const char *text)
{
	struct addr addr = addr_of(text);

	assert_true(addr_equal(&dial->origin.addr, &addr));
	assert_int_equal(dial->origin.port, world.port);
}

static void expect_connected(struct dial *dial, const char *text)
{
	assert_int_equal(dial->error, 0);
	keep_open(dial->fd);
	expect_origin(dial, text);
}

static void expect_source(int listener, const char *text)
{
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);
	struct addr want = addr_of(text);
	struct endpoint source;

	keep_open(accept(listener, (struct sockaddr *)&sa, &length));
	assert_true(endpoint_from_sockaddr(&source, (struct sockaddr *)&sa));
	assert_true(addr_equal(&source.addr, &want));
}

#define DIAL(dial, options, ...)                                                                   \
	dial_all(dial, (const char *const[]){__VA_ARGS__},                                         \
		COUNT_OF(((const char *const[]){__VA_ARGS__})), options)
#define PLAIN ((struct dial_options){0})

static void connects_to_the_only_address(void **state)
{
	struct dial dial = {0};

	(void)state;
	listen_at("127.0.0.1", 8);
	DIAL(&dial, PLAIN, "127.0.0.1");
	expect_connected(&dial, "127.0.0.1");
	assert_true(dial.took >= 0);
}

static void hands_over_a_socket_ready_for_the_loop(void **state)
{
	struct dial dial = {0};
	int on = 0;

	(void)state;
	listen_at("127.0.0.1", 8);
	DIAL(&dial, PLAIN, "127.0.0.1");
	expect_connected(&dial, "127.0.0.1");
	assert_true(fcntl(dial.fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(dial.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(
		getsockopt(dial.fd, IPPROTO_TCP, TCP_NODELAY, &on, &(socklen_t){sizeof(on)}), 0);
	assert_true(on);
}

static void connects_by_ipv6(void **state)
{
	struct dial dial = {0};

	(void)state;
	listen_at("::1", 8);
	DIAL(&dial, PLAIN, "::1");
	expect_connected(&dial, "::1");
}

static void says_that_the_origin_refused(void **state)
{
	struct dial dial = {0};

	(void)state;
	listen_at("127.0.0.1", 8);
	DIAL(&dial, PLAIN, "127.0.0.2");
	assert_int_equal(dial.fd, -1);
	assert_int_equal(dial.error, ECONNREFUSED);
	expect_origin(&dial, "127.0.0.2");
}

static void tries_the_next_address_at_once_after_a_refusal(void **state)
{
	struct dial dial = {0};

	(void)state;
	listen_at("127.0.0.1", 8);
	/* The machine may be slow, but hardly every time. */
	for (int tries = 0; tries == 0 || (dial.took > 0.2 && tries < 8); tries++) {
		dial = (struct dial){0};
		DIAL(&dial, PLAIN, "127.0.0.2", "127.0.0.3", "::1", "127.0.0.1");
		expect_connected(&dial, "127.0.0.1");
	}
	assert_true(dial.took < 0.2);
}

static void tries_the_next_address_after_the_stagger(void **state)
{
	struct dial dial = {0};

	(void)state;
	listen_at("127.0.0.1", 8);
	black_hole_at("::1");
	DIAL(&dial, PLAIN, "::1", "127.0.0.1");
	expect_connected(&dial, "127.0.0.1");
	assert_true(dial.took > 0.24);
}

static void alternates_versions_beginning_with_the_first(void **state)
{
	struct dial dial = {0};

	(void)state;
	listen_at("::1", 8);
	black_hole_at("127.0.0.2");
	DIAL(&dial, PLAIN, "127.0.0.2", "127.0.0.3", "127.0.0.4", "::1");
	expect_connected(&dial, "::1");
	assert_true(dial.took > 0.24);
	assert_int_equal(dial.next, 2);
}

static void connects_to_the_first_that_answers_though_it_was_tried_early(void **state)
{
	struct dial dial = {0};

	(void)state;
	listen_at("127.0.0.5", 8);
	black_hole_at("127.0.0.2");
	black_hole_at("127.0.0.3");
	DIAL(&dial, PLAIN, "127.0.0.2", "127.0.0.3", "127.0.0.5");
	expect_connected(&dial, "127.0.0.5");
	assert_true(dial.took > 0.49);
}

static void reaches_the_last_address_with_few_attempts_open(void **state)
{
	struct dial dial = {0};

	(void)state;
	listen_at("127.0.0.9", 8);
	for (int i = 2; i < 8; i++) {
		char text[ADDR_TEXT];

		snprintf(text, sizeof(text), "127.0.0.%d", i);
		black_hole_at(text);
	}
	DIAL(&dial, PLAIN, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6",
		"127.0.0.7", "127.0.0.9");
	expect_connected(&dial, "127.0.0.9");
	assert_true(dial.took > 1.49);
}

static void gives_up_at_the_timeout(void **state)
{
	struct dial dial = {0};
	struct dial_options options = {.timeout = 0.4};

	(void)state;
	black_hole_at("127.0.0.2");
	black_hole_at("::1");
	DIAL(&dial, options, "127.0.0.2", "::1");
	assert_int_equal(dial.fd, -1);
	assert_int_equal(dial.error, ETIMEDOUT);
	assert_true(dial.took > 0.39);
}

static void binds_the_source_of_each_version(void **state)
{
	struct addr four = addr_of("127.0.0.77"), six = addr_of("::1");
	struct dial_options options = {.bind4 = &four, .bind6 = &six};
	struct dial dial = {0};
	int listener4, listener6;

	(void)state;
	listener4 = listen_at("127.0.0.1", 8);
	listener6 = listen_at("::1", 8);
	DIAL(&dial, options, "127.0.0.1");
	expect_connected(&dial, "127.0.0.1");
	expect_source(listener4, "127.0.0.77");
	world.done = 0;
	DIAL(&dial, options, "::1");
	expect_connected(&dial, "::1");
	expect_source(listener6, "::1");
}

static void dials_only_the_version_that_has_a_source(void **state)
{
	struct addr four = addr_of("127.0.0.77"), six = addr_of("::1");
	struct dial dial = {0};

	(void)state;
	listen_at("127.0.0.1", 8);
	listen_at("::1", 8);
	DIAL(&dial, ((struct dial_options){.bind4 = &four}), "::1", "127.0.0.1");
	expect_connected(&dial, "127.0.0.1");
	assert_int_equal(dial.n_addrs, 1);
	world.done = 0;
	DIAL(&dial, ((struct dial_options){.bind6 = &six}), "127.0.0.1", "127.0.0.2");
	assert_int_equal(dial.fd, -1);
	assert_int_equal(dial.error, EADDRNOTAVAIL);
}

static void says_that_the_source_is_not_an_address_of_this_host(void **state)
{
	struct addr four = addr_of("192.0.2.77"), six = addr_of("2001:db8::77");
	struct dial dial = {0};

	(void)state;
	listen_at("127.0.0.1", 8);
	DIAL(&dial, ((struct dial_options){.bind4 = &four, .bind6 = &six}), "127.0.0.1", "::1");
	assert_int_equal(dial.fd, -1);
	assert_int_equal(dial.error, EADDRNOTAVAIL);
}

static void a_refusal_tells_more_than_what_never_left(void **state)
{
	struct addr four = addr_of("127.0.0.77"), six = addr_of("2001:db8::77");
	struct dial_options options = {.bind4 = &four, .bind6 = &six};
	struct dial dial = {0};

	(void)state;
	listen_at("127.0.0.1", 8);
	DIAL(&dial, options, "127.0.0.2", "::1");
	assert_int_equal(dial.error, ECONNREFUSED);
	expect_origin(&dial, "127.0.0.2");
	world.done = 0;
	DIAL(&dial, options, "::1", "127.0.0.2");
	assert_int_equal(dial.error, ECONNREFUSED);
	expect_origin(&dial, "127.0.0.2");
}

static void connects_to_an_origin_that_speaks_first(void **state)
{
	struct dial dial = {0};
	struct addr one;
	struct dial_options options;
	char byte = 'x';
	int listener;

	(void)state;
	listener = listen_at("127.0.0.1", 8);
	one = addr_of("127.0.0.1");
	options = (struct dial_options){
		.addrs = &one, .n_addrs = 1, .port = world.port, .timeout = 5};
	dial_start(&dial, world.loop, &options, on_done);
	assert_int_equal(write(keep_open(accept(listener, NULL, NULL)), &byte, 1), 1);
	run();
	expect_connected(&dial, "127.0.0.1");
}

static size_t count_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void closes_everything_when_cancelled(void **state)
{
	struct dial dial = {0};
	struct addr addrs[2];
	struct dial_options options;
	size_t before;

	(void)state;
	black_hole_at("127.0.0.2");
	addrs[0] = addr_of("127.0.0.2");
	addrs[1] = addr_of("127.0.0.3"); /* refuses */
	options = (struct dial_options){
		.addrs = addrs, .n_addrs = 2, .port = world.port, .timeout = 5};
	dial_cancel(&dial);
	before = count_fds();
	dial_start(&dial, world.loop, &options, on_done);
	assert_int_equal(count_fds(), before + 1);
	dial_cancel(&dial);
	dial_cancel(&dial);
	assert_int_equal(count_fds(), before);
	ev_run(world.loop, EVRUN_NOWAIT);
	assert_int_equal(world.done, 0);
}

static void takes_back_an_answer_that_was_there_at_once(void **state)
{
	struct addr four = addr_of("192.0.2.77"), to = addr_of("127.0.0.1");
	struct dial_options options = {
		.addrs = &to, .n_addrs = 1, .port = 1, .bind4 = &four, .timeout = 5};
	struct dial dial = {0};

	(void)state;
	dial_start(&dial, world.loop, &options, on_done);
	dial_cancel(&dial);
	ev_run(world.loop, EVRUN_NOWAIT);
	assert_int_equal(world.done, 0);
}

static void restart(struct dial *dial)
{
	struct addr to = addr_of("127.0.0.1");
	struct dial_options options = {
		.addrs = &to, .n_addrs = 1, .port = world.port, .timeout = 5};

	dial_start(dial, world.loop, &options, on_done);
}

static void may_be_restarted_by_the_callback(void **state)
{
	struct addr to = addr_of("127.0.0.2");
	struct dial_options options;
	struct dial dial = {0};

	(void)state;
	listen_at("127.0.0.1", 8);
	options =
		(struct dial_options){.addrs = &to, .n_addrs = 1, .port = world.port, .timeout = 5};
	dial_start(&dial, world.loop, &options, restart);
	run();
	expect_connected(&dial, "127.0.0.1");
}

static void free_it(struct dial *dial)
{
	keep_open(dial->fd);
	free(dial);
	on_done(NULL);
}

static void may_be_freed_by_the_callback(void **state)
{
	struct addr to[2];
	struct dial_options options;
	struct dial *dial = calloc(1, sizeof(*dial));

	(void)state;
	assert_non_null(dial);
	listen_at("127.0.0.1", 8);
	black_hole_at("127.0.0.2");
	to[0] = addr_of("127.0.0.2");
	to[1] = addr_of("127.0.0.1");
	options =
		(struct dial_options){.addrs = to, .n_addrs = 2, .port = world.port, .timeout = 5};
	dial_start(dial, world.loop, &options, free_it);
	run();
	assert_int_equal(world.done, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(connects_to_the_only_address),
		TEST(hands_over_a_socket_ready_for_the_loop),
		TEST(connects_by_ipv6),
		TEST(connects_to_an_origin_that_speaks_first),
		TEST(says_that_the_origin_refused),
		TEST(tries_the_next_address_at_once_after_a_refusal),
		TEST(tries_the_next_address_after_the_stagger),
		TEST(alternates_versions_beginning_with_the_first),
		TEST(connects_to_the_first_that_answers_though_it_was_tried_early),
		TEST(reaches_the_last_address_with_few_attempts_open),
		TEST(gives_up_at_the_timeout),
		TEST(binds_the_source_of_each_version),
		TEST(dials_only_the_version_that_has_a_source),
		TEST(says_that_the_source_is_not_an_address_of_this_host),
		TEST(a_refusal_tells_more_than_what_never_left),
		TEST(closes_everything_when_cancelled),
		TEST(takes_back_an_answer_that_was_there_at_once),
		TEST(may_be_restarted_by_the_callback),
		TEST(may_be_freed_by_the_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
