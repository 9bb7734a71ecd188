/*
 * rivals.c - other nodes of the link that have an egress address which is here, too.
 *
 * Rounds: ask for every address, and hear until the next round.  What was heard in two rounds in a
 * row is a rival; heard once, it may be the former or the next owner at the moment of a take-over.
 * Two rounds of silence and it is gone.
 */
#include "daemon/peers/rivals.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log/log.h"
#include "nat/address.h"
#include "nat/probe.h"

#define EVERY 10.0   /* seconds between rounds */
#define SUSPECT 0.5  /* when somebody was heard */
#define ROUNDS 2     /* in a row, to believe it */
#define EARS_MOST 32 /* pairs of device and version */

struct watched {
	struct addr addr;
	uint32_t device;
	bool heard; /* since the last question */
	unsigned rounds_heard, rounds_silent;
	bool rival;
	uint8_t mac[PROBE_MAC];
};

struct ear {
	struct rivals *rivals;
	uint32_t device;
	bool v4;
	ev_io io;
};

struct rivals {
	struct ev_loop *loop;
	void (*on_change)(void *);
	void *arg;
	struct watched at[RIVALS_MOST];
	size_t n;
	struct ear ears[EARS_MOST];
	size_t n_ears;
	ev_timer round;
	bool warned; /* of what cannot be watched */
	char trouble[128];
};

static void start_round(struct rivals *r, double seconds)
{
	ev_timer_stop(r->loop, &r->round);
	ev_now_update(r->loop);
	ev_timer_set(&r->round, seconds, 0);
	ev_timer_start(r->loop, &r->round);
}

static struct ear *ear_of(struct rivals *r, const struct watched *w)
{
	for (size_t i = 0; i < r->n_ears; i++)
		if (r->ears[i].device == w->device && r->ears[i].v4 == addr_is_v4(&w->addr))
			return &r->ears[i];
	return NULL;
}

static void set_rival(struct rivals *r, struct watched *w, bool rival)
{
	char addr[ADDR_TEXT], mac[PROBE_MAC_TEXT];

	w->rival = rival;
	addr_print(&w->addr, addr);
	if (rival)
		log_error("egress address %s is on this node and on another one, %s: answers of "
			  "partners go to either",
			addr, probe_print_mac(w->mac, mac));
	else
		log_info("egress address %s is on this node alone again", addr);
	r->on_change(r->arg);
}

static void count_round(struct rivals *r, struct watched *w)
{
	w->rounds_heard = w->heard ? w->rounds_heard + 1 : 0;
	w->rounds_silent = w->heard ? 0 : w->rounds_silent + 1;
	w->heard = false;
	if (!w->rival && w->rounds_heard >= ROUNDS)
		set_rival(r, w, true);
	else if (w->rival && w->rounds_silent >= ROUNDS)
		set_rival(r, w, false);
}

static void on_round(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct rivals *r = timer->data;
	bool suspect = false;

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < r->n; i++) {
		struct watched *w = &r->at[i];
		const struct ear *ear = ear_of(r, w);
		int error;

		count_round(r, w);
		suspect = suspect || w->rounds_heard > 0 || w->rival;
		error = ear ? probe_send(ear->io.fd, w->device, &w->addr) : 0;
		if (error) /* the device is down, or gone: then the address soon is, too */
			log_debug("asking for an egress address: %s", strerror(-error));
	}
	if (r->n > 0)
		start_round(r, suspect ? SUSPECT : EVERY);
}

static void on_frame(struct ev_loop *loop, ev_io *io, int revents)
{
	struct ear *ear = io->data;
	struct rivals *r = ear->rivals;
	struct probe_answer answer;

	(void)revents;
	while (probe_take(io->fd, &answer))
		for (size_t i = 0; i < r->n; i++) {
			struct watched *w = &r->at[i];

			if (w->device != ear->device || !addr_equal(&w->addr, &answer.addr))
				continue;
			w->heard = true;
			memcpy(w->mac, answer.mac, sizeof(w->mac));
			if (ev_timer_remaining(loop, &r->round) > SUSPECT)
				start_round(r, SUSPECT);
		}
}

struct rivals *rivals_new(struct ev_loop *loop, void (*on_change)(void *arg), void *arg)
{
	struct rivals *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->loop = loop;
	r->on_change = on_change;
	r->arg = arg;
	ev_timer_init(&r->round, on_round, 0, 0);
	r->round.data = r;
	return r;
}

static void close_ears(struct rivals *r)
{
	while (r->n_ears > 0) {
		struct ear *ear = &r->ears[--r->n_ears];

		ev_io_stop(r->loop, &ear->io);
		close(ear->io.fd);
	}
}

void rivals_free(struct rivals *r)
{
	if (!r)
		return;
	close_ears(r);
	ev_timer_stop(r->loop, &r->round);
	free(r);
}

/* Once, not at every change of an address. */
static void warn(struct rivals *r, const char *why)
{
	if (!r->warned)
		log_warn("another node with the same egress address would not be noticed: %s", why);
	r->warned = true;
}

static void open_ear(struct rivals *r, const struct watched *first)
{
	struct ear *ear = &r->ears[r->n_ears];
	struct addr addrs[PROBE_MOST];
	struct error e;
	size_t n = 0;
	int fd;

	for (size_t i = 0; i < r->n; i++)
		if (r->at[i].device == first->device &&
			addr_is_v4(&r->at[i].addr) == addr_is_v4(&first->addr))
			addrs[n++] = r->at[i].addr;
	fd = probe_open(first->device, addrs, n, &e);
	if (fd == -ENOTSUP)
		return;
	if (fd < 0) {
		warn(r, e.text);
		return;
	}
	*ear = (struct ear){.rivals = r, .device = first->device, .v4 = addr_is_v4(&first->addr)};
	ev_io_init(&ear->io, on_frame, fd, EV_READ);
	ear->io.data = ear;
	ev_io_start(r->loop, &ear->io);
	r->n_ears++;
}

static const struct rtnetlink_address *find(
	const struct address_list *here, const struct addr *addr)
{
	for (size_t i = 0; i < here->n; i++)
		if (addr_equal(&here->at[i].addr, addr))
			return &here->at[i];
	return NULL;
}

static struct watched *find_watched(struct rivals *r, const struct addr *addr, uint32_t device)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->at[i].device == device && addr_equal(&r->at[i].addr, addr))
			return &r->at[i];
	return NULL;
}

/* What is watched already goes on as it is.  True: something is different. */
static bool take(
	struct rivals *r, const struct addr *addrs, size_t n, const struct address_list *here)
{
	struct watched *next = calloc(RIVALS_MOST, sizeof(*next));
	size_t n_next = 0, kept = 0;
	bool changed;

	if (!next) {
		warn(r, strerror(ENOMEM));
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		const struct rtnetlink_address *found = find(here, &addrs[i]);
		struct watched *before = found ? find_watched(r, &addrs[i], found->device) : NULL;

		if (!found)
			continue;
		if (n_next == RIVALS_MOST) {
			warn(r, "there are more than 128 on this node");
			break;
		}
		kept += before != NULL;
		next[n_next] = (struct watched){.addr = addrs[i], .device = found->device};
		if (before)
			next[n_next] = *before;
		n_next++;
	}
	changed = kept != n_next || kept != r->n;
	memcpy(r->at, next, n_next * sizeof(*next));
	r->n = n_next;
	free(next);
	return changed;
}

void rivals_follow(struct rivals *r, const struct addr *addrs, size_t n)
{
	struct address_list here = {0};
	bool had = rivals_trouble(r) != NULL, changed = false;
	struct error e;

	if (address_list_load(&here, &e) < 0)
		warn(r, e.text);
	else
		changed = take(r, addrs, n, &here);
	address_list_fini(&here);
	if (!changed)
		return;
	close_ears(r);
	for (size_t i = 0; i < r->n && r->n_ears < EARS_MOST; i++)
		if (!ear_of(r, &r->at[i]))
			open_ear(r, &r->at[i]);
	ev_timer_stop(r->loop, &r->round);
	if (r->n > 0)
		start_round(r, 0);
	if (had && !rivals_trouble(r))
		r->on_change(r->arg);
}

const char *rivals_trouble(struct rivals *r)
{
	char addr[ADDR_TEXT], mac[PROBE_MAC_TEXT];

	for (size_t i = 0; i < r->n; i++)
		if (r->at[i].rival) {
			snprintf(r->trouble, sizeof(r->trouble),
				"egress address %s is on another node, too: %s",
				addr_print(&r->at[i].addr, addr),
				probe_print_mac(r->at[i].mac, mac));
			return r->trouble;
		}
	return NULL;
}
