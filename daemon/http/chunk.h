/*
 * chunk.h - the chunked transfer coding (RFC 9112 7.1).
 *
 * A decoder that keeps its place between reads and holds no bytes.  Extensions are checked
 * and dropped; trailers are checked, bounded, and dropped where nobody wants them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define CHUNK_LINE_MAX 4096     /* bytes in a chunk-size line with its extensions */
#define CHUNK_TRAILER_MAX 16384 /* bytes in all trailer lines */
#define CHUNK_HEAD 18           /* longest "size CRLF" that chunk_head() writes */

struct chunk {
	int state;      /* private, with `count` */
	uint32_t count; /* bytes seen of this line, or of the trailers */
	uint64_t left;  /* data bytes left in this chunk */
	/* Where the trailer lines go, with the empty one: CHUNK_TRAILER_MAX bytes of the caller's.
	 * NULL, as chunk_init() leaves it: nowhere. */
	char *trailers;
	uint32_t n_trailers; /* bytes there; all of them with CHUNK_END */
};

enum chunk_result {
	CHUNK_DATA, /* `data` is the next run of body bytes; call again */
	CHUNK_MORE, /* `in` is used up */
	CHUNK_END,  /* the body is over; what is left of `in` is the next message's */
	CHUNK_BAD,  /* not chunked coding: close */
};

void chunk_init(struct chunk *chunk);

/* Advances `in` over what it has read.  `data` points into what `in` was.  CHUNK_END and CHUNK_BAD
 * are for good.  A size of more than 16 digits or over INT64_MAX is refused, and so is everything
 * that RFC 9112's grammar does not have: bare LF, white space around the size, folded trailer
 * lines. */
enum chunk_result chunk_next(struct chunk *chunk, struct text *in, struct text *data);

/* Writes "SIZE CRLF" for `size` > 0 bytes of data (which CRLF must follow); returns its length. */
size_t chunk_head(char out[CHUNK_HEAD], size_t size);
#define CHUNK_LAST "0\r\n\r\n"
