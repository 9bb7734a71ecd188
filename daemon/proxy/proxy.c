/*
 * The main thread does what must not hold up a worker: it parses a new
 * generation and then tells the workers, who take it over between two turns of their loops.
 */
#include "daemon/proxy/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log/log.h"
#include "daemon/proxy/worker.h"

struct proxy {
	const struct proxy_start *start;
	struct shared shared;
	ev_io channel;
	uint64_t announced; /* the generation that FOLLOWS last told of */
	unsigned started;   /* workers with a running thread */
	bool failed;
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

static void follow(struct proxy *p, const struct message *m, int fd)
{
	struct error e = {""};
	struct generation *next = fd < 0 ? NULL : generation_new(m, fd, &e), *old;

	if (!next) {
		tell(p, MESSAGE_REFUSES, m->number, e.text);
		return;
	}
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
	pthread_mutex_lock(&p->shared.lock);
	if (p->shared.access_fd >= 0)
		close(p->shared.access_fd);
	p->shared.access_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	p->shared.access_serial++;
	pthread_mutex_unlock(&p->shared.lock);
	wake_workers(p);
}

static void drain(struct proxy *p, double timeout)
{
	struct timespec now;

	if (p->shared.draining)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&p->shared.lock);
	p->shared.draining = true;
	p->shared.drain_until = (double)now.tv_sec + (double)now.tv_nsec * 1e-9 + timeout;
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
	case MESSAGE_FOLLOWS:
	case MESSAGE_REFUSES:
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

/* A worker took over a generation, or has ended. */
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
	}
}

static void finish(struct proxy *p)
{
	struct shared *s = &p->shared;

	for (unsigned i = 0; i < p->started; i++)
		pthread_join(s->workers[i]->thread, NULL);
	for (unsigned i = 0; i < s->n_workers; i++)
		worker_free(s->workers[i]);
	free(s->workers);
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

	log_set_process("proxy");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* a terminal sends these to the gate as well, which drains us */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	pthread_mutex_init(&p.shared.lock, NULL);
	p.shared.main_loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	if (!p.shared.main_loop)
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
