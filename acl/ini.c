/*
 * ini.c - an ini text as an ordered list of sections and keys with line numbers.
 *
 * The text is copied once, and names and values are cut out of the copy in place.
 *
 * Why this is not iniparser itself: to refuse what iniparser drops (duplicates, text behind a
 * quote or an unquoted ;, continuation lines) each line must be read here first, and then nothing
 * is left to do for it.  It also reads only from a path, which a process without a file system
 * does not have, and its one error callback is shared by all threads.  So it is the oracle: the
 * unit test hands it every text that is accepted here and wants the same answer.
 */
#include "acl/ini.h"

#include <errno.h>
#include <stdlib.h>

#define LINE_LIMIT 1022 /* without its end: what iniparser's ASCIILINESZ of 1,024 takes */
#define SHOWN 64        /* bytes of a line that a message repeats */

struct reader {
	struct ini *ini;
	size_t n_keys;
	int line;
	struct text shown; /* the line, for messages */
	struct error *e;
};

static int refuse(struct reader *r, const char *want)
{
	bool cut = r->shown.length > SHOWN;

	return error_set(r->e, -EINVAL, "%s:%d: %.*s%s: want %s", r->ini->file, r->line,
		cut ? SHOWN : (int)r->shown.length, r->shown.at, cut ? "..." : "", want);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool starts_comment(char c)
{
	return c == ';' || c == '#';
}

static struct text trim(struct text t)
{
	while (t.length > 0 && is_blank(t.at[0])) {
		t.at++;
		t.length--;
	}
	while (t.length > 0 && is_blank(t.at[t.length - 1]))
		t.length--;
	return t;
}

/* Takes the next line, without its LF or CRLF, off the front of `rest`. */
static bool take_line(struct text *rest, struct text *line)
{
	const char *end;

	if (rest->length == 0)
		return false;
	end = memchr(rest->at, '\n', rest->length);
	*line = (struct text){rest->at, end ? (size_t)(end - rest->at) : rest->length};
	rest->at += line->length + (end ? 1 : 0);
	rest->length -= line->length + (end ? 1 : 0);
	if (line->length > 0 && line->at[line->length - 1] == '\r')
		line->length--;
	return true;
}

static int check_bytes(struct reader *r, struct text line)
{
	if (line.length > LINE_LIMIT)
		return error_set(r->e, -EINVAL,
			"%s:%d: a line of %zu bytes: want at most %d; long lists go into a file",
			r->ini->file, r->line, line.length, LINE_LIMIT);
	for (size_t i = 0; i < line.length; i++) {
		unsigned char c = (unsigned char)line.at[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return error_set(r->e, -EINVAL,
				"%s:%d: byte %zu is the control character 0x%02x: want text",
				r->ini->file, r->line, i + 1, c);
	}
	return 0;
}

/* Makes a string of `t`, which lies in storage: the byte behind it is not needed any more. */
static const char *terminate(struct text t)
{
	char *at = (char *)t.at;

	at[t.length] = '\0';
	return at;
}

static size_t squeeze_blanks(char *at, size_t length)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++)
		if (!is_blank(at[i]))
			at[n++] = at[i];
		else if (!is_blank(at[i - 1]))
			at[n++] = ' ';
	return n;
}

static int read_section(struct reader *r, struct text line)
{
	struct ini *ini = r->ini;
	struct text name = trim((struct text){line.at + 1, line.length - 1});

	if (name.length > 0 && name.at[name.length - 1] == ']')
		name = trim((struct text){name.at, name.length - 1});
	else
		name.length = 0;
	for (size_t i = 0; i < name.length; i++)
		if (strchr("[]:;#\"'", name.at[i]))
			name.length = 0;
	if (name.length == 0)
		return refuse(r, "[NAME] alone on its line, without [ ] : ; # and quotes in it");
	name.length = squeeze_blanks((char *)name.at, name.length);
	ini->sections[ini->n_sections++] = (struct ini_section){
		.name = terminate(name), .line = r->line, .keys = ini->keys + r->n_keys};
	return 0;
}

static int read_quoted(struct reader *r, struct text value, const char **out)
{
	const char *end = memchr(value.at + 1, value.at[0], value.length - 1);
	struct text rest;

	if (!end)
		return refuse(r, "a quote at the end of the value as well");
	rest = trim((struct text){end + 1, value.length - (size_t)(end + 1 - value.at)});
	if (rest.length > 0 && !starts_comment(rest.at[0]))
		return refuse(r, "nothing but a comment behind the quoted value");
	*out = terminate((struct text){value.at + 1, (size_t)(end - value.at - 1)});
	return 0;
}

static int read_unquoted(struct reader *r, struct text value, const char **out)
{
	for (size_t i = 0; i < value.length; i++) {
		char c = value.at[i];

		if (c == '"' || c == '\'')
			return refuse(r, "quotes around the whole value, or none");
		if (!starts_comment(c))
			continue;
		if (i == 0)
			return refuse(r, "a value before the comment, \"\" for an empty one");
		if (!is_blank(value.at[i - 1]))
			return refuse(r, "quotes around a value with ; or # in it, "
					 "or a blank before a comment");
		value.length = i;
	}
	*out = terminate(trim(value));
	return 0;
}

static bool is_key_name(struct text name)
{
	for (size_t i = 0; i < name.length; i++) {
		char c = name.at[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '-' && c != '_')
			return false;
	}
	return name.length > 0;
}

static int read_key(struct reader *r, struct text line)
{
	struct ini *ini = r->ini;
	const char *equals = memchr(line.at, '=', line.length);
	struct ini_key key = {.line = r->line};
	struct text name, value;
	int error;

	name = trim((struct text){line.at, equals ? (size_t)(equals - line.at) : 0});
	if (!is_key_name(name))
		return refuse(r, "[SECTION], or KEY = VALUE");
	if (ini->n_sections == 0)
		return refuse(r, "a [SECTION] before the first key");
	if (line.at[line.length - 1] == '\\')
		return refuse(r, "the whole value on one line, without \\ at its end");
	value = trim((struct text){equals + 1, line.length - (size_t)(equals + 1 - line.at)});
	if (value.length > 0 && (value.at[0] == '"' || value.at[0] == '\''))
		error = read_quoted(r, value, &key.value);
	else
		error = read_unquoted(r, value, &key.value);
	if (error)
		return error;
	key.name = terminate(name);
	ini->keys[r->n_keys++] = key;
	ini->sections[ini->n_sections - 1].n_keys++;
	return 0;
}

static int read_line(struct reader *r, struct text line)
{
	int error = check_bytes(r, line);

	line = trim(line);
	r->shown = line;
	if (error || line.length == 0)
		return error;
	if (starts_comment(line.at[0]))
		return line.at[line.length - 1] == '\\'
			       ? refuse(r, "no \\ at the end of a comment: it would go on in the "
					   "next line")
			       : 0;
	return line.at[0] == '[' ? read_section(r, line) : read_key(r, line);
}

/* Room for as many sections and keys as there can be. */
static bool allocate(struct ini *ini, struct text rest)
{
	size_t sections = 0, keys = 0;
	struct text line;

	while (take_line(&rest, &line)) {
		line = trim(line);
		if (line.length > 0 && line.at[0] == '[')
			sections++;
		else if (line.length > 0 && !starts_comment(line.at[0]))
			keys++;
	}
	ini->sections = calloc(sections + 1, sizeof(*ini->sections));
	ini->keys = calloc(keys + 1, sizeof(*ini->keys));
	return ini->sections && ini->keys;
}

struct place {
	const char *name;
	int line;
};

static int by_name_and_line(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int order = strcasecmp(x->name, y->name);

	return order ? order : x->line - y->line;
}

/* The first place whose name an earlier one has, and that one's line; NULL: all differ. */
static const struct place *find_twice(struct place *places, size_t n, int *earlier)
{
	const struct place *twice = NULL;

	qsort(places, n, sizeof(*places), by_name_and_line);
	for (size_t i = 1; i < n; i++)
		if (strcasecmp(places[i - 1].name, places[i].name) == 0 &&
			(!twice || places[i].line < twice->line)) {
			twice = &places[i];
			*earlier = places[i - 1].line;
		}
	return twice;
}

static int check_duplicates(const struct ini *ini, size_t n_keys, struct error *e)
{
	size_t n = n_keys > ini->n_sections ? n_keys : ini->n_sections;
	struct place *places = calloc(n + 1, sizeof(*places));
	const struct place *twice = NULL;
	int earlier, error = 0;

	if (!places)
		return error_set(e, -ENOMEM, "%s: %s", ini->file, strerror(ENOMEM));
	for (size_t i = 0; i < ini->n_sections; i++)
		places[i] = (struct place){ini->sections[i].name, ini->sections[i].line};
	twice = find_twice(places, ini->n_sections, &earlier);
	if (twice)
		error = error_set(e, -EINVAL, "%s:%d: [%s]: want each section once, see line %d",
			ini->file, twice->line, twice->name, earlier);
	for (size_t i = 0; i < ini->n_sections && !error; i++) {
		const struct ini_section *section = &ini->sections[i];

		for (size_t k = 0; k < section->n_keys; k++)
			places[k] = (struct place){section->keys[k].name, section->keys[k].line};
		twice = find_twice(places, section->n_keys, &earlier);
		if (twice)
			error = error_set(e, -EINVAL,
				"%s:%d: [%s] %s: want each key once, see line %d", ini->file,
				twice->line, section->name, twice->name, earlier);
	}
	free(places);
	return error;
}

int ini_parse(struct ini *ini, const char *file, struct text text, struct error *e)
{
	struct reader reader = {.ini = ini, .e = e};
	struct text rest, line;
	int error = 0;

	*ini = (struct ini){.file = file};
	if (text.length >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0)
		text = (struct text){text.at + 3, text.length - 3};
	ini->storage = malloc(text.length + 1);
	if (!ini->storage || !allocate(ini, text))
		return error_set(e, -ENOMEM, "%s: %s", file, strerror(ENOMEM));
	if (text.length > 0)
		memcpy(ini->storage, text.at, text.length);
	rest = (struct text){ini->storage, text.length};
	while (!error && take_line(&rest, &line)) {
		reader.line++;
		error = read_line(&reader, line);
	}
	return error ? error : check_duplicates(ini, reader.n_keys, e);
}

void ini_free(struct ini *ini)
{
	free(ini->sections);
	free(ini->keys);
	free(ini->storage);
	*ini = (struct ini){0};
}
