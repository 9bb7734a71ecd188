/*
 * siphash.c - SipHash-2-4 with 128 bits, as in the authors' reference code.
 */
#include "base/siphash.h"

#include <endian.h>
#include <string.h>

static uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void rounds(uint64_t v[4], int n)
{
	while (n-- > 0) {
		v[0] += v[1];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[0] = rotate(v[0], 32);
		v[2] += v[3];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[2] = rotate(v[2], 32);
	}
}

static void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	rounds(v, 2);
	v[0] ^= word;
}

struct siphash siphash(const struct siphash_key *key, const void *bytes, size_t length)
{
	uint64_t v[4] = {
		UINT64_C(0x736f6d6570736575) ^ key->words[0],
		UINT64_C(0x646f72616e646f6d) ^ key->words[1] ^ 0xee,
		UINT64_C(0x6c7967656e657261) ^ key->words[0],
		UINT64_C(0x7465646279746573) ^ key->words[1],
	};
	const uint8_t *at = bytes;
	uint64_t last = (uint64_t)length << 56;
	struct siphash hash;
	uint64_t word;

	for (; length >= 8; length -= 8, at += 8) {
		memcpy(&word, at, 8);
		absorb(v, le64toh(word));
	}
	for (size_t i = 0; i < length; i++)
		last |= (uint64_t)at[i] << 8 * i;
	absorb(v, last);
	v[2] ^= 0xee;
	rounds(v, 4);
	hash.words[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
	v[1] ^= 0xdd;
	rounds(v, 4);
	hash.words[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
	return hash;
}
