/*
 * siphash.h - SipHash-2-4 with 128 bits: a keyed digest of short inputs.
 *
 * Without the key nobody can choose inputs that collide, so it can stand for the input itself.
 * (J.-P. Aumasson, D. J. Bernstein: SipHash, 2012.)
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t words[2];
};

struct siphash {
	uint64_t words[2];
};

struct siphash siphash(const struct siphash_key *key, const void *bytes, size_t length);
