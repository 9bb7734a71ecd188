/*
 * client_hello.c - the first message of a TLS client.
 *
 * A cursor takes bytes of the message and steps over the heads of records by itself.  Lengths are
 * budgets: what is inside something takes from its budget, and one that is too small makes the
 * message a bad one, however many bytes have come.
 */
#include "daemon/net/client_hello.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define RECORD_HANDSHAKE 22
#define RECORD_MAJOR 3
#define RECORD_MAX 16384
#define TYPE_CLIENT_HELLO 1
#define MESSAGE_MAX 16384 /* of ours: browsers send up to 2 KiB */
#define EXTENSION_SERVER_NAME 0
#define NAME_TYPE_HOST 0

struct cursor {
	const uint8_t *at, *end;
	size_t record; /* bytes left in this record */
	bool more;     /* the bytes have ended */
	const char *error;
};

static bool ok(const struct cursor *c)
{
	return !c->more && !c->error;
}

static void bad(struct cursor *c, const char *error)
{
	if (ok(c))
		c->error = error;
}

/* As soon as the first byte is wrong: who speaks another protocol may wait for an answer. */
static void open_record(struct cursor *c)
{
	size_t n = (size_t)(c->end - c->at);
	size_t length = n >= 5 ? (size_t)(c->at[3] << 8 | c->at[4]) : 1;

	if ((n >= 1 && c->at[0] != RECORD_HANDSHAKE) || (n >= 2 && c->at[1] != RECORD_MAJOR))
		bad(c, "want TLS: a handshake record");
	else if (length == 0 || length > RECORD_MAX)
		bad(c, "a TLS record that is empty or too long");
	else if (n < 5)
		c->more = true;
	if (!ok(c))
		return;
	c->record = length;
	c->at += 5;
}

/* Takes `n` bytes of the message out of *budget; `to` NULL: they do not matter. */
static void take(struct cursor *c, size_t *budget, void *to, size_t n)
{
	uint8_t *out = to;

	if (n > *budget)
		bad(c, "a length in the ClientHello that is longer than what it is in");
	*budget -= ok(c) ? n : 0;
	while (ok(c) && n > 0) {
		size_t have = (size_t)(c->end - c->at), some = n;

		if (c->record == 0) {
			open_record(c);
			continue;
		}
		some = some < c->record ? some : c->record;
		some = some < have ? some : have;
		if (some == 0) {
			c->more = true;
			return;
		}
		if (out) {
			memcpy(out, c->at, some);
			out += some;
		}
		c->at += some;
		c->record -= some;
		n -= some;
	}
}

/* A number of 1 to 3 bytes; 0 when there is none. */
static size_t take_number(struct cursor *c, size_t *budget, size_t bytes)
{
	uint8_t digits[3] = {0};
	size_t number = 0;

	take(c, budget, digits, bytes);
	for (size_t i = 0; ok(c) && i < bytes; i++)
		number = number << 8 | digits[i];
	return number;
}

/* A vector with its length in front, within these bounds. */
static void skip_vector(struct cursor *c, size_t *budget, size_t bytes, size_t least, size_t most)
{
	size_t length = take_number(c, budget, bytes);

	if (ok(c) && (length < least || length > most))
		bad(c, "a list in the ClientHello with an impossible length");
	take(c, budget, NULL, length);
}

/* RFC 6066 3: one name of the only type that there is. */
static void read_server_name(struct cursor *c, size_t budget, struct client_hello *hello)
{
	size_t list = take_number(c, &budget, 2), left = budget;
	size_t type = take_number(c, &budget, 1), length = take_number(c, &budget, 2);

	if (ok(c) && (list != left || type != NAME_TYPE_HOST || length != budget || length == 0 ||
			     length > CLIENT_HELLO_NAME || hello->name_length > 0))
		bad(c, "server_name: want one host name");
	take(c, &budget, hello->name, length);
	if (ok(c))
		hello->name_length = length;
}

static void read_extensions(struct cursor *c, size_t *budget, struct client_hello *hello)
{
	size_t left = take_number(c, budget, 2);

	if (ok(c) && left != *budget)
		bad(c, "extensions that do not end where the ClientHello does");
	while (ok(c) && left > 0) {
		size_t type = take_number(c, &left, 2), length = take_number(c, &left, 2);

		if (ok(c) && length > left)
			bad(c, "an extension that is longer than what it is in");
		if (!ok(c))
			return;
		if (type == EXTENSION_SERVER_NAME)
			read_server_name(c, length, hello);
		else
			take(c, &(size_t){length}, NULL, length);
		left -= length;
	}
}

static void read_hello(struct cursor *c, struct client_hello *hello)
{
	size_t head = 4, type = take_number(c, &head, 1), budget;

	if (ok(c) && type != TYPE_CLIENT_HELLO)
		bad(c, "want a ClientHello");
	budget = take_number(c, &head, 3);
	if (ok(c) && budget > MESSAGE_MAX)
		bad(c, "the ClientHello is larger than 16 KiB");
	take(c, &budget, NULL, 2 + 32); /* version, random */
	skip_vector(c, &budget, 1, 0, 32);
	skip_vector(c, &budget, 2, 2, UINT16_MAX - 1); /* cipher suites */
	skip_vector(c, &budget, 1, 1, UINT8_MAX);      /* compression methods */
	if (budget > 0)
		read_extensions(c, &budget, hello);
}

enum hello_result client_hello_read(struct text in, struct client_hello *hello)
{
	struct cursor c = {
		(const uint8_t *)in.at, (const uint8_t *)in.at + in.length, 0, false, NULL};

	hello->name_length = 0;
	hello->error = NULL;
	read_hello(&c, hello);
	hello->error = c.error;
	return c.error ? HELLO_BAD : c.more ? HELLO_MORE : HELLO_DONE;
}
