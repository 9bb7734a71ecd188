/*
 * storing_test.c - which responses are kept, and as what.
 */
#include "daemon/cache/conditional.h"
#include "daemon/cache/rules.h"
#include "tests/unit/daemon/cache/heads.h"

#define CAME 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define CC "Cache-Control: "
#define CDN "CDN-Cache-Control: "
#define MODIFIED "Last-Modified: Sun, 06 Nov 1994 07:49:37 GMT\r\n"
#define AUTH "Authorization: Basic x\r\n"
#define AGE_60 CC "max-age=60\r\n"
#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define RANGE "Range: bytes=0-1\r\n"
#define PART "Content-Range: bytes 0-1/10\r\n"
#define TAG "ETag: \"a\"\r\n"

static const struct cache_rules as_origin = {0, INT64_MAX, 86400, false};

static const struct {
	const char *section, *request;
	int status;
	const char *response;
	bool stored;
} cases[] = {
	{"3", "", 200, AGE_60, true},
	{"3", "", 200, "Expires: Sun, 06 Nov 1994 18:49:37 GMT\r\n", true},
	{"3", "", 200, CC "s-maxage=60\r\n", true},
	{"3", "", 200, CC "public\r\n" MODIFIED, true},
	{"3", "", 200, MODIFIED, true},
	{"3", "", 200, "ETag: \"a\"\r\n", true},
	/* status codes (RFC 9110 15.1) without and with a lifetime */
	{"4.2.2", "", 203, MODIFIED, true},
	{"4.2.2", "", 204, MODIFIED, true},
	{"4.2.2", "", 300, MODIFIED, true},
	{"4.2.2", "", 301, MODIFIED, true},
	{"4.2.2", "", 308, MODIFIED, true},
	{"4.2.2", "", 404, MODIFIED, true},
	{"4.2.2", "", 405, MODIFIED, true},
	{"4.2.2", "", 410, MODIFIED, true},
	{"4.2.2", "", 414, MODIFIED, true},
	{"4.2.2", "", 501, MODIFIED, true},
	{"4.2.2", "", 201, MODIFIED, false},
	{"4.2.2", "", 202, MODIFIED, false},
	{"4.2.2", "", 299, MODIFIED, false},
	{"4.2.2", "", 302, MODIFIED, false},
	{"4.2.2", "", 307, MODIFIED, false},
	{"4.2.2", "", 400, MODIFIED, false},
	{"4.2.2", "", 403, MODIFIED, false},
	{"4.2.2", "", 500, MODIFIED, false},
	{"4.2.2", "", 502, MODIFIED, false},
	{"4.2.2", "", 503, MODIFIED, false},
	{"4.2.2", "", 504, MODIFIED, false},
	{"4.2.2", "", 599, MODIFIED, false},
	{"5.2.2.9", "", 599, CC "public\r\n" MODIFIED, true},
	{"3", "", 299, AGE_60, true},
	{"3", "", 302, AGE_60, true},
	{"3", "", 303, AGE_60, true},
	{"3", "", 307, AGE_60, true},
	{"3", "", 405, AGE_60, true},
	{"3", "", 403, AGE_60, true},
	{"3", "", 499, AGE_60, true},
	{"3", "", 500, AGE_60, true},
	{"3", "", 504, AGE_60, true},
	{"3", "", 599, AGE_60, true},
	/* parts of a body whose length is known, with a strong validator */
	{"3.3", RANGE, 206, AGE_60 TAG PART, true},
	{"3.3", RANGE, 206, TAG PART, true},
	{"3.3", RANGE, 206, DATE MODIFIED PART, true},
	{"3.3", RANGE, 206, AGE_60 TAG "Content-Range: BYTES 0-1/10\r\n", true},
	{"3.3", RANGE, 206, AGE_60 TAG PART "Content-Length: 2\r\n", true},
	{"3.3", RANGE, 206, AGE_60 TAG PART "Transfer-Encoding: chunked\r\n", true},
	{"3.3", RANGE, 206, AGE_60 TAG PART "Content-Length: 3\r\n", false},
	{"3.3", "", 206, AGE_60 TAG PART, false},
	{"3.3", RANGE "If-Range: \"a\"\r\n", 206, AGE_60 TAG PART, true},
	{"3.3", RANGE, 206, AGE_60 TAG, false},
	{"3.3", RANGE, 206, AGE_60 PART, false},
	{"3.3", RANGE, 206, AGE_60 "ETag: W/\"a\"\r\n" PART, false},
	{"3.3", RANGE, 206, AGE_60 "ETag: W/\"a\"\r\n" DATE MODIFIED PART, false},
	{"3.3", RANGE, 206, AGE_60 MODIFIED "Date: Sun, 06 Nov 1994 07:49:37 GMT\r\n" PART, false},
	{"3.3", RANGE, 206, AGE_60 TAG PART PART, false},
	{"3.3", RANGE, 206, AGE_60 TAG "Content-Range: bytes 0-1/*\r\n", false},
	{"3.3", RANGE, 206, AGE_60 TAG "Content-Range: bytes */10\r\n", false},
	{"3.3", RANGE, 206, AGE_60 TAG "Content-Range: bytes 1-0/10\r\n", false},
	{"3.3", RANGE, 206, AGE_60 TAG "Content-Range: bytes 0-10/10\r\n", false},
	{"3.3", RANGE, 206, AGE_60 TAG "Content-Range: bytes 0-1/10, bytes 3-4/10\r\n", false},
	{"3.3", RANGE, 206, AGE_60 TAG "Content-Range: lines 0-1/10\r\n", false},
	{"3.3", RANGE, 206, AGE_60 TAG "Content-Type: multipart/byteranges; boundary=a\r\n", false},
	{"3.3", RANGE, 206, AGE_60 TAG PART "Content-Type: Multipart/ByteRanges; boundary=a\r\n",
		false},
	{"3", RANGE, 206, CC "no-store\r\n" TAG PART, false},
	{"4.1", RANGE, 206, AGE_60 TAG PART "Vary: *\r\n", false},
	{"3", "", 304, AGE_60, false},
	/* statuses that speak of fields in no key */
	{"RFC 9110 15.5.8", "", 407, AGE_60, false},
	{"RFC 9110 15.5.13", "If-Match: \"a\"\r\n", 412, AGE_60, false},
	{"RFC 9110 15.5.17", "Range: bytes=9-\r\n", 416, AGE_60, false},
	{"RFC 9110 15.5.18", "", 417, AGE_60, false},
	{"RFC 9110 15.5.1", "", 400, AGE_60, false},
	{"RFC 9110 15.5.9", "", 408, AGE_60, false},
	{"RFC 9110 15.5.14", "", 413, AGE_60, false},
	{"RFC 9110 15.5.20", "", 421, AGE_60, false},
	{"RFC 8470 5.2", "", 425, AGE_60, false},
	{"RFC 9110 15.5.22", "", 426, AGE_60, false},
	{"RFC 6585 3", "", 428, AGE_60, false},
	{"RFC 6585 4", "", 429, AGE_60, false},
	{"RFC 6585 5", "", 431, AGE_60, false},
	{"RFC 6585 6", "", 511, AGE_60, false},
	/* what is meant is another request */
	{"4.1", "X-HTTP-Method-Override: DELETE\r\n", 200, AGE_60, false},
	{"4.1", "x-http-method: PUT\r\n", 200, AGE_60, false},
	{"4.1", "X-Method-Override: PUT\r\n", 200, AGE_60, false},
	{"4.1", "X-Original-URL: /b\r\n", 200, AGE_60, false},
	{"4.1", "X-Rewrite-URL: /b\r\n", 200, AGE_60, false},
	/* a whole answer to a request for a part is a whole answer */
	{"3", "Range: bytes=9-\r\n", 200, AGE_60, true},
	{"3", "If-None-Match: \"a\"\r\n", 200, AGE_60, true},
	/* no-store, private */
	{"5.2.2.5", "", 200, CC "no-store\r\n" MODIFIED, false},
	{"5.2.2.5", "", 200, CC "max-age=60, NO-STORE, public\r\n", false},
	{"5.2.2.5", "", 200, AGE_60 CC "No-StOrE\r\n", false},
	{"5.2.2.5", "", 200, CC "max-age=60, x=\"no-store\"\r\n", true},
	{"5.2.2.7", "", 200, CC "private, max-age=60\r\n", false},
	{"5.2.2.7", "", 200, CC "private=\"Set-Cookie\", max-age=60\r\n", false},
	{"5.2.2.7", "", 200, CC "private, public, max-age=60\r\n", false},
	{"5.2.1.5", CC "no-store\r\n", 200, AGE_60, false},
	{"5.2.1.5", CC "x=\"no-store\"\r\n", 200, AGE_60, true},
	{"5.2.1.4", CC "no-cache\r\n", 200, AGE_60, true},
	/* must-understand */
	{"5.2.2.3", "", 200, CC "max-age=60, no-store, must-understand\r\n", true},
	{"5.2.2.3", "", 200, CC "max-age=60, no-store, must-understand=1\r\n", false},
	{"5.2.2.3", "", 599, CC "max-age=60, must-understand\r\n", false},
	{"5.2.2.3", "", 599, CC "max-age=60, no-store, must-understand\r\n", false},
	{"5.2.2.3", "", 200, CC "max-age=60, private, must-understand\r\n", false},
	/* Authorization */
	{"3.5", AUTH, 200, AGE_60, false},
	{"3.5", AUTH, 200, "Expires: Sun, 06 Nov 1994 18:49:37 GMT\r\n", false},
	{"3.5", AUTH, 200, MODIFIED, false},
	{"3.5", AUTH, 200, CC "max-age=60, public\r\n", true},
	{"3.5", AUTH, 200, CC "max-age=60, must-revalidate\r\n", true},
	{"3.5", AUTH, 200, CC "s-maxage=60\r\n", true},
	{"3.5", AUTH, 200, CC "max-age=60, proxy-revalidate\r\n", false},
	{"3.5", AUTH, 200, CC "max-age=60, no-cache\r\nETag: \"a\"\r\n", false},
	{"3.5", AUTH, 200, CC "s-maxage=60, private\r\n", false},
	{"3.5", AUTH "Connection: authorization\r\n", 200, AGE_60, false},
	/* CDN-Cache-Control instead of Cache-Control */
	{"RFC 9213 2.2", "", 200, CC "no-store\r\n" CDN "max-age=60\r\n", true},
	{"RFC 9213 2.2", "", 200, AGE_60 CDN "no-store\r\n", false},
	{"RFC 9213 2.2", "", 200, AGE_60 CDN "private\r\n", false},
	{"RFC 9213 2.1", "", 200, CC "no-store\r\n" CDN "max-age=60,\r\n", false},
	{"RFC 9213 2.1", "", 200, CC "no-store\r\n" CDN "max-age=60,\r\n" CDN "max-age=60\r\n",
		false},
	{"RFC 9213 2.2", AUTH, 200, CC "public\r\n" CDN "max-age=60\r\n", false},
	{"RFC 9213 2.2", "", 403, CDN "none\r\nExpires: Sun, 06 Nov 1994 18:49:37 GMT\r\n" MODIFIED,
		false},
	/* Vary */
	{"4.1", "", 200, AGE_60 "Vary: a\r\n", true},
	{"4.1", "", 200, AGE_60 "Vary: *\r\n", false},
	{"4.1", "", 200, AGE_60 "Vary: a, *\r\n", false},
	/* Set-Cookie: not on a guess */
	{"3", "", 200, AGE_60 "Set-Cookie: a=b\r\n", true},
	{"3", "", 200, CC "public\r\nSet-Cookie: a=b\r\n" MODIFIED, true},
	{"4.2.2", "", 200, MODIFIED "Set-Cookie: a=b\r\n", false},
	{"4.2.2", "", 200, CC "no-cache\r\nset-cookie: a=b\r\nETag: \"a\"\r\n", false},
	/* of no use */
	{"3", "", 200, "", false},
	{"3", "", 200, CC "max-age=0\r\n", false},
	{"3", "", 200, CC "max-age=60\r\nAge: 60\r\n", false},
	{"3", "", 200, CC "max-age=0\r\nETag: \"a\"\r\n", true},
	{"3", "", 200, CC "max-age=60, no-cache\r\n", false},
	{"5.2.2.4", "", 200, CC "no-cache\r\nETag: \"a\"\r\n", true},
	{"RFC 5861 3", "", 200, CC "max-age=0, stale-while-revalidate=9\r\n", true},
	/* methods */
	{"3", "Content-Length: 1\r\n", 200, AGE_60, false},
	{"3", "Transfer-Encoding: chunked\r\n", 200, AGE_60, false},
	{"3", "Content-Length: 0\r\n", 200, AGE_60, true},
};

static const char *refusal(const char *method, const char *request_lines, int status,
	const char *response_lines, const struct cache_rules *rules)
{
	struct parsed request, response;
	struct cache_request asked;
	struct cache_meta meta;
	heads_request(&request, method, request_lines);
	heads_response(&response, status, response_lines);
	cache_request_read(&asked, &request.head);
	cache_meta_read(&meta, &response.head, CAME, CAME, rules);
	const char *reason = cache_must_not_store(&asked, &response.head, &meta);
	heads_free(&request);
	heads_free(&response);
	return reason;
}

static void stores_what_may_be_stored(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *reason = refusal(
			"GET", cases[i].request, cases[i].status, cases[i].response, &as_origin);
		if ((reason == NULL) != cases[i].stored)
			fail_msg("%s: %s%d %s: %s", cases[i].section, cases[i].request,
				cases[i].status, cases[i].response, reason);
	}
}

static void a_surrogate_stores_what_is_said_to_it(void **state)
{
	static const struct cache_rules as_surrogate = {0, INT64_MAX, 86400, true};
	static const char no_store[] = "Surrogate-Control: no-store\r\n" AGE_60;
	static const char store[] = "Surrogate-Control: max-age=60\r\n" CC "no-store, private\r\n";

	(void)state;
	assert_non_null(refusal("GET", "", 200, no_store, &as_surrogate));
	assert_null(refusal("GET", "", 200, no_store, &as_origin));
	assert_null(refusal("GET", "", 200, store, &as_surrogate));
	assert_non_null(refusal("GET", "", 200, store, &as_origin));
	assert_non_null(refusal("GET", AUTH, 200, store, &as_surrogate));
	assert_non_null(refusal("GET", CC "no-store\r\n", 200, store, &as_surrogate));
}

static void stores_answers_to_get_alone(void **state)
{
	static const char *const methods[] = {
		"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "get"};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(methods); i++)
		assert_non_null(refusal(methods[i], "", 200, AGE_60, &as_origin));
}

/* Whatever lifetimes the operator wants, what the origin forbids stays forbidden. */
static void stores_nothing_more_by_the_rules_of_the_operator(void **state)
{
	static const struct cache_rules long_life = {1000, INT64_MAX, 86400, false};
	(void)state;
	assert_null(refusal("GET", "", 200, "", &long_life));
	assert_null(refusal("GET", "", 200, CC "max-age=0\r\n", &long_life));
	assert_non_null(refusal("GET", "", 200, CC "no-store\r\n", &long_life));
	assert_non_null(refusal("GET", "", 200, CC "private\r\n", &long_life));
	assert_non_null(refusal("GET", "", 200, CC "no-cache\r\n", &long_life));
	assert_non_null(refusal("GET", "", 403, "", &long_life));
	assert_non_null(refusal("GET", "", 200, "Vary: *\r\n", &long_life));
	assert_non_null(refusal("GET", "", 200, "Set-Cookie: a=b\r\n", &long_life));
	assert_non_null(refusal("GET", AUTH, 200, "", &long_life));
	assert_non_null(refusal("GET", CC "no-store\r\n", 200, AGE_60, &long_life));
}

static void reads_what_a_request_says_to_a_cache(void **state)
{
	static const struct {
		const char *method, *lines;
		bool cacheable, authorization, range, conditional;
	} requests[] = {
		{"GET", "", true, false, false, false},
		{"HEAD", "", true, false, false, false},
		{"POST", "", false, false, false, false},
		{"PURGE", "", false, false, false, false},
		{"get", "", false, false, false, false},
		{"GET", "Content-Length: 0\r\n", true, false, false, false},
		{"GET", "Content-Length: 1\r\n", false, false, false, false},
		{"GET", "Transfer-Encoding: chunked\r\n", false, false, false, false},
		{"GET", AUTH, true, true, false, false},
		{"GET", "Range: bytes=0-\r\n", true, false, true, false},
		{"HEAD", "Range: bytes=0-\r\n", true, false, false, false},
		{"GET", "If-None-Match: *\r\n", true, false, false, true},
		{"GET", "If-Match: *\r\n", false, false, false, true},
		{"GET", "If-Modified-Since: x\r\n", true, false, false, true},
		{"GET", "If-Unmodified-Since: x\r\n", false, false, false, true},
		{"GET", "If-Range: x\r\n", true, false, false, true},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(requests); i++) {
		struct parsed parsed;
		struct cache_request is;
		heads_request(&parsed, requests[i].method, requests[i].lines);
		cache_request_read(&is, &parsed.head);
		assert_int_equal(is.method, parsed.head.method_id);
		if (cache_request_is_cacheable(&is) != requests[i].cacheable ||
			is.authorization != requests[i].authorization ||
			is.range != requests[i].range || is.conditional != requests[i].conditional)
			fail_msg("%s %s", requests[i].method, requests[i].lines);
		heads_free(&parsed);
	}
}

/* RFC 9111 4.4 */
static void knows_which_answers_invalidate(void **state)
{
	static const struct {
		enum method method;
		int status;
		bool invalidates;
	} answers[] = {
		{METHOD_POST, 200, true},
		{METHOD_PUT, 204, true},
		{METHOD_DELETE, 303, true},
		{METHOD_PATCH, 399, true},
		{METHOD_OTHER, 200, true},
		{METHOD_POST, 400, false},
		{METHOD_POST, 500, false},
		{METHOD_POST, 100, false},
		{METHOD_GET, 200, false},
		{METHOD_HEAD, 200, false},
		{METHOD_OPTIONS, 200, false},
		{METHOD_TRACE, 200, false},
		{METHOD_CONNECT, 200, false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(answers); i++)
		assert_int_equal(cache_invalidates(answers[i].method, answers[i].status),
			answers[i].invalidates);
}

#define NOW TEXT("Mon, 07 Nov 1994 08:49:37 GMT")
#define ADDED "Date: Mon, 07 Nov 1994 08:49:37 GMT\r\n"

/* RFC 9111 3.1 */
static void stores_heads_without_what_belongs_to_one_message(void **state)
{
	static const struct {
		const char *lines, *want;
	} heads[] = {
		{"", ADDED},
		{"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
			"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"},
		{"Date: x\r\nA:1\r\n", "A:1\r\n" ADDED},
		{"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n",
			"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"},
		{"A: 1\r\nb:\r\nA: \xe4 2\r\nSet-Cookie: c\r\nETag: \"a\"\r\n",
			"A: 1\r\nb:\r\nA: \xe4 2\r\nSet-Cookie: c\r\nETag: \"a\"\r\n" ADDED},
		{"Connection: a, b, etag\r\na: 1\r\nB: 2\r\nc: 3\r\nETag: \"x\"\r\n",
			"c: 3\r\n" ADDED},
		{"Content-Length: 5\r\nAge: 7\r\nCache-Status: x; hit\r\nVia: 1.1 y\r\n",
			"Via: 1.1 y\r\n" ADDED},
		{"Keep-Alive: x\r\nProxy-Authenticate: x\r\nProxy-Authentication-Info: x\r\n"
		 "Proxy-Authorization: x\r\nProxy-Connection: x\r\nTE: x\r\nTrailer: x\r\n"
		 "Upgrade: x\r\n",
			ADDED},
		{"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n",
			"Content-Encoding: gzip\r\n" ADDED},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(heads); i++) {
		struct parsed response;
		char want[1000], out[1000];
		int length = snprintf(
			want, sizeof(want), "HTTP/1.1 200 Phrase\r\n%s\r\n", heads[i].want);
		heads_response(&response, 200, heads[i].lines);
		size_t is = cache_store_head(out, sizeof(out), &response.head, NOW);
		assert_true(is <= response.head.length + CACHE_HEAD_EXTRA);
		if (is != (size_t)length || memcmp(out, want, is) != 0)
			fail_msg("%s: %.*s", heads[i].lines, (int)is, out);
		for (size_t size = 0; size < is; size++) {
			char *room = heads_copy(out, size);
			assert_int_equal(cache_store_head(room, size, &response.head, NOW), 0);
			free(room);
		}
		heads_free(&response);
	}
}

/* RFC 9110 15.3.7.3: what is put together is a 200. */
static void stores_a_part_with_the_head_of_the_whole(void **state)
{
	static const char want[] = "HTTP/1.1 200 OK\r\nA: 1\r\n" TAG DATE "\r\n";
	struct parsed response;
	struct cache_meta meta;
	char out[1000];
	size_t is;

	(void)state;
	heads_response(&response, 206, PART "A: 1\r\n" TAG "Content-Length: 2\r\n" DATE);
	is = cache_store_head(out, sizeof(out), &response.head, NOW);
	assert_true(is <= response.head.length + CACHE_HEAD_EXTRA);
	assert_int_equal(is, sizeof(want) - 1);
	assert_memory_equal(out, want, is);
	cache_meta_read(&meta, &response.head, CAME, CAME, &as_origin);
	assert_int_equal(meta.status, 200);
	heads_free(&response);
}

/* RFC 9110 15.3.7.3, 8.8.2.2 */
static void unites_what_has_the_same_strong_validator(void **state)
{
	static const struct {
		const char *stored, *fresh;
		bool same;
	} pairs[] = {
		{TAG, TAG, true},
		{TAG DATE MODIFIED, TAG, true},
		{TAG DATE MODIFIED, DATE MODIFIED, false},
		{DATE MODIFIED, TAG DATE MODIFIED, false},
		{TAG, "ETag: \"b\"\r\n", false},
		{TAG, "ETag: W/\"a\"\r\n", false},
		{"ETag: W/\"a\"\r\n", "ETag: W/\"a\"\r\n", false},
		{"ETag: W/\"a\"\r\n", TAG, false},
		{DATE MODIFIED, DATE MODIFIED, true},
		{DATE MODIFIED, DATE "Last-Modified: Sun, 06 Nov 1994 07:49:36 GMT\r\n", false},
		{DATE "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
			DATE "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", false},
		{"", "", false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(pairs); i++) {
		struct parsed stored, fresh;
		struct cache_meta old, new;
		struct text a, b;

		heads_response(&stored, 200, pairs[i].stored);
		heads_response(&fresh, 206, pairs[i].fresh);
		cache_meta_read(&old, &stored.head, CAME, CAME, &as_origin);
		cache_meta_read(&new, &fresh.head, CAME, CAME, &as_origin);
		a = cache_strong_validator(&stored.head, &old);
		b = cache_strong_validator(&fresh.head, &new);
		if ((a.length && text_equal(a, b)) != pairs[i].same)
			fail_msg("%s: %s", pairs[i].stored, pairs[i].fresh);
		heads_free(&stored);
		heads_free(&fresh);
	}
}

static void reads_which_part_it_is(void **state)
{
	static const struct {
		const char *value;
		bool good;
		uint64_t first, last, total;
	} values[] = {
		{"bytes 0-0/1", true, 0, 0, 1},
		{"bytes 5-9/10", true, 5, 9, 10},
		{"Bytes  5-9/10", false, 0, 0, 0},
		{"bytes 18446744073709551613-18446744073709551614/18446744073709551615", false, 0,
			0, 0},
		{"bytes 0-9223372036854775806/9223372036854775807", true, 0, INT64_MAX - 1,
			INT64_MAX},
		{"bytes 0-9223372036854775807/9223372036854775808", false, 0, 0, 0},
		{"bytes 0-99999999999999999999/999999999999999999999", false, 0, 0, 0},
		{"bytes 05-9/10", true, 5, 9, 10},
		{"bytes 5-9/10 ", true, 5, 9, 10},
		{"bytes 5-9/10;", false, 0, 0, 0},
		{"bytes 5 - 9/10", false, 0, 0, 0},
		{"bytes=5-9/10", false, 0, 0, 0},
		{"bytes 5-/10", false, 0, 0, 0},
		{"bytes -9/10", false, 0, 0, 0},
		{"bytes 5-9/", false, 0, 0, 0},
		{"bytes 5-9", false, 0, 0, 0},
		{"bytes 5", false, 0, 0, 0},
		{"bytes ", false, 0, 0, 0},
		{"bytes", false, 0, 0, 0},
		{"", false, 0, 0, 0},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		struct parsed response;
		struct range range;
		char lines[200];
		uint64_t total;
		bool good;

		snprintf(lines, sizeof(lines), "Content-Range: %s\r\n", values[i].value);
		heads_response(&response, 206, lines);
		good = content_range_parse(&response.head, &range, &total);
		if (good != values[i].good ||
			(good && (range.first != values[i].first || range.last != values[i].last ||
					 total != values[i].total)))
			fail_msg("%s", values[i].value);
		heads_free(&response);
	}
}

static void needs_no_more_room_than_it_says(void **state)
{
	struct parsed response;
	char lines[HEADS_FIELDS * 4 + 1] = "", out[1000];
	(void)state;
	for (int i = 0; i < HEADS_FIELDS; i++)
		strcat(lines, "A:\r\n");
	heads_parse(&response, "HTTP/1.1 200\r\n", lines, false);
	size_t room = response.head.length + CACHE_HEAD_EXTRA;
	assert_true(cache_store_head(out, room, &response.head, NOW) > 0);
	heads_free(&response);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stores_what_may_be_stored),
		cmocka_unit_test(a_surrogate_stores_what_is_said_to_it),
		cmocka_unit_test(stores_answers_to_get_alone),
		cmocka_unit_test(stores_nothing_more_by_the_rules_of_the_operator),
		cmocka_unit_test(reads_what_a_request_says_to_a_cache),
		cmocka_unit_test(knows_which_answers_invalidate),
		cmocka_unit_test(stores_heads_without_what_belongs_to_one_message),
		cmocka_unit_test(stores_a_part_with_the_head_of_the_whole),
		cmocka_unit_test(unites_what_has_the_same_strong_validator),
		cmocka_unit_test(reads_which_part_it_is),
		cmocka_unit_test(needs_no_more_room_than_it_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
