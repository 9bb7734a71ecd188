/*
 * freshness_test.c - lifetimes, ages, and what they allow.
 */
#include "daemon/cache/rules.h"
#include "daemon/http/date.h"
#include "tests/unit/daemon/cache/heads.h"

#define MOST CONTROL_MOST
#define CAME 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define CC "Cache-Control: "
#define CDN "CDN-Cache-Control: "
#define SURROGATE "Surrogate-Control: "

static const struct cache_rules as_origin = {0, INT64_MAX, 86400, false};
static const struct cache_rules as_surrogate = {0, INT64_MAX, 86400, true};

static void meta_of(
	struct cache_meta *meta, int status, const char *lines, const struct cache_rules *rules)
{
	struct parsed response;
	heads_response(&response, status, lines);
	cache_meta_read(meta, &response.head, CAME, CAME, rules);
	heads_free(&response);
}

/* Guessed lifetimes are negative here. */
static const struct {
	const char *section;
	int status;
	const char *lines;
	int64_t lifetime;
} lifetimes[] = {
	/* the order */
	{"4.2.1", 200, CC "max-age=60\r\n", 60},
	{"4.2.1", 200, CC "max-age=60, s-maxage=7\r\n", 7},
	{"4.2.1", 200, CC "s-maxage=70\r\n" CC "max-age=6\r\n", 70},
	{"4.2.1", 200, CC "max-age=0, s-maxage=70\r\nExpires: 0\r\n", 70},
	{"5.3", 200, DATE CC "max-age=60\r\nExpires: Sun, 06 Nov 1994 08:49:39 GMT\r\n", 60},
	{"5.3", 200, DATE CC "max-age=0\r\nExpires: Sun, 06 Nov 1994 18:49:39 GMT\r\n", 0},
	{"5.3", 200, CC "max-age=60\r\nExpires: 0\r\n", 60},
	{"4.2.1", 200, CC "max-age=x\r\nExpires: Sun, 06 Nov 1994 18:49:39 GMT\r\n", 0},
	{"4.2.1", 200, CC "no-transform\r\n" DATE "Expires: Sun, 06 Nov 1994 08:49:47 GMT\r\n", 10},
	{"1.2.2", 200, CC "max-age=99999999999\r\n", MOST},
	{"5.2.2", 599, CC "max-age=60\r\n", 60},
	/* Expires less Date */
	{"5.3", 200, DATE "Expires: Sun, 06 Nov 1994 08:49:47 GMT\r\n", 10},
	{"5.3", 200,
		"Date: Sun, 06 Nov 1994 08:00:00 GMT\r\n"
		"Expires: Sun, 06 Nov 1994 08:00:05 GMT\r\n",
		5},
	{"5.3", 200, DATE "Expires: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 0},
	{"5.3", 200, DATE "Expires: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 0},
	{"5.3", 200, DATE "Expires: Sunday, 06-Nov-94 08:49:47 GMT\r\n", 10},
	{"5.3", 200, DATE "Expires: Sun Nov  6 08:49:47 1994\r\n", 10},
	{"5.3", 200, DATE "Expires: Fri, 31 Dec 9999 23:59:59 GMT\r\n", MOST},
	{"5.3", 200, DATE "Expires: 0\r\n", 0},
	{"5.3", 200, DATE "Expires:\r\n", 0},
	{"5.3", 200, DATE "Expires: -1\r\n", 0},
	{"4.2", 200, DATE "Expires: Sun, 06 Nov 1994 08:49:47 UTC\r\n", 0},
	{"4.2.1", 200,
		DATE "Expires: Sun, 06 Nov 1994 08:49:47 GMT\r\n"
		     "Expires: Sun, 06 Nov 1994 08:49:57 GMT\r\n",
		0},
	/* no Date that can be read: when it came */
	{"RFC 9110 6.6.1", 200, "Expires: Sun, 06 Nov 1994 08:49:47 GMT\r\n", 10},
	{"RFC 9110 6.6.1", 200, "Date: foo\r\nExpires: Sun, 06 Nov 1994 08:49:47 GMT\r\n", 10},
	{"RFC 9110 6.6.1", 200,
		DATE "Date: Sun, 06 Nov 1994 08:49:40 GMT\r\n"
		     "Expires: Sun, 06 Nov 1994 08:49:47 GMT\r\n",
		10},
	/* guesses */
	{"4.2.2", 200, DATE "Last-Modified: Sun, 06 Nov 1994 08:32:57 GMT\r\n", -100},
	{"4.2.2", 200, "Last-Modified: Sun, 06 Nov 1994 08:32:57 GMT\r\n", -100},
	{"4.2.2", 200, DATE "Last-Modified: Sun, 06 Nov 1904 08:32:57 GMT\r\n", 0},
	{"4.2.2", 200, DATE "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n", -86400},
	{"4.2.2", 200, DATE "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT\r\n", 0},
	{"4.2.2", 200, DATE "Last-Modified: yesterday\r\n", 0},
	{"4.2.2", 200, DATE, 0},
	{"4.2.2", 203, "Last-Modified: Sun, 06 Nov 1994 08:32:57 GMT\r\n", -100},
	{"4.2.2", 404, "Last-Modified: Sun, 06 Nov 1994 08:32:57 GMT\r\n", -100},
	{"4.2.2", 403, "Last-Modified: Sun, 06 Nov 1994 08:32:57 GMT\r\n", 0},
	{"5.2.2.9", 403, CC "public\r\nLast-Modified: Sun, 06 Nov 1994 08:32:57 GMT\r\n", -100},
	{"4.2.2", 200, CC "max-age=3\r\nLast-Modified: Sun, 06 Nov 1994 08:32:57 GMT\r\n", 3},
	/* CDN-Cache-Control instead of Cache-Control and Expires */
	{"RFC 9213 2.2", 200, CDN "max-age=60\r\n" CC "max-age=1, s-maxage=2\r\n", 60},
	{"RFC 9213 2.2", 200, CC "max-age=100\r\n" CDN "max-age=6\r\n", 6},
	{"RFC 9213 2.2", 200, CDN "max-age=6\r\n" CDN "s-maxage=60\r\n", 60},
	{"RFC 9213 2.2", 200, CDN "none\r\n" CC "max-age=60\r\n", 0},
	{"RFC 9213 2.2", 200, CDN "none\r\n" DATE "Expires: Sun, 06 Nov 1994 08:49:47 GMT\r\n", 0},
	{"RFC 9213 2.1", 200, CDN "\r\n" CC "max-age=60\r\n", 60},
	{"RFC 9213 2.1", 200, CDN "max-age=\r\n" CC "max-age=60\r\n", 60},
	{"RFC 9213 2.1", 200, CDN "max-age=6\r\n" CDN "MAX-AGE=6\r\n" CC "max-age=60\r\n", 60},
};

static void computes_lifetimes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(lifetimes); i++) {
		struct cache_meta meta;
		meta_of(&meta, lifetimes[i].status, lifetimes[i].lines, &as_origin);
		int64_t is = lifetimes[i].lifetime < 0 ? -meta.lifetime : meta.lifetime;
		if (is != lifetimes[i].lifetime ||
			(lifetimes[i].lifetime < 0 && !(meta.flags & CACHE_HEURISTIC)) ||
			(lifetimes[i].lifetime > 0 && (meta.flags & CACHE_HEURISTIC)))
			fail_msg("%s: %s: %lld", lifetimes[i].section, lifetimes[i].lines,
				(long long)meta.lifetime);
	}
}

static void counts_surrogate_control_where_it_is_to(void **state)
{
	static const struct {
		const char *lines;
		int64_t surrogate, other;
	} cases[] = {
		{SURROGATE "max-age=60\r\n" CC "max-age=1\r\n", 60, 1},
		{CC "max-age=100\r\n" SURROGATE "max-age=6\r\n", 6, 100},
		{SURROGATE "max-age=60\r\n" CDN "max-age=7\r\n", 60, 7},
		{SURROGATE "max-age=60\r\n" DATE "Expires: 0\r\n", 60, 0},
		{SURROGATE "max-age=60;other\r\n" CC "max-age=1\r\n", 1, 1},
		{SURROGATE "content=\"ESI/1.0\"\r\n" CC "max-age=1\r\n", 1, 1},
		{SURROGATE "max-age=60;egret\r\n" CC "must-revalidate, max-age=1\r\n", 60, 1},
	};
	struct cache_meta meta;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		meta_of(&meta, 200, cases[i].lines, &as_surrogate);
		assert_int_equal(meta.lifetime, cases[i].surrogate);
		meta_of(&meta, 200, cases[i].lines, &as_origin);
		assert_int_equal(meta.lifetime, cases[i].other);
	}
}

static const struct {
	const char *section, *lines;
	int64_t request_time; /* before CAME */
	int64_t age;
} ages[] = {
	{"4.2.3", "", 0, 0},
	{"4.2.3", DATE, 0, 0},
	{"4.2.3", DATE, 5, 5},
	{"4.2.3", DATE "Age: 7\r\n", 0, 7},
	{"4.2.3", DATE "Age: 7\r\n", 5, 12},
	{"4.2.3", "Date: Sun, 06 Nov 1994 08:49:27 GMT\r\n", 0, 10},
	{"4.2.3", "Date: Sun, 06 Nov 1994 08:49:27 GMT\r\nAge: 7\r\n", 2, 10},
	{"4.2.3", "Date: Sun, 06 Nov 1994 08:49:27 GMT\r\nAge: 7\r\n", 4, 11},
	{"4.2.3", "Date: Sun, 06 Nov 1994 09:49:37 GMT\r\n", 0, 0},
	{"4.2.3", "Date: Sat, 01 Jan 0000 00:00:00 GMT\r\n", 0, MOST},
	{"4.2.3", "Date: foo\r\n", 3, 3},
	{"4.2.3", DATE, -5, 0},
	{"5.1", "Age: 0\r\n", 0, 0},
	{"5.1", "Age: 007\r\n", 0, 7},
	{"1.2.2", "Age: 2147483648\r\n", 0, MOST},
	{"1.2.2", "Age: 4294967296\r\n", 0, MOST},
	{"1.2.2", "Age: 18446744073709551616\r\n", 0, MOST},
	{"1.2.2", "Age: 99999999999999999999999999999999\r\n", 9, MOST},
	{"5.1", "Age: 7, 9\r\n", 0, 7},
	{"5.1", "Age: 7,0\r\n", 0, 7},
	/* what cannot be read is stale */
	{"4.2.1", "Age: 7\r\nAge: 7\r\n", 0, MOST},
	{"4.2.1", "Age: 0\r\nAge: 7200\r\n", 0, MOST},
	{"4.2.1", "Age:\r\n", 0, MOST},
	{"4.2.1", "Age: , 7\r\n", 0, MOST},
	{"4.2.1", "Age: abc\r\n", 0, MOST},
	{"4.2.1", "Age: -7\r\n", 0, MOST},
	{"4.2.1", "Age: +7\r\n", 0, MOST},
	{"4.2.1", "Age: 7.0\r\n", 0, MOST},
	{"4.2.1", "Age: 7;foo=bar\r\n", 0, MOST},
	{"4.2.1", "Age: \"7\"\r\n", 0, MOST},
};

static void computes_the_age_on_arrival(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(ages); i++) {
		struct cache_meta meta;
		struct parsed response;
		heads_response(&response, 200, ages[i].lines);
		cache_meta_read(
			&meta, &response.head, CAME - ages[i].request_time, CAME, &as_origin);
		if (cache_age(&meta, CAME) != ages[i].age)
			fail_msg("%s: %s: %lld", ages[i].section, ages[i].lines,
				(long long)cache_age(&meta, CAME));
		heads_free(&response);
	}
}

static void grows_older_in_the_store_and_never_younger(void **state)
{
	struct cache_meta meta;
	(void)state; /* RFC 9111 4.2.3 */
	meta_of(&meta, 200, DATE "Age: 7\r\n", &as_origin);
	assert_int_equal(cache_age(&meta, CAME + 3), 10);
	assert_int_equal(cache_age(&meta, CAME - 1000), 7);
	assert_int_equal(cache_age(&meta, INT64_C(1) << 40), MOST);
	meta_of(&meta, 200, "Age: 2147483647\r\n", &as_origin);
	assert_int_equal(cache_age(&meta, CAME + 3), MOST);
}

static void takes_an_age_that_overflows_as_stale_whatever_the_lifetime(void **state)
{
	struct cache_meta meta;
	struct cache_request request = {.method = METHOD_GET};
	(void)state;
	control_init(&request.control);
	meta_of(&meta, 200, CC "max-age=99999999999\r\nAge: 4294967297\r\n", &as_origin);
	assert_int_equal(cache_use(&meta, &request, CAME), CACHE_VALIDATE);
}

/* Lifetime 100, age 0 at CAME. */
static const struct {
	const char *section, *response, *request;
	int64_t after;
	enum cache_use use;
} uses[] = {
	{"4.2", "", "", 99, CACHE_FRESH},
	{"4.2", "", "", 100, CACHE_VALIDATE},
	{"5.2.2.4", ", no-cache", "", 0, CACHE_VALIDATE},
	{"5.2.2.4", ", no-cache=\"x\"", "", 0, CACHE_VALIDATE},
	{"5.2.2.4", ", no-cache", CC "max-stale\r\n", 0, CACHE_VALIDATE},
	/* requests */
	{"5.2.1.4", "", CC "no-cache\r\n", 0, CACHE_VALIDATE},
	{"5.2.1.4", ", immutable", CC "no-cache\r\n", 0, CACHE_VALIDATE},
	{"5.4", "", "Pragma: no-cache\r\n", 0, CACHE_VALIDATE},
	{"5.4", "", "Pragma: x, NO-CACHE\r\n", 0, CACHE_VALIDATE},
	{"5.4", "", "Pragma: no-cache\r\n" CC "max-age=9\r\n", 0, CACHE_FRESH},
	{"5.4", "", "Pragma: x\r\n", 0, CACHE_FRESH},
	{"5.2.1.1", "", CC "max-age=10\r\n", 10, CACHE_FRESH},
	{"5.2.1.1", "", CC "max-age=10\r\n", 11, CACHE_VALIDATE},
	{"5.2.1.1", "", CC "max-age=0\r\n", 0, CACHE_VALIDATE},
	{"5.2.1.1", ", immutable", CC "max-age=0\r\n", 0, CACHE_VALIDATE},
	{"5.2.1.1", "", CC "max-age=1000\r\n", 100, CACHE_VALIDATE},
	{"5.2.1.1", "", CC "max-age=10, max-stale=100\r\n", 11, CACHE_VALIDATE},
	{"5.2.1.3", "", CC "min-fresh=10\r\n", 90, CACHE_FRESH},
	{"5.2.1.3", "", CC "min-fresh=10\r\n", 91, CACHE_VALIDATE},
	{"5.2.1.3", "", CC "min-fresh=x\r\n", 0, CACHE_VALIDATE},
	{"5.2.1.3", "", CC "min-fresh=1, max-stale\r\n", 100, CACHE_VALIDATE},
	{"5.2.1.2", "", CC "max-stale\r\n", 100000, CACHE_STALE_ALLOWED},
	{"5.2.1.2", "", CC "max-stale=10\r\n", 110, CACHE_STALE_ALLOWED},
	{"5.2.1.2", "", CC "max-stale=10\r\n", 111, CACHE_VALIDATE},
	{"5.2.1.2", "", CC "max-stale=10\r\n", 99, CACHE_FRESH},
	{"5.2.1.5", "", CC "no-store\r\n", 0, CACHE_FRESH},
	/* stale answers that the origin forbids */
	{"4.2.4", ", must-revalidate", "", 99, CACHE_FRESH},
	{"4.2.4", ", must-revalidate", CC "max-stale\r\n", 100, CACHE_VALIDATE},
	{"4.2.4", ", proxy-revalidate", CC "max-stale\r\n", 100, CACHE_VALIDATE},
	{"4.2.4", ", s-maxage=100", CC "max-stale\r\n", 100, CACHE_VALIDATE},
	{"4.2.4", ", must-revalidate, stale-while-revalidate=10", "", 100, CACHE_VALIDATE},
	{"4.2.4", ", s-maxage=100, stale-while-revalidate=10", "", 100, CACHE_VALIDATE},
	/* and that it allows */
	{"RFC 5861 3", ", stale-while-revalidate=10", "", 99, CACHE_FRESH},
	{"RFC 5861 3", ", stale-while-revalidate=10", "", 100, CACHE_STALE_REVALIDATE},
	{"RFC 5861 3", ", stale-while-revalidate=10", "", 110, CACHE_STALE_REVALIDATE},
	{"RFC 5861 3", ", stale-while-revalidate=10", "", 111, CACHE_VALIDATE},
	{"RFC 5861 3", ", stale-while-revalidate=10", CC "no-cache\r\n", 100, CACHE_VALIDATE},
	{"RFC 5861 3", ", stale-while-revalidate=x", "", 101, CACHE_VALIDATE},
	{"RFC 5861 4", ", stale-if-error=10", "", 100, CACHE_VALIDATE},
	{"RFC 8246", ", immutable", "", 100, CACHE_VALIDATE},
};

static void prepare(struct cache_meta *meta, struct cache_request *request,
	const char *response_more, const char *request_lines)
{
	struct parsed parsed;
	char lines[200];
	snprintf(lines, sizeof(lines), DATE CC "max-age=100%s\r\n", response_more);
	meta_of(meta, 200, lines, &as_origin);
	heads_request(&parsed, "GET", request_lines);
	cache_request_read(request, &parsed.head);
	heads_free(&parsed);
}

static void uses_what_both_sides_allow(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(uses); i++) {
		struct cache_meta meta;
		struct cache_request request;
		prepare(&meta, &request, uses[i].response, uses[i].request);
		enum cache_use is = cache_use(&meta, &request, CAME + uses[i].after);
		if (is != uses[i].use)
			fail_msg("%s: \"%s\", \"%s\" after %lld: %d, not %d", uses[i].section,
				uses[i].response, uses[i].request, (long long)uses[i].after, is,
				uses[i].use);
	}
}

static const struct {
	const char *section, *response, *request;
	int64_t after;
	bool serve;
} errors[] = {
	{"4.2.4", "", "", 100, false},
	{"RFC 5861 4", ", stale-if-error=10", "", 100, true},
	{"RFC 5861 4", ", stale-if-error=10", "", 110, true},
	{"RFC 5861 4", ", stale-if-error=10", "", 111, false},
	{"RFC 5861 4", "", CC "stale-if-error=10\r\n", 110, true},
	{"RFC 5861 4", "", CC "stale-if-error=10\r\n", 111, false},
	{"RFC 5861 4", ", stale-if-error=20", CC "stale-if-error=10\r\n", 120, true},
	{"RFC 5861 4", ", stale-if-error=x", "", 101, false},
	{"5.2.2.2", ", stale-if-error=10, must-revalidate", "", 100, false},
	{"5.2.2.8", ", stale-if-error=10, proxy-revalidate", "", 100, false},
	{"5.2.2.10", ", stale-if-error=10, s-maxage=100", "", 100, false},
	{"5.2.2.4", ", stale-if-error=10, no-cache", "", 100, false},
	{"5.2.1.4", ", stale-if-error=10", CC "no-cache\r\n", 100, false},
};

static void serves_stale_on_errors_only_where_somebody_asked_for_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(errors); i++) {
		struct cache_meta meta;
		struct cache_request request;
		prepare(&meta, &request, errors[i].response, errors[i].request);
		if (cache_serve_on_error(&meta, &request, CAME + errors[i].after) !=
			errors[i].serve)
			fail_msg("%s: \"%s\", \"%s\" after %lld", errors[i].section,
				errors[i].response, errors[i].request, (long long)errors[i].after);
	}
}

static void keeps_to_the_rules_of_the_operator(void **state)
{
	static const struct {
		const char *lines;
		int status;
		struct cache_rules rules;
		int64_t lifetime;
	} cases[] = {
		{CC "max-age=60\r\n", 200, {100, INT64_MAX, 0, false}, 100},
		{CC "max-age=600\r\n", 200, {100, INT64_MAX, 0, false}, 600},
		{CC "max-age=600\r\n", 200, {0, 100, 0, false}, 100},
		{CC "max-age=600\r\n", 404, {0, 100, 0, false}, 100},
		{CC "max-age=60\r\n", 200, {100, 50, 0, false}, 50},
		{"", 200, {100, INT64_MAX, 0, false}, 100},
		{"Expires: 0\r\n", 301, {100, INT64_MAX, 0, false}, 100},
		/* no error, and nothing that changes, is kept longer */
		{CC "max-age=60\r\n", 404, {100, INT64_MAX, 0, false}, 60},
		{CC "max-age=60\r\n", 503, {100, INT64_MAX, 0, false}, 60},
		{CC "max-age=60\r\n", 302, {100, INT64_MAX, 0, false}, 60},
		{DATE "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n", 200,
			{0, INT64_MAX, 300, false}, 300},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct cache_meta meta;
		meta_of(&meta, cases[i].status, cases[i].lines, &cases[i].rules);
		if (meta.lifetime != cases[i].lifetime)
			fail_msg("%d %s: %lld", cases[i].status, cases[i].lines,
				(long long)meta.lifetime);
	}
	struct cache_meta meta;
	struct cache_rules long_life = {1000, INT64_MAX, 0, false};
	meta_of(&meta, 200, CC "no-cache\r\n", &long_life);
	assert_true(meta.flags & CACHE_NO_CACHE);
}

static void remembers_what_the_response_says_of_itself(void **state)
{
	struct cache_meta meta;
	(void)state;
	meta_of(&meta, 203,
		"Date: Sun, 06 Nov 1994 08:49:27 GMT\r\n"
		"Last-Modified: Thu, 01 Jan 1970 00:00:09 GMT\r\n" CC
		"max-age=1, must-revalidate, immutable, stale-while-revalidate=2, "
		"stale-if-error=3\r\n",
		&as_origin);
	assert_int_equal(meta.status, 203);
	assert_int_equal(meta.minor, 1);
	assert_int_equal(meta.response_time, CAME);
	assert_int_equal(meta.date, CAME - 10);
	assert_int_equal(meta.last_modified, 9);
	assert_int_equal(meta.stale_while_revalidate, 2);
	assert_int_equal(meta.stale_if_error, 3);
	assert_int_equal(meta.flags, CACHE_MUST_REVALIDATE | CACHE_IMMUTABLE);
	meta_of(&meta, 200, "", &as_origin);
	assert_int_equal(meta.last_modified, -1);
	assert_int_equal(meta.stale_while_revalidate, -1);
	assert_int_equal(meta.stale_if_error, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(computes_lifetimes),
		cmocka_unit_test(counts_surrogate_control_where_it_is_to),
		cmocka_unit_test(computes_the_age_on_arrival),
		cmocka_unit_test(grows_older_in_the_store_and_never_younger),
		cmocka_unit_test(takes_an_age_that_overflows_as_stale_whatever_the_lifetime),
		cmocka_unit_test(uses_what_both_sides_allow),
		cmocka_unit_test(serves_stale_on_errors_only_where_somebody_asked_for_it),
		cmocka_unit_test(keeps_to_the_rules_of_the_operator),
		cmocka_unit_test(remembers_what_the_response_says_of_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
