/*
 * bytes.h - classes of bytes in HTTP/1 messages, and runs of them.
 *
 * Private to http/ and cache/.  Each skip returns the first byte in [at, end) that is not of
 * its class, or `end`.
 */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

enum byte_class {
	BYTE_TOKEN = 1, /* tchar (RFC 9110 5.6.2) */
	BYTE_HOST = 2,  /* in a registered name, as far as a host can have it */
	BYTE_URI = 4,   /* in a path or a query, but for '%' */
	BYTE_HEX = 8,
	BYTE_DIGIT = 16,
};

extern const uint8_t byte_classes[256];

static inline bool byte_is(char byte, enum byte_class class)
{
	return byte_classes[(uint8_t)byte] & class;
}

static inline const char *bytes_skip(const char *at, const char *end, enum byte_class class)
{
	while (at < end && byte_is(*at, class))
		at++;
	return at;
}

static inline const char *bytes_skip_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	return at;
}

#define BYTES_ONES 0x0101010101010101u
#define BYTES_HIGH 0x8080808080808080u

/* Marks the bytes of a word below `limit` (at most 128), and 0x7f.  The lowest mark is
 * exact; marks above it may be false, where the subtraction borrowed. */
static inline uint64_t bytes_marks(uint64_t word, unsigned limit)
{
	uint64_t del = word ^ (BYTES_ONES * 0x7f);
	uint64_t low = (word - BYTES_ONES * limit) & ~word;
	return (low | ((del - BYTES_ONES) & ~del)) & BYTES_HIGH;
}

/* Field values and reason phrases: everything but control bytes, HTAB aside (RFC 9110 5.5). */
static inline const char *bytes_skip_value(const char *at, const char *end)
{
	while (end - at >= 8) {
		uint64_t word;
		memcpy(&word, at, 8);
		uint64_t marks = bytes_marks(le64toh(word), 0x20);
		if (!marks) {
			at += 8;
			continue;
		}
		at += __builtin_ctzll(marks) / 8;
		if (*at != '\t')
			return at;
		at++;
	}
	while (at < end && ((uint8_t)*at >= 0x20 || *at == '\t') && *at != 0x7f)
		at++;
	return at;
}

/* Request targets: visible ASCII. */
static inline const char *bytes_skip_visible(const char *at, const char *end)
{
	for (; end - at >= 8; at += 8) {
		uint64_t word;
		memcpy(&word, at, 8);
		word = le64toh(word);
		uint64_t marks = bytes_marks(word, 0x21) | (word & BYTES_HIGH);
		if (marks)
			return at + __builtin_ctzll(marks) / 8;
	}
	while (at < end && (uint8_t)(*at - 0x21) < 0x7f - 0x21)
		at++;
	return at;
}

static inline struct text bytes_span(const char *from, const char *to)
{
	return (struct text){from, (size_t)(to - from)};
}
