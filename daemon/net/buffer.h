/*
 * buffer.h - bytes on their way: three positions in one block.
 *
 * 0 <= start <= end <= size; what is held lies in between.  Blocks of the usual size come
 * from a worker's pool, so that an idle connection owns none and a busy one costs no malloc.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define BUFFER_SIZE 16384

struct buffer {
	struct buffer *next; /* in the pool */
	uint32_t size, start, end;
	char data[];
};

struct buffer_pool {
	struct buffer *free;
	size_t n_free;
};

/* An empty buffer of at least `size` bytes, or NULL. */
struct buffer *buffer_get(struct buffer_pool *pool, size_t size);
void buffer_put(struct buffer_pool *pool, struct buffer *buffer); /* accepts NULL */
void buffer_pool_fini(struct buffer_pool *pool);

static inline size_t buffer_held(const struct buffer *b)
{
	return b ? b->end - b->start : 0;
}

static inline size_t buffer_room(const struct buffer *b)
{
	return b->size - b->end;
}

static inline struct text buffer_text(const struct buffer *b)
{
	return b ? (struct text){b->data + b->start, b->end - b->start} : (struct text){NULL, 0};
}

/* Moves what is held to the front, for more room at the end. */
void buffer_compact(struct buffer *buffer);
