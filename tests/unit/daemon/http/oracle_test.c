/*
 * oracle_test.c - llhttp's opinion on what our parsers take.
 *
 * Whatever egret takes, llhttp (strict) must read in the same way: start line, fields, framing,
 * body.  The other direction does not hold, and the table `stricter` says where.  Inputs are a
 * corpus and seeded mutations of it, so that a failure comes back.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <llhttp.h>

#include "base/check.h"
#include "daemon/http/chunk.h"
#include "daemon/http/head.h"
#include "daemon/http/uri.h"

#define FIELDS 32
#define SIZE 1024
#define ROUNDS 200000

static const struct head_limits limits = {.line = SIZE, .bytes = SIZE, .fields = FIELDS};

struct span {
	char bytes[SIZE];
	size_t length;
};

/* What llhttp read. */
struct oracle {
	struct span method, target, body;
	struct span names[FIELDS], values[FIELDS];
	size_t n_fields;
	bool in_value;
	bool head_done, done;
	int flags; /* of llhttp, at the end of the head */
	bool keep_alive;
	bool stop_at_body;
};

static int append(struct span *span, const char *at, size_t length)
{
	if (span->length + length > SIZE)
		return -1;
	memcpy(span->bytes + span->length, at, length);
	span->length += length;
	return 0;
}

static int on_method(llhttp_t *parser, const char *at, size_t length)
{
	return append(&((struct oracle *)parser->data)->method, at, length);
}

static int on_url(llhttp_t *parser, const char *at, size_t length)
{
	return append(&((struct oracle *)parser->data)->target, at, length);
}

static int on_header_field(llhttp_t *parser, const char *at, size_t length)
{
	struct oracle *o = parser->data;
	if (o->head_done)
		return 0; /* a trailer */
	if (o->in_value)
		o->n_fields++;
	o->in_value = false;
	return o->n_fields < FIELDS ? append(&o->names[o->n_fields], at, length) : -1;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t length)
{
	struct oracle *o = parser->data;
	o->in_value = true;
	return o->head_done ? 0 : append(&o->values[o->n_fields], at, length);
}

static int on_headers_complete(llhttp_t *parser)
{
	struct oracle *o = parser->data;
	o->head_done = true;
	o->n_fields += o->in_value;
	o->flags = parser->flags;
	o->keep_alive = llhttp_should_keep_alive(parser);
	return o->stop_at_body ? HPE_PAUSED : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t length)
{
	return append(&((struct oracle *)parser->data)->body, at, length);
}

static int on_message_complete(llhttp_t *parser)
{
	((struct oracle *)parser->data)->done = true;
	return HPE_PAUSED;
}

static void ask(struct oracle *o, llhttp_t *parser, llhttp_type_t type, struct text in)
{
	static llhttp_settings_t settings;
	llhttp_settings_init(&settings);
	settings.on_method = on_method;
	settings.on_url = on_url;
	settings.on_header_field = on_header_field;
	settings.on_header_value = on_header_value;
	settings.on_headers_complete = on_headers_complete;
	settings.on_body = on_body;
	settings.on_message_complete = on_message_complete;
	llhttp_init(parser, type, &settings);
	parser->data = o;
	llhttp_execute(parser, in.at, in.length);
}

static void init(struct oracle *o, bool stop_at_body)
{
	o->method.length = o->target.length = o->body.length = o->n_fields = 0;
	for (size_t i = 0; i < FIELDS; i++)
		o->names[i].length = o->values[i].length = 0;
	o->in_value = o->head_done = o->done = false;
	o->stop_at_body = stop_at_body;
}

static bool same(struct span *span, struct text text)
{
	while (span->length && strchr(" \t", span->bytes[span->length - 1]))
		span->length--; /* llhttp leaves the white space behind a value to its caller */
	return text_equal((struct text){span->bytes, span->length}, text);
}

static void differ(const char *what, struct text in)
{
	fprintf(stderr, "%s differs in:\n%.*s\n", what, (int)in.length, in.at);
	fail_msg("%s differs", what);
}

/* Where llhttp refuses a body that the RFC allows: its reason, and the bytes that bring it about.
 */
static const struct {
	const char *reason;
	const char *bytes;
} narrower[] = {
	{"Invalid character in chunk size", " \t"},           /* BWS before ";": RFC 9112 7.1.1 */
	{"Invalid character in chunk extensions", " \t\"\\"}, /* BWS, and escapes in quotes */
	/* It reads trailers as if they were in the head.  We drop them. */
	{"Transfer-Encoding", "\n"},
	{"Content-Length", "\n"},
};

static void refuse_body(const llhttp_t *parser, struct text in)
{
	const char *reason = llhttp_get_error_reason(parser);
	for (size_t i = 0; i < COUNT_OF(narrower); i++)
		for (size_t at = 0; at < in.length; at++)
			if (reason && strstr(reason, narrower[i].reason) && in.at[at] &&
				strchr(narrower[i].bytes, in.at[at]))
				return;
	differ(reason ? reason : "end", in);
}

static void compare_fields(struct oracle *o, const struct head *head, struct text in)
{
	if (o->n_fields != head->n_fields)
		differ("number of fields", in);
	for (size_t i = 0; i < head->n_fields; i++) {
		if (!same(&o->names[i], head->fields[i].name))
			differ("field name", in);
		if (!same(&o->values[i], head->fields[i].value))
			differ("field value", in);
	}
}

static bool has_byte(struct text in, char byte)
{
	return memchr(in.at, byte, in.length) != NULL;
}

static void compare_framing(
	const struct oracle *o, const llhttp_t *parser, const struct head *head, struct text in)
{
	bool has_length = o->flags & F_CONTENT_LENGTH, chunked = o->flags & F_CHUNKED;
	if (parser->http_major != 1 || parser->http_minor != head->minor)
		differ("version", in);
	if (head->body == BODY_LENGTH &&
		(!has_length || parser->content_length != head->body_length))
		differ("length", in);
	if ((head->body == BODY_CHUNKED && !chunked) ||
		(head->body == BODY_LENGTH && (o->flags & F_TRANSFER_ENCODING)))
		differ("coding", in);
	/* It reads "Proxy-Connection" like "Connection", and "close TAB" as another option. */
	bool comparable = !head_field(head, FIELD_PROXY_CONNECTION) && !has_byte(in, '\t');
	if (comparable && head->keep_alive && !o->keep_alive)
		differ("persistence", in);
}

/* llhttp has a list of methods, and reads some of them as other protocols'. */
static bool is_known_to_llhttp(const struct head *head)
{
	return head->method_id != METHOD_OTHER;
}

/* True when egret takes it, and then llhttp has read the same. */
static bool compare_request(struct oracle *o, struct text in)
{
	struct field fields[FIELDS];
	struct head head = {.fields = fields};
	struct head_error error;
	struct uri uri;
	llhttp_t parser;

	if (head_request(in, &limits, &head, &error) != HEAD_DONE ||
		uri_parse(&head, &uri, &error) || !is_known_to_llhttp(&head))
		return false;
	init(o, true);
	ask(o, &parser, HTTP_REQUEST, in);
	if (!o->head_done)
		differ(llhttp_get_error_reason(&parser), in);
	if (!same(&o->method, head.method) || !same(&o->target, head.target))
		differ("request line", in);
	compare_fields(o, &head, in);
	compare_framing(o, &parser, &head, in);
	if (head.body == BODY_NONE && parser.content_length > 0)
		differ("absence of a body", in);
	return true;
}

static bool compare_response(struct oracle *o, struct text in)
{
	struct field fields[FIELDS];
	struct head head = {.fields = fields};
	struct head_error error;
	llhttp_t parser;

	if (head_response(in, &limits, METHOD_GET, &head, &error) != HEAD_DONE)
		return false;
	init(o, true);
	ask(o, &parser, HTTP_RESPONSE, in);
	if (!o->head_done)
		differ(llhttp_get_error_reason(&parser), in);
	if (parser.status_code != head.status)
		differ("status", in);
	compare_fields(o, &head, in);
	compare_framing(o, &parser, &head, in);
	if ((head.body == BODY_CLOSE) != (llhttp_message_needs_eof(&parser) != 0))
		differ("body until close", in);
	return true;
}

/* llhttp 8.1 takes what is behind "name=value;" for more digits of the size. */
static bool is_misread_by_llhttp(struct text in)
{
	bool value = false;
	for (size_t i = 0; i < in.length; i++) {
		if (value && in.at[i] == ';')
			return true;
		value = in.at[i] != '\n' && (value || in.at[i] == '=');
	}
	return false;
}

static bool compare_chunks(struct oracle *o, struct text in)
{
	static const char head[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
	char whole[sizeof(head) + SIZE];
	struct span body = {.length = 0};
	struct text rest = in, data;
	struct chunk chunk;
	enum chunk_result result;
	llhttp_t parser;

	chunk_init(&chunk);
	while ((result = chunk_next(&chunk, &rest, &data)) == CHUNK_DATA)
		append(&body, data.at, data.length);
	if (result != CHUNK_END || is_misread_by_llhttp(in))
		return false;
	memcpy(whole, head, sizeof(head) - 1);
	memcpy(whole + sizeof(head) - 1, in.at, in.length);
	init(o, false);
	ask(o, &parser, HTTP_REQUEST, (struct text){whole, sizeof(head) - 1 + in.length});
	if (!o->done) {
		refuse_body(&parser, in);
		return true;
	}
	if (!text_equal((struct text){body.bytes, body.length},
		    (struct text){o->body.bytes, o->body.length}))
		differ("body", in);
	size_t used = (size_t)(llhttp_get_error_pos(&parser) - whole) - (sizeof(head) - 1);
	if (used != in.length - rest.length)
		differ("end of the body", in);
	return true;
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* One to four small changes: another byte, a byte less, or a piece of what breaks parsers more. */
static size_t mutate(char *in, size_t length, uint64_t *seed)
{
	static const char *const pieces[] = {"\r\n", "\n", "\r", " ", "\t", ":", ",", ";", "\"",
		"0", "chunked", "Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n", "close",
		"Connection: close\r\n", "Host: h\r\n", "HTTP/1.0", "\xff", "[", "]", "@", "%41",
		"=", "a", "1\r\nx\r\n", "Upgrade: h2c\r\n"};
	for (uint64_t n = 1 + next_random(seed) % 4; n > 0 && length > 0; n--) {
		size_t at = next_random(seed) % length;
		const char *piece = pieces[next_random(seed) % COUNT_OF(pieces)];
		size_t size = strlen(piece);
		switch (next_random(seed) % 4) {
		case 0:
			in[at] = (char)next_random(seed);
			break;
		case 1:
			memmove(in + at, in + at + 1, --length - at);
			break;
		default:
			if (length + size > SIZE)
				break;
			memmove(in + at + size, in + at, length - at);
			memcpy(in + at, piece, size);
			length += size;
		}
	}
	return length;
}

static void compare_mutations(
	const char *const *corpus, size_t n, bool (*compare)(struct oracle *o, struct text in))
{
	static struct oracle oracle;
	uint64_t seed = 20251123;
	unsigned taken = 0;
	for (size_t i = 0; i < n; i++)
		if (!compare(&oracle, text_of(corpus[i])))
			differ("verdict", text_of(corpus[i]));
	for (unsigned i = 0; i < ROUNDS; i++) {
		char in[SIZE];
		const char *from = corpus[next_random(&seed) % n];
		size_t length = strlen(from);
		memcpy(in, from, length);
		length = mutate(in, length, &seed);
		taken += compare(&oracle, (struct text){in, length});
	}
	print_message("%u of %u mutations taken\n", taken, ROUNDS);
	assert_in_range(taken, ROUNDS / 50, ROUNDS);
}

static void reads_requests_as_llhttp_does(void **state)
{
	static const char *const corpus[] = {
		"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET http://example.com:8080/a/b?c=d&e=%20 HTTP/1.1\r\nHost: example.com:8080\r\n"
		"User-Agent: curl/7.88.1\r\nAccept: */*\r\nProxy-Connection: Keep-Alive\r\n\r\n",
		"GET http://h/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"GET http://192.0.2.1?q HTTP/1.0\r\n\r\n",
		"POST http://h/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX: \t a b "
		"\t\r\n\r\nhello",
		"PUT https://[2001:db8::1]:8443/x HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n"
		"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
		"HEAD http://h/ HTTP/1.1\r\nHost:h\r\nConnection: close, x\r\nX:\r\n\r\n",
		"OPTIONS http://h/ HTTP/1.1\r\nhost: h\r\nMax-Forwards: 1\r\nVia: 1.0 fred\r\n\r\n",
		"DELETE http://h/ HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: "
		"h2c\r\n\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
		"CONNECT [2001:db8::1]:443 HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
		"\r\nPATCH http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
	};
	(void)state;
	compare_mutations(corpus, COUNT_OF(corpus), compare_request);
}

static void reads_responses_as_llhttp_does(void **state)
{
	static const char *const corpus[] = {
		"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
		"Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n",
		"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 204\r\nX: a\tb\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\nETag: \"x\"\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 503 \r\nConnection: close\r\nRetry-After: 1\r\n\r\n",
	};
	(void)state;
	compare_mutations(corpus, COUNT_OF(corpus), compare_response);
}

static void reads_chunks_as_llhttp_does(void **state)
{
	static const char *const corpus[] = {
		"0\r\n\r\n",
		"5\r\nhello\r\n0\r\n\r\n",
		"5\r\nhello\r\n006\r\n world\r\n0\r\nTrailer: x\r\nY:\r\n\r\nNEXT",
		"A;name=value\r\n0123456789\r\na;x;y=\"q uo,ted\"\r\n0123456789\r\n0;"
		"last\r\n\r\n",
		"1 ; a = b\r\n\n\r\n0\r\n\r\n",
	};
	(void)state;
	compare_mutations(corpus, COUNT_OF(corpus), compare_chunks);
}

/* What llhttp takes and egret refuses, and why. */
static const struct {
	const char *why;
	const char *in;
} stricter[] = {
	{"a folded field line", "GET http://h/ HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n"},
	{"no Host in HTTP/1.1", "GET http://h/ HTTP/1.1\r\n\r\n"},
	{"two Host fields", "GET http://h/ HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n"},
	{"a Host that is none", "GET http://h/ HTTP/1.1\r\nHost: a b\r\n\r\n"},
	{"Content-Length with leading zeros",
		"POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 007\r\n\r\n"},
	{"Content-Length over INT64_MAX", "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: "
					  "9223372036854775808\r\n\r\n"},
	{"a tab behind Transfer-Encoding, another coding to llhttp",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n"},
	{"a coding besides chunked",
		"POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
	{"Transfer-Encoding in HTTP/1.0",
		"POST http://h/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{"a body of CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"},
	{"more than one empty line first", "\r\n\r\nGET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"an unknown expectation", "GET http://h/ HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n"},
	{"Connection that is no list of names",
		"GET http://h/ HTTP/1.1\r\nHost: h\r\nConnection: a b\r\n\r\n"},
	{"a version that is not HTTP/1", "GET / HTTP/2.0\r\nHost: h\r\n\r\n"},
	{"a status line with LF alone", "HTTP/1.1 200 OK\nA: b\r\n\r\n"},
	{"an Upgrade nobody asked for", "HTTP/1.1 101 x\r\nUpgrade: x\r\n\r\n"},
	{"an unknown coding of a response", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"},
	{"a body of 100", "HTTP/1.1 100 x\r\nContent-Length: 1\r\n\r\n"},
	{"a status over 599", "HTTP/1.1 999 x\r\n\r\n"},
};

static void is_stricter_where_it_means_to_be(void **state)
{
	static struct oracle oracle;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(stricter); i++) {
		struct text in = text_of(stricter[i].in);
		struct field fields[FIELDS];
		struct head head = {.fields = fields};
		struct head_error error;
		llhttp_t parser;
		bool request = strncmp(in.at, "HTTP/", 5) != 0;
		init(&oracle, true);
		ask(&oracle, &parser, request ? HTTP_REQUEST : HTTP_RESPONSE, in);
		enum head_result result =
			request ? head_request(in, &limits, &head, &error)
				: head_response(in, &limits, METHOD_GET, &head, &error);
		if (!oracle.head_done)
			fail_msg("llhttp refuses too: %s: %s", stricter[i].why,
				llhttp_get_error_reason(&parser));
		if (result != HEAD_BAD)
			fail_msg("egret takes: %s", stricter[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_requests_as_llhttp_does),
		cmocka_unit_test(reads_responses_as_llhttp_does),
		cmocka_unit_test(reads_chunks_as_llhttp_does),
		cmocka_unit_test(is_stricter_where_it_means_to_be),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
