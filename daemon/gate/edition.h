/*
 * edition.h - one edit of the files as the gate holds it: read, checked, planned and packed.
 *
 * Making one touches nothing: what it asks of the kernel is a datapath, what the proxy is to follow
 * is a sealed memfd.  The gate brings both into force, in gate.c.
 */
#pragma once

#include <stdint.h>

#include "acl/policy.h"
#include "daemon/config/config.h"
#include "daemon/datapath/datapath.h"

/* Absolute paths of everything an edition is made from, found or not; one that ends in "/" is a
 * directory of *.ini. */
struct path_list {
	char **at;
	size_t n;
};
bool path_list_equal(const struct path_list *a, const struct path_list *b);
void path_list_fini(struct path_list *paths);

struct edition {
	uint64_t number; /* the generation it becomes; 0: none yet */
	char digest[FILES_DIGEST_TEXT];
	struct config *config;
	struct policy *policy;
	struct datapath *datapath; /* NULL: no NAT */
	/* the gateway's: as configured, else what the node says (NAT only) */
	struct addr egress[2 * EGRESS_MAX];
	size_t n_egress; /* 0: the kernel chooses */
	struct path_list paths;
	int fd;           /* packed files */
	const char *name; /* of egret.ini among them; points into `path` */
};

/* What an edition follows beside its files. */
struct edition_facts {
	const struct config
		*running;            /* what needs a restart stands as it is there; NULL: nothing */
	const struct learnt *learnt; /* addresses of names; NULL: none */
	const enum role *role;       /* the command line's; NULL: the file's */
	/* The name of the gateway that has an egress address, or NULL.  NULL: nobody is known. */
	const char *(*owner_of)(void *arg, const struct addr *addr);
	void *owner_arg;
	const struct released *released; /* egress addresses that are not to be here; NULL: none */
	bool *by_node; /* set if it is the node, and not the files, that edition_new() fails for;
			* NULL: nobody asks */
};

/* Reads `path` (egret.ini, absolute) and all that it names.  `facts` may be NULL.  NULL with `e`
 * set; then `tried` (may be NULL, else initialised to zero) holds the paths, and is the caller's.
 */
struct edition *edition_new(const char *path, const struct edition_facts *facts,
	struct path_list *tried, struct error *e) WARN_UNUSED;
void edition_free(struct edition *edition); /* accepts NULL */

/* The same files, and the same egress addresses? */
bool edition_equal(const struct edition *a, const struct edition *b);

/* What the node's addresses ask of the kernel now is not what `edition` asks. */
bool edition_datapath_is_stale(const struct edition *edition, const struct edition_facts *facts);
/* Another datapath for the same files; NULL with `e`. */
struct datapath *edition_replan(const struct edition *edition, const struct edition_facts *facts,
	struct error *e) WARN_UNUSED;

/* egress-ip is auto, and the node now has another address than when this was made. */
bool edition_egress_is_stale(const struct edition *edition);

/* Logs a warning for each version that pods have and the gateway has no egress address of, and,
 * with no other gateways, for each egress address in force, a partner's included, that is on no
 * interface of this node. */
void edition_warn_foreign(const struct edition *edition);
/* Logs an error when there is no way to a gateway where one could be expected. */
void edition_warn_ways(const struct edition *edition);

/* "12 partners, 3 blocks, egress 203.0.113.10 and 2001:db8::10 and 4 more, digest 0123456789ab".
 * Returns `out`. */
#define EDITION_TEXT 192
const char *edition_print(const struct edition *edition, char out[EDITION_TEXT]);
