/*
 * child.h - the proxy process, as the gate keeps it: forked, listened to, started again.
 *
 * One that ends is started again after 0.1 s; one that ends again within a minute after
 * twice as long as last time, up to 10 s.
 */
#pragma once

#include <ev.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/error.h"
#include "daemon/channel.h"

struct child;

struct child_events {
	/* In the new process, with no fd closed yet: forget everything of the gate, drop all
	 * privileges, run.  Signals that come from outside do nothing here, from the first moment
	 * on.  What it returns is the exit status. */
	int (*run)(void *arg, int channel);
	void (*on_start)(void *arg); /* it runs: send it what it needs */
	/* `fd` (-1: none) is closed afterwards. */
	void (*on_message)(void *arg, const struct message *message, int fd);
	void (*on_end)(
		void *arg, const char *how); /* "exit status 1", "signal 11 (Segmentation fault)" */
	void *arg;
};

/* Needs the default loop (SIGCHLD).  NULL: no memory. */
struct child *child_new(struct ev_loop *loop, const struct child_events *events);
void child_free(struct child *child); /* does not end the process; accepts NULL */

/* Starts the process now.  0 or -errno; on_start is called before it returns. */
int child_start(struct child *child, struct error *e) WARN_UNUSED;

/* From now on one that ends is not started again, and one that waits for its start is not started.
 */
void child_retire(struct child *child);

/* 0, -ENOTCONN when none runs, or channel_send()'s answer. */
int child_send(struct child *child, const struct message *message, int fd) WARN_UNUSED;

/* The user that `run` becomes, who may end it where the gate, without CAP_KILL, may not. */
void child_set_uid(struct child *child, unsigned uid);

void child_kill(struct child *child);       /* SIGKILL; fine when none runs */
pid_t child_pid(const struct child *child); /* 0: none runs */
uint64_t child_restarts(const struct child *child);
