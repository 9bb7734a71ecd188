/*
 * text.h - a run of bytes that somebody else owns.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct text {
	const char *at; /* not terminated; may be NULL when length is 0 */
	size_t length;
};

#define TEXT(literal) ((struct text){(literal), sizeof(literal) - 1})

static inline struct text text_of(const char *string)
{
	return (struct text){string, strlen(string)};
}

static inline bool text_equal(struct text a, struct text b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}

/* ASCII letters compare without case (RFC 9110 5.1). */
static inline bool text_equal_nocase(struct text a, struct text b)
{
	return a.length == b.length && (a.length == 0 || strncasecmp(a.at, b.at, a.length) == 0);
}
