/*
 * A flight is found by its key while it waits or fills, and then for a while when it was a
 * pass.  One mutex is enough: it is held for a few pointers, and only by requests that miss.
 */
#include "daemon/proxy/flights.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "base/hash.h"
#include "base/siphash.h"

struct flight {
	struct hash_item item;
	struct flights *flights;
	unsigned references;
	enum flight_state state;
	bool listed;   /* found by its key */
	bool followed; /* its fill was given to somebody */
	struct fill *fill;
	struct store_waiter *waiters;
	double passed; /* when it became FLIGHT_PASS */
	TAILQ_ENTRY(flight) remembered;
	size_t length;
	char key[];
};

TAILQ_HEAD(flight_list, flight);

struct flights {
	pthread_mutex_t lock;
	struct siphash_key secret;
	struct hash by_key;
	struct flight_list passes; /* the oldest first; each holds a reference */
	size_t n_passes;
};

struct flights *flights_new(void)
{
	struct flights *f = calloc(1, sizeof(*f));

	if (!f || getrandom(&f->secret, sizeof(f->secret), 0) != sizeof(f->secret)) {
		free(f);
		return NULL;
	}
	pthread_mutex_init(&f->lock, NULL);
	TAILQ_INIT(&f->passes);
	return f;
}

static void unlist(struct flight *flight)
{
	if (flight->listed)
		hash_remove(&flight->flights->by_key, &flight->item);
	flight->listed = false;
}

/* The lock is held. */
static void drop(struct flight *flight)
{
	if (--flight->references > 0)
		return;
	unlist(flight);
	CHECK(!flight->waiters);
	fill_put(flight->fill);
	free(flight);
}

static void forget(struct flights *f, struct flight *flight)
{
	TAILQ_REMOVE(&f->passes, flight, remembered);
	f->n_passes--;
	unlist(flight);
	drop(flight);
}

void flights_free(struct flights *f)
{
	if (!f)
		return;
	while (!TAILQ_EMPTY(&f->passes))
		forget(f, TAILQ_FIRST(&f->passes));
	hash_fini(&f->by_key);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static struct flight *find(struct flights *f, uint64_t hash, struct text key)
{
	struct hash_item *item = hash_first(&f->by_key, hash);

	for (; item; item = hash_next(item)) {
		struct flight *flight = (struct flight *)item;

		if (text_equal((struct text){flight->key, flight->length}, key))
			return flight;
	}
	return NULL;
}

static struct flight *begin(struct flights *f, uint64_t hash, struct text key)
{
	struct flight *flight = calloc(1, sizeof(*flight) + key.length);

	if (!flight || !hash_add(&f->by_key, &flight->item, hash)) {
		free(flight);
		return NULL;
	}
	flight->flights = f;
	flight->references = 1;
	flight->listed = true;
	flight->length = key.length;
	memcpy(flight->key, key.at, key.length);
	return flight;
}

enum flight_part flights_join(
	struct flights *f, struct text key, double now, struct flight **flight)
{
	uint64_t hash = siphash(&f->secret, key.at, key.length).words[0];
	enum flight_part part = FLIGHT_FOLLOW;
	struct flight *there;

	pthread_mutex_lock(&f->lock);
	there = find(f, hash, key);
	if (there && there->state == FLIGHT_PASS) {
		part = FLIGHT_ALONE;
		if (there->passed + FLIGHTS_MEMORY < now) {
			forget(f, there);
			there = NULL;
		}
	}
	if (!there) {
		there = begin(f, hash, key);
		part = there ? FLIGHT_LEAD : FLIGHT_ALONE;
	} else if (part == FLIGHT_FOLLOW) {
		there->references++;
	}
	*flight = part == FLIGHT_ALONE ? NULL : there;
	pthread_mutex_unlock(&f->lock);
	return part;
}

enum flight_state flight_look(struct flight *flight, struct fill **fill)
{
	enum flight_state state;

	pthread_mutex_lock(&flight->flights->lock);
	state = flight->state;
	*fill = state == FLIGHT_FILLS ? fill_get(flight->fill) : NULL;
	flight->followed |= *fill != NULL;
	pthread_mutex_unlock(&flight->flights->lock);
	return state;
}

bool flight_wait(struct flight *flight, struct store_waiter *waiter)
{
	bool waits;

	pthread_mutex_lock(&flight->flights->lock);
	waits = flight->state == FLIGHT_WAITS;
	if (waits) {
		waiter->next = flight->waiters;
		flight->waiters = waiter;
	}
	pthread_mutex_unlock(&flight->flights->lock);
	return waits;
}

void flight_cancel(struct flight *flight, struct store_waiter *waiter)
{
	struct store_waiter **at;

	pthread_mutex_lock(&flight->flights->lock);
	for (at = &flight->waiters; *at; at = &(*at)->next) {
		if (*at == waiter) {
			*at = waiter->next;
			waiter->next = NULL;
			break;
		}
	}
	pthread_mutex_unlock(&flight->flights->lock);
}

/* With the lock held: who waits is told before it could be gone. */
static void become(struct flight *flight, enum flight_state state)
{
	struct store_waiter *waiter = flight->waiters, *next;

	flight->state = state;
	flight->waiters = NULL;
	if (state != FLIGHT_FILLS) { /* it is given to nobody any more, and holds room */
		fill_put(flight->fill);
		flight->fill = NULL;
	}
	for (; waiter; waiter = next) {
		next = waiter->next;
		waiter->next = NULL;
		waiter->on_ready(waiter);
	}
}

void flight_fills(struct flight *flight, struct fill *fill)
{
	pthread_mutex_lock(&flight->flights->lock);
	if (flight->state == FLIGHT_WAITS) {
		flight->fill = fill_get(fill);
		become(flight, FLIGHT_FILLS);
	}
	pthread_mutex_unlock(&flight->flights->lock);
}

/* The lock is held. */
static void over(struct flight *flight)
{
	if (flight->state != FLIGHT_WAITS && flight->state != FLIGHT_FILLS)
		return;
	unlist(flight);
	become(flight, FLIGHT_OVER);
}

void flight_over(struct flight *flight)
{
	pthread_mutex_lock(&flight->flights->lock);
	over(flight);
	pthread_mutex_unlock(&flight->flights->lock);
}

void flight_pass(struct flight *flight, double now)
{
	struct flights *f = flight->flights;

	pthread_mutex_lock(&f->lock);
	if (flight->state == FLIGHT_WAITS || flight->state == FLIGHT_FILLS) {
		become(flight, FLIGHT_PASS);
		flight->passed = now;
		flight->references++;
		TAILQ_INSERT_TAIL(&f->passes, flight, remembered);
		if (++f->n_passes > FLIGHTS_REMEMBERED)
			forget(f, TAILQ_FIRST(&f->passes));
	}
	pthread_mutex_unlock(&f->lock);
}

bool flight_leave(struct flight *flight)
{
	bool followed;

	pthread_mutex_lock(&flight->flights->lock);
	followed = flight->followed;
	if (!followed)
		over(flight);
	pthread_mutex_unlock(&flight->flights->lock);
	return !followed;
}

static void let_go(void *arg, struct hash_item *item)
{
	struct flight *flight = (struct flight *)item;

	(void)arg;
	if (flight->state != FLIGHT_PASS)
		unlist(flight);
}

void flights_forget(struct flights *f, const struct text *key)
{
	struct flight *flight;

	pthread_mutex_lock(&f->lock);
	if (!key)
		hash_each(&f->by_key, let_go, NULL);
	else if ((flight = find(f, siphash(&f->secret, key->at, key->length).words[0], *key)) !=
		 NULL)
		let_go(NULL, &flight->item);
	pthread_mutex_unlock(&f->lock);
}

struct flight *flight_get(struct flight *flight)
{
	pthread_mutex_lock(&flight->flights->lock);
	flight->references++;
	pthread_mutex_unlock(&flight->flights->lock);
	return flight;
}

void flight_put(struct flight *flight)
{
	struct flights *f;

	if (!flight)
		return;
	f = flight->flights;
	pthread_mutex_lock(&f->lock);
	drop(flight);
	pthread_mutex_unlock(&f->lock);
}
