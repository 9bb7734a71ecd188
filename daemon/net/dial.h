/*
 * dial.h - a TCP connection to the first of several addresses that answers (RFC 8305).
 *
 * The caller has checked the addresses; these and no others are dialled.
 */
#pragma once

#include <ev.h>

#include "base/addr.h"
#include "daemon/net/resolver.h"

#define DIAL_STAGGER 0.25 /* seconds between attempts (RFC 8305 5) */
#define DIAL_OPEN 4       /* attempts open at the same time; one more closes the oldest */

struct dial_options {
	const struct addr *addrs; /* copied; interleaved by version here, the first one's version
				     first (RFC 8305 4) */
	size_t n_addrs;           /* 1 to RESOLVER_ADDRS */
	uint16_t port;
	const struct addr *bind4, *bind6; /* source addresses, copied; NULL: the kernel's choice.
					   * When bind is set for only one version, the other is not
					   * dialled: it would leave from a wrong address */
	double timeout;                   /* seconds, all attempts together */
};

/* One dial, embedded in whoever waits (or allocated for the time of the dial).  Zeroed before its
 * first start. */
struct dial {
	int fd;    /* the connected socket, the taker's from then on; -1 otherwise */
	int error; /* 0; ETIMEDOUT; or errno of the last attempt that failed, where what a host or a
		    * router said (ECONNREFUSED ...) outweighs what never left (ENETUNREACH ...).
		    * With a bound source: EADDRNOTAVAIL: it is not on this node; EADDRINUSE: it has
		    * no free port towards the origin */
	struct endpoint origin; /* who answered; on failure whom `error` is about */
	double started, took;   /* seconds */
	void (*on_done)(struct dial
			*); /* from the loop, never from inside dial_start(); may free or restart */
	/* private below */
	struct ev_loop *loop; /* NULL: not running */
	ev_timer stagger, deadline;
	ev_io attempts[DIAL_OPEN];       /* active: a connect() in progress */
	uint8_t attempt_addr[DIAL_OPEN]; /* what it connects to: an index into addrs */
	uint8_t n_addrs, next;           /* addrs; the first one not tried yet */
	bool has_bind4, has_bind6;
	uint16_t port;
	struct addr bind4, bind6;
	struct addr addrs[RESOLVER_ADDRS]; /* in the order of dialling */
};

/* Starts; the answer comes by on_done.  The socket is non-blocking, close-on-exec, TCP_NODELAY, and
 * in no watcher. */
void dial_start(struct dial *dial, struct ev_loop *loop, const struct dial_options *options,
	void (*on_done)(struct dial *));
void dial_cancel(
	struct dial *dial); /* closes everything; no answer comes.  Fine when not running */
