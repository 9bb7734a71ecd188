/*
 * resolver.h - names to addresses, in one worker's loop (c-ares, RFC 1035).
 *
 * A and AAAA are asked at the same time; answers are kept as long as their TTL says
 * (bounded), so are failures, briefly.  Look-ups of one name share one question.
 *
 * When the addresses of one version are there and the others are not RESOLVER_DELAY later, the
 * answer is what there is (RFC 8305 3); what comes late still completes what is kept.
 */
#pragma once

#include <ev.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"
#include "base/text.h"

#define RESOLVER_ADDRS 16   /* addresses kept for a name; more are dropped, evenly by version */
#define RESOLVER_DELAY 0.05 /* seconds */
/* Seconds a failure is kept, at most: RFC 9520 3.2 wants that much. */
#define RESOLVER_FAILURE_TTL 1.0

struct resolver;
struct names;

struct resolver_options {
	const struct endpoint *servers; /* none: as resolv.conf says */
	size_t n_servers;
	double timeout;                        /* seconds for a whole answer, retries included */
	size_t cache_names;                    /* names kept; the least recently used leaves */
	double min_ttl, max_ttl, negative_ttl; /* seconds */
	size_t queries;                        /* names asked at the same time; more are refused */
	size_t waiters;                        /* look-ups waiting for one name; more are refused */
};

enum resolver_status {
	RESOLVER_OK,      /* at least one address */
	RESOLVER_NO_NAME, /* NXDOMAIN, or no address records */
	RESOLVER_FAILED,  /* SERVFAIL, REFUSED, no server reached */
	RESOLVER_TIMEOUT,
	RESOLVER_FULL, /* a limit above, or no memory or descriptor */
};

struct resolver_answer {
	enum resolver_status status;
	struct addr addrs[RESOLVER_ADDRS]; /* v6 and v4 in the order the server gave, v6 first;
					      without doubles */
	size_t n_addrs;
	bool cached; /* or from the hosts text: no server was waited for */
	/* With addresses: one version's servers failed, or have not answered yet.  Of it there may
	 * be more. */
	bool partial;
	double ttl; /* with addresses: seconds until they should be asked for again, from now;
		       INFINITY: from the hosts text */
};

/* One look-up, embedded in whoever waits.  Zeroed before its first use. */
struct lookup {
	struct resolver_answer answer;
	double started, took;               /* seconds */
	void (*on_answer)(struct lookup *); /* from the loop, never from inside resolver_ask(); may
					       free or ask again */
	struct lookup_question *question;   /* private: NULL when not waiting */
	struct lookup *next, **prev;        /* private */
};

/* Counted since the start, a look-up each; written by the worker's thread, relaxed atomics.  One
 * that is cancelled counts as asked only. */
struct resolver_counts {
	uint64_t asked, cache_hits, ok, no_name, failed, timeout, full;
	double seconds; /* that look-ups waited for servers, all together */
};

/* Reads resolv.conf and /dev/urandom, so a sandbox comes later or lets these through.  NULL with
 * `e` filled. */
struct resolver *resolver_new(
	struct ev_loop *loop, const struct resolver_options *options, struct error *e) WARN_UNUSED;
void resolver_free(struct resolver *
		resolver); /* nobody may be waiting any more; not from an on_answer.  May be NULL */

/* Names that come before DNS, from now on (hosts_add()); only read, and the caller's.  NULL: none.
 */
void resolver_set_hosts(struct resolver *resolver, struct names *hosts);

/* True: `lookup->answer` is there already (cache, hosts, localhost, or refused).  False: on_answer
 * comes later. `name` is canonical: lower case, no trailing dot, no address. */
bool resolver_ask(struct resolver *resolver, struct text name, struct lookup *lookup,
	void (*on_answer)(struct lookup *));
void resolver_cancel(struct lookup *lookup); /* no answer comes; fine when not waiting */
const struct resolver_counts *resolver_counts(const struct resolver *resolver);
const char *resolver_status_name(
	enum resolver_status status); /* "ok", "nxdomain", "failed", "timeout", "full" */
