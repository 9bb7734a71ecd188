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
	size_t length = forward_response(out, size, &head, keep_alive, minor, framing, name, date);
	assert_true(length > 0);
	for (size_t less = 0; less < length; less++)
		assert_int_equal(
			forward_response(out, less, &head, keep_alive, minor, framing, name, date),
			0);
	assert_int_equal(
		forward_response(out, length, &head, keep_alive, minor, framing, name, date),
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
	/* chunked, to clients that know it and to those that do not */
	{OK DATED "Transfer-Encoding: chunked\r\n\r\n", METHOD_GET, true, 1, FRAMING_SAME,
		OK DATED "Transfer-Encoding: chunked\r\n" VIA "\r\n"},
	{OK DATED "Transfer-Encoding: chunked\r\n\r\n", METHOD_GET, true, 0, FRAMING_CLOSE,
		OK DATED "Connection: close\r\n" VIA "\r\n"},
	{OK DATED "Transfer-Encoding: chunked\r\n\r\n", METHOD_GET, true, 0, FRAMING_SAME,
		OK DATED "Connection: close\r\n" VIA "\r\n"},
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
		cmocka_unit_test(sends_responses_anew),
		cmocka_unit_test(sees_its_own_name_in_via),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
