/*
 * error.h - one line of text for the person who has to fix it.
 *
 * A function that can fail for a reason an operator should read takes a
 * `struct error *`, fills it and returns -errno.  Only the edge (main, gate)
 * prints it, once.
 */
#pragma once

#include <stdarg.h>

#define ERROR_TEXT 512 /* bytes of a message, with its end */

struct error {
	char text[ERROR_TEXT];
};

/* Fills `e` (may be NULL) and returns `code`, so that a failing function can
 * end with `return error_set(e, -EINVAL, "acl.ini:14: ...")`. */
int error_set(struct error *e, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
