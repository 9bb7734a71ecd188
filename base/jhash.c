#include "base/jhash.h"

#include <string.h>

#include "base/check.h"

#define START 0xdeadbeef

static uint32_t rotate(uint32_t word, unsigned bits)
{
	return word << bits | word >> (32 - bits);
}

/* Each round is the one before it with the words' roles passed on. */
static void mix(uint32_t w[3])
{
	static const unsigned char bits[] = {4, 6, 8, 16, 19, 4};

	for (size_t i = 0; i < sizeof(bits); i++) {
		uint32_t *a = &w[i % 3], *b = &w[(i + 1) % 3], *c = &w[(i + 2) % 3];

		*a = (*a - *c) ^ rotate(*c, bits[i]);
		*c += *b;
	}
}

static void finish(uint32_t w[3])
{
	static const unsigned char bits[] = {14, 11, 25, 16, 4, 14, 24};

	for (size_t i = 0; i < sizeof(bits); i++) {
		uint32_t *b = &w[(i + 1) % 3], *c = &w[(i + 2) % 3];

		*c = (*c ^ *b) - rotate(*b, bits[i]);
	}
}

uint32_t jhash(const void *bytes, size_t length, uint32_t seed)
{
	uint32_t w[3], block[3] = {0};
	const char *at = bytes;

	CHECK(length % sizeof(uint32_t) == 0);
	w[0] = w[1] = w[2] = START + (uint32_t)length + seed;
	for (; length > sizeof(block); at += sizeof(block), length -= sizeof(block)) {
		memcpy(block, at, sizeof(block));
		for (size_t i = 0; i < 3; i++)
			w[i] += block[i];
		mix(w);
	}
	if (length == 0)
		return w[2];
	memset(block, 0, sizeof(block));
	memcpy(block, at, length);
	for (size_t i = 0; i < 3; i++)
		w[i] += block[i];
	finish(w);
	return w[2];
}
