#include "daemon/net/buffer.h"

#include <stdlib.h>
#include <string.h>

#define KEPT 256 /* free blocks a pool keeps */

struct buffer *buffer_get(struct buffer_pool *pool, size_t size)
{
	struct buffer *b = pool->free;

	if (size > BUFFER_SIZE || !b) {
		if (size < BUFFER_SIZE)
			size = BUFFER_SIZE;
		b = malloc(sizeof(*b) + size);
		if (!b)
			return NULL;
		b->size = size;
	} else {
		pool->free = b->next;
		pool->n_free--;
	}
	b->start = b->end = 0;
	return b;
}

void buffer_put(struct buffer_pool *pool, struct buffer *b)
{
	if (!b)
		return;
	if (b->size != BUFFER_SIZE || pool->n_free == KEPT) {
		free(b);
		return;
	}
	b->next = pool->free;
	pool->free = b;
	pool->n_free++;
}

void buffer_pool_fini(struct buffer_pool *pool)
{
	while (pool->free) {
		struct buffer *b = pool->free;

		pool->free = b->next;
		free(b);
	}
	pool->n_free = 0;
}

void buffer_compact(struct buffer *b)
{
	if (b->start == 0)
		return;
	memmove(b->data, b->data + b->start, b->end - b->start);
	b->end -= b->start;
	b->start = 0;
}
