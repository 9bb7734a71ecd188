/*
 * names.h - what a resolver knows of names: a table bounded by leaving out the least recently used.
 *
 * No DNS, no loop, no clock: whoever asks compares `expires` with a time of its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/siphash.h"
#include "base/check.h"
#include "base/text.h"

#define NAME_LENGTH 253 /* longest name as text, without its NUL (RFC 1035 2.3.4) */

struct lookup_question;

/* A name is pinned (being asked, or from the hosts text) until it is kept; only kept ones leave. */
struct name {
	struct lookup_question *question; /* the user's: who is asking, or NULL */
	double expires;                   /* seconds; INFINITY: from the hosts text */
	struct addr *addrs;               /* the table's */
	uint8_t n_addrs;
	uint8_t status; /* enum resolver_status */
	bool partial;   /* the user's: the addresses of one version are not known */
	bool kept;
	uint8_t length;
	uint32_t hash;
	struct name *chain;         /* private: same bucket */
	struct name *older, *newer; /* private: kept ones by last use */
	char text[];                /* with a NUL */
};

struct names {
	struct name **buckets;
	size_t n_buckets; /* a power of two */
	size_t n, n_kept, most_kept;
	struct name *oldest, *newest;
	struct siphash_key seed;
};

/* An empty table that keeps at most `most_kept` names.  False: no memory. */
bool names_init(struct names *names, size_t most_kept) WARN_UNUSED;
void names_fini(struct names *names);

/* NULL: unknown.  A kept name counts as used. */
struct name *names_find(struct names *names, struct text text);

/* A new pinned name without addresses; `text` is not in the table yet, 1 to NAME_LENGTH bytes.
 * NULL: no memory. */
struct name *names_add(struct names *names, struct text text) WARN_UNUSED;

/* Copies the addresses in place of those of before.  False: no memory, and there are none. */
bool name_set_addrs(struct name *name, const struct addr *addrs, size_t n) WARN_UNUSED;

/* From pinned to kept: it may leave from now on, and does at once when nothing may be kept. */
void names_keep(struct names *names, struct name *name);
/* From kept to pinned. */
void names_pin(struct names *names, struct name *name);
void names_remove(struct names *names, struct name *name);
