/*
 * ghost.c - a table of fingerprints.
 */
#include "daemon/cache/ghost.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 16

bool ghost_init(struct ghost *ghost, size_t entries)
{
	pthread_mutex_init(&ghost->lock, NULL);
	for (ghost->n_sets = 64; ghost->n_sets * WAYS < entries;)
		ghost->n_sets *= 2;
	ghost->sets = calloc(ghost->n_sets, sizeof(ghost->sets[0]));
	return ghost->sets != NULL;
}

void ghost_fini(struct ghost *ghost)
{
	free(ghost->sets);
	pthread_mutex_destroy(&ghost->lock);
}

/* The index uses the lowest bits, so the set is taken from above them. */
static uint32_t *set_of(const struct ghost *ghost, uint64_t hash)
{
	return ghost->sets[(hash >> 8) & (ghost->n_sets - 1)];
}

static uint32_t fingerprint(uint64_t hash)
{
	return (uint32_t)(hash >> 32) | 1; /* 0 is an empty place */
}

void ghost_add(struct ghost *ghost, uint64_t hash)
{
	uint32_t *set = set_of(ghost, hash);

	pthread_mutex_lock(&ghost->lock);
	memmove(set + 1, set, (WAYS - 1) * sizeof(*set));
	set[0] = fingerprint(hash);
	pthread_mutex_unlock(&ghost->lock);
}

bool ghost_take(struct ghost *ghost, uint64_t hash)
{
	uint32_t *set = set_of(ghost, hash), wanted = fingerprint(hash);
	bool found = false;

	pthread_mutex_lock(&ghost->lock);
	for (int i = 0; i < WAYS && !found; i++) {
		if (set[i] != wanted)
			continue;
		memmove(set + i, set + i + 1, (size_t)(WAYS - 1 - i) * sizeof(*set));
		set[WAYS - 1] = 0;
		found = true;
	}
	pthread_mutex_unlock(&ghost->lock);
	return found;
}
