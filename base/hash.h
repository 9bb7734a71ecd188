/*
 * hash.h - a hash table of items that embed their link.
 *
 * It owns none of them and compares nothing: it finds by a 64-bit key, which the caller has made
 * from what strangers cannot choose (a keyed digest), and several items may have the same one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct hash_item {
	struct hash_item *next;
	uint64_t key;
};

/* {0} is empty. */
struct hash {
	struct hash_item **buckets;
	size_t n_buckets; /* 0 or a power of two */
	size_t n;
};

void hash_fini(struct hash *hash); /* forgets the items */

/* False: no memory, and the item is not in. */
bool hash_add(struct hash *hash, struct hash_item *item, uint64_t key) WARN_UNUSED;
void hash_remove(struct hash *hash, struct hash_item *item);

/* All items with `key`, one after the other, NULL ends. */
struct hash_item *hash_first(const struct hash *hash, uint64_t key);
struct hash_item *hash_next(const struct hash_item *item);

/* Calls `each` for all in no order; it may remove and free the item it is given, and no other. */
void hash_each(const struct hash *hash, void (*each)(void *arg, struct hash_item *item), void *arg);
