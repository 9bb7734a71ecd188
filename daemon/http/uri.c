/*
 * uri.c - request targets: where a request wants to go.
 *
 * An authority is cut at the first byte that cannot be in it and must then be a host and a
 * port, whole: what is left over ("user@", "\") makes it a bad one.
 */
#include "daemon/http/uri.h"

#include "base/check.h"
#include "daemon/http/bytes.h"
#include "daemon/http/field.h"

static __attribute__((cold)) int bad(struct head_error *error, const char *text)
{
	*error = (struct head_error){400, text};
	return -1;
}

static int take_host(struct text host, struct uri *uri, struct head_error *error)
{
	char text[ADDR_TEXT];
	switch (host_canonical(host, uri->host, &uri->addr)) {
	case HOST_NAME:
		uri->host_length = strlen(uri->host);
		return 0;
	case HOST_ADDRESS:
		uri->is_address = true;
		addr_print(&uri->addr, text);
		uri->host_length = strlen(text);
		memcpy(uri->host, text, uri->host_length + 1);
		return 0;
	case HOST_BAD:
		break;
	}
	return bad(error, "target: want a host name or an address");
}

static uint16_t default_port(enum scheme scheme)
{
	return scheme == SCHEME_HTTP ? 80 : scheme == SCHEME_HTTPS ? 443 : 0;
}

/* An absent or empty port is the scheme's own (RFC 3986 3.2.3). */
static int take_port(struct text port, struct uri *uri, struct head_error *error)
{
	int64_t number = port.length ? field_number(port) : default_port(uri->scheme);
	if (number < 1 || number > 65535)
		return bad(error, "target: want a port, 1-65535");
	uri->port = (uint16_t)number;
	uri->default_port = number == default_port(uri->scheme);
	return 0;
}

static int take_authority(struct text authority, struct uri *uri, struct head_error *error)
{
	const char *end = authority.at + authority.length;
	const char *stop = authority.at;
	if (authority.length && *stop == '[') {
		stop = memchr(stop, ']', authority.length);
		stop = stop ? stop + 1 : end;
	} else {
		stop = bytes_skip(stop, end, BYTE_HOST);
	}
	if (stop < end && *stop != ':')
		return bad(error, "target: want host or host:port, without user");
	struct text port = stop < end ? bytes_span(stop + 1, end) : (struct text){NULL, 0};
	int failed = take_port(port, uri, error);
	return failed ? failed : take_host(bytes_span(authority.at, stop), uri, error);
}

static bool path_is_good(const char *at, const char *end)
{
	while ((at = bytes_skip(at, end, BYTE_URI)) < end) {
		if (*at != '%' || end - at < 3 || !byte_is(at[1], BYTE_HEX) ||
			!byte_is(at[2], BYTE_HEX))
			return false;
		at += 3;
	}
	return true;
}

static int take_path(const struct head *request, const char *at, const char *end, struct uri *uri,
	struct head_error *error)
{
	if (!path_is_good(at, end))
		return bad(error, "target: a byte or an escape that a URI cannot hold");
	uri->path = bytes_span(at, end);
	uri->path_slash = at < end && *at == '?';
	if (at == end)
		uri->path = request->method_id == METHOD_OPTIONS ? TEXT("*") : TEXT("/");
	return 0;
}

/* The scheme and "://" at the start of a target; returns what is behind, or NULL. */
static const char *take_scheme(struct text target, struct uri *uri)
{
	if (target.length >= 7 && strncasecmp(target.at, "http://", 7) == 0) {
		uri->scheme = SCHEME_HTTP;
		return target.at + 7;
	}
	if (target.length >= 8 && strncasecmp(target.at, "https://", 8) == 0) {
		uri->scheme = SCHEME_HTTPS;
		return target.at + 8;
	}
	return NULL;
}

int uri_parse(const struct head *request, struct uri *uri, struct head_error *error)
{
	struct text target = request->target;
	const char *end = target.at + target.length;

	uri->scheme = SCHEME_NONE;
	uri->is_address = uri->path_slash = false;
	uri->path = (struct text){NULL, 0};
	if (request->method_id == METHOD_CONNECT)
		return take_authority(target, uri, error);

	const char *authority = take_scheme(target, uri);
	if (!authority)
		return bad(error, "target: a proxy wants http://host/path");
	const char *path = authority;
	while (path < end && *path != '/' && *path != '?')
		path++;
	int failed = take_authority(bytes_span(authority, path), uri, error);
	return failed ? failed : take_path(request, path, end, uri, error);
}

static bool is_same_place(const struct uri *a, const struct uri *b)
{
	return a->port == b->port && a->is_address == b->is_address &&
	       a->host_length == b->host_length && memcmp(a->host, b->host, a->host_length) == 0;
}

int uri_parse_captured(const struct head *request, struct uri *uri, struct head_error *error)
{
	struct text target = request->target;
	struct uri absolute;
	bool asterisk = request->method_id == METHOD_OPTIONS && text_equal(target, TEXT("*"));

	if (request->method_id == METHOD_CONNECT)
		return bad(error, "CONNECT: want it sent to a proxy, not to an origin");
	if (request->host.length == 0)
		return bad(error, "Host: want the name of the site");
	*uri = (struct uri){.scheme = SCHEME_HTTP};
	if (take_authority(request->host, uri, error))
		return -1;
	if (asterisk)
		return take_path(request, target.at, target.at, uri, error);
	if (target.length && target.at[0] == '/')
		return take_path(request, target.at, target.at + target.length, uri, error);
	if (uri_parse(request, &absolute, error))
		return -1;
	if (absolute.scheme != SCHEME_HTTP || !is_same_place(&absolute, uri))
		return bad(error, "target: want /path, or http:// with what Host says");
	*uri = absolute;
	return 0;
}

/* ":port" without leading zeros; returns its length. */
static size_t print_port(char out[6], uint16_t port)
{
	size_t digits = 1;
	for (unsigned rest = port / 10; rest; rest /= 10)
		digits++;
	out[0] = ':';
	for (size_t i = digits; i > 0; i--, port /= 10)
		out[i] = (char)('0' + port % 10);
	return digits + 1;
}

size_t uri_host_field(const struct uri *uri, char *out, size_t size)
{
	bool brackets = uri->is_address && !addr_is_v4(&uri->addr);
	char port[6];
	size_t port_length = uri->default_port ? 0 : print_port(port, uri->port);
	size_t length = uri->host_length + 2 * brackets + port_length;
	if (length > size)
		return 0;
	memcpy(out + brackets, uri->host, uri->host_length);
	if (brackets) {
		out[0] = '[';
		out[uri->host_length + 1] = ']';
	}
	memcpy(out + length - port_length, port, port_length);
	return length;
}
