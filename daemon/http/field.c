/*
 * field.c - field names that the proxy knows, and values made of simple parts.
 *
 * A name is found by its length first: few known names share one, and almost all of those differ
 * in their first byte.
 */
#include "daemon/http/field.h"

#include "base/check.h"
#include "daemon/http/bytes.h"

struct known {
	const char *name; /* lower case */
	enum field_id id;
};

#define SAME_LENGTH 8 /* most known names of one length */

static const struct known by_length[][SAME_LENGTH] = {
	[2] = {{"te", FIELD_TE}},
	[3] = {{"via", FIELD_VIA}, {"age", FIELD_AGE}},
	[4] = {{"host", FIELD_HOST}, {"date", FIELD_DATE}, {"etag", FIELD_ETAG},
		{"vary", FIELD_VARY}},
	[5] = {{"range", FIELD_RANGE}},
	[6] = {{"expect", FIELD_EXPECT}, {"pragma", FIELD_PRAGMA}, {"x-host", FIELD_FORWARDED}},
	[7] = {{"trailer", FIELD_TRAILER}, {"upgrade", FIELD_UPGRADE}, {"expires", FIELD_EXPIRES}},
	[8] = {{"if-match", FIELD_IF_MATCH}, {"if-range", FIELD_IF_RANGE},
		{"location", FIELD_LOCATION}},
	[9] = {{"cache-tag", FIELD_CACHE_TAG}, {"forwarded", FIELD_FORWARDED},
		{"x-real-ip", FIELD_FORWARDED}},
	[10] = {{"connection", FIELD_CONNECTION}, {"keep-alive", FIELD_KEEP_ALIVE}},
	[12] = {{"max-forwards", FIELD_MAX_FORWARDS}, {"cache-status", FIELD_CACHE_STATUS},
		{"content-type", FIELD_CONTENT_TYPE}},
	[13] = {{"cache-control", FIELD_CACHE_CONTROL}, {"last-modified", FIELD_LAST_MODIFIED},
		{"authorization", FIELD_AUTHORIZATION}, {"if-none-match", FIELD_IF_NONE_MATCH},
		{"content-range", FIELD_CONTENT_RANGE}, {"surrogate-key", FIELD_SURROGATE_KEY},
		{"x-http-method", FIELD_OVERRIDE}, {"x-rewrite-url", FIELD_OVERRIDE}},
	[14] = {{"content-length", FIELD_CONTENT_LENGTH}, {"x-original-url", FIELD_OVERRIDE}},
	[15] = {{"x-forwarded-for", FIELD_FORWARDED}, {"x-forwarded-ssl", FIELD_FORWARDED},
		{"x-original-host", FIELD_FORWARDED}},
	[16] = {{"proxy-connection", FIELD_PROXY_CONNECTION},
		{"content-location", FIELD_CONTENT_LOCATION}, {"x-forwarded-host", FIELD_FORWARDED},
		{"x-forwarded-port", FIELD_FORWARDED}},
	[17] = {{"transfer-encoding", FIELD_TRANSFER_ENCODING},
		{"if-modified-since", FIELD_IF_MODIFIED_SINCE},
		{"cdn-cache-control", FIELD_CDN_CACHE_CONTROL},
		{"surrogate-control", FIELD_SURROGATE_CONTROL},
		{"x-forwarded-proto", FIELD_FORWARDED}, {"x-method-override", FIELD_OVERRIDE}},
	[18] = {{"proxy-authenticate", FIELD_PROXY_AUTHENTICATE},
		{"x-forwarded-scheme", FIELD_FORWARDED}, {"x-forwarded-prefix", FIELD_FORWARDED},
		{"x-forwarded-server", FIELD_FORWARDED}},
	[19] = {{"proxy-authorization", FIELD_PROXY_AUTHORIZATION},
		{"if-unmodified-since", FIELD_IF_UNMODIFIED_SINCE}},
	[20] = {{"surrogate-capability", FIELD_SURROGATE_CAPABILITY}},
	[22] = {{"x-http-method-override", FIELD_OVERRIDE}},
	[25] = {{"proxy-authentication-info", FIELD_PROXY_AUTHENTICATION_INFO}},
};

/* Setting 0x20 makes a token's letters lower case and turns none of its other bytes into a
 * letter or a hyphen. */
static bool is_called(struct text name, const char *lower)
{
	for (size_t i = 0; i < name.length; i++)
		if ((name.at[i] | 0x20) != lower[i])
			return false;
	return true;
}

enum field_id field_id_of(struct text name)
{
	if (name.length >= COUNT_OF(by_length))
		return FIELD_OTHER;
	const struct known *known = by_length[name.length];
	for (int i = 0; i < SAME_LENGTH && known[i].name; i++)
		if (is_called(name, known[i].name))
			return known[i].id;
	return FIELD_OTHER;
}

bool field_is_hop(enum field_id id)
{
	switch (id) {
	case FIELD_CONNECTION:
	case FIELD_KEEP_ALIVE:
	case FIELD_PROXY_AUTHENTICATE:
	case FIELD_PROXY_AUTHORIZATION:
	case FIELD_PROXY_AUTHENTICATION_INFO:
	case FIELD_PROXY_CONNECTION:
	case FIELD_TE:
	case FIELD_TRAILER:
	case FIELD_TRANSFER_ENCODING:
	case FIELD_UPGRADE:
		return true;
	default:
		return false;
	}
}

bool field_is_for_every_hop(enum field_id id)
{
	switch (id) {
	case FIELD_CONTENT_LENGTH:
	case FIELD_EXPECT:
	case FIELD_HOST:
	case FIELD_MAX_FORWARDS:
	case FIELD_VIA:
		return true;
	default:
		return false;
	}
}

const struct field *head_field(const struct head *head, enum field_id id)
{
	for (size_t i = 0; i < head->n_fields; i++)
		if (head->fields[i].id == id)
			return &head->fields[i];
	return NULL;
}

bool list_next(struct text *list, struct text *element)
{
	if (!list->at)
		return false;
	const char *end = list->at + list->length;
	const char *comma = list->length ? memchr(list->at, ',', list->length) : NULL;
	const char *stop = comma ? comma : end;
	const char *start = bytes_skip_space(list->at, stop);
	while (stop > start && (stop[-1] == ' ' || stop[-1] == '\t'))
		stop--;
	*element = bytes_span(start, stop);
	*list = comma ? bytes_span(comma + 1, end) : (struct text){NULL, 0};
	return true;
}

bool list_has(struct text list, struct text token)
{
	struct text element;
	while (list_next(&list, &element))
		if (text_equal_nocase(element, token))
			return true;
	return false;
}

bool list_has_all(struct text list, struct text wanted)
{
	struct text element;
	size_t n = 0;
	for (; list_next(&wanted, &element); n++)
		if (element.length == 0 || !list_has(list, element))
			return false;
	return n > 0;
}

/* name [ "/" version ] */
static bool is_carried(struct text protocol)
{
	const char *end = protocol.at + protocol.length;
	const char *stop = bytes_skip(protocol.at, end, BYTE_TOKEN);
	struct text name = bytes_span(protocol.at, stop);
	if (name.length == 0 || text_equal_nocase(name, TEXT("h2c")) ||
		text_equal_nocase(name, TEXT("HTTP")))
		return false;
	if (stop == end)
		return true;
	return *stop++ == '/' && stop < end && bytes_skip(stop, end, BYTE_TOKEN) == end;
}

bool protocols_are_carried(struct text list)
{
	struct text protocol;
	while (list_next(&list, &protocol))
		if (!is_carried(protocol))
			return false;
	return true;
}

int64_t field_number(struct text text)
{
	int64_t number = 0;
	if (text.length == 0 || (text.length > 1 && text.at[0] == '0'))
		return -1;
	for (size_t i = 0; i < text.length; i++) {
		if (!byte_is(text.at[i], BYTE_DIGIT) ||
			__builtin_mul_overflow(number, 10, &number) ||
			__builtin_add_overflow(number, text.at[i] - '0', &number))
			return -1;
	}
	return number;
}

bool host_is_plausible(struct text value)
{
	const char *at = value.at, *end = value.at + value.length;
	if (value.length == 0)
		return true;
	if (*at == '[') {
		const char *start = ++at;
		while (at < end && (byte_is(*at, BYTE_HEX) || *at == ':' || *at == '.'))
			at++;
		if (at == start || at == end || *at++ != ']')
			return false;
	} else {
		at = bytes_skip(at, end, BYTE_HOST);
		if (at == value.at)
			return false;
	}
	if (at == end || (*at == ':' && at + 1 == end))
		return true;
	if (*at != ':')
		return false;
	int64_t port = field_number(bytes_span(at + 1, end));
	return port >= 0 && port <= 65535;
}
