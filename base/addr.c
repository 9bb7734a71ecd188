/*
 * addr.c - IP addresses and networks as plain values.
 *
 * Text is read strictly, because an ACL and a resolver that read one spelling as two addresses
 * are a hole: no octal, no short forms, no zones, no leading zeros, no host bits in a network.
 *
 * addr_classify() goes through one table, the first network that holds the address decides.  It
 * refuses more than the IANA registries mark as unreachable: 192.0.0.0/24 and 2001::/23 whole
 * (their reachable parts are anycast protocol servers, which answer from the own network), and
 * IPv6 outside of 2000::/3, where no global unicast address is.
 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/check.h"

#define V4_BITS 96 /* what comes before an IPv4 address in the 16-byte form */

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

const struct cidr cidr_everything[2] = {
	{{{[10] = 0xff, [11] = 0xff}}, V4_BITS},
	{{{0}}, 0},
};

bool addr_is_v4(const struct addr *a)
{
	return memcmp(a->bytes, v4_prefix, sizeof(v4_prefix)) == 0;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* Reads a decimal number without leading zeros off the front of `text`. */
static bool take_number(struct text *text, unsigned max, unsigned *out)
{
	unsigned value = 0;
	size_t n = 0;

	while (n < text->length && text->at[n] >= '0' && text->at[n] <= '9') {
		value = value * 10 + (unsigned)(text->at[n++] - '0');
		if (value > max)
			return false;
	}
	if (n == 0 || (n > 1 && text->at[0] == '0'))
		return false;
	text->at += n;
	text->length -= n;
	*out = value;
	return true;
}

static bool take_byte(struct text *text, char byte)
{
	if (text->length == 0 || text->at[0] != byte)
		return false;
	text->at++;
	text->length--;
	return true;
}

static bool parse_v4(struct addr *a, struct text text)
{
	memcpy(a->bytes, v4_prefix, sizeof(v4_prefix));
	for (int i = 0; i < 4; i++) {
		unsigned octet;

		if ((i > 0 && !take_byte(&text, '.')) || !take_number(&text, 255, &octet))
			return false;
		a->bytes[12 + i] = (uint8_t)octet;
	}
	return text.length == 0;
}

static bool parse_v6(struct addr *a, struct text text)
{
	char string[ADDR_TEXT];

	if (text.length == 0 || text.length >= sizeof(string) || memchr(text.at, '\0', text.length))
		return false;
	memcpy(string, text.at, text.length);
	string[text.length] = '\0';
	return inet_pton(AF_INET6, string, a->bytes) == 1;
}

bool addr_parse(struct addr *a, struct text text)
{
	struct addr parsed;

	if (!parse_v4(&parsed, text) && !parse_v6(&parsed, text))
		return false;
	*a = parsed;
	return true;
}

const char *addr_print(const struct addr *a, char out[ADDR_TEXT])
{
	bool v4 = addr_is_v4(a);

	CHECK(inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->bytes + 12 : a->bytes, out, ADDR_TEXT));
	return out;
}

/* Do the first `bits` of both agree? */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8;
	uint8_t mask = (uint8_t)(0xff00 >> bits % 8);

	return memcmp(a, b, whole) == 0 && (bits % 8 == 0 || ((a[whole] ^ b[whole]) & mask) == 0);
}

static bool host_bits_are_zero(const struct cidr *c)
{
	static const uint8_t zero[16];
	struct addr rest = c->addr;
	unsigned whole = c->bits / 8;

	memset(rest.bytes, 0, whole);
	if (c->bits % 8)
		rest.bytes[whole] &= (uint8_t)(0xff >> c->bits % 8);
	return memcmp(rest.bytes, zero, sizeof(zero)) == 0;
}

bool cidr_parse(struct cidr *c, struct text text)
{
	const char *slash = text.length ? memchr(text.at, '/', text.length) : NULL;
	struct text address = text;
	struct cidr parsed = {.bits = 128};
	unsigned bits;

	if (slash)
		address.length = (size_t)(slash - text.at);
	if (!addr_parse(&parsed.addr, address))
		return false;
	if (slash) {
		bool quad = !memchr(address.at, ':', address.length);
		struct text rest = {slash + 1, text.length - address.length - 1};

		if (!take_number(&rest, quad ? 32 : 128, &bits) || rest.length > 0)
			return false;
		parsed.bits = (uint8_t)(quad ? V4_BITS + bits : bits);
	}
	if (!host_bits_are_zero(&parsed))
		return false;
	*c = parsed;
	return true;
}

const char *cidr_print(const struct cidr *c, char out[ADDR_TEXT + 4])
{
	addr_print(&c->addr, out);
	if (c->bits < 128) {
		size_t length = strlen(out);

		snprintf(out + length, ADDR_TEXT + 4 - length, "/%d",
			cidr_is_v4(c) ? c->bits - V4_BITS : c->bits);
	}
	return out;
}

bool cidr_is_v4(const struct cidr *c)
{
	return c->bits >= V4_BITS && addr_is_v4(&c->addr);
}

bool cidr_contains(const struct cidr *c, const struct addr *a)
{
	return cidr_is_v4(c) == addr_is_v4(a) && same_prefix(c->addr.bytes, a->bytes, c->bits);
}

bool endpoint_parse(struct endpoint *e, struct text text)
{
	struct endpoint parsed;
	struct text address;
	const char *end;
	unsigned port;

	if (take_byte(&text, '[')) {
		end = text.length ? memchr(text.at, ']', text.length) : NULL;
		if (!end)
			return false;
		address = (struct text){text.at, (size_t)(end - text.at)};
		if (!parse_v6(&parsed.addr, address))
			return false;
		end++;
	} else {
		end = text.length ? memchr(text.at, ':', text.length) : NULL;
		if (!end)
			return false;
		address = (struct text){text.at, (size_t)(end - text.at)};
		if (!parse_v4(&parsed.addr, address))
			return false;
	}
	text.length -= (size_t)(end - text.at);
	text.at = end;
	if (!take_byte(&text, ':') || !take_number(&text, UINT16_MAX, &port) || port == 0 ||
		text.length > 0)
		return false;
	parsed.port = (uint16_t)port;
	*e = parsed;
	return true;
}

const char *endpoint_print(const struct endpoint *e, char out[ENDPOINT_TEXT])
{
	char address[ADDR_TEXT];

	addr_print(&e->addr, address);
	snprintf(out, ENDPOINT_TEXT, addr_is_v4(&e->addr) ? "%s:%u" : "[%s]:%u", address, e->port);
	return out;
}

bool endpoint_from_sockaddr(struct endpoint *e, const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		memcpy(e->addr.bytes, v4_prefix, sizeof(v4_prefix));
		memcpy(e->addr.bytes + 12, &in.sin_addr, 4);
		e->port = ntohs(in.sin_port);
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		memcpy(e->addr.bytes, &in6.sin6_addr, 16);
		e->port = ntohs(in6.sin6_port);
		return true;
	}
	return false;
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (addr_is_v4(&e->addr)) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;

		in->sin_family = AF_INET;
		in->sin_port = htons(e->port);
		memcpy(&in->sin_addr, e->addr.bytes + 12, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(e->port);
	memcpy(&in6->sin6_addr, e->addr.bytes, 16);
	return sizeof(*in6);
}

#define V4(a, b, c, d, length)                                                                     \
	{                                                                                          \
		{{[10] = 0xff, 0xff, a, b, c, d}}, V4_BITS + (length)                              \
	}
#define V6(length, ...)                                                                            \
	{                                                                                          \
		{{__VA_ARGS__}}, length                                                            \
	}

static const struct {
	struct cidr net;
	enum addr_class class;
} classes[] = {
	/* RFC 1122, 1918, 3927, 6598, 6890 and the IANA IPv4 special-purpose registry */
	{V4(0, 0, 0, 0, 32), ADDR_UNSPECIFIED},
	{V4(0, 0, 0, 0, 8), ADDR_RESERVED}, /* this network */
	{V4(10, 0, 0, 0, 8), ADDR_PRIVATE},
	{V4(100, 64, 0, 0, 10), ADDR_PRIVATE}, /* shared, carrier-grade NAT */
	{V4(127, 0, 0, 0, 8), ADDR_LOOPBACK}, {V4(169, 254, 0, 0, 16), ADDR_LINK_LOCAL},
	{V4(172, 16, 0, 0, 12), ADDR_PRIVATE},
	{V4(192, 0, 0, 0, 24), ADDR_RESERVED},   /* IETF protocols */
	{V4(192, 0, 2, 0, 24), ADDR_RESERVED},   /* TEST-NET-1 */
	{V4(192, 88, 99, 0, 24), ADDR_RESERVED}, /* 6to4 relays, given up: RFC 7526 */
	{V4(192, 168, 0, 0, 16), ADDR_PRIVATE},
	{V4(198, 18, 0, 0, 15), ADDR_RESERVED},   /* benchmarking */
	{V4(198, 51, 100, 0, 24), ADDR_RESERVED}, /* TEST-NET-2 */
	{V4(203, 0, 113, 0, 24), ADDR_RESERVED},  /* TEST-NET-3 */
	{V4(224, 0, 0, 0, 4), ADDR_MULTICAST},
	{V4(240, 0, 0, 0, 4), ADDR_RESERVED}, /* with the broadcast address */
	{V4(0, 0, 0, 0, 0), ADDR_GLOBAL},

	/* RFC 4291, 4193 and the IANA IPv6 special-purpose registry */
	{V6(128, 0), ADDR_UNSPECIFIED}, {V6(128, [15] = 1), ADDR_LOOPBACK},
	{V6(96, 0), ADDR_EMBEDDED},                      /* ::a.b.c.d, IPv4-compatible */
	{V6(96, [8] = 0xff, 0xff), ADDR_EMBEDDED},       /* ::ffff:0:a.b.c.d, RFC 2765 */
	{V6(96, 0x00, 0x64, 0xff, 0x9b), ADDR_EMBEDDED}, /* NAT64, RFC 6052 */
	{V6(48, 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01), ADDR_EMBEDDED}, /* NAT64, RFC 8215 */
	{V6(32, 0x20, 0x01), ADDR_EMBEDDED},                         /* Teredo, RFC 4380 */
	{V6(23, 0x20, 0x01), ADDR_RESERVED},                         /* IETF protocols */
	{V6(32, 0x20, 0x01, 0x0d, 0xb8), ADDR_RESERVED},             /* documentation */
	{V6(16, 0x20, 0x02), ADDR_EMBEDDED},                         /* 6to4, RFC 3056 */
	{V6(20, 0x3f, 0xff), ADDR_RESERVED},                         /* documentation, RFC 9637 */
	{V6(3, 0x20), ADDR_GLOBAL}, {V6(7, 0xfc), ADDR_PRIVATE},
	{V6(10, 0xfe, 0x80), ADDR_LINK_LOCAL},
	{V6(10, 0xfe, 0xc0), ADDR_PRIVATE}, /* site-local, given up: RFC 3879 */
	{V6(8, 0xff), ADDR_MULTICAST},
	{V6(0, 0), ADDR_RESERVED}, /* 100::/64 to discard, 5f00::/16 SRv6, all unassigned */
};

/* RFC 5214 6.1: the interface identifier 0000:5efe or 0200:5efe, then an IPv4 address. */
static bool is_isatap(const struct addr *a)
{
	static const uint8_t identifier[4] = {0x00, 0x00, 0x5e, 0xfe};
	uint8_t found[4];

	memcpy(found, a->bytes + 8, sizeof(found));
	found[0] &= (uint8_t)~0x02;
	return memcmp(found, identifier, sizeof(identifier)) == 0;
}

enum addr_class addr_classify(const struct addr *a)
{
	size_t i = 0;

	while (!cidr_contains(&classes[i].net, a))
		CHECK(++i < COUNT_OF(classes));
	if (classes[i].class == ADDR_GLOBAL && !addr_is_v4(a) && is_isatap(a))
		return ADDR_EMBEDDED;
	return classes[i].class;
}

const char *addr_class_name(enum addr_class class)
{
	static const char *const names[] = {
		[ADDR_GLOBAL] = "global",
		[ADDR_UNSPECIFIED] = "unspecified",
		[ADDR_LOOPBACK] = "loopback",
		[ADDR_PRIVATE] = "private",
		[ADDR_LINK_LOCAL] = "link-local",
		[ADDR_MULTICAST] = "multicast",
		[ADDR_EMBEDDED] = "embedded IPv4",
		[ADDR_RESERVED] = "reserved",
	};

	CHECK(class < COUNT_OF(names));
	return names[class];
}
