#include "daemon/proxy/ready.h"

#define TURNS 1024 /* told in one turn of the loop; the rest in the next one */

static struct ready *take(struct ready_list *list)
{
	struct ready *ready;

	pthread_mutex_lock(&list->lock);
	ready = TAILQ_FIRST(&list->ready);
	if (ready) {
		TAILQ_REMOVE(&list->ready, ready, link);
		ready->told = false;
	}
	pthread_mutex_unlock(&list->lock);
	return ready;
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int revents)
{
	struct ready_list *list = wake->data;
	struct ready *ready;

	(void)revents;
	for (int i = 0; i < TURNS; i++) {
		ready = take(list);
		if (!ready)
			return;
		ready->on_ready(ready);
	}
	ev_async_send(loop, wake);
}

/* From any thread. */
static void on_waiter(struct store_waiter *waiter)
{
	struct ready *ready = (struct ready *)((char *)waiter - offsetof(struct ready, waiter));
	struct ready_list *list = ready->list;

	pthread_mutex_lock(&list->lock);
	if (!ready->told)
		TAILQ_INSERT_TAIL(&list->ready, ready, link);
	ready->told = true;
	pthread_mutex_unlock(&list->lock);
	ev_async_send(list->loop, &list->wake);
}

void ready_list_init(struct ready_list *list, struct ev_loop *loop)
{
	list->loop = loop;
	pthread_mutex_init(&list->lock, NULL);
	TAILQ_INIT(&list->ready);
	ev_async_init(&list->wake, on_wake);
	list->wake.data = list;
	ev_async_start(loop, &list->wake);
}

void ready_list_fini(struct ready_list *list)
{
	if (!list->loop)
		return;
	ev_async_stop(list->loop, &list->wake);
	pthread_mutex_destroy(&list->lock);
}

void ready_init(struct ready *ready, struct ready_list *list, void (*on_ready)(struct ready *))
{
	*ready = (struct ready){.waiter.on_ready = on_waiter, .list = list, .on_ready = on_ready};
}

void ready_cancel(struct ready *ready)
{
	pthread_mutex_lock(&ready->list->lock);
	if (ready->told)
		TAILQ_REMOVE(&ready->list->ready, ready, link);
	ready->told = false;
	pthread_mutex_unlock(&ready->list->lock);
}
