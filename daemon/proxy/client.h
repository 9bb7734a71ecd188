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
#include "daemon/proxy/survey.h"

struct worker;
struct origin;

/* State, step. */
#define CLIENT_STATES(X)                                                                           \
	X(READ_HEAD, client_read_head)    /* waits for a request, or reads its head */             \
	X(READ_HELLO, capture_read_hello) /* the same of a captured TLS connection */              \
	X(REFUSE, capture_refuse)         /* on the port for captured ones, and not captured */    \
	X(DECIDE, exchange_decide)        /* parses it and asks the policy */                      \
	X(RESOLVE, exchange_resolve)      /* waits for addresses */                                \
	X(LOOKUP, cached_lookup)          /* asks the cache */                                     \
	X(FOLLOW, cached_follow)          /* waits for another one's response */                   \
	X(SERVE, cached_serve)            /* sends from the cache */                               \
	X(REACH, exchange_reach) /* takes a pooled connection, or dials checked addresses */       \
	X(DIAL, exchange_dial)   /* waits for a connection */                                      \
	X(RELAY, exchange_relay) /* request and response on their way */                           \
	X(REPLY, client_reply)   /* sends an answer of our own */                                  \
	X(LINGER, client_linger) /* lets the client read it before the close */

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
	int minor;      /* the client's HTTP/1.minor */
	bool has_body;  /* or other bytes behind the head that are no request */
	bool expects;   /* 100-continue: it may wait for that with its body */
	bool trailers;  /* it wants those of the response */
	bool retriable; /* idempotent and without a body (RFC 9110 9.2.2) */
	bool retried;
	bool answered;     /* the lookup has */
	bool dialled;      /* the dial has answered */
	bool request_lost; /* the origin takes no more of the request */
	bool final;        /* the final response head is on its way to the client */
	bool origin_keeps; /* the origin's connection can carry another exchange */
	struct lookup lookup;
	struct dial dial;
	struct addr addrs[RESOLVER_ADDRS];
	uint32_t random;        /* of this dial: chooses among egress addresses */
	struct buffer *request; /* its head as the origin gets it, kept for a second try */
	char *upgrade;          /* the protocols that it asks for, or NULL */
	struct origin *origin;
	size_t seen;           /* of the response head */
	unsigned interims;     /* 1xx responses so far */
	struct cached *cached; /* NULL: the cache has no part in it */
	struct flow to_origin, to_client;
};

struct client {
	struct worker *worker;
	TAILQ_ENTRY(client) link;
	uint64_t id; /* worker_next_id() */
	enum client_state state;
	enum listener_kind kind;
	bool keep_alive; /* after this exchange */
	bool over_limit; /* accepted only to be told that egret is full */
	bool timed_out;
	bool background; /* no client: an exchange for the cache alone */
	struct conn conn;
	struct endpoint at;
	struct endpoint original; /* LISTENER_CAPTURE: where it was made to */
	bool tls;                 /* captured: it speaks TLS, of which the hello alone is read */
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

/* Asks again, without a client, for what this one's exchange gets stale; if not too many do. */
void client_revalidate(struct client *client);

/* Steps until there is nothing to do; may free the client.  Callbacks call it last. */
void client_drive(struct client *client);

/* Ends every client that is between two requests. */
void clients_close_idle(struct worker *worker);
void clients_close_all(struct worker *worker, enum ending ending);

/* Tells of every client's connection; `row->target` lives until `each` returns. */
void clients_each(const struct worker *worker,
	void (*each)(void *arg, const struct survey_row *row), void *arg);
bool clients_kill(struct worker *worker, uint64_t id); /* false: none has this id */

/* For exchange.c, capture.c and admin.c: */

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

/* The request is not one: answers it, with `error`. */
enum next exchange_bad_head(struct client *client, const struct head_error *error);
enum next exchange_decide(struct client *client);
/* Both end the exchange with an answer of our own. */
enum next exchange_deny(struct client *client, enum reason reason);
enum next exchange_answer(struct client *client, enum ending ending, int status, const char *error,
	const char *details);

/* What `from` asks is asked by this client without a connection.  False: no memory. */
bool exchange_copy(struct client *client, const struct exchange *from);

/* Asks the policy about x->uri: what follows is as for a CONNECT, or as for another request. */
enum next exchange_ask(struct client *client, bool connect, bool unnamed);
enum next exchange_resolve(struct client *client);
enum next exchange_reach(struct client *client);
enum next exchange_dial(struct client *client);
enum next exchange_relay(struct client *client);
enum next exchange_tunnel(struct client *client); /* client and origin are one from now on */
enum next exchange_timeout(struct client *client);
void exchange_wants(const struct client *client, int *client_events, int *origin_events);
void exchange_free(struct client *client); /* accepts a client without one */
