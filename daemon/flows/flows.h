/*
 * flows.h - the gate's book of translated flows: the attribution log, and ports in use.
 *
 * With a log it follows the kernel's events of flows whose mark has a class.  What the events do
 * not tell (the begin of flows that were there first, or what an overflow lost) a dump finds, in
 * small steps beside everything else that the loop does.
 *
 * Without a log it looks at all flows every ten seconds instead: an event for each connection costs
 * the kernel and the gate more than ports in use are worth.  Flows that come and go in between are
 * not seen then.
 */
#pragma once

#include <ev.h>

#include "base/check.h"
#include "base/error.h"
#include "daemon/datapath/ports.h"
#include "nat/conntrack.h"

struct flows_config {
	const char *log;     /* path to append to, "stdout", "stderr"; NULL: off.  Copied */
	uint32_t class_mask; /* bits of the mark that hold the class; a flow without is not ours */
	size_t max_flows;    /* remembered; beyond, see below */
	unsigned port_range; /* ports there are for an endpoint; 0: PORTS_RANGE */
	int receive_buffer;  /* bytes of events that wait; 0: 16 MiB */
	double dump_every;   /* seconds, without a log; 0: 10 */
};

/* When max_flows are remembered, further flows are logged all the same: their begin from its event,
 * their end from its own.  But their ports are not counted, and what an overflow loses of them
 * stays lost. */
struct flows_counts {
	size_t flows;       /* remembered now */
	size_t endpoints;   /* of these */
	uint64_t started;   /* begins seen or found */
	uint64_t ended;     /* ends seen or found */
	uint64_t overflows; /* times that events were lost; a dump follows each */
	uint64_t unseen;    /* ends that only a dump told of */
	uint64_t
		table_full; /* flows not remembered because max_flows were, or for want of memory */
	uint64_t lines_lost; /* of the log */
	uint64_t dumps;      /* completed, the first included */
};

struct flows;

/* `name_of` names the partner of a mark's class, or NULL; the text need not outlive the call.  It
 * is asked when a flow begins, and again when it ends with another class than it began with.
 * NULL with `e`: the log cannot be opened, or the kernel refuses. */
struct flows *flows_new(struct ev_loop *loop, const struct flows_config *config,
	const char *(*name_of)(void *arg, uint32_t mark, const struct flow *flow), void *arg,
	struct error *e) WARN_UNUSED;
void flows_free(struct flows *flows); /* writes what waits; accepts NULL */

/* The log is opened anew at its path, for rotation.  -errno: the old file stays. */
int flows_reopen(struct flows *flows, struct error *e) WARN_UNUSED;
/* Another path, or NULL: off.  A log that was off soon has the begins of all flows that live.
 * -errno: the old file stays. */
int flows_set_log(struct flows *flows, const char *path, struct error *e) WARN_UNUSED;
const char *flows_log(const struct flows *flows); /* its path; NULL: off */

/* Looks at all flows soon: after the marks of some have been changed. */
void flows_resync(struct flows *flows);

struct flows_counts flows_counts(const struct flows *flows);

/* The flows of one partner that began while they were looked for; "-": of none. */
struct flows_partner {
	const char *name;
	uint64_t started;
	double last; /* Unix time */
};
void flows_partners(const struct flows *flows,
	void (*each)(void *arg, const struct flows_partner *partner), void *arg);

/* As ports_busiest() and ports_range(). */
size_t flows_busiest(const struct flows *flows, struct port_use *out, size_t max);
unsigned flows_port_range(const struct flows *flows);
