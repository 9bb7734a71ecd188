/*
 * conditional_test.c - conditions and ranges of clients.
 */
#include "daemon/cache/conditional.h"
#include "tests/unit/daemon/cache/heads.h"

#define NONE PRECONDITION_NONE
#define NOT_MODIFIED PRECONDITION_304
#define WHOLE PRECONDITION_WHOLE

#define DATE "Sun, 06 Nov 1994 08:49:37 GMT" /* 784111777, Last-Modified */
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"
#define MODIFIED 784111777
#define RANGE "Range: bytes=0-0\r\n"

static const struct {
	const char *section, *etag, *request;
	enum precondition want;
} conditions[] = {
	{"13.2.2", "\"a\"", "", NONE},
	/* If-None-Match */
	{"13.1.2", "\"a\"", "If-None-Match: \"a\"\r\n", NOT_MODIFIED},
	{"13.1.2", "\"a\"", "If-None-Match: W/\"a\"\r\n", NOT_MODIFIED},
	{"13.1.2", "W/\"a\"", "If-None-Match: \"a\"\r\n", NOT_MODIFIED},
	{"13.1.2", "W/\"a\"", "If-None-Match: W/\"a\"\r\n", NOT_MODIFIED},
	{"13.1.2", "\"a\"", "If-None-Match: \"b\"\r\n", NONE},
	{"13.1.2", "\"a\"", "If-None-Match: \"A\"\r\n", NONE},
	{"13.1.2", "\"a\"", "If-None-Match: \"b\", \"a\"\r\n", NOT_MODIFIED},
	{"13.1.2", "\"a\"", "If-None-Match: ,\"b\",,W/\"c\" ,\t\"a\"\r\n", NOT_MODIFIED},
	{"13.1.2", "\"a\"", "If-None-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n", NOT_MODIFIED},
	{"13.1.2", "\"a\"", "If-None-Match: *\r\n", NOT_MODIFIED},
	{"13.1.2", NULL, "If-None-Match: *\r\n", NOT_MODIFIED},
	{"13.1.2", NULL, "If-None-Match: \"a\"\r\n", NONE},
	{"8.8.3", "\"\"", "If-None-Match: \"\"\r\n", NOT_MODIFIED},
	{"8.8.3", "\"a, b\"", "If-None-Match: \"x\", \"a, b\"\r\n", NONE}, /* no blank in a tag */
	{"8.8.3", "\"a,b\"", "If-None-Match: \"x\",\"a,b\"\r\n", NOT_MODIFIED},
	{"8.8.3", "\"a,b\"", "If-None-Match: a,b\r\n", NONE},
	{"8.8.3", "\"\xe4\"", "If-None-Match: \"\xe4\"\r\n", NOT_MODIFIED},
	{"8.8.3", "a", "If-None-Match: a\r\n", NONE},
	{"8.8.3", "\"a\"", "If-None-Match: a\r\n", NONE},
	{"8.8.3", "\"a\"", "If-None-Match: w/\"a\"\r\n", NONE},
	{"8.8.3", "\"a\"", "If-None-Match: W\"a\"\r\n", NONE},
	{"8.8.3", "\"a\"", "If-None-Match: \"a\r\n", NONE},
	{"8.8.3", "\"a\"", "If-None-Match: \"a\"b\r\n", NONE},
	{"8.8.3", "\"a\"", "If-None-Match: \"b\" \"a\"\r\n", NONE},
	{"8.8.3", "\"a\"", "If-None-Match: *, \"b\"\r\n", NONE},
	{"8.8.3", "\"a\"", "If-None-Match:\r\n", NONE},
	/* it is stronger than If-Modified-Since */
	{"13.1.3", "\"a\"", "If-None-Match: \"b\"\r\nIf-Modified-Since: " AFTER "\r\n", NONE},
	{"13.1.3", "\"a\"", "If-None-Match: \"a\"\r\nIf-Modified-Since: " BEFORE "\r\n",
		NOT_MODIFIED},
	/* If-Modified-Since */
	{"13.1.3", "\"a\"", "If-Modified-Since: " DATE "\r\n", NOT_MODIFIED},
	{"13.1.3", "\"a\"", "If-Modified-Since: " AFTER "\r\n", NOT_MODIFIED},
	{"13.1.3", "\"a\"", "If-Modified-Since: " BEFORE "\r\n", NONE},
	{"13.1.3", "\"a\"", "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", NOT_MODIFIED},
	{"13.1.3", "\"a\"", "If-Modified-Since: tomorrow\r\n", NONE},
	{"13.1.3", "\"a\"", "If-Modified-Since:\r\n", NONE},
	{"13.1.3", "\"a\"", "If-Modified-Since: " DATE "\r\nIf-Modified-Since: " DATE "\r\n", NONE},
	/* If-Range */
	{"13.1.5", "\"a\"", RANGE "If-Range: \"a\"\r\n", NONE},
	{"13.1.5", "\"a\"", RANGE "If-Range: \"b\"\r\n", WHOLE},
	{"13.1.5", "\"a\"", RANGE "If-Range: W/\"a\"\r\n", WHOLE},
	{"13.1.5", "W/\"a\"", RANGE "If-Range: W/\"a\"\r\n", WHOLE},
	{"13.1.5", NULL, RANGE "If-Range: \"a\"\r\n", WHOLE},
	{"13.1.5", "\"a\"", RANGE "If-Range: *\r\n", WHOLE},
	{"13.1.5", "\"a\"", RANGE "If-Range: \"a\", \"b\"\r\n", WHOLE},
	{"13.1.5", "\"a\"", RANGE "If-Range: " DATE "\r\n", NONE},
	{"13.1.5", "\"a\"", RANGE "If-Range: " AFTER "\r\n", WHOLE},
	{"13.1.5", "\"a\"", RANGE "If-Range: " BEFORE "\r\n", WHOLE},
	{"13.1.5", "\"a\"", RANGE "If-Range: x\r\n", WHOLE},
	{"13.1.5", "\"a\"", "If-Range: \"b\"\r\n", NONE},
	{"13.2.2", "\"a\"", RANGE "If-Range: \"b\"\r\nIf-None-Match: \"a\"\r\n", NOT_MODIFIED},
	{"13.2.2", "\"a\"", RANGE "If-Range: \"a\"\r\nIf-None-Match: \"b\"\r\n", NONE},
};

static enum precondition check(const char *method, int status, const char *etag,
	const char *request_lines, int64_t last_modified, int64_t date)
{
	struct parsed request, stored;
	char lines[200] = "";
	struct cache_meta meta = {.status = (uint16_t)status,
		.date = date,
		.last_modified = last_modified,
		.response_time = MODIFIED + 1000};
	if (etag)
		snprintf(lines, sizeof(lines), "ETag: %s\r\n", etag);
	heads_request(&request, method, request_lines);
	heads_response(&stored, status, lines);
	enum precondition is = precondition_check(&request.head, &stored.head, &meta);
	heads_free(&request);
	heads_free(&stored);
	return is;
}

static void evaluates_conditions_in_their_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(conditions); i++) {
		enum precondition is = check("GET", 200, conditions[i].etag, conditions[i].request,
			MODIFIED, MODIFIED + 100);
		if (is != conditions[i].want)
			fail_msg("RFC 9110 %s: ETag: %s, %s: %d, not %d", conditions[i].section,
				conditions[i].etag, conditions[i].request, is, conditions[i].want);
	}
}

static void evaluates_conditions_only_where_they_apply(void **state)
{
	(void)state;
	const char *same = "If-None-Match: \"a\"\r\n", *range = RANGE "If-Range: \"b\"\r\n";
	assert_int_equal(check("HEAD", 200, "\"a\"", same, MODIFIED, MODIFIED), NOT_MODIFIED);
	assert_int_equal(check("HEAD", 200, "\"a\"", range, MODIFIED, MODIFIED), NONE);
	assert_int_equal(check("POST", 200, "\"a\"", same, MODIFIED, MODIFIED), NONE);
	/* RFC 9110 13.2.1 */
	assert_int_equal(check("GET", 404, "\"a\"", same, MODIFIED, MODIFIED), NONE);
	assert_int_equal(check("GET", 301, "\"a\"", range, MODIFIED, MODIFIED), NONE);
}

static void compares_with_date_where_there_is_no_last_modified(void **state)
{
	(void)state; /* RFC 9111 4.3.2 */
	assert_int_equal(check("GET", 200, NULL, "If-Modified-Since: " DATE "\r\n", -1, MODIFIED),
		NOT_MODIFIED);
	assert_int_equal(
		check("GET", 200, NULL, "If-Modified-Since: " BEFORE "\r\n", -1, MODIFIED), NONE);
	assert_int_equal(
		check("GET", 200, NULL, RANGE "If-Range: " DATE "\r\n", -1, MODIFIED), WHOLE);
}

/* RFC 9110 8.8.2.2 */
static void resumes_by_date_only_where_it_is_a_strong_validator(void **state)
{
	(void)state;
	const char *range = RANGE "If-Range: " DATE "\r\n";
	assert_int_equal(check("GET", 200, NULL, range, MODIFIED, MODIFIED + 1), NONE);
	assert_int_equal(check("GET", 200, NULL, range, MODIFIED, MODIFIED), WHOLE);
}

static const struct {
	const char *value;
	uint64_t length;
	const char *want; /* ranges, "whole" or "416" */
} ranges[] = {
	{"bytes=0-0", 10, "0-0"},
	{"bytes=0-9", 10, "0-9"},
	{"bytes=0-10", 10, "0-9"},
	{"bytes=9-9", 10, "9-9"},
	{"bytes=3-", 10, "3-9"},
	{"bytes=-3", 10, "7-9"},
	{"bytes=-10", 10, "0-9"},
	{"bytes=-11", 10, "0-9"},
	{"bytes=00003-0004", 10, "3-4"},
	{"BYTES=1-2", 10, "1-2"},
	{"bytes=10-", 10, "416"},
	{"bytes=10-20", 10, "416"},
	{"bytes=-0", 10, "416"},
	{"bytes=-0,10-", 10, "416"},
	{"bytes=-0,1-2", 10, "1-2"},
	{"bytes=0-0", 0, "416"},
	{"bytes=-1", 0, "whole"},
	{"bytes=0-0", 1, "0-0"},
	/* numbers */
	{"bytes=0-18446744073709551615", 10, "0-9"},
	{"bytes=0-99999999999999999999999999", 10, "0-9"},
	{"bytes=99999999999999999999999999-", 10, "416"},
	{"bytes=18446744073709551615-18446744073709551615", 10, "416"},
	{"bytes=-99999999999999999999999999", 10, "0-9"},
	{"bytes=4294967296-4294967297", 5000000000, "4294967296-4294967297"},
	{"bytes=9223372036854775800-", INT64_MAX, "9223372036854775800-9223372036854775806"},
	/* several */
	{"bytes=0-1,4-5", 10, "0-1 4-5"},
	{"bytes=4-5,0-1", 10, "4-5 0-1"},
	{"bytes= 0-1 ,\t4-5 , ,", 10, "0-1 4-5"},
	{"bytes=0-1,20-30", 10, "0-1"},
	{"bytes=0-1,2-3", 10, "0-1 2-3"},
	{"bytes=0-3,2-5", 10, "0-5"},
	{"bytes=2-5,0-3", 10, "0-5"},
	{"bytes=8-9,0-3,2-5", 10, "8-9 0-5"},
	{"bytes=0-1,4-5,8-9,1-8", 10, "0-9"},
	{"bytes=8-9,4-5,0-1,5-8", 10, "4-9 0-1"},
	{"bytes=5-6,0-1,3-4,1-3", 10, "5-6 0-4"},
	{"bytes=0-,0-,0-,-5", 10, "0-9"},
	{"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,"
	 "30-30",
		99,
		"0-0 2-2 4-4 6-6 8-8 10-10 12-12 14-14 16-16 18-18 20-20 22-22 24-24 26-26 28-28 "
		"30-30"},
	{"bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0", 99, "whole"},
	/* to ignore */
	{"", 10, "whole"},
	{"bytes", 10, "whole"},
	{"bytes=", 10, "whole"},
	{"bytes=,", 10, "whole"},
	{"bytes=-", 10, "whole"},
	{"bytes=1", 10, "whole"},
	{"bytes=a-b", 10, "whole"},
	{"bytes=1-b", 10, "whole"},
	{"bytes=1-2x", 10, "whole"},
	{"bytes=--2", 10, "whole"},
	{"bytes=1--2", 10, "whole"},
	{"bytes=+1-2", 10, "whole"},
	{"bytes=1 -2", 10, "whole"},
	{"bytes=1- 2", 10, "whole"},
	{"bytes =1-2", 10, "whole"},
	{"bytes:1-2", 10, "whole"},
	{"bytes=2-1", 10, "whole"},
	{"bytes=0-1,2-1", 10, "whole"},
	{"bytes=0-1;4-5", 10, "whole"},
	{"bytes=0x1-2", 10, "whole"},
	{"lines=1-2", 10, "whole"},
	{"none", 10, "whole"},
	{"bytes=0-1\r\nRange: bytes=2-3", 10, "whole"},
};

static const char *print(const struct range *got, int count, char out[500])
{
	char *at = out;
	if (count <= 0)
		return count ? "416" : "whole";
	for (int i = 0; i < count; i++)
		at += sprintf(at, "%s%llu-%llu", i ? " " : "", (unsigned long long)got[i].first,
			(unsigned long long)got[i].last);
	return out;
}

/* RFC 9110 14.1.2, 14.2 */
static void reads_ranges(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(ranges); i++) {
		struct parsed request;
		struct range got[RANGES_MAX];
		char lines[300], out[500];
		snprintf(lines, sizeof(lines), "Range: %s\r\n", ranges[i].value);
		heads_request(&request, "GET", lines);
		int count = ranges_parse(&request.head, ranges[i].length, got);
		if (strcmp(print(got, count, out), ranges[i].want))
			fail_msg("%s of %llu: %s, not %s", ranges[i].value,
				(unsigned long long)ranges[i].length, print(got, count, out),
				ranges[i].want);
		heads_free(&request);
		heads_request(&request, "HEAD", lines);
		assert_int_equal(ranges_parse(&request.head, ranges[i].length, got), 0);
		heads_free(&request);
	}
}

/* Whatever comes, ranges lie within the body and apart from each other, and each byte that was
 * asked for is in one. */
static void never_gives_ranges_that_overlap_or_lie_outside(void **state)
{
	uint64_t random = 1;
	(void)state;
	for (int i = 0; i < heads_rounds(50000); i++) {
		struct field field = {.name = TEXT("Range"), .id = FIELD_RANGE};
		struct head head = {.method_id = METHOD_GET, .fields = &field, .n_fields = 1};
		struct range got[RANGES_MAX];
		char text[200] = "bytes=";
		bool asked[32] = {false};
		size_t length = 6, n = 1 + heads_random(&random) % RANGES_MAX;
		for (size_t j = 0; j < n; j++) {
			unsigned first = heads_random(&random) % 32;
			unsigned last = first + heads_random(&random) % (32 - first);
			length += (size_t)sprintf(text + length, "%u-%u,", first, last);
			for (unsigned k = first; k <= last; k++)
				asked[k] = true;
		}
		char *copy = heads_copy(text, length);
		field.value = (struct text){copy, length};
		int count = ranges_parse(&head, 32, got);
		assert_true(count > 0);
		for (int j = 0; j < count; j++)
			for (uint64_t k = got[j].first; k <= got[j].last; k++) {
				assert_true(k < 32 && asked[k]);
				asked[k] = false; /* nobody else has it */
			}
		for (size_t k = 0; k < 32; k++)
			assert_false(asked[k]);
		free(copy);
	}
}

static void reads_nothing_behind_its_bytes(void **state)
{
	static const char *const words[] = {"bytes=", "1", "-", ",", " ", "99999999999999999999",
		"\"a\"", "W/", "\"", "*", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun"};
	static const enum field_id ids[] = {
		FIELD_RANGE, FIELD_IF_RANGE, FIELD_IF_NONE_MATCH, FIELD_IF_MODIFIED_SINCE};
	struct field etag = {.name = TEXT("ETag"), .value = TEXT("\"a\""), .id = FIELD_ETAG};
	struct head stored = {.status = 200, .fields = &etag, .n_fields = 1};
	struct cache_meta meta = {.status = 200};
	uint64_t random = 1;
	(void)state;
	for (int i = 0; i < heads_rounds(100000); i++) {
		struct field fields[2] = {{.name = TEXT("X"), .id = ids[i % 4]},
			{.name = TEXT("Range"), .value = TEXT("bytes=0-"), .id = FIELD_RANGE}};
		struct head head = {.method_id = METHOD_GET, .fields = fields, .n_fields = 2};
		struct range got[RANGES_MAX];
		char text[100];
		size_t length = heads_babble(&random, words, COUNT_OF(words), text, sizeof(text));
		char *copy = heads_copy(text, length);
		fields[0].value = (struct text){copy, length};
		(void)precondition_check(&head, &stored, &meta);
		head.n_fields = 1;
		(void)ranges_parse(&head, 1000, got);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(evaluates_conditions_in_their_order),
		cmocka_unit_test(evaluates_conditions_only_where_they_apply),
		cmocka_unit_test(compares_with_date_where_there_is_no_last_modified),
		cmocka_unit_test(resumes_by_date_only_where_it_is_a_strong_validator),
		cmocka_unit_test(reads_ranges),
		cmocka_unit_test(never_gives_ranges_that_overlap_or_lie_outside),
		cmocka_unit_test(reads_nothing_behind_its_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
