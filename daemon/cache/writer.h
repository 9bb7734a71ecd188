/*
 * writer.h - text written piece by piece into the caller's room.
 *
 * What does not fit is remembered, so that a message reads as the list of its pieces.  For cache/
 * and what serves from it.
 */
#pragma once

#include <stdint.h>

#include "base/text.h"
#include "daemon/http/head.h"

struct writer {
	char *at, *end;
	bool full;
};

static inline void put(struct writer *w, const char *bytes, size_t length)
{
	if ((size_t)(w->end - w->at) < length) {
		w->full = true;
		w->end = w->at; /* nothing behind a gap */
		return;
	}
	if (length)
		memcpy(w->at, bytes, length);
	w->at += length;
}

#define PUT(w, literal) put((w), (literal), sizeof(literal) - 1)

static inline void put_text(struct writer *w, struct text text)
{
	put(w, text.at, text.length);
}

static inline void put_number(struct writer *w, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);
	do
		digits[--at] = (char)('0' + number % 10);
	while (number /= 10);
	put(w, digits + at, sizeof(digits) - at);
}

static inline void put_signed(struct writer *w, int64_t number)
{
	if (number < 0)
		PUT(w, "-");
	put_number(w, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

static inline void put_field(struct writer *w, struct text name, struct text value)
{
	put_text(w, name);
	PUT(w, ": ");
	put_text(w, value);
	PUT(w, "\r\n");
}

/* A field as it came: no blank behind the colon where none was, so that a head never grows by its
 * fields. */
static inline void put_parsed(struct writer *w, const struct field *field)
{
	bool tight = field->name.at + field->name.length + 1 == field->value.at;
	put_text(w, field->name);
	put(w, ": ", tight ? 1 : 2);
	put_text(w, field->value);
	PUT(w, "\r\n");
}

static inline void put_via(struct writer *w, int minor, struct text name)
{
	put(w, minor ? "Via: 1.1 " : "Via: 1.0 ", 9);
	put_text(w, name);
	PUT(w, "\r\n");
}

/* How many bytes stand there since `out`; 0: it did not fit. */
static inline size_t writer_finish(const struct writer *w, const char *out)
{
	return w->full ? 0 : (size_t)(w->at - out);
}
