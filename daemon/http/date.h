/*
 * date.h - IMF-fixdate (RFC 9110 5.6.7).
 */
#pragma once

#include <time.h>

#define DATE_TEXT 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" with its NUL */

/* Without locale or time zone.  The years are 0 to 9999: `when` is clamped to them.  Returns `out`.
 */
const char *date_print(time_t when, char out[DATE_TEXT]);
