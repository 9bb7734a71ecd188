/*
 * date_test.c - dates as HTTP writes them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints_dates_as_people_know_them),
		cmocka_unit_test(agrees_with_the_c_library),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
