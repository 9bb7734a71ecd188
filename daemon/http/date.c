/*
 * date.c - IMF-fixdate.
 *
 * The calendar is worked out here: gmtime() may read the time zone's file, which the
 * sandboxed proxy cannot, and strftime() follows the locale.  Years are counted from March, so that
 * the leap day is a year's last.
 */
#include "daemon/http/date.h"

#include <stdint.h>
#include <string.h>

#define DAY 86400
#define FIRST INT64_C(-62167219200) /* 0000-01-01 00:00:00 */
#define LAST INT64_C(253402300799)  /* 9999-12-31 23:59:59 */

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
