/*
 * host.h - host names in one canonical form, and patterns of them.
 *
 * Lower case, no trailing dot, A-labels only, IP literals as the address they mean.
 * Labels are 1-63 of a-z 0-9 - _, a name is up to 253 bytes (RFC 1035 2.3.4).
 */
#pragma once

#include <stdbool.h>

#include "base/addr.h"
#include "base/text.h"

#define HOST_MAX 254 /* RFC 1035 2.3.4, with a NUL */

enum host_kind {
	HOST_BAD,     /* neither a name nor an address, or one that parsers read differently */
	HOST_NAME,    /* `out` holds the canonical name */
	HOST_ADDRESS, /* `addr` holds the address: dotted quad, or [v6] */
};

/* Reads a host as it stands in a URI, a CONNECT target or a Host field.  IPv4 spelt as one
 * number, in octal, in hex or with fewer than four parts, and every name whose last label is
 * numeric (WHATWG URL 3.5), is HOST_BAD, never a name.  So are non-ASCII bytes, percent signs,
 * empty labels, zone ids, IPv6 without brackets and a dotted quad with a trailing dot.
 * `out` is undefined unless HOST_NAME, `addr` unless HOST_ADDRESS. */
enum host_kind host_canonical(struct text host, char out[HOST_MAX], struct addr *addr);
