#include "ctl/when.h"

#include <ctype.h>
#include <stdio.h>

#define DAY 86400

/* The digits behind a '.', if there are any: their value, and how many. */
static double read_fraction(const char **at, unsigned *digits)
{
	double value = 0, unit = 0.1;

	*digits = 0;
	if (**at != '.' || !isdigit((unsigned char)(*at)[1]))
		return 0;
	for (++*at; isdigit((unsigned char)**at); ++*at, ++*digits, unit /= 10)
		value += (**at - '0') * unit;
	return value;
}

/* "Z" or "+02:00", to the end.  Seconds to subtract. */
static bool read_zone(const char *at, int *seconds)
{
	unsigned hours, minutes;
	int n = 0;
	char sign;

	*seconds = 0;
	if ((*at == 'Z' || *at == 'z') && !at[1])
		return true;
	if (sscanf(at, "%c%2u:%2u%n", &sign, &hours, &minutes, &n) != 3 || n != 6 || at[n] ||
		(sign != '+' && sign != '-') || hours > 23 || minutes > 59)
		return false;
	*seconds = (int)(hours * 3600 + minutes * 60) * (sign == '+' ? 1 : -1);
	return true;
}

/* "08:02:21". */
static const char *read_clock(const char *text, struct tm *tm)
{
	int n = 0;

	if (sscanf(text, "%2d:%2d:%2d%n", &tm->tm_hour, &tm->tm_min, &tm->tm_sec, &n) != 3 ||
		n != 8 || tm->tm_hour < 0 || tm->tm_hour > 23 || tm->tm_min < 0 ||
		tm->tm_min > 59 || tm->tm_sec < 0 || tm->tm_sec > 60)
		return NULL;
	return text + n;
}

/* "2026-11-23T". */
static const char *read_date(const char *text, struct tm *tm)
{
	char t = 0;
	int n = 0;

	if (sscanf(text, "%4d-%2d-%2d%c%n", &tm->tm_year, &tm->tm_mon, &tm->tm_mday, &t, &n) != 4 ||
		n != 11 || (t != 'T' && t != 't' && t != ' ') || tm->tm_mon < 1 ||
		tm->tm_mon > 12 || tm->tm_mday < 1 || tm->tm_mday > 31)
		return NULL;
	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	return text + n;
}

bool when_parse(const char *text, time_t now, struct when *when)
{
	struct tm tm = {0};
	const char *at = read_date(text, &tm);
	bool dated = at != NULL;
	double fraction;
	unsigned digits;
	int zone = 0;

	if (!dated)
		gmtime_r(&now, &tm);
	at = read_clock(dated ? at : text, &tm);
	if (!at)
		return false;
	fraction = read_fraction(&at, &digits);
	if (dated ? !read_zone(at, &zone) : *at != 0)
		return false;
	when->from = (double)(timegm(&tm) - zone) + fraction;
	if (!dated && when->from > (double)now + 1)
		when->from -= DAY;
	when->to = when->from + (digits == 0 ? 0.999999 : digits <= 3 ? 0.000999 : 0);
	return true;
}
