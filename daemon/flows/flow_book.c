/*
 * flow_book.c - events, and dumps that mend what events did not tell.
 *
 * Dump and events are two streams without a common order.  A flow in a dump may have ended since:
 * so what ends while a dump is under way stays in the table as `gone`, until the dump is over.
 *
 * The kernel tells no end of a flow that began while nobody listened (unless nf_conntrack_events is
 * 1): such flows are `dumped`, and only later dumps may find that they are not there any more.
 */
#include "daemon/flows/flow_book.h"

#include <stdlib.h>

#include "daemon/flows/flow_table.h"
#include "daemon/log/log.h"

struct flow_book {
	const char *(*name_of)(void *, uint32_t, const struct flow *);
	void *arg;
	uint32_t class_mask;
	struct flow_table *table;
	struct ports *ports;
	struct flow_log *log;
	struct flows_counts counts;
	size_t n_gone, n_dumped; /* of the table */
	uint32_t round;          /* number of the dump under way, or of the last */
	bool dumping;
};

static bool has_class(const struct flow_book *b, uint32_t mark)
{
	return (mark & b->class_mask) != 0;
}

static void on_high(void *arg, const struct port_use *use)
{
	struct flow_book *b = arg;
	char egress[ADDR_TEXT], partner[ENDPOINT_TEXT], protocol[FLOW_PROTOCOL_TEXT];
	const struct endpoint endpoint = {use->partner, use->port};

	log_warn("%u of %u %s ports of %s are in use towards %s: at the limit new "
		 "connections fail; give the partner more egress addresses",
		use->used, ports_range(b->ports), flow_protocol_print(use->protocol, protocol),
		addr_print(&use->egress, egress), endpoint_print(&endpoint, partner));
}

/* NULL for what has no ports, and for the few below the range that NAT chooses from. */
static struct ports_endpoint *take_port(struct flow_book *b, const struct flow *flow)
{
	const struct flow_tuple *reply = &flow->reply;
	const struct port_use use = {.egress = reply->dst,
		.partner = reply->src,
		.port = reply->sport,
		.protocol = reply->protocol};

	if (!flow_has_ports(reply->protocol) || reply->dport < PORTS_FIRST)
		return NULL;
	return ports_take(b->ports, &use);
}

static void begin(struct flow_book *b, const struct flow *flow, bool resync, double now)
{
	const char *name = b->name_of(b->arg, flow->mark, flow);
	struct known_flow *known = flow_table_add(b->table, flow);
	const char *counted = flow_table_name(b->table, name ? name : "-");
	struct flow_line line = {.time = now, .flow = flow, .partner = name, .resync = resync};

	if (!known) {
		b->counts.table_full++;
		if (resync)
			return; /* each dump would begin it anew */
	} else {
		known->round = b->round;
		known->dumped = resync;
		known->logged = flow_log_path(b->log) != NULL;
		known->name = name ? counted : NULL;
		known->endpoint = take_port(b, flow);
		if (!resync && known->start == 0)
			known->start = now;
		b->n_dumped += resync;
	}
	b->counts.started++;
	line.start = known ? known->start : flow->start > 0 ? flow->start : now;
	flow_table_count_begin(counted, line.start > 0 ? line.start : now);
	flow_log_write(b->log, &line);
}

static void release(struct flow_book *b, struct known_flow *known)
{
	ports_release(b->ports, known->endpoint);
	known->endpoint = NULL;
	b->n_dumped -= known->dumped;
	known->dumped = false;
}

static void drop(struct flow_book *b, struct known_flow *known)
{
	release(b, known);
	b->n_gone -= known->gone;
	flow_table_remove(b->table, known);
}

static void forget(struct flow_book *b, struct known_flow *known)
{
	if (!b->dumping) {
		drop(b, known);
		return;
	}
	release(b, known);
	known->gone = true;
	b->n_gone++;
}

/* So that the dump that is under way does not begin it. */
static void bury(struct flow_book *b, const struct flow *flow)
{
	struct known_flow *known = b->dumping ? flow_table_add(b->table, flow) : NULL;

	if (!known)
		return;
	known->gone = true;
	b->n_gone++;
}

static void end(struct flow_book *b, const struct flow *flow, struct known_flow *known, double now)
{
	struct flow_line line = {.time = now, .flow = flow, .reason = flow_reason(flow)};
	bool same = known && (!has_class(b, flow->mark) ||
				     ((flow->mark ^ known->mark) & b->class_mask) == 0);

	line.start = flow->start > 0 ? flow->start : known ? known->start : 0;
	line.end = flow->stop > 0 ? flow->stop : now;
	line.partner = same ? known->name : b->name_of(b->arg, flow->mark, flow);
	b->counts.ended++;
	flow_log_write(b->log, &line);
	if (known)
		forget(b, known);
	else
		bury(b, flow);
}

/* Its end was not told: it is not there any more. */
static void end_unseen(struct flow_book *b, struct known_flow *known, double now)
{
	const struct flow flow = {.original = known->original,
		.reply = known->reply,
		.mark = known->mark,
		.id = known->id,
		.zone = known->zone,
		.version = known->version};
	const struct flow_line line = {.time = now,
		.flow = &flow,
		.partner = known->name,
		.start = known->start,
		.end = now,
		.reason = "unseen"};

	b->counts.ended++;
	b->counts.unseen++;
	flow_log_write(b->log, &line);
	drop(b, known);
}

static void log_late(
	struct flow_book *b, const struct flow *flow, struct known_flow *known, double now)
{
	known->logged = true;
	flow_log_write(b->log, &(struct flow_line){.time = now,
				       .flow = flow,
				       .partner = known->name,
				       .start = known->start,
				       .resync = true});
}

void flow_book_dump_flow(struct flow_book *b, const struct flow *flow, double now)
{
	struct known_flow *known = flow_table_find(b->table, flow);

	if (known) {
		known->round = b->round;
		if (((known->mark ^ flow->mark) & b->class_mask) && has_class(b, flow->mark)) {
			known->mark = flow->mark;
			known->name =
				flow_table_name(b->table, b->name_of(b->arg, flow->mark, flow));
		}
		if (!known->logged && !known->gone && flow_log_path(b->log))
			log_late(b, flow, known, now);
	} else if (has_class(b, flow->mark)) {
		begin(b, flow, true, now);
	}
}

struct sweep {
	struct flow_book *book;
	double now;
};

static void sweep_one(void *arg, struct known_flow *known)
{
	const struct sweep *sweep = arg;
	struct flow_book *b = sweep->book;

	if (known->gone)
		drop(b, known);
	else if (known->round != b->round)
		end_unseen(b, known, sweep->now);
}

void flow_book_dump_begin(struct flow_book *b)
{
	b->dumping = true;
	b->round++;
}

void flow_book_dump_finish(struct flow_book *b, bool complete, double now)
{
	struct sweep sweep = {b, now};

	b->dumping = false;
	if (complete) /* else what is gone waits for a dump that is */
		flow_table_each(b->table, sweep_one, &sweep);
}

static void on_new(
	struct flow_book *b, const struct flow *flow, struct known_flow *known, double now)
{
	if (known && known->dumped) { /* the dump was faster; its end will be told */
		known->dumped = false;
		b->n_dumped--;
		return;
	}
	/* A flow of the same tuple in the same memory has the same id. */
	if (known && known->gone)
		drop(b, known);
	else if (known)
		end_unseen(b, known, now);
	if (has_class(b, flow->mark))
		begin(b, flow, false, now);
}

void flow_book_event(
	struct flow_book *b, enum conntrack_event event, const struct flow *flow, double now)
{
	struct known_flow *known = flow_table_find(b->table, flow);

	if (event == CONNTRACK_NEW)
		on_new(b, flow, known, now);
	else if (known ? !known->gone : has_class(b, flow->mark))
		end(b, flow, known, now);
}

bool flow_book_needs_dumps(const struct flow_book *b)
{
	return b->n_dumped > 0;
}

struct flows_counts flow_book_counts(const struct flow_book *b)
{
	struct flows_counts counts = b->counts;

	counts.flows = flow_table_count(b->table) - b->n_gone;
	counts.endpoints = ports_count(b->ports);
	counts.lines_lost = flow_log_lost(b->log);
	return counts;
}

void flow_book_partners(const struct flow_book *b,
	void (*each)(void *arg, const struct flows_partner *partner), void *arg)
{
	flow_table_each_name(b->table, each, arg);
}

struct flow_log *flow_book_log(struct flow_book *b)
{
	return b->log;
}

const struct ports *flow_book_ports(const struct flow_book *b)
{
	return b->ports;
}

struct flow_book *flow_book_new(const struct flows_config *config,
	const char *(*name_of)(void *arg, uint32_t mark, const struct flow *flow), void *arg)
{
	struct flow_book *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	*b = (struct flow_book){.name_of = name_of,
		.arg = arg,
		.class_mask = config->class_mask,
		.table = flow_table_new(config->max_flows),
		.ports = ports_new(
			config->port_range ? config->port_range : PORTS_RANGE, on_high, b),
		.log = flow_log_new()};
	if (b->table && b->ports && b->log)
		return b;
	flow_book_free(b);
	return NULL;
}

void flow_book_free(struct flow_book *b)
{
	if (!b)
		return;
	flow_table_free(b->table);
	ports_free(b->ports);
	flow_log_free(b->log);
	free(b);
}
