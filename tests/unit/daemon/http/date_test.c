/*
 * date_test.c - dates as HTTP writes them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "daemon/http/date.h"

static void prints_dates_as_people_know_them(void **state)
{
	static const struct {
		int64_t when;
		const char *text;
	} dates[] = {
		{784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
		{0, "Thu, 01 Jan 1970 00:00:00 GMT"},
		{-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
		{951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
		{4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
		{INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
		{INT64_MIN, "Sat, 01 Jan 0000 00:00:00 GMT"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(dates); i++) {
		char out[DATE_TEXT];
		assert_string_equal(date_print(dates[i].when, out), dates[i].text);
	}
}

/* The C library's calendar, with a step that is coprime to days and years. */
static void agrees_with_the_c_library(void **state)
{
	(void)state;
	for (int64_t when = -62167219200; when < 253402300800; when += 12345678) {
		char out[DATE_TEXT], want[100];
		time_t time = when;
		struct tm tm;
		CHECK(gmtime_r(&time, &tm));
		size_t length = strftime(want, sizeof(want), "%a, %d %b ", &tm);
		snprintf(want + length, sizeof(want) - length, "%04d %02d:%02d:%02d GMT",
			tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
		assert_string_equal(date_print(when, out), want);
	}
}

#define NOW 1790000000 /* Mon, 21 Sep 2026 14:13:20 GMT */

static bool parse(const char *bytes, size_t length, time_t now, time_t *when)
{
	char *copy = malloc(length ? length : 1);
	CHECK(copy);
	memcpy(copy, bytes, length);
	bool good = date_parse((struct text){copy, length}, now, when);
	free(copy);
	return good;
}

static void reads_all_three_forms_of_a_date(void **state)
{
	static const struct {
		const char *section, *text;
		int64_t when;
	} dates[] = {
		{"RFC 9110 5.6.7", "Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
		{"RFC 9110 5.6.7", "Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
		{"RFC 9110 5.6.7", "Sun Nov  6 08:49:37 1994", 784111777},
		{"RFC 9110 5.6.7", "Wed Nov 16 08:49:37 1994", 784975777},
		{"RFC 9110 5.6.7", "Wed Nov 06 08:49:37 1994", 784111777},
		{"RFC 9110 5.6.7", "Thu, 01 Jan 1970 00:00:00 GMT", 0},
		{"RFC 9110 5.6.7", "Sat, 01 Jan 0000 00:00:00 GMT", -62167219200},
		{"RFC 9110 5.6.7", "Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
		{"RFC 9110 5.6.7", "Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
		{"RFC 9110 5.6.7", "Sat, 31 Dec 2016 23:59:60 GMT", 1483228799},
		{"RFC 9111 4.2", "sUN, 06 nOV 1994 08:49:37 gmt", 784111777},
		{"RFC 9111 4.2", "SUNDAY, 06-NOV-94 08:49:37 gMT", 784111777},
		{"RFC 9111 4.2", "SUN NOV  6 08:49:37 1994", 784111777},
		/* the name of the day is not held against the date */
		{"RFC 9110 5.6.7", "Mon, 06 Nov 1994 08:49:37 GMT", 784111777},
		/* two digits: not more than 50 years ahead of 2026-09-21 */
		{"RFC 9110 5.6.7", "Thursday, 18-Aug-50 02:01:18 GMT", 2544400878},
		{"RFC 9110 5.6.7", "Monday, 21-Sep-76 00:00:00 GMT", 3367872000},
		{"RFC 9110 5.6.7", "Tuesday, 22-Sep-76 00:00:00 GMT", 212198400},
		{"RFC 9110 5.6.7", "Thursday, 01-Jan-77 00:00:00 GMT", 220924800},
		{"RFC 9110 5.6.7", "Tuesday, 29-Feb-00 00:00:00 GMT", 951782400},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(dates); i++) {
		time_t when = 1;
		if (!parse(dates[i].text, strlen(dates[i].text), NOW, &when) ||
			when != dates[i].when)
			fail_msg("%s: %s: %lld", dates[i].section, dates[i].text, (long long)when);
	}
}

static void refuses_what_is_no_date(void **state)
{
	static const char *const texts[] = {
		"",
		"0",
		"-1",
		"784111777",
		"Sun",
		"Sun,",
		"Sunday",
		"Sun, 06 Nov 1994 08:49:37",
		"Sun, 06 Nov 1994 08:49:37 ",
		"Sun, 06 Nov 1994 08:49:37 UTC",
		"Sun, 06 Nov 1994 08:49:37 +0000",
		"Sun, 06 Nov 1994 08:49:37 GMT ",
		" Sun, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 08:49:37 GMTX",
		"Sun, 06 Nov 94 08:49:37 GMT",
		"Sun, 06 Nov 01994 08:49:37 GMT",
		"Sun 06 Nov 1994 08:49:37 GMT",
		"Sun,  06 Nov 1994 08:49:37 GMT",
		"Sun, 6 Nov 1994 08:49:37 GMT",
		"Sun,  6 Nov 1994 08:49:37 GMT",
		"Sun, 06-Nov-94 08:49:37 GMT",
		"Sun, 06-Nov-1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 8:49:37 GMT",
		"Sun, 06 Nov 1994 08:49 GMT",
		"Sun, 06 Nov 1994 08.49.37 GMT",
		"Sun, 06 Nov 1994 24:00:00 GMT",
		"Sun, 06 Nov 1994 08:60:00 GMT",
		"Sun, 06 Nov 1994 08:00:61 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 31 Nov 1994 08:49:37 GMT",
		"Sun, 29 Feb 1994 08:49:37 GMT",
		"Sun, 29 Feb 1900 08:49:37 GMT",
		"Sun, 06 Nov -994 08:49:37 GMT",
		"Sun, 06 Nix 1994 08:49:37 GMT",
		"Son, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-1994 08:49:37 GMT",
		"Sunday, 31-Nov-94 08:49:37 GMT",
		"Sundays, 06-Nov-94 08:49:37 GMT",
		"Sunday 06-Nov-94 08:49:37 GMT",
		"Sun Nov 6 08:49:37 1994",
		"Sun Nov  6 08:49:37 94",
		"Sun Nov  6 08:49:37 1994 GMT",
		"Sun Nov  0 08:49:37 1994",
		"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		time_t when;
		if (parse(texts[i], strlen(texts[i]), NOW, &when))
			fail_msg("\"%s\" is no date", texts[i]);
	}
}

static void reads_what_it_prints(void **state)
{
	(void)state;
	for (int64_t when = -62167219200; when < 253402300800; when += 12345678) {
		char out[DATE_TEXT];
		time_t is = when + 1;
		date_print(when, out);
		assert_true(parse(out, strlen(out), 0, &is));
		assert_int_equal(is, when);
	}
}

/* Every prefix, and every byte at every place. */
static void reads_nothing_behind_its_bytes(void **state)
{
	static const char *const forms[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"};
	(void)state;
	for (size_t form = 0; form < COUNT_OF(forms); form++) {
		size_t length = strlen(forms[form]);
		for (size_t i = 0; i < length; i++) {
			char text[40];
			time_t when;
			assert_false(parse(forms[form], i, NOW, &when));
			for (int byte = 0; byte < 256; byte++) {
				memcpy(text, forms[form], length);
				text[i] = (char)byte;
				(void)parse(text, length, NOW, &when);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints_dates_as_people_know_them),
		cmocka_unit_test(agrees_with_the_c_library),
		cmocka_unit_test(reads_all_three_forms_of_a_date),
		cmocka_unit_test(refuses_what_is_no_date),
		cmocka_unit_test(reads_what_it_prints),
		cmocka_unit_test(reads_nothing_behind_its_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
