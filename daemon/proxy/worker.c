#include "daemon/proxy/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/log/log.h"
#include "daemon/proxy/client.h"
#include "daemon/proxy/fetch.h"
#include "daemon/proxy/tunnel.h"

#define ACCEPTS 32       /* most connections accepted in one turn */
#define TOLD 64          /* clients over the limit, over all workers, that are told so */
#define ACCEPT_PAUSE 0.1 /* seconds, when there is no file descriptor left */
#define TELL_FULL 10.0   /* seconds without that before it is logged again */
#define ACCESS_BUFFER (256 * 1024)

const struct config *worker_config(const struct worker *w)
{
	return w->generation->config;
}

const char *worker_date(struct worker *w)
{
	time_t now = (time_t)ev_now(w->loop);

	if (now != w->date_at) {
		date_print(now, w->date);
		w->date_at = now;
	}
	return w->date;
}

uint64_t worker_ns(struct worker *w)
{
	return (uint64_t)(w->now * 1e9);
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint32_t worker_random(struct worker *w)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ z >> 31) >> 32);
}

uint64_t worker_next_id(struct worker *w)
{
	return ++w->ids * w->shared->n_workers + w->index;
}

struct head_limits worker_head_limits(const struct worker *w)
{
	const struct config *config = worker_config(w);

	return (struct head_limits){.line = config->max_request_line,
		.bytes = config->max_header_bytes,
		.fields = config->max_header_fields};
}

void worker_record(struct worker *w, const struct record *record)
{
	metrics_count(w->metrics, record);
	access_write(w->access, record);
}

static void end_if_drained(struct worker *w)
{
	if (w->draining && w->n_clients == 0 && w->n_tunnels == 0)
		ev_break(w->loop, EVBREAK_ALL);
}

void worker_connection_closed(struct worker *w, enum listener_kind kind)
{
	if (kind != LISTENER_ADMIN)
		atomic_fetch_sub_explicit(&w->shared->clients, 1, memory_order_relaxed);
	end_if_drained(w);
}

void worker_connection_moved(struct worker *w)
{
	end_if_drained(w);
}

/* While it drains, only the admin page goes on: it says so. */
static bool takes(const struct worker *w, const struct listener *l)
{
	return !w->draining || l->kind == LISTENER_ADMIN;
}

/* Out of descriptors: let some close before the next try. */
static void pause_accept(struct worker *w)
{
	for (size_t i = 0; i < w->n_listeners; i++)
		ev_io_stop(w->loop, &w->listeners[i]);
	ev_timer_set(&w->retry_accept, ACCEPT_PAUSE, 0);
	ev_timer_start(w->loop, &w->retry_accept);
}

static void on_retry_accept(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct worker *w = timer->data;

	(void)revents;
	for (size_t i = 0; i < w->n_listeners; i++)
		if (takes(w, w->listening[i]))
			ev_io_start(loop, &w->listeners[i]);
}

static void accepted(struct worker *w, int fd, const struct sockaddr *sa, enum listener_kind kind)
{
	size_t max = worker_config(w)->max_connections;
	size_t n = kind != LISTENER_ADMIN
			   ? atomic_fetch_add_explicit(&w->shared->clients, 1, memory_order_relaxed)
			   : 0;
	bool over = n >= max;
	struct endpoint at;

	metrics_accepted(w->metrics);
	if (over)
		metrics_refused(w->metrics);
	if (!endpoint_from_sockaddr(&at, sa) || (over && n >= max + TOLD)) {
		close(fd);
		worker_connection_closed(w, kind);
		return;
	}
	if (kind == LISTENER_PROXY)
		node_clients_note(&w->shared->node_clients, w->generation, &at.addr, fd, w->now);
	if (!client_new(w, fd, &at, kind, over))
		worker_connection_closed(w, kind);
}

/* Accepts as many as came last time, so that a lone connection does not cost a second, failing call
 * and a burst does not cost a turn each. */
static void on_accept(struct ev_loop *loop, ev_io *io, int revents)
{
	struct worker *w = io->data;
	const struct listener *l = w->listening[io - w->listeners];

	(void)loop;
	(void)revents;
	for (unsigned i = 0; i < w->accepts && takes(w, l); i++) {
		struct sockaddr_storage sa;
		socklen_t length = sizeof(sa);
		int fd = accept4(
			l->fd, (struct sockaddr *)&sa, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			accepted(w, fd, (struct sockaddr *)&sa, l->kind);
			continue;
		}
		w->accepts = 1;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			if (w->now - w->told_full >= TELL_FULL)
				log_warn("worker %u: accept: %s", w->index, strerror(errno));
			w->told_full = w->now;
			pause_accept(w);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
	if (w->accepts < ACCEPTS)
		w->accepts *= 2;
}

static void follow(struct worker *w, struct generation *next)
{
	struct generation *old = w->generation;
	size_t fields = next->config->max_header_fields;

	if (fields > old->config->max_header_fields) {
		struct field *larger = calloc(fields, sizeof(*larger));
		struct field *request = calloc(fields + WORKER_FIELDS_EXTRA, sizeof(*request));

		if (!larger || !request) {
			free(larger);
			free(request);
			log_error("worker %u: out of memory: stays with generation %llu", w->index,
				(unsigned long long)old->number);
			generation_put(next);
			return;
		}
		free(w->fields);
		free(w->request_fields);
		w->fields = larger;
		w->request_fields = request;
	}
	w->generation = next;
	resolver_set_hosts(w->resolver, &next->hosts);
	access_set_format(w->access, next->config->access_format);
	origin_close_idle(w, INFINITY);
	tunnels_recheck(w);
	generation_put(old);
	atomic_store(&w->follows, next->number);
}

static void change_access_log(struct worker *w, unsigned serial, int fd)
{
	int old = w->access_fd;

	w->access_fd = fd;
	w->access_serial = serial;
	access_set_fd(w->access, fd);
	if (old >= 0)
		close(old);
}

static void begin_drain(struct worker *w)
{
	w->draining = true;
	for (size_t i = 0; i < w->n_listeners; i++) {
		if (takes(w, w->listening[i]))
			continue;
		ev_io_stop(w->loop, &w->listeners[i]);
		close(w->listening[i]->fd);
	}
	origin_close_idle(w, INFINITY);
	clients_close_idle(w);
	end_if_drained(w);
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int revents)
{
	struct worker *w = wake->data;
	struct shared *s = w->shared;
	struct generation *next;
	struct survey *survey;
	unsigned serial;
	bool draining;
	int fd = -1;

	(void)loop;
	(void)revents;
	pthread_mutex_lock(&s->lock);
	next = s->generation == w->generation ? NULL : generation_get(s->generation);
	serial = s->access_serial;
	if (serial != w->access_serial && s->access_fd >= 0) {
		fd = fcntl(s->access_fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0) /* the one of before goes on until there is a descriptor */
			serial = w->access_serial;
	}
	draining = s->draining;
	survey = s->survey_number != w->surveyed ? s->survey : NULL; /* else it may go meanwhile */
	pthread_mutex_unlock(&s->lock);
	if (serial != w->access_serial)
		change_access_log(w, serial, fd);
	if (next)
		follow(w, next);
	if (survey)
		survey_take_part(survey, w);
	if (draining && !w->draining)
		begin_drain(w);
	ev_async_send(s->main_loop, &s->wake_main);
}

static void cut_at_drain_timeout(struct worker *w)
{
	if (!w->draining || w->now < w->shared->drain_until)
		return;
	tunnels_close_all(w, ENDING_DRAINED);
	clients_close_all(w, ENDING_DRAINED);
	end_if_drained(w);
}

static void on_second(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct worker *w = timer->data;

	(void)loop;
	(void)revents;
	access_flush(w->access);
	origin_close_idle(w, w->now - worker_config(w)->origin_idle_timeout);
	tunnels_close_idle(w, w->now - worker_config(w)->tunnel_timeout);
	cut_at_drain_timeout(w);
}

/* Once a turn, before anything else in it. */
static void on_turn(struct ev_loop *loop, ev_check *check, int revents)
{
	struct worker *w = check->data;

	(void)loop;
	(void)revents;
	w->now = clock_monotonic();
}

static void *run(void *arg)
{
	struct worker *w = arg;

	w->now = clock_monotonic();
	for (size_t i = 0; i < w->n_listeners; i++)
		ev_io_start(w->loop, &w->listeners[i]);
	ev_timer_start(w->loop, &w->second);
	ev_run(w->loop, 0);
	access_flush(w->access);
	atomic_store(&w->ended, true);
	ev_async_send(w->shared->main_loop, &w->shared->wake_main);
	return NULL;
}

static int add_listeners(struct worker *w)
{
	static const int on = 1;
	const struct listener *listeners = w->shared->listeners;
	size_t n = w->shared->n_listeners;

	w->listeners = calloc(n, sizeof(*w->listeners));
	w->listening = calloc(n, sizeof(*w->listening));
	if (!w->listeners || !w->listening)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (listeners[i].worker != w->index)
			continue;
		/* accepted sockets inherit it */
		setsockopt(listeners[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		ev_io_init(&w->listeners[w->n_listeners], on_accept, listeners[i].fd, EV_READ);
		w->listeners[w->n_listeners].data = w;
		w->listening[w->n_listeners++] = &listeners[i];
	}
	return 0;
}

static int make_parts(struct worker *w, struct error *e)
{
	w->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	w->fields = calloc(worker_config(w)->max_header_fields, sizeof(*w->fields));
	w->request_fields = calloc(worker_config(w)->max_header_fields + WORKER_FIELDS_EXTRA,
		sizeof(*w->request_fields));
	w->access = access_new(-1, worker_config(w)->access_format, ACCESS_BUFFER);
	w->metrics = metrics_new();
	if (!w->loop || !w->fields || !w->request_fields || !w->access || !w->metrics ||
		add_listeners(w))
		return error_set(e, -ENOMEM, "worker %u: out of memory", w->index);
	w->resolver = generation_resolver(w->generation, w->loop, e);
	return w->resolver ? 0 : -EINVAL;
}

static void init_watchers(struct worker *w)
{
	ev_async_init(&w->wake, on_wake);
	ev_timer_init(&w->second, on_second, 1.0, 1.0);
	ev_init(&w->retry_accept, on_retry_accept);
	ev_check_init(&w->turn, on_turn);
	ev_set_priority(&w->turn, EV_MAXPRI);
	ready_list_init(&w->ready, w->loop);
	w->wake.data = w->second.data = w->retry_accept.data = w->turn.data = w;
	ev_async_start(w->loop, &w->wake);
	ev_check_start(w->loop, &w->turn);
}

struct worker *worker_new(struct shared *shared, unsigned index, struct error *e)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w) {
		error_set(e, -ENOMEM, "worker %u: out of memory", index);
		return NULL;
	}
	w->shared = shared;
	w->index = index;
	w->random = index;
	w->access_fd = -1;
	w->accepts = 1;
	w->told_full = -INFINITY;
	w->generation = generation_get(shared->generation);
	atomic_init(&w->follows, w->generation->number);
	TAILQ_INIT(&w->clients);
	TAILQ_INIT(&w->tunnels);
	TAILQ_INIT(&w->fetches);
	origin_pool_init(&w->origins);
	if (make_parts(w, e)) {
		worker_free(w);
		return NULL;
	}
	init_watchers(w);
	return w;
}

/* Signals are the gate's affair. */
int worker_start(struct worker *w)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		worker_wake(w);
	return -error;
}

void worker_wake(struct worker *w)
{
	ev_async_send(w->loop, &w->wake);
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->loop) {
		clients_close_all(w, ENDING_DRAINED);
		tunnels_close_all(w, ENDING_DRAINED);
		fetches_close_all(w);
		origin_close_idle(w, INFINITY);
		ready_list_fini(&w->ready);
		resolver_free(w->resolver);
	}
	access_free(w->access);
	if (w->access_fd >= 0)
		close(w->access_fd);
	metrics_free(w->metrics);
	buffer_pool_fini(&w->buffers);
	pipe_pool_fini(&w->pipes);
	free(w->fields);
	free(w->request_fields);
	free(w->listeners);
	free(w->listening);
	generation_put(w->generation);
	if (w->loop)
		ev_loop_destroy(w->loop);
	free(w);
}
