/*
 * bell.c - queues of waiters.
 */
#include "daemon/cache/bell.h"

#include <stdatomic.h>

#include "base/check.h"

/* On the stack of who calls on_ready. */
struct bell_ring {
	struct store_waiter *waiter;
	struct bell_ring *next;
};

void bell_init(struct bell *bell)
{
	pthread_mutex_init(&bell->lock, NULL);
	pthread_cond_init(&bell->rung, NULL);
	bell->ringing = NULL;
}

void bell_fini(struct bell *bell)
{
	CHECK(!bell->ringing);
	pthread_cond_destroy(&bell->rung);
	pthread_mutex_destroy(&bell->lock);
}

static struct store_waiter *first(struct bell_queue *queue)
{
	return atomic_load_explicit(&queue->first, memory_order_relaxed);
}

static void set_first(struct bell_queue *queue, struct store_waiter *waiter)
{
	atomic_store_explicit(&queue->first, waiter, memory_order_relaxed);
}

/* At the end: who came first is served first. */
static void link_waiter(struct bell_queue *queue, struct store_waiter *waiter)
{
	struct store_waiter *head = first(queue);

	waiter->queue = queue;
	waiter->next = NULL;
	if (!head) {
		waiter->last = waiter;
		set_first(queue, waiter);
		return;
	}
	waiter->last = head->last;
	head->last->next = waiter;
	head->last = waiter;
}

/* `last` is the one before, and the queue's last for the first. */
static void unlink_waiter(struct store_waiter *waiter)
{
	struct bell_queue *queue = waiter->queue;
	struct store_waiter *head = first(queue);

	if (waiter == head)
		set_first(queue, waiter->next);
	else
		waiter->last->next = waiter->next;
	if (waiter->next)
		waiter->next->last = waiter->last;
	else if (waiter != head)
		head->last = waiter->last;
	waiter->queue = NULL;
}

void bell_add(struct bell *bell, struct bell_queue *queue, struct store_waiter *waiter)
{
	pthread_mutex_lock(&bell->lock);
	CHECK(!waiter->queue);
	link_waiter(queue, waiter);
	pthread_mutex_unlock(&bell->lock);
}

static bool is_ringing(const struct bell *bell, const struct store_waiter *waiter)
{
	for (const struct bell_ring *r = bell->ringing; r; r = r->next)
		if (r->waiter == waiter)
			return true;
	return false;
}

void bell_cancel(struct bell *bell, struct store_waiter *waiter)
{
	pthread_mutex_lock(&bell->lock);
	if (waiter->queue)
		unlink_waiter(waiter);
	while (is_ringing(bell, waiter))
		pthread_cond_wait(&bell->rung, &bell->lock);
	pthread_mutex_unlock(&bell->lock);
}

static void call(struct bell *bell, struct store_waiter *waiter)
{
	struct bell_ring ring = {.waiter = waiter, .next = bell->ringing};
	struct bell_ring **at = &bell->ringing;

	unlink_waiter(waiter);
	bell->ringing = &ring;
	pthread_mutex_unlock(&bell->lock);
	waiter->on_ready(waiter);
	pthread_mutex_lock(&bell->lock);
	while (*at != &ring)
		at = &(*at)->next;
	*at = ring.next;
	pthread_cond_broadcast(&bell->rung);
}

/* Those that are called move to a queue of their own first, so that who begins to wait meanwhile
 * is not called as well, and each is looked at once. */
void bell_ring(struct bell *bell, struct bell_queue *queue, uint64_t end)
{
	struct bell_queue due = {NULL};
	struct store_waiter *next;

	if (!first(queue))
		return;
	pthread_mutex_lock(&bell->lock);
	for (struct store_waiter *w = first(queue); w; w = next) {
		next = w->next;
		if (w->at >= end)
			continue;
		unlink_waiter(w);
		link_waiter(&due, w);
	}
	while (first(&due))
		call(bell, first(&due));
	pthread_mutex_unlock(&bell->lock);
}

void bell_ring_one(struct bell *bell, struct bell_queue *queue, struct store_waiter *waiter)
{
	pthread_mutex_lock(&bell->lock);
	for (struct store_waiter *w = first(queue); w; w = w->next) {
		if (w != waiter)
			continue;
		call(bell, w);
		break;
	}
	pthread_mutex_unlock(&bell->lock);
}
