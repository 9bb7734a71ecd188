/*
 * store_keys.h - a store filled with objects whose keys are numbers.
 */
#pragma once

#include "tests/unit/daemon/cache/store_world.h"

#define KEYS 200
#define SEGMENT (UINT64_C(256) << 10) /* of the smallest store */
#define SEGMENTS 63

static inline const char *key_of(uint64_t number)
{
	static __thread char key[32];

	snprintf(key, sizeof(key), "http://a/%llu", (unsigned long long)number);
	return key;
}

/* Of all sizes: empty, small, in several parts. */
static inline uint64_t length_of(uint64_t number)
{
	static const uint64_t lengths[] = {0, 10, 700, 5000, 40000, 65536, 70000, 250000};

	return lengths[number % 8];
}

static inline void fill_store(struct store *store)
{
	for (uint64_t i = 1; i <= KEYS; i++)
		world_put_as(store, key_of(i), "", i, length_of(i), i % 3);
}

/* How many are there; each has to be what was written. */
static inline size_t check_store(struct store *store)
{
	size_t n = 0;

	for (uint64_t i = 1; i <= KEYS; i++) {
		uint64_t seed = world_check(store, key_of(i));

		assert_true(seed == 0 || seed == i);
		n += seed != 0;
	}
	return n;
}
