/*
 * multipart.h - several ranges of one body as multipart/byteranges (RFC 9110 14.6).
 *
 * Pure: what stands between the ranges' bytes.  The answer is part 0's head, its bytes, part 1's
 * head, ... and the end; its length is known before.
 */
#pragma once

#include "daemon/cache/conditional.h"

struct multipart {
	struct text boundary; /* 1 to 70 of A-Z a-z 0-9 (RFC 2046 5.1.1); not in the body */
	struct text type;     /* Content-Type of the whole; empty: it has none */
	const struct range *ranges;
	size_t n_ranges;
	uint64_t length; /* of the whole body */
};

/* Of the answer: for Content-Length. */
uint64_t multipart_length(const struct multipart *multipart);

/* What stands before range `i`, or for i == n_ranges at the end.  Its length; 0: it does not fit.
 */
size_t multipart_head(char *out, size_t size, const struct multipart *multipart, size_t i);
