/*
 * dns.h - one query to a DNS server and its reply: c-ares in a libev loop.
 *
 * Retries, other servers, EDNS and TCP after a truncated reply are c-ares' work; names, caching and
 * deadlines are the resolver's.
 */
#pragma once

#include <ev.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"

#define DNS_SERVERS 8 /* at most */
#define DNS_ADDRS 16  /* taken from a reply; more are dropped */

struct dns;

enum dns_type { DNS_AAAA, DNS_A };

enum dns_error {
	DNS_OK,      /* at least one address */
	DNS_NO_DATA, /* the name has none of this type */
	DNS_NO_NAME, /* NXDOMAIN, or not a name */
	DNS_FAILED,  /* SERVFAIL, REFUSED, malformed, no server reached */
	DNS_TIMEOUT,
	DNS_NO_ROOM, /* no memory, or no descriptor: no server was asked */
};

/* One query, the caller's; it stays where it is until its reply.  There is no way to cancel one. */
struct dns_query {
	void (*on_reply)(struct dns_query
			*); /* also from inside dns_ask() and dns_free(); may call dns_ask() */
	enum dns_type type;
	enum dns_error error;
	int ttl; /* seconds, the least of the addresses and the CNAMEs before them; negative is 0
		    (RFC 2181 8) */
	size_t n_addrs;
	struct addr addrs[DNS_ADDRS];
};

/* No servers: those of resolv.conf.  `timeout`: seconds in which all tries have to fit.  NULL with
 * `e` filled. */
struct dns *dns_new(struct ev_loop *loop, const struct endpoint *servers, size_t n_servers,
	double timeout, struct error *e) WARN_UNUSED;
void dns_free(struct dns *dns); /* waiting queries get their reply: DNS_FAILED.  May be NULL */

/* Asks for the records of `query->type` of `name`, without a search list.  `on_reply` and `type`
 * are set. */
void dns_ask(struct dns *dns, const char *name, struct dns_query *query);
