/*
 * date.c - dates in HTTP.
 *
 * The calendar is worked out here: gmtime() may read the time zone's file, which the
 * sandboxed proxy cannot, and strftime() follows the locale.  Years are counted from March, so that
 * the leap day is a year's last.
 */
#include "daemon/http/date.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"

#define DAY 86400
#define FIRST INT64_C(-62167219200) /* 0000-01-01 00:00:00 */
#define LAST INT64_C(253402300799)  /* 9999-12-31 23:59:59 */

#define FIFTY_YEARS (INT64_C(18263) * DAY) /* or a day more */

static void put_two(char *out, int64_t number)
{
	out[0] = (char)('0' + number / 10 % 10);
	out[1] = (char)('0' + number % 10);
}

const char *date_print(time_t when, char out[DATE_TEXT])
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
	int64_t time = when < FIRST ? FIRST : when > LAST ? LAST : when;
	int64_t second = (time - FIRST) % DAY;
	int64_t day = (time - FIRST) / DAY + 146037; /* since 1 March -400, a Wednesday */
	int64_t weekday = (day + 3) % 7;

	int64_t era = day / 146097; /* of 400 years */
	int64_t of_era = day % 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153; /* from March */
	int64_t of_month = of_year - (153 * month + 2) / 5 + 1;
	year += era * 400 - 400 + (month >= 10);

	memcpy(out, "Sun, 06 Nov 1994 08:49:37 GMT", DATE_TEXT);
	memcpy(out, days + 3 * weekday, 3);
	put_two(out + 5, of_month);
	memcpy(out + 8, months + 3 * month, 3);
	put_two(out + 12, year / 100);
	put_two(out + 14, year);
	put_two(out + 17, second / 3600);
	put_two(out + 20, second / 60 % 60);
	put_two(out + 23, second % 60);
	return out;
}

struct parts {
	int64_t year, month, day; /* month and day from 1 */
	int64_t hour, minute, second;
	bool two_digits; /* of the year */
};

/* Reads text by a pattern: a digit's place is '0', a digit's or a blank's '_', any byte's '#';
 * everything else stands for itself, without case.  False: it is not like that. */
static bool looks_like(const char *at, const char *pattern, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		bool digit = at[i] >= '0' && at[i] <= '9';
		bool good = pattern[i] == '0'   ? digit
			    : pattern[i] == '_' ? digit || at[i] == ' '
						: strncasecmp(&at[i], &pattern[i], 1) == 0;
		if (!good && pattern[i] != '#')
			return false;
	}
	return true;
}

static int64_t get_digits(const char *at, int digits)
{
	int64_t number = 0;
	for (; digits > 0; digits--, at++)
		number = number * 10 + (*at == ' ' ? 0 : *at - '0');
	return number;
}

/* 1 to 12, or 0. */
static int64_t month_of(const char *at)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	for (int i = 0; i < 12; i++)
		if (strncasecmp(at, names + 3 * i, 3) == 0)
			return i + 1;
	return 0;
}

static void get_time(const char *at, struct parts *parts)
{
	parts->hour = get_digits(at, 2);
	parts->minute = get_digits(at + 3, 2);
	parts->second = get_digits(at + 6, 2);
}

/* How many bytes the name of a day at the start of `text` has, short or long; 0: there is none. */
static size_t day_name(struct text text, bool whole)
{
	static const struct text names[] = {TEXT("Sunday"), TEXT("Monday"), TEXT("Tuesday"),
		TEXT("Wednesday"), TEXT("Thursday"), TEXT("Friday"), TEXT("Saturday")};
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		size_t length = whole ? names[i].length : 3;
		if (text.length >= length && strncasecmp(text.at, names[i].at, length) == 0)
			return length;
	}
	return 0;
}

/* "06 Nov 1994 08:49:37 GMT", or with hyphens and two digits of the year. */
static bool read_fixdate(const char *at, size_t length, struct parts *parts)
{
	static const struct text fixdate = TEXT(", 00 ### 0000 00:00:00 GMT");
	static const struct text rfc850 = TEXT(", 00-###-00 00:00:00 GMT");

	parts->two_digits = length == rfc850.length;
	struct text pattern = parts->two_digits ? rfc850 : fixdate;
	if (length != pattern.length || !looks_like(at, pattern.at, length))
		return false;
	int digits = parts->two_digits ? 2 : 4;
	parts->day = get_digits(at + 2, 2);
	parts->month = month_of(at + 5);
	parts->year = get_digits(at + 9, digits);
	get_time(at + 10 + digits, parts);
	return true;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool read_asctime(const char *at, size_t length, struct parts *parts)
{
	static const struct text pattern = TEXT(" ### _0 00:00:00 0000");
	if (length != pattern.length || !looks_like(at, pattern.at, length))
		return false;
	parts->month = month_of(at + 1);
	parts->day = get_digits(at + 5, 2);
	get_time(at + 8, parts);
	parts->year = get_digits(at + 17, 4);
	return true;
}

static bool read_parts(struct text text, struct parts *parts)
{
	size_t name = day_name(text, true);
	if (name && text.length > name)
		return read_fixdate(text.at + name, text.length - name, parts) && parts->two_digits;
	name = day_name(text, false);
	if (!name || text.length == name)
		return false;
	if (text.at[name] == ',')
		return read_fixdate(text.at + name, text.length - name, parts) &&
		       !parts->two_digits;
	return read_asctime(text.at + name, text.length - name, parts);
}

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool is_on_the_calendar(const struct parts *parts)
{
	static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	return parts->month && parts->day >= 1 &&
	       parts->day <= days[parts->month - 1] + (parts->month == 2 && is_leap(parts->year)) &&
	       parts->hour < 24 && parts->minute < 60 && parts->second <= 60;
}

/* Seconds since the epoch. */
static int64_t to_seconds(const struct parts *parts)
{
	int64_t month = (parts->month + 9) % 12; /* from March */
	int64_t year = parts->year + 400 - (month >= 10);
	int64_t days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 +
		       parts->day - 1 - 146037;
	int64_t second = parts->second < 60 ? parts->second : 59;
	return FIRST + days * DAY + parts->hour * 3600 + parts->minute * 60 + second;
}

bool date_parse(struct text text, time_t now, time_t *when)
{
	struct parts parts = {0};
	if (!read_parts(text, &parts))
		return false;
	if (!parts.two_digits) {
		*when = to_seconds(&parts);
		return is_on_the_calendar(&parts);
	}
	int64_t limit = now < FIRST ? FIRST : now > LAST ? LAST : now;
	for (parts.year += 9900; parts.year >= 0; parts.year -= 100)
		if (is_on_the_calendar(&parts) && to_seconds(&parts) <= limit + FIFTY_YEARS) {
			*when = to_seconds(&parts);
			return true;
		}
	return false;
}
