#include "acl/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define CHUNK ((size_t)64 * 1024)

struct arena_chunk {
	struct arena_chunk *older;
	size_t used, size;
	alignas(max_align_t) char bytes[];
};

static struct arena_chunk *chunk_for(struct arena *arena, size_t size)
{
	struct arena_chunk *chunk = arena->newest;

	if (chunk && chunk->size - chunk->used >= size)
		return chunk;
	if (size < CHUNK)
		size = CHUNK;
	chunk = malloc(sizeof(*chunk) + size);
	if (!chunk)
		return NULL;
	chunk->older = arena->newest;
	chunk->used = 0;
	chunk->size = size;
	arena->newest = chunk;
	return chunk;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	const size_t unit = alignof(max_align_t);
	struct arena_chunk *chunk;
	void *memory;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + unit - 1) / unit * unit;
	chunk = chunk_for(arena, size);
	if (!chunk)
		return NULL;
	memory = chunk->bytes + chunk->used;
	chunk->used += size;
	return memory;
}

void *arena_copy(struct arena *arena, const void *from, size_t size)
{
	void *memory = arena_alloc(arena, size);

	if (memory && size > 0)
		memcpy(memory, from, size);
	return memory;
}

char *arena_string(struct arena *arena, struct text text)
{
	char *string = arena_alloc(arena, text.length + 1);

	if (!string)
		return NULL;
	if (text.length > 0)
		memcpy(string, text.at, text.length);
	string[text.length] = '\0';
	return string;
}

void arena_fini(struct arena *arena)
{
	struct arena_chunk *chunk;

	while ((chunk = arena->newest)) {
		arena->newest = chunk->older;
		free(chunk);
	}
}
