/*
 * cached_parts.h - what cached.c, cached_answer.c and cached_fill.c share, and nobody else
 * includes.
 */
#pragma once

#include "daemon/proxy/cached.h"

#define CACHED_PARTITION 1024 /* bytes of a key's first part */

int64_t cached_now(const struct client *c); /* Unix time */
struct text cached_key(const struct cached *k);

/* Who shares what is stored: the partner's name, and as `cache-per` says.  0: it is too long. */
size_t cached_partition(const struct exchange *x, char out[CACHED_PARTITION]);

/* The target as it was sent to the origin: the request itself is gone from its buffer. */
struct uri cached_uri(const struct exchange *x, const struct head *request);

/* For store_find(); `arg` is the client.  What it varies on is as in the request ... */
bool cached_matches(void *arg, const struct stored *stored);
/* ... and what is asked for is there. */
bool cached_fits(void *arg, const struct stored *stored);

/* Leads or follows no more; who follows looks it up again. */
void cached_leave_flight(struct cached *k);

/* The head of what is stored, into `fields`. */
bool cached_parse(const struct stored *stored, struct head *head, struct field fields[256]);
struct cache_rules cached_rules(const struct exchange *x);

/* For a response to c's request; NULL: it is not stored, and k->detail says why. */
struct fill *cached_fill(struct client *c, const struct head *response);
