/*
 * gate_parts.h - the gate's state, for the files that together are the gate and for no others.
 */
#pragma once

#include <ev.h>

#include "daemon/channel.h"
#include "daemon/child.h"
#include "daemon/control.h"
#include "daemon/edition.h"
#include "daemon/gate.h"
#include "daemon/keeper.h"
#include "daemon/listen.h"
#include "daemon/watch.h"

struct gate {
	const struct gate_options *options;
	struct ev_loop *loop;
	struct edition *now, *next;
	struct config *started; /* the first edition's: listeners, workers and uid are as it says */
	uint64_t number;        /* of the edition offered last */
	struct gate_counts counts;
	char refused[200]; /* why the last edit was; "": it is in force */
	/* the edition that a proxy ended with, which is not to be started with */
	char fatal[FILES_DIGEST_TEXT];
	bool follows;                  /* the proxy follows `now` */
	bool served;                   /* some proxy did */
	bool stopping;
	int status;

	int access_log;      /* -1: off */
	int next_access_log; /* for `next`; -1: as it is */
	struct listener_list listeners;
	unsigned workers;
	struct child *child;
	struct keeper *keeper;
	struct watch *watch;
	struct control *control;

	ev_tstamp reload_began;
	bool again; /* another reload was asked for while `next` is there */
	struct control_client *waiting[CONTROL_CLIENTS]; /* for a reload's end */
	size_t n_waiting, n_served; /* the first n_served: for the end of this one */

	ev_signal hup, term, interrupt;
	ev_timer patience, tell, last, facts;
};

/* reload.c: an edition's life. */
void reload(struct gate *g); /* reads the files again, now or after the reload that is under way */
void reload_init(struct gate *g); /* its timers */
struct edition *reload_read(
	struct gate *g, struct error *e) WARN_UNUSED; /* and watches what it is made from */
void reload_reopen_access_log(struct gate *g);
void reload_fill_counts(struct gate *g);
void reload_send_counts(struct gate *g);
void reload_on_proxy_start(void *gate);
void reload_on_proxy_message(void *gate, const struct message *message);
void reload_on_proxy_end(void *gate, const char *how);

/* gate.c */
void gate_end(struct gate *g, int status); /* kills the proxy and leaves the loop */
