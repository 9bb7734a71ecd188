/*
 * conn.h - one socket in the loop, with the bytes that wait on either side of it.
 *
 * The same for clients and origins.  Nothing here decides anything: `readable` and
 * `blocked` say what the kernel last told, so that no system call is made in vain.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/text.h"
#include "daemon/net/buffer.h"

struct conn {
	int fd;
	bool readable; /* told so, and not yet read dry */
	bool blocked;  /* the last write met EAGAIN */
	bool eof;      /* the other end has sent its last byte */
	ev_io io;
	struct buffer *in;  /* received, not yet used; NULL when empty */
	struct buffer *out; /* to be sent; NULL when empty */
};

/* `io.data` is the owner's.  Nothing is armed yet. */
void conn_init(
	struct conn *conn, int fd, void (*on_io)(struct ev_loop *, ev_io *, int), void *data);

/* Hands the socket, its buffers and its watched events over to another conn, without a system
 * call.  `from` is left closed and empty. */
void conn_move(struct conn *to, struct conn *from, struct ev_loop *loop,
	void (*on_io)(struct ev_loop *, ev_io *, int), void *data);

/* Stops, closes and gives the buffers back. */
void conn_fini(struct conn *conn, struct ev_loop *loop, struct buffer_pool *pool);

/* Notes what the loop says.  Call it first in the io callback. */
void conn_note(struct conn *conn, int revents);

/* Waits for these events from now on; no system call when nothing changes. */
void conn_arm(struct conn *conn, struct ev_loop *loop, int events);

/* Reads once into `in`.  > 0 bytes, 0 at the end (`eof` set), -EAGAIN, -ENOBUFS when `in` is
 * full, -ENOMEM, or -errno of the connection. */
ssize_t conn_receive(struct conn *conn, struct buffer_pool *pool) WARN_UNUSED;

/* Sends what `out` holds.  0 when all is gone, -EAGAIN, or -errno of the connection. */
int conn_send(struct conn *conn, struct buffer_pool *pool) WARN_UNUSED;

/* Sends once what `out` holds and `bytes` behind it.  How many of `bytes` are gone (0: some of
 * `out` is), -EAGAIN, or -errno of the connection. */
ssize_t conn_send_with(struct conn *conn, struct buffer_pool *pool, struct text bytes) WARN_UNUSED;

/* Drops `count` bytes from `in`, and the buffer when it is empty. */
void conn_consume(struct conn *conn, struct buffer_pool *pool, size_t count);

/* Room of at least `size` bytes at the end of `out`, or NULL. */
struct buffer *conn_out(struct conn *conn, struct buffer_pool *pool, size_t size);
