#include "daemon/net/conn.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

void conn_init(struct conn *conn, int fd, void (*on_io)(struct ev_loop *, ev_io *, int), void *data)
{
	*conn = (struct conn){.fd = fd};
	ev_io_init(&conn->io, on_io, fd, 0);
	conn->io.data = data;
}

/* A watcher that was set counts as a new descriptor for libev, which then asks epoll again; this
 * one is the same descriptor with the same events. */
void conn_move(struct conn *to, struct conn *from, struct ev_loop *loop,
	void (*on_io)(struct ev_loop *, ev_io *, int), void *data)
{
	int events = ev_is_active(&from->io) ? from->io.events & (EV_READ | EV_WRITE) : 0;

	ev_io_stop(loop, &from->io);
	*to = *from;
	ev_io_init(&to->io, on_io, from->fd, events);
	to->io.data = data;
	if (events) {
		to->io.events &= ~EV__IOFDSET;
		ev_io_start(loop, &to->io);
	}
	from->fd = -1;
	from->in = from->out = NULL;
}

void conn_fini(struct conn *conn, struct ev_loop *loop, struct buffer_pool *pool)
{
	ev_io_stop(loop, &conn->io);
	CHECK(!ev_is_active(&conn->io) && !ev_is_pending(&conn->io));
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	buffer_put(pool, conn->in);
	buffer_put(pool, conn->out);
	conn->in = conn->out = NULL;
}

void conn_note(struct conn *conn, int revents)
{
	if (revents & EV_READ)
		conn->readable = true;
	if (revents & EV_WRITE)
		conn->blocked = false;
}

void conn_arm(struct conn *conn, struct ev_loop *loop, int events)
{
	int now = ev_is_active(&conn->io) ? conn->io.events & (EV_READ | EV_WRITE) : 0;

	if (now == events)
		return;
	ev_io_stop(loop, &conn->io);
	if (events) {
		ev_io_set(&conn->io, conn->fd, events);
		ev_io_start(loop, &conn->io);
	}
}

ssize_t conn_receive(struct conn *conn, struct buffer_pool *pool)
{
	size_t room;
	ssize_t n;

	if (!conn->in && !(conn->in = buffer_get(pool, BUFFER_SIZE)))
		return -ENOMEM;
	if (buffer_room(conn->in) == 0)
		buffer_compact(conn->in);
	room = buffer_room(conn->in);
	if (room == 0)
		return -ENOBUFS;
	n = recv(conn->fd, conn->in->data + conn->in->end, room, 0);
	if (n > 0) {
		conn->in->end += n;
		conn->readable = (size_t)n == room;
		return n;
	}
	conn->readable = false;
	if (n == 0)
		conn->eof = true;
	else
		n = errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
	conn_consume(conn, pool, 0);
	return n;
}

int conn_send(struct conn *conn, struct buffer_pool *pool)
{
	struct buffer *out = conn->out;

	while (out && out->start < out->end) {
		ssize_t n;

		if (conn->blocked)
			return -EAGAIN;
		n = send(conn->fd, out->data + out->start, out->end - out->start, MSG_NOSIGNAL);
		if (n >= 0)
			out->start += n;
		else if (errno == EAGAIN)
			conn->blocked = true;
		else if (errno != EINTR)
			return -errno;
	}
	buffer_put(pool, out);
	conn->out = NULL;
	return 0;
}

ssize_t conn_send_with(struct conn *conn, struct buffer_pool *pool, struct text bytes)
{
	size_t held = buffer_held(conn->out);
	struct iovec parts[] = {
		{held ? conn->out->data + conn->out->start : NULL, held},
		{(char *)bytes.at, bytes.length},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t n;

	if (conn->blocked)
		return -EAGAIN;
	do
		n = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		conn->blocked = errno == EAGAIN;
		return -errno;
	}
	if ((size_t)n < held) {
		conn->out->start += (uint32_t)n;
		return 0;
	}
	buffer_put(pool, conn->out);
	conn->out = NULL;
	return n - (ssize_t)held;
}

void conn_consume(struct conn *conn, struct buffer_pool *pool, size_t count)
{
	struct buffer *in = conn->in;

	if (!in)
		return;
	CHECK(count <= buffer_held(in));
	in->start += count;
	if (in->start == in->end) {
		buffer_put(pool, in);
		conn->in = NULL;
	}
}

struct buffer *conn_out(struct conn *conn, struct buffer_pool *pool, size_t size)
{
	struct buffer *out = conn->out, *larger;

	if (!out)
		return conn->out = buffer_get(pool, size);
	if (buffer_room(out) >= size)
		return out;
	buffer_compact(out);
	if (buffer_room(out) >= size)
		return out;
	larger = buffer_get(pool, buffer_held(out) + size);
	if (!larger)
		return NULL;
	larger->end = buffer_held(out);
	memcpy(larger->data, out->data, larger->end);
	buffer_put(pool, out);
	return conn->out = larger;
}
