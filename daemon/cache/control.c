/*
 * control.c - Cache-Control and its relatives, as values.
 *
 * Elements end at commas outside of quoted strings.  An element is a name, and perhaps "=" and a
 * token or a quoted string; anything else behind the name makes its argument one that cannot be
 * read, but does not hide the name.
 */
#include "daemon/cache/control.h"

#include "base/check.h"
#include "daemon/cache/directive.h"
#include "daemon/http/bytes.h"

#define FIELD(name, kind, member)                                                                  \
	{                                                                                          \
		{name, sizeof(name) - 1}, kind, offsetof(struct control, member)                   \
	}

static const struct directive directives[] = {
	FIELD("max-age", DIRECTIVE_AT_MOST, max_age),
	FIELD("no-cache", DIRECTIVE_RESTRICTS, no_cache),
	FIELD("no-store", DIRECTIVE_RESTRICTS, no_store),
	FIELD("private", DIRECTIVE_RESTRICTS, is_private),
	FIELD("public", DIRECTIVE_PERMITS, is_public),
	FIELD("s-maxage", DIRECTIVE_AT_MOST, s_maxage),
	FIELD("must-revalidate", DIRECTIVE_RESTRICTS, must_revalidate),
	FIELD("proxy-revalidate", DIRECTIVE_RESTRICTS, proxy_revalidate),
	FIELD("must-understand", DIRECTIVE_PERMITS, must_understand),
	FIELD("no-transform", DIRECTIVE_RESTRICTS, no_transform),
	FIELD("stale-while-revalidate", DIRECTIVE_AT_MOST, stale_while_revalidate),
	FIELD("stale-if-error", DIRECTIVE_AT_MOST, stale_if_error),
	FIELD("immutable", DIRECTIVE_PERMITS, immutable),
	FIELD("max-stale", DIRECTIVE_AT_MOST, max_stale),
	FIELD("min-fresh", DIRECTIVE_AT_LEAST, min_fresh),
	FIELD("only-if-cached", DIRECTIVE_RESTRICTS, only_if_cached),
};

const struct directive *directive_find(struct text name)
{
	for (size_t i = 0; i < COUNT_OF(directives); i++)
		if (text_equal_nocase(name, directives[i].name))
			return &directives[i];
	return NULL;
}

void control_init(struct control *control)
{
	*control = (struct control){
		.max_age = CONTROL_NONE,
		.s_maxage = CONTROL_NONE,
		.min_fresh = CONTROL_NONE,
		.max_stale = CONTROL_NONE,
		.stale_while_revalidate = CONTROL_NONE,
		.stale_if_error = CONTROL_NONE,
	};
}

/* The closing quote of a string whose first byte `at` is behind the opening one; NULL: there is
 * none. */
static const char *string_end(const char *at, const char *end)
{
	for (; at < end; at++) {
		if (*at == '\\')
			at++;
		else if (*at == '"')
			return at;
	}
	return NULL;
}

/* The comma that ends the element at `at`, or `end`; NULL: a string in it has no end. */
static const char *element_end(const char *at, const char *end)
{
	while (at < end && *at != ',') {
		if (*at++ != '"')
			continue;
		at = string_end(at, end);
		if (!at)
			return NULL;
		at++;
	}
	return at;
}

enum form { FORM_NONE, FORM_GIVEN, FORM_BAD };

/* What stands behind the name: nothing, "=" and an argument (without its quotes), or neither. */
static enum form take_argument(const char *at, const char *end, struct text *argument)
{
	while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (at == end)
		return FORM_NONE;
	if (*at++ != '=' || at == end)
		return FORM_BAD;
	if (*at != '"') {
		*argument = bytes_span(at, end);
		return bytes_skip(at, end, BYTE_TOKEN) == end ? FORM_GIVEN : FORM_BAD;
	}
	const char *stop = string_end(at + 1, end);
	*argument = bytes_span(at + 1, stop ? stop : end);
	return stop && stop + 1 == end ? FORM_GIVEN : FORM_BAD;
}

/* Decimal digits, escaped or not; -1: something else.  At most CONTROL_MOST. */
static int64_t read_seconds(struct text text)
{
	int64_t number = 0;
	bool digits = false;
	for (size_t i = 0; i < text.length; i++) {
		if (text.at[i] == '\\' && i + 1 < text.length)
			i++;
		if (!byte_is(text.at[i], BYTE_DIGIT))
			return -1;
		digits = true;
		number = number * 10 + (text.at[i] - '0');
		if (number > CONTROL_MOST)
			number = CONTROL_MOST;
	}
	return digits ? number : -1;
}

static void narrow(const struct directive *directive, struct control *control, int64_t seconds)
{
	bool most = directive->kind == DIRECTIVE_AT_MOST;
	int64_t *number = directive_number(directive, control);
	if (seconds < 0)
		seconds = most ? 0 : CONTROL_MOST;
	if (*number == CONTROL_NONE || (most ? seconds < *number : seconds > *number))
		*number = seconds;
}

static void add_element(struct control *control, const char *at, const char *end)
{
	struct text argument = {NULL, 0};
	const char *name_end = bytes_skip(at, end, BYTE_TOKEN);
	const struct directive *directive = directive_find(bytes_span(at, name_end));

	control->present = true;
	if (!directive)
		return;
	enum form form = take_argument(name_end, end, &argument);
	if (!directive_is_number(directive)) {
		if (form == FORM_NONE || directive->kind == DIRECTIVE_RESTRICTS)
			*directive_flag(directive, control) = true;
	} else if (form == FORM_NONE && directive->offset == offsetof(struct control, max_stale)) {
		narrow(directive, control, CONTROL_ANY);
	} else {
		narrow(directive, control, form == FORM_GIVEN ? read_seconds(argument) : -1);
	}
}

/* The next element that is not empty; false: there is none.  *whole: its strings have an end. */
static bool next_element(struct text *list, struct text *element, bool *whole)
{
	const char *at = list->at, *end = list->at + list->length, *stop;
	do {
		at = bytes_skip_space(at, end);
		stop = element_end(at, end);
		*whole = stop != NULL;
		stop = stop ? stop : end;
		*element = bytes_span(at, stop);
		at = stop < end ? stop + 1 : end;
	} while (element->length == 0 && at < end);
	*list = bytes_span(at, end);
	return element->length > 0;
}

void control_add(struct control *control, struct text value)
{
	struct text element;
	bool whole;

	while (next_element(&value, &element, &whole)) {
		if (!whole)
			control->no_store = control->present = true;
		add_element(control, element.at, element.at + element.length);
	}
}

/* NULL: somebody else's; else where the directive ends. */
static const char *directive_end(struct text element, struct text device)
{
	const char *end = element.at + element.length;
	const char *stop = memchr(element.at, ';', element.length);
	if (!stop)
		return end;
	const char *target = bytes_skip_space(stop + 1, end);
	while (end > target && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return text_equal_nocase(bytes_span(target, end), device) ? stop : NULL;
}

/* N or N+M */
static void add_surrogate_age(struct control *control, const char *at, const char *end)
{
	struct text argument = {NULL, 0};
	const char *plus = memchr(at, '+', (size_t)(end - at));
	bool good = take_argument(at, plus ? plus : end, &argument) == FORM_GIVEN;

	narrow(directive_find(TEXT("max-age")), control, good ? read_seconds(argument) : -1);
	if (plus)
		narrow(directive_find(TEXT("stale-while-revalidate")), control,
			read_seconds(bytes_span(plus + 1, end)));
}

void control_add_surrogate(struct control *control, struct text value, struct text device)
{
	struct text element;
	bool whole;

	while (next_element(&value, &element, &whole)) {
		const char *end = directive_end(element, device);
		if (!end)
			continue;
		const char *name_end = bytes_skip(element.at, end, BYTE_TOKEN);
		struct text name = bytes_span(element.at, name_end);
		if (text_equal_nocase(name, TEXT("max-age")))
			add_surrogate_age(control, name_end, end);
		else if (!whole || text_equal_nocase(name, TEXT("no-store")) ||
			 text_equal_nocase(name, TEXT("no-store-remote")))
			control->no_store = true;
		else
			continue;
		control->present = true;
	}
}
