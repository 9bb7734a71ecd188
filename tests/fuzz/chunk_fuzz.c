/*
 * chunk_fuzz.c - any bytes as a chunked body: in pieces it reads like whole, and what was read can
 * be written.
 */
#include <stdlib.h>

#include "base/check.h"
#include "daemon/http/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct decoded {
	enum chunk_result result;
	char *body;
	size_t length, used;
};

/* Pieces of `step` bytes.  `body` is as long as the input, which is enough. */
static void decode(struct decoded *d, struct text in, size_t step)
{
	struct chunk chunk;
	chunk_init(&chunk);
	d->body = malloc(in.length + 1);
	CHECK(d->body);
	d->length = d->used = 0;
	d->result = CHUNK_MORE;
	while (d->result == CHUNK_MORE && d->used < in.length) {
		size_t length = in.length - d->used < step ? in.length - d->used : step;
		struct text rest = {in.at + d->used, length}, data;
		while ((d->result = chunk_next(&chunk, &rest, &data)) == CHUNK_DATA) {
			CHECK(data.length > 0);
			memcpy(d->body + d->length, data.at, data.length);
			d->length += data.length;
		}
		d->used += length - rest.length;
	}
}

static void check_written(const struct decoded *d)
{
	struct chunk chunk;
	struct text data = {NULL, 0};
	char head[CHUNK_HEAD];
	size_t length = chunk_head(head, d->length);
	struct text in = {head, length};
	chunk_init(&chunk);
	CHECK(chunk_next(&chunk, &in, &data) == CHUNK_MORE);
	CHECK(chunk.left == d->length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct decoded whole, pieces;
	if (size == 0)
		return 0;
	struct text in = {(const char *)data + 1, size - 1};
	decode(&whole, in, size);
	decode(&pieces, in, 1 + data[0] % 16);
	CHECK(whole.result == pieces.result && whole.used == pieces.used);
	CHECK(whole.length == pieces.length);
	CHECK(memcmp(whole.body, pieces.body, whole.length) == 0);
	if (whole.length)
		check_written(&whole);
	free(whole.body);
	free(pieces.body);
	return 0;
}
