/*
 * learning.h - what the gate takes from the proxy's answers of DNS: checked, and counted as
 * addresses of a partner.
 *
 * A proxy that somebody else has taken over can claim addresses here, and no more than that: public
 * ones, for names that the operator has written under `nat = resolve`, in bounded numbers.
 */
#pragma once

#include <ev.h>

#include "base/check.h"
#include "daemon/channel.h"
#include "daemon/gate/edition.h"
#include "daemon/datapath/learnt.h"
#include "daemon/datapath/nat_metrics.h"

/* Seconds from a change to on_change, so that many are one, and a proxy that somebody else has
 * taken over cannot keep the gate planning. */
#define LEARNING_DEBOUNCE 0.25

struct learning;

/* `on_change` is called from the loop after addresses came or went, or all names were asked for.
 * False: not now; it is called again LEARNING_DEBOUNCE later.  NULL: no memory. */
struct learning *learning_new(struct ev_loop *loop, bool (*on_change)(void *arg), void *arg);
void learning_free(struct learning *learning); /* accepts NULL */

/* `edition` is in force: from now on messages of its number count.  It must live until the next
 * call, or learning_free(). */
void learning_follow(struct learning *learning, const struct edition *edition);

/* At the start, before anything is changed there: takes up the addresses that an earlier gate has
 * noted in the kernel's table for sections of the edition that is followed.  0 or -errno. */
int learning_recover(struct learning *learning, struct error *e) WARN_UNUSED;

/* Another proxy speaks from now on. */
void learning_begin(struct learning *learning);

/* A MESSAGE_LEARNT or LEARNT_ALL.  What may not be is dropped; the first of each proxy and
 * generation is logged.
 */
void learning_take(struct learning *learning, const struct message *message);

/* NAT_LEARNT_ADDRESSES, of each partner with `nat = resolve`. */
void learning_metrics(const struct learning *learning, struct nat_metrics *page);

/* Has every name of the edition in force been asked for, by any proxy?  Until then addresses may be
 * missing that were known to a gate of before, or that a new name has. */
bool learning_is_complete(const struct learning *learning);

const struct learnt *learning_table(const struct learning *learning);
