/*
 * storing.c - which responses are kept, and as what.
 */
#include "daemon/cache/rules.h"

#include "daemon/cache/conditional.h"
#include "daemon/cache/etag.h"
#include "daemon/cache/status.h"
#include "daemon/cache/vary.h"
#include "daemon/cache/writer.h"
#include "daemon/http/date.h"
#include "daemon/http/forward.h"

void cache_request_read(struct cache_request *request, const struct head *head)
{
	bool pragma = false;

	*request = (struct cache_request){
		.method = head->method_id,
		.body = head->body == BODY_CHUNKED || head->body_length > 0,
	};
	control_init(&request->control);
	for (size_t i = 0; i < head->n_fields; i++) {
		const struct field *field = &head->fields[i];
		switch (field->id) {
		case FIELD_CACHE_CONTROL:
			control_add(&request->control, field->value);
			break;
		case FIELD_PRAGMA:
			pragma |= list_has(field->value, TEXT("no-cache"));
			break;
		case FIELD_AUTHORIZATION:
			request->authorization = true;
			break;
		case FIELD_RANGE:
			request->range = head->method_id == METHOD_GET;
			break;
		case FIELD_OVERRIDE:
			request->overrides = true;
			break;
		case FIELD_IF_MATCH:
		case FIELD_IF_UNMODIFIED_SINCE:
			request->conditional = request->for_origin = true;
			break;
		case FIELD_IF_NONE_MATCH:
		case FIELD_IF_MODIFIED_SINCE:
		case FIELD_IF_RANGE:
			request->conditional = true;
			request->if_range |= field->id == FIELD_IF_RANGE;
			break;
		default:
			break;
		}
	}
	if (pragma && !request->control.present)
		request->control.no_cache = true;
}

bool cache_request_is_cacheable(const struct cache_request *request)
{
	return (request->method == METHOD_GET || request->method == METHOD_HEAD) &&
	       !request->body && !request->for_origin;
}

bool cache_response_control(struct control *control, const struct head *response, bool surrogate)
{
	bool good = true;

	control_init(control);
	for (size_t i = 0; surrogate && i < response->n_fields; i++)
		if (response->fields[i].id == FIELD_SURROGATE_CONTROL)
			control_add_surrogate(
				control, response->fields[i].value, TEXT(SURROGATE_DEVICE));
	if (control->present)
		return true;
	for (size_t i = 0; i < response->n_fields; i++)
		if (response->fields[i].id == FIELD_CDN_CACHE_CONTROL)
			good = good && control_add_targeted(control, response->fields[i].value);
	if (good && control->present)
		return true;
	control_init(control);
	for (size_t i = 0; i < response->n_fields; i++)
		if (response->fields[i].id == FIELD_CACHE_CONTROL)
			control_add(control, response->fields[i].value);
	return false;
}

static const char *status_forbids(int status, const struct control *control)
{
	if (status < 200)
		return "not a final response";
	if (status == 304)
		return "not a whole response";
	switch (status) {
	case 400: /* or on what cannot be sent on, or on how long it is */
	case 407:
	case 408:
	case 412:
	case 413:
	case 416:
	case 417:
	case 421:
	case 425:
	case 426:
	case 428: /* RFC 6585 3 to 6 forbid these four */
	case 429:
	case 431:
	case 511:
		return "status depends on fields that are in no key";
	default:
		break;
	}
	if (control->must_understand && !status_is_understood(status))
		return "must-understand with an unknown status";
	return NULL;
}

/* RFC 9111 5.2.2.3: whoever understands the status ignores the no-store that is there for others.
 */
static const char *control_forbids(
	const struct cache_request *request, const struct control *control)
{
	if (request->overrides)
		return "the request overrides its method or URL";
	if (request->control.no_store)
		return "no-store in the request";
	if (control->no_store && !control->must_understand)
		return "no-store";
	if (control->is_private)
		return "private";
	if (request->authorization && !control->must_revalidate && !control->is_public &&
		control->s_maxage == CONTROL_NONE)
		return "authorized request"; /* RFC 9111 3.5 */
	return NULL;
}

static bool has(const struct head *head, struct text name)
{
	for (size_t i = 0; i < head->n_fields; i++)
		if (head->fields[i].id == FIELD_OTHER &&
			text_equal_nocase(head->fields[i].name, name))
			return true;
	return false;
}

static const char *use_forbids(
	const struct head *response, const struct control *control, const struct cache_meta *meta)
{
	bool explicit = !(meta->flags & CACHE_HEURISTIC);
	bool validator =
		head_field(response, FIELD_ETAG) || head_field(response, FIELD_LAST_MODIFIED);
	bool stale = meta->initial_age >= meta->lifetime && meta->stale_while_revalidate < 0 &&
		     meta->stale_if_error < 0;

	if (!explicit && !control->is_public && !status_is_heuristic(meta->status))
		return "status without a lifetime";
	if (!explicit && !control->is_public && has(response, TEXT("Set-Cookie")))
		return "Set-Cookie without a lifetime";
	if (!vary_is_storable(response))
		return "Vary: *, or too many fields";
	if ((stale || (meta->flags & CACHE_NO_CACHE)) && !validator)
		return "stale without a validator";
	return NULL;
}

struct text cache_strong_validator(const struct head *head, const struct cache_meta *meta)
{
	const struct field *field = head_field(head, FIELD_ETAG);
	struct etag tag;

	if (field)
		return etag_parse(field->value, &tag) && !tag.weak ? tag.opaque
								   : (struct text){NULL, 0};
	field = head_field(head, FIELD_LAST_MODIFIED);
	return field && meta->last_modified >= 0 && meta->last_modified < meta->date
		       ? field->value
		       : (struct text){NULL, 0};
}

/* RFC 9111 3.3, 3.4 */
static const char *part_forbids(const struct cache_request *request, const struct head *response,
	const struct cache_meta *meta)
{
	static const struct text parts = TEXT("multipart/byteranges");
	const struct field *type = head_field(response, FIELD_CONTENT_TYPE);
	struct range range;
	uint64_t length;

	if (response->status != 206)
		return NULL;
	if (!request->range || !content_range_parse(response, &range, &length) ||
		(type && type->value.length >= parts.length &&
			text_equal_nocase((struct text){type->value.at, parts.length}, parts)))
		return "not one range of a known length";
	if (response->content_length >= 0 &&
		(uint64_t)response->content_length != range.last - range.first + 1)
		return "Content-Length is not that of the range";
	if (cache_strong_validator(response, meta).length == 0)
		return "a part without a strong validator";
	return NULL;
}

const char *cache_must_not_store(const struct cache_request *request, const struct head *response,
	const struct cache_meta *meta)
{
	struct control control;
	(void)cache_response_control(&control, response, meta->flags & CACHE_SURROGATE);

	if (request->method != METHOD_GET || request->body)
		return "method is not GET, or has a body";
	const char *reason = status_forbids(response->status, &control);
	if (!reason)
		reason = part_forbids(request, response, meta);
	if (!reason)
		reason = control_forbids(request, &control);
	return reason ? reason : use_forbids(response, &control, meta);
}

bool cache_invalidates(enum method method, int status)
{
	switch (method) {
	case METHOD_GET:
	case METHOD_HEAD:
	case METHOD_OPTIONS:
	case METHOD_TRACE:
	case METHOD_CONNECT:
		return false;
	default:
		return status >= 200 && status < 400;
	}
}

static bool is_date(struct text value)
{
	time_t when;
	return date_parse(value, 0, &when);
}

size_t cache_store_head(char *out, size_t size, const struct head *response, struct text date)
{
	struct writer w = {out, out + size, false};
	bool dated = false, part = response->status == 206;

	if (part) {
		PUT(&w, "HTTP/1.1 200 OK\r\n");
	} else {
		PUT(&w, "HTTP/1.1 ");
		put_number(&w, (uint64_t)response->status);
		PUT(&w, " ");
		put_text(&w, response->phrase);
		PUT(&w, "\r\n");
	}
	for (size_t i = 0; i < response->n_fields; i++) {
		const struct field *field = &response->fields[i];
		if (field->hop || field->id == FIELD_CONTENT_LENGTH || field->id == FIELD_AGE ||
			field->id == FIELD_CACHE_STATUS ||
			(part && field->id == FIELD_CONTENT_RANGE))
			continue;
		if (field->id == FIELD_DATE) {
			if (dated || !is_date(field->value))
				continue;
			dated = true;
		}
		put_parsed(&w, field);
	}
	if (!dated)
		put_field(&w, TEXT("Date"), date);
	PUT(&w, "\r\n");
	return writer_finish(&w, out);
}
