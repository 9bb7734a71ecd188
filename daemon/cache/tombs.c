/*
 * tombs.c - a bounded set of digests.
 */
#include "daemon/cache/tombs.h"

#include <stdlib.h>

#define PLACES (TOMBS_MAX * 2)

void tombs_init(struct tombs *tombs, bool open)
{
	pthread_mutex_init(&tombs->lock, NULL);
	tombs->hashes = NULL;
	tombs->count = 0;
	tombs->full = false;
	tombs->open = open;
}

void tombs_fini(struct tombs *tombs)
{
	free(tombs->hashes);
	pthread_mutex_destroy(&tombs->lock);
}

/* Where it is, or would be. */
static uint64_t *place(const struct tombs *tombs, uint64_t hash)
{
	size_t i = hash % PLACES;

	while (tombs->hashes[i] && tombs->hashes[i] != hash)
		i = (i + 1) % PLACES;
	return &tombs->hashes[i];
}

static void add(struct tombs *tombs, uint64_t hash)
{
	uint64_t *at;

	if (!tombs->hashes)
		tombs->hashes = calloc(PLACES, sizeof(*tombs->hashes));
	if (!tombs->hashes || tombs->count == TOMBS_MAX || hash == 0) {
		tombs->full = true;
		return;
	}
	at = place(tombs, hash);
	tombs->count += *at == 0;
	*at = hash;
}

void tombs_add(struct tombs *tombs, uint64_t hash)
{
	pthread_mutex_lock(&tombs->lock);
	if (tombs->open && !tombs->full)
		add(tombs, hash);
	pthread_mutex_unlock(&tombs->lock);
}

bool tombs_have(struct tombs *tombs, uint64_t hash)
{
	bool have;

	pthread_mutex_lock(&tombs->lock);
	have = tombs->full || (tombs->hashes && *place(tombs, hash) != 0);
	pthread_mutex_unlock(&tombs->lock);
	return have;
}

void tombs_close(struct tombs *tombs)
{
	pthread_mutex_lock(&tombs->lock);
	tombs->open = false;
	free(tombs->hashes);
	tombs->hashes = NULL;
	pthread_mutex_unlock(&tombs->lock);
}
