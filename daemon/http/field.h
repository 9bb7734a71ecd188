/*
 * field.h - field names that the proxy knows, and values made of simple parts.
 *
 * Private to http/ and cache/.
 */
#pragma once

#include "daemon/http/head.h"

/* `name` is a token. */
enum field_id field_id_of(struct text name);

/* Hop-by-hop by its name (RFC 9110 7.6.1), or meant for a proxy alone (RFC 9110 11.7). */
bool field_is_hop(enum field_id id);

/* Does it stay although Connection lists it?  What all hops need to agree on is not one sender's to
 * hide. */
bool field_is_for_every_hop(enum field_id id);

/* Takes the next element off a comma-separated list, without its white space; elements may be
 * empty.  False at the end. */
bool list_next(struct text *list, struct text *element);

/* Does `list` hold every element of `wanted`, of which there is one at least? */
bool list_has_all(struct text list, struct text wanted);

/* A value of Upgrade: protocols, and none of them an HTTP. */
bool protocols_are_carried(struct text list);

/* A decimal number without sign and leading zeros, at most INT64_MAX.  -1 for all else. */
int64_t field_number(struct text text);

/* A registered name or an IP literal, and ":" with no or a decimal port; or nothing at all
 * (RFC 9110 7.2).  Only its bytes are looked at: nobody is called by this name. */
bool host_is_plausible(struct text value);
