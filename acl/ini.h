/*
 * ini.h - an ini text as an ordered list of sections and keys with line numbers.
 *
 * The syntax is iniparser's, less everything that iniparser would lose without a word: whatever is
 * accepted here reads the same there, and the rest is an error with file and line.
 *
 *	; a comment, or # a comment
 *	[section name]
 *	key   = value              ; a comment has a blank before it
 *	other = "a; b # c"         ; ' quotes as well; no escapes within
 *	none  = ""                 ; or nothing at all behind the =
 *
 * Refused: a section twice, or a key twice in its section (letter case does not tell them apart),
 * keys before the first section, anything else than these lines, a backslash at the end of a line
 * (iniparser continues it), control characters, and lines over 1,022 bytes (iniparser's buffer).
 * Keys are letters, digits, - and _.  CRLF, a UTF-8 byte order mark and a last line without its
 * end are fine.
 */
#pragma once

#include "base/check.h"
#include "base/error.h"
#include "base/text.h"

struct ini_key {
	const char *name;  /* as written: 'Hosts' is not 'hosts' */
	const char *value; /* without quotes and comment */
	int line;
};

struct ini_section {
	const char *name; /* "partner stripe": as written, each run of blanks one space */
	int line;
	struct ini_key *keys;
	size_t n_keys;
};

struct ini {
	const char *file; /* as messages name it; the caller's, not copied */
	struct ini_section *sections;
	size_t n_sections;
	struct ini_key *keys; /* private: of all sections */
	char *storage;        /* private: names and values */
};

/* Parses `text`.  0, or -EINVAL with "FILE:LINE: what is wrong: want what was wanted", or -ENOMEM.
 * Names and values live until ini_free(), which accepts what a failed parse left behind. */
int ini_parse(struct ini *ini, const char *file, struct text text, struct error *e) WARN_UNUSED;
void ini_free(struct ini *ini);
