/*
 * host.c - host names in one canonical form.
 *
 * Whoever checks a name and whoever resolves it must see the same one.  inet_aton(3) reads
 * "2130706433", "0177.1" and "0x7f.1" as 127.0.0.1, getaddrinfo(3) asks the DNS for "127.0.0.1.",
 * and browsers do as WHATWG URL 3.5 says: a host whose last label is a number is an address or
 * nothing.  Here it is an address only as a strict dotted quad, and every other spelling is
 * refused.
 */
#include "acl/host.h"

#define LABEL_MAX 63 /* RFC 1035 2.3.4 */

static enum host_kind read_bracketed(struct text host, struct addr *addr)
{
	struct text inner = {host.at + 1, host.length - 2};

	if (host.length < 3 || host.at[host.length - 1] != ']' ||
		!memchr(inner.at, ':', inner.length) || !addr_parse(addr, inner))
		return HOST_BAD;
	return HOST_ADDRESS;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

/* WHATWG URL 3.5, "ends in a number": all digits, or 0x and hex digits, of which there may be none.
 */
static bool label_is_number(const char *label)
{
	bool hex = label[0] == '0' && label[1] == 'x';

	for (label += hex ? 2 : 0; *label; label++)
		if (!(hex ? is_hex(*label) : is_digit(*label)))
			return false;
	return true;
}

/* Copies `name` in lower case and returns its last label, or NULL for what is not a name. */
static const char *copy_name(struct text name, char out[HOST_MAX])
{
	size_t label = 0; /* where the current one starts */
	size_t i;

	if (name.length == 0 || name.length >= HOST_MAX)
		return NULL;
	for (i = 0; i <= name.length; i++) {
		char c = i < name.length ? name.at[i] : '.';

		if (c == '.') {
			if (i == label || i - label > LABEL_MAX)
				return NULL;
			label = i < name.length ? i + 1 : label;
		} else if (c >= 'A' && c <= 'Z') {
			c = (char)(c - 'A' + 'a');
		} else if (!(c >= 'a' && c <= 'z') && !is_digit(c) && c != '-' && c != '_') {
			return NULL;
		}
		out[i] = i < name.length ? c : '\0';
	}
	return out + label;
}

enum host_kind host_canonical(struct text host, char out[HOST_MAX], struct addr *addr)
{
	struct text name = host;
	const char *last;

	if (host.length > 0 && host.at[0] == '[')
		return read_bracketed(host, addr);
	if (host.length > 0 && host.at[host.length - 1] == '.')
		name.length--;
	last = copy_name(name, out);
	if (!last)
		return HOST_BAD;
	if (!label_is_number(last))
		return HOST_NAME;
	return addr_parse(addr, host) ? HOST_ADDRESS : HOST_BAD;
}
