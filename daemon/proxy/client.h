/*
 * client.h - a client's connection, and the exchange that it carries.
 *
 * The client owns everything of its exchange; resolver, dial and origin answer by callback,
 * and every callback ends in client_drive(), the only place that frees a client.
 */
#pragma once

#include <sys/queue.h>

#include "daemon/log/record.h"
#include "daemon/net/conn.h"
#include "daemon/net/dial.h"
#include "daemon/net/resolver.h"
#include "daemon/proxy/flow.h"
#include "daemon/proxy/reply.h"
#include "daemon/http/uri.h"
#include "daemon/proxy/proxy.h"

struct worker;
struct origin;

/* State, step. */
#define CLIENT_STATES(X)                                                                           \
	X(READ_HEAD, client_read_head) /* waits for a request, or reads its head */                \
	X(DECIDE, exchange_decide)     /* parses it and asks the policy */                         \
	X(RESOLVE, exchange_resolve)   /* waits for addresses */                                   \
	X(REACH, exchange_reach)       /* takes a pooled connection, or dials checked addresses */ \
	X(DIAL, exchange_dial)         /* waits for a connection */                                \
	X(RELAY, exchange_relay)       /* request and response on their way */                     \
	X(REPLY, client_reply)         /* sends an answer of our own */                            \
	X(LINGER, client_linger)       /* lets the client read it before the close */

enum client_state {
#define X(state, step) CLIENT_##state,
	CLIENT_STATES(X)
#undef X
};

enum next {
	AGAIN, /* the state changed: step again now */
	WAIT,  /* nothing to do until the loop says so */
	CLOSE, /* over: the driver destroys the client */
};

struct exchange {
	struct client *client;
	struct record record;
	double began; /* monotonic seconds: the first byte of the request */
	struct generation *generation;
	struct query query;
	struct uri uri; /* query.host points into it */
	char *detail;   /* what an answer of our own said, for the record */
	char *line;     /* copy of method and target, for the record */

	enum method method;
	int minor; /* the client's HTTP/1.minor */
	bool has_body;
	bool expects;   /* 100-continue: it may wait for that with its body */
	bool retriable; /* idempotent and without a body (RFC 9110 9.2.2) */
	bool retried;
	bool answered;          /* the lookup has */
	bool dialled;           /* the dial has answered */
	bool request_lost;      /* the origin takes no more of the request */
	bool final;             /* the final response head is on its way to the client */
	bool origin_keeps;      /* the origin's connection can carry another exchange */
	struct lookup lookup;
	struct dial dial;
	struct addr addrs[RESOLVER_ADDRS];
	struct buffer *request; /* its head as the origin gets it, kept for a second try */
	struct origin *origin;
	size_t seen;       /* of the response head */
	unsigned interims; /* 1xx responses so far */
	struct flow to_origin, to_client;
};

struct client {
	struct worker *worker;
	TAILQ_ENTRY(client) link;
	enum client_state state;
	enum listener_kind kind;
	bool keep_alive; /* after this exchange */
	bool over_limit; /* accepted only to be told that egret is full */
	bool timed_out;
	struct conn conn;
	struct endpoint at;
	ev_timer timer;
	double deadline;           /* monotonic seconds; INFINITY: none */
	double timer_at;           /* when `timer` fires at the latest */
	double head_since;         /* first byte of this head; 0: none yet */
	size_t seen;               /* of the request head */
	struct exchange *exchange; /* NULL between requests */
};

/* Takes over an accepted socket.  False when there is no memory (the fd is closed). */
bool client_new(struct worker *worker, int fd, const struct endpoint *at, enum listener_kind kind,
	bool over_limit);

/* Steps until there is nothing to do; may free the client.  Callbacks call it last. */
void client_drive(struct client *client);

/* Ends every client that is between two requests. */
void clients_close_idle(struct worker *worker);
void clients_close_all(struct worker *worker, enum ending ending);

/* For exchange.c and admin.c: */

/* The only assignment to `state`. `timeout` in seconds from now. */
enum next client_enter(struct client *client, enum client_state state, double timeout);

/* Answers the request ourselves and ends the exchange with it.  The details of a bad request or
 * response are for the log, too: a static text. */
enum next client_answer(struct client *client, enum ending ending, const struct reply *reply);

/* The exchange went well: on to the next request, or close. */
enum next client_next(struct client *client);
void client_reset(struct client *client); /* the close will be a RST: nothing looks complete */

/* While nobody reads the client: it may send its next request early (which then waits), or close
 * its side (half-close).  False: it is gone. */
bool client_watch(struct client *client);

/* More room in `in` for a head, up to `max` bytes.  False: that is full, or no memory. */
bool client_grow(struct conn *conn, struct buffer_pool *pool, size_t max);

/* The client's exchange from now on; NULL: no memory. */
struct exchange *exchange_new(struct client *client);

enum next exchange_decide(struct client *client);
enum next exchange_resolve(struct client *client);
enum next exchange_reach(struct client *client);
enum next exchange_dial(struct client *client);
enum next exchange_relay(struct client *client);
enum next exchange_timeout(struct client *client);
void exchange_wants(const struct client *client, int *client_events, int *origin_events);
void exchange_free(struct client *client); /* accepts a client without one */
