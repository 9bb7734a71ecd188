/*
 * multipart_test.c - several ranges of one body.
 */
#include "daemon/cache/multipart.h"
#include "tests/unit/daemon/cache/heads.h"

/* RFC 9110 14.6 */
static void writes_parts_and_their_end(void **state)
{
	static const struct range ranges[] = {{500, 999}, {7000, 7999}};
	const struct multipart m = {TEXT("SEP"), TEXT("application/pdf"), ranges, 2, 8000};
	static const char *const heads[] = {
		"--SEP\r\nContent-Type: application/pdf\r\n"
		"Content-Range: bytes 500-999/8000\r\n\r\n",
		"\r\n--SEP\r\nContent-Type: application/pdf\r\n"
		"Content-Range: bytes 7000-7999/8000\r\n\r\n",
		"\r\n--SEP--\r\n",
	};
	uint64_t length = 500 + 1000;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(heads); i++) {
		char out[200];
		size_t is = multipart_head(out, sizeof(out), &m, i);
		assert_int_equal(is, strlen(heads[i]));
		assert_memory_equal(out, heads[i], is);
		for (size_t size = 0; size < is; size++) {
			char *room = heads_copy(out, size);
			assert_int_equal(multipart_head(room, size, &m, i), 0);
			free(room);
		}
		length += is;
	}
	assert_int_equal(multipart_length(&m), length);
}

static void knows_the_length_before_it_writes(void **state)
{
	uint64_t random = 1;
	(void)state;
	for (int i = 0; i < heads_rounds(20000); i++) {
		struct range ranges[RANGES_MAX];
		struct multipart m = {TEXT("0123456789abcdef"), {"text/plain", i % 11}, ranges,
			1 + heads_random(&random) % RANGES_MAX, 0};
		unsigned bits = heads_random(&random) % 60;
		uint64_t length = 0;
		for (size_t j = 0; j < m.n_ranges; j++) {
			uint64_t from = heads_random(&random), to = heads_random(&random);
			ranges[j].first = (from << 31 | to) & ((UINT64_C(1) << bits) - 1);
			ranges[j].last = ranges[j].first + heads_random(&random) % 1000;
			m.length = ranges[j].last + 1;
			length += ranges[j].last - ranges[j].first + 1;
		}
		for (size_t j = 0; j <= m.n_ranges; j++) {
			char out[200];
			size_t head = multipart_head(out, sizeof(out), &m, j);
			assert_true(head > 0);
			length += head;
		}
		assert_int_equal(multipart_length(&m), length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_parts_and_their_end),
		cmocka_unit_test(knows_the_length_before_it_writes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
