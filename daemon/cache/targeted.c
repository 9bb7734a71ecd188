/*
 * targeted.c - CDN-Cache-Control: cache directives as a Structured Fields dictionary.
 *
 * Strict where Cache-Control is not: one byte that RFC 8941 4.2 does not foresee, and the whole
 * field counts for nothing.  Keys are lower case.  Each take_ function stands at the first byte of
 * what it takes, leaves `at` behind it, and answers false when it is not there.
 */
#include "daemon/cache/control.h"

#include "daemon/cache/directive.h"
#include "daemon/http/bytes.h"

struct scan {
	const char *at, *end;
};

enum item { ITEM_TRUE, ITEM_FALSE, ITEM_INTEGER, ITEM_OTHER };

static bool next_is(const struct scan *s, char byte)
{
	return s->at < s->end && *s->at == byte;
}

static bool take(struct scan *s, char byte)
{
	if (!next_is(s, byte))
		return false;
	s->at++;
	return true;
}

static void skip_blanks(struct scan *s)
{
	while (take(s, ' '))
		continue;
}

/* RFC 8941 4.2.3.3 */
static bool take_key(struct scan *s, struct text *key)
{
	const char *start = s->at;
	if (s->at == s->end || !((*start >= 'a' && *start <= 'z') || *start == '*'))
		return false;
	while (s->at < s->end && ((*s->at >= 'a' && *s->at <= 'z') || byte_is(*s->at, BYTE_DIGIT) ||
					 memchr("_-.*", *s->at, 4)))
		s->at++;
	*key = bytes_span(start, s->at);
	return true;
}

/* RFC 8941 4.2.4: at most 15 digits, or 12 and 3 behind the point. */
static bool take_number(struct scan *s, enum item *item, int64_t *number)
{
	bool minus = take(s, '-');
	const char *start = s->at;
	*number = 0;
	while (s->at < s->end && byte_is(*s->at, BYTE_DIGIT) && s->at - start < 16)
		*number = *number * 10 + (*s->at++ - '0');
	ptrdiff_t digits = s->at - start;
	if (digits == 0 || digits > 15)
		return false;
	*number = minus ? -*number : *number;
	*item = ITEM_INTEGER;
	if (!take(s, '.'))
		return true;
	const char *fraction = s->at;
	s->at = bytes_skip(fraction, s->end, BYTE_DIGIT);
	*item = ITEM_OTHER;
	return digits <= 12 && s->at > fraction && s->at - fraction <= 3;
}

/* RFC 8941 4.2.5 */
static bool take_string(struct scan *s)
{
	for (s->at++; s->at < s->end; s->at++) {
		if (*s->at == '"') {
			s->at++;
			return true;
		}
		if (*s->at == '\\' && (++s->at == s->end || (*s->at != '"' && *s->at != '\\')))
			return false;
		if (*s->at < 0x20 || *s->at >= 0x7f)
			return false;
	}
	return false;
}

/* RFC 8941 4.2.6; the first byte is a letter or "*" */
static void take_token(struct scan *s)
{
	while (s->at < s->end && (byte_is(*s->at, BYTE_TOKEN) || *s->at == ':' || *s->at == '/'))
		s->at++;
}

/* RFC 8941 4.2.7: base64 between colons; what it says does not matter here. */
static bool take_bytes(struct scan *s)
{
	for (s->at++; s->at < s->end && *s->at != ':'; s->at++)
		if (!(byte_is(*s->at, BYTE_TOKEN) &&
			    (byte_is(*s->at, BYTE_HOST) || *s->at == '+')) &&
			*s->at != '/' && *s->at != '=')
			return false;
	return take(s, ':');
}

static bool is_letter(char byte)
{
	return (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
}

/* RFC 8941 4.2.3.1 */
static bool take_bare_item(struct scan *s, enum item *item, int64_t *number)
{
	*item = ITEM_OTHER;
	if (s->at == s->end)
		return false;
	if (*s->at == '-' || byte_is(*s->at, BYTE_DIGIT))
		return take_number(s, item, number);
	if (*s->at == '"')
		return take_string(s);
	if (*s->at == ':')
		return take_bytes(s);
	if (take(s, '?')) {
		*item = next_is(s, '1') ? ITEM_TRUE : ITEM_FALSE;
		return take(s, '1') || take(s, '0');
	}
	if (*s->at != '*' && !is_letter(*s->at))
		return false;
	take_token(s);
	return true;
}

/* RFC 8941 4.2.3.2; RFC 9213 2.1 ignores them. */
static bool take_parameters(struct scan *s)
{
	struct text key;
	enum item item;
	int64_t number;
	while (take(s, ';')) {
		skip_blanks(s);
		if (!take_key(s, &key))
			return false;
		if (take(s, '=') && !take_bare_item(s, &item, &number))
			return false;
	}
	return true;
}

/* RFC 8941 4.2.1.2 */
static bool take_inner_list(struct scan *s)
{
	enum item item;
	int64_t number;
	for (s->at++;;) {
		skip_blanks(s);
		if (take(s, ')'))
			return true;
		if (!take_bare_item(s, &item, &number) || !take_parameters(s))
			return false;
		if (s->at == s->end || (*s->at != ' ' && *s->at != ')'))
			return false;
	}
}

static void set(
	const struct directive *directive, struct control *control, enum item item, int64_t number)
{
	if (!directive_is_number(directive)) {
		*directive_flag(directive, control) = directive->kind == DIRECTIVE_PERMITS
							      ? item == ITEM_TRUE
							      : item != ITEM_FALSE;
		return;
	}
	if (item != ITEM_INTEGER || number < 0)
		number = directive->kind == DIRECTIVE_AT_MOST ? 0 : CONTROL_MOST;
	*directive_number(directive, control) = number < CONTROL_MOST ? number : CONTROL_MOST;
}

static bool take_member(struct scan *s, struct control *control)
{
	struct text key;
	enum item item = ITEM_TRUE;
	int64_t number = 0;

	if (!take_key(s, &key))
		return false;
	if (take(s, '=')) {
		item = ITEM_OTHER;
		if (!(next_is(s, '(') ? take_inner_list(s) : take_bare_item(s, &item, &number)))
			return false;
	}
	const struct directive *directive = directive_find(key);
	if (directive)
		set(directive, control, item, number);
	control->present = true;
	return take_parameters(s);
}

bool control_add_targeted(struct control *control, struct text value)
{
	struct scan s = {value.at, value.at + value.length};

	skip_blanks(&s);
	if (s.at == s.end)
		return true;
	for (;;) {
		if (!take_member(&s, control))
			return false;
		s.at = bytes_skip_space(s.at, s.end);
		if (s.at == s.end)
			return true;
		if (!take(&s, ','))
			return false;
		s.at = bytes_skip_space(s.at, s.end);
	}
}
