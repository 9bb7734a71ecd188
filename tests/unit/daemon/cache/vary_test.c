/*
 * vary_test.c - which requests a stored response answers.
 */
#include "daemon/cache/vary.h"
#include "tests/unit/daemon/cache/heads.h"

static long make(const char *request_lines, const char *response_lines, char out[VARY_MAX])
{
	struct parsed request, response;
	heads_request(&request, "GET", request_lines);
	heads_response(&response, 200, response_lines);
	long length = vary_make(&request.head, &response.head, out);
	assert_int_equal(
		vary_is_storable(&response.head), length >= 0 || strlen(request_lines) > VARY_MAX);
	heads_free(&request);
	heads_free(&response);
	return length;
}

static bool matches(const char *vary, size_t length, const char *request_lines)
{
	struct parsed request;
	char *copy = heads_copy(vary, length);
	heads_request(&request, "GET", request_lines);
	bool same = vary_matches((struct text){copy, length}, &request.head);
	heads_free(&request);
	free(copy);
	return same;
}

static const struct {
	const char *request, *response;
	const char *text; /* NULL: not to be stored */
} texts[] = {
	{"A: 1\r\n", "", ""},
	{"A: 1\r\n", "Vary:\r\n", ""},
	{"A: 1\r\n", "Vary: , ,\r\n", ""},
	{"A: 1\r\n", "Vary: a\r\n", "a=1\n"},
	{"A: 1\r\n", "Vary: A, b\r\nVary: a\r\n", "a=1\nb:\n"},
	{"B: 2\r\nA:\r\n", "Vary: b,A\r\n", "a=\nb=2\n"},
	{"A: 1\r\nB: x\r\na: 2\r\n", "Vary: A\r\n", "a=1, 2\n"},
	{"A: 1 ,\t2,3\r\n", "Vary: A\r\n", "a=1, 2, 3\n"},
	{"A: 1  2\r\n", "Vary: A\r\n", "a=1  2\n"},
	{"A: ,1,,2,\r\n", "Vary: A\r\n", "a=, 1, , 2, \n"},
	{"A: \"x , y\" , z\r\n", "Vary: A\r\n", "a=\"x , y\", z\n"},
	{"A: \"x\\\" , y\" ,z\r\n", "Vary: A\r\n", "a=\"x\\\" , y\", z\n"},
	{"A: \"x ,y\r\n", "Vary: A\r\n", "a=\"x ,y\n"},
	{"A: x\\\r\n", "Vary: A\r\n", "a=x\\\n"},
	{"A: \"x\\\r\n", "Vary: A\r\n", "a=\"x\\\n"},
	{"AB: 1\r\nA: 2\r\nA-B: 3\r\n", "Vary: ab, a-b, a\r\n", "a=2\na-b=3\nab=1\n"},
	/* a content coding, even where nothing is said */
	{"Accept-Encoding: GZIP\r\n", "Content-Encoding: gzip\r\n", "accept-encoding=gzip\n"},
	{"A: 1\r\n", "content-encoding: br\r\nVary: A\r\n", "a=1\naccept-encoding:\n"},
	{"", "Content-Encoding: br\r\nVary: Accept-Encoding\r\n", "accept-encoding:\n"},
	/* what the origin does not get */
	{"A: 1\r\nConnection: a\r\n", "Vary: A\r\n", "a:\n"},
	{"TE: trailers\r\n", "Vary: TE\r\n", "te:\n"},
	{"", "Vary: Host\r\n", "host:\n"},
	/* secrets; SHA-256 of "a" */
	{"Cookie: a\r\n", "Vary: COOKIE\r\n",
		"cookie;ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\n"},
	{"Authorization: a\r\n", "Vary: x, authorization\r\n",
		"authorization;"
		"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\nx:\n"},
	{"", "Vary: Cookie\r\n", "cookie:\n"},
	{"", "Vary: *\r\n", NULL},
	{"", "Vary: *, *\r\n", NULL},
	{"", "Vary: *\r\nVary: *\r\n", NULL},
	{"", "Vary: , *\r\n", NULL},
	{"", "Vary:\r\nVary: *\r\n", NULL},
	{"", "Vary: *, Foo\r\n", NULL},
	{"", "Vary: Foo, *\r\n", NULL},
	{"", "Vary: a b\r\n", NULL},
	{"", "Vary: \"a\"\r\n", NULL},
	{"", "Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,A\r\n",
		"a:\nb:\nc:\nd:\ne:\nf:\ng:\nh:\ni:\nj:\nk:\nl:\nm:\nn:\no:\np:\n"},
	{"", "Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\r\n", NULL},
};

static void writes_what_a_response_varies_on(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		char out[VARY_MAX];
		long length = make(texts[i].request, texts[i].response, out);
		if (!texts[i].text && length == -1)
			continue;
		if (!texts[i].text || length != (long)strlen(texts[i].text) ||
			memcmp(out, texts[i].text, (size_t)length) != 0)
			fail_msg("%s%s: \"%.*s\"", texts[i].request, texts[i].response,
				length < 0 ? 0 : (int)length, out);
		assert_true(matches(out, (size_t)length, texts[i].request));
	}
}

/* RFC 9111 4.1 */
static void answers_only_requests_that_are_the_same(void **state)
{
	static const struct {
		const char *vary, *first, *second;
		bool same;
	} cases[] = {
		{"Foo", "Foo: 1\r\n", "Foo: 1\r\n", true},
		{"Foo", "Foo: 1\r\n", "FOO: 1\r\n", true},
		{"Foo", "Foo: 1\r\n", "Foo: 2\r\n", false},
		{"Foo", "Foo: 1\r\n", "", false},
		{"Foo", "", "Foo: 1\r\n", false},
		{"Foo", "", "Foo:\r\n", false},
		{"Foo", "", "Bar: 1\r\n", true},
		{"Foo", "Foo: a\r\n", "Foo: A\r\n", false},
		{"Foo", "Foo: 1\r\n", "Foo: 12\r\n", false},
		{"Foo", "Foo: 12\r\n", "Foo: 1\r\n", false},
		{"Foo", "Foo: 1, 2\r\n", "Foo: 1\r\nFoo: 2\r\n", true},
		{"Foo", "Foo: 1,2\r\n", "Foo:  1, 2 \r\n", true},
		{"Foo", "Foo: en, de\r\n", "Foo: en ,   de\r\n", true},
		{"Foo", "Foo: 1, 2\r\n", "Foo: 2, 1\r\n", false},
		{"Foo", "Foo: 1 2\r\n", "Foo: 1  2\r\n", false},
		{"Foo", "Foo: \"1,2\"\r\n", "Foo: \"1, 2\"\r\n", false},
		{"Foo, Bar", "Foo: 1\r\nBar: a\r\n", "Bar: a\r\nFoo: 1\r\n", true},
		{"Foo, Bar", "Foo: 1\r\nBar: a\r\n", "Foo: 1\r\nBar: b\r\n", false},
		{"Foo, Bar", "Foo: 1\r\nBar: a\r\n", "Foo: 1\r\n", false},
		{"Foo, Bar", "Foo: 1\r\n", "Foo: 1\r\nBar: b\r\n", false},
		{"Foo, Bar", "Foo: 1\r\n", "Foo: 1\r\nConnection: bar\r\nBar: b\r\n", true},
		{"Cookie", "Cookie: a\r\n", "Cookie: a\r\n", true},
		{"Cookie", "Cookie: a\r\n", "Cookie: b\r\n", false},
		{"Cookie", "Cookie: a\r\n", "", false},
		{"Cookie", "", "Cookie: a\r\n", false},
		{"Cookie", "Cookie: a\r\nCookie: b\r\n", "Cookie: a , b\r\n", true},
		/* nothing in a value looks like another line or another name */
		{"Foo, Bar", "Bar: 1\r\n", "Bar: 1\r\nFoo: \r\n", false},
		{"Bar, Foo", "Bar: x\r\nFoo: y\r\n", "Bar: x foo=y\r\n", false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char out[VARY_MAX], response[100];
		snprintf(response, sizeof(response), "Vary: %s\r\n", cases[i].vary);
		long length = make(cases[i].first, response, out);
		assert_true(length > 0);
		if (matches(out, (size_t)length, cases[i].second) != cases[i].same)
			fail_msg("Vary: %s: \"%s\" and \"%s\"", cases[i].vary, cases[i].first,
				cases[i].second);
	}
}

static void stores_nothing_that_varies_on_too_many_bytes(void **state)
{
	static char lines[2 * VARY_MAX];
	char out[VARY_MAX];
	(void)state;
	for (int more = 0; more < 2; more++) {
		/* "a=" and LF, and at the limit */
		int length = VARY_MAX - 3 + more;
		snprintf(lines, sizeof(lines), "A: %0*d\r\n", length, 0);
		long made = make(lines, "Vary: a\r\n", out);
		assert_int_equal(made, more ? -1 : VARY_MAX);
		if (!more)
			assert_true(matches(out, VARY_MAX, lines));
	}
}

static void knows_whether_one_vary_lies_within_another(void **state)
{
	static const struct {
		const char *part, *whole;
		bool within;
	} cases[] = {
		{"", "", true},
		{"", "Vary: a\r\n", true},
		{"Vary: a\r\n", "", false},
		{"Vary: A\r\n", "Vary: a\r\n", true},
		{"Vary: a\r\n", "Vary: b, a\r\n", true},
		{"Vary: c, a\r\n", "Vary: a\r\nVary: b,C\r\n", true},
		{"Vary: a, d\r\n", "Vary: a, b, c\r\n", false},
		{"Vary: *\r\n", "Vary: a\r\n", false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct parsed part, whole;
		heads_response(&part, 304, cases[i].part);
		heads_response(&whole, 200, cases[i].whole);
		if (vary_is_within(&part.head, &whole.head) != cases[i].within)
			fail_msg("%s in %s", cases[i].part, cases[i].whole);
		heads_free(&part);
		heads_free(&whole);
	}
}

/* What was stored is read from a disk: any bytes may come. */
static void reads_nothing_behind_its_bytes(void **state)
{
	static const char *const words[] = {"a", "b", ":", "=", "\n", "1", ", ", "\"", "\\"};
	uint64_t random = 1;
	struct parsed request;
	(void)state;
	heads_request(&request, "GET", "A: 1, \"1\\\r\nB: a\r\n");
	for (int i = 0; i < heads_rounds(100000); i++) {
		char text[60];
		size_t length = heads_babble(&random, words, COUNT_OF(words), text, sizeof(text));
		char *copy = heads_copy(text, length);
		(void)vary_matches((struct text){copy, length}, &request.head);
		free(copy);
	}
	heads_free(&request);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_what_a_response_varies_on),
		cmocka_unit_test(answers_only_requests_that_are_the_same),
		cmocka_unit_test(stores_nothing_that_varies_on_too_many_bytes),
		cmocka_unit_test(knows_whether_one_vary_lies_within_another),
		cmocka_unit_test(reads_nothing_behind_its_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
