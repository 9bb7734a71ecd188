/*
 * learn.h - asks DNS for the names of partners with `nat = resolve`, again and again, and tells the
 * gate.
 *
 * In the main thread's loop, with a resolver of its own, so that no request waits for it.  A name
 * is asked again when the TTL of its answer is over, in 1 s to 5 min; a failure is no answer, and
 * retried after [dns] negative-ttl, then after twice as long, up to a minute.
 */
#pragma once

#include <ev.h>

#include "base/check.h"
#include "daemon/channel.h"
#include "daemon/proxy/generation.h"

struct learn;

/* `tell` gets each MESSAGE_LEARNT, and LEARNT_ALL once a generation that has names; it returns 0,
 * or -EAGAIN: not now, the answer is kept and told later.  NULL: no memory. */
struct learn *learn_new(
	struct ev_loop *loop, int (*tell)(void *arg, const struct message *message), void *arg);
void learn_free(struct learn *learn); /* accepts NULL */

/* The names of `generation` from now on, and no others. */
void learn_follow(struct learn *learn, struct generation *generation);
