/*
 * reload.c - an edition's life.
 *
 *	change, SIGHUP, `reload` ─→ reload() ─ refused ─────────────────────────────→ refuse()
 *	                              │ the kernel follows (keeper.c)                  ↑
 *	                              └→ offer() ─ proxy REFUSES, ends, is silent ─→ roll_back()
 *	                                    └─ proxy FOLLOWS ─→ commit()
 *
 * `now` is in force in the kernel and the proxy.  `next` is in force in the kernel and offered to
 * the proxy; there is at most one, and a change that comes meanwhile is looked at after it.
 * Every end of a reload passes through finish(), which answers those who asked for it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/gate/gate_parts.h"
#include "daemon/log/log.h"
#include "daemon/gate/setup.h"

#define PATIENCE 30.0  /* seconds for the proxy to follow an edition */
#define TELL_AGAIN 1.0 /* seconds, when the proxy does not read */

/* ---- what the proxy is told ---- */

void reload_fill_counts(struct gate *g)
{
	const char *trouble = g->keeper ? keeper_trouble(g->keeper) : NULL;
	const char *conflict = gate_peers_trouble(g);
	const char *why = g->refused[0] ? g->refused : trouble ? trouble : conflict ? conflict : "";

	if (!g->follows && !why[0])
		why = "the proxy does not follow yet";
	g->counts.nat_repairs = gate_nat_repairs(g);
	g->counts.restarts = child_restarts(g->child);
	g->counts.ready = !why[0];
	snprintf(g->counts.not_ready, sizeof(g->counts.not_ready), "%s", why);
}

void reload_send_counts(struct gate *g)
{
	struct message message;

	reload_fill_counts(g);
	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_COUNTS;
	message.counts = g->counts;
	ev_timer_stop(g->loop, &g->tell);
	if (child_send(g->child, &message, -1) == -EAGAIN) {
		ev_timer_set(&g->tell, TELL_AGAIN, 0);
		ev_timer_start(g->loop, &g->tell);
	}
}

static void on_tell(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	reload_send_counts(timer->data);
}

static int send_edition(struct gate *g, const struct edition *edition)
{
	struct message message;

	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_GENERATION;
	message.number = edition->number;
	snprintf(message.text, sizeof(message.text), "%s", edition->name);
	memcpy(message.digest, edition->digest, sizeof(message.digest));
	memcpy(message.egress, edition->egress, sizeof(message.egress));
	message.n_egress = (uint32_t)edition->n_egress;
	return child_send(g->child, &message, edition->fd);
}

static void send_access_log(struct gate *g)
{
	struct message message;
	int error;

	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_ACCESS_LOG;
	error = child_send(g->child, &message, g->access_log);
	if (error && error != -ENOTCONN)
		log_error("access log: the proxy does not take it: %s", strerror(-error));
}

static void be_patient(struct gate *g)
{
	ev_timer_stop(g->loop, &g->patience);
	ev_now_update(g->loop);
	ev_timer_set(&g->patience, PATIENCE, 0);
	ev_timer_start(g->loop, &g->patience);
}

/* ---- a reload, from its begin to its end ---- */

static void finish(struct gate *g, const char *answer)
{
	for (size_t i = 0; i < g->n_served; i++)
		control_answer(g->waiting[i], answer);
	g->n_waiting -= g->n_served;
	memmove(g->waiting, g->waiting + g->n_served, g->n_waiting * sizeof(*g->waiting));
	g->n_served = 0;
	reload_send_counts(g);
	gate_nat_catch_up(g);
	if (g->again && !g->stopping)
		reload(g);
}

/* What nobody asked for and is refused as before is not told again. */
static void refuse(struct gate *g, const struct error *e)
{
	char answer[sizeof(e->text) + 16];

	if (!g->by_itself || strcmp(g->refused, e->text) != 0) {
		log_error("reload refused, generation %llu stays in force: %s",
			(unsigned long long)g->now->number, e->text);
		g->counts.reloads_failed++;
	}
	snprintf(g->refused, sizeof(g->refused), "%.*s", (int)sizeof(g->refused) - 1, e->text);
	snprintf(answer, sizeof(answer), "error: %s\n", e->text);
	finish(g, answer);
}

static void close_access_log(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void roll_back(struct gate *g, const char *why)
{
	struct error e;

	error_set(&e, -ECANCELED, "%s", why);
	ev_timer_stop(g->loop, &g->patience);
	if (g->now->datapath)
		keeper_revert(g->keeper, g->now->datapath);
	edition_free(g->next);
	g->next = NULL;
	if (g->now->datapath)
		gate_peers_owned(g);
	close_access_log(&g->next_access_log);
	refuse(g, &e);
}

static void set_level(const struct gate *g)
{
	log_set_level(g->options->debug ? LOG_LEVEL_DEBUG : g->now->config->log_level);
}

static void take_access_log(struct gate *g, int fd)
{
	close_access_log(&g->access_log);
	g->access_log = fd;
	send_access_log(g);
}

static void commit(struct gate *g)
{
	struct edition *before = g->now;
	const char *key;
	char text[EDITION_TEXT], answer[64];
	size_t from = 0;

	g->now = g->next;
	g->next = NULL;
	gate_nat_follow(g);
	ev_timer_stop(g->loop, &g->patience);
	if (strcmp(before->config->access_log, g->now->config->access_log) != 0)
		take_access_log(g, g->next_access_log);
	g->next_access_log = -1;
	if (before->config == g->started)
		before->config = NULL;
	edition_free(before);
	set_level(g);
	g->refused[0] = 0;
	g->counts.reloads_ok++;
	ev_now_update(g->loop);
	g->counts.reload_time = ev_now(g->loop);
	log_info("generation %llu in force after %.0f ms: %s", (unsigned long long)g->now->number,
		(ev_now(g->loop) - g->reload_began) * 1e3, edition_print(g->now, text));
	while ((key = config_needs_restart(g->started, g->now->config, &from)))
		log_warn("%s: the change takes effect when egretd is started again", key);
	edition_warn_foreign(g->now);
	edition_warn_ways(g->now);
	snprintf(
		answer, sizeof(answer), "ok generation %llu\n", (unsigned long long)g->now->number);
	finish(g, answer);
}

static void unchanged(struct gate *g)
{
	char answer[64];

	if (g->refused[0])
		log_info("the files are again what generation %llu was made from",
			(unsigned long long)g->now->number);
	else
		log_debug("nothing changed: generation %llu stays in force",
			(unsigned long long)g->now->number);
	g->refused[0] = 0;
	snprintf(answer, sizeof(answer), "ok generation %llu, nothing changed\n",
		(unsigned long long)g->now->number);
	finish(g, answer);
}

/* What is in force and what was tried: an edit that was refused may be mended in either. */
static void watch_paths(struct gate *g, const struct path_list *tried, const struct timespec *since)
{
	const struct path_list none = {0}, *now = g->now ? &g->now->paths : &none;
	size_t n = path_list_equal(now, tried) ? 0 : tried->n;
	const char **all = calloc(now->n + n + 1, sizeof(*all));
	struct error e;

	for (size_t i = 0; all && i < now->n + n; i++)
		all[i] = i < now->n ? now->at[i] : tried->at[i - now->n];
	if (!all || watch_set(g->watch, all, now->n + n, since, &e) < 0)
		log_warn(
			"%s; send SIGHUP after an edit", all ? e.text : "no memory to watch files");
	free(all);
}

struct edition *reload_read(struct gate *g, struct error *e)
{
	struct edition_facts facts = gate_nat_facts(g);
	struct path_list tried = {0};
	struct edition *edition;
	struct timespec since;

	g->refused_by_facts = false;
	facts.by_node = &g->refused_by_facts;
	clock_gettime(CLOCK_REALTIME, &since);
	edition = edition_new(g->options->path, &facts, &tried, e);
	watch_paths(g, edition ? &edition->paths : &tried, &since);
	path_list_fini(&tried);
	return edition;
}

/* With no proxy to ask, an edition that has ended one is not what the next one starts with. */
static bool is_fatal(const struct gate *g, struct error *e)
{
	if (child_pid(g->child) || strcmp(g->next->digest, g->fatal) != 0)
		return false;
	error_set(e, -ECANCELED, "the proxy ended while it took it");
	return true;
}

static int bring_kernel(struct gate *g, struct error *e)
{
	ev_tstamp began = ev_time();
	int error;

	if (g->now->datapath && !datapath_inherit(g->next->datapath, g->now->datapath))
		log_warn("no memory to keep flows whose names have moved");
	error = keeper_apply(g->keeper, g->next->datapath, e);
	if (!error)
		gate_peers_owned(g);

	log_debug("the kernel took %.0f ms", (ev_time() - began) * 1e3);
	return error;
}

/* Everything that may fail for `next` before the proxy is asked; the kernel comes last. */
static int prepare(struct gate *g, struct error *e)
{
	const struct config *now = g->now->config, *next = g->next->config;
	int error = 0;

	if (strcmp(now->access_log, next->access_log) != 0)
		error = setup_access_log(next->access_log, &g->next_access_log, e);
	if (error)
		return error;
	if (next->max_connections > now->max_connections) {
		setup_open_files(0, next->max_connections);
		setup_open_files(child_pid(g->child), next->max_connections);
	}
	return g->next->datapath ? bring_kernel(g, e) : 0;
}

static void offer(struct gate *g)
{
	int error;

	g->next->number = ++g->number;
	error = child_pid(g->child) ? send_edition(g, g->next) : -ENOTCONN;
	if (error == -ENOTCONN) /* the next proxy starts with it */
		commit(g);
	else if (error)
		roll_back(g, "the proxy does not take it");
	else
		be_patient(g);
}

void reload(struct gate *g)
{
	struct error e;

	if (g->next) {
		g->again = true;
		return;
	}
	g->again = false;
	g->n_served = g->n_waiting;
	ev_now_update(g->loop);
	g->reload_began = ev_now(g->loop);
	g->next = reload_read(g, &e);
	if (!g->next) {
		refuse(g, &e);
	} else if (edition_equal(g->now, g->next)) {
		edition_free(g->next);
		g->next = NULL;
		unchanged(g);
	} else if (is_fatal(g, &e) || prepare(g, &e) < 0) {
		edition_free(g->next);
		g->next = NULL;
		close_access_log(&g->next_access_log);
		refuse(g, &e);
	} else
		offer(g);
}

void reload_reopen_access_log(struct gate *g)
{
	struct error e;
	int fd;

	if (setup_access_log(g->now->config->access_log, &fd, &e) == 0)
		take_access_log(g, fd);
	else
		log_error("%s: the one that was open stays", e.text);
}

/* ---- the proxy ---- */

void reload_on_proxy_start(void *arg)
{
	struct gate *g = arg;
	int error;

	g->follows = false;
	error = send_edition(g, g->now);
	if (error) {
		log_error("the proxy does not take its first message: %s", strerror(-error));
		child_kill(g->child);
		return;
	}
	send_access_log(g);
	reload_send_counts(g);
	learning_begin(g->learning);
	nat_page_begin(g->nat_page);
	be_patient(g);
}

static void log_ready(const struct gate *g)
{
	static const char *const names[] = {[LISTENER_PROXY] = "proxy",
		[LISTENER_CAPTURE] = "capture",
		[LISTENER_ADMIN] = "admin"};
	char at[ENDPOINT_TEXT], text[EDITION_TEXT];

	for (size_t i = 0; i < g->listeners.n; i++)
		if (g->listeners.at[i].worker == 0)
			log_info("%s on %s", names[g->listeners.at[i].kind],
				endpoint_print(&g->listeners.at[i].at, at));
	log_info("ready: generation %llu, %s, %u worker%s, NAT %s",
		(unsigned long long)g->now->number, edition_print(g->now, text), g->workers,
		g->workers == 1 ? "" : "s", g->now->datapath ? "on" : "off");
}

static void on_proxy_follows(struct gate *g, uint64_t number)
{
	if (g->next && number == g->next->number) {
		g->follows = true;
		commit(g);
	} else if (number == g->now->number && !g->follows) {
		g->follows = true;
		if (!g->next)
			ev_timer_stop(g->loop, &g->patience);
		if (g->served)
			log_info("the proxy (pid %d) follows generation %llu",
				(int)child_pid(g->child), (unsigned long long)number);
		else
			log_ready(g);
		g->served = true;
		reload_send_counts(g);
	} else
		log_debug("the proxy follows generation %llu", (unsigned long long)number);
}

static void on_proxy_refuses(struct gate *g, uint64_t number, const char *text)
{
	if (g->next && number == g->next->number) {
		roll_back(g, text);
	} else if (number == g->now->number) {
		log_error(
			"the proxy refuses generation %llu: %s", (unsigned long long)number, text);
		if (g->served)
			child_kill(g->child);
		else
			gate_end(g, 1);
	}
}

void reload_on_proxy_message(void *arg, const struct message *message, int fd)
{
	struct gate *g = arg;

	if (message->type == MESSAGE_FOLLOWS)
		on_proxy_follows(arg, message->number);
	else if (message->type == MESSAGE_REFUSES)
		on_proxy_refuses(arg, message->number, message->text);
	else if (message->type == MESSAGE_LEARNT || message->type == MESSAGE_LEARNT_ALL)
		learning_take(g->learning, message);
	else if (message->type == MESSAGE_PURGED)
		gate_cache_purged(g, message);
	else if (message->type == MESSAGE_TOLD)
		gate_ask_told(g, message, fd);
	else if (message->type == MESSAGE_SCRAPED)
		nat_page_scraped(g->nat_page);
	else
		log_error("the proxy sent a message that is not its to send");
}

void reload_on_proxy_end(void *arg, const char *how)
{
	struct gate *g = arg;
	char why[128];

	gate_cache_proxy_ended(g);
	gate_ask_proxy_ended(g);
	g->follows = false;
	if (g->stopping) {
		log_info("the proxy ended: %s", how);
		ev_break(g->loop, EVBREAK_ALL);
		return;
	}
	log_error("the proxy ended: %s", how);
	ev_timer_stop(g->loop, &g->patience);
	if (!g->next)
		return;
	snprintf(why, sizeof(why), "the proxy ended while it took it: %s", how);
	memcpy(g->fatal, g->next->digest, sizeof(g->fatal));
	roll_back(g, why);
}

static void on_impatient(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct gate *g = timer->data;

	(void)loop;
	(void)revents;
	if (!g->follows) {
		log_error("the proxy follows nothing after %.0f s: killed", PATIENCE);
		child_kill(g->child);
		return;
	}
	roll_back(g, "the proxy did not follow it in time");
	if (send_edition(g, g->now) < 0) /* should it follow later, then this last */
		child_kill(g->child);
}

void reload_init(struct gate *g)
{
	ev_timer_init(&g->patience, on_impatient, 0, 0);
	ev_timer_init(&g->tell, on_tell, 0, 0);
	g->patience.data = g->tell.data = g;
}
