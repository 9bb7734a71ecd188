/*
 * datapath.h - everything that an edition asks of the kernel, by the facts of the moment: the
 * table, the routing guard, egress addresses, kernel parameters.
 *
 * A plain value, made without touching the kernel; keeper.h brings it into force.
 */
#pragma once

#include <stdio.h>

#include "daemon/config/config.h"
#include "daemon/datapath/learnt.h"
#include "daemon/datapath/released.h"
#include "daemon/peers/ways.h"
#include "nat/address.h"
#include "nat/audit.h"
#include "nat/guard.h"
#include "nat/plan.h"
#include "nat/sysctl.h"

#define DATAPATH_RETIRED 65536 /* addresses */
#define DATAPATH_DEVICES 16
#define DATAPATH_SYSCTLS 5

struct datapath {
	struct plan *plan, *backstop;
	struct guard guard;
	struct ways ways;
	struct plan_owner *owners; /* of egress addresses that are not here */
	size_t n_owners;
	struct policy *policy;
	struct plan_address *addresses; /* egress addresses that are on this node, sorted */
	size_t n_addresses;
	struct addr *absent; /* those that are not */
	size_t n_absent;
	struct addr *wanted; /* all egress addresses, here or not, sorted */
	size_t n_wanted;
	struct addr *manageable; /* of these, what egretd may add to `device`, sorted */
	size_t n_manageable;
	struct addr *managed; /* of these, what it does add: not released, not waiting for a word */
	size_t n_managed;
	char device[16];
	char pod_devices[DATAPATH_DEVICES][16]; /* with an address of the pod networks */
	size_t n_pod_devices;
	struct plan_learnt *learnt; /* addresses of names, by section */
	const char **learnt_hosts;  /* each one's, in `policy`; NULL: not known any more */
	size_t n_learnt;
	struct audit_retired retired; /* of those before, what DNS does not give any more */
	const char **retired_hosts;   /* likewise */
	struct sysctl sysctls[DATAPATH_SYSCTLS];
	size_t n_sysctls;
};

struct datapath_ask {
	const struct config *config;  /* as it is edited now */
	const struct config *running; /* as egretd was started: what needs a restart */
	struct policy *policy;
	const struct addr *egress; /* the gateway's */
	size_t n_egress;
	const struct learnt *learnt; /* NULL: nothing */
	/* The name of the gateway that has an egress address, or NULL.  NULL: nobody is known. */
	const char *(*owner_of)(void *arg, const struct addr *addr);
	void *arg;
	const struct released *released; /* not to be managed; NULL: none */
};

/* Reads addresses and routes of the node, which needs no privilege.  NULL with `e` set. */
struct datapath *datapath_new(const struct datapath_ask *ask, struct error *e) WARN_UNUSED;
void datapath_free(struct datapath *datapath); /* accepts NULL */

/* `before` was in force: addresses of names that have moved keep their flows, as far as a section
 * that lets them leave in the same way still names their host (inherit.c).  False without memory:
 * such flows may be cut. */
bool datapath_inherit(struct datapath *datapath, const struct datapath *before);

/* The node's addresses are not any more what this was made from. */
bool datapath_is_stale(const struct datapath *datapath, const struct datapath_ask *ask);

/* As nft reads it; the commands beside the table stand in comments. */
void datapath_print(const struct datapath *datapath, FILE *out);
