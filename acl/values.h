/*
 * values.h - the values that acl.ini knows, read from text.
 */
#pragma once

#include "acl/policy.h"

/* Takes the next item off a list with commas, without the blanks around it.  False at the end;
 * an item may be empty. */
bool list_take(struct text *list, struct text *item);

/* Takes the next line, without its end, off a text. */
bool line_take(struct text *text, struct text *line);

/* What is left of a line in a hosts-file or cidr-file without comment and blanks. */
struct text line_strip(struct text line);

/* A whole number in decimal without sign and leading zeros. */
bool number_parse(uint64_t *number, struct text text, uint64_t min, uint64_t max);

/* "443", "1024-2047", "*" for 1-65535. */
bool ports_parse(struct ports *ports, struct text text);

/* Sorts and joins what overlaps or adjoins; returns how many are left. */
size_t ports_sort(struct ports *at, size_t n);

/* "100/1m", "100/m", "5/10s": tokens, 1 to 1e9, and the period in nanoseconds, up to 365 days. */
bool rate_parse(uint64_t *tokens, uint64_t *period, struct text text);

/* "90s", "10m", "1h", "7d": seconds, up to 365 days. */
bool lifetime_parse(uint64_t *seconds, struct text text);

bool protocol_parse(enum protocol *protocol, struct text text);
bool rate_per_parse(enum rate_per *per, struct text text);
bool mode_parse(bool *report, struct text text);
bool spread_parse(enum spread *spread, struct text text);
bool cache_per_parse(enum cache_per *per, struct text text);
bool yes_no_parse(bool *yes, struct text text);
