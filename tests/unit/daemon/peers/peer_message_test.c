#include "daemon/peers/peer_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_true(addr_parse(&addr, text_of(text)));
	return addr;
}

/* An answer with two addresses, 203.0.113.10 and 2001:db8::10. */
static struct peer_message an_answer(void)
{
	struct peer_message m = {.type = PEER_ANSWER,
		.id = 0x0102030405060708,
		.instance = 0xf1f2f3f4f5f6f7f8,
		.serial = 3,
		.digest = "0123456789abcde",
		.n_owned = 2};

	m.owned[0] = addr_of("203.0.113.10");
	m.owned[1] = addr_of("2001:db8::10");
	return m;
}

static void what_is_encoded_is_decoded(void **state)
{
	struct peer_message probe = {.type = PEER_PROBE, .id = 7}, answer = an_answer(),
			    change = an_answer(), full = an_answer(), got;
	const struct peer_message *all[] = {&probe, &answer, &change, &full};
	uint8_t bytes[PEER_MESSAGE_SIZE];

	(void)state;
	change.type = PEER_CHANGE;
	change.n_owned = 0;
	memset(change.owned, 0, sizeof(change.owned));
	full.n_owned = PEER_OWNED_MOST;
	for (unsigned i = 0; i < PEER_OWNED_MOST; i++)
		full.owned[i] = (struct addr){{[10] = 0xff, 0xff, 192, 0, 2, (uint8_t)i}};
	for (size_t i = 0; i < COUNT_OF(all); i++) {
		peer_message_encode(all[i], bytes);
		assert_true(peer_message_decode(&got, bytes, sizeof(bytes)));
		assert_memory_equal(&got, all[i], sizeof(got));
	}
}

static void the_bytes_are_as_they_have_always_been(void **state)
{
	static const uint8_t head[48] = {'E', 'G', 'R', 'T', 1, 2, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8,
		0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0, 0, 0, 0, 0, 0, 0, 3, '0', '1',
		'2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 0};
	struct peer_message m = an_answer();
	uint8_t bytes[PEER_MESSAGE_SIZE];

	(void)state;
	peer_message_encode(&m, bytes);
	assert_int_equal(sizeof(bytes), 1072);
	assert_memory_equal(bytes, head, sizeof(head));
	assert_memory_equal(bytes + 48, &m.owned[0], 16);
	assert_memory_equal(bytes + 64, &m.owned[1], 16);
}

/* One byte of an answer (or of a probe) is another. */
static const struct {
	enum peer_message_type type;
	size_t at;
	uint8_t value;
	const char *why;
} bad[] = {
	{PEER_ANSWER, 0, 'e', "magic"},
	{PEER_ANSWER, 3, 0, "magic"},
	{PEER_ANSWER, 4, 0, "version"},
	{PEER_ANSWER, 4, 2, "version"},
	{PEER_ANSWER, 5, 0, "type"},
	{PEER_ANSWER, 5, 1, "a probe that has something"},
	{PEER_ANSWER, 5, 4, "type"},
	{PEER_ANSWER, 5, 255, "type"},
	{PEER_ANSWER, 6, 1, "258 addresses"},
	{PEER_ANSWER, 7, 1, "an address beyond the number"},
	{PEER_ANSWER, 7, 3, "an address that is ::"},
	{PEER_ANSWER, 7, 65, "more addresses than there is room for"},
	{PEER_ANSWER, 7, 255, "more addresses than there is room for"},
	{PEER_ANSWER, 48, 0xff, "not sorted"},
	{PEER_ANSWER, 60, 127, "an address of loopback"},
	{PEER_ANSWER, 60, 224, "an address of multicast"},
	{PEER_ANSWER, 64, 0xff, "an address of multicast"},
	{PEER_ANSWER, 80, 1, "something beyond the addresses"},
	{PEER_ANSWER, PEER_MESSAGE_SIZE - 1, 1, "something beyond the addresses"},
	{PEER_PROBE, 5, 2, "an answer of no instance"},
	{PEER_PROBE, 7, 1, "a probe with an address"},
	{PEER_PROBE, 15, 0, "no id"},
	{PEER_PROBE, 23, 1, "a probe with an instance"},
	{PEER_PROBE, 31, 1, "a probe with a serial"},
	{PEER_PROBE, 32, 1, "a probe with a digest"},
	{PEER_PROBE, 48, 1, "a probe with something behind it"},
};

static void everything_else_is_refused(void **state)
{
	struct peer_message answer = an_answer(), probe = {.type = PEER_PROBE, .id = 7}, got;
	uint8_t bytes[PEER_MESSAGE_SIZE + 1] = {0};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		peer_message_encode(bad[i].type == PEER_PROBE ? &probe : &answer, bytes);
		assert_int_not_equal(bytes[bad[i].at], bad[i].value);
		bytes[bad[i].at] = bad[i].value;
		if (peer_message_decode(&got, bytes, PEER_MESSAGE_SIZE))
			fail_msg("taken: %s (byte %zu)", bad[i].why, bad[i].at);
	}
	peer_message_encode(&answer, bytes);
	for (size_t length = 0; length <= sizeof(bytes); length++)
		assert_int_equal(
			peer_message_decode(&got, bytes, length), length == PEER_MESSAGE_SIZE);
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* From wholly random to one byte off; what is taken is encoded as it came. */
static void random_bytes_are_refused_or_are_the_one_encoding(void **state)
{
	struct peer_message m = an_answer(), got;
	uint8_t *bytes = malloc(PEER_MESSAGE_SIZE), again[PEER_MESSAGE_SIZE];
	uint64_t seed = 88172645463325252u;
	size_t taken = 0;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		size_t changes = next_random(&seed) % 4, length = PEER_MESSAGE_SIZE;

		m.type = PEER_ANSWER + next_random(&seed) % 2;
		peer_message_encode(&m, bytes);
		if (changes == 0)
			for (size_t j = 0; j < PEER_MESSAGE_SIZE; j++)
				bytes[j] = (uint8_t)next_random(&seed);
		for (size_t j = 0; j < changes; j++)
			bytes[next_random(&seed) % (j % 2 ? PEER_MESSAGE_SIZE : 96)] =
				(uint8_t)next_random(&seed);
		if (!peer_message_decode(&got, bytes, length))
			continue;
		taken++;
		peer_message_encode(&got, again);
		assert_memory_equal(again, bytes, length);
	}
	assert_true(taken > 1000);
	for (size_t length = 0; length <= PEER_MESSAGE_SIZE; length++) {
		uint8_t *exact = malloc(length ? length : 1); /* the sanitizer's fence */

		memcpy(exact, bytes, length);
		if (length != PEER_MESSAGE_SIZE)
			assert_false(peer_message_decode(&got, exact, length));
		free(exact);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_encoded_is_decoded),
		cmocka_unit_test(the_bytes_are_as_they_have_always_been),
		cmocka_unit_test(everything_else_is_refused),
		cmocka_unit_test(random_bytes_are_refused_or_are_the_one_encoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
