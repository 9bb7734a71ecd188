/*
 * field.c - field names that the proxy knows, and values made of simple parts.
 *
 * A name is found by its length first: no two lengths have more than two known names, so one
 * or two comparisons decide.
 */
#include "daemon/http/field.h"

#include "base/check.h"
#include "daemon/http/bytes.h"

struct known {
	const char *name; /* lower case */
	enum field_id id;
};

static const struct known by_length[][2] = {
	[2] = {{"te", FIELD_TE}},
	[3] = {{"via", FIELD_VIA}},
	[4] = {{"host", FIELD_HOST}, {"date", FIELD_DATE}},
	[6] = {{"expect", FIELD_EXPECT}},
	[7] = {{"trailer", FIELD_TRAILER}, {"upgrade", FIELD_UPGRADE}},
	[10] = {{"connection", FIELD_CONNECTION}, {"keep-alive", FIELD_KEEP_ALIVE}},
	[12] = {{"max-forwards", FIELD_MAX_FORWARDS}},
	[13] = {{"cache-control", FIELD_CACHE_CONTROL}},
	[14] = {{"content-length", FIELD_CONTENT_LENGTH}},
	[16] = {{"proxy-connection", FIELD_PROXY_CONNECTION}},
	[17] = {{"transfer-encoding", FIELD_TRANSFER_ENCODING}},
	[18] = {{"proxy-authenticate", FIELD_PROXY_AUTHENTICATE}},
	[19] = {{"proxy-authorization", FIELD_PROXY_AUTHORIZATION}},
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
	for (int i = 0; i < 2 && known[i].name; i++)
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
