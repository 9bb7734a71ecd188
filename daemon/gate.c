/*
 * gate.c - the gate's own life: it begins, waits in one loop for files, signals, commands, the
 * kernel and the proxy, and ends with the proxy.
 *
 * The order of the begin: what can fail without a trace comes first (files, control socket as the
 * lock against a second gate, listeners), then the kernel, then the proxy.  The proxy may end at
 * any moment and is started again.  SIGTERM lets it drain, and its end is the gate's; the rules in
 * the kernel stay and go on protecting.
 */
#include "daemon/gate.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/explain.h"
#include "daemon/gate_parts.h"
#include "daemon/log/log.h"
#include "daemon/sandbox.h"
#include "daemon/setup.h"
#include "daemon/status.h"
#include "daemon/version.h"

#define DRAIN_GRACE 2.0 /* seconds beyond drain-timeout, then SIGKILL */

/* In the new process.  Signal watchers are the one thing of a loop that outlives it. */
static int run_proxy(void *arg, int channel)
{
	struct gate *g = arg;
	struct proxy_start start = {channel, g->listeners.at, g->listeners.n, g->workers};
	unsigned uid = g->started->uid, gid = g->started->gid;
	struct error e;

	ev_signal_stop(g->loop, &g->hup);
	ev_signal_stop(g->loop, &g->term);
	ev_signal_stop(g->loop, &g->interrupt);
	ev_loop_destroy(g->loop);
	log_set_process("proxy");
	setup_proxy_process(channel, &g->listeners);
	edition_free(g->next);
	edition_free(g->now);
	if (sandbox_drop(uid, gid, &e) < 0) {
		log_error("%s", e.text);
		return 1;
	}
	return proxy_run(&start);
}

/* ---- commands ---- */

static void answer_status(struct gate *g, struct control_client *client)
{
	struct status status = {.edition = g->now,
		.counts = &g->counts,
		.gate = getpid(),
		.proxy = child_pid(g->child),
		.reloading = g->next != NULL};
	char *text;

	reload_fill_counts(g);
	text = status_print(&status);
	control_answer(client, text ? text : "error: no memory\n");
	free(text);
}

static void answer_explain(struct gate *g, struct control_client *client, const char *question)
{
	char text[4096];

	explain(g->now->policy, question, text, sizeof(text));
	control_answer(client, text);
}

static void on_line(void *arg, struct control_client *client, const char *line)
{
	struct gate *g = arg;

	if (strcmp(line, "status") == 0) {
		answer_status(g, client);
	} else if (strncmp(line, "explain ", 8) == 0) {
		answer_explain(g, client, line + 8);
	} else if (strcmp(line, "help") == 0) {
		control_answer(client, "status\nreload\nexplain CLIENT METHOD TARGET\nhelp\n");
	} else if (strcmp(line, "reload") != 0) {
		control_answer(client, "error: unknown command; try help\n");
	} else if (g->stopping) {
		control_answer(client, "error: egretd is shutting down\n");
	} else {
		g->waiting[g->n_waiting++] = client;
		reload(g);
	}
}

/* ---- the end ---- */

static void drain(struct gate *g)
{
	double timeout = g->now->config->drain_timeout;
	struct message message;

	g->stopping = true;
	watch_free(g->watch);
	g->watch = NULL;
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
	reload(arg);
}

static void on_nat_change(void *arg)
{
	reload_send_counts(arg);
}

static void on_hup(struct ev_loop *loop, ev_signal *signal, int revents)
{
	struct gate *g = signal->data;

	(void)loop;
	(void)revents;
	if (g->stopping)
		return;
	reload_reopen_access_log(g);
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
	g->keeper = keeper_new(g->loop, on_nat_change, g);
	g->watch = watch_new(g->loop, on_change, g);
	g->control = control_new(g->loop, on_line, g);
	if (!g->child || !g->keeper || !g->watch || !g->control)
		return error_set(e, -ENOMEM, "no memory");
	init_watchers(g);
	return 0;
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

static int open_kernel(struct gate *g, struct error *e)
{
	struct error why;
	int error = g->now->plan ? keeper_apply(g->keeper, g->now->plan, &why) : 0;

	if (error == -EPERM)
		return error_set(e, error,
			"NAT needs CAP_NET_ADMIN: run as root, or set [nat] enable = no in %s (%s)",
			g->options->path, why.text);
	return error ? error_set(e, error, "%s", why.text) : 0;
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
	if (!g->options->debug)
		log_set_level(config->log_level);
	g->workers = setup_workers(config->workers);
	error = open_control(g, e);
	if (!error)
		error = setup_access_log(config->access_log, &g->access_log, e);
	if (!error)
		error = listen_open(&g->listeners, config, g->workers, e);
	if (!error)
		error = open_kernel(g, e);
	if (error)
		return error;
	g->counts.start_time = g->counts.reload_time = ev_time();
	setup_open_files(0, config->max_connections);
	edition_warn_foreign(g->now);
	return child_start(g->child, e);
}

static void close_all(struct gate *g)
{
	control_free(g->control);
	watch_free(g->watch);
	keeper_free(g->keeper);
	child_free(g->child);
	listen_close(&g->listeners);
	if (g->access_log >= 0)
		close(g->access_log);
	if (g->now && g->started != g->now->config)
		config_free(g->started);
	edition_free(g->next);
	edition_free(g->now);
}

int gate_run(const struct gate_options *options)
{
	struct gate g = {.options = options, .access_log = -1, .next_access_log = -1};
	struct error e;

	log_set_process("gate");
	if (options->debug)
		log_set_level(LOG_LEVEL_DEBUG);
	signal(SIGPIPE, SIG_IGN);
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
