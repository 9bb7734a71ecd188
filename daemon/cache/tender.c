/*
 * tender.c - the store's threads: the keeper, and in disk mode the reader.
 */
#include "base/clock.h"
#include "daemon/cache/store_parts.h"

#include <signal.h>
#include <time.h>

static bool is_stopping(const struct store *store)
{
	return atomic_load(&store->stopping);
}

static void keep(struct store *store, time_t *synced)
{
	bool disk = store->segments.disk, tick = disk && (time_t)clock_monotonic() != *synced;

	if (disk)
		disk_tend(store);
	if (tick) {
		*synced = (time_t)clock_monotonic();
		disk_look(store);
	}
	if (disk)
		disk_sync(store, tick);
	segments_free_drained(&store->segments);
	room_make(store);
	remove_purge(store);
}

static void *keeper_run(void *arg)
{
	struct store *store = arg;
	time_t synced = 0;

	if (atomic_load(&store->loading))
		recover_load(store);
	while (!is_stopping(store)) {
		keep(store, &synced);
		wake_wait(&store->wake_keeper, store->segments.disk ? 1 : -1);
	}
	if (store->segments.disk) {
		disk_tend(store);
		disk_sync(store, true);
	}
	return NULL;
}

/* Signals are for the thread that started us. */
bool tender_start(struct store *store)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	store->has_keeper = pthread_create(&store->keeper, NULL, keeper_run, store) == 0;
	if (store->segments.disk && store->has_keeper)
		store->has_reader = pthread_create(&store->reader, NULL, reader_run, store) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return store->has_keeper && (store->has_reader || !store->segments.disk);
}

void tender_stop(struct store *store)
{
	atomic_store(&store->stopping, true);
	wake_up(&store->wake_reader);
	wake_up(&store->wake_keeper);
	if (store->has_reader)
		pthread_join(store->reader, NULL);
	if (store->has_keeper)
		pthread_join(store->keeper, NULL);
}
