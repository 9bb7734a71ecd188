/*
 * origin.h - connections to origins, and the pool of idle ones of one worker.
 *
 * A pooled connection is found again only for the same name, port and section of the same
 * generation, and for a client to whom its egress address belongs: so it leaves from where a new
 * one would, and was dialled under the same rule.
 */
#pragma once

#include <sys/queue.h>

#include "acl/policy.h"
#include "daemon/net/conn.h"

struct client;
struct worker;

struct origin {
	struct conn conn;
	struct worker *worker;
	struct client *client; /* whose exchange it carries; NULL in the pool, and with a fetch */
	struct fetch *fetch;   /* whose body it brings, or NULL */
	struct endpoint at;    /* the address that was dialled */
	struct addr egress;    /* bound source address */
	bool has_egress;
	bool reused; /* it has carried an exchange before */
	const struct section *section;
	uint64_t generation;
	double idle_since;
	uint64_t hash;
	LIST_ENTRY(origin) same;  /* in its bucket */
	TAILQ_ENTRY(origin) idle; /* the longest idle first */
	uint16_t port;
	uint8_t host_length;
	char host[];
};

#define ORIGIN_BUCKETS 1024

struct origin_pool {
	LIST_HEAD(, origin) buckets[ORIGIN_BUCKETS];
	TAILQ_HEAD(, origin) idle;
	size_t n_idle;
};

void origin_pool_init(struct origin_pool *pool);

/* Takes over a connected socket.  NULL when there is no memory (the fd is closed). */
struct origin *origin_new(struct worker *worker, int fd, struct text host, uint16_t port,
	const struct section *section);
void origin_free(struct origin *origin);

/* Looks for an idle connection for this query's target under this verdict, to the address `at`
 * (NULL: any); its address is held against the guard again, for this client.  NULL: none. */
struct origin *origin_find(struct worker *worker, const struct query *query,
	const struct verdict *verdict, const struct addr *at);

/* Gives a connection that can carry another exchange back, or closes it. */
void origin_release(struct origin *origin, bool reusable);

/* Closes the idle ones: those idle since before `than`, or all with INFINITY. */
void origin_close_idle(struct worker *worker, double than);
