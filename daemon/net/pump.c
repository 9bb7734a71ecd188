/*
 * A pipe that still holds bytes is never given back: the next user would send
 * a stranger's bytes.  pump_fini() closes such a pipe.
 *
 * A large pipe carries a byte for half the CPU of one of 256 KiB, but the kernel gives a user only
 * pipe-user-pages-soft in all (pipe(7)): 64 MiB by default, two pages a pipe from then on.  So a
 * pool has a few large ones, enough for those who are never blocked, and those beyond stay at the
 * kernel's default.
 */
#include "daemon/net/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Asked for, the most an unprivileged user may; the kernel may give less. */
#define LARGE_SIZE (1024 * 1024)
#define LARGE_PIPES 16           /* of a pool */
#define FAIR_SHARE (1024 * 1024) /* bytes a pump moves in one turn */
#define SHORT_READ 16384         /* less than this and the socket is most likely empty */

struct pipe {
	struct pipe *next;
	int read_fd, write_fd;
	uint32_t size;
	bool large;
};

static struct pipe *pipe_get(struct pipe_pool *pool)
{
	struct pipe *p = pool->free;
	int fds[2], size;

	if (p) {
		pool->free = p->next;
		return p;
	}
	p = malloc(sizeof(*p));
	if (!p)
		return NULL;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(p);
		return NULL;
	}
	*p = (struct pipe){
		.read_fd = fds[0], .write_fd = fds[1], .large = pool->n_large < LARGE_PIPES};
	if (p->large)
		pool->n_large++;
	size = p->large ? fcntl(p->write_fd, F_SETPIPE_SZ, LARGE_SIZE) : -1;
	if (size < 0)
		size = fcntl(p->write_fd, F_GETPIPE_SZ);
	p->size = size > 0 ? size : 4096;
	return p;
}

static void pipe_close(struct pipe_pool *pool, struct pipe *p)
{
	if (p->large)
		pool->n_large--;
	close(p->read_fd);
	close(p->write_fd);
	free(p);
}

static void pipe_put(struct pipe_pool *pool, struct pipe *p)
{
	if (!p->large) {
		pipe_close(pool, p);
		return;
	}
	p->next = pool->free;
	pool->free = p;
}

void pipe_pool_fini(struct pipe_pool *pool)
{
	while (pool->free) {
		struct pipe *p = pool->free;

		pool->free = p->next;
		pipe_close(pool, p);
	}
}

void pump_fini(struct pump *pump, struct pipe_pool *pool)
{
	if (pump->pipe && pump->held)
		pipe_close(pool, pump->pipe);
	else if (pump->pipe)
		pipe_put(pool, pump->pipe);
	pump->pipe = NULL;
	pump->held = 0;
}

/* Socket to pipe.  True unless the socket failed. */
static bool fill(struct pump *pump, struct conn *from)
{
	size_t want = pump->pipe->size - pump->held;
	ssize_t n;

	if (want > pump->left)
		want = pump->left;
	n = splice(from->fd, NULL, pump->pipe->write_fd, NULL, want,
		SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	if (n > 0) {
		pump->held += n;
		if (pump->left != PUMP_ENDLESS)
			pump->left -= n;
		if (n < SHORT_READ)
			from->readable = false;
	} else if (n == 0) {
		from->eof = true;
		from->readable = false;
	} else if (errno == EAGAIN) {
		if (pump->held == 0) /* else the pipe may be what is full */
			from->readable = false;
	} else if (errno != EINTR) {
		return false;
	}
	return true;
}

/* Pipe to socket.  True unless the socket failed. */
static bool drain(struct pump *pump, struct conn *to, uint64_t *moved)
{
	ssize_t n = splice(pump->pipe->read_fd, NULL, to->fd, NULL, pump->held,
		SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

	if (n > 0) {
		pump->held -= n;
		*moved += n;
	} else if (n < 0 && errno == EAGAIN) {
		to->blocked = true;
	} else if (n < 0 && errno != EINTR) {
		return false;
	}
	return true;
}

enum pump_result pump_step(struct pump *pump, struct pipe_pool *pool, struct conn *from,
	struct conn *to, uint64_t *moved)
{
	uint64_t stop = *moved + FAIR_SHARE;

	for (;;) {
		bool more = from->readable && !from->eof && pump->left > 0;

		if (more && !pump->pipe && !(pump->pipe = pipe_get(pool)))
			return PUMP_NO_PIPE;
		if (more && pump->held < pump->pipe->size && !fill(pump, from))
			return PUMP_FROM_FAILED;
		if (pump->held && !to->blocked && !drain(pump, to, moved))
			return PUMP_TO_FAILED;
		if (pump->held && to->blocked)
			return PUMP_WAIT;
		if (pump->held)
			continue;
		if (from->eof || pump->left == 0) {
			pump_fini(pump, pool);
			return PUMP_END;
		}
		if (!from->readable) {
			pump_fini(pump, pool);
			return PUMP_WAIT;
		}
		if (*moved >= stop)
			return PUMP_BUSY;
	}
}
