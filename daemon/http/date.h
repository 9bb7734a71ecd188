/*
 * date.h - dates in HTTP (RFC 9110 5.6.7).
 */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "base/text.h"

#define DATE_TEXT 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" with its NUL */

/* Without locale or time zone.  The years are 0 to 9999: `when` is clamped to them.  Returns `out`.
 */
const char *date_print(time_t when, char out[DATE_TEXT]);

/* Reads IMF-fixdate, and the obsolete forms of RFC 850 and asctime, which recipients have to
 * accept. Letters compare without case, as caches should (RFC 9111 4.2); the zone is GMT and
 * nothing else. `now` tells the century of a two-digit year: the latest that is not more than 50
 * years ahead. A leap second is the one before it; the name of the day is not held against the
 * date.  False: it is none of the forms, or no day of the calendar. */
bool date_parse(struct text text, time_t now, time_t *when);
