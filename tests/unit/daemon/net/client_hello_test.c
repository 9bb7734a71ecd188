/*
 * client_hello_test.c - hellos, whole, in pieces, and with a mistake each.
 *
 * A hello is made from parts, so that each length in it can be wrong alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "daemon/net/client_hello.h"

#define MOST 65536

struct bytes {
	uint8_t at[MOST];
	size_t n;
};

static void put(struct bytes *out, const void *at, size_t n)
{
	assert_true(out->n + n <= MOST);
	memcpy(out->at + out->n, at, n);
	out->n += n;
}

static void put_number(struct bytes *out, size_t number, size_t size)
{
	while (size-- > 0)
		put(out, &(uint8_t){(uint8_t)(number >> 8 * size)}, 1);
}

static void put_zeros(struct bytes *out, size_t n)
{
	while (n-- > 0)
		put_number(out, 0, 1);
}

/* What a hello is made of; 0 is the usual. */
struct make {
	const char *name;              /* NULL: no server_name */
	size_t name_length;            /* 0: strlen(name) */
	int list, entry, type;         /* server_name: added to lengths and type */
	bool twice;                    /* server_name is there twice */
	size_t session, ciphers;       /* bytes; ciphers 0: 2 */
	size_t compressions;           /* 0: 1 */
	size_t before, behind;         /* bytes of another extension on either side */
	bool no_extensions, grease;    /* not even their length; RFC 8701 */
	int extensions, message, kind; /* added to lengths, and to the type of the message */
};

static void put_server_name(struct bytes *out, const struct make *m)
{
	size_t n = m->name_length ? m->name_length : strlen(m->name);

	put_number(out, 0, 2);
	put_number(out, n + 5, 2);
	put_number(out, n + 3 + (size_t)m->list, 2);
	put_number(out, (size_t)m->type, 1);
	put_number(out, n + (size_t)m->entry, 2);
	for (size_t i = 0; i < n; i++)
		put(out, &m->name[i % strlen(m->name)], 1);
}

static void put_extension(struct bytes *out, size_t type, size_t n)
{
	put_number(out, type, 2);
	put_number(out, n, 2);
	put_zeros(out, n);
}

/* The handshake message. */
static void make(struct bytes *out, const struct make *m)
{
	static struct bytes body, extensions;

	body.n = extensions.n = out->n = 0;
	if (m->grease)
		put_extension(&extensions, 0x1a1a, 0);
	if (m->before)
		put_extension(&extensions, 0xfe0d, m->before);
	for (int i = 0; m->name && i < 1 + m->twice; i++)
		put_server_name(&extensions, m);
	if (m->behind)
		put_extension(&extensions, 43, m->behind);
	if (m->grease)
		put_extension(&extensions, 0xfafa, 1);
	put_number(&body, 0x0303, 2);
	put_zeros(&body, 32);
	put_number(&body, m->session, 1);
	put_zeros(&body, m->session);
	put_number(&body, m->ciphers ? m->ciphers : 2, 2);
	put_zeros(&body, m->ciphers ? m->ciphers : 2);
	put_number(&body, m->compressions ? m->compressions : 1, 1);
	put_zeros(&body, m->compressions ? m->compressions : 1);
	if (!m->no_extensions) {
		put_number(&body, extensions.n + (size_t)m->extensions, 2);
		put(&body, extensions.at, extensions.n);
	}
	put_number(out, 1 + (size_t)m->kind, 1);
	put_number(out, body.n + (size_t)m->message, 3);
	put(out, body.at, body.n);
}

/* In records of up to `size` bytes. */
static void wrap(struct bytes *out, const struct bytes *message, size_t size)
{
	out->n = 0;
	for (size_t at = 0; at < message->n; at += size) {
		size_t n = message->n - at < size ? message->n - at : size;

		put_number(out, 22, 1);
		put_number(out, 0x0301, 2);
		put_number(out, n, 2);
		put(out, message->at + at, n);
	}
}

/* In memory of its own, for the sanitizer to see every byte too many. */
static enum hello_result read_bytes(const uint8_t *at, size_t n, struct client_hello *hello)
{
	char *copy = malloc(n ? n : 1);
	enum hello_result result;

	assert_non_null(copy);
	memcpy(copy, at, n);
	result = client_hello_read((struct text){copy, n}, hello);
	free(copy);
	assert_int_equal(hello->error != NULL, result == HELLO_BAD);
	return result;
}

static void expect_name(const struct bytes *in, const char *name)
{
	struct client_hello hello;

	if (read_bytes(in->at, in->n, &hello) != HELLO_DONE)
		fail_msg("%s: %s", name, hello.error ? hello.error : "wants more");
	assert_int_equal(hello.name_length, strlen(name));
	assert_memory_equal(hello.name, name, strlen(name));
	for (size_t n = 0; n < in->n; n++)
		assert_int_equal(read_bytes(in->at, n, &hello), HELLO_MORE);
}

static const struct make good[] = {
	{.name = "example.com"},
	{.name = "x"},
	{.name = "UPPER.example", .session = 32, .ciphers = 200, .compressions = 255},
	{.name = "example.com", .before = 300, .behind = 1, .grease = true},
	{.name = "example.com", .before = 1300, .behind = 1200},
	{.before = 7},
	{.name = NULL},
	{.no_extensions = true},
	{.name = "not a \xff name"},
};

static void the_name_is_read_from_however_many_records(void **state)
{
	static const size_t sizes[] = {16384, 100, 7, 2, 1};
	static struct bytes message, records;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++)
		for (size_t j = 0; j < COUNT_OF(sizes); j++) {
			make(&message, &good[i]);
			wrap(&records, &message, sizes[j]);
			expect_name(&records, good[i].name ? good[i].name : "");
		}
}

static void what_is_behind_is_left_alone(void **state)
{
	static struct bytes message, records;
	struct client_hello hello;

	(void)state;
	make(&message, &good[0]);
	wrap(&records, &message, 16384);
	put(&records, "anything", 8);
	assert_int_equal(read_bytes(records.at, records.n, &hello), HELLO_DONE);
	put(&message, "\x0b\0\0\0", 4); /* another message in the same record */
	wrap(&records, &message, 16384);
	assert_int_equal(read_bytes(records.at, records.n, &hello), HELLO_DONE);
	assert_int_equal(hello.name_length, strlen(good[0].name));
}

static void the_longest_name_is_read(void **state)
{
	static struct bytes message, records;
	struct client_hello hello;

	(void)state;
	make(&message, &(struct make){.name = "a", .name_length = CLIENT_HELLO_NAME});
	wrap(&records, &message, 16384);
	assert_int_equal(read_bytes(records.at, records.n, &hello), HELLO_DONE);
	assert_int_equal(hello.name_length, CLIENT_HELLO_NAME);
}

static const struct make bad[] = {
	{.name = "a.test", .name_length = CLIENT_HELLO_NAME + 1},
	{.name = "a.test", .list = 1},
	{.name = "a.test", .list = -1},
	{.name = "a.test", .entry = 1},
	{.name = "a.test", .entry = -1},
	{.name = "a.test", .entry = -6},
	{.name = "a.test", .type = 1},
	{.name = "a.test", .twice = true},
	{.name = "a.test", .extensions = 1},
	{.name = "a.test", .extensions = -1},
	{.name = "a.test", .message = -1},
	{.name = "a.test", .message = 1},
	{.name = "a.test", .kind = 1},
	{.name = "a.test", .kind = -1},
	{.name = "a.test", .session = 33},
	{.name = "a.test", .before = 16384},
};

static void each_wrong_length_is_noticed(void **state)
{
	static struct bytes message, records;
	struct client_hello hello;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		make(&message, &bad[i]);
		wrap(&records, &message, 16384);
		if (read_bytes(records.at, records.n, &hello) != HELLO_BAD)
			fail_msg("hello %zu", i);
	}
}

static void another_protocol_is_told_by_its_first_bytes(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} others[] = {
		{"G", 1},                    /* HTTP */
		{"\x80", 1},                 /* SSL 2 */
		{"\x17", 1},                 /* application data */
		{"\x16\x02", 2},             /* not TLS */
		{"\x16\3\1\0\0", 5},         /* empty */
		{"\x16\3\1\x40\1", 5},       /* over 16 KiB */
		{"\x16\3\1\0\4\2", 6},       /* a ServerHello */
		{"\x16\3\1\0\4\1\1", 0},     /* nothing at all */
		{"\x16\3\1\0\4\1\1\0\0", 9}, /* a message of 64 KiB */
	};
	struct client_hello hello;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(others); i++)
		assert_int_equal(read_bytes((const uint8_t *)others[i].bytes, others[i].n, &hello),
			others[i].n ? HELLO_BAD : HELLO_MORE);
}

static void any_byte_may_be_any_other(void **state)
{
	static struct bytes message, records;
	struct client_hello hello;

	(void)state;
	make(&message, &good[3]);
	wrap(&records, &message, 100);
	for (size_t i = 0; i < records.n; i++)
		for (unsigned flip = 1; flip < 256; flip++) {
			records.at[i] ^= (uint8_t)flip;
			(void)read_bytes(records.at, records.n, &hello);
			assert_true(hello.name_length <= CLIENT_HELLO_NAME);
			records.at[i] ^= (uint8_t)flip;
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_name_is_read_from_however_many_records),
		cmocka_unit_test(what_is_behind_is_left_alone),
		cmocka_unit_test(the_longest_name_is_read),
		cmocka_unit_test(each_wrong_length_is_noticed),
		cmocka_unit_test(another_protocol_is_told_by_its_first_bytes),
		cmocka_unit_test(any_byte_may_be_any_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
