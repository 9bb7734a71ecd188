/*
 * control.h - Cache-Control and its relatives, as values (RFC 9111 5.2, RFC 9213, RFC 5861, and
 * Surrogate-Control of the Edge Architecture Specification, W3C Note 2001).
 *
 * Pure.  Directive names compare without case; an argument may be a token or a quoted string.
 * What cannot be read makes a message less cacheable, never more: a lifetime that is no number is
 * 0, one too large is 2^31 (1.2.2), of contradictory ones the most restrictive counts, a
 * permission with an argument that it cannot have is none, and a quoted string without an end is
 * no-store.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

#define CONTROL_NONE (-1)               /* not said */
#define CONTROL_ANY INT64_MAX           /* max-stale without a value */
#define CONTROL_MOST (INT64_C(1) << 31) /* larger numbers are taken as this (RFC 9111 1.2.2) */

struct control {
	bool present; /* at least one directive */
	/* no-cache="f, g" and private="f, g" name fields; they are treated as the plain form
	 * (5.2.2.4 and 5.2.2.7 allow that). */
	bool no_store, no_cache, is_private, is_public;
	bool must_revalidate, proxy_revalidate, must_understand, no_transform;
	bool only_if_cached, immutable;
	int64_t max_age, s_maxage, min_fresh, max_stale; /* seconds, or CONTROL_NONE */
	int64_t stale_while_revalidate, stale_if_error;
};

void control_init(struct control *control);

/* One field line's value; several add up. */
void control_add(struct control *control, struct text value);

/* One line of CDN-Cache-Control (RFC 9213): a Structured Fields dictionary (RFC 8941).  Of members
 * with the same key the last counts, in further lines too.  Each line has to be a dictionary by
 * itself.  False: it cannot be parsed, and the whole field, all its lines, is to be ignored (RFC
 * 9213 2.1), as it is when no line has `present` set. */
bool control_add_targeted(struct control *control, struct text value);

/* One line of Surrogate-Control (Edge Architecture 1.0, section 2.2).  What is targeted at another
 * device than `device` is passed over; `present` when a directive that we know is for it.
 * max-age=N+M: M is the time in which it may be served stale while it is validated.
 * no-store-remote is no-store. */
void control_add_surrogate(struct control *control, struct text value, struct text device);
