/*
 * ranges.c - the fields Range and Content-Range (RFC 9110 14.1.2, 14.2, 14.4).
 */
#include "daemon/cache/conditional.h"

#include "daemon/http/bytes.h"
#include "daemon/http/field.h"

enum spec { SPEC_GOOD, SPEC_UNSATISFIABLE, SPEC_BAD };

/* At most UINT64_MAX, which no body has.  False: no digits. */
static bool take_number(const char **at, const char *end, uint64_t *number)
{
	const char *start = *at;
	*number = 0;
	for (; *at < end && byte_is(**at, BYTE_DIGIT); ++*at)
		if (__builtin_mul_overflow(*number, 10, number) ||
			__builtin_add_overflow(*number, (uint64_t)(**at - '0'), number)) {
			*at = bytes_skip(*at, end, BYTE_DIGIT);
			*number = UINT64_MAX;
			return true;
		}
	return *at > start;
}

/* "first-last", "first-" or "-suffix" */
static enum spec read_spec(struct text spec, uint64_t length, struct range *range)
{
	const char *at = spec.at, *end = spec.at + spec.length;
	uint64_t number;

	if (*at == '-') {
		at++;
		if (!take_number(&at, end, &number) || at != end)
			return SPEC_BAD;
		if (number == 0)
			return SPEC_UNSATISFIABLE;
		if (length == 0) /* satisfied by nothing, which Content-Range cannot say */
			return SPEC_BAD;
		*range = (struct range){number < length ? length - number : 0, length - 1};
		return SPEC_GOOD;
	}
	if (!take_number(&at, end, &range->first) || at == end || *at++ != '-')
		return SPEC_BAD;
	range->last = UINT64_MAX;
	if (at < end && (!take_number(&at, end, &range->last) || at != end))
		return SPEC_BAD;
	if (range->last < range->first)
		return SPEC_BAD;
	if (range->first >= length)
		return SPEC_UNSATISFIABLE;
	if (range->last >= length)
		range->last = length - 1;
	return SPEC_GOOD;
}

/* Adds a range, united with all that it overlaps, at the place of the first of them; how many there
 * are then.  Those that are there do not overlap, so what one unites with cannot add another. */
static int add_range(struct range *ranges, int count, struct range range)
{
	int place = count, i = 0;
	while (i < count) {
		if (range.first > ranges[i].last || range.last < ranges[i].first) {
			i++;
			continue;
		}
		if (ranges[i].first < range.first)
			range.first = ranges[i].first;
		if (ranges[i].last > range.last)
			range.last = ranges[i].last;
		count--;
		memmove(&ranges[i], &ranges[i + 1], (size_t)(count - i) * sizeof(range));
		if (i < place)
			place = i;
	}
	memmove(&ranges[place + 1], &ranges[place], (size_t)(count - place) * sizeof(range));
	ranges[place] = range;
	return count + 1;
}

static const struct field *single(const struct head *head, enum field_id id)
{
	const struct field *found = NULL;
	for (size_t i = 0; i < head->n_fields; i++) {
		if (head->fields[i].id != id)
			continue;
		if (found)
			return NULL;
		found = &head->fields[i];
	}
	return found;
}

int ranges_parse(const struct head *request, uint64_t length, struct range ranges[RANGES_MAX])
{
	const struct field *field = single(request, FIELD_RANGE);
	int specs = 0, count = 0;

	if (!field || request->method_id != METHOD_GET || field->value.length < 6 ||
		strncasecmp(field->value.at, "bytes=", 6) != 0)
		return 0;
	struct text list = {field->value.at + 6, field->value.length - 6}, spec;
	while (list_next(&list, &spec)) {
		struct range range;
		if (spec.length == 0)
			continue;
		if (++specs > RANGES_MAX)
			return 0;
		switch (read_spec(spec, length, &range)) {
		case SPEC_BAD:
			return 0;
		case SPEC_UNSATISFIABLE:
			break;
		case SPEC_GOOD:
			count = add_range(ranges, count, range);
			break;
		}
	}
	return count > 0 ? count : specs > 0 ? -1 : 0;
}

static bool take(const char **at, const char *end, const char *literal)
{
	size_t length = strlen(literal);

	if ((size_t)(end - *at) < length || strncasecmp(*at, literal, length) != 0)
		return false;
	*at += length;
	return true;
}

bool content_range_parse(const struct head *response, struct range *range, uint64_t *length)
{
	const struct field *field = single(response, FIELD_CONTENT_RANGE);
	const char *at, *end;

	if (!field)
		return false;
	at = field->value.at;
	end = at + field->value.length;
	return take(&at, end, "bytes ") && take_number(&at, end, &range->first) &&
	       take(&at, end, "-") && take_number(&at, end, &range->last) && take(&at, end, "/") &&
	       take_number(&at, end, length) && at == end && range->first <= range->last &&
	       range->last < *length && *length <= INT64_MAX;
}
