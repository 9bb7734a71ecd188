/*
 * A pipe takes up to PIPE_BUF bytes whole or not at all (pipe(7)), and poll() says POLLOUT
 * when one page is free, which is as much: so a write of at most PIPE_BUF after POLLOUT
 * does not wait, unless somebody else takes that page in between.  The lock keeps the threads
 * of this process from doing so; RWF_NOWAIT (pipes: Linux 6.4) keeps everybody from it.
 */
#include "daemon/log/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t poll_lock = PTHREAD_MUTEX_INITIALIZER;

void sink_init(struct sink *sink, int fd)
{
	struct stat st;
	int flags;

	*sink = (struct sink){.fd = fd, .way = SINK_WRITE, .piece = SIZE_MAX};
	if (fd < 0 || fstat(fd, &st) < 0 || S_ISREG(st.st_mode))
		return;
	sink->piece = PIPE_BUF;
	flags = fcntl(fd, F_GETFL);
	if (S_ISSOCK(st.st_mode))
		sink->way = SINK_SEND;
	else if (flags < 0 || !(flags & O_NONBLOCK))
		sink->way = SINK_NOWAIT;
}

static ssize_t write_when_polled(int fd, const char *bytes, size_t length)
{
	struct pollfd room = {.fd = fd, .events = POLLOUT};
	ssize_t n = -1;

	pthread_mutex_lock(&poll_lock);
	if (poll(&room, 1, 0) > 0)
		n = write(fd, bytes, length);
	else
		errno = EAGAIN;
	pthread_mutex_unlock(&poll_lock);
	return n;
}

static ssize_t write_nowait(struct sink *sink, const char *bytes, size_t length)
{
	struct iovec iov = {.iov_base = (char *)(uintptr_t)bytes, .iov_len = length};
	ssize_t n = pwritev2(sink->fd, &iov, 1, -1, RWF_NOWAIT);

	if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EPERM))
		return n;
	sink->way = SINK_POLL;
	return write_when_polled(sink->fd, bytes, length);
}

ssize_t sink_write(struct sink *sink, const char *bytes, size_t length)
{
	ssize_t n = -1;

	if (length > sink->piece)
		length = sink->piece;
	switch (sink->way) {
	case SINK_WRITE:
		n = write(sink->fd, bytes, length);
		break;
	case SINK_SEND:
		n = send(sink->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case SINK_NOWAIT:
		n = write_nowait(sink, bytes, length);
		break;
	case SINK_POLL:
		n = write_when_polled(sink->fd, bytes, length);
		break;
	}
	return n < 0 ? -errno : n;
}
