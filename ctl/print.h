/*
 * print.h - answers for a person: texts, times, tables.
 *
 * What is printed may have come from strangers (targets, names): bytes that a terminal would act on
 * become '?'.
 */
#pragma once

#include "ctl/command.h"

void print_json(json_t *value); /* indented, with a newline; takes it over */
void print_text(const char *text);
void print_word(const char *text); /* the same, within its line: no newline and no tab either */

/* Does so to every string in `value`, but leaves newlines and tabs. */
void print_disarm(json_t *value);

/* A field of an object as text: "" when it is not there or null. */
const char *print_string(const json_t *object, const char *field);
json_int_t print_integer(const json_t *object, const char *field); /* 0 when it is not there */
double print_real(const json_t *object, const char *field);        /* an integer, too */
bool print_true(const json_t *object, const char *field);

/* "acl.ini:14", of an object with file and line; "-" for null. */
const char *print_place(const json_t *object, char *out, size_t size);
const char *print_bytes(double bytes, char *out, size_t size);      /* "1.4M" */
const char *print_duration(double seconds, char *out, size_t size); /* "3h12m" */

enum colour { PLAIN, GREEN, RED, YELLOW, BOLD, DIM };
void print_colour(const struct ctl *ctl, enum colour colour); /* PLAIN ends it */
enum colour print_colour_of(const char *verdict);

/* Columns as wide as their widest cell; the last one is as it is. */
struct table;
struct table *table_new(const struct ctl *ctl, const char *const *heads, size_t columns);
void table_cell(struct table *table, enum colour colour, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void table_print(struct table *table, size_t rows); /* at most so many; frees it */
