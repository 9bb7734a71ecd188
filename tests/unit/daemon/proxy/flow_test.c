/* Bodies from one real socket to another, in every framing and every cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/proxy/flow.h"

struct world {
	struct conn from, to;
	int sender, receiver; /* the test's ends */
	struct buffer_pool buffers;
	struct pipe_pool pipes;
	char got[4 << 20];
	size_t n_got;
};

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)io;
	(void)revents;
}

static struct world *begin(void)
{
	struct world *w = calloc(1, sizeof(*w));
	int a[2], b[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
	conn_init(&w->from, a[1], on_io, w);
	conn_init(&w->to, b[0], on_io, w);
	w->sender = a[0];
	w->receiver = b[1];
	return w;
}

static void end(struct world *w)
{
	conn_fini(&w->from, EV_DEFAULT, &w->buffers);
	conn_fini(&w->to, EV_DEFAULT, &w->buffers);
	close(w->sender);
	close(w->receiver);
	buffer_pool_fini(&w->buffers);
	pipe_pool_fini(&w->pipes);
	ev_loop_destroy(EV_DEFAULT);
	free(w);
}

static void drain(struct world *w)
{
	ssize_t n;

	while ((n = recv(w->receiver, w->got + w->n_got, sizeof(w->got) - w->n_got, 0)) > 0)
		w->n_got += n;
}

/* One event, as the loop would tell it, and what came out. */
static enum flow_result turn(struct world *w, struct flow *flow)
{
	enum flow_result r;

	w->from.readable = !w->from.eof;
	w->to.blocked = false;
	r = flow_step(flow, &w->from, &w->to, &w->buffers, &w->pipes);
	drain(w);
	return r;
}

static const struct {
	const char *name;
	enum body body;
	uint64_t length;
	bool rechunk;
	const char *sent, *wanted;
	enum flow_result result; /* after the sender closed */
	const char *left;        /* the next message's, or NULL */
} bodies[] = {
	{"counted", BODY_LENGTH, 5, false, "hello", "hello", FLOW_DONE, NULL},
	{"counted, and the next request", BODY_LENGTH, 5, false, "helloGET", "hello", FLOW_DONE,
		"GET"},
	{"counted and cut short", BODY_LENGTH, 6, false, "hello", "hello", FLOW_FROM_ENDED, NULL},
	{"empty", BODY_LENGTH, 0, false, "", "", FLOW_DONE, NULL},
	{"until close", BODY_CLOSE, 0, false, "hello", "hello", FLOW_DONE, NULL},
	{"until close, as chunks", BODY_CLOSE, 0, true, "hello", "5\r\nhello\r\n0\r\n\r\n",
		FLOW_DONE, NULL},
	{"chunks to plain bytes", BODY_CHUNKED, 0, false, "5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
		"hello", FLOW_DONE, NULL},
	{"chunks", BODY_CHUNKED, 0, true, "05\r\nhello\r\n1;a\r\n!\r\n0\r\n\r\nGET",
		"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", FLOW_DONE, "GET"},
	{"chunks cut short", BODY_CHUNKED, 0, true, "5\r\nhello\r\n", "5\r\nhello\r\n",
		FLOW_FROM_ENDED, NULL},
	{"not chunks", BODY_CHUNKED, 0, true, "hello", "", FLOW_FROM_BAD, NULL},
};

static void frames_every_kind_of_body(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bodies); i++) {
		struct world *w = begin();
		struct flow flow;
		enum flow_result r = FLOW_WAIT;

		flow_init(&flow, bodies[i].body, bodies[i].length, bodies[i].rechunk);
		assert_true(write(w->sender, bodies[i].sent, strlen(bodies[i].sent)) >= 0);
		shutdown(w->sender, SHUT_WR);
		for (int n = 0; n < 9 && (r == FLOW_WAIT || r == FLOW_BUSY); n++)
			r = turn(w, &flow);
		assert_int_equal(r, bodies[i].result);
		assert_int_equal(w->n_got, strlen(bodies[i].wanted));
		assert_memory_equal(w->got, bodies[i].wanted, w->n_got);
		if (bodies[i].left)
			assert_true(text_equal(buffer_text(w->from.in), text_of(bodies[i].left)));
		else if (r == FLOW_DONE)
			assert_null(w->from.in);
		flow_fini(&flow, &w->pipes);
		end(w);
	}
}

static void takes_chunks_byte_by_byte(void **state)
{
	static const char sent[] = "a\r\n0123456789\r\n3;e=\"x\"\r\nabc\r\n0\r\nT: v\r\n\r\n";
	struct world *w = begin();
	struct flow flow;

	(void)state;
	flow_init(&flow, BODY_CHUNKED, 0, false);
	for (size_t i = 0; i < sizeof(sent) - 1; i++) {
		assert_int_equal(write(w->sender, &sent[i], 1), 1);
		assert_int_equal(turn(w, &flow), i + 2 < sizeof(sent) ? FLOW_WAIT : FLOW_DONE);
	}
	assert_int_equal(w->n_got, 13);
	assert_memory_equal(w->got, "0123456789abc", 13);
	assert_int_equal(flow.bytes, 13);
	end(w);
}

/* The whole body through a receiver that takes nothing at first: memory stays bounded. */
static void carry_large(enum body body, bool rechunk, size_t size)
{
	struct world *w = begin();
	enum flow_result r = FLOW_WAIT;
	size_t sent = 0, held = 0;
	char *data = malloc(size);
	struct flow flow;

	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i * 2654435761u >> 13);
	flow_init(&flow, body, size, rechunk);
	for (int n = 0; n < 100000 && r != FLOW_DONE; n++) {
		if (sent < size) {
			ssize_t k = send(w->sender, data + sent, size - sent, MSG_NOSIGNAL);

			sent += k > 0 ? k : 0;
			if (sent == size)
				shutdown(w->sender, SHUT_WR);
		}
		w->from.readable = !w->from.eof;
		w->to.blocked = false;
		r = flow_step(&flow, &w->from, &w->to, &w->buffers, &w->pipes);
		held = buffer_held(w->from.in) + buffer_held(w->to.out);
		assert_true(held <= 3 * BUFFER_SIZE);
		if (n % 3 == 2)
			drain(w);
	}
	drain(w);
	assert_int_equal(r, FLOW_DONE);
	assert_int_equal(flow.bytes, size);
	if (!rechunk) {
		assert_int_equal(w->n_got, size);
		assert_memory_equal(w->got, data, size);
	}
	flow_fini(&flow, &w->pipes);
	free(data);
	end(w);
}

static void carries_large_bodies_in_bounded_memory(void **state)
{
	(void)state;
	carry_large(BODY_LENGTH, false, 3 << 20);
	carry_large(BODY_CLOSE, false, 3 << 20);
	carry_large(BODY_CLOSE, true, 3 << 20);
}

/* No event would tell of them. */
static void a_fair_share_leaves_no_bytes_in_the_buffers(void **state)
{
	static char sent[16 * BUFFER_SIZE];
	const int room = 4 * sizeof(sent);
	struct world *w = begin();
	struct flow flow;

	(void)state;
	setsockopt(w->sender, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	setsockopt(w->to.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	flow_init(&flow, BODY_CLOSE, 0, true);
	assert_int_equal(write(w->sender, sent, sizeof(sent)), sizeof(sent));
	assert_int_equal(turn(w, &flow), FLOW_BUSY);
	assert_int_equal(flow.bytes, sizeof(sent));
	assert_null(w->from.in);
	assert_null(w->to.out);
	flow_fini(&flow, &w->pipes);
	end(w);
}

static void tells_which_side_failed(void **state)
{
	struct world *w = begin();
	struct flow flow;

	(void)state;
	flow_init(&flow, BODY_LENGTH, 1 << 20, false);
	assert_int_equal(write(w->sender, "x", 1), 1);
	close(w->receiver);
	w->receiver = dup(w->sender);
	assert_int_equal(turn(w, &flow), FLOW_TO_FAILED);
	flow_fini(&flow, &w->pipes);
	end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_every_kind_of_body),
		cmocka_unit_test(takes_chunks_byte_by_byte),
		cmocka_unit_test(carries_large_bodies_in_bounded_memory),
		cmocka_unit_test(a_fair_share_leaves_no_bytes_in_the_buffers),
		cmocka_unit_test(tells_which_side_failed),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
