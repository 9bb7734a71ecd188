/*
 * serve.c - an answer from the cache: a stored response, or one that is being written.
 *
 * Its head is the stored one with Age, Cache-Status, Via and the framing of this connection.
 * Small pieces of the body are copied behind it, so that a small answer is one system call;
 * large ones go from the cache's memory to the socket, the first with the head before it.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/cache/multipart.h"
#include "daemon/cache/writer.h"
#include "daemon/proxy/cached.h"
#include "daemon/proxy/fetch.h"
#include "daemon/proxy/worker.h"

#define COPIED 8192          /* bytes of a piece up to which copying is cheaper than a call */
#define AT_ONCE (256 * 1024) /* bytes in one turn of the loop */

static const struct stored *served(const struct cached *k)
{
	return k->fill ? fill_stored(k->fill) : k->stored;
}

/* ---- the head ---- */

struct answer {
	int status;
	char line[128]; /* Content-Range, or Content-Type of several ranges */
};

/* Several ranges, one after the other. */
struct parts {
	struct multipart multipart;
	struct range ranges[RANGES_MAX];
	size_t next; /* whose head is next, or the end */
	char boundary[33];
};

static bool parse(const struct stored *stored, struct head *head, struct field *fields)
{
	struct head_limits limits = {.line = SIZE_MAX / 2, .bytes = SIZE_MAX / 2, .fields = 256};
	struct head_error error;

	*head = (struct head){.fields = fields};
	return head_response(stored->head, &limits, METHOD_HEAD, head, &error) == HEAD_DONE;
}

/* RFC 9110 15.3.7.2.  Without memory the whole is sent (14.2). */
static void select_parts(struct client *c, struct answer *answer, const struct head *stored,
	const struct range *ranges, int n)
{
	struct cached *k = c->exchange->cached;
	const struct field *type = head_field(stored, FIELD_CONTENT_TYPE);
	struct parts *p = calloc(1, sizeof(*p));

	if (!p)
		return;
	memcpy(p->ranges, ranges, (size_t)n * sizeof(*ranges));
	for (int i = 0; i < 4; i++)
		snprintf(p->boundary + 8 * i, 9, "%08x", worker_random(c->worker));
	p->multipart = (struct multipart){.boundary = text_of(p->boundary),
		.type = type ? type->value : TEXT(""),
		.ranges = p->ranges,
		.n_ranges = (size_t)n,
		.length = served(k)->length};
	answer->status = 206;
	snprintf(answer->line, sizeof(answer->line),
		"Content-Type: multipart/byteranges; boundary=%s\r\n", p->boundary);
	k->parts = p;
	k->at = k->end = 0;
}

bool serve_holds(struct client *c, const struct stored *stored)
{
	const struct cache_request *asked = &c->exchange->cached->request;
	struct range ranges[RANGES_MAX];
	struct head request, head;
	struct field fields[256];
	int n;

	if (!asked->range || asked->method != METHOD_GET || !cached_head(c, &request) ||
		!parse(stored, &head, fields) ||
		precondition_check(&request, &head, &stored->meta) != PRECONDITION_NONE)
		return false;
	n = ranges_parse(&request, stored->length, ranges);
	for (int i = 0; i < n; i++)
		if (!store_holds(stored, ranges[i].first, ranges[i].last))
			return false;
	return n > 0;
}

static void one_range(struct cached *k, struct answer *answer, uint64_t first, uint64_t end)
{
	answer->status = 206;
	k->at = first;
	k->end = end;
	snprintf(answer->line, sizeof(answer->line), "Content-Range: bytes %llu-%llu/%llu\r\n",
		(unsigned long long)first, (unsigned long long)end - 1,
		(unsigned long long)served(k)->length);
}

/* RFC 9110 13.2 and 14: which part of it, and under what status. */
static void select_part(struct client *c, struct answer *answer)
{
	struct cached *k = c->exchange->cached;
	const struct stored *s = served(k);
	struct field fields[256];
	struct range ranges[RANGES_MAX];
	struct head request, stored;
	uint64_t first, end;
	int n = 0;

	if (k->fill && fill_is_range(k->fill, &first, &end)) { /* what the origin has selected */
		one_range(k, answer, first, end);
		return;
	}
	if (s->meta.status != 200 || (!k->request.conditional && !k->request.range) ||
		!cached_head(c, &request) || !parse(s, &stored, fields))
		return;
	switch (precondition_check(&request, &stored, &s->meta)) {
	case PRECONDITION_304:
		answer->status = 304;
		return;
	case PRECONDITION_WHOLE:
		return;
	case PRECONDITION_NONE:
		break;
	}
	if (k->request.range && k->request.method == METHOD_GET && s->length != UINT64_MAX)
		n = ranges_parse(&request, s->length, ranges);
	if (n < 0) {
		answer->status = 416;
		snprintf(answer->line, sizeof(answer->line), "Content-Range: bytes */%llu\r\n",
			(unsigned long long)s->length);
	}
	if (n > 1)
		select_parts(c, answer, &stored, ranges, n);
	if (n == 1)
		one_range(k, answer, ranges[0].first, ranges[0].last + 1);
}

/* What a 304 repeats (RFC 9110 15.4.5), and what it would have no body for. */
static bool is_for_304(const struct field *field)
{
	switch (field->id) {
	case FIELD_CACHE_CONTROL:
	case FIELD_CDN_CACHE_CONTROL:
	case FIELD_CONTENT_LOCATION:
	case FIELD_DATE:
	case FIELD_ETAG:
	case FIELD_EXPIRES:
	case FIELD_LAST_MODIFIED:
	case FIELD_VARY:
	case FIELD_VIA:
		return true;
	default:
		return text_equal_nocase(field->name, TEXT("set-cookie"));
	}
}

static void put_fields_304(struct writer *w, const struct stored *s)
{
	struct field fields[256];
	struct head head;

	if (!parse(s, &head, fields))
		return;
	for (size_t i = 0; i < head.n_fields; i++)
		if (is_for_304(&fields[i]))
			put_parsed(w, &fields[i]);
}

/* Each part has the Content-Type of the whole. */
static void put_fields_parts(struct writer *w, const struct stored *s)
{
	struct field fields[256];
	struct head head;

	if (!parse(s, &head, fields))
		return;
	for (size_t i = 0; i < head.n_fields; i++)
		if (fields[i].id != FIELD_CONTENT_TYPE)
			put_parsed(w, &fields[i]);
}

static struct text status_line(int status)
{
	switch (status) {
	case 206:
		return TEXT("HTTP/1.1 206 Partial Content\r\n");
	case 304:
		return TEXT("HTTP/1.1 304 Not Modified\r\n");
	default:
		return TEXT("HTTP/1.1 416 Range Not Satisfiable\r\n");
	}
}

/* The stored head, or the line of another status and the fields that go with it. */
static void put_stored(struct writer *w, const struct cached *k, const struct answer *answer)
{
	const struct stored *s = served(k);
	const char *end = s->head.at + s->head.length - 2, *fields;

	if (answer->status == s->meta.status) {
		put(w, s->head.at, (size_t)(end - s->head.at));
		return;
	}
	put_text(w, status_line(answer->status));
	if (answer->status == 304)
		put_fields_304(w, s);
	if (answer->status == 206 && k->parts) {
		put_fields_parts(w, s);
	} else if (answer->status == 206) {
		fields = (const char *)memchr(s->head.at, '\n', s->head.length) + 1;
		put(w, fields, (size_t)(end - fields));
	}
	put_text(w, text_of(answer->line));
}

static void put_framing(struct client *c, struct writer *w, const struct answer *answer)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	bool sized = k->end != UINT64_MAX;

	k->chunks = !sized && x->minor == 1;
	c->keep_alive =
		c->keep_alive && (sized || k->chunks) && !c->worker->draining && !c->conn.eof;
	if (answer->status == 304 || answer->status == 204) {
		;
	} else if (sized) {
		PUT(w, "Content-Length: ");
		put_number(w, k->parts ? multipart_length(&k->parts->multipart) : k->end - k->at);
		PUT(w, "\r\n");
	} else if (k->chunks) {
		PUT(w, "Transfer-Encoding: chunked\r\n");
	}
	if (!c->keep_alive)
		PUT(w, "Connection: close\r\n");
	else if (x->minor == 0)
		PUT(w, "Connection: keep-alive\r\n");
}

static void put_age(struct client *c, struct writer *w, const struct answer *answer)
{
	const struct stored *s = served(c->exchange->cached);

	if (answer->status < 400 || answer->status == s->meta.status) {
		PUT(w, "Age: ");
		put_number(w, (uint64_t)cache_age(&s->meta, (int64_t)ev_now(c->worker->loop)));
	} else {
		PUT(w, "Date: ");
		put_text(w, text_of(worker_date(c->worker)));
	}
	PUT(w, "\r\n");
}

#define EXTRA 1024 /* bytes of what is put behind the stored fields */

static enum next put_head(struct client *c, const struct answer *answer)
{
	struct exchange *x = c->exchange;
	const struct stored *s = served(x->cached);
	struct buffer *out = conn_out(&c->conn, &c->worker->buffers, s->head.length + EXTRA);
	char lines[CACHED_LINES];
	struct writer w;

	if (!out)
		return CLOSE;
	w = (struct writer){out->data + out->end, out->data + out->size, false};
	put_stored(&w, x->cached, answer);
	put_age(c, &w, answer);
	put(&w, lines, cached_lines(x, lines));
	put_via(&w, s->meta.minor, text_of(x->generation->config->name));
	put_framing(c, &w, answer);
	PUT(&w, "\r\n");
	CHECK(!w.full);
	out->end = (uint32_t)(w.at - out->data);
	return AGAIN;
}

enum next serve_begin(struct client *c)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	const struct stored *s = served(k);
	struct answer answer = {.status = s->meta.status};

	if (k->background)
		return CLOSE;
	cached_cancel(k);
	k->at = 0;
	k->end = s->length;
	select_part(c, &answer);
	k->no_body = x->method == METHOD_HEAD || answer.status == 304 || answer.status == 416;
	if (answer.status == 416)
		k->at = k->end = 0;
	x->record.status = answer.status;
	x->record.first_byte = c->worker->now - x->began;
	x->final = true;
	if (put_head(c, &answer) == CLOSE)
		return CLOSE;
	if (k->no_body)
		k->end = k->at;
	buffer_put(&c->worker->buffers, x->request);
	buffer_put(&c->worker->buffers, k->sent);
	x->request = k->sent = NULL;
	return client_enter(c, CLIENT_SERVE, x->generation->config->relay_timeout);
}

/* ---- the body ---- */

static void append(struct buffer *out, const char *bytes, size_t n)
{
	memcpy(out->data + out->end, bytes, n);
	out->end += (uint32_t)n;
}

/* Behind what waits in `out`, framed.  How much was taken; 0: no room. */
static size_t copy(struct client *c, const struct piece *piece)
{
	struct cached *k = c->exchange->cached;
	struct buffer *out = conn_out(&c->conn, &c->worker->buffers, CHUNK_HEAD + 8);
	size_t n = piece->length;

	if (!out || buffer_room(out) <= CHUNK_HEAD + 8)
		return 0;
	if (n > buffer_room(out) - CHUNK_HEAD - 8)
		n = buffer_room(out) - CHUNK_HEAD - 8;
	if (k->chunks)
		out->end += (uint32_t)chunk_head(out->data + out->end, n);
	append(out, piece->at, n);
	if (k->chunks)
		append(out, "\r\n", 2);
	return n;
}

static enum next cut(struct client *c, enum ending ending, const char *detail)
{
	c->exchange->record.ending = ending;
	c->exchange->record.detail = detail;
	client_reset(c);
	return CLOSE;
}

static enum next whole(struct client *c)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	int error;

	if (k->chunks && !k->no_body) {
		struct buffer *out = conn_out(&c->conn, &c->worker->buffers, 8);

		if (!out)
			return cut(c, ENDING_FULL, "out of memory");
		append(out, CHUNK_LAST, sizeof(CHUNK_LAST) - 1);
		k->chunks = false;
	}
	error = conn_send(&c->conn, &c->worker->buffers);
	if (error == -EAGAIN)
		return WAIT;
	if (error)
		return cut(c, ENDING_CLIENT_GONE, NULL);
	x->record.ending = ENDING_DONE;
	return client_next(c);
}

static enum next wait_for_more(struct client *c)
{
	struct cached *k = c->exchange->cached;
	bool waits;

	k->waits = k->fill ? WAITS_FILL : WAITS_STORED;
	waits = k->fill ? fill_wait(k->fill, k->at, &k->ready.waiter)
			: store_wait(k->stored, k->at, &k->ready.waiter);
	if (waits)
		return WAIT;
	k->waits = WAITS_NOT;
	return AGAIN;
}

/* The writer has failed.  Or it could not go on, and this is the client that it works for. */
static enum next no_more(struct client *c)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	uint64_t first = 0, end = served(k)->length;

	/* Of a range of the fill the rest would be something else. */
	if (k->fetch && k->fill && !fill_is_range(k->fill, &first, &end))
		end = served(k)->length;
	if (k->fetch && !k->parts && k->end == end &&
		fetch_hand_back(k->fetch, x, k->at - first, k->chunks)) {
		fill_put(k->fill); /* it holds room */
		k->fill = NULL;
		k->written = false;
		return client_enter(c, CLIENT_RELAY, x->generation->config->relay_timeout);
	}
	return cut(c, ENDING_ORIGIN_GONE, "the response ended before it was complete");
}

static bool is_end(const struct cached *k)
{
	return k->no_body || (k->at == k->end && !k->parts);
}

/* What stands before the next range, or behind the last.  False: no memory. */
static bool next_part(struct client *c)
{
	struct cached *k = c->exchange->cached;
	struct parts *p = k->parts;
	size_t room = p->multipart.type.length + 256, n;
	struct buffer *out = conn_out(&c->conn, &c->worker->buffers, room);

	if (!out)
		return false;
	n = multipart_head(out->data + out->end, buffer_room(out), &p->multipart, p->next);
	CHECK(n > 0);
	out->end += (uint32_t)n;
	if (p->next == p->multipart.n_ranges) {
		free(p);
		k->parts = NULL;
		return true;
	}
	k->at = p->ranges[p->next].first;
	k->end = p->ranges[p->next++].last + 1;
	return true;
}

static enum next send_body(struct client *c)
{
	struct exchange *x = c->exchange;
	struct cached *k = x->cached;
	uint64_t most = x->record.to_client + AT_ONCE;

	while (!is_end(k) && x->record.to_client < most) {
		struct piece piece;
		enum store_result r;
		ssize_t n;

		if (k->at == k->end) {
			if (!next_part(c))
				return cut(c, ENDING_FULL, "out of memory");
			continue;
		}
		r = k->fill ? fill_read(k->fill, k->at, &piece)
			    : store_read(k->stored, k->at, &piece);
		if (r == STORE_FAILED)
			return buffer_held(c->conn.out) ? WAIT : no_more(c);
		if (r == STORE_LATER)
			return buffer_held(c->conn.out) ? WAIT : wait_for_more(c);
		if (piece.length == 0) { /* the end, now that it is known */
			k->end = k->at;
			break;
		}
		if (k->end != UINT64_MAX && piece.length > k->end - k->at)
			piece.length = (size_t)(k->end - k->at);
		if (k->chunks || piece.length <= COPIED) {
			n = (ssize_t)copy(c, &piece);
			if (n == 0)
				return WAIT;
		} else {
			n = conn_send_with(&c->conn, &c->worker->buffers,
				(struct text){piece.at, piece.length});
			if (n == -EAGAIN)
				return WAIT;
			if (n == -EFAULT) /* the file has become shorter */
				return no_more(c);
			if (n < 0)
				return cut(c, ENDING_CLIENT_GONE, NULL);
		}
		k->at += (uint64_t)n;
		x->record.to_client += (uint64_t)n;
		client_enter(c, CLIENT_SERVE, x->generation->config->relay_timeout);
	}
	return AGAIN;
}

enum next cached_serve(struct client *c)
{
	struct cached *k = c->exchange->cached;

	if (!client_watch(c))
		return cut(c, ENDING_CLIENT_GONE, NULL);
	if (k->waits != WAITS_NOT)
		return WAIT;
	for (;;) {
		enum next next = is_end(k) ? AGAIN : send_body(c);
		bool held = buffer_held(c->conn.out) > 0;
		int error;

		if (next == CLOSE || (next == AGAIN && c->state != CLIENT_SERVE))
			return next;
		if (is_end(k))
			return whole(c);
		if (next == WAIT && !held)
			return WAIT;
		error = conn_send(&c->conn, &c->worker->buffers);
		if (error == -EAGAIN)
			return WAIT;
		if (error)
			return cut(c, ENDING_CLIENT_GONE, NULL);
		if (next == AGAIN)
			return AGAIN; /* the driver lets others have a turn after some */
	}
}

void serve_wants(const struct client *c, int *events)
{
	if (!c->conn.in)
		*events |= EV_READ;
	if (c->conn.blocked)
		*events |= EV_WRITE;
}
