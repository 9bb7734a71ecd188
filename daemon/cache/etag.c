/*
 * etag.c - entity tags.
 */
#include "daemon/cache/etag.h"

bool etag_take(struct text *in, struct etag *tag)
{
	const char *at = in->at, *end = in->at + in->length;

	tag->weak = in->length >= 2 && at[0] == 'W' && at[1] == '/';
	if (tag->weak)
		at += 2;
	if (at == end || *at != '"')
		return false;
	const char *start = at++;
	while (at < end && (*at == '!' || (*at > '"' && *at < 0x7f) || (unsigned char)*at >= 0x80))
		at++;
	if (at == end || *at != '"')
		return false;
	tag->opaque = (struct text){start, (size_t)(at + 1 - start)};
	*in = (struct text){at + 1, (size_t)(end - at - 1)};
	return true;
}

bool etag_parse(struct text text, struct etag *tag)
{
	return etag_take(&text, tag) && text.length == 0;
}
