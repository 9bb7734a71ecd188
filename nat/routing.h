/*
 * routing.h - a routing table of ours, and the rules that lead to it.
 *
 * The guard: pods' packets that egret has not marked go nowhere.
 *
 *   ip rule  pref PRIORITY-1 from POD-NETWORK iif lo lookup main
 *   ip rule  pref PRIORITY from POD-NETWORK fwmark 0/MASK lookup TABLE
 *   ip route throw PASS table TABLE          the rules after this one decide
 *   ip route unreachable REFUSE table TABLE
 *
 * It is the layer that is left when the nftables table is gone or not there yet.  What the node
 * itself sends from its address in the pod network is none of its business: hence the first rule.
 *
 * A way: packets that egret has marked go to another gateway, and nowhere when there is no way.
 *
 *   ip rule  pref PRIORITY fwmark MARK/MASK lookup TABLE
 *   ip route throw PASS table TABLE
 *   ip route default via VIA dev DEVICE onlink metric 100 table TABLE
 *   ip route unreachable default metric 4000000 table TABLE
 *
 * The kernel's part carries a protocol number of ours (230), and nothing without it is ever
 * touched.
 */
#pragma once

#include <stdio.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"

/* A plain value.  A version of which there are no pods has no routes either.  What a pass network
 * holds passes, also where a longer refuse network is in it. */
struct routing {
	uint32_t table, priority; /* of the routes; of the rules */
	uint32_t mark_mask;       /* packets with one of these bits pass */
	const struct cidr *pods;  /* sources that the guard is about, no two alike */
	size_t n_pods;
	const struct cidr *pass;
	size_t n_pass;
	const struct cidr *refuse; /* 0.0.0.0/0, ::/0 or networks */
	size_t n_refuse;
	/* Of a way; then `pods` are 0.0.0.0/0 and ::/0, of the versions that it is for. */
	uint32_t mark; /* 0: a guard */
	struct routing_way {
		char device[16]; /* one that is not there: no way */
		struct addr via;
	} ways[2]; /* IPv4, IPv6 */
};

/* Sends the differences, what is missing first, then what is too much, until there are none.  The
 * number of changes, 0 when all was there; or -errno: -EBUSY when there is no end of it. */
int routing_apply(const struct routing *routing, struct error *e) WARN_UNUSED;

/* 1 when rules and routes of ours are what `routing` asks for, 0 when not, -errno.  Those of others
 * do not count, even in our table: routing_check_free() knows them. */
int routing_matches(const struct routing *routing, struct error *e) WARN_UNUSED;

/* Takes away what is ours in its table or of its priority; of the rest only `mark` counts, which
 * tells a way from a guard.  The number of changes or -errno. */
int routing_remove(const struct routing *routing, struct error *e) WARN_UNUSED;

/* Takes away the guard and the ways of other tables and priorities, which a configuration before
 * has left: whatever has our protocol and the form above, but for tables from `table` on and rules
 * from `priority` down, `n` of each.  (Two egrets in one network namespace there are not:
 * others_check_chains().)  The number of changes or -errno. */
int routing_remove_stale(
	uint32_t table, uint32_t priority, uint32_t n, struct error *e) WARN_UNUSED;

/* 0, or -EADDRINUSE with the text saying who else is there: routes of others in the table, rules
 * of others with the priority or to the table, or rules that look at bits of the mark mask.  (A
 * rule for a whole mark, as WireGuard has one, is none as long as it wants none of our bits.)
 * Other -errno: it could not be found out. */
int routing_check_free(const struct routing *routing, struct error *e) WARN_UNUSED;

/* As lines of a shell script, routes before rules.  Without `ip` and `ip -6` in front they are what
 * `ip -batch` and `ip -6 -batch` take. */
void routing_print(const struct routing *routing, FILE *out);

/* A netlink socket that becomes readable when anybody, this process too, changes rules, routes,
 * addresses or links; -errno.  routing_monitor_drain() empties it and says what may have changed;
 * after an overflow, everything. */
enum {
	ROUTING_CHANGED = 1, /* a rule or route of ours, or with our tables' and rules' numbers */
	ADDRESSES_CHANGED = 2,
	LINKS_CHANGED = 4,
};
int routing_monitor_open(struct error *e) WARN_UNUSED;
/* Tables from `table` on, rules from `priority` down, `n` of each. */
unsigned routing_monitor_drain(int fd, uint32_t table, uint32_t priority, uint32_t n);
