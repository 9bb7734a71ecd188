/*
 * channel.h - what the gate and the proxy say to each other.
 *
 * A SOCK_SEQPACKET pair; one fixed-size message a packet, at most one fd with it.  The gate
 * believes nothing the proxy says beyond these few values.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acl/files.h"
#include "acl/policy.h"
#include "base/addr.h"
#include "base/check.h"
#include "daemon/datapath/learnt.h"

enum message_type {
	/* gate to proxy */
	MESSAGE_GENERATION, /* fd: packed files.  Parse it, then follow it */
	MESSAGE_ACCESS_LOG, /* fd: the access log from now on; without fd: none */
	MESSAGE_COUNTS,     /* what /metrics says of the gate */
	MESSAGE_DRAIN,      /* no new connections; end when the last is over */
	MESSAGE_NAT_PAGE,   /* fd: sealed text, NAT's part of /metrics from now on */
	MESSAGE_PURGE, /* `text`: what is to leave the cache (purge.h); `number`: of the purge */
	MESSAGE_ASK, /* `text`: a question of the control socket's (inquiry.h); `number`: its own */
	/* proxy to gate */
	MESSAGE_FOLLOWS,    /* `number` is in force in every worker */
	MESSAGE_REFUSES,    /* `number` is not; `text` says why */
	MESSAGE_LEARNT,     /* of generation `number`: what a name resolved to */
	MESSAGE_LEARNT_ALL, /* every name of generation `number` was asked for once */
	MESSAGE_SCRAPED,    /* somebody asked for /metrics */
	MESSAGE_PURGED,     /* purge `number` is over: `text` is the answer */
	MESSAGE_TOLD, /* the answer to question `number`: fd: sealed JSON; without: `text` says
		       * why there is none */
};
#define MESSAGE_TYPES (MESSAGE_TOLD + 1)

#define MESSAGE_EGRESS_MAX (2 * EGRESS_MAX) /* both versions */

struct gate_counts {
	uint64_t reloads_ok, reloads_failed, nat_repairs, restarts;
	double reload_time;  /* Unix time of the last reload that succeeded */
	double start_time;   /* of the gate */
	bool ready;          /* kernel and proxy follow the files as they are on disk */
	char not_ready[ERROR_TEXT]; /* why not: the last refused edit, a kernel error ... */
};

/* One answer.  Section and host are numbers in the policy of the generation, which both sides have:
 * the proxy cannot name a host that is not written there. */
struct message_learnt {
	uint32_t section; /* policy_section() */
	uint32_t host;    /* section_host() */
	uint32_t n;       /* addresses; 0: the name has none */
	bool partial;     /* one version is not known */
	double ttl;       /* seconds */
	struct addr addrs[LEARNT_TOLD];
};

struct message {
	enum message_type type;
	uint64_t number;                        /* generation */
	char digest[FILES_DIGEST_TEXT];         /* GENERATION */
	struct addr egress[MESSAGE_EGRESS_MAX]; /* GENERATION: the gateway's, in force */
	uint32_t n_egress;                      /* 0: let the kernel choose */
	double drain_timeout;                   /* DRAIN: seconds */
	struct gate_counts counts;              /* COUNTS */
	struct message_learnt learnt;           /* LEARNT */
	char text[512];                         /* REFUSES: why; GENERATION: egret.ini's name */
};

/* A connected pair, non-blocking and close-on-exec.  0 or -errno. */
int channel_open(int pair[2]) WARN_UNUSED;

/* Sends with `fd` (-1: none; it stays the caller's).  0, -EAGAIN when the other side does not read,
 * -errno. */
int channel_send(int channel, const struct message *message, int fd) WARN_UNUSED;

/* 1 and a message (*fd -1 or the receiver's to close), 0 when there is none now, -EPIPE when the
 * other side is gone, -EPROTO for a malformed one. */
int channel_receive(int channel, struct message *message, int *fd) WARN_UNUSED;
