/*
 * policy_reader.h - one section of acl.ini becomes a part of a policy.
 *
 * For policy_parse.c, which knows the files and the order.
 */
#pragma once

#include "acl/ini.h"
#include "acl/policy_parts.h"

#define NAME_MAX_LENGTH 64 /* of a section, its kind not counted */

enum kind { PARTNER, BLOCK, GROUP, N_KINDS };

enum key {
	HOSTS,
	HOSTS_FILE,
	CIDR,
	CIDR_FILE,
	PORTS,
	PROTOCOL,
	FROM,
	MODE,
	EGRESS_IP,
	SPREAD,
	NAT,
	SOURCE_CONNECTIONS,
	RATE,
	BURST,
	RATE_PER,
	CACHE,
	CACHE_PER,
	CACHE_MIN_LIFETIME,
	CACHE_MAX_LIFETIME,
	CACHE_IGNORE_QUERY,
	CACHE_SURROGATE,
	CAPTURE,
	N_KEYS
};

/* One [section] of any file. */
struct heading {
	enum kind kind;
	const char *name; /* without the kind */
	const struct ini_section *ini;
	const char *file;
	const struct group *group; /* of a GROUP */
};

/* Networks or ports while they are collected. */
struct collected {
	void *at;
	size_t n, max;
};

struct reader {
	struct policy *policy;
	struct files *files;
	struct error *e;
	struct text dir; /* of acl.ini, with its slash */
	struct ini *inis;
	size_t n_inis, max_inis;
	struct heading *headings;
	size_t n_headings;
	void *headings_by_name; /* tsearch(3) tree of struct heading */
	void *scopes_by_text;   /* tsearch(3) tree of struct scope_name */
	bool has_report_lookup;
	struct collected nets, ports;

	/* where the reader stands, for messages */
	const char *file;
	int line;
	const char *section, *key;
};

/* A section that is being read. */
struct draft {
	const struct heading *heading;
	const struct ini_key *keys[N_KEYS]; /* NULL: not there */
	struct section *section;            /* NULL in a group */
	struct part *part;                  /* likewise */
	struct group *group;                /* NULL in others */
};

/* Order of headings: by kind, then by name without regard to letter case. */
int heading_order(const void *left, const void *right);

/* These return a negative errno with one line of text in `r->e`. */
int reader_no_memory(struct reader *r, int error);
int reader_refuse_section(struct reader *r, const char *want);
/* "FILE:LINE: section: key = value: want what was wanted" */
int reader_refuse(struct reader *r, struct text value, const char *want);

/* The value of a key, or no text when the section does not have it; messages are about it then. */
struct text reader_value(struct reader *r, const struct draft *d, enum key key);

/* Hands each item of a list to `take`, until that fails. */
typedef int take_item(struct reader *r, struct draft *d, struct text item);
int reader_each_item(
	struct reader *r, struct draft *d, struct text value, take_item *take) WARN_UNUSED;

/* A path relative to acl.ini as the set of files knows it, or NULL: no memory. */
char *reader_path(struct reader *r, struct text name);

/* Finds the keys of the draft's section.  0 or -errno, as all below. */
int reader_keys(struct reader *r, struct draft *d) WARN_UNUSED;

/* The networks of a group, and what it captures. */
int reader_group(struct reader *r, struct draft *d, struct group *group) WARN_UNUSED;

/* The networks of all groups that capture the same, once these are read. */
int reader_captured(struct reader *r) WARN_UNUSED;

/* All of a partner or block but its heading, indexes included. */
int reader_section(struct reader *r, struct draft *d) WARN_UNUSED;

/* What a partner asks of NAT (before its hosts are read), and the addresses it leaves from. */
int reader_nat(struct reader *r, struct draft *d) WARN_UNUSED;
int reader_egress(struct reader *r, struct draft *d) WARN_UNUSED;

/* What a partner asks of the cache. */
int reader_cache(struct reader *r, struct draft *d) WARN_UNUSED;

/* Can the pattern that was added last, written as `item`, be looked up for `nat = resolve`? */
int reader_resolvable(struct reader *r, const struct draft *d, struct text item) WARN_UNUSED;
