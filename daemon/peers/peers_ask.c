/*
 * peers_ask.c - one gateway that is not this node: asked over each IP version, up or down there,
 * what it has.
 *
 *     path_ask() ─→ wait ─ answer ─→ up, sleep for the rest of the period ─→ path_ask()
 *                        └ none ───→ missed, at the third down ────────────→ path_ask()
 *
 * A path for each version, each with one timer and one socket of its own; what the gateway says is
 * the same over both, and the latest counts.  The period is the interval; FAST after the start and
 * after a missed answer; hasty while another gateway claims what this one has, to learn which of
 * the two is gone.
 *
 * The socket is connected, so that the kernel hands over what comes from the gateway's address and
 * port alone; the random id of a question has to come back.  A new socket after a missed answer:
 * the route, and with it this node's address, may have changed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/log/log.h"
#include "daemon/peers/peers_parts.h"

#define FAST 0.5  /* seconds between questions when something is not as it was */
#define A_TURN 16 /* answers read before others have their turn in the loop */

bool gateway_is_up(const struct gateway *g)
{
	bool up = false;

	for (size_t i = 0; i < g->n_paths; i++)
		up = up || g->paths[i].is.up;
	return up;
}

const struct path *gateway_path(const struct gateway *g, bool v4)
{
	for (size_t i = 0; i < g->n_paths; i++)
		if (addr_is_v4(&g->paths[i].is.at.addr) == v4)
			return &g->paths[i];
	return NULL;
}

static void print_owned(const struct gateway *g, char *out, size_t size)
{
	size_t length = (size_t)snprintf(out, size, "has ");
	char addr[ADDR_TEXT];

	for (size_t i = 0; i < g->said.n_owned && length < size; i++)
		length += (size_t)snprintf(out + length, size - length, "%s%s", i ? ", " : "",
			addr_print(&g->said.owned[i], addr));
	if (g->said.n_owned == 0)
		snprintf(out, size, "has no egress address");
}

static void set_up(struct path *path, bool up)
{
	struct gateway *g = path->gateway;
	char at[ENDPOINT_TEXT], owned[256];

	if (path->is.up == up && path->is.since > 0)
		return;
	path->is.up = up;
	path->is.since = ev_time();
	endpoint_print(&path->is.at, at);
	print_owned(g, owned, sizeof(owned));
	if (up)
		log_info("gateway %s answers at %s after %.3f ms, %s", g->name, at,
			path->is.rtt * 1e3, owned);
	else
		log_error("gateway %s does not answer at %s: no IPv%d is sent to it", g->name, at,
			addr_is_v4(&path->is.at.addr) ? 4 : 6);
	if (!gateway_is_up(g))
		claims_take(g->peers, g->number, NULL, 0, false);
	peers_tell_change(g->peers);
}

static void close_socket(struct path *path)
{
	struct ev_loop *loop = path->gateway->peers->loop;

	ev_io_stop(loop, &path->io);
	if (path->io.fd >= 0)
		close(path->io.fd);
	ev_io_set(&path->io, -1, EV_READ);
}

/* Where that is not possible any more, the kernel's choice is as good. */
static void bind_from(const struct path *path, int fd)
{
	const struct peers *p = path->gateway->peers;
	size_t v = addr_is_v4(&path->is.at.addr) ? GATEWAY_V4 : GATEWAY_V6;
	const struct endpoint from = {.addr = p->from[v]};
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&from, &sa);

	if (p->has_from[v] && cidrs_contain(&p->pods, &path->is.at.addr))
		(void)!bind(fd, (struct sockaddr *)&sa, length);
}

static void open_socket(struct path *path)
{
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&path->is.at, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		bind_from(path, fd);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, length) < 0) {
		close(fd); /* no route to it: an answer that is missing */
		fd = -1;
	}
	if (fd < 0)
		return;
	ev_io_set(&path->io, fd, EV_READ);
	ev_io_start(path->gateway->peers->loop, &path->io);
}

static bool is_contested(const struct gateway *g)
{
	return owners_is_contested(&g->peers->owners, g->number);
}

static double period(const struct path *path, double now)
{
	const struct peers *p = path->gateway->peers;

	if (is_contested(path->gateway))
		return PEERS_HASTY;
	if (p->interval > FAST && (now < path->fast_until || owners_conflicts(&p->owners) > 0))
		return FAST;
	return p->interval;
}

/* How long an answer may take. */
static double patience(const struct path *path, double now)
{
	double p = period(path, now);

	return p < FAST ? p : FAST;
}

static void path_ask(struct path *path)
{
	uint8_t bytes[PEER_MESSAGE_SIZE];
	struct peer_message probe = {.type = PEER_PROBE, .id = peers_random()};
	double now = clock_monotonic();

	if (path->io.fd >= 0 && path->missed > 0 && !is_contested(path->gateway))
		close_socket(path);
	if (path->io.fd < 0)
		open_socket(path);
	path->id_before = path->id;
	path->id = probe.id;
	path->asked = now;
	path->answered = false;
	peer_message_encode(&probe, bytes);
	if (path->io.fd >= 0)
		(void)!send(path->io.fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
	peers_start(path->gateway->peers->loop, &path->timer, patience(path, now));
}

void gateway_ask(struct gateway *g)
{
	for (size_t i = 0; i < g->n_paths; i++)
		if (!ev_is_active(&g->paths[i].timer))
			path_ask(&g->paths[i]);
}

static void path_hurry(struct path *path)
{
	struct ev_loop *loop = path->gateway->peers->loop;
	double left = ev_timer_remaining(loop, &path->timer);

	if (path->answered && clock_monotonic() - path->asked >= PEERS_HASTY)
		path_ask(path);
	else if (left > PEERS_HASTY)
		peers_start(loop, &path->timer, PEERS_HASTY);
}

void gateway_hurry(struct gateway *g)
{
	for (size_t i = 0; i < g->n_paths; i++)
		path_hurry(&g->paths[i]);
}

void gateway_inquire(struct gateway *g)
{
	double now = clock_monotonic();

	for (size_t i = 0; i < g->n_paths; i++) {
		struct path *path = &g->paths[i];

		if (!ev_is_active(&path->timer)) /* nobody is asked there */
			continue;
		path->fast_until = now + PEERS_FAST_FOR;
		if (path->answered)
			path_ask(path);
	}
}

/* Over no version an answer came. */
static bool is_silent(const struct gateway *g)
{
	bool silent = true;

	for (size_t i = 0; i < g->n_paths; i++)
		silent = silent && g->paths[i].missed >= PEERS_MISSED;
	return silent;
}

/* A gate that is busy for a moment is not down: it loses at most what another one claims. */
static void count_missed(struct path *path, double now)
{
	double interval = path->gateway->peers->interval;
	double down_after = PEERS_MISSED * (interval < FAST ? interval : FAST);

	path->fast_until = now + PEERS_FAST_FOR;
	if (++path->missed == 1)
		path->silent = path->asked;
	if (path->missed < PEERS_MISSED)
		return;
	if (is_silent(path->gateway))
		claims_forfeit(path->gateway->peers, path->gateway->number);
	if (now - path->silent >= down_after * 0.9) /* timers are not exact */
		set_up(path, false);
}

/* Of the same life of the gateway, and older than what is known? */
static bool is_stale(const struct gateway *g, const struct peer_message *m)
{
	return m->instance == g->said.instance && m->serial < g->said.serial;
}

static void take_owned(struct gateway *g, const struct peer_message *m)
{
	bool same = m->n_owned == g->said.n_owned &&
		    memcmp(m->owned, g->said.owned, sizeof(m->owned)) == 0;
	char owned[256];

	g->said = *m;
	if (!same && gateway_is_up(g)) {
		print_owned(g, owned, sizeof(owned));
		log_info("gateway %s %s", g->name, owned);
	}
}

static void take(struct path *path, const struct peer_message *m)
{
	struct gateway *g = path->gateway;
	double now = clock_monotonic();
	bool current = m->id == path->id, returns = !gateway_is_up(g);

	if (m->type == PEER_PROBE || (!current && m->id != path->id_before) || is_stale(g, m))
		return;
	take_owned(g, m);
	if (m->type == PEER_ANSWER && current && !path->answered) {
		path->answered = true;
		path->is.rtt = now - path->asked;
		g->heard = path->asked > g->heard ? path->asked : g->heard;
		peers_start(g->peers->loop, &path->timer, path->asked + period(path, now) - now);
	}
	path->missed = 0;
	set_up(path, true);
	claims_take(g->peers, g->number, m->owned, m->n_owned, returns);
}

static void path_hear(struct path *path)
{
	uint8_t bytes[PEER_MESSAGE_SIZE + 1];
	struct peer_message message;

	for (int i = 0; i < A_TURN && path->io.fd >= 0; i++) {
		ssize_t got = recv(path->io.fd, bytes, sizeof(bytes), 0);

		if (got < 0 && errno == EAGAIN)
			return;
		if (got >= 0 && peer_message_decode(&message, bytes, (size_t)got))
			take(path, &message);
	}
}

void gateway_hear(struct gateway *g)
{
	for (size_t i = 0; i < g->n_paths; i++)
		path_hear(&g->paths[i]);
}

static void on_answer(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	path_hear(io->data);
}

/* A loop that was busy finds the answer and the end of patience at once: what has come counts. */
static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct path *path = timer->data;

	(void)loop;
	(void)revents;
	gateway_hear(path->gateway);
	if (ev_is_active(timer))
		return; /* an answer set it anew */
	if (!path->answered)
		count_missed(path, clock_monotonic());
	path_ask(path);
}

static void path_init(struct path *path, struct gateway *g, const struct addr *addr)
{
	path->gateway = g;
	path->is.at = (struct endpoint){*addr, (uint16_t)g->peers->port};
	path->fast_until = clock_monotonic() + PEERS_FAST_FOR;
	ev_io_init(&path->io, on_answer, -1, EV_READ);
	ev_timer_init(&path->timer, on_timer, 0, 0);
	path->io.data = path->timer.data = path;
}

struct gateway *gateway_new(struct peers *p, unsigned number, const struct gateway_peer *configured)
{
	struct gateway *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->peers = p;
	g->number = number;
	memcpy(g->name, configured->name, sizeof(g->name));
	for (size_t v = 0; v < GATEWAY_VERSIONS; v++) {
		const struct addr *addr = gateway_probed(configured, v);

		if (addr)
			path_init(&g->paths[g->n_paths++], g, addr);
	}
	return g;
}

static void path_stop(struct path *path)
{
	ev_timer_stop(path->gateway->peers->loop, &path->timer);
	close_socket(path);
	path->is.up = false;
	path->is.since = 0;
}

void gateway_free(struct gateway *g)
{
	for (size_t i = 0; g && i < g->n_paths; i++)
		path_stop(&g->paths[i]);
	free(g);
}

void gateway_stop(struct gateway *g)
{
	for (size_t i = 0; i < g->n_paths; i++)
		path_stop(&g->paths[i]);
	g->said = (struct peer_message){.type = PEER_ANSWER};
	claims_take(g->peers, g->number, NULL, 0, false);
}
