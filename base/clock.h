/*
 * clock.h - time that nobody sets.
 */
#pragma once

#include <time.h>

/* Seconds of CLOCK_MONOTONIC. */
static inline double clock_monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
