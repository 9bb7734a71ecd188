/*
 * line.h - one line of text, written into a bounded buffer.
 *
 * The access log's hot path: no printf, no locale, no allocation.  What does not fit
 * sets `full`; such a line is not to be used.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/addr.h"
#include "base/text.h"

struct line {
	char *at;  /* next byte */
	char *end; /* one after the last that may be written */
	bool full;
};

/* How bytes look that may not stand as they are.  Every style keeps a reader from mistaking
 * a stranger's bytes for another line or field, and leaves printable ASCII only. */
enum escape {
	ESCAPE_JSON, /* \" \\ \u00XX: one escape a byte, so every byte can be had back */
	ESCAPE_C,    /* \" \\ \xXX, within quotes, as Apache does */
	ESCAPE_URL,  /* %XX, space included; % itself stands, as Squid does */
	ESCAPE_LOG,  /* \\ \xXX */
};

static inline void line_put(struct line *line, const char *bytes, size_t length)
{
	if ((size_t)(line->end - line->at) < length) {
		line->full = true;
		return;
	}
	memcpy(line->at, bytes, length);
	line->at += length;
}

/* LINE_PUT(line, "literal") */
#define LINE_PUT(line, literal) line_put(line, literal, sizeof(literal) - 1)

void line_string(struct line *line, const char *string);
void line_number(struct line *line, uint64_t value);
void line_digits(struct line *line, uint64_t value,
	unsigned width); /* zeros in front; the last `width` digits */

/* Escapes `text` into at most `most` bytes, never half an escape.  A longer one is cut and
 * marked with how many of its bytes are missing: "...(+123)", which comes on top of `most`. */
void line_escaped(struct line *line, struct text text, enum escape how, size_t most);

/* Seconds with six decimals: "0.001234", or as whole milliseconds: "1".  Negative and
 * not-a-number are 0, more than 1e9 is 1e9. */
void line_seconds(struct line *line, double seconds);
void line_milliseconds(struct line *line, double seconds);

/* Unix time in seconds, from 1970 to 9999, UTC. */
void line_time_rfc3339(struct line *line, double when); /* 2026-11-23T08:02:21.123Z */
void line_time_unix(struct line *line, double when);    /* 1795420941.123 */
void line_time_clf(struct line *line, double when);     /* 23/Nov/2026:08:02:21 +0000 */

void line_addr(struct line *line, const struct addr *addr);
void line_endpoint(struct line *line, const struct endpoint *endpoint); /* v6 in brackets */
