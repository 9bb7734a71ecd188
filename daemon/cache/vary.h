/*
 * vary.h - which requests a stored response answers (RFC 9111 4.1).
 *
 * Pure.  What a response varies on is kept as text: for each field name of its Vary, lower case, in
 * sorted order, a line "name:" (not in the request) or "name=value", ended by LF.  A value is what
 * the origin got: several lines of the request are joined, and white space beside commas outside
 * of quoted strings is one blank behind the comma; what Connection takes away is not there. Letters
 * of Accept-Language and Accept-Encoding are lower case.  No other normalisation: two requests are
 * the same only where any server would read them the same.
 * What has a Content-Encoding varies on Accept-Encoding, whether it says so or not: not everybody
 * could read it.
 * Host is always "host:", since the key has it.  Of Authorization and Cookie it is "name;" and the
 * SHA-256 of the value in hex: no secret lies in an index or on a disk.
 */
#pragma once

#include "daemon/http/head.h"

#define VARY_NAMES 16 /* most field names */
#define VARY_MAX 4096 /* most bytes */

/* False: Vary: *, something that is no field name, or too many names: not to be stored. */
bool vary_is_storable(const struct head *response);

/* Writes the text into out.  Its length (0: the response does not vary), or -1: not storable, or
 * too long: not to be stored. */
long vary_make(const struct head *request, const struct head *response, char out[VARY_MAX]);

/* Does this request select what was stored with this text? */
bool vary_matches(struct text vary, const struct head *request);

/* Does `part` vary on nothing that `whole` does not? */
bool vary_is_within(const struct head *part, const struct head *whole);
