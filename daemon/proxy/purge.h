/*
 * purge.h - what an operator wants out of the cache.
 */
#pragma once

#include <ev.h>

#include "daemon/cache/store.h"

struct purge;

/* `command` is "url URL", "prefix URL", "partner NAME" or "tag TAG".  Calls on_done once, in
 * `loop`, with the number of responses that were removed, and is over then.  NULL with `e` set. */
struct purge *purge_start(struct ev_loop *loop, struct store *store, const char *command,
	void (*on_done)(void *arg, size_t removed), void *arg, struct error *e);

/* The store is gone: on_done is not called any more.  Accepts NULL. */
void purge_free(struct purge *purge);
