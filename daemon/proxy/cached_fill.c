/*
 * cached_fill.c - what of a response goes into the store, and as what: a whole one as it is, a part
 * of a body with what is stored of the same body already.
 */
#include "daemon/proxy/cached_parts.h"

#include <stdlib.h>

#include "daemon/cache/conditional.h"
#include "daemon/cache/vary.h"
#include "daemon/proxy/origin.h"
#include "daemon/proxy/worker.h"

bool cached_parse(const struct stored *stored, struct head *head, struct field fields[256])
{
	struct head_limits limits = {.line = SIZE_MAX / 2, .bytes = SIZE_MAX / 2, .fields = 256};
	struct head_error error;

	*head = (struct head){.fields = fields};
	return head_response(stored->head, &limits, METHOD_HEAD, head, &error) == HEAD_DONE;
}

struct cache_rules cached_rules(const struct exchange *x)
{
	const struct section_cache *cache = x->record.verdict.section->cache;

	return (struct cache_rules){.min_lifetime = (int64_t)cache->min_lifetime,
		.max_lifetime =
			cache->max_lifetime > INT64_MAX ? INT64_MAX : (int64_t)cache->max_lifetime,
		.heuristic_most = (int64_t)x->generation->config->cache_heuristic,
		.surrogate = cache->surrogate};
}

static size_t tags_of(const struct head *response, char *out, size_t size)
{
	static const enum field_id ids[] = {FIELD_SURROGATE_KEY, FIELD_CACHE_TAG};
	size_t n = 0;

	for (size_t i = 0; i < response->n_fields; i++) {
		const struct field *field = &response->fields[i];

		if ((field->id != ids[0] && field->id != ids[1]) ||
			n + field->value.length + 2 > size)
			continue;
		for (size_t j = 0; j < field->value.length; j++)
			out[n++] = field->value.at[j] == ',' ? ' ' : field->value.at[j];
		out[n++] = ' ';
	}
	return n;
}

/* What is stored of the body that this 206 is a part of.  NULL: nothing that is known. */
static struct stored *find_base(struct client *c, const struct head *response,
	const struct cache_meta *meta, struct text vary)
{
	struct cached *k = c->exchange->cached;
	bool later;
	struct stored *base = store_find(k->cache->store, cached_key(k), cached_matches, c, &later);
	struct field fields[256];
	struct head head;
	struct range range;
	uint64_t length;

	if (base && text_equal(base->vary, vary) &&
		content_range_parse(response, &range, &length) && base->length == length &&
		cached_parse(base, &head, fields) &&
		text_equal(cache_strong_validator(&head, &base->meta),
			cache_strong_validator(response, meta)))
		return base;
	store_put(base);
	return NULL;
}

/* RFC 9111 3.4: fields that the new part has replace those of what it is united with.  Its length;
 * 0: no memory, or it does not fit. */
static size_t write_head(
	struct client *c, const struct head *response, const struct stored *base, struct text *out)
{
	size_t size = response->length + (base ? base->head.length : 0) + 128;
	struct text date = text_of(worker_date(c->worker));
	struct field fields[256];
	struct head old;
	char *text = malloc(size);

	*out = (struct text){text, 0};
	if (text && base && cached_parse(base, &old, fields))
		out->length = cache_update_head(text, size, &old, response, date);
	else if (text && !base)
		out->length = cache_store_head(text, size, response, date);
	return out->length;
}

/* What goes into the store. */
struct kept {
	struct text vary, head;
	char tags[1024];
	size_t n_tags;
	struct cache_meta meta;
	struct stored *base;
};

/* What the fields of both say of the whole now. */
static void read_merged(struct client *c, const struct head *response, struct kept *kept)
{
	struct exchange *x = c->exchange;
	struct cache_rules rules = cached_rules(x);
	struct stored both = {.head = kept->head};
	struct field fields[256];
	struct head head;

	if (!cached_parse(&both, &head, fields))
		return;
	cache_meta_refresh(&kept->meta, &head, response, x->cached->asked, cached_now(c), &rules);
	kept->meta.origin = x->origin->at.addr;
	kept->n_tags = tags_of(&head, kept->tags, sizeof(kept->tags));
}

static int64_t body_length(const struct head *response)
{
	return response->body == BODY_LENGTH ? (int64_t)response->body_length
	       : response->body == BODY_NONE ? 0
					     : -1;
}

static struct fill *begin_fill(
	struct cached *k, const struct head *response, const struct kept *kept)
{
	struct store *store = k->cache->store;
	struct text tags = {kept->tags, kept->n_tags};
	struct fill_range part = {.base = kept->base};
	struct range range;
	uint64_t length;

	if (response->status != 206 || !content_range_parse(response, &range, &length))
		return fill_new(store, cached_key(k), kept->vary, tags, kept->head, &kept->meta,
			body_length(response));
	part.first = range.first;
	part.length = range.last - range.first + 1;
	part.validator = cache_strong_validator(response, &kept->meta);
	return fill_new_range(
		store, cached_key(k), kept->vary, tags, kept->head, &kept->meta, length, &part);
}

/* What was asked in one client's words may be an answer to these, which are in no key. */
static const char *words_forbid(const struct exchange *x, int status)
{
	const struct cached *k = x->cached;

	if (x->upgrade)
		return "Upgrade in the request";
	if (!k->sent && (k->request.range || k->request.conditional) && status != 200 &&
		status != 206)
		return "a status that conditions or ranges may have made";
	return NULL;
}

struct fill *cached_fill(struct client *c, const struct head *response)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	struct cache_rules rules = cached_rules(x);
	char vary[VARY_MAX];
	struct kept kept = {.base = NULL};
	bool part = response->status == 206;
	struct head request;
	struct fill *fill = NULL;
	long n_vary;

	cache_meta_read(&kept.meta, response, k->asked, cached_now(c), &rules);
	kept.meta.origin = x->origin->at.addr;
	k->detail = words_forbid(x, response->status);
	if (!k->detail)
		k->detail = cache_must_not_store(&k->request, response, &kept.meta);
	if (!k->detail && part && k->stored && store_is_whole(k->stored))
		k->detail = "a part of what is stored whole";
	if (k->detail)
		return NULL;
	n_vary = cached_head(c, &request) ? vary_make(&request, response, vary) : -1;
	if (n_vary < 0) {
		k->detail = "it varies too much";
		return NULL;
	}
	kept.vary = (struct text){vary, (size_t)n_vary};
	kept.n_tags = tags_of(response, kept.tags, sizeof(kept.tags));
	if (part)
		kept.base = find_base(c, response, &kept.meta, kept.vary);
	if (part && !kept.base && k->request.if_range) /* it may lack fields (RFC 9110 15.3.7) */
		k->detail = "a part of what is not stored, to If-Range";
	else if (write_head(c, response, kept.base, &kept.head) > 0) {
		if (kept.base)
			read_merged(c, response, &kept);
		fill = begin_fill(k, response, &kept);
	}
	free((char *)kept.head.at);
	store_put(kept.base);
	if (fill)
		fill_asked(fill, k->removals);
	else if (!k->detail)
		k->detail = "no room";
	return fill;
}
