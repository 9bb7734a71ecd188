/*
 * flights.h - what is being asked of origins for the cache: one request for all who want it.
 *
 * The first to ask for a key leads; others follow and wait for its response head.  When that can be
 * stored, all read what is being written, whatever their worker; when not, all of them go on at
 * once, each on its own, and the key is remembered for a while as one that nobody has to wait for.
 * When the leader goes or fails, one of them leads once more; after that each is on its own.
 */
#pragma once

#include "daemon/cache/store.h"

struct flights;
struct flight; /* by reference */

#define FLIGHTS_REMEMBERED 4096 /* keys not to wait for; beyond that the oldest is forgotten */
#define FLIGHTS_MEMORY 10.0     /* seconds that one is remembered */

struct flights *flights_new(void); /* NULL: no memory */
void flights_free(struct flights *flights);

enum flight_part {
	FLIGHT_LEAD,   /* ask; flight_fills(), flight_over() or flight_pass() tell the others */
	FLIGHT_FOLLOW, /* flight_wait() until it is known */
	FLIGHT_ALONE,  /* ask for yourself: it is known that waiting is no use, or no memory */
};
/* *flight is a reference, but for FLIGHT_ALONE. `now`: monotonic seconds. */
enum flight_part flights_join(
	struct flights *flights, struct text key, double now, struct flight **flight);

enum flight_state {
	FLIGHT_WAITS,
	FLIGHT_FILLS, /* *fill is a reference of the caller's */
	FLIGHT_OVER,  /* look it up again */
	FLIGHT_PASS,  /* not to be had together: ask for yourself */
};
enum flight_state flight_look(struct flight *flight, struct fill **fill);

/* The waiter is told of the next change.  False: it is not FLIGHT_WAITS any more. */
bool flight_wait(struct flight *flight, struct store_waiter *waiter);
void flight_cancel(struct flight *flight, struct store_waiter *waiter);

/* For the leader; the first of these counts, but FLIGHT_OVER may follow FLIGHT_FILLS. */
void flight_fills(struct flight *flight, struct fill *fill);
void flight_over(struct flight *flight);
void flight_pass(struct flight *flight, double now);

/* Nobody else has been given its fill: then it is over, and nobody will be. */
bool flight_leave(struct flight *flight);

/* Who asks for this key from now on does not follow what is on its way; NULL: for any key. */
void flights_forget(struct flights *flights, const struct text *key);

struct flight *flight_get(struct flight *flight);
void flight_put(struct flight *flight); /* accepts NULL */
