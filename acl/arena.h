/*
 * arena.h - memory that is given back all at once.
 *
 * What it hands out never moves.
 */
#pragma once

#include <stddef.h>

#include "base/text.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *newest; /* zeroed: an empty arena */
};

/* Aligned for any type, not zeroed.  NULL: no memory. */
void *arena_alloc(struct arena *arena, size_t size);

/* A copy of `size` bytes at `from`, or of a text with a NUL behind it.  NULL: no memory. */
void *arena_copy(struct arena *arena, const void *from, size_t size);
char *arena_string(struct arena *arena, struct text text);

void arena_fini(struct arena *arena);
