/*
 * tunnel.h - a CONNECT after its 200, an Upgrade after its 101: two sockets and the bytes between
 * them, spliced.
 *
 * Each direction ends on its own (half-close); the tunnel ends when both have, when either side
 * fails, when it idles too long, or when a new policy denies it.
 */
#pragma once

#include <sys/queue.h>

#include "daemon/log/record.h"
#include "daemon/net/conn.h"
#include "daemon/proxy/survey.h"

struct worker;
struct generation;

struct tunnel;

/* Takes over both connections (fds, buffers, watchers) and the record, whose texts and
 * the query's host are copied.  What `client->in` holds is sent to the origin first.  False when
 * there is no memory: nothing is taken. */
bool tunnel_start(struct worker *worker, struct conn *client, struct conn *origin,
	struct generation *generation, const struct query *query, const struct record *record,
	double began);

/* Holds every tunnel against the worker's (new) generation. */
void tunnels_recheck(struct worker *worker);

/* Ends those without traffic since before `than`. */
void tunnels_close_idle(struct worker *worker, double than);
void tunnels_close_all(struct worker *worker, enum ending ending);

/* As clients_each() and clients_kill(). */
void tunnels_each(const struct worker *worker,
	void (*each)(void *arg, const struct survey_row *row), void *arg);
bool tunnels_kill(struct worker *worker, uint64_t id);
