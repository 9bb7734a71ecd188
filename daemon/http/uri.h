/*
 * uri.h - request targets (RFC 9112 3.2).
 */
#pragma once

#include "acl/host.h"
#include "base/addr.h"
#include "daemon/http/head.h"

enum scheme { SCHEME_NONE, SCHEME_HTTP, SCHEME_HTTPS };

/* Where a request wants to go. */
struct uri {
	enum scheme scheme; /* SCHEME_NONE for CONNECT */
	bool is_address;    /* `addr` is the target, else `host` */
	struct addr addr;
	char host[HOST_MAX]; /* canonical name; for an address its canonical text, v6 without
				brackets */
	size_t host_length;
	uint16_t port;     /* given, or the scheme's default */
	bool default_port; /* it is the scheme's own: leave it out of Host */
	struct text path;  /* origin-form to send: "/path?query", "*" for a server-wide OPTIONS.
			    * Points into the request, or to a literal "/".  An empty path with a
			    * query is in `path_slash`: send "/" before it. */
	bool path_slash;
};

/* Absolute-form ("http://host[:port]/path"; also https), and authority-form for CONNECT
 * ("host:port", the port is required).  Userinfo, fragments, an empty host, port 0, bad percent
 * escapes and bytes outside RFC 3986 are refused, except that [ ] { } | ^ and the backquote may
 * stand in paths and queries, as browsers send them.  Origin-form and asterisk-form answer -1 with
 * 400: they name no place to go to. OPTIONS with neither path nor query asks for "*" (RFC
 * 9112 3.2.4).  0, or -1 with `error`. */
int uri_parse(const struct head *request, struct uri *uri, struct head_error *error);

/* The same for a request that was made to an origin and captured: Host names the target.
 * Origin-form and, for OPTIONS, asterisk-form; absolute-form only when it agrees with Host (a proxy
 * would go by the one, an origin by the other: RFC 9112 3.2.2).  CONNECT and https are refused. */
int uri_parse_captured(const struct head *request, struct uri *uri, struct head_error *error);

/* "host", "host:port" or "[v6]:port" as Host wants it (RFC 9110 7.2); returns its length, or 0 when
 * it does not fit. */
size_t uri_host_field(const struct uri *uri, char *out, size_t size);
