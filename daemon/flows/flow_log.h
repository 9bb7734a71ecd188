/*
 * flow_log.h - the NAT attribution log: a JSON line at the begin and at the end of a flow.
 *
 * Lines are gathered in a bounded buffer and written without waiting: a target that cannot take
 * them loses lines, counted, and never stops the gate.  docs/flow-log.md tells the fields.
 * SIGPIPE must be ignored.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "nat/conntrack.h"

#define FLOW_LINE 1024 /* longest line with its newline */

struct flow_line {
	double time;       /* Unix time, as the next ones; of writing */
	double start, end; /* 0: not known.  end: of an end only */
	const struct flow *flow;
	const char *partner; /* NULL: none, or not known any more */
	const char *reason;  /* how it ended; NULL: this is its begin */
	bool resync;         /* a begin that was not seen: found in a dump */
};

/* Writes the line with its newline to `out`; returns its length. */
size_t flow_line_print(const struct flow_line *line, char out[FLOW_LINE]);

/* "closed" (TCP said good-bye), "reset", "timeout", "deleted" (somebody asked for it), or "ended"
 * where the DESTROY event does not tell. */
const char *flow_reason(const struct flow *flow);

struct flow_log;

/* Off at first.  NULL: no memory. */
struct flow_log *flow_log_new(void);
void flow_log_free(struct flow_log *log); /* flushes once; accepts NULL */

/* Appends to `path` from now on ("stdout" and "stderr" are these); NULL: off.  The same path is
 * opened anew.  What was gathered goes to the old file first, and what that does not take to the
 * new one.  -errno: nothing has changed. */
int flow_log_open(struct flow_log *log, const char *path, struct error *e) WARN_UNUSED;
const char *flow_log_path(const struct flow_log *log); /* NULL: off */

void flow_log_write(struct flow_log *log, const struct flow_line *line);
void flow_log_flush(struct flow_log *log);
uint64_t flow_log_lost(const struct flow_log *log); /* lines */
