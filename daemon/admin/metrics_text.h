/*
 * metrics_text.h - pieces of Prometheus text format 0.0.4.
 */
#pragma once

#include <stdio.h>

void metrics_text_family(FILE *out, const char *name, const char *type, const char *help);

/* A label's value, without its quotes.  A byte that is not ASCII is the character of that number,
 * as in the access log, because the page must be UTF-8 whatever a name is. */
void metrics_text_label(FILE *out, const char *value);
