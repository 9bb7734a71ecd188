/*
 * plan.h - the complete kernel state that a policy asks for: a plain value.
 *
 * Made from a policy and facts without touching the kernel, compared and printed as
 * nft text; table.h brings the kernel to it.
 *
 * What pods send out of the cluster meets the sections with `cidr`, first match in file order: a
 * block rejects; a partner gives its egress-ip, or the gateway's when it names none.  A partner
 * whose egress-ip has no address of the packet's version rejects: no other source may leak.  What
 * no section names leaves with the gateway's address, or is left alone when there is none of the
 * version. A block in report mode does nothing; a partner in report mode also takes what else
 * nobody names, of any source and port.
 */
#pragma once

#include <stdio.h>

#include "acl/policy.h"

#define PLAN_NAME 32  /* longest name of a set or chain, with its NUL */
#define PLAN_TEXT 256 /* longest rule as text, with its NUL */

struct plan_facts {
	const char *table;       /* name, family inet */
	const struct cidr *pods; /* sources that are translated */
	size_t n_pods;
	const struct cidr *exclude; /* destinations that never are (pods themselves are added) */
	size_t n_exclude;
	const struct addr *egress; /* the gateway's, at most one a version */
	size_t n_egress;
};

/* The type of a set's keys: a key is the last 4, 16, 2 or 1 bytes of a struct addr. */
enum plan_key { PLAN_KEY_IPV4, PLAN_KEY_IPV6, PLAN_KEY_PORT, PLAN_KEY_PROTOCOL };

struct plan_range {
	struct addr first, last; /* both belong to it */
	const char *jump;        /* in a map: the name of the chain; else NULL */
};

/* An interval set, or an interval map to verdicts. */
struct plan_set {
	char name[PLAN_NAME];
	enum plan_key key;
	bool map;
	struct plan_range *ranges; /* sorted, disjoint, not mergeable */
	size_t n_ranges, room;
};

enum plan_action { PLAN_ACCEPT, PLAN_DROP, PLAN_REJECT, PLAN_SNAT, PLAN_MAP };

/* Matches in the order in which they stand here, then the action.  NULL and 0: no such match. */
struct plan_rule {
	bool established;      /* ct state established,related */
	uint8_t version;       /* 4 or 6: of the addresses below */
	const char *from;      /* set that holds the source */
	const char *except;    /* set that does not hold the destination */
	uint8_t protocol;      /* IPPROTO_TCP or IPPROTO_UDP */
	const char *protocols; /* set that holds the protocol */
	const char *ports;     /* set that holds the destination port; with one of the two above */
	enum plan_action action;
	const char *map;     /* PLAN_MAP: by destination */
	struct addr address; /* PLAN_SNAT */
	char *text;          /* the rule in nft's words */
};

enum plan_hook { PLAN_NO_HOOK, PLAN_FORWARD, PLAN_POSTROUTING };

struct plan_chain {
	char name[PLAN_NAME];
	enum plan_hook hook;
	struct plan_rule *rules;
	size_t n_rules, room;
};

/* Sets and chains have stable addresses and stand in the order in which they were first needed. */
struct plan {
	char *table;
	struct plan_set **sets;
	size_t n_sets, sets_room;
	struct plan_chain **chains;
	size_t n_chains, chains_room;
};

/* NULL: no memory, or more than BUILD_MAX_RULES rules. */
struct plan *plan_new(const struct policy *policy, const struct plan_facts *facts);
void plan_free(struct plan *plan); /* accepts NULL */

/* As `nft -f` would take it. */
void plan_print(const struct plan *plan, FILE *out);

/* The rule in nft's words, from its other fields.  Returns `out`. */
const char *plan_rule_print(const struct plan_rule *rule, char out[PLAN_TEXT]);

/* What nft and the kernel call these; indexed by enum plan_key and enum plan_hook. */
extern const struct plan_key_info {
	const char *name; /* "ipv4_addr" */
	unsigned number;  /* nft's number of the type */
	size_t size;      /* bytes of a key */
} plan_keys[];

extern const struct plan_hook_info {
	const char *type, *name; /* "nat", "postrouting" */
	unsigned number;         /* enum nf_inet_hooks */
	int priority;
	const char *priority_name;
} plan_hooks[];
