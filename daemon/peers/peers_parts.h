/*
 * peers_parts.h - the state of peers, for the files that together are peers and for no others.
 */
#pragma once

#include "acl/cidrs.h"
#include "daemon/peers/answerer.h"
#include "daemon/peers/peers.h"

#define PEERS_FAST_FOR 10.0 /* seconds of questions at a higher pace */
#define PEERS_HASTY 0.1     /* seconds between questions in a contest */

/* The way to a gateway over one IP version. */
struct path {
	struct gateway *gateway;
	struct peers_path is;   /* what is known of it */
	uint64_t id, id_before; /* of the last questions */
	double asked, silent;   /* monotonic seconds; the last, the first without an answer */
	double fast_until;      /* likewise */
	bool answered;
	unsigned missed;
	ev_io io; /* fd -1: no socket */
	ev_timer timer;
};

struct gateway {
	struct peers *peers;
	unsigned number; /* in the list */
	char name[GATEWAY_NAME];
	struct path paths[GATEWAY_VERSIONS]; /* of the versions that it has an address of */
	size_t n_paths;
	double heard;             /* monotonic seconds: when what it answered was asked */
	struct peer_message said; /* over any path; instance 0: nothing yet */
};

struct peers {
	struct ev_loop *loop;
	struct peers_events events;
	enum role role;
	struct gateway *gateways[GATEWAYS_MOST];
	struct gateway_list list;
	size_t n;
	struct cidr_list pods;
	struct addr from[2]; /* this node's address in them: IPv4, IPv6 */
	bool has_from[2];
	int self; /* number of this node; -1: none of them */
	unsigned port;
	double interval;
	struct peer_message say;
	size_t n_beyond; /* addresses that are here and cannot be told */
	struct answerer *answerers[GATEWAY_VERSIONS];
	struct owners owners;
	ev_timer pause, settle;
	char trouble[160];
};

/* peers.c */
uint64_t peers_random(void); /* not 0 */
void peers_start(struct ev_loop *loop, ev_timer *timer, double seconds);
void peers_tell_change(struct peers *peers);

/* peers_ask.c: one gateway that is not this node. */
struct gateway *gateway_new(struct peers *peers, unsigned number,
	const struct gateway_peer *configured) WARN_UNUSED; /* NULL: no memory */
void gateway_free(struct gateway *gateway);                 /* accepts NULL */
void gateway_ask(struct gateway *gateway);         /* from now on, if it is not asked yet */
void gateway_hurry(struct gateway *gateway);       /* it is in a contest: asks as soon as it may */
void gateway_inquire(struct gateway *gateway);     /* asks now, unless an answer is awaited */
void gateway_hear(struct gateway *gateway);        /* reads what has come already */
void gateway_stop(struct gateway *gateway);        /* forgets what is known of it */
bool gateway_is_up(const struct gateway *gateway); /* over one version at least */
/* NULL: it has no address of the version. */
const struct path *gateway_path(const struct gateway *gateway, bool v4);

/* peers_claims.c: who has what. */
void claims_init(struct peers *peers);
void claims_fini(struct peers *peers);
void claims_forfeit(struct peers *peers, unsigned who); /* owners_forfeit() */
void claims_take(struct peers *peers, unsigned who, const struct addr *addrs, size_t n,
	bool returns); /* owners_claim() */
/* "gw1 and this node".  Returns `out`. */
const char *claims_print(
	const struct peers *peers, const struct owned *owned, char *out, size_t size);
