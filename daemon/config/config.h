/*
 * config.h - egret.ini: every key in one table.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "acl/files.h"
#include "acl/policy.h"
#include "base/addr.h"
#include "base/error.h"
#include "daemon/config/gateways.h"
#include "daemon/log/access.h"
#include "daemon/log/log.h"

struct endpoint_list {
	struct endpoint *at;
	size_t n;
};

struct addr_list {
	struct addr *at;
	size_t n;
};

struct port_list {
	struct ports *at; /* sorted, disjoint */
	size_t n;
};

enum on_reload { ON_RELOAD_RECHECK, ON_RELOAD_KEEP };

/* How what pods send to no partner leaves.  (The proxy denies it whatever this says.) */
enum default_egress {
	DEFAULT_EGRESS_GATEWAY, /* with the gateway's egress address */
	DEFAULT_EGRESS_LOCAL,   /* as if egret were not there */
	DEFAULT_EGRESS_DENY,    /* not at all: rejected */
};

/* What a node is for the cluster. */
enum role {
	ROLE_GATEWAY, /* serves the proxy, translates while egress addresses are here */
	ROLE_AGENT,   /* brings what its pods send to the gateway that has the address */
};

/* Whether others are kept from changing egret's table. */
enum lock_table {
	LOCK_TABLE_NO,
	LOCK_TABLE_AUTO, /* where the kernel can */
};

struct config {
	/* [gateway] */
	enum role role;
	struct gateway_list gateways; /* n 0: this one alone */
	unsigned probe_port;
	double probe_interval; /* seconds */
	struct cidr_list pod_cidr;
	struct cidr_list exclude_cidr;
	enum default_egress default_egress;
	struct addr_list egress_ip; /* at most EGRESS_MAX a version; n 0: auto */
	enum spread spread;         /* over several of them */
	char *egress_interface;     /* NULL: auto */
	char *acl;                  /* acl.ini, relative to egret.ini's directory */

	/* [proxy] */
	struct endpoint_list listen;
	struct endpoint_list capture_listen; /* all on one port; n 0: off */
	unsigned workers;                    /* 0: one a CPU */
	size_t max_connections;              /* clients, over all workers */
	unsigned uid, gid;
	char *name; /* pseudonym in Via and Proxy-Status */
	double header_timeout, idle_timeout, connect_timeout, response_timeout, relay_timeout,
		tunnel_timeout, drain_timeout; /* seconds */
	size_t max_header_bytes, max_header_fields, max_request_line;
	size_t origin_connections; /* idle ones kept, a worker */
	double origin_idle_timeout;
	size_t max_sources; /* rate buckets */
	enum on_reload on_reload;

	/* [cache] */
	size_t cache_size;     /* bytes; 0: none */
	char *cache_directory; /* with egret.ini's directory; NULL: in memory */
	size_t cache_max_object;
	double cache_heuristic; /* most seconds of a lifetime that is a guess */

	/* [dns] */
	struct endpoint_list dns_servers;
	double dns_timeout, dns_min_ttl, dns_max_ttl, dns_negative_ttl;
	size_t dns_cache, dns_queries, dns_waiters;
	char *dns_hosts_file; /* NULL: none.  config_new() has read it: it is in `files` */

	/* [log] */
	enum log_level log_level;
	char *access_log; /* "off", "stdout", "stderr" or a path, with egret.ini's directory */
	enum access_format access_format;

	/* [admin] */
	struct endpoint_list admin_listen; /* n 0: off */
	char *control; /* path of the control socket, with egret.ini's directory; NULL: off */

	/* [nat] */
	bool nat;
	char *nat_table;
	enum lock_table lock_table;
	bool manage_address;            /* egretd adds the egress addresses, and takes them away */
	struct port_list inbound_ports; /* of dedicated egress addresses; n 0: none */
	bool flow_sync;                 /* conntrackd tells the gateways of each other's flows */
	uint32_t mark_mask;    /* the packet mark's bits that are egret's: >= 2, adjacent */
	uint32_t ct_mark_mask; /* the conntrack mark's: >= 16, adjacent */
	unsigned route_table, rule_priority;
	int capture_priority, prerouting_priority, forward_priority, translate_priority,
		guard_priority;
	char *flow_log;   /* path, with egret.ini's directory; NULL: off */
	size_t max_flows; /* that the gate remembers */
};

/* Reads `name` from `files`, but not the policy it names.  NULL with `e` saying
 * FILE:LINE: [section] key = value: what was wanted. */
struct config *config_new(struct files *files, const char *name, struct error *e) WARN_UNUSED;
void config_free(struct config *config);

/* The next key that differs and takes effect only at a restart (listen, workers, uid ...) as
 * "[proxy] listen", or NULL.  *from is 0 at first and remembers the place. */
const char *config_needs_restart(const struct config *now, const struct config *next, size_t *from);

/* The table as a commented egret.ini: every section, key, default, unit and what it is for.
 * etc/egret.ini is this text. */
void config_print_defaults(FILE *out);
