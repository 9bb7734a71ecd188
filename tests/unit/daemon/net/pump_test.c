/* Pumps that share a pool, with sockets that take nothing for a while. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/net/pump.h"

#define PUMPS 24     /* more than a pool has large pipes */
#define BYTES 400000 /* more than a socket takes at once */

struct way {
	struct conn from, to;
	int sender, receiver; /* the test's ends */
	struct pump pump;
	size_t sent, got;
	uint64_t moved;
};

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)io;
	(void)revents;
}

static void begin(struct way *w, uint64_t left)
{
	int a[2], b[2];

	*w = (struct way){.pump = {.left = left}};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
	conn_init(&w->from, a[1], on_io, w);
	conn_init(&w->to, b[0], on_io, w);
	w->sender = a[0];
	w->receiver = b[1];
}

static void end(struct way *w, struct pipe_pool *pool)
{
	struct buffer_pool none = {NULL, 0};

	pump_fini(&w->pump, pool);
	conn_fini(&w->from, EV_DEFAULT, &none);
	conn_fini(&w->to, EV_DEFAULT, &none);
	close(w->sender);
	close(w->receiver);
}

static char byte_at(size_t way, size_t at)
{
	return (char)(way * 31 + at % 251);
}

static void send_some(struct way *w, size_t way)
{
	char bytes[4096];
	size_t n = BYTES - w->sent < sizeof(bytes) ? BYTES - w->sent : sizeof(bytes);
	ssize_t sent;

	for (size_t i = 0; i < n; i++)
		bytes[i] = byte_at(way, w->sent + i);
	sent = n ? send(w->sender, bytes, n, 0) : 0;
	if (sent > 0)
		w->sent += (size_t)sent;
	w->from.readable = true;
}

static void take_all(struct way *w, size_t way)
{
	char bytes[4096];
	ssize_t n;

	while ((n = recv(w->receiver, bytes, sizeof(bytes), 0)) > 0)
		for (ssize_t i = 0; i < n; i++, w->got++)
			assert_int_equal(bytes[i], byte_at(way, w->got));
	w->to.blocked = false;
}

/* Until the socket takes no more and the pipe holds bytes. */
static void fill(struct way *w, size_t way, struct pipe_pool *pool)
{
	for (int i = 0; i < 1000 && !(w->to.blocked && w->pump.held > 0); i++) {
		send_some(w, way);
		assert_int_equal(pump_step(&w->pump, pool, &w->from, &w->to, &w->moved), PUMP_WAIT);
	}
	assert_true(w->pump.held > 0);
}

static void finish(struct way *w, size_t way, struct pipe_pool *pool)
{
	enum pump_result r = PUMP_WAIT;

	for (int i = 0; i < 10000 && r != PUMP_END; i++) {
		take_all(w, way);
		send_some(w, way);
		r = pump_step(&w->pump, pool, &w->from, &w->to, &w->moved);
	}
	take_all(w, way);
	assert_int_equal(r, PUMP_END);
	assert_int_equal(w->got, BYTES);
	assert_int_equal(w->moved, BYTES);
}

static void many_that_are_blocked_lose_nothing_and_share_a_few_large_pipes(void **state)
{
	struct pipe_pool pool = {NULL, 0};
	struct way ways[PUMPS];

	(void)state;
	for (size_t i = 0; i < PUMPS; i++) {
		begin(&ways[i], BYTES);
		fill(&ways[i], i, &pool);
	}
	assert_in_range(pool.n_large, 1, PUMPS - 1);
	for (size_t i = 0; i < PUMPS; i++)
		finish(&ways[i], i, &pool);
	for (size_t i = 0; i < PUMPS; i++) {
		assert_null(ways[i].pump.pipe);
		end(&ways[i], &pool);
	}
	pipe_pool_fini(&pool);
	assert_int_equal(pool.n_large, 0);
}

static void a_pipe_with_bytes_in_it_is_never_used_again(void **state)
{
	struct pipe_pool pool = {NULL, 0};
	struct way cut, next;

	(void)state;
	begin(&cut, PUMP_ENDLESS);
	fill(&cut, 1, &pool);
	end(&cut, &pool);
	assert_null(pool.free);
	assert_int_equal(pool.n_large, 0);
	begin(&next, BYTES);
	finish(&next, 2, &pool);
	end(&next, &pool);
	pipe_pool_fini(&pool);
}

static void the_end_of_the_sender_ends_an_endless_pump(void **state)
{
	struct pipe_pool pool = {NULL, 0};
	struct way w;

	(void)state;
	begin(&w, PUMP_ENDLESS);
	send_some(&w, 3);
	shutdown(w.sender, SHUT_WR);
	assert_int_equal(pump_step(&w.pump, &pool, &w.from, &w.to, &w.moved), PUMP_WAIT);
	w.from.readable = true;
	assert_int_equal(pump_step(&w.pump, &pool, &w.from, &w.to, &w.moved), PUMP_END);
	assert_true(w.from.eof);
	take_all(&w, 3);
	assert_int_equal(w.got, w.sent);
	end(&w, &pool);
	pipe_pool_fini(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_that_are_blocked_lose_nothing_and_share_a_few_large_pipes),
		cmocka_unit_test(a_pipe_with_bytes_in_it_is_never_used_again),
		cmocka_unit_test(the_end_of_the_sender_ends_an_endless_pump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
