/*
 * ascii_json.h - bytes as a JSON string.
 *
 * Paths, targets and the texts of files are bytes; JSON is UTF-8.
 */
#pragma once

#include <jansson.h>

/* What is not printable ASCII becomes '?'.  NULL: no memory. */
json_t *ascii_json(const char *bytes);
json_t *ascii_json_n(const char *bytes, size_t length);
