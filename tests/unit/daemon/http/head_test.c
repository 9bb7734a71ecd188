/*
 * head_test.c - what the head parser takes, and what it refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "daemon/http/head.h"

#define FIELDS 8
#define HOST "Host: h\r\n"
#define GET "GET http://h/ HTTP/1.1\r\n" HOST
#define POST "POST http://h/ HTTP/1.1\r\n" HOST
#define OLD "GET http://h/ HTTP/1.0\r\n"
#define OK "HTTP/1.1 200 OK\r\n"

static const struct head_limits limits = {.line = 200, .bytes = 1000, .fields = FIELDS};

struct parsed {
	char *bytes; /* a copy of its own size, so that a sanitizer sees what is read behind it */
	struct field fields[FIELDS];
	struct head head;
	struct head_error error;
	enum head_result result;
};

static void parse(struct parsed *p, struct text in, bool request, enum method method,
	const struct head_limits *with)
{
	p->bytes = malloc(in.length + 1);
	CHECK(p->bytes);
	p->bytes = realloc(p->bytes, in.length ? in.length : 1);
	CHECK(p->bytes);
	memcpy(p->bytes, in.at, in.length);
	p->head = (struct head){.fields = p->fields, .upgrade = TEXT("websocket, x/1, h2c")};
	p->error = (struct head_error){0, NULL};
	struct text copy = {p->bytes, in.length};
	p->result = request ? head_request(copy, with, &p->head, &p->error)
			    : head_response(copy, with, method, &p->head, &p->error);
	assert_int_equal(p->result == HEAD_BAD, p->error.text != NULL);
}

static void parse_request(struct parsed *p, struct text in)
{
	parse(p, in, true, METHOD_OTHER, &limits);
}

static int status_of_request(struct text in)
{
	struct parsed p;
	parse_request(&p, in);
	free(p.bytes);
	return p.result == HEAD_DONE ? 0 : p.result == HEAD_MORE ? 1 : p.error.status;
}

static int status_of_response(struct text in)
{
	struct parsed p;
	parse(&p, in, false, METHOD_GET, &limits);
	free(p.bytes);
	return p.result == HEAD_DONE ? 0 : p.result == HEAD_MORE ? 1 : p.error.status;
}

static void assert_text(struct text text, const char *want)
{
	if (!text_equal(text, text_of(want)))
		fail_msg("\"%.*s\" is not \"%s\"", (int)text.length, text.at, want);
}

static void assert_number(const char *in, const char *what, int64_t is, int64_t want)
{
	if (is != want)
		fail_msg("%s: %lld, not %lld, in \"%s\"", what, (long long)is, (long long)want, in);
}

static const struct {
	const char *in;
	enum method method;
	enum body body;
	uint64_t length;
	bool keep_alive;
	const char *host;
} good_requests[] = {
	{GET "\r\n", METHOD_GET, BODY_NONE, 0, true, "h"},
	{"\r\n" GET "\r\n", METHOD_GET, BODY_NONE, 0, true, "h"},
	{OLD "\r\n", METHOD_GET, BODY_NONE, 0, false, ""},
	{"GET / HTTP/1.1\r\nHost:\r\n\r\n", METHOD_GET, BODY_NONE, 0, true, ""},
	{"GET / HTTP/1.1\r\nHOST: \t h:80 \t\r\n\r\n", METHOD_GET, BODY_NONE, 0, true, "h:80"},
	{"GET / HTTP/1.1\r\nHost: h:\r\n\r\n", METHOD_GET, BODY_NONE, 0, true, "h:"},
	{"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", METHOD_GET, BODY_NONE, 0, true,
		"[::1]:8080"},
	{"GET / HTTP/1.1\r\nHost: a_b-c.D\r\n\r\n", METHOD_GET, BODY_NONE, 0, true, "a_b-c.D"},
	{"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", METHOD_CONNECT, BODY_NONE, 0, true,
		"h:443"},
	{"CONNECT h:443 HTTP/1.0\r\nContent-Length: 0\r\n\r\n", METHOD_CONNECT, BODY_NONE, 0, false,
		""},
	{"HEAD / HTTP/1.1\r\n" HOST "\r\n", METHOD_HEAD, BODY_NONE, 0, true, "h"},
	{"PUT / HTTP/1.1\r\n" HOST "\r\n", METHOD_PUT, BODY_NONE, 0, true, "h"},
	{"PATCH / HTTP/1.1\r\n" HOST "\r\n", METHOD_PATCH, BODY_NONE, 0, true, "h"},
	{"TRACE / HTTP/1.1\r\n" HOST "\r\n", METHOD_TRACE, BODY_NONE, 0, true, "h"},
	{"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", METHOD_OPTIONS, BODY_NONE, 0, true, "h"},
	{"get / HTTP/1.1\r\n" HOST "\r\n", METHOD_OTHER, BODY_NONE, 0, true, "h"},
	{"!#$%&'*+-.^_`|~0aZ / HTTP/1.1\r\n" HOST "\r\n", METHOD_OTHER, BODY_NONE, 0, true, "h"},
	/* bodies, in every method */
	{POST "Content-Length: 0\r\n\r\n", METHOD_POST, BODY_LENGTH, 0, true, "h"},
	{POST "content-LENGTH:42\r\n\r\n", METHOD_POST, BODY_LENGTH, 42, true, "h"},
	{GET "Content-Length: 7\r\n\r\n", METHOD_GET, BODY_LENGTH, 7, true, "h"},
	{"DELETE / HTTP/1.0\r\nContent-Length: 7\r\n\r\n", METHOD_DELETE, BODY_LENGTH, 7, false,
		""},
	{POST "Content-Length: 9223372036854775807\r\n\r\n", METHOD_POST, BODY_LENGTH, INT64_MAX,
		true, "h"},
	{POST "Transfer-Encoding: chunked\r\n\r\n", METHOD_POST, BODY_CHUNKED, 0, true, "h"},
	{POST "Transfer-Encoding:  CHUNKED \r\n\r\n", METHOD_POST, BODY_CHUNKED, 0, true, "h"},
	/* persistence */
	{GET "Connection: close\r\n\r\n", METHOD_GET, BODY_NONE, 0, false, "h"},
	{GET "Connection: CLOSE\r\n\r\n", METHOD_GET, BODY_NONE, 0, false, "h"},
	{GET "Connection: keep-alive\r\n\r\n", METHOD_GET, BODY_NONE, 0, true, "h"},
	{GET "Connection: keep-alive, close\r\n\r\n", METHOD_GET, BODY_NONE, 0, false, "h"},
	{GET "Connection: close\r\nConnection: keep-alive\r\n\r\n", METHOD_GET, BODY_NONE, 0, false,
		"h"},
	{GET "Connection: , x ,,close,\r\n\r\n", METHOD_GET, BODY_NONE, 0, false, "h"},
	{GET "Connection: closed, enclose\r\n\r\n", METHOD_GET, BODY_NONE, 0, true, "h"},
	{GET "Connection:\r\n\r\n", METHOD_GET, BODY_NONE, 0, true, "h"},
	{GET "Proxy-Connection: close\r\n\r\n", METHOD_GET, BODY_NONE, 0, true, "h"},
	{OLD "Connection: keep-alive\r\n\r\n", METHOD_GET, BODY_NONE, 0, true, ""},
	{OLD "Connection: keep-alive, close\r\n\r\n", METHOD_GET, BODY_NONE, 0, false, ""},
	{OLD "Proxy-Connection: Keep-Alive\r\n\r\n", METHOD_GET, BODY_NONE, 0, false, ""},
};

static void reads_good_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good_requests); i++) {
		struct parsed p;
		struct text in = text_of(good_requests[i].in);
		parse_request(&p, in);
		assert_number(in.at, "result", p.result, HEAD_DONE);
		assert_number(in.at, "length", p.head.length, in.length);
		assert_number(in.at, "method_id", p.head.method_id, good_requests[i].method);
		assert_number(in.at, "body", p.head.body, good_requests[i].body);
		assert_number(in.at, "body_length", p.head.body_length, good_requests[i].length);
		assert_number(in.at, "keep_alive", p.head.keep_alive, good_requests[i].keep_alive);
		assert_text(p.head.host, good_requests[i].host);
		free(p.bytes);
	}
}

static const struct {
	const char *in;
	int status;
} bad_requests[] = {
	/* the request line */
	{"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400},
	{"\nGET / HTTP/1.1\r\n" HOST "\r\n", 400},
	{" GET / HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /  HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
	{"GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /\tHTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /\vHTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET / a HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET / HTTP/1.1\n" HOST "\r\n", 400},
	{"GET / HTTP/1.1\r" HOST "\r\n", 400},
	{"GET / HTTP/1.1\r\r\n" HOST "\r\n", 400},
	{"GET /\r\n\r\n", 400},
	{"GET\r\n\r\n", 400},
	{"GET \r\n\r\n", 400},
	{"GET  HTTP/1.1\r\n" HOST "\r\n", 400},
	{" / HTTP/1.1\r\n" HOST "\r\n", 400},
	{"G(T / HTTP/1.1\r\n" HOST "\r\n", 400},
	{"G\x80T / HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET / X\r\n\r\n", 400},
	{"GET / http/1.1\r\n" HOST "\r\n", 400},
	{"GET / HTTP/1.11\r\n" HOST "\r\n", 400},
	{"GET / HTTP/11.1\r\n" HOST "\r\n", 400},
	{"GET / HTTP/1,1\r\n" HOST "\r\n", 400},
	{"GET / HTTP/1.x\r\n" HOST "\r\n", 400},
	{"GET / HTTP/1\r\n" HOST "\r\n", 400},
	{"GET / HTTPS/1.1\r\n" HOST "\r\n", 400},
	{"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
	{"GET / HTTP/1.2\r\n" HOST "\r\n", 505},
	{"GET / HTTP/0.9\r\n" HOST "\r\n", 505},
	{"GET / HTTP/3.1\r\n" HOST "\r\n", 505},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	/* field lines */
	{GET "A: b\nC: d\r\n\r\n", 400},
	{GET "A: b\rC: d\r\n\r\n", 400},
	{GET "A: b\r\r\n\r\n", 400},
	{GET "A: b\r\n\n", 400},
	{GET "A: b\r\n\rX", 400},
	{GET "A: b\r\n c\r\n\r\n", 400},
	{GET "A: b\r\n\tc\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n " HOST "\r\n", 400},
	{GET "A : b\r\n\r\n", 400},
	{GET "A\t: b\r\n\r\n", 400},
	{GET ": b\r\n\r\n", 400},
	{GET "A\r\n\r\n", 400},
	{GET "A B: c\r\n\r\n", 400},
	{GET "A(: c\r\n\r\n", 400},
	{GET "\x80: c\r\n\r\n", 400},
	{GET "A: \x01\r\n\r\n", 400},
	{GET "A: \x7f\r\n\r\n", 400},
	/* lengths */
	{POST "Content-Length:\r\n\r\n", 400},
	{POST "Content-Length: +1\r\n\r\n", 400},
	{POST "Content-Length: -1\r\n\r\n", 400},
	{POST "Content-Length: 00\r\n\r\n", 400},
	{POST "Content-Length: 07\r\n\r\n", 400},
	{POST "Content-Length: 0x7\r\n\r\n", 400},
	{POST "Content-Length: 7a\r\n\r\n", 400},
	{POST "Content-Length: 7.0\r\n\r\n", 400},
	{POST "Content-Length: 1 2\r\n\r\n", 400},
	{POST "Content-Length: \"7\"\r\n\r\n", 400},
	{POST "Content-Length: 9223372036854775808\r\n\r\n", 400},
	{POST "Content-Length: 18446744073709551617\r\n\r\n", 400},
	{POST "Content-Length: 99999999999999999999999999\r\n\r\n", 400},
	{POST "Content-Length: 7, 7\r\n\r\n", 400},
	{POST "Content-Length: 7,\r\n\r\n", 400},
	{POST "Content-Length: 7\r\nContent-Length: 7\r\n\r\n", 400},
	{POST "Content-Length: 7\r\nContent-Length: 8\r\n\r\n", 400},
	{POST "Content-Length: 0\r\nContent-Length: 8\r\n\r\n", 400},
	{POST "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400},
	{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
	{POST "Transfer-Encoding: a , B,chunkeD\r\n\r\n", 501},
	{POST "Transfer-Encoding:\r\n\r\n", 400},
	{POST "Transfer-Encoding: identity\r\n\r\n", 400},
	{POST "Transfer-Encoding: gzip\r\n\r\n", 400},
	{POST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400},
	{POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
	{POST "Transfer-Encoding: chunked,\r\n\r\n", 400},
	{POST "Transfer-Encoding: ,chunked\r\n\r\n", 400},
	{POST "Transfer-Encoding: chunked;q=1\r\n\r\n", 400},
	{POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400},
	{POST "Transfer-Encoding: xchunked\r\n\r\n", 400},
	{POST "Transfer-Encoding: chunked x\r\n\r\n", 400},
	{POST "Transfer-Encoding: \vchunked\r\n\r\n", 400},
	{POST "Transfer-Encoding: chunked\t\r\n\r\n", 400},
	{POST "Transfer-Encoding:\t chunked\r\n\r\n", 400},
	{POST "Content-Length: 1 \t\r\n\r\n", 400},
	{POST "Content-Length:\t1\r\n\r\n", 400},
	{POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400},
	{"CONNECT h:443 HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n", 400},
	{"CONNECT h:443 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
	{"TRACE / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n", 400},
	{"TRACE / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
	/* Host */
	{"GET / HTTP/1.1\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nX-Host: h\r\n\r\n", 400},
	{GET HOST "\r\n", 400},
	{OLD HOST HOST "\r\n", 400},
	{OLD "Host:\r\nHost:\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: [g]\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: [\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: h\xc3\xb6st\r\n\r\n", 400},
	/* other fields that the proxy acts on */
	{GET "Expect: 200-ok\r\n\r\n", 417},
	{GET "Expect: 100-continue, x\r\n\r\n", 417},
	{OLD "Expect: x\r\n\r\n", 417},
	{GET "Connection: a b\r\n\r\n", 400},
	{GET "Connection: \"close\"\r\n\r\n", 400},
	{GET "Connection: close;x\r\n\r\n", 400},
	{"TRACE / HTTP/1.1\r\n" HOST "Max-Forwards: x\r\n\r\n", 400},
	{"TRACE / HTTP/1.1\r\n" HOST "Max-Forwards: 1\r\nMax-Forwards: 1\r\n\r\n", 400},
};

static void refuses_bad_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad_requests); i++) {
		struct text in = text_of(bad_requests[i].in);
		assert_number(in.at, "status", status_of_request(in), bad_requests[i].status);
	}
}

static void keeps_spans_of_every_part(void **state)
{
	struct parsed p;
	(void)state;
	parse_request(
		&p, TEXT("GET http://h/p?q HTTP/1.1\r\nHost: h\r\nX-A:  a \tb\t \r\nVia: 1.0 x\r\n"
			 "X-Empty: \t\r\nX-Long: \xe4 0123456789\tabcdef\r\n\r\nNEXT"));
	assert_int_equal(p.result, HEAD_DONE);
	assert_memory_equal(p.bytes + p.head.length, "NEXT", 4);
	assert_int_equal(p.head.minor, 1);
	assert_text(p.head.method, "GET");
	assert_text(p.head.target, "http://h/p?q");
	assert_int_equal(p.head.n_fields, 5);
	assert_text(p.head.fields[1].name, "X-A");
	assert_text(p.head.fields[1].value, "a \tb");
	assert_text(p.head.fields[3].name, "X-Empty");
	assert_text(p.head.fields[3].value, "");
	assert_text(p.head.fields[4].value, "\xe4 0123456789\tabcdef");
	assert_ptr_equal(head_field(&p.head, FIELD_VIA), &p.head.fields[2]);
	assert_null(head_field(&p.head, FIELD_DATE));
	free(p.bytes);
}

static void knows_field_names_without_case(void **state)
{
	static const struct {
		const char *name;
		enum field_id id;
		bool hop;
	} names[] = {
		{"Cache-Control", FIELD_CACHE_CONTROL, false},
		{"CONNECTION", FIELD_CONNECTION, true},
		{"date", FIELD_DATE, false},
		{"Expect", FIELD_EXPECT, false},
		{"Keep-Alive", FIELD_KEEP_ALIVE, true},
		{"Max-Forwards", FIELD_MAX_FORWARDS, false},
		{"Proxy-Authenticate", FIELD_PROXY_AUTHENTICATE, true},
		{"pRoXy-AuThOrIzAtIoN", FIELD_PROXY_AUTHORIZATION, true},
		{"Proxy-Authentication-Info", FIELD_PROXY_AUTHENTICATION_INFO, true},
		{"Proxy-Connection", FIELD_PROXY_CONNECTION, true},
		{"TE", FIELD_TE, true},
		{"Trailer", FIELD_TRAILER, true},
		{"Upgrade", FIELD_UPGRADE, true},
		{"Via", FIELD_VIA, false},
		{"AGE", FIELD_AGE, false},
		{"Authorization", FIELD_AUTHORIZATION, false},
		{"Cache-Status", FIELD_CACHE_STATUS, false},
		{"Cache-Tag", FIELD_CACHE_TAG, false},
		{"CDN-Cache-Control", FIELD_CDN_CACHE_CONTROL, false},
		{"Content-Location", FIELD_CONTENT_LOCATION, false},
		{"Content-Range", FIELD_CONTENT_RANGE, false},
		{"ETag", FIELD_ETAG, false},
		{"Expires", FIELD_EXPIRES, false},
		{"If-Match", FIELD_IF_MATCH, false},
		{"If-Modified-Since", FIELD_IF_MODIFIED_SINCE, false},
		{"If-None-Match", FIELD_IF_NONE_MATCH, false},
		{"If-Range", FIELD_IF_RANGE, false},
		{"If-Unmodified-Since", FIELD_IF_UNMODIFIED_SINCE, false},
		{"Last-Modified", FIELD_LAST_MODIFIED, false},
		{"Location", FIELD_LOCATION, false},
		{"Pragma", FIELD_PRAGMA, false},
		{"Range", FIELD_RANGE, false},
		{"Surrogate-Key", FIELD_SURROGATE_KEY, false},
		{"Vary", FIELD_VARY, false},
		{"If-Modified-Sincf", FIELD_OTHER, false},
		{"Vib", FIELD_OTHER, false},
		{"Keep_Alive", FIELD_OTHER, false},
		{"Dat~", FIELD_OTHER, false},
		{"X", FIELD_OTHER, false},
		{"Proxy-Authentication-Infos-And-More", FIELD_OTHER, false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct parsed p;
		char in[200];
		snprintf(in, sizeof(in), GET "%s: %s\r\n\r\n", names[i].name,
			names[i].id == FIELD_EXPECT ? "100-continue" : "1");
		parse_request(&p, text_of(in));
		assert_int_equal(p.result, HEAD_DONE);
		assert_int_equal(p.head.fields[1].id, names[i].id);
		assert_int_equal(p.head.fields[1].hop, names[i].hop);
		free(p.bytes);
	}
}

static void drops_what_connection_names_but_nothing_the_proxy_needs(void **state)
{
	struct parsed p;
	(void)state;
	parse_request(&p, TEXT("POST / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nContent-Length: 3\r\n"
			       "Connection: x-a, CONTENT-length, Host, Via, "
			       "Cache-Control\r\nConnection: x-c\r\n"
			       "Cache-Control: no-store\r\nX-C: 1\r\nX-AB: 1\r\n\r\n"));
	assert_int_equal(p.result, HEAD_DONE);
	static const bool hop[] = {false, true, false, true, true, true, true, false};
	for (size_t i = 0; i < COUNT_OF(hop); i++)
		assert_int_equal(p.head.fields[i].hop, hop[i]);
	assert_int_equal(p.head.body, BODY_LENGTH);
	assert_int_equal(p.head.body_length, 3);
	free(p.bytes);
}

/* RFC 9110 7.6.1: whoever is listed goes, whether the proxy reads it or not. */
static void drops_fields_that_it_knows_where_connection_names_them(void **state)
{
	static const char *const names[] = {"Age", "Authorization", "Cache-Status", "Cache-Tag",
		"CDN-Cache-Control", "Content-Location", "Content-Range", "ETag", "Expires",
		"If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since",
		"Last-Modified", "Location", "Pragma", "Range", "Surrogate-Key", "Vary"};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct parsed p;
		char in[200];
		snprintf(in, sizeof(in), GET "%s: x\r\nConnection: %s\r\n\r\n", names[i], names[i]);
		parse_request(&p, text_of(in));
		assert_int_equal(p.result, HEAD_DONE);
		assert_true(p.head.fields[1].hop);
		free(p.bytes);
	}
}

static void bounds_the_names_in_connection(void **state)
{
	char in[300] = GET "Connection: close, keep-alive";
	(void)state;
	for (int i = 0; i < 16; i++)
		strcat(in, ", a");
	char more[300];
	snprintf(more, sizeof(more), "%s, b\r\n\r\n", in);
	strcat(in, "\r\n\r\n");
	assert_int_equal(status_of_request(text_of(in)), 0);
	assert_int_equal(status_of_request(text_of(more)), 431);
}

static void expects_continue_only_where_a_body_comes(void **state)
{
	static const struct {
		const char *in;
		bool expect;
	} cases[] = {
		{POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", true},
		{POST "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", true},
		{POST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", false},
		{GET "Expect: 100-continue\r\n\r\n", false},
		{"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct parsed p;
		parse_request(&p, text_of(cases[i].in));
		assert_int_equal(p.result, HEAD_DONE);
		assert_int_equal(p.head.expect_continue, cases[i].expect);
		free(p.bytes);
	}
}

static void reads_max_forwards_of_trace_and_options(void **state)
{
	static const struct {
		const char *in;
		int64_t want;
	} cases[] = {
		{"TRACE / HTTP/1.1\r\n" HOST "Max-Forwards: 0\r\n\r\n", 0},
		{"OPTIONS / HTTP/1.1\r\n" HOST "Max-Forwards: 10\r\n\r\n", 10},
		{"OPTIONS / HTTP/1.1\r\n" HOST "\r\n", -1},
		{GET "Max-Forwards: 0\r\n\r\n", -1},
		{GET "Max-Forwards: x\r\n\r\n", -1},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct parsed p;
		parse_request(&p, text_of(cases[i].in));
		assert_int_equal(p.result, HEAD_DONE);
		assert_int_equal(p.head.max_forwards, cases[i].want);
		free(p.bytes);
	}
}

static const struct {
	const char *in;
	enum method method;
	int status;
	const char *phrase;
	enum body body;
	uint64_t length;
	int64_t content_length;
	bool keep_alive;
} good_responses[] = {
	{OK "Content-Length: 5\r\n\r\n", METHOD_GET, 200, "OK", BODY_LENGTH, 5, 5, true},
	{OK "Content-Length: 0\r\n\r\n", METHOD_GET, 200, "OK", BODY_LENGTH, 0, 0, true},
	{OK "Transfer-Encoding: chunked\r\n\r\n", METHOD_GET, 200, "OK", BODY_CHUNKED, 0, -1, true},
	{OK "\r\n", METHOD_GET, 200, "OK", BODY_CLOSE, 0, -1, false},
	{OK "Connection: keep-alive\r\n\r\n", METHOD_GET, 200, "OK", BODY_CLOSE, 0, -1, false},
	{OK "Connection: close\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 200, "OK", BODY_LENGTH, 5,
		5, false},
	{"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 200, "OK", BODY_LENGTH, 5, 5,
		false},
	{"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", METHOD_GET, 200,
		"OK", BODY_LENGTH, 5, 5, true},
	{"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nProxy-Connection: keep-alive\r\n\r\n", METHOD_GET,
		200, "OK", BODY_LENGTH, 5, 5, false},
	{"HTTP/1.1 200\r\n\r\n", METHOD_GET, 200, "", BODY_CLOSE, 0, -1, false},
	{"HTTP/1.1 200 \r\n\r\n", METHOD_GET, 200, "", BODY_CLOSE, 0, -1, false},
	{"HTTP/1.1 404 Nicht \xe4\t da\r\n\r\n", METHOD_GET, 404, "Nicht \xe4\t da", BODY_CLOSE, 0,
		-1, false},
	{"HTTP/1.1 599 x\r\n\r\n", METHOD_GET, 599, "x", BODY_CLOSE, 0, -1, false},
	{"HTTP/1.1 100 Continue\r\n\r\n", METHOD_GET, 100, "Continue", BODY_NONE, 0, -1, true},
	{"HTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 0\r\n\r\n", METHOD_GET, 103,
		"Early Hints", BODY_NONE, 0, -1, true},
	{"HTTP/1.1 204 x\r\n\r\n", METHOD_GET, 204, "x", BODY_NONE, 0, -1, true},
	{"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", METHOD_GET, 204, "x", BODY_NONE, 0, -1,
		true},
	{"HTTP/1.1 204 x\r\nContent-Length: 9\r\n\r\n", METHOD_GET, 204, "x", BODY_NONE, 0, -1,
		false},
	{"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, 204, "x", BODY_NONE, 0,
		-1, false},
	{"HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", METHOD_GET, 304, "x", BODY_NONE, 0, 9,
		true},
	{"HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, 304, "x", BODY_NONE, 0,
		-1, true},
	{OK "Content-Length: 9\r\n\r\n", METHOD_HEAD, 200, "OK", BODY_NONE, 0, 9, true},
	{OK "Transfer-Encoding: chunked\r\n\r\n", METHOD_HEAD, 200, "OK", BODY_NONE, 0, -1, true},
	{OK "\r\n", METHOD_HEAD, 200, "OK", BODY_NONE, 0, -1, true},
	{OK "\r\n", METHOD_CONNECT, 200, "OK", BODY_NONE, 0, -1, true},
	{OK "Content-Length: 9\r\n\r\n", METHOD_CONNECT, 200, "OK", BODY_NONE, 0, -1, false},
	{"HTTP/1.1 403 x\r\nContent-Length: 9\r\n\r\n", METHOD_CONNECT, 403, "x", BODY_LENGTH, 9, 9,
		true},
	{OK "Host: a b\r\nExpect: x\r\nMax-Forwards: y\r\nContent-Length: 1\r\n\r\n", METHOD_GET,
		200, "OK", BODY_LENGTH, 1, 1, true},
};

static void reads_good_responses(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good_responses); i++) {
		struct parsed p;
		struct text in = text_of(good_responses[i].in);
		parse(&p, in, false, good_responses[i].method, &limits);
		assert_number(in.at, "result", p.result, HEAD_DONE);
		assert_number(in.at, "length", p.head.length, in.length);
		assert_number(in.at, "status", p.head.status, good_responses[i].status);
		assert_text(p.head.phrase, good_responses[i].phrase);
		assert_number(in.at, "body", p.head.body, good_responses[i].body);
		assert_number(in.at, "body_length", p.head.body_length, good_responses[i].length);
		assert_number(in.at, "content_length", p.head.content_length,
			good_responses[i].content_length);
		assert_number(in.at, "keep_alive", p.head.keep_alive, good_responses[i].keep_alive);
		free(p.bytes);
	}
}

static const char *const bad_responses[] = {
	"\r\n" OK "\r\n",
	" " OK "\r\n",
	"HTTP/1.1  200 OK\r\n\r\n",
	"HTTP/1.1\t200 OK\r\n\r\n",
	"HTTP/1.1\r\n\r\n",
	"HTTP/1.1 \r\n\r\n",
	"HTTP/1.1 2\r\n\r\n",
	"HTTP/1.1 20\r\n\r\n",
	"HTTP/1.1 2000 OK\r\n\r\n",
	"HTTP/1.1 20 OK\r\n\r\n",
	"HTTP/1.1 099 OK\r\n\r\n",
	"HTTP/1.1 600 OK\r\n\r\n",
	"HTTP/1.1 2x0 OK\r\n\r\n",
	"HTTP/1.1 200\tOK\r\n\r\n",
	"HTTP/1.1 200-OK\r\n\r\n",
	"HTTP/1.1 200 O\x01K\r\n\r\n",
	"HTTP/1.1 200 OK\n\r\n",
	"HTTP/2.0 200 OK\r\n\r\n",
	"HTTP/1.2 200 OK\r\n\r\n",
	"http/1.1 200 OK\r\n\r\n",
	"ICY 200 OK\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
	"HTTP/1.1 100 x\r\nContent-Length: 1\r\n\r\n",
	"HTTP/1.1 102 x\r\nTransfer-Encoding: chunked\r\n\r\n",
	OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
	OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
	OK "Content-Length: 1, 1\r\n\r\n",
	OK "Content-Length: x\r\n\r\n",
	OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	OK "Transfer-Encoding: gzip, chunked\r\n\r\n",
	OK "Transfer-Encoding: gzip\r\n\r\n",
	OK "Transfer-Encoding: chunked, gzip\r\n\r\n",
	"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	OK "A: b\r\n c\r\n\r\n",
	OK "A : b\r\n\r\n",
	OK "A: b\nC: d\r\n\r\n",
	OK "Connection: a b\r\n\r\n",
};

static void refuses_bad_responses(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad_responses); i++) {
		struct text in = text_of(bad_responses[i]);
		assert_number(in.at, "status", status_of_response(in), 502);
	}
}

static void asks_to_switch_only_to_what_it_carries(void **state)
{
	static const struct {
		const char *in, *upgrade;
	} cases[] = {
		{GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "websocket"},
		{GET "Upgrade:  a/1.0,b \r\nConnection: x, uPGRADE\r\n\r\n", "a/1.0,b"},
		{GET "Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n", "x"},
		{GET "Upgrade: websocket\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\nUpgrade:\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\nUpgrade: a,,b\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\nUpgrade: a b\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\nUpgrade: a/\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\nUpgrade: a/1/2\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n", ""},
		{OLD "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		{POST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n", ""},
		{GET "Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct parsed p;
		parse_request(&p, text_of(cases[i].in));
		assert_int_equal(p.result, HEAD_DONE);
		assert_text(p.head.upgrade, cases[i].upgrade);
		free(p.bytes);
	}
}

static void switches_only_to_what_was_asked_for(void **state)
{
	static const char switching[] = "HTTP/1.1 101 Switching Protocols\r\n";
	static const struct {
		const char *fields, *upgrade; /* NULL: refused */
	} cases[] = {
		{"Connection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", "WebSocket"},
		{"Connection: Upgrade\r\nUpgrade: x/1, websocket\r\n\r\n", "x/1, websocket"},
		{"\r\n", NULL},
		{"Upgrade: websocket\r\n\r\n", NULL},
		{"Connection: Upgrade\r\n\r\n", NULL},
		{"Connection: Upgrade\r\nUpgrade:\r\n\r\n", NULL},
		{"Connection: Upgrade\r\nUpgrade: x\r\n\r\n", NULL},
		{"Connection: Upgrade\r\nUpgrade: websocket, y\r\n\r\n", NULL},
		{"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", NULL},
		{"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n", NULL},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct parsed p;
		char in[200];
		snprintf(in, sizeof(in), "%s%s", switching, cases[i].fields);
		parse(&p, text_of(in), false, METHOD_GET, &limits);
		assert_number(in, "result", p.result, cases[i].upgrade ? HEAD_DONE : HEAD_BAD);
		if (cases[i].upgrade)
			assert_text(p.head.upgrade, cases[i].upgrade);
		free(p.bytes);
	}
}

static bool is_token_byte(int byte)
{
	return byte && byte < 0x80 &&
	       (strchr("!#$%&'*+-.^_`|~", byte) || (byte >= '0' && byte <= '9') ||
		       ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z'));
}

static bool is_value_byte(int byte)
{
	return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

static bool is_visible_byte(int byte)
{
	return byte > 0x20 && byte < 0x7f;
}

/* Puts every byte value in the place of '@', at each of eight distances from the end of a word. */
static void try_every_byte(const char *form, bool request, bool (*is_good)(int byte))
{
	for (int shift = 0; shift < 8; shift++) {
		char in[300];
		snprintf(in, sizeof(in), form, shift, "aaaaaaaa");
		size_t length = strlen(in);
		char *place = strchr(in, '@');
		for (int byte = 0; byte < 256; byte++) {
			*place = (char)byte;
			struct text text = {in, length};
			int status = request ? status_of_request(text) : status_of_response(text);
			if ((status == 0) != is_good(byte))
				fail_msg("byte 0x%02x in \"%s\": %d", byte, form, status);
		}
	}
}

static bool is_name_byte(int byte)
{
	return byte == ':' || is_token_byte(byte); /* which ends it */
}

static bool is_space(int byte)
{
	return byte == ' ';
}

static bool is_cr(int byte)
{
	return byte == '\r';
}

static bool is_lf(int byte)
{
	return byte == '\n';
}

static bool is_host_byte(int byte)
{
	return byte == '-' || byte == '.' || byte == '_' || byte == ':' ||
	       (is_token_byte(byte) && !strchr("!#$%&'*+^`|~", byte));
}

static void decides_on_every_byte_in_every_place(void **state)
{
	(void)state;
	try_every_byte("A%.*s@A / HTTP/1.1\r\nHost: h\r\n\r\n", true, is_token_byte);
	try_every_byte("GET@/%.*s HTTP/1.1\r\nHost: h\r\n\r\n", true, is_space);
	try_every_byte("GET /%.*s@/a HTTP/1.1\r\nHost: h\r\n\r\n", true, is_visible_byte);
	try_every_byte("GET /%.*s@HTTP/1.1\r\nHost: h\r\n\r\n", true, is_space);
	try_every_byte("GET /%.*s HTTP/1.1@\nHost: h\r\n\r\n", true, is_cr);
	try_every_byte("GET /%.*s HTTP/1.1\r@Host: h\r\n\r\n", true, is_lf);
	try_every_byte("GET / HTTP/1.1\r\nHost: h\r\nA%.*s@A: b\r\n\r\n", true, is_name_byte);
	try_every_byte("GET / HTTP/1.1\r\nHost: h\r\nA%.*s@a: b\r\n\r\n", true, is_name_byte);
	try_every_byte("GET / HTTP/1.1\r\nHost: h\r\nA: %.*s@\r\n\r\n", true, is_value_byte);
	try_every_byte(
		"GET / HTTP/1.1\r\nHost: h\r\nA: %.*s@aaaaaaaaaaa\r\n\r\n", true, is_value_byte);
	try_every_byte("GET / HTTP/1.1\r\nHost: h\r\nA: %.*s@\nB: c\r\n\r\n", true, is_cr);
	try_every_byte("GET / HTTP/1.1\r\nHost: h\r\nA: %.*s\r@B: c\r\n\r\n", true, is_lf);
	try_every_byte("GET / HTTP/1.1\r\nHost: h%.*s@1\r\n\r\n", true, is_host_byte);
	try_every_byte("HTTP/1.1 200 O%.*s@K\r\nA: b\r\n\r\n", false, is_value_byte);
	try_every_byte("HTTP/1.1 200 O%.*s@\nA: b\r\n\r\n", false, is_cr);
	try_every_byte("HTTP/1.1@200 O%.*s\r\nA: b\r\n\r\n", false, is_space);
	try_every_byte("HTTP/1.1 200 OK\r\nA%.*s: @b\r\n\r\n", false, is_value_byte);
}

static void asks_for_more_at_every_prefix(void **state)
{
	static const char request[] =
		"\r\nPOST http://h/ HTTP/1.1\r\nHost: h\r\nA:\r\nContent-Length: 3\r\n\r\n";
	static const char response[] = "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 3\r\n\r\n";
	(void)state;
	for (size_t i = 0; i < sizeof(request) - 1; i++)
		assert_int_equal(status_of_request((struct text){request, i}), 1);
	for (size_t i = 0; i < sizeof(response) - 1; i++)
		assert_int_equal(status_of_response((struct text){response, i}), 1);
}

static void finds_the_end_at_every_split(void **state)
{
	static const char *const heads[] = {"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n",
		"\r\nGET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(heads); i++) {
		char in[100];
		size_t length = strlen(heads[i]);
		bool request = heads[i][0] != 'H';
		snprintf(in, sizeof(in), "%sGET / next", heads[i]);
		for (size_t step = 1; step <= length; step++) {
			struct head_error error;
			size_t seen = 0, have = 0;
			enum head_result result = HEAD_MORE;
			while (result == HEAD_MORE && have < strlen(in)) {
				have = have + step < strlen(in) ? have + step : strlen(in);
				result = head_find(
					(struct text){in, have}, request, &seen, &limits, &error);
				assert_int_equal(result, have < length ? HEAD_MORE : HEAD_DONE);
			}
			assert_int_equal(seen, length);
		}
	}
}

static int find(struct text in, bool request, const struct head_limits *with)
{
	struct head_error error;
	size_t seen = 0;
	enum head_result whole = head_find(in, request, &seen, with, &error);
	enum head_result result = HEAD_MORE;
	int status = whole == HEAD_BAD ? error.status : (int)whole;

	seen = 0; /* byte by byte says the same, if not later */
	for (size_t have = 0; have <= in.length && result == HEAD_MORE; have++)
		result = head_find((struct text){in.at, have}, request, &seen, with, &error);
	assert_int_equal(status, result == HEAD_BAD ? error.status : (int)result);
	return status;
}

static void finds_at_once_what_cannot_become_a_message(void **state)
{
	(void)state;
	assert_int_equal(find(TEXT("\x16\x03\x01"), true, &limits), 400);
	assert_int_equal(find(TEXT(" "), true, &limits), 400);
	assert_int_equal(find(TEXT("\n"), true, &limits), 400);
	assert_int_equal(find(TEXT("\rG"), true, &limits), 400);
	assert_int_equal(find(TEXT("\r\n\r"), true, &limits), 400);
	assert_int_equal(find(TEXT("GET / HTTP/1.1\n"), true, &limits), 400);
	assert_int_equal(find(TEXT("GET / HTTP/1.1\r\nA: b\n\n"), true, &limits), 400);
	assert_int_equal(find(TEXT("HTTQ"), false, &limits), 502);
	assert_int_equal(find(TEXT("\r\n"), false, &limits), 502);
	assert_int_equal(find(TEXT("\r\n"), true, &limits), HEAD_MORE);
	assert_int_equal(find(TEXT(""), true, &limits), HEAD_MORE);
	assert_int_equal(find(TEXT(""), false, &limits), HEAD_MORE);
}

static void holds_the_limits_at_their_edges(void **state)
{
	struct text line = TEXT("GET /aaaa HTTP/1.1\r\n" HOST "\r\n");
	struct text blank = TEXT("\r\nGET /aaaa HTTP/1.1\r\n" HOST "\r\n");
	struct text status = TEXT("HTTP/1.1 200 OK ...\r\nA: b\r\nC: d\r\n\r\n");
	struct parsed p;
	(void)state;
	for (int over = 0; over <= 1; over++) {
		struct head_limits with = {.line = 18 - over, .bytes = 100, .fields = FIELDS};
		assert_int_equal(find(line, true, &with), over ? 414 : HEAD_DONE);
		assert_int_equal(find(blank, true, &with), over ? 414 : HEAD_DONE);
		assert_int_equal(
			find((struct text){line.at, 19}, true, &with), over ? 414 : HEAD_MORE);
		parse(&p, line, true, METHOD_OTHER, &with);
		assert_int_equal(p.result, over ? HEAD_BAD : HEAD_DONE);
		assert_int_equal(p.error.status, over ? 414 : 0);
		free(p.bytes);

		with.line = 19 - over;
		assert_int_equal(find(status, false, &with), over ? 502 : HEAD_DONE);
		parse(&p, status, false, METHOD_GET, &with);
		assert_int_equal(p.error.status, over ? 502 : 0);
		free(p.bytes);

		with.line = 30;
		with.bytes = line.length - over;
		assert_int_equal(find(line, true, &with), over ? 431 : HEAD_DONE);
		parse(&p, line, true, METHOD_OTHER, &with);
		assert_int_equal(p.error.status, over ? 431 : 0);
		free(p.bytes);

		with.bytes = 100;
		with.fields = 2 - over;
		parse(&p, status, false, METHOD_GET, &with);
		assert_int_equal(p.error.status, over ? 502 : 0);
		free(p.bytes);
		with.fields = 1 - over;
		parse(&p, line, true, METHOD_OTHER, &with);
		assert_int_equal(p.error.status, over ? 431 : 0);
		free(p.bytes);
	}
}

static void bounds_the_method(void **state)
{
	char in[200], method[METHOD_MAX + 2];
	(void)state;
	memset(method, 'M', sizeof(method));
	snprintf(in, sizeof(in), "%.*s / HTTP/1.1\r\n" HOST "\r\n", METHOD_MAX, method);
	assert_int_equal(status_of_request(text_of(in)), 0);
	snprintf(in, sizeof(in), "%.*s / HTTP/1.1\r\n" HOST "\r\n", METHOD_MAX + 1, method);
	assert_int_equal(status_of_request(text_of(in)), 501);
}

static void searches_lists_for_whole_elements(void **state)
{
	(void)state;
	assert_true(list_has(TEXT("a"), TEXT("A")));
	assert_true(list_has(TEXT(" a , B\t,c"), TEXT("b")));
	assert_true(list_has(TEXT(",,a"), TEXT("a")));
	assert_false(list_has(TEXT("ab, a b"), TEXT("a")));
	assert_false(list_has(TEXT(""), TEXT("a")));
	assert_false(list_has((struct text){NULL, 0}, TEXT("a")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_good_requests),
		cmocka_unit_test(refuses_bad_requests),
		cmocka_unit_test(keeps_spans_of_every_part),
		cmocka_unit_test(knows_field_names_without_case),
		cmocka_unit_test(drops_what_connection_names_but_nothing_the_proxy_needs),
		cmocka_unit_test(drops_fields_that_it_knows_where_connection_names_them),
		cmocka_unit_test(bounds_the_names_in_connection),
		cmocka_unit_test(expects_continue_only_where_a_body_comes),
		cmocka_unit_test(reads_max_forwards_of_trace_and_options),
		cmocka_unit_test(reads_good_responses),
		cmocka_unit_test(refuses_bad_responses),
		cmocka_unit_test(asks_to_switch_only_to_what_it_carries),
		cmocka_unit_test(switches_only_to_what_was_asked_for),
		cmocka_unit_test(decides_on_every_byte_in_every_place),
		cmocka_unit_test(asks_for_more_at_every_prefix),
		cmocka_unit_test(finds_the_end_at_every_split),
		cmocka_unit_test(finds_at_once_what_cannot_become_a_message),
		cmocka_unit_test(holds_the_limits_at_their_edges),
		cmocka_unit_test(bounds_the_method),
		cmocka_unit_test(searches_lists_for_whole_elements),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
