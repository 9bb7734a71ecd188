/*
 * bytes.c - the table of byte classes.
 *
 * BYTE_URI is RFC 3986's pchar, "/" and "?", and the bytes that URLs carry in practice because the
 * WHATWG URL standard leaves them as they are: [ ] { | } ^ and the backquote ("?filter[name]=a|b").
 * No parser reads those as anything but themselves.  Left out are the bytes that some read as more:
 * "#" (a fragment) and "\" (a slash), and the delimiters " < >.
 */
#include "daemon/http/bytes.h"

#define T BYTE_TOKEN
#define H BYTE_HOST
#define U BYTE_URI
#define X BYTE_HEX
#define D BYTE_DIGIT

const uint8_t byte_classes[256] = {
	['0' ... '9'] = T | H | U | X | D,
	['A' ... 'F'] = T | H | U | X,
	['G' ... 'Z'] = T | H | U,
	['a' ... 'f'] = T | H | U | X,
	['g' ... 'z'] = T | H | U,
	['-'] = T | H | U,
	['.'] = T | H | U,
	['_'] = T | H | U,
	['!'] = T | U,
	['#'] = T,
	['$'] = T | U,
	['%'] = T,
	['&'] = T | U,
	['\''] = T | U,
	['*'] = T | U,
	['+'] = T | U,
	['^'] = T | U,
	['`'] = T | U,
	['|'] = T | U,
	['~'] = T | U,
	['('] = U,
	[')'] = U,
	[','] = U,
	['/'] = U,
	[':'] = U,
	[';'] = U,
	['='] = U,
	['?'] = U,
	['@'] = U,
	['['] = U,
	[']'] = U,
	['{'] = U,
	['}'] = U,
};
