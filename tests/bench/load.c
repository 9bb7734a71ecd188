/*
 * load.c - clients of a forward proxy:
 *
 *   load get  PROXY-PORT NAME:PORT SIZE CONNECTIONS MS   requests of SIZE bytes, keep-alive
 *   load bulk PROXY-PORT NAME:PORT SIZE CONNECTIONS MS   the same, each through a new tunnel
 *   load echo PROXY-PORT NAME:PORT 16   CONNECTIONS MS   tunnel, SIZE bytes there and back, close
 *   load idle PROXY-PORT NAME:PORT 16   CONNECTIONS 0    that, without the close until stdin ends
 *   load fill PROXY-PORT NAME:PORT SIZE CONNECTIONS N    N requests, each for something else:
 * /0/SIZE ...
 *
 * Behind NAME:PORT may be the beginning of a path.
 * A PROXY-PORT with `!` before it is a relay's: it is not asked to CONNECT.  When the time is over
 * nothing new is begun and what runs is finished, so every answer is verified: status, length, and
 * the bytes of an echo.  Prints one line of JSON; any wrong answer ends it with status 1.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#define HEAD 8192
#define BODY_READ 262144

enum mode { GET, BULK, ECHO, IDLE, FILL };

enum state { TUNNEL_HEAD, RESPONSE_HEAD, BODY, ECHOED, RESTING };

struct conn {
	int fd;
	enum state state;
	size_t have;   /* bytes in `in` */
	uint64_t left; /* of the body */
	char *in;      /* HEAD bytes; NULL while resting */
};

static const struct {
	const char *name;
	bool tunnel;
	enum state first; /* after the tunnel */
} modes[] = {
	[GET] = {"get", false, RESPONSE_HEAD},
	[BULK] = {"bulk", true, RESPONSE_HEAD},
	[ECHO] = {"echo", true, ECHOED},
	[IDLE] = {"idle", true, ECHOED},
	[FILL] = {"fill", false, RESPONSE_HEAD},
};

static struct {
	enum mode mode;
	bool asks; /* for a tunnel, by CONNECT */
	uint16_t port;
	const char *target, *path; /* NAME:PORT, and "" or "/..." */
	uint64_t size;
	double until;
	uint64_t fills; /* requests to be made; those of FILL */
} plan;

static char body[BODY_READ];
static char ask[HEAD], message[HEAD];
static size_t ask_length, message_length;
static uint64_t done, bytes, filled;
static size_t running, resting;
static int epoll_fd;
static struct conn *conns; /* to the end of the program */

static void send_all(const struct conn *c, const char *text, size_t length)
{
	if (send(c->fd, text, length, MSG_NOSIGNAL) != (ssize_t)length)
		die("send: %s", strerror(errno));
}

static size_t compose_get(char out[HEAD], const char *number)
{
	bool absolute = !modes[plan.mode].tunnel;
	int n = snprintf(out, HEAD,
		"GET %s%s%s%s/%llu HTTP/1.1\r\nHost: %s\r\nUser-Agent: load/1.0\r\nAccept: "
		"*/*\r\n\r\n",
		absolute ? "http://" : "", absolute ? plan.target : "", plan.path, number,
		(unsigned long long)plan.size, plan.target);

	if (n >= HEAD)
		die("%s: too long", plan.path);
	return (size_t)n;
}

static bool is_over(void)
{
	return plan.mode == FILL ? filled >= plan.fills : now() >= plan.until;
}

/* What follows an open connection, or an open tunnel. */
static void send_first(struct conn *c)
{
	char number[24];

	c->state = modes[plan.mode].first;
	if (plan.mode == FILL) {
		snprintf(number, sizeof(number), "/%llu", (unsigned long long)filled++);
		message_length = compose_get(message, number);
	}
	send_all(c, message, message_length);
}

static void conn_begin(struct conn *c)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};

	c->have = 0;
	if (!c->in)
		c->in = malloc(HEAD);
	if (!c->in)
		die("out of memory");
	c->fd = connect_to(plan.port);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
	if (plan.asks) {
		c->state = TUNNEL_HEAD;
		send_all(c, ask, ask_length);
	} else {
		send_first(c);
	}
}

/* One more unit of work is done on this connection. */
static void conn_next(struct conn *c)
{
	done++;
	if (plan.mode == IDLE) {
		c->state = RESTING;
		free(c->in);
		c->in = NULL;
		resting++;
		return;
	}
	if ((plan.mode == GET || plan.mode == FILL) && !is_over()) {
		send_first(c);
		return;
	}
	close(c->fd);
	if (!is_over())
		conn_begin(c);
	else
		running--;
}

/* The length of a whole head in `in`, NUL-terminated there, or 0.  Anything but a 200 is the end.
 */
static size_t head_length(struct conn *c)
{
	char *end;

	c->in[c->have] = 0;
	end = strstr(c->in, "\r\n\r\n");
	if (c->have >= 12 &&
		(strncmp(c->in, "HTTP/1.", 7) != 0 || strncmp(c->in + 8, " 200", 4) != 0))
		die("want a 200, got: %s", c->in);
	if (!end && c->have == HEAD - 1)
		die("a head without an end");
	return end ? (size_t)(end + 4 - c->in) : 0;
}

static void drop(struct conn *c, size_t length)
{
	c->have -= length;
	memmove(c->in, c->in + length, c->have);
}

static void on_body(struct conn *c, uint64_t length)
{
	if (length > c->left)
		die("more bytes than Content-Length says");
	bytes += length;
	c->left -= length;
	if (c->left == 0)
		conn_next(c);
}

static void on_response_head(struct conn *c, size_t length)
{
	size_t more = c->have - length;
	char *field;

	c->in[length - 1] = 0;
	field = strcasestr(c->in, "\nContent-Length:");
	if (!field || strtoull(field + 16, NULL, 10) != plan.size)
		die("want Content-Length: %llu, got: %s", (unsigned long long)plan.size, c->in);
	c->state = BODY;
	c->left = plan.size;
	c->have = 0;
	on_body(c, more);
}

static void on_echo(struct conn *c)
{
	if (c->have < message_length)
		return;
	if (c->have > message_length || memcmp(c->in, message, message_length) != 0)
		die("the echo is not what was sent");
	bytes += c->have;
	c->have = 0;
	conn_next(c);
}

static void on_bytes(struct conn *c)
{
	size_t length;

	switch (c->state) {
	case TUNNEL_HEAD:
		length = head_length(c);
		if (length == 0)
			return;
		drop(c, length);
		send_first(c);
		break;
	case RESPONSE_HEAD:
		length = head_length(c);
		if (length > 0)
			on_response_head(c, length);
		break;
	case ECHOED:
		on_echo(c);
		break;
	case BODY:
	case RESTING:
		die("bytes that nobody asked for");
	}
}

static void on_readable(struct conn *c)
{
	ssize_t n;

	if (c->state == RESTING)
		die("a resting tunnel was closed");
	if (c->state == BODY)
		n = recv(c->fd, body, sizeof(body), MSG_DONTWAIT);
	else
		n = recv(c->fd, c->in + c->have, HEAD - 1 - c->have, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		die("the connection ended early: %s", n < 0 ? strerror(errno) : "closed");
	if (c->state == BODY) {
		on_body(c, (uint64_t)n);
		return;
	}
	c->have += (size_t)n;
	on_bytes(c);
}

static void run(size_t connections)
{
	struct epoll_event events[64];
	size_t begun = 0;

	conns = calloc(connections, sizeof(*conns));
	if (!conns)
		die("out of memory");
	running = connections;
	while (running > resting) {
		int n;

		/* A few at a time: nobody's queue of new connections overflows. */
		for (int i = 0; i < 64 && begun < connections; i++)
			conn_begin(&conns[begun++]);
		n = epoll_wait(epoll_fd, events, 64, 10000);
		if (n == 0)
			die("nothing came for 10 seconds");
		for (int i = 0; i < n; i++)
			on_readable(events[i].data.ptr);
	}
}

static void compose(void)
{
	ask_length = (size_t)snprintf(ask, sizeof(ask),
		"CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\n\r\n", plan.target,
		plan.target);
	if (modes[plan.mode].first == RESPONSE_HEAD) {
		message_length = compose_get(message, "");
	} else {
		message_length = plan.size;
		for (size_t i = 0; i < message_length; i++)
			message[i] = (char)('a' + i % 26);
	}
}

static enum mode mode_of(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (strcmp(modes[i].name, name) == 0)
			return (enum mode)i;
	die("%s: want get, bulk, echo, idle or fill", name);
}

int main(int argc, char **argv)
{
	size_t connections;
	double began = now(), seconds;

	if (argc != 7)
		die("usage: load get|bulk|echo|idle|fill [!]PROXY-PORT NAME:PORT[PATH] SIZE "
		    "CONNECTIONS MS|N");
	plan.mode = mode_of(argv[1]);
	plan.asks = modes[plan.mode].tunnel && argv[2][0] != '!';
	plan.port = (uint16_t)number(argv[2] + (argv[2][0] == '!'), 1, 65535, "a port");
	plan.path = argv[3] + strcspn(argv[3], "/");
	plan.target =
		strndup(argv[3], (size_t)(plan.path - argv[3])); /* to the end of the program */
	plan.size = number(
		argv[4], 1, modes[plan.mode].first == ECHOED ? HEAD - 1 : UINT32_MAX, "a size");
	connections = number(argv[5], 1, 60000, "a number of connections");
	plan.fills = number(argv[6], 0, UINT32_MAX, "milliseconds, or how many");
	plan.until = began + (double)plan.fills / 1000;
	if (plan.mode == FILL && plan.fills < connections)
		die("%s: want one request a connection at least", argv[6]);
	compose();
	raise_files(connections + 100);
	epoll_fd = epoll_create1(0);
	run(connections);
	seconds = now() - began;
	printf("{\"done\": %llu, \"bytes\": %llu, \"seconds\": %.3f}\n", (unsigned long long)done,
		(unsigned long long)bytes, seconds);
	fflush(stdout);
	while (plan.mode == IDLE && getchar() != EOF)
		;
	return 0;
}
