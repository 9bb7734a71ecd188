/*
 * tombs.h - keys that were removed while the disk is still being read.
 *
 * What is found on disk under them later is older, and stays removed.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOMBS_MAX 8192

struct tombs {
	pthread_mutex_t lock;
	uint64_t *hashes; /* an open table; 0: free */
	size_t count;
	bool full; /* too many: all counts as removed */
	bool open; /* still needed */
};

void tombs_init(struct tombs *tombs, bool open);
void tombs_fini(struct tombs *tombs);

void tombs_add(struct tombs *tombs, uint64_t hash);
bool tombs_have(struct tombs *tombs, uint64_t hash);
void tombs_close(struct tombs *tombs); /* nothing is read any more */
