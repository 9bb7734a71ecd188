/*
 * etag.h - entity tags (RFC 9110 8.8.3).
 *
 * Private to cache/.
 */
#pragma once

#include "base/text.h"

struct etag {
	bool weak;
	struct text opaque; /* with its quotes */
};

/* Takes the tag at the start of `in` off it.  False, with `in` as it was: there is none. */
bool etag_take(struct text *in, struct etag *tag);

/* The whole text is one tag. */
bool etag_parse(struct text text, struct etag *tag);

static inline bool etag_equal_weakly(const struct etag *a, const struct etag *b)
{
	return text_equal(a->opaque, b->opaque);
}

static inline bool etag_equal_strongly(const struct etag *a, const struct etag *b)
{
	return !a->weak && !b->weak && text_equal(a->opaque, b->opaque);
}
