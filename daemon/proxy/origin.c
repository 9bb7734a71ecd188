#include "daemon/proxy/origin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/proxy/client.h"
#include "daemon/proxy/fetch.h"
#include "daemon/proxy/worker.h"

void origin_pool_init(struct origin_pool *pool)
{
	for (size_t i = 0; i < ORIGIN_BUCKETS; i++)
		LIST_INIT(&pool->buckets[i]);
	TAILQ_INIT(&pool->idle);
	pool->n_idle = 0;
}

/* Only names that policy admitted get here, and the pool is bounded: FNV-1a will do. */
static uint64_t hash_of(struct text host, uint16_t port, const struct section *section)
{
	uint64_t h = 0xcbf29ce484222325u ^ port ^ ((uint64_t)(uintptr_t)section << 8);

	for (size_t i = 0; i < host.length; i++)
		h = (h ^ (unsigned char)host.at[i]) * 0x100000001b3u;
	return h ^ (h >> 32);
}

static void leave_pool(struct origin *o)
{
	LIST_REMOVE(o, same);
	TAILQ_REMOVE(&o->worker->origins.idle, o, idle);
	o->worker->origins.n_idle--;
}

/* An idle connection has nothing to say: whatever comes ends it. */
static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	struct origin *o = io->data;

	(void)loop;
	conn_note(&o->conn, revents);
	if (o->client) {
		client_drive(o->client);
		return;
	}
	if (o->fetch) {
		fetch_drive(o->fetch);
		return;
	}
	leave_pool(o);
	origin_free(o);
}

struct origin *origin_new(struct worker *worker, int fd, struct text host, uint16_t port,
	const struct section *section)
{
	struct origin *o = calloc(1, sizeof(*o) + host.length);

	CHECK(host.length <= UINT8_MAX);
	if (!o) {
		close(fd);
		return NULL;
	}
	o->worker = worker;
	o->section = section;
	o->generation = worker->generation->number;
	o->port = port;
	o->host_length = host.length;
	memcpy(o->host, host.at, host.length);
	o->hash = hash_of(host, port, section);
	conn_init(&o->conn, fd, on_io, o);
	metrics_origin(worker->metrics, 1);
	return o;
}

void origin_free(struct origin *o)
{
	metrics_origin(o->worker->metrics, -1);
	conn_fini(&o->conn, o->worker->loop, &o->worker->buffers);
	free(o);
}

static bool is_same(const struct origin *o, struct text host, const struct query *query,
	const struct section *section)
{
	return o->port == query->port && o->section == section &&
	       text_equal((struct text){o->host, o->host_length}, host);
}

/* Might a new connection for this client leave from the address that this one leaves from? */
static bool leaves_alike(
	const struct origin *o, const struct query *query, const struct section *section)
{
	const struct generation *g = o->worker->generation;
	const struct addr *egress;
	bool none;

	if (generation_spread(g, section) == SPREAD_CONNECTION)
		return true;
	egress = generation_egress(g, section, &o->at.addr, &query->client, 0, &none);
	return egress ? o->has_egress && addr_equal(egress, &o->egress) : !none && !o->has_egress;
}

/* Nothing came that nobody asked for, nor the end.  The loop has looked since the last turn; in the
 * turn in which the connection came to the pool, it has not. */
static bool is_quiet(const struct origin *o)
{
	char byte;

	if (ev_is_pending(&o->conn.io))
		return false;
	if (o->idle_since < o->worker->now)
		return true;
	return recv(o->conn.fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

struct origin *origin_find(struct worker *worker, const struct query *query,
	const struct verdict *verdict, const struct addr *at)
{
	char address[ADDR_TEXT];
	struct text host =
		query->host.length ? query->host : text_of(addr_print(query->addrs, address));
	uint64_t h = hash_of(host, query->port, verdict->section);
	struct origin *o;

	LIST_FOREACH (o, &worker->origins.buckets[h % ORIGIN_BUCKETS], same) {
		if (o->hash != h || !is_same(o, host, query, verdict->section) ||
			(at && !addr_equal(&o->at.addr, at)) ||
			!leaves_alike(o, query, verdict->section) || !is_quiet(o))
			continue;
		if (policy_guard(worker->generation->policy, query, verdict, &o->at.addr, NULL) !=
			REASON_MATCHED)
			continue;
		leave_pool(o);
		o->reused = true;
		return o;
	}
	return NULL;
}

void origin_release(struct origin *o, bool reusable)
{
	struct worker *w = o->worker;

	o->client = NULL;
	o->fetch = NULL;
	if (!reusable || w->draining || o->generation != w->generation->number || o->conn.eof ||
		o->conn.in || o->conn.out || worker_config(w)->origin_connections == 0) {
		origin_free(o);
		return;
	}
	if (w->origins.n_idle >= worker_config(w)->origin_connections) {
		struct origin *oldest = TAILQ_FIRST(&w->origins.idle);

		leave_pool(oldest);
		origin_free(oldest);
	}
	o->idle_since = w->now;
	LIST_INSERT_HEAD(&w->origins.buckets[o->hash % ORIGIN_BUCKETS], o, same);
	TAILQ_INSERT_TAIL(&w->origins.idle, o, idle);
	w->origins.n_idle++;
	conn_arm(&o->conn, w->loop, EV_READ);
}

void origin_close_idle(struct worker *w, double than)
{
	struct origin *o;

	while ((o = TAILQ_FIRST(&w->origins.idle)) && o->idle_since < than) {
		leave_pool(o);
		origin_free(o);
	}
}
