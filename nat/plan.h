/*
 * plan.h - the complete kernel state that a policy asks for: a plain value.
 *
 * Made from a policy and facts without touching the kernel, compared, printed as nft text and
 * evaluated; table.h brings the kernel to it.
 *
 * What pods send out of the cluster meets the sections with `cidr`, first match in file order: a
 * block rejects; a partner gives its class, and so its egress addresses, or the gateway's when it
 * names none.  A partner whose egress-ip has no address of the packet's version rejects.  What no
 * section names follows `fallback`.  A block in report mode does nothing; a partner in report
 * mode also takes what else nobody names, of any source and port.
 *
 * A class is a number in the conntrack mark of a flow: which egress addresses it may have.  It is
 * decided once, and every packet after is held against `ok`: the pairs of a class and an address.
 * The mark's lowest bit says that this has not been done for the first one yet.
 */
#pragma once

#include <stdio.h>

#include "acl/policy.h"

#define PLAN_NAME 80                 /* longest name of a set, chain or counter, with its NUL */
#define PLAN_TEXT 512                /* longest rule as text, with its NUL */
#define PLAN_COMMENT "made by egret" /* of the table: by it egret knows its own */
#define PLAN_MAX_STEPS 10            /* of a rule */

/* What no section names. */
enum plan_fallback {
	PLAN_GATEWAY, /* leaves with the gateway's egress address */
	PLAN_LOCAL,   /* as if egret were not there */
	PLAN_DENY,    /* is rejected */
};

/* An egress address that is on this node. */
struct plan_address {
	struct addr addr;
	bool dedicated; /* nobody reaches the node at it, but by the inbound ports */
};

/* An address of a section that was learnt from DNS. */
struct plan_learnt {
	unsigned section; /* index */
	struct addr addr;
};

/* Another node that may have egress addresses, and the way there.  Index 0 is IPv4, 1 IPv6. */
struct plan_gateway {
	uint32_t number;       /* 2 ...: of the packet mark; 1 is what passes */
	const char *device[2]; /* NULL: no way in this version */
	struct addr via[2];
	struct cidr link[2]; /* what is on the link with `via`, itself at least: nodes */
};

/* An egress address that is on another gateway. */
struct plan_owner {
	struct addr addr;
	unsigned gateway; /* index */
};

struct plan_facts {
	const char *table;       /* name, family inet */
	const struct cidr *pods; /* sources that are translated */
	size_t n_pods;
	const struct cidr *exclude; /* destinations that never are (pods themselves are added) */
	size_t n_exclude;
	const struct addr *egress; /* the gateway's */
	size_t n_egress;
	enum spread spread;
	enum plan_fallback fallback;
	const char *const *devices; /* that pods' packets come in at */
	size_t n_devices;
	const struct plan_address *addresses; /* sorted; what is not here translates nothing */
	size_t n_addresses;
	const struct addr *absent; /* egress addresses that are not here, but may come */
	size_t n_absent;
	const struct plan_gateway *gateways; /* none: nothing is steered */
	size_t n_gateways;
	const struct plan_owner *owners; /* sorted by address */
	size_t n_owners;
	bool flow_sync;                   /* somebody keeps the flows of all gateways the same */
	const struct plan_learnt *learnt; /* sorted by section */
	size_t n_learnt;
	const struct ports *inbound; /* of dedicated addresses, open to the outside */
	size_t n_inbound;
	uint32_t mark_mask;    /* bits of the packet mark that are ours */
	uint32_t ct_mark_mask; /* bits of the conntrack mark that are */
	uint16_t capture_port; /* where the proxy takes captured connections; 0: not on this node */
	int capture_priority, prerouting_priority, forward_priority, translate_priority,
		guard_priority;
};

enum plan_key {
	PLAN_KEY_IPV4,
	PLAN_KEY_IPV6,
	PLAN_KEY_PORT,
	PLAN_KEY_PROTOCOL,
	PLAN_KEY_CLASS,      /* the conntrack mark */
	PLAN_KEY_NUMBER,     /* what stands in the packet's priority */
	PLAN_KEY_CLASS_IPV4, /* and an address */
	PLAN_KEY_CLASS_IPV6,
	PLAN_KEY_PAIR4, /* source and destination */
	PLAN_KEY_PAIR6,
	PLAN_N_KEYS
};

/* An element of a set.  Of a set without ranges `last` is `first`.  An address key is the last 4
 * or 16 bytes of a struct addr, a port or protocol the last 2 or 1. */
struct plan_range {
	uint32_t mark;
	struct addr first, last; /* both belong to it */
	const char *jump;        /* in a map to verdicts: the name of the chain; else NULL */
	uint32_t number;         /* in a map to numbers: of a chain; else 0 */
};

enum plan_kind {
	PLAN_INTERVAL, /* ranges */
	PLAN_HASH,     /* single elements */
	PLAN_DYNAMIC,  /* elements come from rules, and are no part of the plan */
};

struct plan_set {
	char name[PLAN_NAME];
	enum plan_key key;
	enum plan_kind kind;
	bool map; /* to verdicts, or to numbers */
	bool numbers;
	bool held;                 /* destinations whose elements change are held meanwhile */
	bool guard;                /* grows before other changes and shrinks after them */
	uint32_t timeout;          /* seconds, of a dynamic set's elements; 0: none */
	struct plan_range *ranges; /* sorted, disjoint, not mergeable */
	size_t n_ranges, room;
};

/* One match, statement or verdict.  In brackets what it uses: set, chain, name, net, number,
 * other. */
enum plan_op {
	PLAN_END,
	PLAN_VERSION,      /* meta nfproto */
	PLAN_FROM_NET,     /* ip saddr [net] */
	PLAN_TO_NET,       /* ip daddr [net] */
	PLAN_FROM_SET,     /* ip saddr [set] */
	PLAN_TO_SET,       /* ip daddr [set] */
	PLAN_TO_LOCAL,     /* fib daddr type local */
	PLAN_TO_UNICAST,   /* fib daddr type unicast: not of this node, not to many */
	PLAN_PROTOCOL,     /* meta l4proto [number] */
	PLAN_PROTOCOL_SET, /* meta l4proto [set] */
	PLAN_PORTS,        /* th dport [number]-[other], behind one of the two above */
	PLAN_PORT_SET,     /* th dport [set], likewise */
	PLAN_SYN,          /* tcp flags & (fin | syn | rst | ack) == syn, behind PLAN_PROTOCOL */
	PLAN_ORIGINAL,     /* ct direction original */
	PLAN_REPLY,        /* ct direction reply */
	PLAN_KNOWN,        /* ct state established,related */
	PLAN_UNKNOWN,      /* ct state invalid,untracked */
	PLAN_DNATTED,      /* ct status dnat */
	PLAN_FROM_DEVICE,  /* iifname [name] */
	PLAN_CLASSED,      /* ct mark & [other] != 0 */
	PLAN_CLASS,        /* ct mark & [other] == [number] */
	PLAN_CLASS_SOURCE, /* ct mark & [other] . ip saddr [set] */
	PLAN_CLASS_HOP,    /* ct mark & [other] . rt ip nexthop [set] */
	PLAN_HASHED,       /* jhash ip saddr mod [other] == [number] */
	PLAN_RANDOM,       /* numgen random mod [other] == 0 */
	PLAN_OVER,         /* add [set] { ip saddr ct count over [number] } */
	PLAN_SET_MARK,     /* meta mark set meta mark & ~[other] | [number] */
	PLAN_SET_CLASS, /* ct mark set ct mark & ~[other] | [number]: of a class or what was said of
			   it */
	PLAN_COUNT,     /* counter name [name] */
	PLAN_NOTE,      /* update [set] { ip saddr . ip daddr counter } */
	PLAN_NOTE_ORIGIN, /* update [set] { ct original ip saddr . ip daddr counter } */
	PLAN_ACCEPT,
	PLAN_DROP,
	PLAN_REJECT,       /* with icmpx type admin-prohibited */
	PLAN_SNAT,         /* snat ip to [net.addr] */
	PLAN_REDIRECT,     /* redirect to :[number] */
	PLAN_SNAT_SELF,    /* snat ip to ip saddr */
	PLAN_GOTO,         /* goto [chain] */
	PLAN_TO_MAP,       /* ip daddr vmap [set] */
	PLAN_CLASS_MAP,    /* ct mark & [other] vmap [set] */
	PLAN_NUMBER,       /* meta priority set ip daddr map [set]: a match and an action */
	PLAN_NUMBER_MAP,   /* meta priority vmap [set] */
	PLAN_CLEAR_NUMBER, /* meta priority set none */
	PLAN_NUMBERED,     /* meta priority @[set] */
};

struct plan_step {
	enum plan_op op;
	uint32_t number, other;
	union {
		const struct plan_set *set;
		const struct plan_chain *chain;
		const char *name;
	};
	struct cidr net;
};

struct plan_rule {
	uint8_t version;         /* 4 or 6: of the addresses in its steps; 0: it has none */
	struct plan_step *steps; /* PLAN_END ends */
	char *text;              /* the rule in nft's words */
};

enum plan_hook {
	PLAN_NO_HOOK,
	PLAN_CAPTURE,
	PLAN_PREROUTING,
	PLAN_INPUT,
	PLAN_FORWARD,
	PLAN_TRANSLATE,
	PLAN_GUARD,
};

struct plan_chain {
	char name[PLAN_NAME];
	enum plan_hook hook;
	int priority;
	struct plan_rule *rules;
	size_t n_rules, room;
};

struct plan_counter {
	char name[PLAN_NAME];
	const char *reason; /* "blocked", "no-egress-address", "source-connections",
			       "default-egress", "quic" */
	int section;        /* index; -1: none */
};

/* Which egress addresses a flow with this mark may have. */
struct plan_class {
	uint32_t mark;
	int section; /* the first that names them; -1: the gateway's */
	bool local;  /* none: as if egret were not there */
};

/* An egress address of a class that is not here, but whose flows may be: they came from the gateway
 * that has it, or stayed when it left. */
struct plan_spare {
	uint32_t mark;
	struct addr addr;
};

/* Destinations that the same sections name. */
struct plan_place {
	struct addr first, last;
	size_t begin, n; /* of plan->place_sections */
};

/* Sets and chains have stable addresses and stand in the order in which they were first needed. */
struct plan {
	char *table;
	uint32_t mark_mask;
	uint32_t class_mask; /* of the conntrack mark: the class */
	uint32_t unjudged;   /* and the bit of a flow that the guard has not seen yet */
	struct plan_set **sets, **sets_by_name;
	size_t n_sets, sets_room;
	struct plan_chain **chains, **chains_by_name;
	size_t n_chains, chains_room;
	struct plan_counter **counters; /* sorted by name */
	size_t n_counters, counters_room;
	struct plan_class *classes; /* sorted by mark */
	size_t n_classes, classes_room;
	struct plan_spare *spares; /* sorted */
	size_t n_spares, spares_room;
	struct plan_place *places; /* sorted, disjoint */
	size_t n_places, places_room;
	unsigned *place_sections; /* indexes, in file order */
	size_t n_place_sections, place_sections_room;
	struct cidr *pods;
	size_t n_pods;
	char **texts; /* that steps point at */
	size_t n_texts, texts_room;
};

/* NULL: no memory, or more than BUILD_MAX_RULES rules. */
struct plan *plan_new(const struct policy *policy, const struct plan_facts *facts);
void plan_free(struct plan *plan); /* accepts NULL */

/* NULL when there is none. */
const struct plan_set *plan_set(const struct plan *plan, const char *name);
const struct plan_chain *plan_chain(const struct plan *plan, const char *name);
const struct plan_counter *plan_counter(const struct plan *plan, const char *name);
const struct plan_class *plan_class(const struct plan *plan, uint32_t mark);

/* In a sorted list. */
bool plan_address_is_in(const struct plan_address *addresses, size_t n, const struct addr *addr);

/* NFT_SET_... */
uint32_t plan_set_flags(const struct plan_set *set);
/* What nft and the kernel call what a map leads to; 0: it is a set. */
uint32_t plan_set_data(const struct plan_set *set);

/* As `nft -f` would take it. */
void plan_print(const struct plan *plan, FILE *out);

/* The rule in nft's words, from its other fields.  Returns `out`. */
const char *plan_rule_print(const struct plan_rule *rule, char out[PLAN_TEXT]);

/* What the kernel would do with the first packet of a flow that leaves the node. */
struct plan_packet {
	struct addr source, destination;
	uint8_t protocol;
	uint16_t port; /* of the destination; 0 where the protocol has none */
};

enum plan_fate {
	PLAN_LEFT_ALONE, /* no pod's, or not out of the cluster */
	PLAN_REFUSED,    /* counted in `counter` */
	PLAN_CLASSED_AS, /* leaves as `mark` says */
};

struct plan_decision {
	enum plan_fate fate;
	uint32_t mark;
	const char *counter;
};

struct plan_decision plan_decide(const struct plan *plan, const struct plan_packet *packet);

/* The section that decides, whose policy the plan was made from; -1: none.  With protocol 0 the
 * first that names the destination at all. */
int plan_section(
	const struct plan *plan, const struct policy *policy, const struct plan_packet *packet);

/* By its ports, protocol and sources, whatever the destination. */
bool plan_section_fits(const struct section *section, const struct plan_packet *packet);

/* May a packet of this class leave with this source address? */
bool plan_allows(const struct plan *plan, uint32_t mark, const struct addr *source);
/* Has it an egress address here? */
bool plan_translates(const struct plan *plan, uint32_t mark, bool v4);
/* Are flows of this class kept that have this source address, which is not here? */
bool plan_spares(const struct plan *plan, uint32_t mark, const struct addr *source);
int plan_spare_order(const void *a, const void *b); /* for qsort() and bsearch() */

#define PLAN_DYNAMIC_SIZE 65535 /* most elements of a dynamic set */
#define PLAN_NOTE_TIMEOUT 3600  /* seconds that a refused pair is remembered */

/* What nft and the kernel call these; indexed by enum plan_key and enum plan_hook. */
extern const struct plan_key_info {
	const char *name; /* "ipv4_addr" */
	unsigned number;  /* nft's number of the type */
	size_t mark;      /* bytes of the mark in front: 0 or 4 */
	size_t size;      /* bytes of each address, port or protocol */
	size_t n;         /* how many of them: 0, 1 or, as a pair, 2 */
	unsigned order;   /* nft's number of the byte order; 0: mixed */
} plan_keys[PLAN_N_KEYS];

extern const struct plan_hook_info {
	const char *type, *name; /* "nat", "postrouting" */
	unsigned number;         /* enum nf_inet_hooks */
} plan_hooks[];
