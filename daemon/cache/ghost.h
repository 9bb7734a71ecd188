/*
 * ghost.h - whose objects left the small queue lately without having been asked for again.
 *
 * A fixed table of fingerprints, forgotten first in, first out, about: in sets of sixteen.  Two
 * keys may look the same; then an object enters the main queue too early, and no more.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ghost {
	pthread_mutex_t lock;
	uint32_t (*sets)[16];
	size_t n_sets; /* a power of two */
};

bool ghost_init(struct ghost *ghost, size_t entries); /* false: no memory */
void ghost_fini(struct ghost *ghost);

void ghost_add(struct ghost *ghost, uint64_t hash);
/* Was it there?  It is not any more. */
bool ghost_take(struct ghost *ghost, uint64_t hash);
