/*
 * answerer.h - a gateway's side of the probes: it answers, and tells those who asked lately when
 * what it has changes.
 */
#pragma once

#include <ev.h>

#include "base/error.h"
#include "daemon/peers/peer_message.h"

#define ANSWERER_PEERS                                                                             \
	1024 /* remembered; beyond, the one that asked the longest ago is forgotten */

struct answerer;

/* NULL: no memory. */
struct answerer *answerer_new(struct ev_loop *loop);
void answerer_free(struct answerer *answerer); /* accepts NULL */

/* Answers at `at`, which the node may not have yet; NULL: nowhere.  The same place as before stays
 * open.  0 or -errno. */
int answerer_listen(
	struct answerer *answerer, const struct endpoint *at, struct error *e) WARN_UNUSED;

/* What answers say from now on; type and id do not matter.  With another `serial` those who asked
 * within the last `lately` seconds are told: now, and twice more, since datagrams get lost. */
void answerer_say(struct answerer *answerer, const struct peer_message *say, double lately);
