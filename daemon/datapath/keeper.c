/*
 * keeper.c - monitors → a short pause (others change things in bursts) → compare → apply.
 *
 * The pause is not made longer by what comes during it: a repair is at most PAUSE away.
 *
 * A datapath comes into force in this order:
 *
 *     kernel parameters               what the rules need to work
 *     table                           new flows follow the plan
 *     routing guard                   it lets pass what the table marks
 *     flows                           those that may not go on are deleted
 *     table, the rest                 pairs of class and source that are not allowed any more
 *     addresses                       the table guards what listens on the node from whom they
 *                                     bring; without it they do not come
 *     addresses that are egret's and not wanted any more
 *
 * Packets that were under way on another CPU while the table changed may have made a flow by the
 * old one after the flows were looked at: they are looked at once more a moment later.
 */
#include "daemon/datapath/keeper.h"

#include <stdlib.h>
#include <unistd.h>

#include "daemon/datapath/drop.h"
#include "daemon/log/log.h"
#include "nat/announce.h"
#include "nat/audit.h"
#include "nat/conntrack.h"
#include "nat/table.h"
#include "nat/wireguard.h"

#define PAUSE 0.01 /* seconds from a foreign change to the repair */
#define RETRY 1.0  /* seconds after a repair that the kernel refused */
#define CHECK_EVERY 60.0
#define PARAMETERS_EVERY 1.0
#define AUDIT_AGAIN 1.0
#define WARN_EVERY 1.0 /* seconds between warnings, when somebody fights for a part */

#define BIT(part) (1U << (part))
#define ALL_PARTS (BIT(KEEPER_PARTS) - 1)

const char *const keeper_part_names[KEEPER_PARTS] = {
	[KEEPER_TABLE] = "table",
	[KEEPER_ROUTES] = "routes",
	[KEEPER_ADDRESSES] = "addresses",
	[KEEPER_SYSCTLS] = "sysctls",
};

/* Seconds after an address came. */
static const double announcements[] = {0, 1, 2, 5};

struct keeper {
	struct ev_loop *loop;
	struct keeper_events events;
	const struct datapath *now;      /* NULL: none in force yet */
	const struct released *released; /* NULL: nothing */
	bool table_known;                /* the kernel's table is now->plan */
	unsigned dirty;                  /* parts that somebody may have changed */
	bool addresses_changed;
	int table_monitor, routing_monitor;
	uint64_t repairs[KEEPER_PARTS];
	bool troubled;
	struct error trouble;
	ev_tstamp warned[KEEPER_PARTS], applied;
	size_t announced; /* how many of announcements[] are done */
	ev_io table_io, routing_io;
	ev_timer pause, check, parameters, audit, announce;
};

static void start_timer(struct keeper *k, ev_timer *timer, double seconds)
{
	if (ev_is_active(timer))
		return;
	ev_now_update(k->loop);
	ev_timer_set(timer, seconds, 0);
	ev_timer_start(k->loop, timer);
}

static void set_trouble(struct keeper *k, const struct error *e)
{
	if (e && !k->troubled)
		log_error("the datapath is not as it should be: %s", e->text);
	if (e)
		k->trouble = *e;
	k->troubled = e != NULL;
	k->events.on_change(k->events.arg);
}

/* ---- the parts ---- */

/* Each: the number of changes that were due, or -errno. */

/* In force until leave_table(); the generation in which the table is as it is known to be. */
static uint32_t take_table(struct keeper *k, const struct plan *plan)
{
	uint32_t generation;

	if (table_monitor_pause(k->table_monitor, plan->table, &generation))
		k->table_known = false;
	return generation;
}

/* `known`: the table is what was asked for, if nobody else was at it. */
static void leave_table(struct keeper *k, const struct plan *plan, bool known)
{
	k->table_known = known;
	if (!table_monitor_resume(k->table_monitor, plan->table))
		return;
	k->table_known = false;
	k->dirty |= BIT(KEEPER_TABLE);
	start_timer(k, &k->pause, PAUSE);
}

static int repair_table(struct keeper *k, struct error *e)
{
	int matches = table_matches(k->now->plan, e);
	int error = matches < 0 ? matches : 0;

	if (matches != 0) {
		k->table_known = !error;
		return error;
	}
	take_table(k, k->now->plan);
	error = table_apply(k->now->plan, NULL, NULL, e);
	leave_table(k, k->now->plan, !error);
	return error ? error : 1;
}

static bool is_released(const struct keeper *k, const struct addr *addr)
{
	return k->released && released_has(k->released, addr);
}

static void announce(struct keeper *k)
{
	struct error e;

	for (size_t i = 0; i < k->now->n_managed; i++)
		if (!is_released(k, &k->now->managed[i]) &&
			announce_send(k->now->device, &k->now->managed[i], &e) < 0)
			log_warn("%s", e.text);
	if (++k->announced < COUNT_OF(announcements))
		start_timer(k, &k->announce,
			announcements[k->announced] - announcements[k->announced - 1]);
}

static void on_announce(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct keeper *k = timer->data;

	(void)loop;
	(void)revents;
	if (k->now)
		announce(k);
}

static int bring_addresses(struct keeper *k, const struct datapath *d, struct error *e)
{
	int changes = 0, result = 0;

	for (size_t i = 0; i < d->n_managed && result >= 0; i++) {
		if (is_released(k, &d->managed[i]))
			continue;
		result = address_add(d->device, &d->managed[i], e);
		changes += result > 0;
	}
	/* At the start, too: whoever added them may not have lived to tell. */
	if (changes > 0 || (!k->now && d->n_managed > 0)) {
		ev_timer_stop(k->loop, &k->announce);
		k->announced = 0;
		start_timer(k, &k->announce, announcements[0]);
	}
	return result < 0 ? result : changes;
}

static int audit(struct keeper *k, const struct datapath *d, struct error *e)
{
	struct address_list addresses = {0};
	struct audit found;
	int error = address_list_load(&addresses, e);

	if (!error)
		error = audit_run(&found, d->plan, d->policy, &d->retired, &addresses, e);
	address_list_fini(&addresses);
	if (error)
		return error;
	if (found.deleted || found.marked)
		log_info("flows of pods: %zu, of which %zu may not go on and %zu go on as another "
			 "partner's",
			found.flows, found.deleted, found.marked);
	if (found.marked)
		k->events.on_marks(k->events.arg);
	return 0;
}

static int bring_routes(const struct datapath *d, struct error *e)
{
	int changes = routing_apply(&d->guard.routing, e);

	for (size_t i = 0; i < d->ways.n_routes && changes >= 0; i++) {
		int more = routing_apply(&d->ways.routes[i], e);

		changes = more < 0 ? more : changes + more;
	}
	return changes;
}

/* One version's trouble, the first of which is told, is not the other's. */
static int bring_leads(const struct datapath *d, struct error *e)
{
	int changes = 0, error = 0;

	for (size_t v = 0; v < 2; v++) {
		const struct way_lead *lead = &d->ways.leads[v];
		int result = lead->device[0]
				     ? wireguard_lead(lead->device, &lead->to, error ? NULL : e)
				     : 0;

		if (result < 0 && !error)
			error = result;
		changes += result > 0;
	}
	return error ? error : changes;
}

static int repair(struct keeper *k, enum keeper_part part, struct error *e)
{
	switch (part) {
	case KEEPER_TABLE:
		return repair_table(k, e);
	case KEEPER_ROUTES:
		return bring_routes(k->now, e);
	case KEEPER_ADDRESSES:
		return bring_addresses(k, k->now, e);
	case KEEPER_SYSCTLS:
	case KEEPER_PARTS:
		break;
	}
	return sysctl_apply(k->now->sysctls, k->now->n_sysctls, e);
}

/* ---- repairs ---- */

static void count_repair(struct keeper *k, enum keeper_part part)
{
	k->repairs[part]++;
	if (ev_now(k->loop) - k->warned[part] < WARN_EVERY)
		return;
	k->warned[part] = ev_now(k->loop);
	log_warn("somebody changed the datapath (%s): repaired (%llu so far)",
		keeper_part_names[part], (unsigned long long)k->repairs[part]);
}

struct repairs {
	bool foreign, done;
	unsigned failed;
	struct error first; /* of what failed */
};

static void note(struct keeper *k, struct repairs *r, enum keeper_part part, int result,
	const struct error *e)
{
	if (result > 0 && r->foreign) {
		count_repair(k, part);
		r->done = true;
	}
	if (result < 0 && !r->failed)
		r->first = *e;
	if (result < 0)
		r->failed |= BIT(part);
}

/* In the order of keeper_apply().  What somebody changes meanwhile is dirty again.  What fails
 * holds up nothing but addresses, which are not to be there without the rules; WireGuard's peers,
 * who come and go with Flannel, not even these. */
static void put_right(struct keeper *k, bool foreign)
{
	static const enum keeper_part order[] = {
		KEEPER_SYSCTLS, KEEPER_TABLE, KEEPER_ROUTES, KEEPER_ADDRESSES};
	struct repairs r = {.foreign = foreign};
	unsigned dirty = k->dirty;
	struct error e;

	k->dirty = 0;
	for (size_t i = 0; i < COUNT_OF(order); i++) {
		enum keeper_part part = order[i];

		if (!(dirty & BIT(part)))
			continue;
		if (part == KEEPER_ADDRESSES &&
			(r.failed & (BIT(KEEPER_TABLE) | BIT(KEEPER_ROUTES))))
			r.failed |= BIT(part);
		else
			note(k, &r, part, repair(k, part, &e), &e);
	}
	if (dirty & (BIT(KEEPER_SYSCTLS) | BIT(KEEPER_ROUTES))) /* nobody tells of them either */
		note(k, &r, KEEPER_ROUTES, bring_leads(k->now, &e), &e);
	if (r.failed) {
		k->dirty |= r.failed;
		set_trouble(k, &r.first);
		if (r.failed & BIT(KEEPER_TABLE)) /* our own try has started it */
			ev_timer_stop(k->loop, &k->pause);
		start_timer(k, &k->pause, RETRY);
		return;
	}
	if (k->troubled || r.done)
		set_trouble(k, NULL);
}

static void on_pause(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct keeper *k = timer->data;
	bool addresses = k->addresses_changed;

	(void)loop;
	(void)revents;
	k->addresses_changed = false;
	if (!k->now)
		return;
	put_right(k, true);
	if (addresses)
		k->events.on_addresses(k->events.arg);
}

static void on_audit(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct keeper *k = timer->data;
	struct error e;

	(void)loop;
	(void)revents;
	if (k->now && audit(k, k->now, &e) < 0)
		log_warn("%s", e.text);
}

static void on_check(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct keeper *k = timer->data;

	k->dirty = ALL_PARTS;
	k->addresses_changed = true;
	on_pause(loop, timer, revents);
	on_audit(loop, timer, revents);
}

static void on_parameters(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct keeper *k = timer->data;

	k->dirty |= BIT(KEEPER_SYSCTLS);
	on_pause(loop, timer, revents);
}

static void hear_table(struct keeper *k)
{
	bool touched = table_monitor_drain(k->table_monitor, k->now ? k->now->plan->table : "");

	if (!k->now || !touched)
		return;
	k->table_known = false;
	k->dirty |= BIT(KEEPER_TABLE);
	start_timer(k, &k->pause, PAUSE);
}

static void on_table(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	hear_table(io->data);
}

static void hear_routing(struct keeper *k)
{
	const struct routing *routing = k->now ? &k->now->guard.routing : NULL;
	unsigned changed = routing_monitor_drain(k->routing_monitor, routing ? routing->table : 0,
		routing ? routing->priority : 0, WAYS_FIRST + GATEWAYS_MOST);

	if (changed & (ROUTING_CHANGED | LINKS_CHANGED))
		k->dirty |= BIT(KEEPER_ROUTES);
	if (changed & (ADDRESSES_CHANGED | LINKS_CHANGED)) {
		k->dirty |= BIT(KEEPER_ADDRESSES);
		k->addresses_changed = true;
	}
	if (changed)
		start_timer(k, &k->pause, PAUSE);
}

static void on_routing(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	hear_routing(io->data);
}

/* What others did until now is repaired, and counted, as it would be a moment later. */
static void catch_up(struct keeper *k)
{
	hear_table(k);
	hear_routing(k);
	if (k->dirty)
		put_right(k, true);
}

/* ---- life ---- */

struct keeper *keeper_new(struct ev_loop *loop, const struct keeper_events *events)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	*k = (struct keeper){
		.loop = loop, .events = *events, .table_monitor = -1, .routing_monitor = -1};
	ev_io_init(&k->table_io, on_table, -1, EV_READ);
	ev_io_init(&k->routing_io, on_routing, -1, EV_READ);
	ev_timer_init(&k->pause, on_pause, 0, 0);
	ev_timer_init(&k->audit, on_audit, 0, 0);
	ev_timer_init(&k->announce, on_announce, 0, 0);
	ev_timer_init(&k->check, on_check, CHECK_EVERY, CHECK_EVERY);
	ev_timer_init(&k->parameters, on_parameters, PARAMETERS_EVERY, PARAMETERS_EVERY);
	k->table_io.data = k->routing_io.data = k;
	k->pause.data = k->audit.data = k->announce.data = k->check.data = k->parameters.data = k;
	return k;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	ev_io_stop(k->loop, &k->table_io);
	ev_io_stop(k->loop, &k->routing_io);
	ev_timer_stop(k->loop, &k->pause);
	ev_timer_stop(k->loop, &k->audit);
	ev_timer_stop(k->loop, &k->announce);
	ev_timer_stop(k->loop, &k->check);
	ev_timer_stop(k->loop, &k->parameters);
	if (k->table_monitor >= 0)
		close(k->table_monitor);
	if (k->routing_monitor >= 0)
		close(k->routing_monitor);
	free(k);
}

/* From the first datapath on; what changes before the first comparison is told, not missed. */
static int start(struct keeper *k, struct error *e)
{
	struct conntrack_stats stats;
	int error;

	if (k->table_monitor >= 0)
		return 0;
	/* So that the kernel loads its module, and the parameters are there before the rules. */
	error = conntrack_stats(&stats, e);
	if (error)
		return error;
	k->routing_monitor = routing_monitor_open(e);
	if (k->routing_monitor < 0)
		return k->routing_monitor;
	k->table_monitor = table_monitor_open(e);
	if (k->table_monitor < 0) {
		close(k->routing_monitor);
		k->routing_monitor = -1;
		return k->table_monitor;
	}
	ev_io_set(&k->table_io, k->table_monitor, EV_READ);
	ev_io_set(&k->routing_io, k->routing_monitor, EV_READ);
	ev_io_start(k->loop, &k->table_io);
	ev_io_start(k->loop, &k->routing_io);
	ev_timer_start(k->loop, &k->check);
	ev_timer_start(k->loop, &k->parameters);
	return 0;
}

struct bringing {
	struct keeper *keeper;
	const struct datapath *datapath;
};

static int bring_rest(void *arg, struct error *e)
{
	const struct bringing *b = arg;
	int result = bring_routes(b->datapath, e);

	return result < 0 ? result : audit(b->keeper, b->datapath, e);
}

static int bring_table(struct keeper *k, const struct datapath *d, struct error *e)
{
	struct bringing bringing = {k, d};
	const struct table_between between = {bring_rest, &bringing};
	struct table_known known = {.generation = take_table(k, d->plan)};
	int error;

	if (k->table_known && k->now)
		known.plan = k->now->plan;
	error = table_apply(d->plan, &known, &between, e);
	leave_table(k, d->plan, !error);
	return error;
}

static int bring(struct keeper *k, const struct datapath *d, struct error *e)
{
	int result = sysctl_apply(d->sysctls, d->n_sysctls, e);

	if (result < 0)
		return result;
	k->dirty = 0;
	result = bring_table(k, d, e);
	if (!result)
		result = bring_addresses(k, d, e);
	return result < 0 ? result : 0;
}

/* What there is no peer for yet is no reason to refuse the rest. */
static void lead(struct keeper *k)
{
	struct error e;

	if (bring_leads(k->now, &e) < 0) {
		k->dirty |= BIT(KEEPER_ROUTES);
		set_trouble(k, &e);
		start_timer(k, &k->pause, RETRY);
	} else if (k->troubled) {
		set_trouble(k, NULL);
	}
}

int keeper_apply(struct keeper *k, const struct datapath *d, struct error *e)
{
	int error = start(k, e);

	if (error)
		return error;
	if (k->now)
		catch_up(k);
	error = bring(k, d, e);
	if (error && k->now) {
		drop_unwanted(k->now, d);
		keeper_revert(k, k->now);
	}
	if (error)
		return error;
	drop_unwanted(d, k->now);
	k->now = d;
	k->applied = ev_time();
	start_timer(k, &k->audit, AUDIT_AGAIN);
	lead(k);
	return 0;
}

void keeper_revert(struct keeper *k, const struct datapath *d)
{
	drop_unwanted(d, k->now);
	k->now = d;
	k->table_known = false;
	k->dirty = ALL_PARTS;
	put_right(k, false);
	start_timer(k, &k->audit, 0);
}

int keeper_release(struct keeper *k, const struct released *released, const struct addr *addrs,
	size_t n, struct error *e)
{
	struct error why;

	k->released = released;
	if (!k->now)
		return 0;
	for (size_t i = 0; i < k->now->n_managed; i++)
		if (is_released(k, &k->now->managed[i]))
			(void)!address_remove(k->now->device, &k->now->managed[i], &why);
	return drop_addresses(k->now->device, addrs, n, e);
}

uint64_t keeper_repairs(const struct keeper *k, enum keeper_part part)
{
	return k->repairs[part];
}

const char *keeper_trouble(const struct keeper *k)
{
	return k->troubled ? k->trouble.text : NULL;
}

ev_tstamp keeper_applied(const struct keeper *k)
{
	return k->applied;
}
