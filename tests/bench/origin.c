/*
 * origin.c - the server behind the proxies: `origin HTTP-PORT ECHO-PORT`.
 *
 * HTTP: any request for .../N is answered with N bytes that a cache may keep, keep-alive.  With
 * /slow/ in its target head and first half take SLOW, and the other half as long again; /asked is
 * answered with the number of all other requests so far.  Echo: what comes goes back.  One epoll
 * loop, edge-triggered; sockets are armed once.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net.h"

#define BLOCK 262144
#define HEAD 4096
#define SLOW 0.5 /* seconds */

struct conn {
	int fd;
	bool echo;
	size_t have; /* bytes in `in`: the beginning of a request head, or echo not sent yet */
	char *in;    /* HEAD bytes; NULL while empty */
	size_t left; /* body bytes to send */
	size_t slow; /* bytes of the whole slow body; 0: it is none */
	bool head_sent;
	double due;             /* of a slow answer's next part; 0: none waits */
	TAILQ_ENTRY(conn) link; /* while it waits */
};

static TAILQ_HEAD(, conn) waiting = TAILQ_HEAD_INITIALIZER(waiting); /* the first is due first */
static char block[BLOCK];
static uint64_t asked;
static int epoll_fd;

static void wait_slowly(struct conn *c)
{
	c->due = now() + SLOW;
	TAILQ_INSERT_TAIL(&waiting, c, link);
}

static void wait_no_more(struct conn *c)
{
	if (c->due > 0)
		TAILQ_REMOVE(&waiting, c, link);
	c->due = 0;
}

static void conn_close(struct conn *c)
{
	wait_no_more(c);
	close(c->fd);
	free(c->in);
	free(c);
}

/* What is left of the body.  False: the connection failed. */
static bool send_body(struct conn *c)
{
	while (c->left > 0) {
		size_t some = c->left < BLOCK ? c->left : BLOCK;
		ssize_t n = send(c->fd, block, some, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN;
		c->left -= (size_t)n;
	}
	return true;
}

/* "GET /1024 HTTP/1.1" or "GET http://name:port/1024 HTTP/1.1": 1024. */
static bool wanted_size(const char *head, size_t *size)
{
	const char *end = strstr(head, " HTTP/1."), *at = end;
	char *stop;

	if (!end || strncmp(head, "GET ", 4) != 0)
		return false;
	while (at > head && at[-1] != '/')
		at--;
	*size = strtoull(at, &stop, 10);
	return stop == end;
}

static const char *date(void)
{
	static char text[32];
	static time_t of;
	time_t t = time(NULL);

	if (t != of)
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime(&t));
	of = t;
	return text;
}

static bool answer_asked(const struct conn *c)
{
	char out[HEAD], body[24];
	int n = snprintf(body, sizeof(body), "%llu", (unsigned long long)asked);

	n = snprintf(out, sizeof(out),
		"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n%s", n,
		body);
	return send(c->fd, out, (size_t)n, MSG_NOSIGNAL) == n;
}

/* A head, and the body with it when that is short: one packet, as servers do. */
static bool answer(struct conn *c, size_t size)
{
	char out[HEAD + 8192];
	size_t n = (size_t)snprintf(out, sizeof(out),
		"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: %s\r\nCache-Control: max-age=86400\r\n"
		"Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
		date(), size);

	c->left = c->slow ? size / 2 : size;
	if (!c->slow && size <= 8192) {
		memcpy(out + n, block, size);
		n += size;
		c->left = 0;
	}
	return send(c->fd, out, n, MSG_NOSIGNAL | (c->left ? MSG_MORE : 0)) == (ssize_t)n &&
	       send_body(c);
}

/* The next part of a slow answer. */
static bool go_on(struct conn *c)
{
	size_t rest = c->slow - c->slow / 2;

	wait_no_more(c);
	if (!c->head_sent) {
		c->head_sent = true;
		wait_slowly(c);
		return answer(c, c->slow);
	}
	c->slow = 0;
	c->left += rest;
	return send_body(c);
}

static bool begin(struct conn *c)
{
	size_t size;

	if (strncmp(c->in, "GET /asked ", 11) == 0)
		return answer_asked(c);
	asked++;
	if (!wanted_size(c->in, &size))
		return false;
	if (!memmem(c->in, strcspn(c->in, "\r"), "/slow/", 6))
		return answer(c, size);
	c->slow = size;
	c->head_sent = false;
	wait_slowly(c);
	return true;
}

/* Every whole head that is there, one answer after the other. */
static bool serve(struct conn *c)
{
	char *end;
	size_t used;

	while (c->left == 0 && c->due == 0 && (end = strstr(c->in, "\r\n\r\n"))) {
		if (!begin(c))
			return false;
		used = (size_t)(end + 4 - c->in);
		c->have -= used;
		memmove(c->in, c->in + used, c->have + 1);
	}
	return true;
}

static bool echo(struct conn *c)
{
	ssize_t n = send(c->fd, c->in, c->have, MSG_NOSIGNAL);

	if (n != (ssize_t)c->have)
		return false; /* only short messages are expected */
	c->have = 0;
	return true;
}

static bool step(struct conn *c)
{
	if (!send_body(c))
		return false;
	while (c->left == 0 && c->due == 0) {
		ssize_t n;

		if (!c->in && !(c->in = malloc(HEAD)))
			return false;
		n = recv(c->fd, c->in + c->have, HEAD - 1 - c->have, 0);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			return false;
		c->have += (size_t)n;
		c->in[c->have] = 0;
		if (!(c->echo ? echo(c) : serve(c)))
			return false;
	}
	if (c->have == 0) {
		free(c->in);
		c->in = NULL;
	}
	return true;
}

static void accept_all(int listener, bool is_echo)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct conn *c = calloc(1, sizeof(*c));
		struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};

		if (!c)
			die("out of memory");
		c->fd = fd;
		c->echo = is_echo;
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
	}
}

static int milliseconds(void)
{
	const struct conn *first = TAILQ_FIRST(&waiting);
	double left = first ? first->due - now() : 0;

	return !first ? -1 : left > 0 ? (int)(left * 1000) + 1 : 0;
}

/* Behind the events: none of them is of a connection that is closed here. */
static void go_on_all(void)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&waiting)) && c->due <= now())
		if (!go_on(c) || !step(c))
			conn_close(c);
}

static void watch(struct conn *listener, const char *port)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = listener};

	listener->fd = listen_at((uint16_t)number(port, 1, 65535, "a port"));
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener->fd, &e);
}

int main(int argc, char **argv)
{
	struct conn listeners[2] = {{.echo = false}, {.echo = true}};
	struct epoll_event events[64];

	if (argc != 3)
		die("usage: origin HTTP-PORT ECHO-PORT");
	memset(block, 'x', sizeof(block));
	raise_files(65536);
	epoll_fd = epoll_create1(0);
	watch(&listeners[0], argv[1]);
	watch(&listeners[1], argv[2]);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 64, milliseconds());

		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (c == &listeners[0] || c == &listeners[1])
				accept_all(c->fd, c->echo);
			else if (!step(c))
				conn_close(c);
		}
		go_on_all();
	}
}
