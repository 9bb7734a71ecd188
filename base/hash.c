#include "base/hash.h"

#include <stdlib.h>

#define BUCKETS_LEAST 64

void hash_fini(struct hash *hash)
{
	free(hash->buckets);
	*hash = (struct hash){0};
}

static struct hash_item **bucket_of(const struct hash *hash, uint64_t key)
{
	return &hash->buckets[key & (hash->n_buckets - 1)];
}

static void push(struct hash *hash, struct hash_item *item)
{
	struct hash_item **bucket = bucket_of(hash, item->key);

	item->next = *bucket;
	*bucket = item;
}

/* Without memory for more buckets it goes on with longer chains. */
static void grow(struct hash *hash)
{
	size_t n = hash->n_buckets ? 2 * hash->n_buckets : BUCKETS_LEAST;
	struct hash old = *hash;
	struct hash_item **buckets = calloc(n, sizeof(*buckets));

	if (!buckets)
		return;
	hash->buckets = buckets;
	hash->n_buckets = n;
	for (size_t i = 0; i < old.n_buckets; i++)
		for (struct hash_item *item = old.buckets[i], *next; item; item = next) {
			next = item->next;
			push(hash, item);
		}
	free(old.buckets);
}

bool hash_add(struct hash *hash, struct hash_item *item, uint64_t key)
{
	if (hash->n >= hash->n_buckets)
		grow(hash);
	if (hash->n_buckets == 0)
		return false;
	item->key = key;
	push(hash, item);
	hash->n++;
	return true;
}

void hash_remove(struct hash *hash, struct hash_item *item)
{
	struct hash_item **at = bucket_of(hash, item->key);

	while (*at && *at != item)
		at = &(*at)->next;
	CHECK(*at);
	*at = item->next;
	hash->n--;
}

static struct hash_item *with_key(struct hash_item *item, uint64_t key)
{
	while (item && item->key != key)
		item = item->next;
	return item;
}

struct hash_item *hash_first(const struct hash *hash, uint64_t key)
{
	return hash->n_buckets ? with_key(*bucket_of(hash, key), key) : NULL;
}

struct hash_item *hash_next(const struct hash_item *item)
{
	return with_key(item->next, item->key);
}

void hash_each(const struct hash *hash, void (*each)(void *arg, struct hash_item *item), void *arg)
{
	for (size_t i = 0; i < hash->n_buckets; i++)
		for (struct hash_item *item = hash->buckets[i], *next; item; item = next) {
			next = item->next;
			each(arg, item);
		}
}
