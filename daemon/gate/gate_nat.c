/*
 * gate_nat.c - what the gate does about NAT beside reloads: facts that change, the flows, the
 * numbers.
 *
 *     addresses of the node, answers of DNS ─→ another datapath for the same edition ─→ keeper
 *     pairs that the guard refused ─→ leaks ─┐
 *     flows ─→ book ─────────────────────────┴→ page of metrics ─→ proxy
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/gate/collisions.h"
#include "daemon/gate/gate_parts.h"
#include "daemon/log/log.h"
#include "nat/backstop.h"
#include "nat/conntrack.h"
#include "nat/counts.h"
#include "nat/kernel.h"
#include "nat/table.h"

#define LEAKS_EVERY 1.0  /* seconds between looks at what was refused */
#define FACTS_EVERY 5.0  /* seconds between looks at the node's own address */
#define REPLAN_FIRST 1.0 /* seconds until a plan that failed is made again; then doubled */
#define REPLAN_LAST 60.0
#define PORT_ENDPOINTS_MOST 100 /* the busiest, on the page of metrics */

struct edition_facts gate_nat_facts(const struct gate *g)
{
	return (struct edition_facts){
		.running = g->started,
		.learnt = g->learning ? learning_table(g->learning) : NULL,
		.role = g->options->role,
		.owner_of = g->peers ? gate_peers_owner : NULL,
		.owner_arg = (void *)g,
		.released = &g->released,
	};
}

uint64_t gate_nat_repairs(const struct gate *g)
{
	uint64_t all = 0;

	for (int part = 0; g->keeper && part < KEEPER_PARTS; part++)
		all += keeper_repairs(g->keeper, part);
	return all;
}

/* ---- facts ---- */

/* Nothing else may tell of these facts again. */
static void replan_later(struct gate *g)
{
	double wait = g->replan.repeat * 2;

	g->replan.repeat = wait < REPLAN_FIRST  ? REPLAN_FIRST
			   : wait < REPLAN_LAST ? wait
						: REPLAN_LAST;
	ev_now_update(g->loop);
	ev_timer_again(g->loop, &g->replan);
}

static void forget_replan(struct gate *g)
{
	ev_timer_stop(g->loop, &g->replan);
	g->replan.repeat = 0;
}

/* The edition that the kernel follows. */
static struct edition *in_kernel(const struct gate *g)
{
	return g->next ? g->next : g->now;
}

/* An edition on its way may be rolled back, to a plan that does not know of it. */
int gate_nat_plan_again(struct gate *g, struct error *e)
{
	const struct edition_facts facts = gate_nat_facts(g);
	struct edition *edition = in_kernel(g);
	struct datapath *next;
	bool ways_changed;

	if (g->stopping || !edition || !edition->datapath)
		return 0;
	g->replan_due = g->next != NULL;
	next = edition_replan(edition, &facts, e);
	if (next && !datapath_inherit(next, edition->datapath))
		log_warn("no memory to keep flows whose names have moved");
	if (!next || keeper_apply(g->keeper, next, e) < 0) {
		log_error("the datapath stays as it was: %s", e->text);
		datapath_free(next);
		replan_later(g);
		return -EIO;
	}
	forget_replan(g);
	ways_changed = strcmp(next->ways.trouble, edition->datapath->ways.trouble) != 0;
	datapath_free(edition->datapath);
	edition->datapath = next;
	if (ways_changed) {
		edition_warn_ways(edition);
		reload_send_counts(g);
	}
	gate_peers_owned(g);
	return 0;
}

void gate_nat_replan(struct gate *g)
{
	struct error e;

	(void)!gate_nat_plan_again(g, &e); /* it has logged */
}

static void on_replan(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	ev_timer_stop(loop, timer);
	gate_nat_replan(timer->data);
}

/* Without it all is held but what is in the table at the very moment when somebody takes it away.
 * A gate that was killed may not be quite gone yet. */
static void open_backstop(struct gate *g)
{
	const struct datapath *d = g->now->datapath;
	struct error e;

	if (backstop_open(d->backstop, &e) == 0) {
		g->without_backstop = false;
		return;
	}
	if (!g->without_backstop)
		log_warn("table %s, which is to hold what is under way when table %s is taken "
			 "away, cannot be made, and is tried again: %s",
			d->backstop->table, d->plan->table, e.text);
	g->without_backstop = true;
}

/* The gateway's own address concerns the proxy too: that is a reload. */
static void on_addresses(void *arg)
{
	struct gate *g = arg;
	const struct edition_facts facts = gate_nat_facts(g);

	if (!g->now || g->stopping)
		return;
	gate_peers_look(g);
	gate_peers_owned(g); /* an address may be on another device now */
	g->facts_due = g->next != NULL;
	if (!g->next && (edition_egress_is_stale(g->now) || g->refused_by_facts)) {
		g->by_itself = true;
		reload(g);
		g->by_itself = false;
	}
	/* Also when that reload was refused, for something in the files. */
	if (edition_datapath_is_stale(in_kernel(g), &facts)) {
		log_info("egress addresses came or went");
		gate_nat_replan(g);
		edition_warn_foreign(in_kernel(g));
	}
}

void gate_nat_catch_up(struct gate *g)
{
	if (g->replan_due)
		gate_nat_replan(g);
	if (g->facts_due)
		on_addresses(g);
}

static void on_facts(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct gate *g = timer->data;

	(void)loop;
	(void)revents;
	if (g->without_backstop)
		open_backstop(g);
	on_addresses(timer->data);
}

/* An edition on its way was planned without them, and may be rolled back. */
static bool on_learnt(void *arg)
{
	struct gate *g = arg;

	if (g->next)
		return false;
	log_debug("NAT follows names to %zu addresses", learnt_count(learning_table(g->learning)));
	gate_nat_replan(g);
	return true;
}

/* ---- flows ---- */

static const char *name_of_class(void *arg, uint32_t mark, const struct flow *flow)
{
	struct gate *g = arg;
	const struct datapath *d = g->now->datapath;
	const struct plan_packet packet = {
		.source = flow->original.src,
		.destination = flow->reply.src,
		.protocol = flow->original.protocol,
		.port = flow->reply.sport,
	};
	int section = d ? plan_section(d->plan, d->policy, &packet) : -1;

	(void)mark;
	return section < 0 ? NULL : policy_section(d->policy, (size_t)section)->name;
}

static int open_flows(struct gate *g, struct error *e)
{
	const struct config *config = g->now->config;
	const struct flows_config flows = {
		.log = config->flow_log,
		.class_mask = g->now->datapath->plan->class_mask,
		.max_flows = config->max_flows,
	};

	g->flows = flows_new(g->loop, &flows, name_of_class, g, e);
	return g->flows ? 0 : -EIO;
}

void gate_nat_reopen_log(struct gate *g)
{
	struct error e;

	if (g->flows && flows_reopen(g->flows, &e) < 0)
		log_error("%s: the one that was open stays", e.text);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

void gate_nat_follow(struct gate *g)
{
	struct error e;

	forget_replan(g);
	learning_follow(g->learning, g->now);
	gate_peers_follow(g);
	gate_peers_owned(g);
	if (g->flows && !same_text(flows_log(g->flows), g->now->config->flow_log) &&
		flows_set_log(g->flows, g->now->config->flow_log, &e) < 0)
		log_error("%s: the one that was open stays", e.text);
}

static void on_marks(void *arg)
{
	struct gate *g = arg;

	if (g->flows)
		flows_resync(g->flows);
}

/* ---- numbers ---- */

static void on_leaks(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct gate *g = timer->data;
	struct error e;

	(void)loop;
	(void)revents;
	if (g->now && g->now->datapath &&
		leaks_update(g->leaks, g->now->datapath->plan, g->now->datapath->backstop,
			g->now->policy, &e) < 0)
		log_debug("%s", e.text);
}

struct denials {
	const struct plan *plan;
	const struct policy *policy;
	struct nat_metrics *page;
};

static void on_counter(void *arg, const char *name, uint64_t packets)
{
	const struct denials *d = arg;
	const struct plan_counter *counter = plan_counter(d->plan, name);

	if (counter)
		nat_metrics_value(d->page, NAT_DENIED, packets,
			LABELS(counter->section < 0
					? ""
					: policy_section(d->policy, (size_t)counter->section)->name,
				counter->reason));
}

static void put_addresses(const struct gate *g, struct nat_metrics *page)
{
	const struct datapath *d = g->now->datapath;
	struct address_list here = {0};
	char text[ADDR_TEXT];
	int error = address_list_load(&here, NULL);

	for (size_t i = 0; i < d->n_wanted && !error; i++)
		nat_metrics_value(page, NAT_EGRESS_ADDRESS_PRESENT,
			address_is_present(&here, &d->wanted[i]),
			LABELS(addr_print(&d->wanted[i], text)));
	address_list_fini(&here);
}

static void put_ports(const struct gate *g, struct nat_metrics *page)
{
	char address[ADDR_TEXT], partner[ADDR_TEXT], port[8], protocol[FLOW_PROTOCOL_TEXT];
	struct port_use uses[PORT_ENDPOINTS_MOST];
	size_t n = flows_busiest(g->flows, uses, COUNT_OF(uses));
	unsigned range = flows_port_range(g->flows);

	for (int family = NAT_PORTS_USED; family <= NAT_PORTS_AVAILABLE; family++)
		for (size_t i = 0; i < n; i++) {
			const struct port_use *u = &uses[i];
			unsigned free = u->used < range ? range - u->used : 0;

			snprintf(port, sizeof(port), "%u", u->port);
			nat_metrics_value(page, (enum nat_family)family,
				family == NAT_PORTS_USED ? u->used : free,
				LABELS(addr_print(&u->egress, address),
					addr_print(&u->partner, partner), port,
					flow_protocol_print(u->protocol, protocol)));
		}
}

static void put_conntrack(struct nat_metrics *page)
{
	struct conntrack_stats stats;
	struct error e;

	if (conntrack_stats(&stats, &e) < 0) {
		log_debug("%s", e.text);
		return;
	}
	nat_metrics_value(page, NAT_CONNTRACK_ENTRIES, stats.entries, NO_LABELS);
	if (stats.max)
		nat_metrics_value(page, NAT_CONNTRACK_LIMIT, stats.max, NO_LABELS);
	nat_metrics_value(page, NAT_CONNTRACK_INSERT_FAILED, stats.insert_failed, NO_LABELS);
	nat_metrics_value(page, NAT_CONNTRACK_DROP, stats.drop, NO_LABELS);
	nat_metrics_value(page, NAT_CONNTRACK_EARLY_DROP, stats.early_drop, NO_LABELS);
}

static void put_flows(const struct gate *g, struct nat_metrics *page)
{
	struct flows_counts counts = flows_counts(g->flows);

	nat_metrics_value(page, NAT_FLOWS, counts.flows, NO_LABELS);
	nat_metrics_value(page, NAT_FLOWS_STARTED, counts.started, NO_LABELS);
	nat_metrics_value(page, NAT_FLOWS_ENDED, counts.ended, NO_LABELS);
	nat_metrics_value(page, NAT_FLOW_EVENTS_LOST, counts.overflows, NO_LABELS);
	nat_metrics_value(page, NAT_FLOW_LINES_LOST, counts.lines_lost, NO_LABELS);
}

static void put_datapath(const struct gate *g, struct nat_metrics *page)
{
	struct denials denials = {g->now->datapath->plan, g->now->policy, page};
	struct error e;

	leaks_metrics(g->leaks, page);
	if (counts_counters(denials.plan->table, on_counter, &denials, &e) < 0)
		log_debug("%s", e.text);
	for (int part = 0; part < KEEPER_PARTS; part++)
		nat_metrics_value(page, NAT_REPAIRS, keeper_repairs(g->keeper, part),
			LABELS(keeper_part_names[part]));
	put_addresses(g, page);
	put_ports(g, page);
	put_conntrack(page);
	put_flows(g, page);
}

/* In the order of the families. */
static void fill_page(void *arg, struct nat_metrics *page)
{
	struct gate *g = arg;
	bool nat = g->now && g->now->datapath && g->flows;

	if (nat)
		put_datapath(g, page);
	learning_metrics(g->learning, page);
	if (nat) {
		peers_metrics(g->peers, page);
		nat_metrics_seconds(page, NAT_PLAN_TIME, keeper_applied(g->keeper), NO_LABELS);
	}
}

static int send_page(void *arg, int fd)
{
	struct gate *g = arg;
	const struct message message = {.type = MESSAGE_NAT_PAGE};

	return child_send(g->child, &message, fd);
}

/* ---- life ---- */

static void on_change(void *arg)
{
	reload_send_counts(arg);
}

int gate_nat_init(struct gate *g, struct error *e)
{
	const struct keeper_events keeper = {on_change, on_addresses, on_marks, g};
	const struct nat_page_events page = {fill_page, send_page, g};

	g->keeper = keeper_new(g->loop, &keeper);
	g->learning = learning_new(g->loop, on_learnt, g);
	g->nat_page = nat_page_new(g->loop, &page);
	g->leaks = leaks_new();
	ev_timer_init(&g->facts, on_facts, FACTS_EVERY, FACTS_EVERY);
	ev_timer_init(&g->look_for_leaks, on_leaks, LEAKS_EVERY, LEAKS_EVERY);
	ev_timer_init(&g->replan, on_replan, 0, 0);
	g->facts.data = g->look_for_leaks.data = g->replan.data = g;
	if (!g->keeper || !g->learning || !g->nat_page || !g->leaks)
		return error_set(e, -ENOMEM, "no memory");
	return gate_peers_init(g, e);
}

/* Before the first plan comes into force, which would forget them. */
static int recover(struct gate *g, struct error *e)
{
	const struct edition_facts facts = gate_nat_facts(g);
	struct datapath *with;
	int error = learning_recover(g->learning, e);

	if (error || learnt_count(learning_table(g->learning)) == 0)
		return error;
	with = edition_replan(g->now, &facts, e);
	if (!with)
		return -EIO;
	datapath_free(g->now->datapath);
	g->now->datapath = with;
	return 0;
}

/* What newer kernels have is used where it is there. */
static int use_kernel(const struct config *config, struct error *e)
{
	bool lock = config->lock_table == LOCK_TABLE_AUTO;
	struct kernel_features features;
	char text[KERNEL_TEXT];

	kernel_features(&features);
	log_info("%s", kernel_print(&features, lock, text));
	return lock && features.table_lock == KERNEL_HAS ? table_lock(e) : 0;
}

int gate_nat_open(struct gate *g, struct error *e)
{
	struct error why;
	int error;

	learning_follow(g->learning, g->now);
	gate_peers_follow(g);
	if (!g->now->datapath)
		return 0;
	error = collisions_check(g->now->datapath, &why);
	if (!error)
		error = use_kernel(g->started, &why);
	if (!error)
		error = recover(g, &why);
	if (!error)
		error = keeper_apply(g->keeper, g->now->datapath, &why);
	if (!error) /* rules of before may use its bit of the mark otherwise */
		open_backstop(g);
	if (!error)
		error = open_flows(g, &why);
	if (error == -EPERM)
		return error_set(e, error,
			"NAT needs CAP_NET_ADMIN: run as root, or set [nat] enable = no in %s (%s)",
			g->options->path, why.text);
	if (error)
		return error_set(e, error, "%s", why.text);
	gate_peers_owned(g);
	gate_peers_hear_out(g);
	ev_timer_start(g->loop, &g->facts);
	ev_timer_start(g->loop, &g->look_for_leaks);
	return 0;
}

void gate_nat_fini(struct gate *g)
{
	nat_page_free(g->nat_page);
	gate_peers_fini(g);
	learning_free(g->learning);
	keeper_free(g->keeper);
	table_unlock();
	backstop_close();
	flows_free(g->flows);
	leaks_free(g->leaks);
}
