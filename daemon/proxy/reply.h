/*
 * reply.h - answers that egret itself gives.
 *
 * Short, with the reason in words, and in Proxy-Status (RFC 9209) where it speaks as a proxy.
 */
#pragma once

#include "daemon/net/conn.h"

struct reply {
	int status;
	const char *error;    /* RFC 9209 2.3 error type, or NULL: no Proxy-Status */
	const char *rcode;    /* dns_error: RFC 9209 2.3.2 extra parameter, or NULL */
	const char *details;  /* for a person; other than printable ASCII is shown as '?' */
	const char *allow;    /* 405: the methods that are (RFC 9110 15.5.6), or NULL */
	uint64_t retry_after; /* seconds; 0: no Retry-After */
	const char *type;     /* NULL: text/plain */
	struct text body;     /* length 0: "egret: DETAILS\n" */
	bool keep_alive;
	bool head_only; /* answers HEAD: no body */
};

/* Writes into conn->out.  The length of the body sent, or -1 when there is no memory. */
ssize_t reply_put(struct conn *conn, struct buffer_pool *pool, const struct reply *reply,
	const char *name, const char *date);

const char *reply_phrase(int status);
