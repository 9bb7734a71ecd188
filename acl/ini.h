/*
 * ini.h - an ini text as an ordered list of sections and keys with line numbers.
 *
 * iniparser knows the syntax, but drops duplicates silently, lower-cases keys,
 * cuts at unquoted ; and #, limits lines to 1,024 characters and takes quadratic
 * time in one large dictionary.  So the text is split here, each section is
 * handed to iniparser alone, and what iniparser would lose is an error.
 */
#pragma once

#include "base/check.h"
#include "base/error.h"
#include "base/text.h"

struct ini_key {
	const char *name;
	const char *value; /* without quotes and comment */
	int line;
};

struct ini_section {
	const char *name; /* "partner stripe" */
	int line;
	struct ini_key *keys;
	size_t n_keys;
};

struct ini {
	const char *file; /* as messages name it */
	struct ini_section *sections;
	size_t n_sections;
};

/* Parses `text`.  0, or -EINVAL with "FILE:LINE: what is wrong: what was wanted".
 * ini_free() accepts what a failed parse left behind. */
int ini_parse(struct ini *ini, const char *file, struct text text, struct error *e) WARN_UNUSED;
void ini_free(struct ini *ini);
