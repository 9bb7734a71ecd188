/*
 * forward_test.c - received bytes in, forwarded bytes out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "daemon/http/forward.h"

#define FIELDS 32
#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define DATED "Date: " DATE "\r\n"
#define VIA "Via: 1.1 egret\r\n"
#define HOST "Host: h\r\n"
#define GET "GET http://h/ HTTP/1.1\r\n" HOST
#define OK "HTTP/1.1 200 OK\r\n"

static const struct head_limits limits = {.line = 1000, .bytes = 10000, .fields = FIELDS};

/* Also at every size: it fits exactly, and one byte less is refused. */
static char *forward_as_request(const char *in)
{
	struct field fields[FIELDS];
	struct head head = {.fields = fields};
	struct head_error error;
	struct uri uri;
	if (head_request(text_of(in), &limits, &head, &error) != HEAD_DONE ||
		uri_parse(&head, &uri, &error))
		fail_msg("refused: %s: %s", in, error.text);

	size_t size = strlen(in) + FORWARD_EXTRA(5);
	char *out = malloc(size + 1);
	CHECK(out);
	size_t length = forward_request(out, size, &head, &uri, TEXT("egret"));
	assert_true(length > 0);
	for (size_t less = 0; less < length; less++)
		assert_int_equal(forward_request(out, less, &head, &uri, TEXT("egret")), 0);
	out = realloc(out, length);
	CHECK(out);
	assert_int_equal(forward_request(out, length, &head, &uri, TEXT("egret")), length);
	out = realloc(out, length + 1);
	CHECK(out);
	out[length] = '\0';
	return out;
}

static const struct {
	const char *in, *out;
} requests[] = {
	{GET "\r\n", "GET / HTTP/1.1\r\n" HOST VIA "\r\n"},
	{"GET http://h/p?q HTTP/1.1\r\nA: 1\r\nhost: evil:1\r\nB: 2\r\n\r\n",
		"GET /p?q HTTP/1.1\r\n" HOST "A: 1\r\nB: 2\r\n" VIA "\r\n"},
	{"GET HTTP://H:8080?q HTTP/1.0\r\n\r\n",
		"GET /?q HTTP/1.1\r\nHost: h:8080\r\nVia: 1.0 egret\r\n\r\n"},
	{"OPTIONS http://[2001:DB8::1]:80 HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: [2001:db8::1]\r\n" VIA "\r\n"},
	{"brew http://h/ HTTP/1.1\r\n" HOST "\r\n", "brew / HTTP/1.1\r\n" HOST VIA "\r\n"},
	/* white space is made regular, but never more */
	{GET "A:b\r\nC:  \t d \t\r\nE:\r\nF: \r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "A:b\r\nC: d\r\nE:\r\nF: \r\n" VIA "\r\n"},
	/* hop-by-hop fields, by name and by Connection */
	{GET "Connection: close, X-A, Via, host\r\nKeep-Alive: x\r\nProxy-Connection: x\r\nTE: "
	     "x\r\n"
	     "Trailer: x\r\nUpgrade: x\r\nProxy-Authorization: x\r\nProxy-Authenticate: x\r\n"
	     "Proxy-Authentication-Info: x\r\nx-a: x\r\nX-B: b\r\nVia: 1.0 fred\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "X-B: b\r\nVia: 1.0 fred\r\n" VIA "\r\n"},
	{GET "Connection: upgrade, x\r\nUpgrade: websocket\r\nX: 1\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n" VIA
		"\r\n"},
	/* trailers are wanted; not of HTTP/1.0, which has none */
	{GET "Connection: TE\r\nTE: trailers\r\nA: 1\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "A: 1\r\nConnection: TE\r\nTE: trailers\r\n" VIA "\r\n"},
	{GET "TE: gzip;q=0.5, Trailers\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Connection: TE\r\nTE: trailers\r\n" VIA "\r\n"},
	{GET "TE: trailersx\r\n\r\n", "GET / HTTP/1.1\r\n" HOST VIA "\r\n"},
	{"GET http://h/ HTTP/1.0\r\nTE: trailers\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Via: 1.0 egret\r\n\r\n"},
	{GET "Connection: upgrade, te\r\nUpgrade: websocket\r\nTE: trailers\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n" VIA
		"\r\n"},
	/* framing */
	{"POST http://h/ HTTP/1.1\r\n" HOST "Content-Length:   42\r\nA: 1\r\n\r\n",
		"POST / HTTP/1.1\r\n" HOST "A: 1\r\nContent-Length: 42\r\n" VIA "\r\n"},
	{"POST http://h/ HTTP/1.1\r\n" HOST
	 "Connection: content-length\r\nContent-Length: 9223372036854775807\r\n\r\n",
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775807\r\n" VIA "\r\n"},
	{"POST http://h/ HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n" VIA "\r\n"},
	{"POST http://h/ HTTP/1.1\r\n" HOST "transfer-encoding: CHUNKED\r\n\r\n",
		"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" VIA "\r\n"},
	/* Expect goes only where a 100 can come back */
	{"POST http://h/ HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
		"POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n" VIA
		"\r\n"},
	{"POST http://h/ HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nVia: 1.0 egret\r\n\r\n"},
	{GET "Expect: 100-continue\r\n\r\n", "GET / HTTP/1.1\r\n" HOST VIA "\r\n"},
	/* Max-Forwards */
	{"TRACE http://h/ HTTP/1.1\r\n" HOST "Max-Forwards: 10\r\n\r\n",
		"TRACE / HTTP/1.1\r\n" HOST "Max-Forwards: 9\r\n" VIA "\r\n"},
	{"OPTIONS http://h/ HTTP/1.1\r\n" HOST "Max-Forwards: 1\r\n\r\n",
		"OPTIONS / HTTP/1.1\r\n" HOST "Max-Forwards: 0\r\n" VIA "\r\n"},
	{GET "Max-Forwards: 10\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Max-Forwards: 10\r\n" VIA "\r\n"},
};

static void sends_requests_anew(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(requests); i++) {
		char *out = forward_as_request(requests[i].in);
		assert_string_equal(out, requests[i].out);
		free(out);
	}
}

/* Each field costs no more room than it took, so that FORWARD_EXTRA is enough for any number. */
static void never_outgrows_its_allowance(void **state)
{
	char in[1000] = "GET http://h?q HTTP/1.1\r\nHost:\r\n";
	(void)state;
	for (int i = 2; i < FIELDS; i++)
		strcat(in, "A:\r\n");
	strcat(in, "\r\n");
	char *out = forward_as_request(in);
	assert_true(strlen(out) < strlen(in) + 100);
	free(out);
}

static void asks_for_all_without_saying_for_whom(void **state)
{
	static const char in[] =
		"POST /p HTTP/1.1\r\n" HOST "surrogate-capability: pod=\"ESI/1.0\"\r\nA: 1\r\n"
		"X-Forwarded-For: 10.42.0.1\r\nForwarded: for=10.42.0.1\r\nX-Forwarded-Host: b\r\n"
		"Transfer-Encoding: chunked\r\nConnection: TE\r\nTE: trailers\r\n" VIA "\r\n";
	static const char out[] =
		"POST /p HTTP/1.1\r\n" HOST "A: 1\r\n"
		"Transfer-Encoding: chunked\r\nConnection: TE\r\nTE: trailers\r\n" VIA
		"Surrogate-Capability: egret=\"Surrogate/1.0\"\r\n\r\n";
	struct field fields[FIELDS];
	struct head head = {.fields = fields};
	struct head_error error;
	char is[sizeof(in) + FORWARD_EXTRA(0)];
	size_t length;

	(void)state;
	assert_int_equal(head_request(text_of(in), &limits, &head, &error), HEAD_DONE);
	length = forward_for_all(is, sizeof(is), &head, true);
	assert_int_equal(length, sizeof(out) - 1);
	assert_memory_equal(is, out, length);
	assert_int_equal(forward_for_all(is, length - 1, &head, true), 0);
}

static char *forward_as_response(
	const char *in, enum method method, bool keep_alive, int minor, enum framing framing)
{
	struct field fields[FIELDS];
	struct head head = {.fields = fields};
	struct head_error error;
	struct text name = TEXT("egret"), date = TEXT(DATE);
	if (head_response(text_of(in), &limits, method, &head, &error) != HEAD_DONE)
		fail_msg("refused: %s: %s", in, error.text);

	size_t size = strlen(in) + FORWARD_EXTRA(5);
	char *out = malloc(size);
	CHECK(out);
	size_t length = forward_response(
		out, size, &head, keep_alive, minor, framing, name, date, (struct text){NULL, 0});
	assert_true(length > 0);
	for (size_t less = 0; less < length; less++)
		assert_int_equal(forward_response(out, less, &head, keep_alive, minor, framing,
					 name, date, (struct text){NULL, 0}),
			0);
	assert_int_equal(forward_response(out, length, &head, keep_alive, minor, framing, name,
				 date, (struct text){NULL, 0}),
		length);
	out[length] = '\0';
	return out;
}

static const struct {
	const char *in;
	enum method method;
	bool keep_alive;
	int client_minor;
	enum framing framing;
	const char *out;
} responses[] = {
	{OK DATED "Content-Length: 5\r\nA:b\r\n\r\n", METHOD_GET, true, 1, FRAMING_SAME,
		OK DATED "A:b\r\nContent-Length: 5\r\n" VIA "\r\n"},
	{OK "Content-Length: 5\r\n\r\n", METHOD_GET, true, 1, FRAMING_SAME,
		OK DATED "Content-Length: 5\r\n" VIA "\r\n"},
	{OK DATED "Content-Length: 5\r\n\r\n", METHOD_GET, false, 1, FRAMING_SAME,
		OK DATED "Content-Length: 5\r\nConnection: close\r\n" VIA "\r\n"},
	{OK DATED "Content-Length: 5\r\n\r\n", METHOD_GET, true, 0, FRAMING_SAME,
		OK DATED "Content-Length: 5\r\nConnection: keep-alive\r\n" VIA "\r\n"},
	{OK DATED "Content-Length: 5\r\n\r\n", METHOD_GET, false, 0, FRAMING_SAME,
		OK DATED "Content-Length: 5\r\nConnection: close\r\n" VIA "\r\n"},
	{"HTTP/1.0 200\r\nConnection: x\r\nX: y\r\nContent-Length: 5\r\n\r\n", METHOD_GET, true, 1,
		FRAMING_SAME,
		"HTTP/1.1 200 \r\n" DATED "Content-Length: 5\r\nVia: 1.0 egret\r\n\r\n"},
	{OK DATED "Via: 1.1 a\r\nKeep-Alive: x\r\nProxy-Authenticate: Basic\r\nTrailer: x\r\n"
		  "Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
		METHOD_GET, true, 1, FRAMING_SAME,
		OK DATED "Via: 1.1 a\r\nContent-Length: 0\r\n" VIA "\r\n"},
	{OK "Date: x\r\nCache-Control: public\r\nX: y\r\nConnection: date, cache-control, x\r\n"
	    "Content-Length: 0\r\n\r\n",
		METHOD_GET, true, 1, FRAMING_SAME, OK DATED "Content-Length: 0\r\n" VIA "\r\n"},
	{"HTTP/1.1 426 x\r\n" DATED "Upgrade: TLS/1.2\r\nConnection: upgrade\r\n"
	 "Content-Length: 0\r\n\r\n",
		METHOD_GET, true, 1, FRAMING_SAME,
		"HTTP/1.1 426 x\r\n" DATED "Content-Length: 0\r\nConnection: Upgrade\r\n"
		"Upgrade: TLS/1.2\r\n" VIA "\r\n"},
	/* chunked, to clients that know it and to those that do not */
	{OK DATED "Transfer-Encoding: chunked\r\n\r\n", METHOD_GET, true, 1, FRAMING_SAME,
		OK DATED "Transfer-Encoding: chunked\r\n" VIA "\r\n"},
	{OK DATED "Transfer-Encoding: chunked\r\n\r\n", METHOD_GET, true, 0, FRAMING_CLOSE,
		OK DATED "Connection: close\r\n" VIA "\r\n"},
	{OK DATED "Transfer-Encoding: chunked\r\n\r\n", METHOD_GET, true, 0, FRAMING_SAME,
		OK DATED "Connection: close\r\n" VIA "\r\n"},
	/* trailers come behind it */
	{OK DATED "Transfer-Encoding: chunked\r\nTrailer: a, b\r\n\r\n", METHOD_GET, true, 1,
		FRAMING_TRAILERS,
		OK DATED "Trailer: a, b\r\nTransfer-Encoding: chunked\r\n" VIA "\r\n"},
	{OK DATED "Transfer-Encoding: chunked\r\nTrailer: a, b\r\n\r\n", METHOD_GET, true, 1,
		FRAMING_SAME, OK DATED "Transfer-Encoding: chunked\r\n" VIA "\r\n"},
	/* until the origin closes */
	{OK DATED "\r\n", METHOD_GET, true, 1, FRAMING_SAME,
		OK DATED "Connection: close\r\n" VIA "\r\n"},
	{OK DATED "\r\n", METHOD_GET, true, 1, FRAMING_CHUNKED,
		OK DATED "Transfer-Encoding: chunked\r\n" VIA "\r\n"},
	{OK DATED "\r\n", METHOD_GET, false, 1, FRAMING_CHUNKED,
		OK DATED "Transfer-Encoding: chunked\r\nConnection: close\r\n" VIA "\r\n"},
	{OK DATED "\r\n", METHOD_GET, true, 0, FRAMING_CHUNKED,
		OK DATED "Connection: close\r\n" VIA "\r\n"},
	/* no body at all */
	{OK DATED "Content-Length: 5\r\n\r\n", METHOD_HEAD, true, 1, FRAMING_SAME,
		OK DATED "Content-Length: 5\r\n" VIA "\r\n"},
	{OK DATED "Transfer-Encoding: chunked\r\n\r\n", METHOD_HEAD, true, 1, FRAMING_SAME,
		OK DATED VIA "\r\n"},
	{"HTTP/1.1 304 x\r\nContent-Length: 5\r\n" DATED "\r\n", METHOD_GET, true, 1, FRAMING_SAME,
		"HTTP/1.1 304 x\r\n" DATED "Content-Length: 5\r\n" VIA "\r\n"},
	{"HTTP/1.1 204 x\r\nContent-Length: 0\r\n" DATED "\r\n", METHOD_GET, true, 0, FRAMING_SAME,
		"HTTP/1.1 204 x\r\n" DATED "Connection: keep-alive\r\n" VIA "\r\n"},
	{"HTTP/1.1 100 Continue\r\n\r\n", METHOD_GET, false, 1, FRAMING_SAME,
		"HTTP/1.1 100 Continue\r\n" VIA "\r\n"},
	{"HTTP/1.1 103 Early Hints\r\nLink: x\r\nConnection: close\r\n\r\n", METHOD_GET, true, 1,
		FRAMING_SAME, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n" VIA "\r\n"},
};

static void sends_responses_anew(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(responses); i++) {
		char *out = forward_as_response(responses[i].in, responses[i].method,
			responses[i].keep_alive, responses[i].client_minor, responses[i].framing);
		assert_string_equal(out, responses[i].out);
		free(out);
	}
}

/* RFC 9110 6.5.1 */
static void sends_on_those_trailers_that_may_be_some(void **state)
{
	static const struct {
		const char *in, *out;
	} trailers[] = {
		{"\r\n", ""},
		{"A: b\r\n\r\n", "A: b\r\n"},
		{"A:b\r\nB:\r\nC: \t\xe4  d \t\r\nB: 2\r\n\r\n",
			"A:b\r\nB:\r\nC: \xe4  d\r\nB: 2\r\n"},
		{"Grpc-Status: 0\r\nServer-Timing: x\r\nContent-Digest: x\r\nRepr-Digest: "
		 "x\r\n\r\n",
			"Grpc-Status: 0\r\nServer-Timing: x\r\nContent-Digest: x\r\n"
			"Repr-Digest: x\r\n"},
		/* framing, routing, control, authentication, what is said of the content */
		{"Content-Length: 1\r\nTransfer-Encoding: chunked\r\nHost: x\r\nVia: x\r\n"
		 "Connection: x\r\nTE: x\r\nTrailer: x\r\nUpgrade: x\r\nKeep-Alive: x\r\n\r\n",
			""},
		{"Cache-Control: x\r\nCDN-Cache-Control: x\r\nAge: x\r\nExpires: x\r\nDate: x\r\n"
		 "Vary: x\r\nLocation: x\r\nRetry-After: x\r\nWarning: x\r\nPragma: x\r\n\r\n",
			""},
		{"Set-Cookie: x\r\nset-cookie2: x\r\nCookie: x\r\nAuthorization: x\r\n"
		 "WWW-Authenticate: x\r\nProxy-Authenticate: x\r\nAuthentication-Info: x\r\n\r\n",
			""},
		{"Content-Type: x\r\nCONTENT-ENCODING: x\r\nContent-Range: x\r\nContent-Other: "
		 "x\r\n"
		 "Content-Digests: x\r\nForwarded: x\r\n\r\n",
			""},
		{"X: 1\r\nContent-Length: 1\r\nY: 2\r\n\r\n", "X: 1\r\nY: 2\r\n"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(trailers); i++) {
		size_t length = strlen(trailers[i].in);
		char *in = malloc(length), *out = malloc(length);

		CHECK(in && out);
		memcpy(in, trailers[i].in, length);
		size_t n = forward_trailers(out, (struct text){in, length});
		if (n != strlen(trailers[i].out) || memcmp(out, trailers[i].out, n) != 0)
			fail_msg("%s: %.*s", trailers[i].in, (int)n, out);
		free(in);
		free(out);
	}
}

static const struct {
	const char *via;
	bool loop;
} vias[] = {
	{"Via: 1.1 egret", true},
	{"Via: 1.1 EGRET", true},
	{"Via: HTTP/1.1 \t egret (a comment)", true},
	{"Via: 1.0 fred, 1.1 egret", true},
	{"Via: 1.0 fred,1.1 egret,1.1 x", true},
	{"Via: 1.0 fred\r\nVia: 1.1 egret", true},
	{"Via: 1.0 fred (a, (b) \\) c), 1.1 egret", true},
	{"Via: ,, 1.1 egret", true},
	{"Via: 1.1 egret2", false},
	{"Via: 1.1 egret:80", false},
	{"Via: 1.1 egre", false},
	{"Via: 1.1 fred (1.1 egret)", false},
	{"Via: 1.1 fred (, 1.1 egret)", false},
	{"Via: 1.1 fred (a (b), 1.1 egret c)", false},
	{"Via: 1.1 fred (\\), 1.1 egret", false},
	{"Via: egret 1.1", false},
	{"Via: egret", false},
	{"Via:", false},
	{"Via: ((((", false},
	{"Via: 1.1 fred (\\", false},
	{"X-Via: 1.1 egret", false},
};

static void sees_its_own_name_in_via(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(vias); i++) {
		struct field fields[FIELDS];
		struct head head = {.fields = fields};
		struct head_error error;
		char in[200];
		snprintf(in, sizeof(in), GET "%s\r\n\r\n", vias[i].via);
		assert_int_equal(head_request(text_of(in), &limits, &head, &error), HEAD_DONE);
		if (forward_is_loop(&head, TEXT("egret")) != vias[i].loop)
			fail_msg("%s", vias[i].via);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sends_requests_anew),
		cmocka_unit_test(never_outgrows_its_allowance),
		cmocka_unit_test(asks_for_all_without_saying_for_whom),
		cmocka_unit_test(sends_responses_anew),
		cmocka_unit_test(sends_on_those_trailers_that_may_be_some),
		cmocka_unit_test(sees_its_own_name_in_via),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
