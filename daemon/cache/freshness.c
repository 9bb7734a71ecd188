/*
 * freshness.c - how long a response stays fresh, how old it is, and what that allows.
 *
 * All in whole seconds.  A lifetime or an age that cannot be read is taken so that the response is
 * stale (RFC 9111 4.2.1).
 */
#include "daemon/cache/rules.h"

#include "daemon/cache/status.h"
#include "daemon/http/bytes.h"
#include "daemon/http/date.h"
#include "daemon/http/field.h"

static int64_t clamp(int64_t number)
{
	return number < 0 ? 0 : number > CONTROL_MOST ? CONTROL_MOST : number;
}

/* The field where it is there once; NULL where it is not, or several times. */
static const struct field *single_field(const struct head *head, enum field_id id, size_t *lines)
{
	const struct field *found = NULL;
	*lines = 0;
	for (size_t i = 0; i < head->n_fields; i++)
		if (head->fields[i].id == id) {
			found = &head->fields[i];
			++*lines;
		}
	return *lines == 1 ? found : NULL;
}

static bool read_date(const struct head *head, enum field_id id, int64_t now, int64_t *when)
{
	size_t lines;
	time_t time;
	const struct field *field = single_field(head, id, &lines);
	if (!field || !date_parse(field->value, now, &time))
		return false;
	*when = time;
	return true;
}

/* Of a list the first member (5.1).  Several lines, and what is no number: stale (4.2.1). */
static int64_t read_age(const struct head *response)
{
	size_t lines;
	const struct field *field = single_field(response, FIELD_AGE, &lines);
	if (!field)
		return lines == 0 ? 0 : CONTROL_MOST;
	struct text list = field->value, first = {NULL, 0};
	int64_t age = 0;
	if (!list_next(&list, &first) || first.length == 0)
		return CONTROL_MOST;
	for (size_t i = 0; i < first.length; i++) {
		if (!byte_is(first.at[i], BYTE_DIGIT))
			return CONTROL_MOST;
		age = clamp(age * 10 + (first.at[i] - '0'));
	}
	return age;
}

/* RFC 9111 4.2.3 */
static int64_t initial_age(
	const struct head *age_of, int64_t date, int64_t request_time, int64_t response_time)
{
	int64_t apparent = clamp(response_time - date);
	int64_t corrected = clamp(read_age(age_of) + clamp(response_time - request_time));
	return apparent > corrected ? apparent : corrected;
}

/* RFC 9111 4.2.1; -1: the response does not say. */
static int64_t explicit_lifetime(const struct head *response, const struct control *control,
	bool targeted, const struct cache_meta *meta)
{
	int64_t expires;
	if (control->s_maxage != CONTROL_NONE)
		return control->s_maxage;
	if (control->max_age != CONTROL_NONE)
		return control->max_age;
	if (targeted || !head_field(response, FIELD_EXPIRES))
		return -1;
	if (!read_date(response, FIELD_EXPIRES, meta->response_time, &expires))
		return 0;
	return clamp(expires - meta->date);
}

/* RFC 9111 4.2.2: a tenth of the time since the last modification. */
static int64_t heuristic_lifetime(const struct cache_meta *meta, bool is_public, int64_t most)
{
	if ((!status_is_heuristic(meta->status) && !is_public) || meta->last_modified < 0)
		return 0;
	int64_t tenth = clamp((meta->date - meta->last_modified) / 10);
	return tenth < most ? tenth : most;
}

static bool may_be_prolonged(int status)
{
	return status < 400 && status_is_heuristic(status);
}

static int64_t ruled(const struct cache_rules *rules, int status, int64_t lifetime)
{
	if (may_be_prolonged(status) && lifetime < rules->min_lifetime)
		lifetime = rules->min_lifetime;
	return clamp(lifetime < rules->max_lifetime ? lifetime : rules->max_lifetime);
}

void cache_meta_refresh(struct cache_meta *meta, const struct head *updated,
	const struct head *fresh, int64_t request_time, int64_t response_time,
	const struct cache_rules *rules)
{
	struct control control;
	bool targeted = cache_response_control(&control, updated, rules->surrogate);

	*meta = (struct cache_meta){
		.response_time = response_time,
		.date = response_time,
		.last_modified = -1,
		.stale_while_revalidate = control.stale_while_revalidate,
		.stale_if_error = control.stale_if_error,
		.status = (uint16_t)(updated->status == 206 ? 200 : updated->status),
		.minor = (uint8_t)fresh->minor,
	};
	(void)read_date(updated, FIELD_DATE, response_time, &meta->date);
	if (!read_date(updated, FIELD_LAST_MODIFIED, response_time, &meta->last_modified) ||
		meta->last_modified < 0)
		meta->last_modified = -1;
	meta->initial_age = initial_age(fresh, meta->date, request_time, response_time);

	int64_t lifetime = explicit_lifetime(updated, &control, targeted, meta);
	if (lifetime < 0) {
		meta->flags |= CACHE_HEURISTIC;
		lifetime = heuristic_lifetime(meta, control.is_public, rules->heuristic_most);
	}
	meta->lifetime = ruled(rules, meta->status, lifetime);
	if (control.no_cache)
		meta->flags |= CACHE_NO_CACHE;
	if (control.must_revalidate || control.proxy_revalidate || control.s_maxage != CONTROL_NONE)
		meta->flags |= CACHE_MUST_REVALIDATE;
	if (control.immutable)
		meta->flags |= CACHE_IMMUTABLE;
	if (rules->surrogate)
		meta->flags |= CACHE_SURROGATE;
}

void cache_meta_read(struct cache_meta *meta, const struct head *response, int64_t request_time,
	int64_t response_time, const struct cache_rules *rules)
{
	cache_meta_refresh(meta, response, response, request_time, response_time, rules);
}

int64_t cache_age(const struct cache_meta *meta, int64_t now)
{
	/* A clock that was set back has made nothing younger. */
	return clamp(meta->initial_age + clamp(now - meta->response_time));
}

enum cache_use cache_use(
	const struct cache_meta *meta, const struct cache_request *request, int64_t now)
{
	const struct control *control = &request->control;
	int64_t age = cache_age(meta, now);
	int64_t staleness = age - meta->lifetime;

	if ((meta->flags & CACHE_NO_CACHE) || control->no_cache)
		return CACHE_VALIDATE;
	/* No age is less than a part of a second: max-age=0 wants to hear it from the origin. */
	if (control->max_age != CONTROL_NONE && (age > control->max_age || control->max_age == 0))
		return CACHE_VALIDATE;
	if (control->min_fresh != CONTROL_NONE && meta->lifetime < age + control->min_fresh)
		return CACHE_VALIDATE;
	if (staleness < 0)
		return CACHE_FRESH;
	if (meta->flags & CACHE_MUST_REVALIDATE)
		return CACHE_VALIDATE;
	if (control->max_stale != CONTROL_NONE && staleness <= control->max_stale)
		return CACHE_STALE_ALLOWED;
	if (staleness <= meta->stale_while_revalidate)
		return CACHE_STALE_REVALIDATE;
	return CACHE_VALIDATE;
}

bool cache_serve_on_error(
	const struct cache_meta *meta, const struct cache_request *request, int64_t now)
{
	int64_t allowed = meta->stale_if_error > request->control.stale_if_error
				  ? meta->stale_if_error
				  : request->control.stale_if_error;
	if ((meta->flags & (CACHE_NO_CACHE | CACHE_MUST_REVALIDATE)) || request->control.no_cache)
		return false;
	return allowed >= 0 && cache_age(meta, now) - meta->lifetime <= allowed;
}
