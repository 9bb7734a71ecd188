/*
 * fetch.h - the body of a response on its way from the origin into the cache.
 *
 * It has taken the origin's connection over from the exchange that asked, and goes on without it
 * when that is worth it.  When the cache cannot take the rest (it is larger than allowed, or
 * there is no room), the client that asked may have the connection back.
 */
#pragma once

#include <sys/queue.h>

#include "daemon/cache/store.h"
#include "daemon/http/chunk.h"
#include "daemon/proxy/client.h"

struct flight;

/* Takes over c's origin (whose `in` begins with the response's head) and runs; the fill stays the
 * caller's, the flight (may be NULL) is told when it is over.  NULL: no memory, all is as it was.
 */
struct fetch *fetch_new(
	struct client *c, const struct head *response, struct fill *fill, struct flight *flight);

/* The client that began it goes. */
void fetch_leave(struct fetch *fetch);

/* The cache takes no more, and the client has read all there is, `at` bytes, of a body that it gets
 * to its end: it gets the connection back, and its exchange the rest of the flow.  False: it is not
 * so. */
bool fetch_hand_back(struct fetch *fetch, struct exchange *x, uint64_t at, bool rechunk);

void fetch_drive(struct fetch *fetch); /* may free it; for origin.c */
void fetches_close_all(struct worker *worker);
