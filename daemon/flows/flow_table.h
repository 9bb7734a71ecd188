/*
 * flow_table.h - the flows that are remembered while they live.
 *
 * What their end must still know when the kernel does not tell of it, and nothing more: about 170
 * bytes a flow.  Pure: no kernel, no clock, no loop.
 */
#pragma once

#include "base/hash.h"
#include "daemon/flows/flows.h"
#include "daemon/datapath/ports.h"
#include "nat/conntrack.h"

struct known_flow {
	struct hash_item item; /* first: by id, which is the kernel's keyed digest already */
	struct flow_tuple original, reply;
	uint32_t mark, id;
	uint32_t round; /* the last dump that it was there for */
	uint16_t zone;
	uint8_t version;
	bool dumped; /* learnt from a dump: the kernel may never tell its end */
	bool logged; /* its begin */
	bool gone;   /* ended while a dump was under way, which may still name it */
	const char *name;
	struct ports_endpoint *endpoint; /* NULL: not counted */
	double start;                    /* Unix time */
};

struct flow_table;

struct flow_table *flow_table_new(size_t max);
void flow_table_free(struct flow_table *table); /* accepts NULL */

struct known_flow *flow_table_find(const struct flow_table *table, const struct flow *flow);

/* It is not there yet.  NULL: full, or no memory. */
struct known_flow *flow_table_add(struct flow_table *table, const struct flow *flow);
void flow_table_remove(struct flow_table *table, struct known_flow *known);
size_t flow_table_count(const struct flow_table *table);

/* `each` may remove the flow that it is given. */
void flow_table_each(
	struct flow_table *table, void (*each)(void *arg, struct known_flow *known), void *arg);

/* The same text at an address that is good as long as the table is.  NULL for NULL, and when there
 * are 65,536 names already. */
const char *flow_table_name(struct flow_table *table, const char *name);

/* A flow began under this name, which flow_table_name() gave; NULL is nothing.  `when`: Unix time.
 */
void flow_table_count_begin(const char *name, double when);
/* Every name that there was, in no order. */
void flow_table_each_name(const struct flow_table *table,
	void (*each)(void *arg, const struct flows_partner *partner), void *arg);
