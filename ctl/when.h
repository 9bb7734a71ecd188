/*
 * when.h - a moment as a person writes it.
 */
#pragma once

#include <stdbool.h>
#include <time.h>

/* Unix time; both belong to it.  A whole second lasts until the next. */
struct when {
	double from, to;
};

/* "HH:MM:SS", the last one that was before or at `now`, in UTC; or RFC 3339.  Both with or without
 * a fraction. */
bool when_parse(const char *text, time_t now, struct when *when);
