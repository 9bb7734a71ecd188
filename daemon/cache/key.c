/*
 * key.c - under which name a response is kept.
 *
 * A reference is made a whole URL as text, and read like the target of a request: what the parser
 * there refuses has no key.
 */
#include "daemon/cache/key.h"

#include "daemon/cache/writer.h"
#include "daemon/http/bytes.h"

static void put_origin(struct writer *w, const struct uri *uri)
{
	if (uri->scheme == SCHEME_HTTPS)
		PUT(w, "https://");
	else
		PUT(w, "http://");
	size_t room = (size_t)(w->end - w->at);
	size_t length = uri_host_field(uri, w->at, room);
	w->full |= length == 0;
	w->at += length;
}

static bool is_ignored(struct text element, const struct text *ignore, size_t n_ignore)
{
	const char *equals = element.length ? memchr(element.at, '=', element.length) : NULL;
	struct text name = equals ? bytes_span(element.at, equals) : element;
	for (size_t i = 0; i < n_ignore; i++) {
		struct text pattern = ignore[i];
		if (pattern.length && pattern.at[pattern.length - 1] == '*') {
			pattern.length--;
			if (name.length >= pattern.length &&
				text_equal((struct text){name.at, pattern.length}, pattern))
				return true;
		} else if (text_equal(name, pattern)) {
			return true;
		}
	}
	return false;
}

/* A query with its "?", without what is ignored. */
static void put_query(
	struct writer *w, struct text query, const struct text *ignore, size_t n_ignore)
{
	const char *at = query.at + 1, *end = query.at + query.length;
	bool first = true;
	for (;;) {
		const char *next = at < end ? memchr(at, '&', (size_t)(end - at)) : NULL;
		struct text element = bytes_span(at, next ? next : end);
		if (!is_ignored(element, ignore, n_ignore)) {
			put(w, first ? "?" : "&", 1);
			put_text(w, element);
			first = false;
		}
		if (!next)
			break;
		at = next + 1;
	}
}

size_t key_make(char *out, size_t size, struct text partition, const struct uri *uri,
	const struct text *ignore, size_t n_ignore)
{
	struct writer w = {out, out + size, false};
	struct text path = uri->path, query = {NULL, 0};

	if (uri->scheme == SCHEME_NONE || path.length == 0 || text_equal(path, TEXT("*")))
		return 0;
	put_text(&w, partition);
	PUT(&w, " ");
	put_origin(&w, uri);
	if (uri->path_slash)
		PUT(&w, "/");
	const char *mark = n_ignore ? memchr(path.at, '?', path.length) : NULL;
	if (mark) {
		query = bytes_span(mark, path.at + path.length);
		path = bytes_span(path.at, mark);
	}
	put_text(&w, path);
	if (mark)
		put_query(&w, query, ignore, n_ignore);
	return writer_finish(&w, out);
}

bool key_same_origin(const struct uri *a, const struct uri *b)
{
	return a->scheme == b->scheme && a->port == b->port && a->is_address == b->is_address &&
	       a->host_length == b->host_length && memcmp(a->host, b->host, a->host_length) == 0;
}

/* scheme ":" at the start (RFC 3986 3.1) */
static bool has_scheme(struct text reference)
{
	for (size_t i = 0; i < reference.length; i++) {
		char byte = reference.at[i];
		bool letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
		if (i > 0 && byte == ':')
			return true;
		if (!letter && (i == 0 || !(byte_is(byte, BYTE_DIGIT) || byte == '+' ||
						  byte == '-' || byte == '.')))
			return false;
	}
	return false;
}

static struct text up_to(struct text text, char byte)
{
	const char *found = text.length ? memchr(text.at, byte, text.length) : NULL;
	return found ? bytes_span(text.at, found) : text;
}

static bool begins(const char *at, const char *end, const char *with)
{
	size_t length = strlen(with);
	return (size_t)(end - at) >= length && memcmp(at, with, length) == 0;
}

/* RFC 3986 5.2.4, in place; `path` begins with a slash.  Returns the new end. */
static char *remove_dots(char *path, char *end)
{
	char *out = path, *at = path;
	while (at < end) {
		if (begins(at, end, "/./") || (end - at == 2 && begins(at, end, "/."))) {
			at[1] = '/';
			at += end - at == 2 ? 1 : 2;
		} else if (begins(at, end, "/../") || (end - at == 3 && begins(at, end, "/.."))) {
			bool last = end - at == 3;
			at += last ? 2 : 3;
			*at = '/';
			while (out > path && *--out != '/')
				continue;
		} else {
			do
				*out++ = *at++;
			while (at < end && *at != '/');
		}
	}
	return out;
}

/* The path that a relative one stands behind: all up to the last slash (RFC 3986 5.2.3). */
static struct text directory(struct text path)
{
	while (path.length && path.at[path.length - 1] != '/')
		path.length--;
	return path.length ? path : TEXT("/");
}

/* Path and query of a reference without scheme and authority (RFC 3986 5.2.2). */
static void put_relative(struct writer *w, const struct uri *base, struct text reference)
{
	struct text path = up_to(reference, '?');
	struct text query = bytes_span(path.at + path.length, reference.at + reference.length);
	struct text base_path = base->path_slash ? TEXT("/") : up_to(base->path, '?');

	if (reference.length == 0) /* the base itself, with its query */
		query = bytes_span(base->path.at + (base->path_slash ? 0 : base_path.length),
			base->path.at + base->path.length);
	if (path.length == 0) {
		put_text(w, base_path);
	} else {
		if (path.at[0] != '/')
			put_text(w, directory(base_path));
		put_text(w, path);
	}
	put_text(w, query);
}

/* The reference as a whole URL, dots removed; its length, or 0. */
static size_t resolve(char *out, size_t size, const struct uri *base, struct text reference)
{
	struct writer w = {out, out + size, false};
	reference = up_to(reference, '#');
	if (has_scheme(reference)) {
		put_text(&w, reference);
	} else if (reference.length >= 2 && memcmp(reference.at, "//", 2) == 0) {
		put_text(&w, base->scheme == SCHEME_HTTPS ? TEXT("https:") : TEXT("http:"));
		put_text(&w, reference);
	} else {
		put_origin(&w, base);
		put_relative(&w, base, reference);
	}
	if (w.full)
		return 0;

	struct text url = bytes_span(out, w.at);
	const char *authority = url.length ? memchr(url.at, ':', url.length) : NULL;
	if (!authority || !begins(authority, w.at, "://"))
		return url.length;
	char *path = out + (authority + 3 - out);
	while (path < w.at && *path != '/' && *path != '?')
		path++;
	char *query = path;
	while (query < w.at && *query != '?')
		query++;
	char *end = remove_dots(path, query);
	memmove(end, query, (size_t)(w.at - query));
	return (size_t)(end + (w.at - query) - out);
}

size_t key_of_location(char *out, size_t size, struct text partition, const struct uri *base,
	struct text reference, const struct text *ignore, size_t n_ignore)
{
	char url[KEY_REFERENCE_MAX];
	struct head head = {.method_id = METHOD_GET};
	struct head_error error;
	struct uri uri;

	if (base->scheme == SCHEME_NONE)
		return 0;
	head.target = (struct text){url, resolve(url, sizeof(url), base, reference)};
	if (head.target.length == 0 || uri_parse(&head, &uri, &error) ||
		!key_same_origin(&uri, base))
		return 0;
	return key_make(out, size, partition, &uri, ignore, n_ignore);
}
