/*
 * channel.c - a packet is a struct message, or it is nothing.
 *
 * SOCK_SEQPACKET keeps packets whole, so there is no framing: what is not exactly one
 * well-formed message is -EPROTO, and every fd that came with it is closed.
 */
#include "daemon/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX 2 /* what CMSG_SPACE() of one fd has room for once it is aligned */

int channel_open(int pair[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	return 0;
}

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int channel_send(int channel, const struct message *message, int fd)
{
	struct iovec iov = {(void *)message, sizeof(*message)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;

	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	for (;;) {
		if (sendmsg(channel, &msg, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != EINTR)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	}
}

static size_t take_fds(struct msghdr *msg, int fds[FDS_MAX])
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t bytes = c->cmsg_len - CMSG_LEN(0);
		for (size_t i = 0; i + sizeof(int) <= bytes && n < FDS_MAX; i += sizeof(int))
			memcpy(&fds[n++], CMSG_DATA(c) + i, sizeof(int));
	}
	return n;
}

static bool terminated(const char *text, size_t size)
{
	return memchr(text, 0, size) != NULL;
}

/* A bool that came from the other side may be no bool. */
static bool is_bool(const bool *value)
{
	unsigned char byte;

	memcpy(&byte, value, 1);
	return byte <= 1;
}

static bool is_duration(double seconds)
{
	return isfinite(seconds) && seconds >= 0;
}

static bool well_formed(const struct message *m)
{
	return (unsigned)m->type < MESSAGE_TYPES && m->n_egress <= COUNT_OF(m->egress) &&
	       is_bool(&m->counts.ready) && is_duration(m->drain_timeout) &&
	       m->learnt.n <= LEARNT_TOLD && is_bool(&m->learnt.partial) &&
	       is_duration(m->learnt.ttl) && terminated(m->digest, sizeof(m->digest)) &&
	       terminated(m->text, sizeof(m->text)) &&
	       terminated(m->counts.not_ready, sizeof(m->counts.not_ready));
}

int channel_receive(int channel, struct message *message, int *fd)
{
	struct iovec iov = {message, sizeof(*message)};
	union control control;
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	int fds[FDS_MAX];
	ssize_t got;

	*fd = -1;
	do
		got = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (got < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;

	size_t n = take_fds(&msg, fds);
	if (got == sizeof(*message) && n <= 1 && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
		well_formed(message)) {
		if (n)
			*fd = fds[0];
		return 1;
	}
	while (n)
		close(fds[--n]);
	return got == 0 ? -EPIPE : -EPROTO;
}
