/*
 * policy_cache.c - the keys of a partner that say what is stored of its responses, and for whom.
 */
#include <errno.h>

#include "acl/policy_reader.h"
#include "acl/values.h"

#define IGNORED_MAX 64 /* query keys of a section */

static bool is_query_key(struct text name)
{
	size_t i;

	for (i = 0; i < name.length; i++) {
		unsigned char c = name.at[i];

		if (c <= 0x20 || c >= 0x7f || c == '&' || c == '=' || c == '#' || c == '?' ||
			(c == '*' && i + 1 < name.length))
			return false;
	}
	return name.length > 0 && !text_equal(name, TEXT("*"));
}

static int read_ignored(struct reader *r, struct draft *d, struct section_cache *cache)
{
	struct text rest = reader_value(r, d, CACHE_IGNORE_QUERY), item;
	struct text list[IGNORED_MAX];
	struct arena *arena = &r->policy->arena;
	size_t n = 0;

	if (!rest.at)
		return 0;
	while (list_take(&rest, &item)) {
		const char *kept;

		if (!is_query_key(item))
			return reader_refuse(r, item, "a query key such as utm_source, or utm_*");
		if (n == IGNORED_MAX)
			return reader_refuse(r, item, "at most 64 query keys");
		kept = arena_string(arena, item);
		if (!kept)
			return reader_no_memory(r, -ENOMEM);
		list[n++] = (struct text){kept, item.length};
	}
	cache->n_ignored = n;
	cache->ignored = arena_copy(arena, list, n * sizeof(*list));
	return cache->ignored ? 0 : reader_no_memory(r, -ENOMEM);
}

static int read_lifetime(struct reader *r, struct draft *d, enum key key, uint64_t *seconds)
{
	struct text value = reader_value(r, d, key);

	if (value.at && !lifetime_parse(seconds, value))
		return reader_refuse(r, value, "a time such as 90s, 10m, 1h or 7d, up to 365d");
	return 0;
}

static int read_rules(struct reader *r, struct draft *d, struct section_cache *cache)
{
	struct text value = reader_value(r, d, CACHE_PER);
	int error;

	if (value.at && !cache_per_parse(&cache->per, value))
		return reader_refuse(r, value, "partner, group or source");
	error = read_lifetime(r, d, CACHE_MIN_LIFETIME, &cache->min_lifetime);
	if (!error)
		error = read_lifetime(r, d, CACHE_MAX_LIFETIME, &cache->max_lifetime);
	if (error)
		return error;
	if (cache->min_lifetime > cache->max_lifetime)
		return reader_refuse(
			r, reader_value(r, d, CACHE_MIN_LIFETIME), "at most cache-max-lifetime");
	value = reader_value(r, d, CACHE_SURROGATE);
	if (value.at && !yes_no_parse(&cache->surrogate, value))
		return reader_refuse(r, value, "yes or no");
	return read_ignored(r, d, cache);
}

int reader_cache(struct reader *r, struct draft *d)
{
	static const enum key rules[] = {CACHE_PER, CACHE_MIN_LIFETIME, CACHE_MAX_LIFETIME,
		CACHE_IGNORE_QUERY, CACHE_SURROGATE};
	struct section_cache cache = {.max_lifetime = UINT64_MAX};
	struct text value = reader_value(r, d, CACHE);
	bool yes = false;
	int error;
	size_t i;

	if (value.at && !yes_no_parse(&yes, value))
		return reader_refuse(r, value, "yes or no");
	for (i = 0; !yes && i < COUNT_OF(rules); i++) {
		if (d->keys[rules[i]])
			return reader_refuse(
				r, reader_value(r, d, rules[i]), "cache = yes beside it");
	}
	if (!yes)
		return 0;
	error = read_rules(r, d, &cache);
	if (error)
		return error;
	d->section->cache = arena_copy(&r->policy->arena, &cache, sizeof(cache));
	r->policy->has_cache = true;
	return d->section->cache ? 0 : reader_no_memory(r, -ENOMEM);
}
