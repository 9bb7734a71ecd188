#include "acl/values.h"

#define SECOND 1000000000u                 /* nanoseconds */
#define PERIOD_MAX (365 * (uint64_t)86400) /* seconds */

static struct text strip(struct text t)
{
	while (t.length > 0 && (t.at[0] == ' ' || t.at[0] == '\t')) {
		t.at++;
		t.length--;
	}
	while (t.length > 0 && (t.at[t.length - 1] == ' ' || t.at[t.length - 1] == '\t'))
		t.length--;
	return t;
}

/* Takes what stands before `separator`, or the rest.  An exhausted text has no `at`. */
static bool take(struct text *rest, char separator, struct text *out)
{
	const char *end;

	if (!rest->at)
		return false;
	end = memchr(rest->at, separator, rest->length);
	*out = (struct text){rest->at, end ? (size_t)(end - rest->at) : rest->length};
	*rest = end ? (struct text){end + 1, rest->length - out->length - 1} : (struct text){0};
	return true;
}

bool list_take(struct text *list, struct text *item)
{
	if (!take(list, ',', item))
		return false;
	*item = strip(*item);
	return true;
}

bool line_take(struct text *text, struct text *line)
{
	if (!take(text, '\n', line))
		return false;
	if (line->length > 0 && line->at[line->length - 1] == '\r')
		line->length--;
	return true;
}

struct text line_strip(struct text line)
{
	const char *comment = line.length > 0 ? memchr(line.at, '#', line.length) : NULL;

	if (comment)
		line.length = (size_t)(comment - line.at);
	return strip(line);
}

bool number_parse(uint64_t *number, struct text text, uint64_t min, uint64_t max)
{
	uint64_t value = 0;
	size_t i;

	if (text.length == 0 || (text.at[0] == '0' && text.length > 1))
		return false;
	for (i = 0; i < text.length; i++) {
		if (text.at[i] < '0' || text.at[i] > '9' || value > max / 10)
			return false;
		value = 10 * value + (uint64_t)(text.at[i] - '0');
	}
	if (value < min || value > max)
		return false;
	*number = value;
	return true;
}

bool ports_parse(struct ports *ports, struct text text)
{
	uint64_t first, last;
	struct text item;

	if (text_equal(text, TEXT("*"))) {
		*ports = (struct ports){1, UINT16_MAX};
		return true;
	}
	if (!take(&text, '-', &item) || !number_parse(&first, item, 1, UINT16_MAX))
		return false;
	last = first;
	if (text.at && !number_parse(&last, text, first, UINT16_MAX))
		return false;
	*ports = (struct ports){(uint16_t)first, (uint16_t)last};
	return true;
}

static int in_order(const void *left, const void *right)
{
	const struct ports *a = left, *b = right;

	return a->first != b->first ? a->first - b->first : a->last - b->last;
}

size_t ports_sort(struct ports *at, size_t n)
{
	size_t i, kept = 0;

	if (n > 1)
		qsort(at, n, sizeof(*at), in_order);
	for (i = 0; i < n; i++) {
		if (kept == 0 || at[i].first > at[kept - 1].last + 1)
			at[kept++] = at[i];
		else if (at[i].last > at[kept - 1].last)
			at[kept - 1].last = at[i].last;
	}
	return kept;
}

static bool period_parse(uint64_t *seconds, struct text text)
{
	static const struct {
		char name;
		uint32_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	uint64_t count = 1;
	size_t i;

	if (text.length == 0)
		return false;
	text.length--;
	if (text.length > 0 && !number_parse(&count, text, 1, PERIOD_MAX))
		return false;
	for (i = 0; i < COUNT_OF(units); i++) {
		if (text.at[text.length] == units[i].name) {
			*seconds = count * units[i].seconds;
			return *seconds <= PERIOD_MAX;
		}
	}
	return false;
}

bool lifetime_parse(uint64_t *seconds, struct text text)
{
	return text.length > 1 && period_parse(seconds, text);
}

bool rate_parse(uint64_t *tokens, uint64_t *period, struct text text)
{
	struct text number;

	if (!take(&text, '/', &number) || !text.at)
		return false;
	if (!number_parse(tokens, number, 1, 1000000000) || !period_parse(period, text))
		return false;
	*period *= SECOND;
	return true;
}

/* The place of `text` among `names`; n: none of them. */
static size_t place_of(struct text text, const char *const *names, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (text_equal(text, text_of(names[i])))
			break;
	}
	return i;
}

bool protocol_parse(enum protocol *protocol, struct text text)
{
	static const char *const names[] = {"tcp", "udp", "any"};
	static const enum protocol values[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ANY};
	size_t i = place_of(text, names, COUNT_OF(names));

	if (i == COUNT_OF(names))
		return false;
	*protocol = values[i];
	return true;
}

bool rate_per_parse(enum rate_per *per, struct text text)
{
	static const char *const names[] = {"partner", "source", "source+host"};
	static const enum rate_per values[] = {
		RATE_PER_PARTNER, RATE_PER_SOURCE, RATE_PER_SOURCE_HOST};
	size_t i = place_of(text, names, COUNT_OF(names));

	if (i == COUNT_OF(names))
		return false;
	*per = values[i];
	return true;
}

bool spread_parse(enum spread *spread, struct text text)
{
	*spread = text_equal(text, TEXT("connection")) ? SPREAD_CONNECTION : SPREAD_SOURCE;
	return *spread == SPREAD_CONNECTION || text_equal(text, TEXT("source"));
}

bool cache_per_parse(enum cache_per *per, struct text text)
{
	static const char *const names[] = {"partner", "group", "source"};
	static const enum cache_per values[] = {
		CACHE_PER_PARTNER, CACHE_PER_GROUP, CACHE_PER_SOURCE};
	size_t i = place_of(text, names, COUNT_OF(names));

	if (i == COUNT_OF(names))
		return false;
	*per = values[i];
	return true;
}

bool yes_no_parse(bool *yes, struct text text)
{
	*yes = text_equal(text, TEXT("yes"));
	return *yes || text_equal(text, TEXT("no"));
}

bool mode_parse(bool *report, struct text text)
{
	*report = text_equal(text, TEXT("report"));
	return *report || text_equal(text, TEXT("enforce"));
}
