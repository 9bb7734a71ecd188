/*
 * meta.h - what the cache remembers of a response beside its head and body.
 *
 * A plain value without pointers: it is written to disk as it is (STORE_VERSION counts its
 * changes).  Times are whole seconds since the epoch, as Date fields have them.
 */
#pragma once

#include <stdint.h>

#include "base/addr.h"

enum cache_flag {
	CACHE_NO_CACHE = 1,        /* validate each time (RFC 9111 5.2.2.4) */
	CACHE_MUST_REVALIDATE = 2, /* never stale (5.2.2.2, 5.2.2.8, 5.2.2.10) */
	CACHE_HEURISTIC = 4,       /* the lifetime is a guess (4.2.2) */
	CACHE_IMMUTABLE = 8,       /* RFC 8246 */
	CACHE_SURROGATE = 16,      /* Surrogate-Control counts, where it is there */
};

struct cache_meta {
	int64_t response_time; /* when the head came */
	int64_t date;          /* its Date, or response_time */
	int64_t initial_age;   /* corrected_initial_age at response_time (RFC 9111 4.2.3) */
	int64_t lifetime;      /* freshness lifetime (4.2.1), seconds from birth */
	int64_t last_modified; /* -1: none that can be read */
	int64_t stale_while_revalidate; /* seconds past the lifetime (RFC 5861); -1: not said */
	int64_t stale_if_error;         /* the same */
	uint32_t flags;
	uint16_t status;
	uint8_t minor; /* the origin's HTTP/1.minor */
	uint8_t reserved;
	struct addr origin; /* where it came from: the policy may keep some from that */
};
