/*
 * keeper.c - monitor → a short pause (others change rules in bursts) → compare → apply.
 *
 * The pause is not made longer by what comes during it: a repair is at most PAUSE away.
 */
#include "daemon/keeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log/log.h"
#include "nat/table.h"

#define PAUSE 0.01 /* seconds from a foreign change to the repair */
#define RETRY 1.0  /* seconds after a repair that the kernel refused */
#define CHECK_EVERY 60.0
#define WARN_EVERY 1.0 /* seconds between warnings, when somebody fights for the table */

struct keeper {
	struct ev_loop *loop;
	void (*on_change)(void *);
	void *arg;
	const struct plan *plan; /* NULL: none in force yet */
	int monitor;
	uint64_t repairs;
	bool troubled;
	struct error trouble;
	ev_tstamp warned;
	ev_io io;
	ev_timer pause, check;
};

static void pause_for(struct keeper *k, double seconds)
{
	if (ev_is_active(&k->pause))
		return;
	ev_now_update(k->loop);
	ev_timer_set(&k->pause, seconds, 0);
	ev_timer_start(k->loop, &k->pause);
}

static void set_trouble(struct keeper *k, const struct error *e)
{
	if (e)
		k->trouble = *e;
	k->troubled = e != NULL;
	k->on_change(k->arg);
}

static void repaired(struct keeper *k, bool foreign)
{
	k->repairs += foreign;
	if (foreign && ev_now(k->loop) - k->warned >= WARN_EVERY) {
		k->warned = ev_now(k->loop);
		log_warn("somebody changed nftables table %s: repaired (%llu so far)",
			k->plan->table, (unsigned long long)k->repairs);
	}
	set_trouble(k, NULL);
}

static void put_right(struct keeper *k, bool foreign)
{
	struct error e;
	int matches = table_matches(k->plan, &e);

	if (matches == 0) {
		if (table_apply(k->plan, &e) == 0) {
			repaired(k, foreign);
			return;
		}
	} else if (matches == 1) {
		if (k->troubled)
			set_trouble(k, NULL);
		return;
	}
	if (!k->troubled)
		log_error("nftables table %s is not as it should be: %s", k->plan->table, e.text);
	set_trouble(k, &e);
	pause_for(k, RETRY);
}

static void on_pause(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct keeper *k = timer->data;

	(void)loop;
	(void)revents;
	if (k->plan)
		put_right(k, true);
}

static void on_monitor(struct ev_loop *loop, ev_io *io, int revents)
{
	struct keeper *k = io->data;

	(void)loop;
	(void)revents;
	if (k->plan && table_monitor_drain(k->monitor, k->plan->table))
		pause_for(k, PAUSE);
}

struct keeper *keeper_new(struct ev_loop *loop, void (*on_change)(void *), void *arg)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	*k = (struct keeper){.loop = loop, .on_change = on_change, .arg = arg, .monitor = -1};
	ev_io_init(&k->io, on_monitor, -1, EV_READ);
	ev_timer_init(&k->pause, on_pause, 0, 0);
	ev_timer_init(&k->check, on_pause, CHECK_EVERY, CHECK_EVERY);
	k->io.data = k->pause.data = k->check.data = k;
	return k;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	ev_io_stop(k->loop, &k->io);
	ev_timer_stop(k->loop, &k->pause);
	ev_timer_stop(k->loop, &k->check);
	if (k->monitor >= 0)
		close(k->monitor);
	free(k);
}

/* From the first plan on; what changes before the first comparison is told, not missed. */
static int start(struct keeper *k, struct error *e)
{
	if (k->monitor >= 0)
		return 0;
	k->monitor = table_monitor_open(e);
	if (k->monitor < 0)
		return k->monitor;
	ev_io_set(&k->io, k->monitor, EV_READ);
	ev_io_start(k->loop, &k->io);
	ev_timer_start(k->loop, &k->check);
	return 0;
}

int keeper_apply(struct keeper *k, const struct plan *plan, struct error *e)
{
	int error = start(k, e);

	if (!error)
		error = table_apply(plan, e);
	if (error)
		return error;
	k->plan = plan;
	if (k->troubled)
		set_trouble(k, NULL);
	return 0;
}

void keeper_revert(struct keeper *k, const struct plan *plan)
{
	k->plan = plan;
	put_right(k, false);
}

uint64_t keeper_repairs(const struct keeper *k)
{
	return k->repairs;
}

const char *keeper_trouble(const struct keeper *k)
{
	return k->troubled ? k->trouble.text : NULL;
}
