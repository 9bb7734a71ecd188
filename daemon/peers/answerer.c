/*
 * answerer.c - a gateway's side of the probes.
 *
 * Whoever reaches the port may ask; it learns which egress addresses are here, which every partner
 * sees, and gets no more bytes than it sent.  It is remembered by its address, the latest port
 * alone, so that a pod that asks from all its ports takes one place.
 */
#include "daemon/peers/answerer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define A_TURN 64 /* probes read before others have their turn in the loop */

/* Seconds after a change. */
static const double tellings[] = {0, 0.05, 0.25};

struct peer {
	struct endpoint at;
	uint64_t id;     /* of its last probe */
	ev_tstamp asked; /* 0: a free place */
};

struct answerer {
	struct ev_loop *loop;
	struct endpoint at;
	ev_io io; /* fd -1: answers nowhere */
	ev_timer tell;
	size_t told; /* how many of tellings[] are done */
	double lately;
	struct peer_message say;
	struct peer peers[ANSWERER_PEERS];
};

static void send_to(struct answerer *a, const struct peer *peer, enum peer_message_type type)
{
	uint8_t bytes[PEER_MESSAGE_SIZE];
	struct sockaddr_storage to;
	socklen_t length = endpoint_to_sockaddr(&peer->at, &to);

	a->say.type = type;
	a->say.id = peer->id;
	peer_message_encode(&a->say, bytes);
	/* What is lost here is asked for again. */
	(void)!sendto(a->io.fd, bytes, sizeof(bytes), MSG_NOSIGNAL, (struct sockaddr *)&to, length);
}

static struct peer *remember(struct answerer *a, const struct endpoint *from, uint64_t id)
{
	struct peer *place = &a->peers[0];

	for (size_t i = 0; i < ANSWERER_PEERS; i++) {
		struct peer *p = &a->peers[i];

		if (p->asked > 0 && addr_equal(&p->at.addr, &from->addr)) {
			place = p;
			break;
		}
		if (p->asked < place->asked)
			place = p;
	}
	*place = (struct peer){*from, id, ev_now(a->loop)};
	return place;
}

/* False: there is none now. */
static bool take_one(struct answerer *a)
{
	uint8_t bytes[PEER_MESSAGE_SIZE + 1];
	struct sockaddr_storage sa;
	socklen_t size = sizeof(sa);
	struct peer_message message;
	struct endpoint from;
	ssize_t got = recvfrom(a->io.fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&sa, &size);

	if (got < 0)
		return errno == EINTR;
	if (!endpoint_from_sockaddr(&from, (struct sockaddr *)&sa) || from.port == 0 ||
		!peer_message_decode(&message, bytes, (size_t)got) || message.type != PEER_PROBE)
		return true;
	send_to(a, remember(a, &from, message.id), PEER_ANSWER);
	return true;
}

static void on_probe(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	for (int i = 0; i < A_TURN && take_one(io->data); i++)
		;
}

static void on_tell(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct answerer *a = timer->data;
	ev_tstamp since = ev_now(loop) - a->lately;

	(void)revents;
	for (size_t i = 0; a->io.fd >= 0 && i < ANSWERER_PEERS; i++)
		if (a->peers[i].asked > 0 && a->peers[i].asked >= since)
			send_to(a, &a->peers[i], PEER_CHANGE);
	if (++a->told == COUNT_OF(tellings))
		return;
	ev_timer_set(&a->tell, tellings[a->told] - tellings[a->told - 1], 0);
	ev_timer_start(loop, &a->tell);
}

struct answerer *answerer_new(struct ev_loop *loop)
{
	struct answerer *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->loop = loop;
	ev_io_init(&a->io, on_probe, -1, EV_READ);
	ev_set_priority(&a->io, EV_MAXPRI); /* others judge this node by it, however much it does */
	ev_timer_init(&a->tell, on_tell, 0, 0);
	a->io.data = a->tell.data = a;
	return a;
}

static void close_socket(struct answerer *a)
{
	ev_io_stop(a->loop, &a->io);
	if (a->io.fd >= 0)
		close(a->io.fd);
	ev_io_set(&a->io, -1, EV_READ);
}

void answerer_free(struct answerer *a)
{
	if (!a)
		return;
	ev_timer_stop(a->loop, &a->tell);
	close_socket(a);
	free(a);
}

static int open_socket(const struct endpoint *at)
{
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(at, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error;

	if (fd >= 0 && setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &(int){1}, sizeof(int)) == 0 &&
		bind(fd, (struct sockaddr *)&sa, length) == 0)
		return fd;
	error = -errno;
	if (fd >= 0)
		close(fd);
	return error;
}

int answerer_listen(struct answerer *a, const struct endpoint *at, struct error *e)
{
	char text[ENDPOINT_TEXT];
	int fd;

	if (at && a->io.fd >= 0 && at->port == a->at.port && addr_equal(&at->addr, &a->at.addr))
		return 0;
	close_socket(a);
	if (!at)
		return 0;
	fd = open_socket(at);
	if (fd < 0)
		return error_set(e, fd, "answering probes at %s (udp): %s",
			endpoint_print(at, text), strerror(-fd));
	a->at = *at;
	ev_io_set(&a->io, fd, EV_READ);
	ev_io_start(a->loop, &a->io);
	return 0;
}

void answerer_say(struct answerer *a, const struct peer_message *say, double lately)
{
	bool changed = a->say.serial != say->serial || a->say.instance != say->instance;

	a->say = *say;
	a->lately = lately;
	if (!changed)
		return;
	ev_timer_stop(a->loop, &a->tell);
	a->told = 0;
	ev_now_update(a->loop);
	on_tell(a->loop, &a->tell, 0);
}
