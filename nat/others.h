/*
 * others.h - what other tables of nftables do that does not go together with ours.
 *
 * iptables-nft's rules are such tables; those of iptables-legacy are not seen.
 */
#pragma once

#include "nat/plan.h"

#define OTHERS_MOST_RULES 100000 /* looked at */
#define OTHERS_MOST_CLASHES 10   /* told */

/* 0, or -EADDRINUSE when another nat chain at postrouting comes before ours or with it: whoever
 * translates a connection first wins, so what it matches would not leave as the plan says (the
 * guard drops it).  Or -errno. */
int others_check_chains(const struct plan *plan, struct error *e) WARN_UNUSED;

struct others_clash {
	const char *family, *table, *chain; /* "ip", "mangle", "PREROUTING" */
	bool conntrack;                     /* of the connection's mark, else of the packet's */
	uint32_t bits;                      /* of ours that its rules write */
};

/* Calls `each` for chains of others with rules that write bits of our marks; a chain may come once
 * for each of the marks.  That is no proof of harm, as their conditions may never meet what pods
 * send.  1 when more rules or clashes than the limits are there, 0, -errno. */
int others_clashes(const struct plan *plan,
	void (*each)(void *arg, const struct others_clash *clash), void *arg,
	struct error *e) WARN_UNUSED;
