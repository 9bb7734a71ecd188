/*
 * chunk_fuzz.c - any bytes as a chunked body: in pieces it reads like whole, and what was read can
 * be written.
 */
#include <stdlib.h>

#include "base/check.h"
#include "daemon/http/chunk.h"
#include "daemon/http/forward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct decoded {
	enum chunk_result result;
	char *body;
	size_t length, used;
	char trailers[CHUNK_TRAILER_MAX];
	size_t n_trailers;
};

/* Pieces of `step` bytes.  `body` is as long as the input, which is enough. */
static void decode(struct decoded *d, struct text in, size_t step)
{
	struct chunk chunk;
	chunk_init(&chunk);
	chunk.trailers = d->trailers;
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
	d->n_trailers = chunk.n_trailers;
}

/* What is sent on reads the same, and nothing of it is left out the next time. */
static void check_trailers(const struct decoded *d)
{
	char once[CHUNK_TRAILER_MAX + 5], twice[CHUNK_TRAILER_MAX];
	size_t length = 3 + forward_trailers(once + 3, (struct text){d->trailers, d->n_trailers});
	struct text in, data;
	struct chunk chunk;

	CHECK(length <= 3 + d->n_trailers);
	memcpy(once, "0\r\n", 3);
	memcpy(once + length, "\r\n", 2);
	in = (struct text){once, length + 2};
	chunk_init(&chunk);
	chunk.trailers = twice;
	CHECK(chunk_next(&chunk, &in, &data) == CHUNK_END && in.length == 0);
	CHECK(chunk.n_trailers == length - 1 && memcmp(twice, once + 3, length - 1) == 0);
	CHECK(forward_trailers(twice, (struct text){once + 3, length - 1}) == length - 3);
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
	static struct decoded whole, pieces;
	if (size == 0)
		return 0;
	struct text in = {(const char *)data + 1, size - 1};
	decode(&whole, in, size);
	decode(&pieces, in, 1 + data[0] % 16);
	CHECK(whole.result == pieces.result && whole.used == pieces.used);
	CHECK(whole.length == pieces.length);
	CHECK(memcmp(whole.body, pieces.body, whole.length) == 0);
	CHECK(whole.n_trailers == pieces.n_trailers);
	CHECK(memcmp(whole.trailers, pieces.trailers, whole.n_trailers) == 0);
	if (whole.result == CHUNK_END)
		check_trailers(&whole);
	if (whole.length)
		check_written(&whole);
	free(whole.body);
	free(pieces.body);
	return 0;
}
