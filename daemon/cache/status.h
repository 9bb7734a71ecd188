/*
 * status.h - which status codes a cache knows.
 *
 * Private to cache/.
 */
#pragma once

#include <stdbool.h>

/* Heuristically cacheable (RFC 9110 15.1), but for 206. */
static inline bool status_is_heuristic(int status)
{
	switch (status) {
	case 200:
	case 203:
	case 204:
	case 300:
	case 301:
	case 308:
	case 404:
	case 405:
	case 410:
	case 414:
	case 501:
		return true;
	default:
		return false;
	}
}

/* All that RFC 9110 15 says of them for caches is done here (RFC 9111 5.2.2.3). */
static inline bool status_is_understood(int status)
{
	switch (status) {
	case 302:
	case 303:
	case 307:
	case 400:
	case 403:
	case 500:
	case 502:
	case 503:
	case 504:
		return true;
	default:
		return status_is_heuristic(status);
	}
}
