/*
 * addr.h - IP addresses and networks as plain values.
 *
 * One form for both versions: 16 bytes, IPv4 as ::ffff:a.b.c.d.  So an
 * IPv4-mapped IPv6 address *is* the IPv4 address it names, everywhere.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/text.h"

#define ADDR_TEXT 46     /* longest address as text, with its NUL */
#define ENDPOINT_TEXT 54 /* "[address]:port" with its NUL */

struct addr {
	uint8_t bytes[16];
};

struct cidr {
	struct addr addr; /* host bits are zero */
	uint8_t bits;     /* 0-128, counted in the 16-byte form: 10.0.0.0/8 is 104 */
};

struct endpoint {
	struct addr addr;
	uint16_t port; /* host byte order */
};

bool addr_is_v4(const struct addr *a);
bool addr_equal(const struct addr *a, const struct addr *b);

/* Dotted-quad IPv4 of exactly four decimal octets without leading zeros, or
 * RFC 4291 IPv6 without brackets and without a zone.  False on all else. */
bool addr_parse(struct addr *a, struct text text);

/* "192.0.2.1" or "2001:db8::1" (RFC 5952).  Returns `out`. */
const char *addr_print(const struct addr *a, char out[ADDR_TEXT]);

/* "10.42.0.0/16", or an address alone for a /32 or /128.  False when host
 * bits are set, so that a typing error is not a wider network. */
bool cidr_parse(struct cidr *c, struct text text);
/* As cidr_parse() reads it: a /32 or /128 is printed as an address alone. */
const char *cidr_print(const struct cidr *c, char out[ADDR_TEXT + 4]);
/* An IPv6 network never holds an IPv4 address: "::/0" is all of IPv6, and only that. */
bool cidr_contains(const struct cidr *c, const struct addr *a);
bool cidr_is_v4(const struct cidr *c);
extern const struct cidr cidr_everything[2]; /* 0.0.0.0/0, ::/0 */

/* "192.0.2.1:80", "[2001:db8::1]:80".  The port is 1-65535. */
bool endpoint_parse(struct endpoint *e, struct text text);
const char *endpoint_print(const struct endpoint *e, char out[ENDPOINT_TEXT]);

/* Between the kernel's form and ours.  endpoint_to_sockaddr() returns the
 * length to pass to bind() or connect(). */
bool endpoint_from_sockaddr(struct endpoint *e, const struct sockaddr *sa);
socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out);

/* What kind of address this is (RFC 6890 and the IANA special-purpose
 * registries): only ADDR_GLOBAL may be dialled without being named by cidr. */
enum addr_class {
	ADDR_GLOBAL,
	ADDR_UNSPECIFIED,
	ADDR_LOOPBACK,
	ADDR_PRIVATE,    /* RFC 1918, RFC 4193, RFC 6598 shared space */
	ADDR_LINK_LOCAL, /* 169.254/16 with the metadata services, fe80::/10 */
	ADDR_MULTICAST,
	ADDR_EMBEDDED, /* IPv6 that carries IPv4: NAT64, 6to4, Teredo, ::a.b.c.d, ISATAP */
	ADDR_RESERVED, /* documentation, benchmarking, 240/4, broadcast, discard ... */
};
enum addr_class addr_classify(const struct addr *a);
const char *addr_class_name(enum addr_class class); /* "loopback", "private" ... */
