/*
 * update.c - what a 304, or an answer to HEAD, says of a stored response.
 */
#include "daemon/cache/rules.h"

#include "daemon/cache/etag.h"
#include "daemon/cache/vary.h"
#include "daemon/cache/writer.h"
#include "daemon/http/date.h"

static bool same_date(struct text a, struct text b)
{
	time_t when_a, when_b;
	return text_equal(a, b) ||
	       (date_parse(a, 0, &when_a) && date_parse(b, 0, &when_b) && when_a == when_b);
}

/* Strong comparison where the new tag is strong (RFC 9111 4.3.4); what is no tag compares by its
 * bytes. */
static bool same_tag(struct text stored, struct text fresh)
{
	struct etag a, b;
	if (!etag_parse(stored, &a) || !etag_parse(fresh, &b))
		return text_equal(stored, fresh);
	return b.weak ? etag_equal_weakly(&a, &b) : etag_equal_strongly(&a, &b);
}

static bool head_agrees(const struct head *stored, uint64_t stored_length, const struct head *fresh)
{
	const struct field *tag = head_field(fresh, FIELD_ETAG);
	const struct field *date = head_field(fresh, FIELD_LAST_MODIFIED);
	const struct field *stored_tag = head_field(stored, FIELD_ETAG);
	const struct field *stored_date = head_field(stored, FIELD_LAST_MODIFIED);

	if (tag && !(stored_tag && text_equal(stored_tag->value, tag->value)))
		return false;
	if (date && !(stored_date && same_date(stored_date->value, date->value)))
		return false;
	return fresh->content_length < 0 || (uint64_t)fresh->content_length == stored_length;
}

static bool not_modified_agrees(const struct head *stored, const struct head *fresh)
{
	const struct field *tag = head_field(fresh, FIELD_ETAG);
	const struct field *date = head_field(fresh, FIELD_LAST_MODIFIED);
	const struct field *stored_tag = head_field(stored, FIELD_ETAG);
	const struct field *stored_date = head_field(stored, FIELD_LAST_MODIFIED);

	if (tag && stored_tag)
		return same_tag(stored_tag->value, tag->value);
	if (date && stored_date)
		return same_date(stored_date->value, date->value);
	return !tag && !date;
}

bool cache_agrees(const struct head *stored, uint64_t stored_length, const struct head *fresh)
{
	if (!vary_is_within(fresh, stored))
		return false;
	return fresh->status == 304 ? not_modified_agrees(stored, fresh)
				    : head_agrees(stored, stored_length, fresh);
}

/* Does the new response's field go into the stored head?  (RFC 9111 3.1, 3.2) */
static bool is_taken(const struct field *field, const struct head *stored)
{
	time_t when;
	if (field->hop)
		return false;
	switch (field->id) {
	case FIELD_AGE:
	case FIELD_CACHE_STATUS:
	case FIELD_CONTENT_LENGTH:
	case FIELD_CONTENT_RANGE:
		return false;
	case FIELD_ETAG:
		return !head_field(stored, FIELD_ETAG);
	case FIELD_DATE:
		return date_parse(field->value, 0, &when);
	case FIELD_OTHER:
		return !text_equal_nocase(field->name, TEXT("Content-Encoding")) &&
		       !text_equal_nocase(field->name, TEXT("Content-MD5"));
	default:
		return true;
	}
}

static bool is_replaced(
	const struct field *field, const struct head *stored, const struct head *fresh)
{
	if (field->id == FIELD_DATE)
		return true;
	for (size_t i = 0; i < fresh->n_fields; i++) {
		const struct field *other = &fresh->fields[i];
		if (other->id == field->id && text_equal_nocase(other->name, field->name) &&
			is_taken(other, stored))
			return true;
	}
	return false;
}

size_t cache_update_head(char *out, size_t size, const struct head *stored,
	const struct head *fresh, struct text date)
{
	struct writer w = {out, out + size, false};
	bool dated = false;

	PUT(&w, "HTTP/1.1 ");
	put_number(&w, (uint64_t)stored->status);
	PUT(&w, " ");
	put_text(&w, stored->phrase);
	PUT(&w, "\r\n");
	for (size_t i = 0; i < stored->n_fields; i++) {
		const struct field *field = &stored->fields[i];
		if (!field->hop && !is_replaced(field, stored, fresh))
			put_parsed(&w, field);
	}
	for (size_t i = 0; i < fresh->n_fields; i++) {
		const struct field *field = &fresh->fields[i];
		if (!is_taken(field, stored) || (field->id == FIELD_DATE && dated))
			continue;
		dated |= field->id == FIELD_DATE;
		put_parsed(&w, field);
	}
	if (!dated)
		put_field(&w, TEXT("Date"), date);
	PUT(&w, "\r\n");
	return writer_finish(&w, out);
}
