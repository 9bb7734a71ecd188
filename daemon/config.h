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

enum on_reload { ON_RELOAD_RECHECK, ON_RELOAD_KEEP };

struct config {
	/* [gateway] */
	struct cidr_list pod_cidr;
	struct cidr_list exclude_cidr;
	struct addr_list egress_ip; /* at most one a version; n 0: auto */
	char *egress_interface;     /* NULL: auto */
	char *acl;                  /* acl.ini, relative to egret.ini's directory */

	/* [proxy] */
	struct endpoint_list listen;
	unsigned workers;       /* 0: one a CPU */
	size_t max_connections; /* clients, over all workers */
	unsigned uid, gid;
	char *name; /* pseudonym in Via and Proxy-Status */
	double header_timeout, idle_timeout, connect_timeout, response_timeout, relay_timeout,
		tunnel_timeout, drain_timeout; /* seconds */
	size_t max_header_bytes, max_header_fields, max_request_line;
	size_t origin_connections; /* idle ones kept, a worker */
	double origin_idle_timeout;
	size_t max_sources; /* rate buckets */
	enum on_reload on_reload;

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
