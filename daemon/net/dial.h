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

struct dial_options {
	const struct addr *addrs; /* copied; interleaved by version here, the first one's version first (RFC 8305 4) */
	size_t n_addrs;		  /* 1 to RESOLVER_ADDRS */
	uint16_t port;
	const struct addr *bind4, *bind6; /* source addresses; NULL: the kernel's choice.  When bind is set for only one
					   * version, the other version is not dialled: it would leave from a wrong address */
	double timeout; /* seconds, all attempts together */
};

/* One dial, embedded in whoever waits (or allocated for the time of the dial). */
struct dial {
	int fd;			/* the connected socket, the taker's from then on; -1 otherwise */
	int error;		/* errno of the last attempt that failed; ETIMEDOUT; EADDRNOTAVAIL ... */
	struct endpoint origin; /* who answered */
	double started, took;	/* seconds */
	void (*on_done)(struct dial *); /* from the loop, never from inside dial_start() */
	/* private below */
	struct ev_loop *loop;
	struct dial_attempt {
		ev_io io;
		struct dial *dial;
		struct endpoint to;
	} attempts[RESOLVER_ADDRS];
	size_t n_attempts, next, open;
	ev_timer stagger, deadline;
	struct addr bind4, bind6;
	bool has_bind4, has_bind6;
};

/* Starts; the answer comes by on_done.  The sockets are non-blocking, close-on-exec, TCP_NODELAY. */
void dial_start(struct dial *dial, struct ev_loop *loop, const struct dial_options *options,
	void (*on_done)(struct dial *));
void dial_cancel(struct dial *dial); /* closes everything; no answer comes.  Fine when not running */
