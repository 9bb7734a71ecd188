/*
 * heads.h - heads for tests of the cache's rules, parsed from text as the proxy does it.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "daemon/http/head.h"

#define HEADS_FIELDS 64

struct parsed {
	char *bytes; /* of their own size, so that a sanitizer sees what is read behind them */
	struct field fields[HEADS_FIELDS];
	struct head head;
};

/* A copy in as many bytes as it has. */
static inline char *heads_copy(const char *from, size_t length)
{
	char *copy = malloc(length ? length : 1);
	CHECK(copy);
	memcpy(copy, from, length);
	return copy;
}

static inline void heads_parse(struct parsed *p, const char *start, const char *lines, bool request)
{
	static const struct head_limits limits = {
		.line = 1000, .bytes = 20000, .fields = HEADS_FIELDS};
	static char text[20001];
	struct head_error error = {0, ""};
	int length = snprintf(text, sizeof(text), "%s%s\r\n", start, lines);
	struct text in = {p->bytes = heads_copy(text, (size_t)length), (size_t)length};
	p->head.fields = p->fields;
	enum head_result result =
		request ? head_request(in, &limits, &p->head, &error)
			: head_response(in, &limits, METHOD_GET, &p->head, &error);
	if (result != HEAD_DONE)
		fail_msg("%s: %s", text, error.text);
}

/* `lines`: fields, each with its CRLF. */
static inline void heads_request(struct parsed *p, const char *method, const char *lines)
{
	char start[100];
	snprintf(start, sizeof(start), "%s http://h/ HTTP/1.1\r\nHost: h\r\n", method);
	heads_parse(p, start, lines, true);
}

static inline void heads_response(struct parsed *p, int status, const char *lines)
{
	char start[100];
	snprintf(start, sizeof(start), "HTTP/1.1 %d Phrase\r\n", status);
	heads_parse(p, start, lines, false);
}

static inline void heads_free(struct parsed *p)
{
	free(p->bytes);
}

/* How often to try something random: less often where everything is slow (valgrind). */
static inline int heads_rounds(int rounds)
{
	return getenv("EGRET_SLOW") ? rounds / 20 : rounds;
}

/* Pseudo-random bytes that are the same in each run. */
static inline uint32_t heads_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

/* Text made of whole `words` and single bytes: it comes further into a parser than bytes alone.
 * Its length, at most `size`. */
static inline size_t heads_babble(
	uint64_t *state, const char *const *words, size_t n_words, char *out, size_t size)
{
	size_t length = 0, parts = heads_random(state) % 12;
	for (size_t i = 0; i < parts; i++) {
		const char *word = words[heads_random(state) % n_words];
		size_t add = strlen(word);
		if (heads_random(state) % 4 == 0) {
			if (length < size)
				out[length++] = (char)(heads_random(state) & 0xff);
		} else if (length + add <= size) {
			memcpy(out + length, word, add);
			length += add;
		}
	}
	return length;
}
