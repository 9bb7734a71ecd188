#include "ctl/print.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void print_json(json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
	json_decref(value);
}

static bool is_printed(char c)
{
	return c >= ' ' && c <= '~';
}

static bool is_blank(char c)
{
	return c == '\n' || c == '\t';
}

void print_text(const char *text)
{
	for (; *text; text++)
		putchar(is_printed(*text) || is_blank(*text) ? *text : '?');
}

void print_word(const char *text)
{
	for (; *text; text++)
		putchar(is_printed(*text) ? *text : '?');
}

static void disarm_string(json_t *string)
{
	char *text = strdup(json_string_value(string));

	CHECK(text);
	for (char *c = text; *c; c++)
		if (!is_printed(*c) && !is_blank(*c))
			*c = '?';
	json_string_set(string, text);
	free(text);
}

void print_disarm(json_t *value)
{
	const char *key;
	json_t *one;
	size_t i;

	if (json_is_string(value))
		disarm_string(value);
	json_array_foreach (value, i, one)
		print_disarm(one);
	json_object_foreach(value, key, one) print_disarm(one);
}

const char *print_string(const json_t *object, const char *field)
{
	const char *text = json_string_value(json_object_get(object, field));

	return text ? text : "";
}

json_int_t print_integer(const json_t *object, const char *field)
{
	return json_integer_value(json_object_get(object, field));
}

double print_real(const json_t *object, const char *field)
{
	return json_number_value(json_object_get(object, field));
}

bool print_true(const json_t *object, const char *field)
{
	return json_is_true(json_object_get(object, field));
}

const char *print_place(const json_t *object, char *out, size_t size)
{
	if (print_integer(object, "line"))
		snprintf(out, size, "%s:%lld", print_string(object, "file"),
			(long long)print_integer(object, "line"));
	else
		snprintf(out, size, "-");
	return out;
}

const char *print_bytes(double bytes, char *out, size_t size)
{
	static const char units[] = {' ', 'k', 'M', 'G', 'T'};
	size_t unit = 0;

	for (; bytes >= 1000 && unit + 1 < sizeof(units); unit++)
		bytes /= 1024;
	if (unit == 0)
		snprintf(out, size, "%.0f", bytes);
	else
		snprintf(out, size, bytes < 10 ? "%.1f%c" : "%.0f%c", bytes, units[unit]);
	return out;
}

const char *print_duration(double seconds, char *out, size_t size)
{
	long s = (long)seconds;

	if (seconds < 1)
		snprintf(out, size, "%.0fms", seconds > 0 ? seconds * 1e3 : 0);
	else if (s < 100)
		snprintf(out, size, "%lds", s);
	else if (s < 6000)
		snprintf(out, size, "%ldm%02lds", s / 60, s % 60);
	else if (s < 48 * 3600)
		snprintf(out, size, "%ldh%02ldm", s / 3600, s / 60 % 60);
	else
		snprintf(out, size, "%ldd", s / 86400);
	return out;
}

static const char *const codes[] = {
	[PLAIN] = "0", [GREEN] = "32", [RED] = "31", [YELLOW] = "33", [BOLD] = "1", [DIM] = "2"};

void print_colour(const struct ctl *ctl, enum colour colour)
{
	if (ctl->colour)
		printf("\033[%sm", codes[colour]);
}

enum colour print_colour_of(const char *verdict)
{
	return strcmp(verdict, "allow") == 0  ? GREEN
	       : strcmp(verdict, "deny") == 0 ? RED
	       : strcmp(verdict, "-") == 0    ? PLAIN
					      : YELLOW;
}

/* ---- tables ---- */

struct cell {
	char *text;
	enum colour colour;
};

struct table {
	const struct ctl *ctl;
	size_t columns, n, room; /* cells, row by row; the heads are the first row */
	struct cell *cells;
};

static void add(struct table *t, enum colour colour, char *text)
{
	if (t->n == t->room) {
		t->room = t->room ? 2 * t->room : 64;
		t->cells = realloc(t->cells, t->room * sizeof(*t->cells));
	}
	CHECK(t->cells && text);
	t->cells[t->n++] = (struct cell){text, colour};
}

struct table *table_new(const struct ctl *ctl, const char *const *heads, size_t columns)
{
	struct table *t = calloc(1, sizeof(*t));

	CHECK(t);
	t->ctl = ctl;
	t->columns = columns;
	for (size_t i = 0; i < columns; i++)
		add(t, BOLD, strdup(heads[i]));
	return t;
}

void table_cell(struct table *t, enum colour colour, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	CHECK(n >= 0);
	add(t, colour, text);
}

static void print_cell(const struct table *t, const struct cell *cell, size_t width)
{
	size_t length = strlen(cell->text);

	if (cell->colour)
		print_colour(t->ctl, cell->colour);
	print_word(cell->text);
	if (cell->colour)
		print_colour(t->ctl, PLAIN);
	printf("%*s", width > length ? (int)(width - length) : 0, "");
}

void table_print(struct table *t, size_t rows)
{
	size_t widths[t->columns], shown = (rows + 1) * t->columns;

	memset(widths, 0, sizeof(widths));
	shown = shown < t->n ? shown : t->n;
	for (size_t i = 0; i < shown; i++) {
		size_t length = strlen(t->cells[i].text) + 2;

		if (length > widths[i % t->columns])
			widths[i % t->columns] = length;
	}
	for (size_t i = 0; i < shown; i++) {
		bool last = (i + 1) % t->columns == 0;

		print_cell(t, &t->cells[i], last ? 0 : widths[i % t->columns]);
		if (last)
			putchar('\n');
	}
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}
