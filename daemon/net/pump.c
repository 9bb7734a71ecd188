/*
 * A pipe that still holds bytes is never given back: the next user would send
 * a stranger's bytes.  pump_fini() closes such a pipe.
 */
#include "daemon/net/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PIPE_SIZE (256 * 1024)	 /* asked for; the kernel may give less */
#define FAIR_SHARE (1024 * 1024) /* bytes a pump moves in one turn */
#define SHORT_READ 16384	 /* less than this and the socket is most likely empty */
#define KEPT 32			 /* free pipes a pool keeps */

struct pipe {
	struct pipe *next;
	int read_fd, write_fd;
	uint32_t size;
};

static struct pipe *pipe_get(struct pipe_pool *pool)
{
	struct pipe *p = pool->free;
	int fds[2], size;

	if (p) {
		pool->free = p->next;
		pool->n_free--;
		return p;
	}
	p = malloc(sizeof(*p));
	if (!p)
		return NULL;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(p);
		return NULL;
	}
	size = fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
	if (size < 0)
		size = fcntl(fds[1], F_GETPIPE_SZ);
	*p = (struct pipe){.read_fd = fds[0], .write_fd = fds[1], .size = size > 0 ? size : 4096};
	return p;
}

static void pipe_close(struct pipe *p)
{
	close(p->read_fd);
	close(p->write_fd);
	free(p);
}

static void pipe_put(struct pipe_pool *pool, struct pipe *p)
{
	if (pool->n_free == KEPT) {
		pipe_close(p);
		return;
	}
	p->next = pool->free;
	pool->free = p;
	pool->n_free++;
}

void pipe_pool_fini(struct pipe_pool *pool)
{
	while (pool->free) {
		struct pipe *p = pool->free;

		pool->free = p->next;
		pipe_close(p);
	}
	pool->n_free = 0;
}

void pump_fini(struct pump *pump, struct pipe_pool *pool)
{
	if (pump->pipe && pump->held)
		pipe_close(pump->pipe);
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
	n = splice(from->fd, NULL, pump->pipe->write_fd, NULL, want, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
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

enum pump_result pump_step(struct pump *pump, struct pipe_pool *pool, struct conn *from, struct conn *to,
	uint64_t *moved)
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
