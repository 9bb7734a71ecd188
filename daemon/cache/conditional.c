/*
 * conditional.c - a client's conditions, held against a stored response.
 *
 * A field that cannot be read as what it should be counts for nothing: the client gets the whole.
 */
#include "daemon/cache/conditional.h"

#include "daemon/cache/etag.h"
#include "daemon/http/bytes.h"
#include "daemon/http/date.h"

struct check {
	const struct head *request;
	const struct cache_meta *meta;
	bool tagged; /* the stored response has a tag that can be read */
	struct etag tag;
};

/* A list with a tag that equals the stored one (weak comparison).  It ends where it is no list. */
static bool list_names_tag(const struct check *c, struct text list)
{
	for (;;) {
		const char *at = list.at, *end = list.at + list.length;
		while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
			at++;
		list = bytes_span(at, end);
		struct etag tag;
		if (!etag_take(&list, &tag))
			return false;
		at = bytes_skip_space(list.at, end);
		if (at < end && *at != ',')
			return false;
		if (c->tagged && etag_equal_weakly(&tag, &c->tag))
			return true;
	}
}

/* RFC 9110 13.1.2: true, the client has what is stored. */
static bool none_match_fails(const struct check *c)
{
	for (size_t i = 0; i < c->request->n_fields; i++) {
		const struct field *field = &c->request->fields[i];
		if (field->id == FIELD_IF_NONE_MATCH &&
			(text_equal(field->value, TEXT("*")) || list_names_tag(c, field->value)))
			return true;
	}
	return false;
}

/* The field's date, where the field is there once and has one. */
static bool single_date(const struct check *c, enum field_id id, int64_t *when)
{
	const struct field *found = NULL;
	time_t time;
	for (size_t i = 0; i < c->request->n_fields; i++) {
		if (c->request->fields[i].id != id)
			continue;
		if (found)
			return false;
		found = &c->request->fields[i];
	}
	if (!found || !date_parse(found->value, c->meta->response_time, &time))
		return false;
	*when = time;
	return true;
}

/* RFC 9110 13.1.3 */
static bool not_modified_since(const struct check *c)
{
	int64_t since;
	int64_t modified = c->meta->last_modified >= 0 ? c->meta->last_modified : c->meta->date;
	return single_date(c, FIELD_IF_MODIFIED_SINCE, &since) && modified <= since;
}

/* RFC 9110 13.1.5: the same, by a validator that is strong (8.8.2.2). */
static bool range_holds(const struct check *c, struct text value)
{
	struct etag tag;
	int64_t when;
	if (etag_parse(value, &tag))
		return c->tagged && etag_equal_strongly(&tag, &c->tag);
	return single_date(c, FIELD_IF_RANGE, &when) && c->meta->last_modified >= 0 &&
	       when == c->meta->last_modified && c->meta->date > c->meta->last_modified;
}

enum precondition precondition_check(
	const struct head *request, const struct head *stored, const struct cache_meta *meta)
{
	struct check c = {.request = request, .meta = meta};
	const struct field *tag = head_field(stored, FIELD_ETAG);

	if (meta->status != 200 ||
		(request->method_id != METHOD_GET && request->method_id != METHOD_HEAD))
		return PRECONDITION_NONE;
	c.tagged = tag && etag_parse(tag->value, &c.tag);

	if (head_field(request, FIELD_IF_NONE_MATCH)) {
		if (none_match_fails(&c))
			return PRECONDITION_304;
	} else if (not_modified_since(&c)) {
		return PRECONDITION_304;
	}
	const struct field *range = head_field(request, FIELD_IF_RANGE);
	if (range && request->method_id == METHOD_GET && head_field(request, FIELD_RANGE) &&
		!range_holds(&c, range->value))
		return PRECONDITION_WHOLE;
	return PRECONDITION_NONE;
}
