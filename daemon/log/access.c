/*
 * A line is at most PIPE_BUF bytes, and what is not a regular file gets pieces of at most as
 * many that end where a line ends: a pipe takes such a piece whole and unmixed, or not at all.
 *
 * A full disk or a terminal may take half a line.  Its worker then owes the other half, and
 * until it is written no other worker of this process writes: `torn` below.
 */
#include "daemon/log/access.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log/log.h"
#include "daemon/log/sink.h"

#define BUFFER_LEAST 65536

struct access {
	struct sink sink;
	enum access_format format;
	int error; /* of the last write, as far as it was told; 0: fine */
	_Atomic uint64_t lost;
	size_t size, length;
	char buffer[];
};

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static const struct access *torn; /* under `writing`: who owes half a line; NULL: nobody */

struct access *access_new(int fd, enum access_format format, size_t buffer)
{
	size_t size = buffer > BUFFER_LEAST ? buffer : BUFFER_LEAST;
	struct access *access = malloc(sizeof(*access) + size);

	if (!access)
		return NULL;
	*access = (struct access){.format = format, .size = size};
	sink_init(&access->sink, fd);
	return access;
}

static void lose(struct access *access, uint64_t lines)
{
	atomic_fetch_add_explicit(&access->lost, lines, memory_order_relaxed);
}

uint64_t access_lost(const struct access *access)
{
	return atomic_load_explicit(&access->lost, memory_order_relaxed);
}

/* The next piece to write: all, or as many whole lines as the sink takes at once. */
static size_t next_piece(const struct access *access, size_t from)
{
	size_t length = access->length - from;
	const char *last;

	if (length <= access->sink.piece)
		return length;
	last = memrchr(access->buffer + from, '\n', access->sink.piece);
	CHECK(last);
	return (size_t)(last + 1 - (access->buffer + from));
}

static void drop_front(struct access *access, size_t length)
{
	access->length -= length;
	memmove(access->buffer, access->buffer + length, access->length);
}

/* Told once, not at every flush.  A full pipe is what the counter is for. */
static void tell(struct access *access, int error)
{
	if (error == EAGAIN || error == EINTR || error == access->error)
		return;
	access->error = error;
	if (error)
		log_warn("access log: %s: lines wait, and are lost when the buffer is full",
			strerror(error));
}

static void drain(struct access *access)
{
	size_t done = 0;
	ssize_t n = 0;

	while (done < access->length) {
		n = sink_write(&access->sink, access->buffer + done, next_piece(access, done));
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	tell(access, n < 0 ? (int)-n : 0);
	if (done == 0)
		return;
	torn = access->buffer[done - 1] == '\n' ? NULL : access;
	drop_front(access, done);
}

void access_flush(struct access *access)
{
	if (access->length == 0 || access->sink.fd < 0)
		return;
	pthread_mutex_lock(&writing);
	if (!torn || torn == access)
		drain(access);
	pthread_mutex_unlock(&writing);
}

/* The half line that the fd did not take has no place on another one. */
static void drop_torn(struct access *access)
{
	pthread_mutex_lock(&writing);
	if (torn == access) {
		char *end = memchr(access->buffer, '\n', access->length);

		CHECK(end);
		drop_front(access, (size_t)(end + 1 - access->buffer));
		lose(access, 1);
		torn = NULL;
	}
	pthread_mutex_unlock(&writing);
}

static void drop_all(struct access *access)
{
	for (size_t i = 0; i < access->length; i++)
		if (access->buffer[i] == '\n')
			lose(access, 1);
	access->length = 0;
}

void access_set_fd(struct access *access, int fd)
{
	access_flush(access);
	drop_torn(access);
	sink_init(&access->sink, fd);
	access->error = 0;
	if (fd < 0)
		drop_all(access);
}

void access_set_format(struct access *access, enum access_format format)
{
	access->format = format;
}

void access_free(struct access *access)
{
	if (!access)
		return;
	access_flush(access);
	drop_torn(access);
	free(access);
}

static bool append(struct access *access, const struct record *record)
{
	size_t room = access->size - access->length;
	size_t length;

	if (room > ACCESS_LINE)
		room = ACCESS_LINE;
	if (room == 0)
		return false;
	length = access_format(access->format, record, access->buffer + access->length, room - 1);
	if (length == 0)
		return false;
	access->buffer[access->length + length] = '\n';
	access->length += length + 1;
	return true;
}

void access_write(struct access *access, const struct record *record)
{
	if (access->sink.fd < 0 || append(access, record))
		return;
	access_flush(access);
	if (!append(access, record))
		lose(access, 1);
}
