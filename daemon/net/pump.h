/*
 * pump.h - bytes from one socket to another without a copy to user space (splice(2)).
 *
 * A pump holds a pipe only while bytes are in it; pipes come from a worker's pool.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/net/conn.h"

#define PUMP_ENDLESS UINT64_MAX

struct pipe;

struct pipe_pool {
	struct pipe *free;
	size_t n_large; /* open, free or in use */
};

void pipe_pool_fini(struct pipe_pool *pool);

struct pump {
	struct pipe *pipe; /* NULL while nothing is held */
	uint64_t left;     /* bytes still to be taken, or PUMP_ENDLESS */
	uint32_t held;     /* bytes in the pipe */
};

enum pump_result {
	PUMP_WAIT,        /* for `from` to be readable, or `to` writable while bytes are held */
	PUMP_BUSY,        /* a fair share was moved; there may be more */
	PUMP_END,         /* `left` bytes are delivered, or `from` ended (from->eof) */
	PUMP_FROM_FAILED, /* errno says why */
	PUMP_TO_FAILED,
	PUMP_NO_PIPE, /* out of file descriptors */
};

/* Moves what it can, a bounded amount, and adds it to *moved. */
enum pump_result pump_step(struct pump *pump, struct pipe_pool *pool, struct conn *from,
	struct conn *to, uint64_t *moved);

void pump_fini(struct pump *pump, struct pipe_pool *pool);
