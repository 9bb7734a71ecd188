/*
 * value.c - one value of egret.ini: read into its field, described, compared, freed.
 *
 * A kind is one line in each of four switches.  Numbers are decimal; a duration without its unit is
 * refused, because nobody can see whether 30 means seconds or milliseconds.
 */
#include "daemon/config/value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "acl/values.h"
#include "daemon/config/config.h"

struct unit {
	const char *name;
	int64_t size;
};

/* The largest first. */
static const struct unit durations[] = {
	{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
static const struct unit sizes[] = {
	{"g", 1073741824}, {"m", 1048576}, {"k", 1024}, {"", 1}, {NULL, 0}};
static const struct unit plain[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum value_kind kind)
{
	return kind == VALUE_DURATION ? durations : kind == VALUE_BYTES ? sizes : plain;
}

static bool parse_number(const struct value_spec *spec, const char *text, int64_t *out)
{
	const struct unit *unit = units_of(spec->kind);
	int64_t n = 0;
	int digits = 0;

	for (; *text >= '0' && *text <= '9' && digits < 12; digits++)
		n = n * 10 + (*text++ - '0');
	while (unit->name && strcmp(unit->name, text) != 0)
		unit++;
	if (digits == 0 || !unit->name || n > spec->max)
		return false;
	*out = n * unit->size;
	return *out >= spec->min && *out <= spec->max;
}

static void print_number(const struct value_spec *spec, int64_t n, char out[32])
{
	const struct unit *unit = units_of(spec->kind);

	while (n % unit->size != 0)
		unit++;
	if (n == 0 && spec->kind == VALUE_DURATION)
		snprintf(out, 32, "0s");
	else
		snprintf(out, 32, "%lld%s", (long long)(n / unit->size), unit->name);
}

static int set_number(const struct value_spec *spec, const char *text, void *field)
{
	int64_t n;

	if (!parse_number(spec, text, &n))
		return -EINVAL;
	if (spec->kind == VALUE_DURATION)
		*(double *)field = (double)n / 1000;
	else if (spec->kind == VALUE_UNSIGNED)
		*(unsigned *)field = (unsigned)n;
	else
		*(size_t *)field = (size_t)n;
	return 0;
}

static int set_signed(const struct value_spec *spec, const char *text, int *field)
{
	bool negative = text[0] == '-';
	uint64_t n;

	if (!number_parse(&n, text_of(text + negative), negative, INT32_MAX))
		return -EINVAL;
	*field = negative ? -(int)n : (int)n;
	return *field >= spec->min && *field <= spec->max ? 0 : -EINVAL;
}

/* 0x and up to 8 digits. */
static bool parse_hex(const char *text, uint32_t *out)
{
	size_t n;

	if (text[0] != '0' || text[1] != 'x')
		return false;
	text += 2;
	n = strspn(text, "0123456789abcdefABCDEF");
	if (n == 0 || n > 8 || text[n])
		return false;
	*out = (uint32_t)strtoul(text, NULL, 16);
	return true;
}

static int set_mask(const struct value_spec *spec, const char *text, uint32_t *field)
{
	uint32_t mask, ones;

	if (!parse_hex(text, &mask) || mask == 0)
		return -EINVAL;
	ones = mask >> __builtin_ctz(mask);
	if ((ones & (ones + 1)) != 0 || __builtin_popcount(mask) < spec->min)
		return -EINVAL;
	*field = mask;
	return 0;
}

union item {
	struct cidr network;
	struct addr address;
	struct endpoint endpoint;
	struct ports ports;
};

static size_t item_size(enum value_kind kind)
{
	return kind == VALUE_NETWORKS    ? sizeof(struct cidr)
	       : kind == VALUE_ADDRESSES ? sizeof(struct addr)
	       : kind == VALUE_PORTS     ? sizeof(struct ports)
					 : sizeof(struct endpoint);
}

static bool parse_item(const struct value_spec *spec, struct text text, union item *out)
{
	if (spec->kind == VALUE_NETWORKS)
		return cidr_parse(&out->network, text);
	if (spec->kind == VALUE_PORTS)
		return ports_parse(&out->ports, text);
	if (spec->kind == VALUE_ADDRESSES) {
		enum addr_class class;

		if (!addr_parse(&out->address, text))
			return false;
		class = addr_classify(&out->address);
		return class != ADDR_UNSPECIFIED && class != ADDR_MULTICAST;
	}
	if (spec->port == 0 || !addr_parse(&out->endpoint.addr, text))
		return endpoint_parse(&out->endpoint, text);
	out->endpoint.port = spec->port;
	return true;
}

/* May both not stand in one list? */
static bool items_clash(enum value_kind kind, const void *a, const void *b)
{
	if (kind == VALUE_NETWORKS) {
		const struct cidr *x = a, *y = b;

		return cidr_contains(x, &y->addr) || cidr_contains(y, &x->addr);
	}
	if (kind == VALUE_ADDRESSES)
		return addr_equal(a, b);
	if (kind == VALUE_PORTS)
		return false;
	return addr_equal(
		       &((const struct endpoint *)a)->addr, &((const struct endpoint *)b)->addr) &&
	       ((const struct endpoint *)a)->port == ((const struct endpoint *)b)->port;
}

/* Takes what is before the next comma, without blanks around it, off the front of `rest`. */
static struct text take_item(const char **rest)
{
	size_t length = strcspn(*rest, ",");
	struct text item = {*rest, length};

	while (item.length > 0 && strchr(" \t", item.at[0])) {
		item.at++;
		item.length--;
	}
	while (item.length > 0 && strchr(" \t", item.at[item.length - 1]))
		item.length--;
	*rest = (*rest)[length] == ',' ? *rest + length + 1 : NULL;
	return item;
}

static bool too_many(const struct value_spec *spec, const void *items, size_t n)
{
	const struct addr *addrs = items;
	int64_t n4 = 0;

	if (spec->kind != VALUE_ADDRESSES)
		return false;
	for (size_t i = 0; i < n; i++)
		n4 += addr_is_v4(&addrs[i]);
	return n4 > spec->max || (int64_t)n - n4 > spec->max;
}

static void keep_list(enum value_kind kind, void *items, size_t n, void *field)
{
	if (kind == VALUE_NETWORKS)
		*(struct cidr_list *)field = (struct cidr_list){items, n};
	else if (kind == VALUE_ADDRESSES)
		*(struct addr_list *)field = (struct addr_list){items, n};
	else if (kind == VALUE_PORTS)
		*(struct port_list *)field = (struct port_list){items, ports_sort(items, n)};
	else
		*(struct endpoint_list *)field = (struct endpoint_list){items, n};
}

static int set_list(const struct value_spec *spec, const char *text, void *field)
{
	size_t size = item_size(spec->kind), n = 0, room = 1;
	char *items;

	for (const char *c = text; *c; c++)
		room += *c == ',';
	items = calloc(room, size);
	if (!items)
		return -ENOMEM;
	while (text) {
		union item item;
		bool good = parse_item(spec, take_item(&text), &item);

		for (size_t i = 0; i < n && good; i++)
			good = !items_clash(spec->kind, items + i * size, &item);
		if (!good) {
			free(items);
			return -EINVAL;
		}
		memcpy(items + n++ * size, &item, size);
	}
	if (too_many(spec, items, n)) {
		free(items);
		return -EINVAL;
	}
	keep_list(spec->kind, items, n, field);
	return 0;
}

static int set_string(char *copy, void *field)
{
	*(char **)field = copy;
	return copy ? 0 : -ENOMEM;
}

static bool is_name(const char *text, int64_t max)
{
	const char *at = text;

	if (!(*at >= 'a' && *at <= 'z') && !(*at >= 'A' && *at <= 'Z'))
		return false;
	while ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
		(*at >= '0' && *at <= '9') || (*at && strchr("._-", *at)))
		at++;
	return *at == '\0' && at - text <= max;
}

/* Its index, or -1. */
static int find_choice(const struct value_spec *spec, const char *text)
{
	for (int i = 0; spec->choices && spec->choices[i]; i++)
		if (strcmp(spec->choices[i], text) == 0)
			return i;
	return -1;
}

static int set_choice(const struct value_spec *spec, const char *text, void *field)
{
	*(int *)field = find_choice(spec, text);
	return *(int *)field < 0 ? -EINVAL : 0;
}

static int set_path(
	const struct value_spec *spec, const struct files *files, const char *text, void *field)
{
	if (!text[0] || text[strlen(text) - 1] == '/')
		return -EINVAL;
	return set_string(
		find_choice(spec, text) < 0 ? files_path(files, text) : strdup(text), field);
}

static int set_yes_no(const char *text, bool *field)
{
	*field = strcmp(text, "yes") == 0;
	return *field || strcmp(text, "no") == 0 ? 0 : -EINVAL;
}

int value_parse(
	const struct value_spec *spec, const struct files *files, const char *text, void *field)
{
	if (spec->word && strcmp(text, spec->word) == 0)
		return 0;
	switch (spec->kind) {
	case VALUE_NETWORKS:
	case VALUE_ADDRESSES:
	case VALUE_ENDPOINTS:
	case VALUE_PORTS:
		return set_list(spec, text, field);
	case VALUE_UNSIGNED:
	case VALUE_COUNT:
	case VALUE_BYTES:
	case VALUE_DURATION:
		return set_number(spec, text, field);
	case VALUE_SIGNED:
		return set_signed(spec, text, field);
	case VALUE_MASK:
		return set_mask(spec, text, field);
	case VALUE_NAME:
		return is_name(text, spec->max) ? set_string(strdup(text), field) : -EINVAL;
	case VALUE_FILE:
		return text[0] ? set_string(strdup(text), field) : -EINVAL;
	case VALUE_PATH:
		return set_path(spec, files, text, field);
	case VALUE_CHOICE:
		return set_choice(spec, text, field);
	case VALUE_YES_NO:
		return set_yes_no(text, field);
	case VALUE_GATEWAYS:
		return gateways_parse(field, text);
	}
	return -EINVAL;
}

static void describe_number(const struct value_spec *spec, const char *what, FILE *out)
{
	char min[32], max[32];

	print_number(spec, spec->min, min);
	print_number(spec, spec->max, max);
	fprintf(out, "%s, %s-%s", what, min, max);
}

static void describe_choices(const struct value_spec *spec, const char *more, FILE *out)
{
	for (int i = 0; spec->choices[i]; i++)
		fprintf(out, "%s%s",
			i == 0                         ? ""
			: spec->choices[i + 1] || more ? ", "
						       : " or ",
			spec->choices[i]);
	if (more)
		fprintf(out, " or %s", more);
}

static void describe(const struct value_spec *spec, FILE *out)
{
	if (spec->word)
		fprintf(out, "%s, or ", spec->word);
	switch (spec->kind) {
	case VALUE_NETWORKS:
		fputs("networks such as 10.42.0.0/16, host bits zero, none within another", out);
		break;
	case VALUE_ADDRESSES:
		fprintf(out, "addresses, each once, at most %d IPv4 and %d IPv6", (int)spec->max,
			(int)spec->max);
		break;
	case VALUE_PORTS:
		fputs("ports and ranges such as 53, 8000-8100, or * for all", out);
		break;
	case VALUE_ENDPOINTS:
		fputs("ADDRESS:PORT or [IPV6]:PORT, several with commas, each once", out);
		if (spec->port)
			fprintf(out, "; no port: %u", spec->port);
		break;
	case VALUE_UNSIGNED:
	case VALUE_COUNT:
		describe_number(spec, "a number", out);
		break;
	case VALUE_SIGNED:
		fprintf(out, "a number from %d to %d", (int)spec->min, (int)spec->max);
		break;
	case VALUE_MASK:
		fprintf(out, "a mask in hex (0x...) of at least %d adjacent bits", (int)spec->min);
		break;
	case VALUE_BYTES:
		describe_number(spec, "bytes, k, m or g for KiB, MiB or GiB", out);
		break;
	case VALUE_DURATION:
		describe_number(spec, "a time with its unit (ms, s, m, h, d)", out);
		break;
	case VALUE_NAME:
		fprintf(out, "a letter, then letters, digits, . _ or -, up to %d together",
			(int)spec->max);
		break;
	case VALUE_FILE:
		fputs("a file", out);
		break;
	case VALUE_PATH:
		if (spec->choices)
			describe_choices(spec, "a path", out);
		else
			fputs("a path", out);
		break;
	case VALUE_CHOICE:
		describe_choices(spec, NULL, out);
		break;
	case VALUE_YES_NO:
		fputs("yes or no", out);
		break;
	case VALUE_GATEWAYS:
		fprintf(out,
			"NAME ADDRESS..., up to %d with commas: a letter first, names and "
			"addresses "
			"each once",
			GATEWAYS_MOST);
		break;
	}
}

const char *value_describe(const struct value_spec *spec, char *out, size_t size)
{
	FILE *stream = fmemopen(out, size, "w");

	out[0] = '\0';
	if (stream) {
		describe(spec, stream);
		fclose(stream);
		out[size - 1] = '\0';
	}
	return out;
}

_Static_assert(sizeof(struct cidr) == 17 && sizeof(struct endpoint) == 18, "items have no padding");

static bool lists_equal(size_t size, const void *a, size_t n_a, const void *b, size_t n_b)
{
	return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * size) == 0);
}

static bool strings_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool value_equal(const struct value_spec *spec, const void *a, const void *b)
{
	size_t size = item_size(spec->kind);

	switch (spec->kind) {
	case VALUE_NETWORKS: {
		const struct cidr_list *x = a, *y = b;

		return lists_equal(size, x->at, x->n, y->at, y->n);
	}
	case VALUE_ADDRESSES: {
		const struct addr_list *x = a, *y = b;

		return lists_equal(size, x->at, x->n, y->at, y->n);
	}
	case VALUE_ENDPOINTS: {
		const struct endpoint_list *x = a, *y = b;

		return lists_equal(size, x->at, x->n, y->at, y->n);
	}
	case VALUE_PORTS: {
		const struct port_list *x = a, *y = b;

		return lists_equal(size, x->at, x->n, y->at, y->n);
	}
	case VALUE_UNSIGNED:
	case VALUE_SIGNED:
	case VALUE_MASK:
	case VALUE_CHOICE:
		return *(const unsigned *)a == *(const unsigned *)b;
	case VALUE_COUNT:
	case VALUE_BYTES:
		return *(const size_t *)a == *(const size_t *)b;
	case VALUE_DURATION:
		return *(const double *)a == *(const double *)b;
	case VALUE_NAME:
	case VALUE_FILE:
	case VALUE_PATH:
		return strings_equal(*(char *const *)a, *(char *const *)b);
	case VALUE_YES_NO:
		return *(const bool *)a == *(const bool *)b;
	case VALUE_GATEWAYS:
		return gateways_equal(a, b);
	}
	return false;
}

void value_fini(const struct value_spec *spec, void *field)
{
	switch (spec->kind) {
	case VALUE_NETWORKS:
	case VALUE_ADDRESSES:
	case VALUE_ENDPOINTS:
	case VALUE_PORTS:
	case VALUE_GATEWAYS: /* each list starts with its pointer */
	case VALUE_NAME:
	case VALUE_FILE:
	case VALUE_PATH:
		free(*(void **)field);
		break;
	default:
		break;
	}
}
