/*
 * jhash.h - Bob Jenkins' hash (lookup3, 2006), as the kernel computes it.
 *
 * So that what is chosen here is what `jhash ip saddr mod N seed S` of nftables chooses.  Not for
 * tables that strangers fill: see siphash.h.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* `length` is a multiple of four. */
uint32_t jhash(const void *bytes, size_t length, uint32_t seed);

/* A hash's or random number's place among `n`: what nftables' `mod` is. */
static inline uint32_t jhash_place(uint32_t hash, uint32_t n)
{
	return (uint32_t)((uint64_t)hash * n >> 32);
}
