/*
 * The main thread does what must not hold up a worker: it parses a new
 * generation and then tells the workers, who take it over between two turns of their loops.
 */
#include "daemon/proxy/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/datapath/nat_metrics.h"
#include "daemon/log/log.h"
#include "daemon/proxy/cached.h"
#include "daemon/proxy/inquiry.h"
#include "daemon/proxy/learn.h"
#include "daemon/proxy/purge.h"
#include "daemon/proxy/worker.h"
#include "daemon/sealed.h"

#define UNREAD_MOST 131072 /* bytes that the gate has not read, for what can wait */
#define SCRAPED_EVERY 0.5  /* seconds, at most */

struct proxy {
	const struct proxy_start *start;
	struct shared shared;
	ev_io channel;
	struct learn *learn;
	struct purge *purge; /* under way; NULL: none */
	uint64_t purge_number;
	struct inquiry *inquiry;
	ev_tstamp told_scraped;
	uint64_t announced; /* the generation that FOLLOWS last told of */
	unsigned started;   /* workers with a running thread */
	bool failed, began_cache;
};

static void stop(struct proxy *p, bool failed)
{
	p->failed = failed;
	ev_break(p->shared.main_loop, EVBREAK_ALL);
}

static void tell(struct proxy *p, enum message_type type, uint64_t number, const char *text)
{
	struct message m = {.type = type, .number = number};

	snprintf(m.text, sizeof(m.text), "%s", text);
	if (channel_send(p->start->channel, &m, -1) && !p->shared.draining)
		log_warn("the gate does not listen");
}

/* Leaves room in the channel for FOLLOWS. */
static int tell_if_room(void *arg, const struct message *message)
{
	struct proxy *p = arg;
	int unread = 0;

	if (ioctl(p->start->channel, SIOCOUTQ, &unread) == 0 && unread > UNREAD_MOST)
		return -EAGAIN;
	return channel_send(p->start->channel, message, -1);
}

/* The gate makes NAT's page while somebody reads it. */
static void tell_scraped(struct proxy *p)
{
	const struct message m = {.type = MESSAGE_SCRAPED};
	ev_tstamp now = ev_now(p->shared.main_loop);

	if (!atomic_exchange(&p->shared.scraped, false) ||
		(now >= p->told_scraped && now - p->told_scraped < SCRAPED_EVERY))
		return;
	p->told_scraped = now;
	tell_if_room(p, &m); /* if not now, then at the next one */
}

static void wake_workers(struct proxy *p)
{
	for (unsigned i = 0; i < p->started; i++)
		worker_wake(p->shared.workers[i]);
}

static int start_workers(struct proxy *p, struct error *e)
{
	struct shared *s = &p->shared;

	s->limits = limits_new(s->generation->config->max_sources);
	s->workers = calloc(p->start->workers, sizeof(*s->workers));
	if (!s->limits || !s->workers)
		return error_set(e, -ENOMEM, "out of memory");
	for (; s->n_workers < p->start->workers; s->n_workers++) {
		s->workers[s->n_workers] = worker_new(s, s->n_workers, e);
		if (!s->workers[s->n_workers])
			return -EINVAL;
	}
	for (; p->started < s->n_workers; p->started++) {
		int error = worker_start(s->workers[p->started]);

		if (error)
			return error_set(e, error, "worker %u: %s", p->started, strerror(-error));
	}
	return 0;
}

/* When the first partner wants it.  Without it everything goes on, only more slowly. */
static void begin_cache(struct proxy *p, const struct generation *g)
{
	struct error e = {""};

	if (p->shared.cache || !g->config->cache_size || !policy_caches(g->policy))
		return;
	/* Its descriptor is closed with it, and would be something else at a second try. */
	if (p->began_cache)
		return;
	p->began_cache = true;
	p->shared.cache = cache_new(g->config, p->start->cache_fd, &e);
	if (!p->shared.cache)
		log_error("nothing is cached until egretd is started again: %s", e.text);
}

static void follow(struct proxy *p, const struct message *m, int fd)
{
	struct error e = {""};
	struct generation *next = fd < 0 ? NULL : generation_new(m, fd, &e), *old;

	if (!next) {
		tell(p, MESSAGE_REFUSES, m->number, e.text);
		return;
	}
	begin_cache(p, next);
	pthread_mutex_lock(&p->shared.lock);
	old = p->shared.generation;
	p->shared.generation = next;
	pthread_mutex_unlock(&p->shared.lock);
	generation_put(old);
	log_set_level(next->config->log_level);
	if (p->started) {
		wake_workers(p);
	} else if (start_workers(p, &e)) {
		log_error("%s", e.text);
		tell(p, MESSAGE_REFUSES, m->number, e.text);
		stop(p, true);
	}
}

static void change_access_log(struct proxy *p, int fd)
{
	int next = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (fd >= 0 && next < 0) {
		log_error("access log: %s: the one of before goes on", strerror(errno));
		return;
	}
	pthread_mutex_lock(&p->shared.lock);
	if (p->shared.access_fd >= 0)
		close(p->shared.access_fd);
	p->shared.access_fd = next;
	p->shared.access_serial++;
	pthread_mutex_unlock(&p->shared.lock);
	wake_workers(p);
}

/* A page that cannot be read leaves the one of before. */
static void change_nat_page(struct proxy *p, int fd)
{
	struct text page;
	char *text;
	int error = fd < 0 ? -EBADF : sealed_read(fd, NAT_METRICS_MOST, &text, &page.length);

	if (error) {
		log_warn("NAT's metrics of the gate: %s", strerror(-error));
		return;
	}
	page.at = text;
	if (!nat_metrics_is_page(page)) {
		log_warn("NAT's metrics of the gate are no metrics of NAT");
		free(text);
		return;
	}
	pthread_mutex_lock(&p->shared.lock);
	free(p->shared.nat_page);
	p->shared.nat_page = text;
	p->shared.nat_page_length = page.length;
	pthread_mutex_unlock(&p->shared.lock);
}

static void drain(struct proxy *p, double timeout)
{
	if (p->shared.draining)
		return;
	pthread_mutex_lock(&p->shared.lock);
	p->shared.draining = true;
	p->shared.drain_until = clock_monotonic() + timeout;
	pthread_mutex_unlock(&p->shared.lock);
	if (p->started == 0)
		stop(p, false);
	wake_workers(p);
}

static void gate_gone(struct proxy *p)
{
	ev_io_stop(p->shared.main_loop, &p->channel);
	if (!p->shared.draining)
		log_warn("the gate is gone: draining");
	drain(p, p->shared.generation ? p->shared.generation->config->drain_timeout : 0);
}

static void on_purged(void *arg, size_t removed)
{
	struct proxy *p = arg;
	char text[32];

	p->purge = NULL;
	snprintf(text, sizeof(text), "%zu\n", removed);
	tell(p, MESSAGE_PURGED, p->purge_number, text);
}

static void purge(struct proxy *p, const struct message *m)
{
	struct error e = {"nothing is cached"};
	char text[sizeof(m->text)];
	struct purge *begun = NULL;

	if (p->purge)
		error_set(&e, -EBUSY, "a purge is under way");
	else if (p->shared.cache)
		begun = purge_start(
			p->shared.main_loop, p->shared.cache->store, m->text, on_purged, p, &e);
	if (begun) {
		p->purge = begun;
		p->purge_number = m->number;
		flights_forget(p->shared.cache->flights, NULL);
		return;
	}
	snprintf(text, sizeof(text), "error: %.400s\n", e.text);
	tell(p, MESSAGE_PURGED, m->number, text);
}

static void take(struct proxy *p, const struct message *m, int fd)
{
	switch (m->type) {
	case MESSAGE_GENERATION:
		follow(p, m, fd);
		break;
	case MESSAGE_ACCESS_LOG:
		change_access_log(p, fd);
		break;
	case MESSAGE_COUNTS:
		pthread_mutex_lock(&p->shared.lock);
		p->shared.counts = m->counts;
		pthread_mutex_unlock(&p->shared.lock);
		break;
	case MESSAGE_DRAIN:
		drain(p, m->drain_timeout);
		break;
	case MESSAGE_NAT_PAGE:
		change_nat_page(p, fd);
		break;
	case MESSAGE_PURGE:
		purge(p, m);
		break;
	case MESSAGE_ASK:
		inquiry_take(p->inquiry, m);
		break;
	case MESSAGE_TOLD:
	case MESSAGE_PURGED:
	case MESSAGE_FOLLOWS:
	case MESSAGE_REFUSES:
	case MESSAGE_LEARNT:
	case MESSAGE_LEARNT_ALL:
	case MESSAGE_SCRAPED:
		break; /* these are ours to send */
	}
}

/* The gate's messages are well-formed, so what was missing is a descriptor for the file. */
static void lost(struct proxy *p, const struct message *m)
{
	static const char why[] = "the proxy is out of file descriptors";

	log_warn("a message of the gate is lost: %s", why);
	if (m->type == MESSAGE_GENERATION)
		tell(p, MESSAGE_REFUSES, m->number, why);
}

static void on_channel(struct ev_loop *loop, ev_io *io, int revents)
{
	struct proxy *p = io->data;
	struct message m = {.type = MESSAGE_COUNTS};
	int fd, result;

	(void)loop;
	(void)revents;
	while ((result = channel_receive(io->fd, &m, &fd)) > 0 || result == -EPROTO) {
		if (result > 0)
			take(p, &m, fd);
		else
			lost(p, &m);
		if (fd >= 0)
			close(fd);
	}
	if (result < 0)
		gate_gone(p);
}

/* A worker took over a generation, served /metrics, or has ended.  Names are learnt for a
 * generation only after FOLLOWS, so that the gate knows it when it is told of them. */
static void on_worker(struct ev_loop *loop, ev_async *wake, int revents)
{
	struct proxy *p = wake->data;
	uint64_t number = p->shared.generation->number;
	unsigned follows = 0, ended = 0;

	(void)loop;
	(void)revents;
	for (unsigned i = 0; i < p->started; i++) {
		follows += atomic_load(&p->shared.workers[i]->follows) == number;
		ended += atomic_load(&p->shared.workers[i]->ended);
	}
	if (ended == p->started) {
		stop(p, false);
		return;
	}
	if (follows == p->start->workers && p->announced != number) {
		p->announced = number;
		tell(p, MESSAGE_FOLLOWS, number, "");
		learn_follow(p->learn, p->shared.generation);
	}
	tell_scraped(p);
	inquiry_look(p->inquiry);
}

static void finish(struct proxy *p)
{
	struct shared *s = &p->shared;

	for (unsigned i = 0; i < p->started; i++)
		pthread_join(s->workers[i]->thread, NULL);
	for (unsigned i = 0; i < s->n_workers; i++)
		worker_free(s->workers[i]);
	free(s->workers);
	cache_free(s->cache);
	purge_free(p->purge);
	inquiry_free(p->inquiry);
	free(s->nat_page);
	learn_free(p->learn);
	limits_free(s->limits);
	generation_put(s->generation);
	if (s->access_fd >= 0)
		close(s->access_fd);
	pthread_mutex_destroy(&s->lock);
	ev_loop_destroy(s->main_loop);
}

int proxy_run(const struct proxy_start *start)
{
	struct proxy p = {.start = start,
		.shared = {.access_fd = -1,
			.listeners = start->listeners,
			.n_listeners = start->n_listeners}};

	pthread_mutex_init(&p.shared.lock, NULL);
	node_clients_init(&p.shared.node_clients);
	p.shared.main_loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	p.learn = p.shared.main_loop ? learn_new(p.shared.main_loop, tell_if_room, &p) : NULL;
	p.inquiry = p.learn ? inquiry_new(&p.shared, start->channel) : NULL;
	if (!p.inquiry)
		return EXIT_FAILURE;
	ev_async_init(&p.shared.wake_main, on_worker);
	p.shared.wake_main.data = &p;
	ev_async_start(p.shared.main_loop, &p.shared.wake_main);
	ev_io_init(&p.channel, on_channel, start->channel, EV_READ);
	p.channel.data = &p;
	ev_io_start(p.shared.main_loop, &p.channel);
	ev_run(p.shared.main_loop, 0);
	if (p.failed) /* workers may be anywhere: the process ends with them */
		_exit(EXIT_FAILURE);
	finish(&p);
	return EXIT_SUCCESS;
}
