#include "daemon/log/line.h"

#define BIT(how) (1u << (how))
#define ALL (BIT(ESCAPE_JSON) | BIT(ESCAPE_C) | BIT(ESCAPE_URL) | BIT(ESCAPE_LOG))

/* In which styles a byte stands as it is. */
static const uint8_t plain[256] = {
	[' '] = ALL & ~BIT(ESCAPE_URL),
	['!'] = ALL,
	['"'] = BIT(ESCAPE_URL) | BIT(ESCAPE_LOG),
	['#' ... '['] = ALL,
	['\\'] = BIT(ESCAPE_URL),
	[']' ... '~'] = ALL,
};

static const char pairs[] = "00010203040506070809101112131415161718192021222324"
			    "25262728293031323334353637383940414243444546474849"
			    "50515253545556575859606162636465666768697071727374"
			    "75767778798081828384858687888990919293949596979899";

void line_string(struct line *line, const char *string)
{
	line_put(line, string, strlen(string));
}

void line_number(struct line *line, uint64_t value)
{
	char digits[20];
	char *at = digits + sizeof(digits);

	for (; value >= 100; value /= 100)
		memcpy(at -= 2, &pairs[value % 100 * 2], 2);
	if (value >= 10)
		memcpy(at -= 2, &pairs[value * 2], 2);
	else
		*--at = (char)('0' + value);
	line_put(line, at, (size_t)(digits + sizeof(digits) - at));
}

void line_digits(struct line *line, uint64_t value, unsigned width)
{
	char digits[20];

	for (unsigned i = width; i-- > 0; value /= 10)
		digits[i] = (char)('0' + value % 10);
	line_put(line, digits, width);
}

/* Writes the escape of one byte to `out`; returns its length. */
static size_t escape_byte(char out[6], unsigned char byte, enum escape how)
{
	static const char hex[] = "0123456789abcdef", upper_hex[] = "0123456789ABCDEF";
	const char *digits = how == ESCAPE_URL ? upper_hex : hex;
	size_t length = 0;

	if (how == ESCAPE_URL) {
		out[length++] = '%';
	} else {
		out[length++] = '\\';
		if (byte == '"' || byte == '\\') {
			out[length++] = (char)byte;
			return length;
		}
		if (how == ESCAPE_JSON) {
			memcpy(out + length, "u00", 3);
			length += 3;
		} else {
			out[length++] = 'x';
		}
	}
	out[length++] = digits[byte >> 4];
	out[length++] = digits[byte & 15];
	return length;
}

void line_escaped(struct line *line, struct text text, enum escape how, size_t most)
{
	const unsigned char *bytes = (const unsigned char *)text.at;
	const unsigned bit = BIT(how);
	size_t i = 0;

	while (i < text.length) {
		size_t limit = text.length - i < most ? text.length : i + most;
		size_t from = i;
		char escaped[6];
		size_t length;

		while (i < limit && (plain[bytes[i]] & bit))
			i++;
		if (i > from)
			line_put(line, text.at + from, i - from);
		most -= i - from;
		if (i == text.length || (plain[bytes[i]] & bit))
			break;
		length = escape_byte(escaped, bytes[i], how);
		if (length > most)
			break;
		line_put(line, escaped, length);
		most -= length;
		i++;
	}
	if (i < text.length) {
		LINE_PUT(line, "...(+");
		line_number(line, text.length - i);
		LINE_PUT(line, ")");
	}
}

/* `seconds` in units of 1/scale, rounded.  Wrong clocks may not be undefined behaviour. */
static uint64_t scaled(double seconds, double scale, double most)
{
	if (!(seconds > 0))
		return 0;
	return (uint64_t)((seconds < most ? seconds : most) * scale + 0.5);
}

void line_seconds(struct line *line, double seconds)
{
	uint64_t micro = scaled(seconds, 1e6, 1e9);

	line_number(line, micro / 1000000);
	LINE_PUT(line, ".");
	line_digits(line, micro % 1000000, 6);
}

void line_milliseconds(struct line *line, double seconds)
{
	line_number(line, scaled(seconds, 1e3, 1e9));
}

struct civil {
	unsigned year, month, day; /* month and day from 1 */
	unsigned hour, minute, second, ms;
};

static uint64_t milliseconds(double when)
{
	return scaled(when, 1e3, 253402300799.0);
}

/* The proleptic Gregorian calendar; years begin in March, so that the leap day comes last. */
static struct civil civil_of(double when)
{
	uint64_t ms = milliseconds(when);
	uint32_t second = (uint32_t)(ms / 1000 % 86400);
	uint32_t days = (uint32_t)(ms / 86400000) + 719468; /* since 0000-03-01 */
	uint32_t era = days / 146097;
	uint32_t day_of_era = days % 146097;
	uint32_t year =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	uint32_t day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
	uint32_t month = (5 * day_of_year + 2) / 153; /* from March, 0 */

	return (struct civil){
		.year = year + era * 400 + (month >= 10),
		.month = month < 10 ? month + 3 : month - 9,
		.day = day_of_year - (153 * month + 2) / 5 + 1,
		.hour = second / 3600,
		.minute = second / 60 % 60,
		.second = second % 60,
		.ms = (uint32_t)(ms % 1000),
	};
}

static void clock_digits(struct line *line, const struct civil *c)
{
	line_digits(line, c->hour, 2);
	LINE_PUT(line, ":");
	line_digits(line, c->minute, 2);
	LINE_PUT(line, ":");
	line_digits(line, c->second, 2);
}

void line_time_rfc3339(struct line *line, double when)
{
	struct civil c = civil_of(when);

	line_digits(line, c.year, 4);
	LINE_PUT(line, "-");
	line_digits(line, c.month, 2);
	LINE_PUT(line, "-");
	line_digits(line, c.day, 2);
	LINE_PUT(line, "T");
	clock_digits(line, &c);
	LINE_PUT(line, ".");
	line_digits(line, c.ms, 3);
	LINE_PUT(line, "Z");
}

void line_time_unix(struct line *line, double when)
{
	uint64_t ms = milliseconds(when);

	line_number(line, ms / 1000);
	LINE_PUT(line, ".");
	line_digits(line, ms % 1000, 3);
}

void line_time_clf(struct line *line, double when)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct civil c = civil_of(when);

	line_digits(line, c.day, 2);
	LINE_PUT(line, "/");
	line_put(line, months + 3 * (c.month - 1), 3);
	LINE_PUT(line, "/");
	line_digits(line, c.year, 4);
	LINE_PUT(line, ":");
	clock_digits(line, &c);
	LINE_PUT(line, " +0000");
}

void line_addr(struct line *line, const struct addr *addr)
{
	char out[ADDR_TEXT];

	if (!addr_is_v4(addr)) {
		line_string(line, addr_print(addr, out));
		return;
	}
	for (int i = 12; i < 16; i++) {
		line_number(line, addr->bytes[i]);
		if (i < 15)
			LINE_PUT(line, ".");
	}
}

void line_endpoint(struct line *line, const struct endpoint *endpoint)
{
	bool v4 = addr_is_v4(&endpoint->addr);

	if (!v4)
		LINE_PUT(line, "[");
	line_addr(line, &endpoint->addr);
	if (!v4)
		LINE_PUT(line, "]");
	LINE_PUT(line, ":");
	line_number(line, endpoint->port);
}
