/*
 * ready.h - who of a worker may go on, as told by another thread.
 */
#pragma once

#include <ev.h>
#include <pthread.h>
#include <sys/queue.h>

#include "daemon/cache/store.h"

struct ready_list {
	struct ev_loop *loop;
	pthread_mutex_t lock;
	TAILQ_HEAD(, ready) ready;
	ev_async wake;
};

/* Embedded in whoever waits.  It waits for one thing at a time. */
struct ready {
	struct store_waiter waiter; /* for store_wait(), flight_wait() ... */
	struct ready_list *list;
	void (*on_ready)(struct ready *ready); /* in the worker's loop; may free it */
	bool told;                             /* in the list, under its lock */
	TAILQ_ENTRY(ready) link;
};

void ready_list_init(struct ready_list *list, struct ev_loop *loop);
void ready_list_fini(struct ready_list *list); /* nobody waits any more */

void ready_init(struct ready *ready, struct ready_list *list, void (*on_ready)(struct ready *));

/* It is not waited for any more: after it was cancelled where it waits. */
void ready_cancel(struct ready *ready);
