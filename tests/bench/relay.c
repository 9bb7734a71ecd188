/*
 * relay.c - the floor: the least a proxy can do.  `relay copy|splice PORT TO-PORT ...`.
 *
 * Carries bytes between the clients of a port and one origin, and reads none of them.  Sockets are
 * armed once, edge-triggered; a pipe or a buffer is held only while the other side is blocked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#define PIPE_SIZE 1048576
#define COPY_SIZE 65536
#define SHORT 16384 /* a shorter read most likely left nothing */
#define TURNS 64

struct pipe {
	struct pipe *next;
	int ends[2];
};

struct side {
	int fd;
	uint16_t to;  /* of a listener: where its clients go; 0 otherwise */
	bool gone;    /* freed after this turn */
	bool ended;   /* its last byte was read */
	bool blocked; /* nothing more can be sent to it now */
	struct side *peer;
	size_t held; /* read from it, not yet sent to the peer */
	struct pipe *pipe;
	char *bytes;
	struct side *next_gone;
};

static bool splices;
static int epoll_fd;
static struct pipe *free_pipes;
static struct side *gone;
static char scratch[COPY_SIZE];

static struct pipe *pipe_get(void)
{
	struct pipe *p = free_pipes;

	if (p) {
		free_pipes = p->next;
		return p;
	}
	p = malloc(sizeof(*p));
	if (!p || pipe2(p->ends, O_NONBLOCK) < 0)
		die("no pipe: %s", strerror(errno));
	(void)fcntl(p->ends[1], F_SETPIPE_SZ, PIPE_SIZE);
	return p;
}

static void pipe_put(struct pipe *p)
{
	p->next = free_pipes;
	free_pipes = p;
}

static void destroy(struct side *s)
{
	struct side *both[] = {s, s->peer};

	for (int i = 0; i < 2; i++) {
		close(both[i]->fd);
		both[i]->gone = true;
		both[i]->next_gone = gone;
		gone = both[i];
	}
}

static void free_gone(void)
{
	while (gone) {
		struct side *s = gone;

		gone = s->next_gone;
		if (s->pipe) { /* with bytes in it */
			close(s->pipe->ends[0]);
			close(s->pipe->ends[1]);
			free(s->pipe);
		}
		free(s->bytes);
		free(s);
	}
}

/* Reads once.  < 0: failed; 0: nothing now, or the end. */
static ssize_t take(struct side *s)
{
	ssize_t n;

	free(s->bytes);
	s->bytes = NULL;
	if (splices) {
		if (!s->pipe)
			s->pipe = pipe_get();
		n = splice(s->fd, NULL, s->pipe->ends[1], NULL, PIPE_SIZE, SPLICE_F_NONBLOCK);
	} else {
		n = recv(s->fd, scratch, sizeof(scratch), 0);
	}
	if (n == 0)
		s->ended = true;
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	s->held = (size_t)n;
	return n;
}

/* Sends what is held.  False: failed. */
static bool give(struct side *s)
{
	struct side *to = s->peer;

	while (s->held > 0) {
		const char *from = s->bytes ? s->bytes : scratch;
		ssize_t n = splices ? splice(s->pipe->ends[0], NULL, to->fd, NULL, s->held,
					      SPLICE_F_NONBLOCK)
				    : send(to->fd, from, s->held, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0) {
			to->blocked = true;
			break;
		}
		s->held -= (size_t)n;
		if (!splices)
			memmove(s->bytes ? s->bytes : scratch, from + n, s->held);
	}
	return true;
}

/* What is held outlives this turn; an empty pipe or buffer does not. */
static void keep(struct side *s)
{
	if (s->held > 0) {
		if (!splices && !s->bytes) {
			s->bytes = malloc(s->held);
			if (!s->bytes)
				die("out of memory");
			memcpy(s->bytes, scratch, s->held);
		}
		return;
	}
	if (s->pipe)
		pipe_put(s->pipe);
	free(s->bytes);
	s->pipe = NULL;
	s->bytes = NULL;
}

/* One direction, from `s` to its peer.  False: the connection is over. */
static bool carry(struct side *s, bool hangup)
{
	for (int turn = 0;; turn++) {
		ssize_t n = 0;

		if (!give(s))
			return false;
		if (s->held > 0 || s->ended)
			break;
		n = take(s);
		if (n < 0)
			return false;
		if (n == 0)
			break;
		if (n < SHORT && !hangup) {
			if (!give(s))
				return false;
			break;
		}
	}
	keep(s);
	if (s->ended && s->held == 0) {
		if (s->peer->ended)
			return false;
		shutdown(s->peer->fd, SHUT_WR);
	}
	return true;
}

static void on_event(struct side *s, uint32_t events)
{
	bool hangup = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

	if (s->gone)
		return;
	if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) && !s->ended && s->held == 0 &&
		!carry(s, hangup)) {
		destroy(s);
		return;
	}
	if ((events & EPOLLOUT) && s->blocked) {
		s->blocked = false;
		if (!carry(s->peer, true))
			destroy(s);
	}
}

static void watch(struct side *s)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};

	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &e);
}

static void accept_all(const struct side *listener)
{
	int fd;

	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct side *client = calloc(1, sizeof(*client)),
			    *origin = calloc(1, sizeof(*origin));

		if (!client || !origin)
			die("out of memory");
		client->fd = fd;
		origin->fd = connect_to(listener->to);
		(void)fcntl(origin->fd, F_SETFL, O_NONBLOCK);
		client->peer = origin;
		origin->peer = client;
		watch(client);
		watch(origin);
	}
}

static void listen_on(const char *port, const char *to)
{
	struct side *listener = calloc(1, sizeof(*listener));
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = listener};

	if (!listener)
		die("out of memory");
	listener->fd = listen_at((uint16_t)number(port, 1, 65535, "a port"));
	listener->to = (uint16_t)number(to, 1, 65535, "a port");
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener->fd, &e);
}

int main(int argc, char **argv)
{
	struct epoll_event events[64];

	if (argc < 4 || argc % 2 ||
		(strcmp(argv[1], "copy") != 0 && strcmp(argv[1], "splice") != 0))
		die("usage: relay copy|splice PORT TO-PORT ...");
	splices = strcmp(argv[1], "splice") == 0;
	raise_files(65536);
	epoll_fd = epoll_create1(0);
	for (int i = 2; i < argc; i += 2)
		listen_on(argv[i], argv[i + 1]);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 64, -1);

		for (int i = 0; i < n; i++) {
			struct side *s = events[i].data.ptr;

			if (s->to)
				accept_all(s);
			else
				on_event(s, events[i].events);
		}
		free_gone();
	}
}
