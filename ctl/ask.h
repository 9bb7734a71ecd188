/*
 * ask.h - one request to egretd's control socket (HTTP over a unix socket).
 */
#pragma once

#include "ctl/command.h"

#define ASK_PATH 8192 /* longest path with its query and a NUL */

/* Appends "?name=value", or "&name=value", percent-encoded.  What does not fit is cut, and the
 * request refused. */
void ask_add(char path[ASK_PATH], const char *name, const char *value);

/* CTL_OK and *answer, the caller's.  Else the error has been printed, as JSON where that is wanted:
 * CTL_NO: egretd says no; CTL_ABSENT: it, or its proxy, is not there. */
int ask_get(const struct ctl *ctl, const char *path, json_t **answer);
int ask_post(const struct ctl *ctl, const char *path, json_t **answer);

/* The same, and prints the answer: its "message", or as JSON. */
int ask_post_and_print(const struct ctl *ctl, const char *path);
