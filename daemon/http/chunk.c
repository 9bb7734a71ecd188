/*
 * chunk.c - the chunked transfer coding, byte by byte around the data.
 *
 * Each state below says what the next byte may be.  A line is "size *( ; name [= value] ) CRLF";
 * white space around ; and = is "bad white space" that RFC 9112 tells recipients to read,
 * white space anywhere else is refused.  Behind the last chunk come trailer lines like those of a
 * head.
 */
#include "daemon/http/chunk.h"

#include "daemon/http/bytes.h"

enum state {
	SIZE,         /* the first digit of a size */
	SIZE_MORE,    /* digits, or the end of them */
	EXT_SPACE,    /* white space that must end in ';' */
	EXT_BEGIN,    /* behind ';' */
	EXT_NAME,     /* in a name */
	EXT_NAMED,    /* white space behind a name: then '=' or ';' */
	EXT_EQUALS,   /* behind '=' */
	EXT_TOKEN,    /* in a value without quotes */
	EXT_QUOTED,   /* in a value with quotes */
	EXT_ESCAPED,  /* behind '\' in it */
	EXT_UNQUOTED, /* behind the closing quote */
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER, /* the first byte of a trailer line, or of the empty one */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	LAST_LF,
	END,
	BAD,
};

void chunk_init(struct chunk *chunk)
{
	*chunk = (struct chunk){.state = SIZE};
}

static int hex_value(char byte)
{
	return byte <= '9' ? byte - '0' : (byte | 0x20) - 'a' + 10;
}

static bool is_text(char byte)
{
	return byte == '\t' || ((uint8_t)byte >= 0x20 && byte != 0x7f);
}

static enum state add_digit(struct chunk *chunk, char byte)
{
	if (!byte_is(byte, BYTE_HEX) || chunk->count > 16 || chunk->left > INT64_MAX >> 4)
		return BAD;
	chunk->left = chunk->left << 4 | (unsigned)hex_value(byte);
	return SIZE_MORE;
}

/* What may follow a size, or a whole extension. */
static enum state after_element(char byte, enum state space)
{
	switch (byte) {
	case ' ':
	case '\t':
		return space;
	case ';':
		return EXT_BEGIN;
	case '\r':
		return SIZE_LF;
	default:
		return BAD;
	}
}

static bool is_space(char byte)
{
	return byte == ' ' || byte == '\t';
}

static enum state step_extension(enum state state, char byte)
{
	switch (state) {
	case EXT_SPACE:
		return is_space(byte) ? EXT_SPACE : byte == ';' ? EXT_BEGIN : BAD;
	case EXT_BEGIN:
		return is_space(byte) ? EXT_BEGIN : byte_is(byte, BYTE_TOKEN) ? EXT_NAME : BAD;
	case EXT_NAME:
		if (byte_is(byte, BYTE_TOKEN))
			return EXT_NAME;
		return byte == '=' ? EXT_EQUALS : after_element(byte, EXT_NAMED);
	case EXT_NAMED:
		return is_space(byte) ? EXT_NAMED
		       : byte == '='  ? EXT_EQUALS
		       : byte == ';'  ? EXT_BEGIN
				      : BAD;
	case EXT_EQUALS:
		if (is_space(byte))
			return EXT_EQUALS;
		return byte == '"' ? EXT_QUOTED : byte_is(byte, BYTE_TOKEN) ? EXT_TOKEN : BAD;
	case EXT_TOKEN:
		return byte_is(byte, BYTE_TOKEN) ? EXT_TOKEN : after_element(byte, EXT_SPACE);
	case EXT_QUOTED:
		if (byte == '"' || byte == '\\')
			return byte == '"' ? EXT_UNQUOTED : EXT_ESCAPED;
		return is_text(byte) ? EXT_QUOTED : BAD;
	case EXT_ESCAPED:
		return is_text(byte) ? EXT_QUOTED : BAD;
	case EXT_UNQUOTED:
		return after_element(byte, EXT_SPACE);
	default:
		return BAD;
	}
}

static enum state step_trailer(enum state state, char byte)
{
	switch (state) {
	case TRAILER:
		return byte == '\r' ? LAST_LF : byte_is(byte, BYTE_TOKEN) ? TRAILER_NAME : BAD;
	case TRAILER_NAME:
		if (byte_is(byte, BYTE_TOKEN))
			return TRAILER_NAME;
		return byte == ':' ? TRAILER_VALUE : BAD;
	case TRAILER_VALUE:
		return byte == '\r' ? TRAILER_LF : is_text(byte) ? TRAILER_VALUE : BAD;
	case TRAILER_LF:
		return byte == '\n' ? TRAILER : BAD;
	case LAST_LF:
		return byte == '\n' ? END : BAD;
	default:
		return BAD;
	}
}

/* The state behind `byte`, which is not data. */
static enum state step(struct chunk *chunk, char byte)
{
	enum state state = (enum state)chunk->state;
	chunk->count++;
	if (chunk->count > (state >= TRAILER ? CHUNK_TRAILER_MAX : CHUNK_LINE_MAX))
		return BAD;
	switch (state) {
	case SIZE:
		chunk->left = 0;
		return add_digit(chunk, byte);
	case SIZE_MORE:
		return byte_is(byte, BYTE_HEX) ? add_digit(chunk, byte)
					       : after_element(byte, EXT_SPACE);
	case SIZE_LF:
		chunk->count = 0;
		return byte != '\n' ? BAD : chunk->left ? DATA : TRAILER;
	case DATA_CR:
		return byte == '\r' ? DATA_LF : BAD;
	case DATA_LF:
		chunk->count = 0;
		return byte == '\n' ? SIZE : BAD;
	default:
		return state < SIZE_LF ? step_extension(state, byte) : step_trailer(state, byte);
	}
}

static enum chunk_result take_data(struct chunk *chunk, struct text *in, struct text *data)
{
	size_t length = chunk->left < in->length ? (size_t)chunk->left : in->length;
	*data = (struct text){in->at, length};
	in->at += length;
	in->length -= length;
	chunk->left -= length;
	if (chunk->left == 0)
		chunk->state = DATA_CR;
	return CHUNK_DATA;
}

static void keep_trailer(struct chunk *chunk, char byte)
{
	if (chunk->trailers && chunk->state >= TRAILER && chunk->n_trailers < CHUNK_TRAILER_MAX)
		chunk->trailers[chunk->n_trailers++] = byte;
}

enum chunk_result chunk_next(struct chunk *chunk, struct text *in, struct text *data)
{
	for (;;) {
		if (chunk->state == END)
			return CHUNK_END;
		if (chunk->state == BAD)
			return CHUNK_BAD;
		if (in->length == 0)
			return CHUNK_MORE;
		if (chunk->state == DATA)
			return take_data(chunk, in, data);
		keep_trailer(chunk, *in->at);
		chunk->state = step(chunk, *in->at);
		in->at++;
		in->length--;
	}
}

size_t chunk_head(char out[CHUNK_HEAD], size_t size)
{
	size_t digits = 1;
	for (size_t rest = size >> 4; rest; rest >>= 4)
		digits++;
	for (size_t i = digits; i > 0; i--, size >>= 4)
		out[i - 1] = "0123456789abcdef"[size & 15];
	memcpy(out + digits, "\r\n", 2);
	return digits + 2;
}
