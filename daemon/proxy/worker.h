/*
 * worker.h - one thread of the proxy: a loop, and everything that lives in it.
 *
 * Workers share nothing but what `struct shared` names; each has its own resolver, pools,
 * counters and access log buffer.
 */
#pragma once

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "acl/limits.h"
#include "daemon/admin/metrics.h"
#include "daemon/channel.h"
#include "daemon/http/date.h"
#include "daemon/log/access.h"
#include "daemon/net/buffer.h"
#include "daemon/net/pump.h"
#include "daemon/net/resolver.h"
#include "daemon/proxy/generation.h"
#include "daemon/proxy/node_clients.h"
#include "daemon/proxy/origin.h"
#include "daemon/proxy/proxy.h"
#include "daemon/proxy/ready.h"
#include "daemon/proxy/survey.h"

/* What all workers and the main thread see. */
struct shared {
	const struct listener *listeners; /* of all workers */
	size_t n_listeners;
	struct limits *limits;
	atomic_bool scraped;   /* /metrics was served: wake_main */
	atomic_size_t clients; /* connections of clients, tunnels included; not the admin page's */
	struct node_clients node_clients;

	struct cache
		*_Atomic cache; /* NULL: nothing is cached; set before a generation that wants it */

	pthread_mutex_t lock;          /* over the rest */
	struct survey *survey;         /* that workers should take part in; NULL: none */
	uint64_t survey_number;        /* its */
	struct generation *generation; /* what workers should follow */
	struct gate_counts counts;
	char *nat_page; /* NAT's part of /metrics; NULL: none came yet */
	size_t nat_page_length;
	int access_fd;          /* owned by the main thread; -1: none */
	unsigned access_serial; /* counts its changes */
	bool draining;
	double drain_until; /* monotonic seconds: what still runs then is cut */

	struct worker **workers;
	unsigned n_workers;
	ev_async wake_main; /* a worker followed, served /metrics, or ended */
	struct ev_loop *main_loop;
};

TAILQ_HEAD(client_list, client);
TAILQ_HEAD(tunnel_list, tunnel);
TAILQ_HEAD(fetch_list, fetch);

#define WORKER_UNATTENDED 128 /* most exchanges and fetches for the cache alone */
#define WORKER_FIELDS_EXTRA 4 /* that forwarding a request adds */

struct worker {
	struct shared *shared;
	unsigned index;
	pthread_t thread;
	struct ev_loop *loop;
	double now; /* monotonic seconds, as of this turn of the loop: for deadlines */
	ev_check turn;
	ev_async wake;
	ev_timer second; /* once a second: access log, idle connections */
	ev_timer retry_accept;
	ev_io *listeners;
	const struct listener **listening;
	size_t n_listeners;
	unsigned accepts; /* tried in one turn */
	double told_full; /* when accepting last failed for want of descriptors */

	uint64_t random;   /* state of worker_random() */
	uint64_t ids;      /* given out so far */
	uint64_t surveyed; /* number of the last survey it took part in */
	struct generation *generation;
	atomic_ullong follows; /* number of that generation, for the main thread */
	atomic_bool ended;

	struct resolver *resolver;
	struct buffer_pool buffers;
	struct pipe_pool pipes;
	struct origin_pool origins;
	struct field *fields;         /* scratch for one head */
	struct field *request_fields; /* another, for cached_head() */
	struct access *access;
	int access_fd; /* a copy of its own; -1: none */
	unsigned access_serial;
	struct metrics *metrics;
	struct client_list clients;
	struct tunnel_list tunnels; /* the longest idle one first */
	struct fetch_list fetches;
	struct ready_list ready;
	size_t n_clients, n_tunnels;
	size_t n_unattended; /* exchanges and fetches for the cache alone */
	bool draining;

	time_t date_at;
	char date[DATE_TEXT];
};

/* A worker that is ready to run, with its own reference to the generation.  NULL with `e` set. */
struct worker *worker_new(struct shared *shared, unsigned index, struct error *e);
int worker_start(struct worker *worker) WARN_UNUSED; /* 0 or -errno */
void worker_wake(struct worker *worker);             /* from any thread: look at `shared` again */
void worker_free(struct worker *worker); /* after its thread was joined, or never started */

/* For what lives in the loop. */
const struct config *worker_config(const struct worker *worker);
const char *worker_date(struct worker *worker); /* IMF-fixdate of now */
uint64_t worker_ns(struct worker *worker);      /* monotonic clock for limits.h */
uint32_t worker_random(struct worker *worker);  /* to spread evenly; strangers may guess it */
uint64_t worker_next_id(
	struct worker *worker); /* of a connection: no two of the proxy's are alike */
struct head_limits worker_head_limits(const struct worker *worker);

/* A client or a tunnel of this worker is over: counts, writes the access log. */
void worker_record(struct worker *worker, const struct record *record);
void worker_connection_closed(struct worker *worker, enum listener_kind kind);
/* A client is over, its connection is a tunnel's: which may have ended already. */
void worker_connection_moved(struct worker *worker);
