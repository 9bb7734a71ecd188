/*
 * bell.h - who waits for what, and is told once.
 *
 * One lock for all queues of a store, held for a few instructions: a waiter is in one queue at
 * most, and can be taken out without knowing which, or whether it still exists.
 */
#pragma once

#include <pthread.h>

#include "daemon/cache/store.h"

struct bell_queue {
	struct store_waiter *_Atomic first;
};

struct bell {
	pthread_mutex_t lock;
	pthread_cond_t rung;       /* an on_ready has returned */
	struct bell_ring *ringing; /* whose on_ready runs now */
};

void bell_init(struct bell *bell);
void bell_fini(struct bell *bell);

void bell_add(struct bell *bell, struct bell_queue *queue, struct store_waiter *waiter);
/* Takes it out; waits while its on_ready runs. */
void bell_cancel(struct bell *bell, struct store_waiter *waiter);

/* Calls all whose `at` is below `end`. */
void bell_ring(struct bell *bell, struct bell_queue *queue, uint64_t end);
/* Calls this one, if it still waits there. */
void bell_ring_one(struct bell *bell, struct bell_queue *queue, struct store_waiter *waiter);
