/*
 * sink.h - a descriptor that takes bytes without ever making the writer wait.
 *
 * Descriptors such as stdout and stderr are shared with other processes: O_NONBLOCK is a
 * property of what is shared, so it is never set here.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/check.h"

enum sink_way {
	SINK_WRITE,  /* a regular file, or O_NONBLOCK already */
	SINK_SEND,   /* a socket (journald) */
	SINK_NOWAIT, /* a pipe or terminal: RWF_NOWAIT, where the kernel has it */
	SINK_POLL,   /* the same on older kernels: written to when poll() finds room */
};

struct sink {
	int fd; /* -1: none */
	enum sink_way way;
	size_t piece; /* most bytes that are written whole or not at all, and next to each other */
};

/* The fd stays the caller's; -1 is fine. */
void sink_init(struct sink *sink, int fd);

/* Writes once, without waiting (a regular file's disk aside): how many bytes were taken, or
 * -EAGAIN, or another -errno.  SIGPIPE must be ignored.  Thread-safe. */
ssize_t sink_write(struct sink *sink, const char *bytes, size_t length) WARN_UNUSED;
