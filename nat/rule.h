/*
 * rule.h - nftables expressions of one rule, so that code reads like the rule.
 *
 * An error sticks: a rule with a match missing is never finished.
 */
#pragma once

#include <libnftnl/rule.h>

#include "base/addr.h"

struct rule {
	struct nftnl_rule *nftnl;
	bool failed;
};

void rule_begin(struct rule *r, const char *table, const char *chain);

void rule_ct_state(struct rule *r, uint32_t bits); /* NF_CT_STATE_BIT(): any of them */
void rule_nfproto(struct rule *r, uint8_t family); /* NFPROTO_IPV4 or NFPROTO_IPV6 */
void rule_l4proto(struct rule *r, uint8_t protocol);
void rule_l4proto_in(struct rule *r, const char *set);
void rule_dport_in(struct rule *r, const char *set);

/* `version` 4 or 6; after rule_nfproto(). */
void rule_saddr_in(struct rule *r, uint8_t version, const char *set);
void rule_daddr_not_in(struct rule *r, uint8_t version, const char *set);
void rule_daddr_vmap(struct rule *r, uint8_t version, const char *map);

void rule_verdict(struct rule *r, int verdict); /* NF_ACCEPT, NF_DROP */
void rule_snat(struct rule *r, const struct addr *to);
void rule_reject(struct rule *r); /* ICMP or ICMPv6: administratively prohibited */

/* The rule, the caller's to free; NULL without memory. */
struct nftnl_rule *rule_finish(struct rule *r);

/* The expressions of a rule as text in which two rules that do the same are equal; malloc()ed,
 * NULL without memory.  For rules made here and for rules read from the kernel. */
char *rule_describe(const struct nftnl_rule *rule);
