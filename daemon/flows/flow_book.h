/*
 * flow_book.h - what is known of the flows: begun and ended by events and dumps, logged, their
 * ports counted.
 *
 * No kernel and no loop: it is told, with the time.
 */
#pragma once

#include "daemon/flows/flow_log.h"
#include "daemon/flows/flows.h"

struct flow_book;

/* NULL: no memory.  Of `config` it takes all but the log's path. */
struct flow_book *flow_book_new(const struct flows_config *config,
	const char *(*name_of)(void *arg, uint32_t mark, const struct flow *flow), void *arg);
void flow_book_free(struct flow_book *book); /* accepts NULL */

/* An event of the kernel, in the order in which they came. */
void flow_book_event(
	struct flow_book *book, enum conntrack_event event, const struct flow *flow, double now);

/* A dump: begin, each flow in it, finish.  It also logs the begin of flows that began while there
 * was no log.  Events may come in between.  `complete`: the dump is whole, and every event that is
 * older than its end was given to flow_book_event() or is lost; then what the dump did not name has
 * ended.  Else it is as if the dump had not been. */
void flow_book_dump_begin(struct flow_book *book);
void flow_book_dump_flow(struct flow_book *book, const struct flow *flow, double now);
void flow_book_dump_finish(struct flow_book *book, bool complete, double now);

/* Are there flows whose end only a dump may tell? */
bool flow_book_needs_dumps(const struct flow_book *book);

/* All but `overflows` and `dumps`. */
struct flows_counts flow_book_counts(const struct flow_book *book);
void flow_book_partners(const struct flow_book *book,
	void (*each)(void *arg, const struct flows_partner *partner), void *arg);
struct flow_log *flow_book_log(struct flow_book *book);
const struct ports *flow_book_ports(const struct flow_book *book);
