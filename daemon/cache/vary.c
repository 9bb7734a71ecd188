/*
 * vary.c - which requests a stored response answers.
 *
 * The same function writes a request's value for the first time and holds a later request's value
 * against what was written, byte by byte.
 */
#include "daemon/cache/vary.h"

#include <sys/types.h>

#include <sha256.h>

#include "daemon/http/bytes.h"
#include "daemon/http/field.h"

struct names {
	struct text at[VARY_NAMES];
	size_t count;
};

/* ASCII, without case; a shorter one first. */
static int compare(struct text a, struct text b)
{
	size_t length = a.length < b.length ? a.length : b.length;
	int order = strncasecmp(a.at, b.at, length);
	return order ? order : (a.length > b.length) - (a.length < b.length);
}

/* Sorted, each once. */
static bool add_name(struct names *names, struct text name)
{
	size_t i = names->count;
	while (i > 0 && compare(names->at[i - 1], name) > 0)
		i--;
	if (i > 0 && compare(names->at[i - 1], name) == 0)
		return true;
	if (names->count == VARY_NAMES)
		return false;
	memmove(&names->at[i + 1], &names->at[i], (names->count - i) * sizeof(name));
	names->at[i] = name;
	names->count++;
	return true;
}

static bool add_list(struct names *names, struct text list)
{
	struct text name;
	while (list_next(&list, &name)) {
		const char *end = name.at + name.length;
		if (name.length == 0)
			continue;
		if (text_equal(name, TEXT("*")) || bytes_skip(name.at, end, BYTE_TOKEN) != end ||
			!add_name(names, name))
			return false;
	}
	return true;
}

static bool read_names(const struct head *response, struct names *names)
{
	names->count = 0;
	for (size_t i = 0; i < response->n_fields; i++)
		if (response->fields[i].id == FIELD_VARY &&
			!add_list(names, response->fields[i].value))
			return false;
	return true;
}

bool vary_is_storable(const struct head *response)
{
	struct names names;
	return read_names(response, &names);
}

bool vary_is_within(const struct head *part, const struct head *whole)
{
	struct names some, all;
	size_t j = 0;
	if (!read_names(part, &some))
		return false;
	if (some.count == 0)
		return true;
	if (!read_names(whole, &all))
		return false;
	for (size_t i = 0; i < some.count; i++) {
		while (j < all.count && compare(all.at[j], some.at[i]) < 0)
			j++;
		if (j == all.count || compare(all.at[j], some.at[i]) != 0)
			return false;
	}
	return true;
}

/* Where bytes go: into [at, end), held against what is there, or into a digest. */
struct sink {
	char *at, *end;            /* writing */
	const char *want, *behind; /* comparing; NULL: writing */
	SHA256_CTX *digest;        /* NULL: neither */
	bool caseless;             /* letters are the same in both cases */
	bool failed;               /* full, or different */
};

static char lower(char byte)
{
	return byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
}

static void emit(struct sink *s, char byte)
{
	if (s->caseless)
		byte = lower(byte);
	if (s->digest) {
		SHA256Update(s->digest, (const uint8_t *)&byte, 1);
	} else if (s->want) {
		if (s->want == s->behind || *s->want != byte)
			s->failed = true;
		else
			s->want++;
	} else if (s->at == s->end) {
		s->failed = true;
	} else {
		*s->at++ = byte;
	}
}

static void emit_run(struct sink *s, const char *at, const char *end)
{
	while (at < end && !s->failed)
		emit(s, *at++);
}

static void emit_value(struct sink *s, struct text value)
{
	const char *at = value.at, *end = value.at + value.length;
	bool quoted = false;
	while (at < end && !s->failed) {
		const char *next = quoted ? at : bytes_skip_space(at, end);
		if (!quoted && next < end && *next == ',') {
			emit(s, ',');
			emit(s, ' ');
			at = bytes_skip_space(next + 1, end);
			continue;
		}
		emit_run(s, at, next);
		if ((at = next) == end)
			return;
		if (quoted && *at == '\\' && at + 1 < end)
			emit(s, *at++);
		else if (*at == '"')
			quoted = !quoted;
		emit(s, *at++);
	}
}

/* The first line of the request with this name from `i` on, or the end. */
static size_t next_line(struct text name, const struct head *request, size_t i)
{
	for (; i < request->n_fields; i++) {
		const struct field *field = &request->fields[i];
		if (!field->hop && field->id != FIELD_HOST && text_equal_nocase(field->name, name))
			break;
	}
	return i;
}

static void emit_lines(struct sink *s, struct text name, const struct head *request, size_t first)
{
	for (size_t i = first; i < request->n_fields; i = next_line(name, request, i + 1)) {
		if (i > first) {
			emit(s, ',');
			emit(s, ' ');
		}
		emit_value(s, request->fields[i].value);
	}
}

static void emit_digest(struct sink *s, struct text name, const struct head *request, size_t first)
{
	char hex[SHA256_DIGEST_STRING_LENGTH];
	SHA256_CTX digest;
	struct sink into = {.digest = &digest};
	SHA256Init(&digest);
	emit_lines(&into, name, request, first);
	SHA256End(&digest, hex);
	emit_run(s, hex, hex + strlen(hex));
}

/* ":", or "=" and the values, or ";" and their digest. */
static void emit_values(struct sink *s, struct text name, const struct head *request)
{
	size_t first = next_line(name, request, 0);

	/* Language tags and content codings (RFC 4647 2, RFC 9110 8.4.1). */
	s->caseless = text_equal_nocase(name, TEXT("Accept-Language")) ||
		      text_equal_nocase(name, TEXT("Accept-Encoding"));
	if (first == request->n_fields) {
		emit(s, ':');
	} else if (text_equal_nocase(name, TEXT("Cookie")) ||
		   text_equal_nocase(name, TEXT("Authorization"))) {
		emit(s, ';');
		emit_digest(s, name, request, first);
	} else {
		emit(s, '=');
		emit_lines(s, name, request, first);
	}
	s->caseless = false;
	emit(s, '\n');
}

static bool is_encoded(const struct head *response)
{
	for (size_t i = 0; i < response->n_fields; i++)
		if (text_equal_nocase(response->fields[i].name, TEXT("Content-Encoding")))
			return true;
	return false;
}

long vary_make(const struct head *request, const struct head *response, char out[VARY_MAX])
{
	struct names names;
	struct sink s = {.at = out, .end = out + VARY_MAX};

	if (!read_names(response, &names) ||
		(is_encoded(response) && !add_name(&names, TEXT("accept-encoding"))))
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		for (size_t j = 0; j < names.at[i].length; j++)
			emit(&s, lower(names.at[i].at[j]));
		emit_values(&s, names.at[i], request);
	}
	return s.failed ? -1 : s.at - out;
}

bool vary_matches(struct text vary, const struct head *request)
{
	const char *end = vary.at + vary.length;
	struct sink s = {.want = vary.at, .behind = end};

	while (s.want < end && !s.failed) {
		const char *name = s.want;
		s.want = bytes_skip(name, end, BYTE_TOKEN);
		emit_values(&s, bytes_span(name, s.want), request);
	}
	return !s.failed;
}
