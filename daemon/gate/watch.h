/*
 * watch.h - says when files that egretd was made from have changed on disk.
 *
 * Directories are watched, not files: an editor renames a new file over the old one, Kubernetes
 * swaps a `..data` symlink, `rm -r` and `mkdir` make the whole path anew.  Every directory on
 * the way to a file is watched, as the path is written and as it resolves, but only names
 * on that way count: a log file that grows in the same directory does not.
 */
#pragma once

#include <ev.h>
#include <time.h>

#include "base/check.h"
#include "base/error.h"

#define WATCH_QUIET 0.2   /* seconds without another change before on_change */
#define WATCH_LONGEST 2.0 /* seconds after the first change at which it comes anyway */

struct watch;

/* `on_change` is called from the loop, once for a burst.  The new files are watched already when it
 * is called, so what it reads cannot become stale unnoticed.  NULL: no memory. */
struct watch *watch_new(struct ev_loop *loop, void (*on_change)(void *arg), void *arg);
void watch_free(struct watch *watch); /* accepts NULL */

/* Watches these absolute paths and no others.  One that ends in "/" is a directory of which
 * every *.ini counts.  A path need not exist.  What changed at or after `since` (CLOCK_REALTIME),
 * when nobody was watching yet, counts as a change.  The same paths again: nothing is done.
 * 0, or -errno with the old ones still watched (out of inotify watches, no memory). */
int watch_set(struct watch *watch, const char *const *paths, size_t n, const struct timespec *since,
	struct error *e) WARN_UNUSED;
