/*
 * The store looks at every response in a thread of its own; the end is told through the loop.
 * A key is "PARTNER[/WHO] URL".
 */
#include "daemon/proxy/purge.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cache/key.h"

#define URL_MAX 4096

enum kind { URL, PREFIX, PARTNER, TAG, N_KINDS };

struct purge {
	struct ev_loop *loop;
	ev_async done;
	enum kind kind;
	atomic_size_t removed; /* the last that the store's thread touches */
	void (*on_done)(void *arg, size_t removed);
	void *arg;
	size_t length;
	char what[URL_MAX];
};

static bool begins(struct text text, struct text with)
{
	return text.length >= with.length && memcmp(text.at, with.at, with.length) == 0;
}

static bool has_word(struct text words, struct text word)
{
	const char *at = words.at, *end = words.at + words.length;

	while (at && at < end) {
		const char *blank = memchr(at, ' ', (size_t)(end - at));
		const char *stop = blank ? blank : end;

		if (text_equal((struct text){at, (size_t)(stop - at)}, word))
			return true;
		at = stop + 1;
	}
	return false;
}

static bool matches(void *arg, const struct stored *stored)
{
	const struct purge *p = arg;
	struct text what = {p->what, p->length}, key = stored->key, url;
	const char *blank = memchr(key.at, ' ', key.length);

	if (!blank)
		return false;
	url = (struct text){blank + 1, (size_t)(key.at + key.length - blank - 1)};
	switch (p->kind) {
	case URL:
		return text_equal(url, what);
	case PREFIX:
		return begins(url, what);
	case PARTNER:
		return begins(key, what) &&
		       (key.at[what.length] == ' ' || key.at[what.length] == '/');
	default:
		return has_word(stored->tags, what);
	}
}

/* In the store's thread. */
static void on_purged(void *arg, size_t removed)
{
	struct purge *p = arg;
	struct ev_loop *loop = p->loop;

	atomic_store(&p->removed, removed);
	ev_async_send(loop, &p->done);
}

static void on_told(struct ev_loop *loop, ev_async *done, int revents)
{
	struct purge *p = done->data;
	void (*on_done)(void *, size_t) = p->on_done;
	size_t removed = atomic_load(&p->removed);
	void *arg = p->arg;

	(void)loop;
	(void)revents;
	purge_free(p);
	on_done(arg, removed);
}

/* The URL as the key has it: canonical host, no default port. */
static int canonical(struct purge *p, const char *url, struct error *e)
{
	struct head head = {
		.method = TEXT("GET"), .method_id = METHOD_GET, .target = text_of(url), .minor = 1};
	struct head_error why;
	struct uri uri;

	if (uri_parse(&head, &uri, &why) || uri.scheme != SCHEME_HTTP)
		return error_set(e, -EINVAL, "%.200s: want a URL such as http://host/path", url);
	p->length = key_make(p->what, sizeof(p->what), TEXT(""), &uri, NULL, 0);
	if (p->length == 0)
		return error_set(e, -EINVAL, "want a shorter URL");
	if (p->what[0] == ' ')
		memmove(p->what, p->what + 1, --p->length);
	return 0;
}

static int parse(struct purge *p, const char *command, struct error *e)
{
	static const char *const kinds[] = {"url ", "prefix ", "partner ", "tag "};
	size_t kind = 0;

	while (kind < N_KINDS && strncmp(command, kinds[kind], strlen(kinds[kind])) != 0)
		kind++;
	if (kind == N_KINDS)
		return error_set(
			e, -EINVAL, "want purge url URL, prefix URL, partner NAME or tag TAG");
	command += strlen(kinds[kind]);
	p->kind = (enum kind)kind;
	if (kind == URL || kind == PREFIX)
		return canonical(p, command, e);
	p->length = strlen(command);
	if (p->length == 0 || p->length >= sizeof(p->what) || strchr(command, ' '))
		return error_set(e, -EINVAL, "want one name without blanks");
	memcpy(p->what, command, p->length);
	return 0;
}

struct purge *purge_start(struct ev_loop *loop, struct store *store, const char *command,
	void (*on_done)(void *arg, size_t removed), void *arg, struct error *e)
{
	struct purge *p = calloc(1, sizeof(*p));
	int error = p ? parse(p, command, e) : error_set(e, -ENOMEM, "out of memory");

	if (error) {
		free(p);
		return NULL;
	}
	p->loop = loop;
	p->on_done = on_done;
	p->arg = arg;
	ev_async_init(&p->done, on_told);
	p->done.data = p;
	ev_async_start(loop, &p->done);
	error = store_purge(store, matches, on_purged, p);
	if (!error)
		return p;
	error_set(e, error, "%s", error == -EBUSY ? "a purge is under way" : strerror(-error));
	purge_free(p);
	return NULL;
}

void purge_free(struct purge *p)
{
	if (!p)
		return;
	ev_async_stop(p->loop, &p->done);
	free(p);
}
