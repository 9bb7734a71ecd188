/*
 * names.c - a chained hash table with a list through its kept names, newest last.
 *
 * Pods choose the names that are looked up, so the hash is keyed, with a seed of the table's own:
 * no one can make many names fall into one bucket.
 */
#include "daemon/net/names.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FEWEST_BUCKETS 64

static uint32_t hash_of(const struct names *names, struct text text)
{
	return (uint32_t)siphash(&names->seed, text.at, text.length).words[0];
}

bool names_init(struct names *names, size_t most_kept)
{
	*names = (struct names){.most_kept = most_kept, .n_buckets = FEWEST_BUCKETS};
	if (getrandom(&names->seed, sizeof(names->seed), 0) != sizeof(names->seed))
		return false;
	names->buckets = calloc(names->n_buckets, sizeof(*names->buckets));
	return names->buckets;
}

static void name_free(struct name *name)
{
	free(name->addrs);
	free(name);
}

void names_fini(struct names *names)
{
	for (size_t i = 0; names->buckets && i < names->n_buckets; i++) {
		struct name *next;

		for (struct name *name = names->buckets[i]; name; name = next) {
			next = name->chain;
			name_free(name);
		}
	}
	free(names->buckets);
	*names = (struct names){0};
}

static struct name **bucket_of(const struct names *names, uint32_t hash)
{
	return &names->buckets[hash & (names->n_buckets - 1)];
}

static void list_append(struct names *names, struct name *name)
{
	name->older = names->newest;
	name->newer = NULL;
	*(name->older ? &name->older->newer : &names->oldest) = name;
	names->newest = name;
}

static void list_remove(struct names *names, struct name *name)
{
	*(name->older ? &name->older->newer : &names->oldest) = name->newer;
	*(name->newer ? &name->newer->older : &names->newest) = name->older;
}

struct name *names_find(struct names *names, struct text text)
{
	uint32_t hash = hash_of(names, text);
	struct name *name = *bucket_of(names, hash);

	while (name &&
		(name->hash != hash || !text_equal((struct text){name->text, name->length}, text)))
		name = name->chain;
	if (name && name->kept && name != names->newest) {
		list_remove(names, name);
		list_append(names, name);
	}
	return name;
}

/* Without memory the chains just become longer. */
static void grow(struct names *names)
{
	struct names larger = {.n_buckets = 2 * names->n_buckets};

	larger.buckets = calloc(larger.n_buckets, sizeof(*larger.buckets));
	if (!larger.buckets)
		return;
	for (size_t i = 0; i < names->n_buckets; i++) {
		struct name *next;

		for (struct name *name = names->buckets[i]; name; name = next) {
			struct name **bucket = bucket_of(&larger, name->hash);

			next = name->chain;
			name->chain = *bucket;
			*bucket = name;
		}
	}
	free(names->buckets);
	names->buckets = larger.buckets;
	names->n_buckets = larger.n_buckets;
}

struct name *names_add(struct names *names, struct text text)
{
	struct name **bucket;
	struct name *name;

	CHECK(text.length >= 1 && text.length <= NAME_LENGTH);
	name = calloc(1, sizeof(*name) + text.length + 1);
	if (!name)
		return NULL;
	memcpy(name->text, text.at, text.length);
	name->length = (uint8_t)text.length;
	name->hash = hash_of(names, text);
	if (names->n >= names->n_buckets)
		grow(names);
	bucket = bucket_of(names, name->hash);
	name->chain = *bucket;
	*bucket = name;
	names->n++;
	return name;
}

bool name_set_addrs(struct name *name, const struct addr *addrs, size_t n)
{
	free(name->addrs);
	name->addrs = NULL;
	name->n_addrs = 0;
	if (n == 0)
		return true;
	name->addrs = malloc(n * sizeof(*addrs));
	if (!name->addrs)
		return false;
	memcpy(name->addrs, addrs, n * sizeof(*addrs));
	name->n_addrs = (uint8_t)n;
	return true;
}

void names_keep(struct names *names, struct name *name)
{
	CHECK(!name->kept);
	name->kept = true;
	list_append(names, name);
	names->n_kept++;
	if (names->n_kept > names->most_kept)
		names_remove(names, names->oldest);
}

void names_pin(struct names *names, struct name *name)
{
	CHECK(name->kept);
	name->kept = false;
	list_remove(names, name);
	names->n_kept--;
}

void names_remove(struct names *names, struct name *name)
{
	struct name **at = bucket_of(names, name->hash);

	if (name->kept)
		names_pin(names, name);
	while (*at != name)
		at = &(*at)->chain;
	*at = name->chain;
	names->n--;
	name_free(name);
}
