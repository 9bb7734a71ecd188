/*
 * gate_cache.c - what the gate does for the cache: its file, and purges by command.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/gate/child.h"
#include "daemon/gate/control.h"
#include "daemon/gate/gate_parts.h"
#include "daemon/log/log.h"
#include "daemon/gate/setup.h"

#define PATIENCE 30.0 /* seconds; a purge looks at every response, of a file on the disk */

/* Without its file the cache is in memory: slower, but it serves. */
void gate_cache_open(struct gate *g)
{
	const struct config *config = g->started;
	struct error e;

	if (!config->cache_directory || config->cache_size == 0 || config->role == ROLE_AGENT)
		return;
	g->cache_file = setup_cache_file(config->cache_directory, config->cache_size, &e);
	if (g->cache_file < 0)
		log_warn("the cache is in memory only: %s", e.text);
}

static struct control_client *finish(struct gate *g)
{
	struct control_client *client = g->purging;

	ev_timer_stop(g->loop, &g->purge_patience);
	g->purging = NULL;
	return client;
}

static void on_impatient(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	control_error(finish(timer->data), 504,
		"the proxy does not answer yet: should it purge later, nobody is told");
}

static void wait_for_answer(struct gate *g, struct control_client *client)
{
	g->purging = client;
	ev_timer_init(&g->purge_patience, on_impatient, PATIENCE, 0);
	g->purge_patience.data = g;
	ev_now_update(g->loop);
	ev_timer_start(g->loop, &g->purge_patience);
}

void gate_cache_purge(struct gate *g, struct control_client *client, const char *what)
{
	struct message m = {.type = MESSAGE_PURGE};

	if (g->purging) {
		control_error(client, 409, "a purge is under way");
		return;
	}
	if (strlen(what) >= sizeof(m.text)) {
		control_error(client, 409, "want at most 511 bytes");
		return;
	}
	m.number = ++g->purge;
	snprintf(m.text, sizeof(m.text), "%s", what);
	if (!child_pid(g->child) || child_send(g->child, &m, -1) < 0)
		control_error(client, 503, "the proxy does not run, or does not listen");
	else
		wait_for_answer(g, client);
}

void gate_cache_purged(struct gate *g, const struct message *message)
{
	if (g->purging && message->number == g->purge)
		control_answer(finish(g), message->text);
}

void gate_cache_proxy_ended(struct gate *g)
{
	if (g->purging)
		control_error(finish(g), 503, "the proxy ended meanwhile");
}
