/*
 * chunk_test.c - bodies in chunks, at every split.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "daemon/http/chunk.h"

#define BODY_MAX 65536

struct decoded {
	enum chunk_result result;
	size_t length; /* of the body */
	char body[BODY_MAX];
	size_t used; /* bytes of the input, as far as the end of the body */
};

/* Hands `in` over in pieces of `step` bytes, each a copy of its own size. */
static void decode(struct decoded *d, struct text in, size_t step)
{
	struct chunk chunk;
	chunk_init(&chunk);
	*d = (struct decoded){.result = CHUNK_MORE};
	while (d->result == CHUNK_MORE && d->used < in.length) {
		size_t length = in.length - d->used < step ? in.length - d->used : step;
		char *piece = malloc(length);
		CHECK(piece);
		memcpy(piece, in.at + d->used, length);
		struct text rest = {piece, length}, data;
		while ((d->result = chunk_next(&chunk, &rest, &data)) == CHUNK_DATA) {
			assert_true(data.length > 0 && d->length + data.length <= BODY_MAX);
			memcpy(d->body + d->length, data.at, data.length);
			d->length += data.length;
		}
		d->used += length - rest.length;
		assert_true(d->result != CHUNK_MORE || rest.length == 0);
		assert_int_equal(chunk_next(&chunk, &rest, &data), d->result);
		free(piece);
	}
}

static const struct {
	const char *in;
	const char *body;
} good[] = {
	{"0\r\n\r\n", ""},
	{"000\r\n\r\n", ""},
	{"5\r\nhello\r\n0\r\n\r\n", "hello"},
	{"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"},
	{"0000000000000005\r\nhello\r\n0\r\n\r\n", "hello"},
	{"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
	{"2\r\n\r\n\r\n0\r\n\r\n", "\r\n"},
	{"1;a\r\nx\r\n0\r\n\r\n", "x"},
	{"1;a=b\r\nx\r\n0;c=\"d\"\r\n\r\n", "x"},
	{"1 ; a = b ; c = \"d\" ;e\t;f\r\nx\r\n0\r\n\r\n", "x"},
	{"1;a=\"\\\"\\\\;\t \xe4\"\r\nx\r\n0\r\n\r\n", "x"},
	{"1;a=\"\"\r\nx\r\n0\r\n\r\n", "x"},
	{"1\r\nx\r\n0\r\nTrailer: yes\r\nX:\r\nY: \t\xe4\r\n\r\n", "x"},
};

static void decodes_at_every_split(void **state)
{
	static struct decoded d;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		char in[200];
		size_t length = (size_t)snprintf(in, sizeof(in), "%s", good[i].in);
		strcat(in, "NEXT");
		for (size_t step = 1; step <= length + 4; step++) {
			decode(&d, text_of(in), step);
			assert_int_equal(d.result, CHUNK_END);
			assert_int_equal(d.used, length);
			assert_int_equal(d.length, strlen(good[i].body));
			assert_memory_equal(d.body, good[i].body, d.length);
		}
		for (size_t have = 0; have < length; have++) {
			decode(&d, (struct text){in, have}, have + 1);
			assert_int_equal(d.result, CHUNK_MORE);
		}
	}
}

static const char *const bad[] = {
	"\r\n",
	" 5\r\nhello\r\n",
	"5 \r\nhello\r\n",
	"5\t\r\nhello\r\n",
	"+5\r\nhello\r\n",
	"-5\r\nhello\r\n",
	"0x5\r\nhello\r\n",
	"g\r\n",
	"5\nhello\r\n",
	"5\r\r\nhello\r\n",
	"5\rhello\r\n",
	"5\r\nhello\n",
	"5\r\nhello\r\r\n",
	"5\r\nhelloo\r\n",
	"5\r\nhell\r\n0\r\n\r\n",
	"5\r\nhello0\r\n\r\n",
	"5\r\nhello\r\n\r\n",
	"00000000000000005\r\nhello\r\n",
	"8000000000000000\r\n",
	"ffffffffffffffff\r\n",
	"10000000000000000\r\n",
	"1;\r\nx\r\n",
	"1;;a\r\nx\r\n",
	"1;=a\r\nx\r\n",
	"1;a=\r\nx\r\n",
	"1;a b\r\nx\r\n",
	"1;a \r\nx\r\n",
	"1;a=b c\r\nx\r\n",
	"1;a=b \r\nx\r\n",
	"1;a=b=c\r\nx\r\n",
	"1;a=\"b\r\nx\r\n",
	"1;a=\"b\"c\r\nx\r\n",
	"1;a=\"b\nc\"\r\nx\r\n",
	"1;a=\"\\\r\"\r\nx\r\n",
	"1;a=\"\\\r\"\"\r\nx\r\n",
	"1;a\nx\r\n",
	"1;a\rx\r\n",
	"1 a\r\nx\r\n",
	"1,a\r\nx\r\n",
	"0\r\n\n",
	"0\n\r\n",
	"0\r\n\r\r\n",
	"0\r\nA\r\n\r\n",
	"0\r\nA : b\r\n\r\n",
	"0\r\n: b\r\n\r\n",
	"0\r\n A: b\r\n\r\n",
	"0\r\nA: b\r\n c\r\n\r\n",
	"0\r\nA: b\n\r\n",
	"0\r\nA: b\rc\r\n\r\n",
	"0\r\nA: \x01\r\n\r\n",
	"0\r\nA: \x7f\r\n\r\n",
};

static void refuses_what_is_not_chunked_coding(void **state)
{
	static struct decoded d;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		for (size_t step = 1; step <= strlen(bad[i]); step++) {
			decode(&d, text_of(bad[i]), step);
			if (d.result != CHUNK_BAD)
				fail_msg("taken: \"%s\"", bad[i]);
		}
	}
}

static void refuses_nul_everywhere_but_in_data(void **state)
{
	static const char in[] = "1;a=\"b\";c=d\r\nx\r\n0\r\nA: b\r\n\r\n";
	static struct decoded d;
	(void)state;
	for (size_t i = 0; i < sizeof(in) - 1; i++) {
		char copy[sizeof(in)];
		memcpy(copy, in, sizeof(in));
		copy[i] = '\0';
		decode(&d, (struct text){copy, sizeof(in) - 1}, 100);
		assert_int_equal(d.result, in[i] == 'x' ? CHUNK_END : CHUNK_BAD);
	}
}

static void takes_the_largest_size(void **state)
{
	struct text in = TEXT("7fffffffffffffff\r\nabc"), data;
	struct chunk chunk;
	(void)state;
	chunk_init(&chunk);
	assert_int_equal(chunk_next(&chunk, &in, &data), CHUNK_DATA);
	assert_int_equal(data.length, 3);
	assert_int_equal(chunk.left, INT64_MAX - 3);
	assert_int_equal(chunk_next(&chunk, &in, &data), CHUNK_MORE);
}

static enum chunk_result try_padded(const char *before, size_t fill, const char *after)
{
	static char in[CHUNK_TRAILER_MAX + 100];
	static struct decoded d;
	size_t length = strlen(before);
	memcpy(in, before, length);
	memset(in + length, 'a', fill);
	strcpy(in + length + fill, after);
	decode(&d, text_of(in), sizeof(in));
	return d.result;
}

static void bounds_lines_and_trailers(void **state)
{
	(void)state;
	size_t line = CHUNK_LINE_MAX - strlen("1;\r\n");
	assert_int_equal(try_padded("1;", line, "\r\nx\r\n0\r\n\r\n"), CHUNK_END);
	assert_int_equal(try_padded("1;", line + 1, "\r\nx\r\n0\r\n\r\n"), CHUNK_BAD);

	size_t trailer = CHUNK_TRAILER_MAX - strlen("A: b\r\nC: \r\n\r\n");
	assert_int_equal(try_padded("0\r\nA: b\r\nC: ", trailer, "\r\n\r\n"), CHUNK_END);
	assert_int_equal(try_padded("0\r\nA: b\r\nC: ", trailer + 1, "\r\n\r\n"), CHUNK_BAD);
}

static void keeps_trailers_where_they_are_wanted(void **state)
{
	static const struct {
		const char *in, *trailers;
	} bodies[] = {
		{"5;a=b\r\nhello\r\n0\r\n\r\n", "\r\n"},
		{"0\r\nA: b\r\n\r\n", "A: b\r\n\r\n"},
		{"1\r\nx\r\n0;e\r\nA:\r\nB: \t\xe4 \r\n\r\n", "A:\r\nB: \t\xe4 \r\n\r\n"},
	};
	char kept[CHUNK_TRAILER_MAX];
	struct text in, some, data;
	struct chunk chunk;
	enum chunk_result r;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bodies); i++) {
		for (size_t step = 1; step < 40; step += 38) {
			chunk_init(&chunk);
			chunk.trailers = kept;
			in = text_of(bodies[i].in);
			do {
				some = (struct text){in.at, in.length < step ? in.length : step};
				r = chunk_next(&chunk, &some, &data);
				in.length -= (size_t)(some.at - in.at);
				in.at = some.at;
			} while (r == CHUNK_DATA || r == CHUNK_MORE);
			assert_int_equal(r, CHUNK_END);
			assert_int_equal(chunk.n_trailers, strlen(bodies[i].trailers));
			assert_memory_equal(kept, bodies[i].trailers, chunk.n_trailers);
		}
	}
}

static void keeps_no_more_trailers_than_there_is_room_for(void **state)
{
	static char in[CHUNK_TRAILER_MAX + 100];
	char *kept = malloc(CHUNK_TRAILER_MAX);
	struct text rest, data;
	struct chunk chunk;

	(void)state;
	CHECK(kept);
	for (size_t length = CHUNK_TRAILER_MAX - 20; length < CHUNK_TRAILER_MAX + 20; length++) {
		strcpy(in, "0\r\nA: ");
		memset(in + 6, 'a', length);
		strcpy(in + 6 + length, "\r\n\r\n");
		chunk_init(&chunk);
		chunk.trailers = kept;
		rest = text_of(in);
		assert_int_equal(chunk_next(&chunk, &rest, &data),
			length + 7 <= CHUNK_TRAILER_MAX ? CHUNK_END : CHUNK_BAD);
		assert_true(chunk.n_trailers <= CHUNK_TRAILER_MAX);
	}
	free(kept);
}

static void writes_what_it_reads(void **state)
{
	static const struct {
		size_t size;
		const char *head;
	} sizes[] = {{1, "1\r\n"}, {15, "f\r\n"}, {16, "10\r\n"}, {65535, "ffff\r\n"},
		{INT64_MAX, "7fffffffffffffff\r\n"}, {SIZE_MAX, "ffffffffffffffff\r\n"}};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		char out[CHUNK_HEAD];
		size_t length = chunk_head(out, sizes[i].size);
		assert_int_equal(length, strlen(sizes[i].head));
		assert_memory_equal(out, sizes[i].head, length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_at_every_split),
		cmocka_unit_test(refuses_what_is_not_chunked_coding),
		cmocka_unit_test(refuses_nul_everywhere_but_in_data),
		cmocka_unit_test(takes_the_largest_size),
		cmocka_unit_test(bounds_lines_and_trailers),
		cmocka_unit_test(keeps_trailers_where_they_are_wanted),
		cmocka_unit_test(keeps_no_more_trailers_than_there_is_room_for),
		cmocka_unit_test(writes_what_it_reads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
