/*
 * peers.h - the gateways of the cluster as this node knows them: who answers, who has which egress
 * address.
 *
 * Each gateway that is not this node is asked every probe-interval, over UDP, at its address in the
 * pod network, over each IP version by itself.  Gateways answer, and tell of changes at once
 * (answerer.h).  What a gateway has is known from any answer; what is steered to it over a version
 * in which it does not answer fails closed.  A gateway that does not answer at all has nothing.
 */
#pragma once

#include <ev.h>

#include "base/error.h"
#include "daemon/config/config.h"
#include "daemon/datapath/nat_metrics.h"
#include "daemon/peers/owners.h"

#define PEERS_MISSED 3 /* answers in a row, then it is down */

struct peers;

struct peers_events {
	/* Another owner of an address, another gateway up or down, or another peers_trouble():
	 * called once for what happens within 5 ms.  False: not now, call again. */
	bool (*on_change)(void *arg);
	void *arg;
};

struct peers_config {
	enum role role;
	const struct gateway_list *gateways;
	unsigned port;
	double interval;
	const char *digest;           /* of the generation in force, in hex */
	const struct cidr_list *pods; /* NULL: the kernel chooses where questions come from */
};

/* What is known of the way to a gateway over one IP version. */
struct peers_path {
	struct endpoint at; /* where it is asked */
	bool up;
	double rtt;      /* seconds; 0: never */
	ev_tstamp since; /* Unix time, from when it is as it is; 0: not known yet */
};

/* What is known of a gateway. */
struct peers_view {
	const char *name;
	bool self, up;                             /* up: over one version at least */
	struct peers_path paths[GATEWAY_VERSIONS]; /* of the versions that it has an address of */
	size_t n_paths;
	uint8_t digest[PEER_DIGEST]; /* of the generation that it follows */
	const struct addr *owned;
	size_t n_owned;
};

/* NULL: no memory. */
struct peers *peers_new(struct ev_loop *loop, const struct peers_events *events);
void peers_free(struct peers *peers); /* accepts NULL */

/* Begins, or goes on with another configuration (copied): what is known of a gateway with the same
 * name and address stays.  0, or -errno: then it goes on as far as it can. */
int peers_follow(
	struct peers *peers, const struct peers_config *config, struct error *e) WARN_UNUSED;

/* Addresses of this node came or went: is it another of the gateways?  0 or -errno. */
int peers_look(struct peers *peers, struct error *e) WARN_UNUSED;

/* The egress addresses that are on this node now: other gateways and who asked lately are told at
 * once. */
void peers_owned(struct peers *peers, const struct addr *addrs, size_t n);

/* Asks all others now what they have, and for a while as often as after the start. */
void peers_inquire(struct peers *peers);

/* Reads what other gateways have sent already, whatever else the loop has to do.  True: of each one
 * that is asked it is known what it has, or that it does not answer. */
bool peers_hear(struct peers *peers);

/* The gateway, by its number in the list, that has the address; -1: nobody that is known, or this
 * node. */
int peers_owner(const struct peers *peers, const struct addr *addr);
/* The same if it answers over the address's version; -1: nothing can be steered there. */
int peers_via(const struct peers *peers, const struct addr *addr);
/* This node has it, and a gateway that comes before in the list goes on claiming it as well. */
bool peers_precede(const struct peers *peers, const struct addr *addr);
bool peers_up(const struct peers *peers, size_t gateway); /* this node itself is */
size_t peers_count(const struct peers *peers);
struct peers_view peers_view(const struct peers *peers, size_t gateway);

/* Why not all is well: two claim the same address, a gateway that has one does not answer over its
 * version, or more is here than can be told.  NULL: it is.  Valid until the next call. */
const char *peers_trouble(struct peers *peers);

void peers_metrics(const struct peers *peers, struct nat_metrics *page);
