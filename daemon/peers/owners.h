/*
 * owners.h - which gateway an egress address belongs to, when gateways claim what they have.
 *
 * A plain value: no clock, no socket.  An address that two claim stays with its former owner.  The
 * other one is believed as soon as the former does not claim it any more, or is down; while both go
 * on it is first a contest, since an address on its way is on two nodes for a moment or its former
 * owner has just died, and then a conflict.  Who was cut off and comes back with an address may not
 * know yet that somebody took it over.
 */
#pragma once

#include "daemon/config/gateways.h"
#include "daemon/peers/peer_message.h"

#define OWNERS_SELF GATEWAYS_MOST /* this node among the claimants, who are numbers from 0 */
#define OWNERS_CLAIMANTS (GATEWAYS_MOST + 1)
#define OWNERS_GRACE 0.5 /* seconds of a contest */

struct owned {
	struct addr addr;
	uint32_t claimants; /* bits */
	uint32_t returned; /* who was down or silent meanwhile: comes back with it, if a claimant */
	unsigned owner;
	double contested; /* since; 0: one claims it */
	bool conflict;
};

struct owners {
	struct owned at[OWNERS_CLAIMANTS * PEER_OWNED_MOST];
	size_t n;
};

/* `who` has exactly these now, at most PEER_OWNED_MOST; `returns`: it was down until now.  True
 * when an address has another owner, or a conflict is over. */
bool owners_claim(struct owners *owners, unsigned who, const struct addr *addrs, size_t n,
	bool returns, double now);

/* Contests that have lasted, and in which each claimant has been heard since, become conflicts:
 * true when one did.  `heard`: when each was asked last what it has answered since. */
bool owners_settle(struct owners *owners, const double heard[OWNERS_CLAIMANTS], double now);

/* `who` is silent while others claim what it has: it loses what is in contest with one that has not
 * just come back, and nothing else.  True when something was. */
bool owners_forfeit(struct owners *owners, unsigned who, double now);

int owners_find(const struct owners *owners, const struct addr *addr); /* -1: nobody has it */

/* Part of a contest that is not yet a conflict: it is to be asked at once, and often. */
bool owners_is_contested(const struct owners *owners, unsigned who);

size_t owners_conflicts(const struct owners *owners);
