/*
 * policy.h - who may go where: everything parsed from acl.ini.
 *
 * Immutable and reference-counted (atomically: threads share it).  Decisions
 * are pure: a query in, a verdict out.  No clock, no sockets, no event loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acl/files.h"
#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"
#include "base/text.h"

enum section_kind { SECTION_PARTNER, SECTION_BLOCK };
enum protocol {
	PROTOCOL_TCP = 1,
	PROTOCOL_UDP = 2,
	PROTOCOL_ANY = 3, /* every IP protocol */
};
/* Which of several egress addresses a connection gets. */
enum spread {
	SPREAD_SOURCE,     /* a source keeps its address */
	SPREAD_CONNECTION, /* each connection has one of its own */
};
#define EGRESS_MAX 16 /* egress addresses of one version, of a partner or of the gateway */
enum rate_per { RATE_PER_PARTNER, RATE_PER_SOURCE, RATE_PER_SOURCE_HOST };

struct ports {
	uint16_t first, last;
};

/* Networks.  A policy's lists are sorted, IPv4 before IPv6, and none holds another; ::/0 is every
 * IPv6 address and 0.0.0.0/0 every IPv4 one, so "any" is these two. */
struct cidr_list {
	struct cidr *at;
	size_t n;
};

/* For whom a stored response is. */
enum cache_per {
	CACHE_PER_PARTNER, /* everybody who may go to the partner */
	CACHE_PER_GROUP,   /* the clients in the same groups */
	CACHE_PER_SOURCE,  /* the client address that asked for it */
};

/* `cache = yes`, and the rules that go with it. */
struct section_cache {
	enum cache_per per;
	uint64_t min_lifetime; /* seconds; 0: as the origin says */
	uint64_t max_lifetime; /* seconds; UINT64_MAX: as the origin says */
	struct text *ignored; /* names of query keys that the key leaves out; "x*": that begin so */
	size_t n_ignored;
	bool surrogate; /* Surrogate-Control counts */
};

struct section {
	enum section_kind kind;
	const char *name;
	const char *file; /* where it stands, for messages: "acl.ini" */
	int line;
	unsigned index;      /* in file order, from 0 */
	bool report;         /* mode = report */
	struct ports *ports; /* sorted, disjoint; n_ports 0: none named */
	size_t n_ports;
	enum protocol protocol;
	struct cidr_list cidrs; /* sorted, disjoint: what `cidr` and cidr-file name */
	bool has_hosts;         /* hosts or hosts-file is there */
	struct cidr_list from;  /* sorted, disjoint: groups and "pods" resolved to networks */
	struct addr *egress;    /* egress-ip, as written; n_egress 0: the gateway's */
	size_t n_egress;
	enum spread spread; /* over several egress addresses of a version */
	bool resolve;       /* nat = resolve: its hosts' addresses count as `cidr` for NAT */
	uint32_t source_connections; /* most at a time for each source, by NAT; 0: no limit */
	uint64_t rate_ns;            /* nanoseconds a token takes to come back; 0: unlimited */
	uint32_t rate_burst;         /* tokens in a full bucket, at least 1 */
	const char *rate_text;       /* "10/1m" as written, or NULL */
	enum rate_per rate_per;
	const struct section_cache *cache; /* NULL: nothing is stored */
};

/* What a group's pods send through the proxy, whether they know of it or not. */
enum capture {
	CAPTURE_HTTP,  /* TCP port 80 */
	CAPTURE_HTTPS, /* TCP port 443 */
	N_CAPTURES
};

struct policy;

/* Parses `name` (acl.ini) and the acl.d/ beside it from `files`.  `pods` is what "pods" means.
 * NULL with `e` saying FILE:LINE: section: key = value: what was wanted. */
struct policy *policy_new(struct files *files, const char *name, const struct cidr *pods,
	size_t n_pods, struct error *e) WARN_UNUSED;
struct policy *policy_get(struct policy *policy); /* one more reference; returns its argument */
void policy_put(struct policy *policy);           /* accepts NULL */

/* Sections in file order, for plans and displays. */
size_t policy_n_sections(const struct policy *policy);
const struct section *policy_section(const struct policy *policy, size_t index);
bool section_admits(const struct section *section, const struct addr *client);
/* The host patterns of a section in canonical form ("*.x", ".x", "x", "*"), hosts before
 * hosts-file, one at a time from `index` 0; NULL ends. */
const char *section_host(const struct policy *policy, const struct section *section, size_t index);

/* The groups that `client` is in: names in file order, at most `max`; returns how many there are.
 * "pods" is one of them where the client lies in the pod networks. */
size_t policy_groups(
	const struct policy *policy, const struct addr *client, const char **names, size_t max);
bool policy_is_pod(const struct policy *policy, const struct addr *client);

bool policy_caches(const struct policy *policy); /* a partner has `cache = yes` */

/* The networks of all groups that capture this, sorted, disjoint. */
const struct cidr_list *policy_captured(const struct policy *policy, enum capture what);

/* The first group with `capture`, and where that stands, for messages; NULL: none. */
const char *policy_capturing_group(const struct policy *policy, const char **file, int *line);

enum action {
	ACTION_DENY,
	ACTION_ALLOW,
	ACTION_RESOLVE, /* the walk reached networks: ask again with the name's addresses */
};

enum reason {
	REASON_MATCHED,          /* a partner or block names it */
	REASON_NO_MATCH,         /* nothing names it */
	REASON_NOT_RESOLVED,     /* no address to decide on */
	REASON_ADDRESS,          /* the guard: only addresses that may not be dialled */
	REASON_BLOCKED_ADDRESS,  /* an earlier block names the address */
	REASON_RATE,             /* set by the caller, with limits.h */
	REASON_LOOP,             /* set by the caller */
	REASON_ORIGINAL_ADDRESS, /* set by the caller: captured, on its way to an address that the
				  * name does not have */
	N_REASONS
};

struct query {
	struct addr client;
	bool connect; /* CONNECT: only 443, unless the partner names the port */
	enum protocol protocol;
	uint16_t port;
	struct text host; /* canonical name (host_canonical); length 0: the target is an address */
	const struct addr *addrs; /* the target address, or what the name resolved to; not owned */
	size_t n_addrs;
	bool resolved; /* addrs are the whole answer */
	bool unnamed;  /* nobody named the address: a partner's `hosts` do not let it pass */
};

struct verdict {
	enum action action;
	enum reason reason;
	const struct section *section;  /* that decided, NULL: none.  Lives with the policy */
	bool by_address;                /* its `cidr` did: all addresses lie in it */
	bool reported;                  /* passes only because a section is in report mode: */
	const struct section *reporter; /* that one: a block, or the partner itself.  NULL: none, or
					 * the caller let pass what the partner's rate would not */
};

/*
 * First match in file order; nothing matches, nothing passes.
 *
 * A name that only blocks' networks precede is decided without looking it up
 * (the guard below holds its addresses against those blocks), and so is a name
 * that could match nothing: a denied name is never sent to a DNS server.
 *
 * Report mode: a block in report mode never denies; a request that nothing else lets pass
 * goes through the first partner in report mode that names its destination, whatever its
 * ports and sources.  What a block in force names is not let pass by any report mode.
 */
struct verdict policy_decide(const struct policy *policy, const struct query *query);

/* What became of one section when `query` was decided. */
enum considered {
	CONSIDERED_ELSEWHERE,  /* it names other destinations */
	CONSIDERED_UNRESOLVED, /* it names networks, and the name's addresses are not known */
	CONSIDERED_NOT_ALL,    /* its networks do not hold all of the addresses */
	CONSIDERED_PORT,       /* the destination, but not this port */
	CONSIDERED_PROTOCOL,
	CONSIDERED_SOURCE,
	CONSIDERED_UNNAMED, /* it names the destination, which nobody asked for by that name */
	CONSIDERED_REPORTS, /* a block in report mode: it would have denied */
	CONSIDERED_DECIDES,
	CONSIDERED_AFTER, /* behind the one that decided, or where the walk waits for addresses */
	N_CONSIDERED
};

/* Calls `each` for every section in file order; `verdict` is policy_decide()'s for `query`.  False
 * without memory. */
bool policy_consider(const struct policy *policy, const struct query *query,
	const struct verdict *verdict,
	void (*each)(void *arg, const struct section *section, enum considered considered),
	void *arg);

/* The address guard: may `addr` be dialled under this ALLOW verdict?  REASON_MATCHED: yes.
 * Else REASON_ADDRESS (not in the partner's cidr, which decided; or not global, and the partner's
 * cidr does not name it: a network /0 names no address) or REASON_BLOCKED_ADDRESS.  *block (`block` may be NULL) is the block then; with
 * REASON_MATCHED it is NULL, or the block in report mode that would refuse the address. */
enum reason policy_guard(const struct policy *policy, const struct query *query,
	const struct verdict *verdict, const struct addr *addr, const struct section **block);

/* The first of the section's egress addresses of `like`'s version, or NULL.  See egress_choose().
 */
const struct addr *section_egress(const struct section *section, const struct addr *like);

/* One line for a person: what was asked, what decided and where that is written. */
void policy_explain(
	const struct query *query, const struct verdict *verdict, char *out, size_t size);

/* "no-match", "rate-limited" ... for logs and metrics. */
const char *reason_name(enum reason reason);
