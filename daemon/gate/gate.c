/*
 * gate.c - the gate's own life: it begins, waits in one loop for files, signals, commands, the
 * kernel and the proxy, and ends with the proxy.
 *
 * The order of the begin: what can fail without a trace comes first (files, control socket as the
 * lock against a second gate, listeners), then the kernel, then the proxy.  The proxy may end at
 * any moment and is started again.  SIGTERM lets it drain, and its end is the gate's; the rules in
 * the kernel stay and go on protecting.
 */
#include "daemon/gate/gate.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/gate/gate_parts.h"
#include "daemon/log/log.h"
#include "daemon/sandbox.h"
#include "daemon/gate/setup.h"
#include "daemon/version.h"

#define DRAIN_GRACE 2.0 /* seconds beyond drain-timeout, then SIGKILL */

/* Bytes from which memory has a mapping of its own, in both processes.  glibc would raise that with
 * each large array that is freed, and the next policy's arrays would leave holes in the heap. */
#define LARGE (128 * 1024)

/* In the new process.  To stop the watchers of signals would undo how child.c has set these. */
static int run_proxy(void *arg, int channel)
{
	struct gate *g = arg;
	struct proxy_start start = {
		channel, g->listeners.at, g->listeners.n, g->workers, g->cache_file};
	unsigned uid = g->started->uid, gid = g->started->gid;
	struct error e;

	ev_loop_destroy(g->loop);
	log_set_process("proxy");
	setup_proxy_process(channel, g->cache_file, &g->listeners);
	edition_free(g->next);
	edition_free(g->now);
	if (sandbox_drop(uid, gid, &e) < 0) {
		log_error("%s", e.text);
		return 1;
	}
	return proxy_run(&start);
}

/* ---- the end ---- */

static void drain(struct gate *g)
{
	double timeout = g->now->config->drain_timeout;
	struct message message;

	gate_peers_leave(g);
	g->stopping = true;
	listen_close(&g->listeners);
	child_retire(g->child);
	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_DRAIN;
	message.drain_timeout = timeout;
	if (!child_pid(g->child)) {
		ev_break(g->loop, EVBREAK_ALL);
		return;
	}
	log_info("stopping: connections have %.0f s to end", timeout);
	if (child_send(g->child, &message, -1) < 0)
		child_kill(g->child);
	ev_timer_stop(g->loop, &g->patience);
	ev_now_update(g->loop);
	ev_timer_set(&g->last, timeout + DRAIN_GRACE, 0);
	ev_timer_start(g->loop, &g->last);
}

static void on_term(struct ev_loop *loop, ev_signal *signal, int revents)
{
	struct gate *g = signal->data;

	(void)loop;
	(void)revents;
	if (!g->stopping) {
		drain(g);
	} else {
		log_warn("stopping now, connections are cut");
		child_kill(g->child);
	}
}

static void on_last(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct gate *g = timer->data;

	(void)loop;
	(void)revents;
	log_warn("the proxy did not end in time: killed");
	child_kill(g->child);
}

void gate_end(struct gate *g, int status)
{
	g->status = status;
	g->stopping = true;
	child_retire(g->child);
	child_kill(g->child);
	ev_break(g->loop, EVBREAK_ALL);
}

/* ---- what the loop calls ---- */

static void on_change(void *arg)
{
	struct gate *g = arg;

	if (!g->stopping)
		reload(g);
}

static void on_hup(struct ev_loop *loop, ev_signal *signal, int revents)
{
	struct gate *g = signal->data;

	(void)loop;
	(void)revents;
	if (g->stopping)
		return;
	reload_reopen_access_log(g);
	gate_nat_reopen_log(g);
	reload(g);
}

/* ---- the begin ---- */

static void init_watchers(struct gate *g)
{
	ev_signal_init(&g->hup, on_hup, SIGHUP);
	ev_signal_init(&g->term, on_term, SIGTERM);
	ev_signal_init(&g->interrupt, on_term, SIGINT);
	ev_timer_init(&g->last, on_last, 0, 0);
	g->hup.data = g->term.data = g->interrupt.data = g;
	g->last.data = g;
	reload_init(g);
	gate_ask_init(g);
	ev_signal_start(g->loop, &g->hup);
	ev_signal_start(g->loop, &g->term);
	ev_signal_start(g->loop, &g->interrupt);
}

static int make_parts(struct gate *g, struct error *e)
{
	const struct child_events events = {
		run_proxy, reload_on_proxy_start, reload_on_proxy_message, reload_on_proxy_end, g};

	g->loop = ev_default_loop(0);
	if (!g->loop)
		return error_set(e, -ENOSYS, "no event loop");
	g->child = child_new(g->loop, &events);
	g->watch = watch_new(g->loop, on_change, g);
	g->control = control_new(g->loop, gate_control_on_request, g);
	if (!g->child || !g->watch || !g->control)
		return error_set(e, -ENOMEM, "no memory");
	init_watchers(g);
	return gate_nat_init(g, e);
}

/* A plain user may have no place for a control socket; anything else about it is an error. */
static int open_control(struct gate *g, struct error *e)
{
	const char *path = g->now->config->control;
	int error = path ? control_listen(g->control, path, e) : 0;

	if ((error == -EACCES || error == -EROFS) && geteuid() != 0) {
		log_warn("%s: goes on without it", e->text);
		return 0;
	}
	return error;
}

static int open_all(struct gate *g, struct error *e)
{
	struct config *config;
	int error;

	g->now = reload_read(g, e);
	if (!g->now)
		return -EINVAL;
	g->now->number = ++g->number;
	g->started = config = g->now->config;
	child_set_uid(g->child, config->uid);
	if (!g->options->debug)
		log_set_level(config->log_level);
	g->workers = config->role == ROLE_AGENT ? 1 : setup_workers(config->workers);
	error = open_control(g, e);
	if (!error)
		error = setup_access_log(config->access_log, &g->access_log, e);
	if (!error)
		gate_cache_open(g);
	if (!error)
		error = listen_open(&g->listeners, config, g->workers, e);
	if (!error)
		error = gate_nat_open(g, e);
	if (error)
		return error;
	g->counts.start_time = g->counts.reload_time = ev_time();
	setup_open_files(0, config->max_connections);
	edition_warn_foreign(g->now);
	edition_warn_ways(g->now);
	return child_start(g->child, e);
}

static void close_all(struct gate *g)
{
	control_free(g->control);
	watch_free(g->watch);
	gate_nat_fini(g);
	child_free(g->child);
	listen_close(&g->listeners);
	if (g->access_log >= 0)
		close(g->access_log);
	if (g->cache_file >= 0)
		close(g->cache_file);
	if (g->now && g->started != g->now->config)
		config_free(g->started);
	edition_free(g->next);
	edition_free(g->now);
}

int gate_run(const struct gate_options *options)
{
	struct gate g = {
		.options = options, .access_log = -1, .next_access_log = -1, .cache_file = -1};
	struct error e;

	log_set_process("gate");
	if (options->debug)
		log_set_level(LOG_LEVEL_DEBUG);
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_MMAP_THRESHOLD, LARGE);
	if (make_parts(&g, &e) < 0 || open_all(&g, &e) < 0) {
		log_error("%s", e.text);
		g.status = 1;
	} else
		ev_run(g.loop, 0);
	close_all(&g);
	if (g.status == 0)
		log_info("stopped");
	return g.status;
}
