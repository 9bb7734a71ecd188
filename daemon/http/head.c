/*
 * head.c - the head of an HTTP/1 message, strictly.
 *
 * head_find() waits for the empty line; then one pass over the bytes splits them into
 * spans, and every field that says something about the message itself is read as it goes by
 * (field_means).  What the fields say together, such as where the body ends, is decided
 * behind the last one (RFC 9112 6.3).
 *
 * Each parsing step answers like the whole: HEAD_DONE it is read and `at` stands behind it,
 * HEAD_MORE the bytes end before it does, HEAD_BAD.
 */
#include "daemon/http/head.h"

#include "daemon/http/bytes.h"
#include "daemon/http/field.h"

#define OPTIONS_MAX 16 /* names in Connection, close and keep-alive aside */

struct parse {
	const char *at, *end;
	const struct head_limits *limits;
	struct head *head;
	struct head_error *error;
	bool request;
	bool chunked;
	bool host; /* a Host field was there */
	bool expect;
	bool close, persist; /* what Connection says */
	size_t n_options;    /* what else it names */
	struct text asked;   /* the protocols, of a response */
	struct text options[OPTIONS_MAX];
};

static __attribute__((cold)) enum head_result bad(struct parse *p, int status, const char *text)
{
	*p->error = (struct head_error){p->request ? status : 502, text};
	return HEAD_BAD;
}

/* Can these bytes be the beginning of a start line?  Answers "no" to a TLS handshake at once. */
static bool may_start(struct text in, size_t start, bool request)
{
	size_t length = in.length - start;
	if (!request)
		return memcmp(in.at, "HTTP/", length < 5 ? length : 5) == 0;
	return length == 0 || byte_is(in.at[start], BYTE_TOKEN) ||
	       (start == 0 && length == 1 && in.at[0] == '\r');
}

enum head_result head_find(struct text in, bool request, size_t *seen,
	const struct head_limits *limits, struct head_error *error)
{
	struct parse p = {.error = error, .request = request};
	size_t end = in.length < limits->bytes ? in.length : limits->bytes;
	bool blank = request && in.length >= 2 && memcmp(in.at, "\r\n", 2) == 0;
	size_t start = blank ? 2 : 0;
	size_t border = start + limits->line + 2; /* the first line has ended before it */

	if (in.length > 0 && !may_start(in, start, request))
		return bad(&p, 400, "start line: this is not HTTP/1");
	if (*seen < border && end >= border && !memchr(in.at + start, '\n', border - start))
		return bad(&p, 414, "start line: longer than the limit");
	while (*seen < end) {
		const char *lf = memchr(in.at + *seen, '\n', end - *seen);
		if (!lf) {
			*seen = end;
			break;
		}
		*seen = (size_t)(lf - in.at) + 1;
		if (*seen <= start)
			continue;
		if (lf[-1] != '\r')
			return bad(&p, 400, "line end: want CRLF, not LF alone");
		if (lf[-2] == '\n')
			return HEAD_DONE;
	}
	if (in.length >= limits->bytes)
		return bad(&p, 431, "head: more bytes than the limit");
	return HEAD_MORE;
}

static enum head_result line_end(struct parse *p, const char *text)
{
	if (p->end - p->at >= 2 && p->at[0] == '\r' && p->at[1] == '\n') {
		p->at += 2;
		return HEAD_DONE;
	}
	if (p->at == p->end || (p->at + 1 == p->end && *p->at == '\r'))
		return HEAD_MORE;
	return bad(p, 400, text);
}

static enum head_result version(struct parse *p)
{
	const char *v = p->at;
	if (p->end - v < 8) {
		if (memcmp(v, "HTTP/1.", p->end - v < 7 ? (size_t)(p->end - v) : 7) == 0)
			return HEAD_MORE;
		return bad(p, 400, "version: want HTTP/1.1 or HTTP/1.0");
	}
	p->at += 8;
	if (memcmp(v, "HTTP/1.", 7) == 0 && (v[7] == '0' || v[7] == '1')) {
		p->head->minor = v[7] - '0';
		return HEAD_DONE;
	}
	if (memcmp(v, "HTTP/", 5) == 0 && byte_is(v[5], BYTE_DIGIT) && v[6] == '.' &&
		byte_is(v[7], BYTE_DIGIT))
		return bad(p, 505, "version: want HTTP/1.1 or HTTP/1.0");
	return bad(p, 400, "version: want HTTP/1.1 or HTTP/1.0");
}

static enum method method_id_of(struct text method)
{
	static const struct {
		struct text name;
		enum method id;
	} known[] = {
		{TEXT("GET"), METHOD_GET},
		{TEXT("CONNECT"), METHOD_CONNECT},
		{TEXT("POST"), METHOD_POST},
		{TEXT("HEAD"), METHOD_HEAD},
		{TEXT("PUT"), METHOD_PUT},
		{TEXT("DELETE"), METHOD_DELETE},
		{TEXT("PATCH"), METHOD_PATCH},
		{TEXT("OPTIONS"), METHOD_OPTIONS},
		{TEXT("TRACE"), METHOD_TRACE},
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (text_equal(method, known[i].name))
			return known[i].id;
	return METHOD_OTHER;
}

static enum head_result request_line(struct parse *p)
{
	const char *const want = "request line: want METHOD SP TARGET SP HTTP/1.1";
	enum head_result result = HEAD_DONE;

	if (p->at < p->end && *p->at == '\r')
		result = line_end(p, want); /* the empty line before it */
	if (result != HEAD_DONE)
		return result;
	const char *start = p->at;
	p->at = bytes_skip(start, p->end, BYTE_TOKEN);
	p->head->method = bytes_span(start, p->at);
	if (p->head->method.length > METHOD_MAX)
		return bad(p, 501, "method: longer than 64 bytes");
	if (p->at == p->end)
		return HEAD_MORE;
	if (p->at == start || *p->at++ != ' ')
		return bad(p, 400, want);
	p->head->method_id = method_id_of(p->head->method);

	const char *target = p->at;
	p->at = bytes_skip_visible(target, p->end);
	p->head->target = bytes_span(target, p->at);
	if (p->at == p->end)
		return HEAD_MORE;
	if (p->at == target || *p->at++ != ' ')
		return bad(p, 400, want);

	result = version(p);
	if (result == HEAD_DONE)
		result = line_end(p, want);
	if (result == HEAD_DONE && (size_t)(p->at - start) > p->limits->line + 2)
		return bad(p, 414, "request line: longer than the limit");
	return result;
}

/* SP and three digits, as far as they are there. */
static bool may_be_code(const char *at, size_t length)
{
	return (length < 1 || at[0] == ' ') && (length < 2 || (at[1] >= '1' && at[1] <= '5')) &&
	       (length < 3 || byte_is(at[2], BYTE_DIGIT)) &&
	       (length < 4 || byte_is(at[3], BYTE_DIGIT));
}

static enum head_result status_line(struct parse *p)
{
	const char *const want = "status line: want HTTP/1.1 SP 100-599 SP PHRASE";
	const char *start = p->at;

	enum head_result result = version(p);
	if (result != HEAD_DONE)
		return result;
	const char *code = p->at;
	if (!may_be_code(code, (size_t)(p->end - code)))
		return bad(p, 502, want);
	if (p->end - code < 5)
		return HEAD_MORE;
	p->head->status = (code[1] - '0') * 100 + (code[2] - '0') * 10 + (code[3] - '0');
	p->at = code + 4;
	if (*p->at == ' ') {
		const char *phrase = ++p->at;
		p->at = bytes_skip_value(phrase, p->end);
		p->head->phrase = bytes_span(phrase, p->at);
	}
	result = line_end(p, want);
	if (result == HEAD_DONE && (size_t)(p->at - start) > p->limits->line + 2)
		return bad(p, 502, "status line: longer than the limit");
	return result;
}

static enum head_result connection_means(struct parse *p, struct text list)
{
	struct text option;
	while (list_next(&list, &option)) {
		const char *end = option.at + option.length;
		if (bytes_skip(option.at, end, BYTE_TOKEN) != end)
			return bad(p, 400, "Connection: want a list of names");
		if (option.length == 0)
			continue;
		if (text_equal_nocase(option, TEXT("close")))
			p->close = true;
		else if (text_equal_nocase(option, TEXT("keep-alive")))
			p->persist = true;
		else if (p->n_options == OPTIONS_MAX)
			return bad(p, 431, "Connection: names too many fields");
		else
			p->options[p->n_options++] = option;
	}
	return HEAD_DONE;
}

static enum head_result content_length_means(struct parse *p, struct text value)
{
	if (p->head->content_length >= 0)
		return bad(p, 400, "Content-Length: want it once");
	p->head->content_length = field_number(value);
	if (p->head->content_length < 0)
		return bad(p, 400, "Content-Length: want one decimal number");
	return HEAD_DONE;
}

/* Names of codings with "chunked" as the last and nowhere else: understood, but refused. */
static bool ends_in_chunked(struct text codings)
{
	struct text coding;
	bool chunked = false;
	while (list_next(&codings, &coding)) {
		const char *end = coding.at + coding.length;
		if (chunked || coding.length == 0 || bytes_skip(coding.at, end, BYTE_TOKEN) != end)
			return false;
		chunked = text_equal_nocase(coding, TEXT("chunked"));
	}
	return chunked;
}

static enum head_result transfer_encoding_means(struct parse *p, struct text value)
{
	if (p->chunked)
		return bad(p, 400, "Transfer-Encoding: want it once");
	p->chunked = text_equal_nocase(value, TEXT("chunked"));
	if (p->chunked)
		return HEAD_DONE;
	if (ends_in_chunked(value))
		return bad(p, 501, "Transfer-Encoding: want chunked and no other coding");
	return bad(p, 400, "Transfer-Encoding: want chunked, as the last coding");
}

static enum head_result host_means(struct parse *p, struct text value)
{
	if (p->host)
		return bad(p, 400, "Host: want it once");
	if (!host_is_plausible(value))
		return bad(p, 400, "Host: want host or host:port");
	p->host = true;
	p->head->host = value;
	return HEAD_DONE;
}

static enum head_result expect_means(struct parse *p, struct text value)
{
	if (!text_equal_nocase(value, TEXT("100-continue")))
		return bad(p, 417, "Expect: want 100-continue");
	p->expect = true;
	return HEAD_DONE;
}

static enum head_result max_forwards_means(struct parse *p, struct text value)
{
	if (p->head->method_id != METHOD_TRACE && p->head->method_id != METHOD_OPTIONS)
		return HEAD_DONE;
	if (p->head->max_forwards >= 0)
		return bad(p, 400, "Max-Forwards: want it once");
	p->head->max_forwards = field_number(value);
	if (p->head->max_forwards < 0)
		return bad(p, 400, "Max-Forwards: want one decimal number");
	return HEAD_DONE;
}

/* RFC 9110 5.5 allows tabs there, but llhttp for one reads "chunked TAB" as another coding. */
static bool has_tab_beside(struct text value)
{
	const char *before = value.at, *behind = value.at + value.length;
	while (before[-1] == ' ')
		before--;
	while (*behind == ' ')
		behind++;
	return before[-1] == '\t' || *behind == '\t';
}

static enum head_result field_means(struct parse *p, const struct field *field)
{
	switch (field->id) {
	case FIELD_CONNECTION:
		return connection_means(p, field->value);
	case FIELD_CONTENT_LENGTH:
		if (has_tab_beside(field->value))
			return bad(p, 400, "Content-Length: a tab beside the number");
		return content_length_means(p, field->value);
	case FIELD_TRANSFER_ENCODING:
		if (has_tab_beside(field->value))
			return bad(p, 400, "Transfer-Encoding: a tab beside the coding");
		return transfer_encoding_means(p, field->value);
	case FIELD_HOST:
		return p->request ? host_means(p, field->value) : HEAD_DONE;
	case FIELD_TE:
		p->head->trailers |= p->request && list_has(field->value, TEXT("trailers"));
		return HEAD_DONE;
	case FIELD_EXPECT:
		return p->request ? expect_means(p, field->value) : HEAD_DONE;
	case FIELD_MAX_FORWARDS:
		return p->request ? max_forwards_means(p, field->value) : HEAD_DONE;
	default:
		return HEAD_DONE;
	}
}

static enum head_result field_line(struct parse *p)
{
	struct head *head = p->head;
	const char *start = p->at;
	const char *colon = bytes_skip(start, p->end, BYTE_TOKEN);

	if (colon == p->end)
		return HEAD_MORE;
	if (colon == start || *colon != ':')
		return bad(p, 400, "field line: want NAME: VALUE");
	const char *value = bytes_skip_space(colon + 1, p->end);
	const char *stop = p->at = bytes_skip_value(value, p->end);
	enum head_result result =
		line_end(p, "field value: a control byte, or a line end not CRLF");
	if (result != HEAD_DONE)
		return result;
	if (head->n_fields == p->limits->fields)
		return bad(p, 431, "head: more fields than the limit");
	while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t'))
		stop--;

	struct field *field = &head->fields[head->n_fields++];
	field->name = bytes_span(start, colon);
	field->value = bytes_span(value, stop);
	field->id = field_id_of(field->name);
	field->hop = field_is_hop(field->id);
	return field->id == FIELD_OTHER ? HEAD_DONE : field_means(p, field);
}

static enum head_result field_lines(struct parse *p)
{
	while (p->at < p->end) {
		if (*p->at == '\r')
			return line_end(p, "line end: CR alone");
		enum head_result result = field_line(p);
		if (result != HEAD_DONE)
			return result;
	}
	return HEAD_MORE;
}

static bool is_option(const struct parse *p, struct text name)
{
	for (size_t i = 0; i < p->n_options; i++)
		if (text_equal_nocase(p->options[i], name))
			return true;
	return false;
}

static void mark_named_fields(struct parse *p)
{
	if (p->n_options == 0)
		return;
	for (size_t i = 0; i < p->head->n_fields; i++) {
		struct field *field = &p->head->fields[i];
		if (!field_is_for_every_hop(field->id) && is_option(p, field->name))
			field->hop = true;
	}
}

/* Lengths that contradict each other are how requests are smuggled (RFC 9112 6.1, 6.3). */
static enum head_result framing_is_clear(struct parse *p)
{
	if (p->chunked && p->head->content_length >= 0)
		return bad(p, 400, "Transfer-Encoding and Content-Length: want one of them");
	if (p->chunked && p->head->minor == 0)
		return bad(p, 400, "Transfer-Encoding: HTTP/1.0 has none");
	return HEAD_DONE;
}

/* Connection has to name it (RFC 9110 7.8), and one line is all that anybody sends. */
static struct text upgrade_of(const struct parse *p)
{
	const struct field *upgrade = NULL;
	struct text none = {NULL, 0};

	if (p->head->minor == 0 || !is_option(p, TEXT("upgrade")))
		return none;
	for (size_t i = 0; i < p->head->n_fields; i++) {
		if (p->head->fields[i].id != FIELD_UPGRADE)
			continue;
		if (upgrade)
			return none;
		upgrade = &p->head->fields[i];
	}
	return upgrade && protocols_are_carried(upgrade->value) ? upgrade->value : none;
}

static void take_body(struct parse *p, enum body without)
{
	struct head *head = p->head;
	head->body = p->chunked ? BODY_CHUNKED : head->content_length >= 0 ? BODY_LENGTH : without;
	if (head->body == BODY_LENGTH)
		head->body_length = (uint64_t)head->content_length;
}

static enum head_result request_is(struct parse *p)
{
	struct head *head = p->head;
	if (!p->host && head->minor == 1)
		return bad(p, 400, "Host: HTTP/1.1 wants it");
	if (head->method_id == METHOD_CONNECT && (p->chunked || head->content_length > 0))
		return bad(p, 400, "CONNECT: want no body");
	if (head->method_id == METHOD_TRACE && (p->chunked || head->content_length > 0))
		return bad(p, 400, "TRACE: want no body");
	if (head->method_id != METHOD_CONNECT)
		take_body(p, BODY_NONE);
	head->trailers &= head->minor == 1;
	head->expect_continue = p->expect && head->minor == 1 &&
				(head->body == BODY_CHUNKED || head->body_length > 0);
	if (head->method_id == METHOD_GET && head->body != BODY_CHUNKED && head->body_length == 0)
		head->upgrade = upgrade_of(p);
	return HEAD_DONE;
}

static enum head_result response_is(struct parse *p, enum method request)
{
	struct head *head = p->head;
	bool claims_body = p->chunked || head->content_length > 0;

	if (head->status == 101 || head->status == 426)
		head->upgrade = upgrade_of(p);
	if (head->status == 101 && !list_has_all(p->asked, head->upgrade))
		return bad(p, 502, "101: nobody asked for this Upgrade");
	if (head->status < 200 && claims_body)
		return bad(p, 502, "1xx: want no body");
	if (head->status < 200 || head->status == 204 ||
		(request == METHOD_CONNECT && head->status < 300)) {
		head->content_length = -1;
		head->keep_alive &= !claims_body; /* the origin may send one yet */
	} else if (head->status != 304 && request != METHOD_HEAD) {
		take_body(p, BODY_CLOSE);
		head->keep_alive &= head->body != BODY_CLOSE;
	}
	return HEAD_DONE;
}

static enum head_result parse(struct parse *p, struct text in, enum method request)
{
	size_t length = in.length < p->limits->bytes ? in.length : p->limits->bytes;
	struct head *head = p->head;

	*head = (struct head){.fields = head->fields, .content_length = -1, .max_forwards = -1};
	p->at = in.at;
	p->end = in.at + length;
	enum head_result result = p->request ? request_line(p) : status_line(p);
	if (result == HEAD_DONE)
		result = field_lines(p);
	if (result == HEAD_MORE && in.length >= p->limits->bytes)
		return bad(p, 431, "head: more bytes than the limit");
	if (result == HEAD_DONE)
		result = framing_is_clear(p);
	if (result != HEAD_DONE)
		return result;

	head->length = (size_t)(p->at - in.at);
	head->keep_alive = !p->close && (head->minor == 1 || p->persist);
	mark_named_fields(p);
	return p->request ? request_is(p) : response_is(p, request);
}

enum head_result head_request(struct text in, const struct head_limits *limits, struct head *head,
	struct head_error *error)
{
	struct parse p;
	memset(&p, 0, offsetof(struct parse, options));
	p.limits = limits;
	p.head = head;
	p.error = error;
	p.request = true;
	return parse(&p, in, METHOD_OTHER);
}

enum head_result head_response(struct text in, const struct head_limits *limits,
	enum method request, struct head *head, struct head_error *error)
{
	struct parse p;
	memset(&p, 0, offsetof(struct parse, options));
	p.limits = limits;
	p.head = head;
	p.error = error;
	p.asked = head->upgrade;
	return parse(&p, in, request);
}
