/*
 * check.h - what a correct program never does.
 *
 * CHECK stays in release builds.  It guards against our own mistakes only:
 * nothing that a client, an origin or an operator sends may reach it.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
	((condition) ? (void)0 : check_failed(__FILE__, __LINE__, __func__, #condition))

#define WARN_UNUSED __attribute__((warn_unused_result))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static inline __attribute__((noreturn, cold)) void check_failed(
	const char *file, int line, const char *function, const char *condition)
{
	fprintf(stderr, "egretd: %s:%d: %s: check failed: %s\n", file, line, function, condition);
	abort();
}
