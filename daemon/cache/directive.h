/*
 * directive.h - what the cache directives are called, and what becomes of a value.
 *
 * Private to control.c and targeted.c, the two ways of writing them.
 */
#pragma once

#include "daemon/cache/control.h"

enum directive_kind {
	DIRECTIVE_RESTRICTS, /* a flag that holds with any argument */
	DIRECTIVE_PERMITS,   /* a flag that holds without one */
	DIRECTIVE_AT_MOST,   /* a number; the smallest counts, an unreadable one is 0 */
	DIRECTIVE_AT_LEAST,  /* a number; the largest counts, an unreadable one is CONTROL_MOST */
};

struct directive {
	struct text name;
	enum directive_kind kind;
	size_t offset; /* of a bool or an int64_t in struct control */
};

/* The directive of this name, compared without case; NULL: nobody needs to know it. */
const struct directive *directive_find(struct text name);

static inline bool directive_is_number(const struct directive *directive)
{
	return directive->kind == DIRECTIVE_AT_MOST || directive->kind == DIRECTIVE_AT_LEAST;
}

static inline bool *directive_flag(const struct directive *directive, struct control *control)
{
	return (bool *)(void *)((char *)control + directive->offset);
}

static inline int64_t *directive_number(const struct directive *directive, struct control *control)
{
	return (int64_t *)(void *)((char *)control + directive->offset);
}
