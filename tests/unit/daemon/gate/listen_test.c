#include "daemon/gate/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static struct endpoint at(const char *text)
{
	struct endpoint e;

	assert_true(endpoint_parse(&e, text_of(text)));
	return e;
}

/* A port that was free a moment ago, on both versions' loopback. */
static int free_port(void)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6};
	socklen_t length = sizeof(sa);
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &length), 0);
	close(fd);
	return ntohs(sa.sin6_port);
}

static struct config config_of(struct endpoint proxies[2], struct endpoint admins[1])
{
	char text[64];
	int port = free_port();

	snprintf(text, sizeof(text), "0.0.0.0:%d", port);
	proxies[0] = at(text);
	snprintf(text, sizeof(text), "[::]:%d", port);
	proxies[1] = at(text);
	snprintf(text, sizeof(text), "127.0.0.1:%d", free_port());
	admins[0] = at(text);
	return (struct config){.listen = {proxies, 2}, .admin_listen = {admins, 1}};
}

static void there_is_a_socket_for_each_address_and_worker_and_one_for_each_admin(void **state)
{
	struct endpoint proxies[2], admins[1];
	struct config config = config_of(proxies, admins);
	struct listener_list list;
	struct error e;

	(void)state;
	assert_int_equal(listen_open(&list, &config, 3, &e), 0);
	assert_int_equal(list.n, 7);
	for (size_t i = 0; i < list.n; i++) {
		int listening = 0;
		socklen_t length = sizeof(listening);

		assert_int_equal(fcntl(list.at[i].fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(list.at[i].fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(
			getsockopt(list.at[i].fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length),
			0);
		assert_int_equal(listening, 1);
		assert_int_equal(list.at[i].kind, i < 6 ? LISTENER_PROXY : LISTENER_ADMIN);
		assert_int_equal(list.at[i].worker, i < 6 ? i % 3 : 0);
	}
	listen_close(&list);
	assert_int_equal(list.n, 0);
	listen_close(&list);
}

static void capture_has_a_socket_for_each_worker_too(void **state)
{
	struct endpoint proxies[2], admins[1], captures[2];
	struct config config = config_of(proxies, admins);
	struct listener_list list;
	struct error e;

	(void)state;
	captures[0] = at("0.0.0.0:1");
	captures[1] = at("[::]:1");
	captures[0].port = captures[1].port = (uint16_t)free_port();
	config.capture_listen = (struct endpoint_list){captures, 2};
	assert_int_equal(listen_open(&list, &config, 3, &e), 0);
	assert_int_equal(list.n, 13);
	for (size_t i = 6; i < 12; i++) {
		assert_int_equal(list.at[i].kind, LISTENER_CAPTURE);
		assert_int_equal(list.at[i].worker, i % 3);
		assert_int_equal(list.at[i].at.port, captures[0].port);
	}
	listen_close(&list);
}

static void an_address_that_is_not_there_yet_is_fine(void **state)
{
	struct endpoint proxies[] = {at("192.0.2.77:3128"), at("[2001:db8::77]:3128")};
	struct config config = {.listen = {proxies, 2}};
	struct listener_list list;
	struct error e;

	(void)state;
	assert_int_equal(listen_open(&list, &config, 1, &e), 0);
	listen_close(&list);
}

static void a_port_that_is_taken_is_named_and_nothing_stays_open(void **state)
{
	struct endpoint proxies[2], admins[1];
	struct config config = config_of(proxies, admins);
	int before, taken = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&admins[0], &sa);
	struct listener_list list;
	char want[128], text[ENDPOINT_TEXT];
	struct error e;

	(void)state;
	assert_int_equal(bind(taken, (struct sockaddr *)&sa, length), 0);
	assert_int_equal(listen(taken, 1), 0);
	before = dup(0);
	close(before);
	assert_int_equal(listen_open(&list, &config, 2, &e), -EADDRINUSE);
	snprintf(want, sizeof(want), "admin listen %s: Address already in use",
		endpoint_print(&admins[0], text));
	assert_string_equal(e.text, want);
	assert_int_equal(list.n, 0);
	assert_int_equal(dup(0), before);
	close(before);
	close(taken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			there_is_a_socket_for_each_address_and_worker_and_one_for_each_admin),
		cmocka_unit_test(capture_has_a_socket_for_each_worker_too),
		cmocka_unit_test(an_address_that_is_not_there_yet_is_fine),
		cmocka_unit_test(a_port_that_is_taken_is_named_and_nothing_stays_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
