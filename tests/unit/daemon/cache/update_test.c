/*
 * update_test.c - stored responses and what a 304, or an answer to HEAD, says of them.
 */
#include "daemon/cache/rules.h"
#include "tests/unit/daemon/cache/heads.h"

#define CAME 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define LATER "Date: Sun, 06 Nov 1994 09:49:37 GMT\r\n"
#define NOW TEXT("Mon, 07 Nov 1994 08:49:37 GMT")
#define ADDED "Date: Mon, 07 Nov 1994 08:49:37 GMT\r\n"
#define M1 "Last-Modified: Sat, 05 Nov 1994 08:49:37 GMT\r\n"
#define M1_RFC850 "Last-Modified: Saturday, 05-Nov-94 08:49:37 GMT\r\n"
#define M2 "Last-Modified: Sat, 05 Nov 1994 08:49:38 GMT\r\n"
#define LENGTH 10

static const struct {
	const char *section, *stored;
	int status;
	const char *fresh;
	bool agrees;
} answers[] = {
	/* strong validators */
	{"4.3.4", "ETag: \"a\"\r\n", 304, "ETag: \"a\"\r\n", true},
	{"4.3.4", "ETag: \"a\"\r\n", 304, "ETag: \"b\"\r\n", false},
	{"4.3.4", "ETag: \"a\"\r\n" M1, 304, "ETag: \"b\"\r\n" M1, false},
	{"4.3.4", "ETag: \"a\"\r\n" M1, 304, "ETag: \"a\"\r\n" M2, true},
	{"4.3.4", "ETag: W/\"a\"\r\n", 304, "ETag: \"a\"\r\n", false},
	{"4.3.4", M1, 304, "ETag: \"a\"\r\n", false},
	{"4.3.4", M1, 304, "ETag: \"a\"\r\n" M1, true},
	{"4.3.4", M1, 304, "ETag: \"a\"\r\n" M2, false},
	{"4.3.4", "", 304, "ETag: \"a\"\r\n", false},
	/* weak ones */
	{"4.3.4", "ETag: W/\"a\"\r\n", 304, "ETag: W/\"a\"\r\n", true},
	{"4.3.4", "ETag: \"a\"\r\n", 304, "ETag: W/\"a\"\r\n", true},
	{"4.3.4", "ETag: W/\"a\"\r\n", 304, "ETag: W/\"b\"\r\n", false},
	{"4.3.4", M1, 304, M1, true},
	{"4.3.4", M1, 304, M1_RFC850, true},
	{"4.3.4", M1, 304, M2, false},
	{"4.3.4", "ETag: \"a\"\r\n" M1, 304, M1, true},
	{"4.3.4", "ETag: \"a\"\r\n" M1, 304, M2, false},
	{"4.3.4", "ETag: \"a\"\r\n", 304, M1, false},
	{"4.3.4", "", 304, M1, false},
	/* none: it confirms what was asked */
	{"4.3.4", "", 304, "", true},
	{"4.3.4", "ETag: \"a\"\r\n" M1, 304, "", true},
	/* no tags */
	{"4.3.4", "ETag: a\r\n", 304, "ETag: a\r\n", true},
	{"4.3.4", "ETag: a\r\n", 304, "ETag: \"a\"\r\n", false},
	/* the length of a 304 is not looked at */
	{"3.2", "ETag: \"a\"\r\n", 304, "ETag: \"a\"\r\nContent-Length: 11\r\n", true},
	/* HEAD */
	{"4.3.5", "", 200, "", true},
	{"4.3.5", "ETag: \"a\"\r\n" M1, 200, "", true},
	{"4.3.5", "ETag: \"a\"\r\n" M1, 200, "ETag: \"a\"\r\n" M1 "Content-Length: 10\r\n", true},
	{"4.3.5", "ETag: \"a\"\r\n" M1, 200, "ETag: \"a\"\r\n" M1 "Content-Length: 11\r\n", false},
	{"4.3.5", "ETag: \"a\"\r\n" M1, 200, "ETag: \"b\"\r\n" M1, false},
	{"4.3.5", "ETag: \"a\"\r\n" M1, 200, "ETag: W/\"a\"\r\n" M1, false},
	{"4.3.5", "ETag: \"a\"\r\n" M1, 200, "ETag: \"a\"\r\n" M2, false},
	{"4.3.5", M1, 200, M1_RFC850, true},
	{"4.3.5", "", 200, "ETag: \"a\"\r\n", false},
	{"4.3.5", "", 200, M1, false},
	{"4.3.5", "", 200, "Content-Length: 0\r\n", false},
	/* another Vary */
	{"4.1", "ETag: \"a\"\r\n", 304, "ETag: \"a\"\r\nVary: x\r\n", false},
	{"4.1", "ETag: \"a\"\r\nVary: y, X\r\n", 304, "ETag: \"a\"\r\nVary: x\r\n", true},
	{"4.1", "ETag: \"a\"\r\nVary: x\r\n", 304, "ETag: \"a\"\r\n", true},
	{"4.1", "ETag: \"a\"\r\nVary: x\r\n", 304, "ETag: \"a\"\r\nVary: *\r\n", false},
};

static void holds_answers_against_what_is_stored(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(answers); i++) {
		struct parsed stored, fresh;
		heads_response(&stored, 200, answers[i].stored);
		heads_response(&fresh, answers[i].status, answers[i].fresh);
		if (cache_agrees(&stored.head, LENGTH, &fresh.head) != answers[i].agrees)
			fail_msg("%s: %s and %d %s", answers[i].section, answers[i].stored,
				answers[i].status, answers[i].fresh);
		heads_free(&stored);
		heads_free(&fresh);
	}
}

static const struct {
	const char *section, *stored, *fresh, *want;
} updates[] = {
	{"3.2", DATE "A: 1\r\n", LATER, "A: 1\r\n" LATER},
	{"3.2", DATE "A: 1\r\n", LATER "a: 2\r\n", LATER "a: 2\r\n"},
	{"3.2", DATE "A: 1\r\nA: 2\r\nB: 3\r\n", LATER "a: 4\r\na: 5\r\n",
		"B: 3\r\n" LATER "a: 4\r\na: 5\r\n"},
	{"3.2", DATE, LATER "New: 1\r\n", LATER "New: 1\r\n"},
	{"3.2", DATE "Cache-Control: max-age=1\r\nExpires: 0\r\n",
		LATER "Cache-Control: max-age=2\r\n",
		"Expires: 0\r\n" LATER "Cache-Control: max-age=2\r\n"},
	{"3.2", DATE "Content-Type: a/b\r\nContent-Location: /a\r\nSet-Cookie: a\r\n",
		LATER "Content-Type: c/d\r\nContent-Location: /b\r\nSet-Cookie: b\r\n",
		LATER "Content-Type: c/d\r\nContent-Location: /b\r\nSet-Cookie: b\r\n"},
	/* what stays as it is */
	{"3.2", DATE "Content-Encoding: gzip\r\nContent-MD5: x\r\nContent-Range: y\r\n",
		LATER "Content-Encoding: br\r\nContent-MD5: z\r\nContent-Range: z\r\n",
		"Content-Encoding: gzip\r\nContent-MD5: x\r\nContent-Range: y\r\n" LATER},
	{"3.2", DATE, LATER "Content-Encoding: br\r\nContent-Length: 7\r\nContent-Range: z\r\n",
		LATER},
	{"4.3.4", DATE "ETag: \"a\"\r\n" M1, LATER "ETag: W/\"a\"\r\n" M2,
		"ETag: \"a\"\r\n" LATER M2},
	{"4.3.4", DATE M1, LATER "ETag: \"a\"\r\n" M1, LATER "ETag: \"a\"\r\n" M1},
	/* what is not stored */
	{"3.1", DATE "A: 1\r\nB: 2\r\n",
		LATER "Connection: a, keep-alive\r\nKeep-Alive: x\r\na: 3\r\n",
		"A: 1\r\nB: 2\r\n" LATER},
	{"3.1", DATE, LATER "Age: 7\r\nCache-Status: x\r\nProxy-Authenticate: y\r\n", LATER},
	/* Date */
	{"RFC 9110 6.6.1", DATE, "", ADDED},
	{"RFC 9110 6.6.1", DATE, "Date: x\r\n", ADDED},
	{"RFC 9110 6.6.1", DATE, LATER DATE, LATER},
};

static void updates_a_stored_head(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(updates); i++) {
		struct parsed stored, fresh;
		char want[1000], out[1000];
		int length = snprintf(
			want, sizeof(want), "HTTP/1.1 203 Phrase\r\n%s\r\n", updates[i].want);
		heads_response(&stored, 203, updates[i].stored);
		heads_response(&fresh, 304, updates[i].fresh);
		size_t is = cache_update_head(out, sizeof(out), &stored.head, &fresh.head, NOW);
		assert_true(is <= stored.head.length + fresh.head.length + CACHE_HEAD_EXTRA);
		if (is != (size_t)length || memcmp(out, want, is) != 0)
			fail_msg("%s: %s and %s: %.*s", updates[i].section, updates[i].stored,
				updates[i].fresh, (int)is, out);
		for (size_t size = 0; size < is; size++) {
			char *room = heads_copy(out, size);
			assert_int_equal(
				cache_update_head(room, size, &stored.head, &fresh.head, NOW), 0);
			free(room);
		}
		heads_free(&stored);
		heads_free(&fresh);
	}
}

/* RFC 9111 4.3.4: it is as fresh as the 304 says, not as the stored Date would have it. */
static void is_as_fresh_as_its_update(void **state)
{
	static const struct cache_rules rules = {0, INT64_MAX, 86400, false};
	struct parsed stored, fresh, updated;
	struct cache_meta meta;
	char out[1000];
	(void)state;
	heads_response(&stored, 200, DATE "Cache-Control: max-age=60\r\nETag: \"a\"\r\n");
	heads_response(&fresh, 304, LATER "Age: 7\r\n");
	size_t length = cache_update_head(out, sizeof(out), &stored.head, &fresh.head, NOW);
	out[length - 2] = '\0';
	heads_parse(&updated, "", out, false);
	cache_meta_refresh(&meta, &updated.head, &fresh.head, CAME + 3600, CAME + 3602, &rules);
	assert_int_equal(meta.status, 200);
	assert_int_equal(meta.date, CAME + 3600);
	assert_int_equal(meta.lifetime, 60);
	assert_int_equal(cache_age(&meta, CAME + 3602), 9);
	heads_free(&stored);
	heads_free(&fresh);
	heads_free(&updated);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_answers_against_what_is_stored),
		cmocka_unit_test(updates_a_stored_head),
		cmocka_unit_test(is_as_fresh_as_its_update),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
