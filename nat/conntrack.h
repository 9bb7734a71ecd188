/*
 * conntrack.h - the kernel's flows: read, told of, deleted and marked (ctnetlink).
 *
 * A flow is a plain value.  All calls are about the network namespace of the caller and need
 * CAP_NET_ADMIN there.
 */
#pragma once

#include <libmnl/libmnl.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"

#define FLOW_RAW 96 /* bytes: the longest tuple is 84 */

/* One direction.  ICMP has type and code, and its echo identifier as sport; what has no ports has
 * zeros. */
struct flow_tuple {
	struct addr src, dst;
	uint16_t sport, dport; /* host byte order */
	uint8_t protocol;      /* IPPROTO_TCP ... */
	uint8_t type, code;
};

enum flow_direction { FLOW_ORIGINAL, FLOW_REPLY };

/* What `original` and `reply` are together: the packets of the original direction leave with source
 * reply.dst and destination reply.src. */
struct flow {
	struct flow_tuple original, reply;
	uint32_t mark;
	uint32_t status; /* IPS_... */
	uint32_t id;     /* of this flow, not of a later one with the same tuples */
	uint16_t zone;
	uint8_t version;   /* 4 or 6 */
	uint8_t tcp_state; /* enum tcp_conntrack; 0: not told */
	bool counted; /* packets and bytes are told (nf_conntrack_acct), as at its end they are */
	uint64_t packets[2], bytes[2]; /* by direction */
	double start, stop;  /* Unix time; 0: not told (nf_conntrack_timestamp), stop: at the end */
	uint32_t portid;     /* in an event: whose netlink request made it; 0: nobody's */
	uint16_t raw_length; /* 0: cannot be deleted or marked */
	uint8_t raw[FLOW_RAW]; /* CTA_TUPLE_ORIG as the kernel wrote it */
};

/* Reads a message of ctnetlink.  False: it is not of a flow of IPv4 or IPv6. */
bool flow_read(struct flow *flow, const struct nlmsghdr *message) WARN_UNUSED;

/* TCP, UDP, UDP-Lite, SCTP, DCCP. */
bool flow_has_ports(uint8_t protocol);

/* "tcp", or the number of one without a name.  Returns `out` or a constant. */
#define FLOW_PROTOCOL_TEXT 8
const char *flow_protocol_print(uint8_t protocol, char out[FLOW_PROTOCOL_TEXT]);

/* Calls `each` for every flow of IP version 4 or 6, or of both with 0.  A flow that comes or goes
 * meanwhile may be left out or told twice.  `each` may gather changes (below), and commit them as
 * well.  0 or -errno. */
int conntrack_each(int version, void (*each)(void *arg, const struct flow *flow), void *arg,
	struct error *e) WARN_UNUSED;

/* The same for a loop: conntrack_dump_open() returns a non-blocking fd, for the caller to close();
 * each time that it is readable, conntrack_dump_step() reads about `budget` bytes: 1 while there is
 * more to come, 0 at the end, -errno without text: -EINTR when the dump was torn. */
int conntrack_dump_open(int version, struct error *e) WARN_UNUSED;
int conntrack_dump_step(int fd, void (*each)(void *arg, const struct flow *flow), void *arg,
	size_t budget) WARN_UNUSED;

/* Changes that are gathered first and sent together, thousands a millisecond.  {0} is empty. */
struct conntrack_changes {
	char *bytes;
	size_t used, room;
	size_t n;       /* not yet committed */
	size_t done;    /* of all committed: that the kernel made */
	size_t gone;    /*                   whose flow was not there any more */
	size_t refused; /*                   that the kernel did not make */
	bool failed;    /* no memory: the next commit says so and sends nothing */
};

void conntrack_changes_fini(struct conntrack_changes *changes);

/* Exactly this flow, by tuple, zone and id. */
void conntrack_delete(struct conntrack_changes *changes, const struct flow *flow);

/* The bits of `mask` become those of `mark`.  By tuple and zone: a later flow of the same tuple is
 * marked as well. */
void conntrack_set_mark(
	struct conntrack_changes *changes, const struct flow *flow, uint32_t mark, uint32_t mask);

/* Sends all and empties it.  A flow that is gone is no error.  A refusal does not keep the others
 * from being sent: 0, or -errno of the first refusal. */
int conntrack_commit(struct conntrack_changes *changes, struct error *e) WARN_UNUSED;

struct conntrack_stats {
	uint64_t entries, max; /* flows now, and how many there may be (max 0: not told) */
	/* Since boot, over all CPUs. */
	uint64_t insert_failed;  /* no free port, or a clash */
	uint64_t drop;           /* packets of new flows: table full, no free port */
	uint64_t early_drop;     /* flows that had to go because the table was full */
	uint64_t search_restart; /* the table was resized meanwhile */
	uint64_t error, invalid; /* packets */
};
int conntrack_stats(struct conntrack_stats *stats, struct error *e) WARN_UNUSED;

/* A non-blocking fd, for the caller to close(), that becomes readable when flows come or go.
 * `room`: bytes of its receive buffer (each event is counted as about 1 KiB), beyond the sysctl
 * limits with the privilege. */
int conntrack_events_open(int room, struct error *e) WARN_UNUSED;

enum conntrack_event {
	CONNTRACK_NEW,    /* its first packet left: mark and translation are final */
	CONNTRACK_DESTROY /* the kernel forgot it, its port is free */
};

enum conntrack_drained {
	CONNTRACK_EMPTY,
	CONNTRACK_MORE, /* the budget is used up */
	CONNTRACK_LOST  /* the buffer had overflowed.  Drain on, then conntrack_each() */
};

/* Calls `on_event` for at most `budget` events.  Flows that were made while nobody listened have no
 * DESTROY unless nf_conntrack_events is 1. */
enum conntrack_drained conntrack_events_drain(int fd,
	void (*on_event)(void *arg, enum conntrack_event event, const struct flow *flow), void *arg,
	unsigned budget) WARN_UNUSED;
