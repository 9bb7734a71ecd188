#include "daemon/datapath/ports.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static unsigned warnings;
static struct port_use warned;

static void on_high(void *arg, const struct port_use *use)
{
	(void)arg;
	warnings++;
	warned = *use;
}

static struct port_use endpoint(const char *partner, uint16_t port, uint8_t protocol)
{
	struct port_use use = {.port = port, .protocol = protocol};

	assert_true(addr_parse(&use.egress, text_of("203.0.113.10")));
	assert_true(addr_parse(&use.partner, text_of(partner)));
	return use;
}

static void each_endpoint_counts_for_itself(void **state)
{
	const struct port_use keys[] = {endpoint("198.51.100.7", 443, IPPROTO_TCP),
		endpoint("198.51.100.7", 443, IPPROTO_UDP),
		endpoint("198.51.100.7", 80, IPPROTO_TCP),
		endpoint("198.51.100.8", 443, IPPROTO_TCP)};
	struct ports *ports = ports_new(10, on_high, NULL);
	struct ports_endpoint *taken[4][4];
	struct port_use out[8];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j <= i; j++)
			taken[i][j] = ports_take(ports, &keys[i]);
	assert_int_equal(ports_count(ports), 4);
	assert_int_equal(ports_busiest(ports, out, 8), 4);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(out[i].used, 4 - i);
		assert_int_equal(out[i].port, keys[3 - i].port);
		assert_int_equal(out[i].protocol, keys[3 - i].protocol);
	}
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j <= i; j++)
			ports_release(ports, taken[i][j]);
	assert_int_equal(ports_count(ports), 0);
	assert_int_equal(ports_busiest(ports, out, 8), 0);
	ports_free(ports);
}

static void the_busiest_of_many_come_first(void **state)
{
	struct ports *ports = ports_new(PORTS_RANGE, on_high, NULL);
	struct port_use out[10];

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		struct port_use use =
			endpoint("198.51.100.7", (uint16_t)(1 + i * 37 % 200), IPPROTO_TCP);

		for (unsigned j = 0; j < use.port; j++)
			assert_non_null(ports_take(ports, &use));
	}
	assert_int_equal(ports_busiest(ports, out, 10), 10);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(out[i].used, 200 - i);
	assert_int_equal(ports_busiest(ports, out, 0), 0);
	ports_free(ports);
}

static void warns_at_80_percent_and_again_only_after_70(void **state)
{
	const struct port_use key = endpoint("198.51.100.7", 443, IPPROTO_TCP);
	struct ports *ports = ports_new(100, on_high, NULL);
	struct ports_endpoint *taken = NULL;
	static const struct {
		unsigned used, warnings;
	} steps[] = {{79, 0}, {80, 1}, {100, 1}, {70, 1}, {85, 1}, {69, 1}, {79, 1}, {80, 2},
		{0, 2}, {80, 3}};
	unsigned used = 0;

	(void)state;
	warnings = 0;
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		for (; used < steps[i].used; used++)
			taken = ports_take(ports, &key);
		for (; used > steps[i].used; used--)
			ports_release(ports, taken);
		assert_int_equal(warnings, steps[i].warnings);
	}
	assert_int_equal(warned.used, 80);
	assert_int_equal(warned.port, 443);
	ports_free(ports);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_endpoint_counts_for_itself),
		cmocka_unit_test(the_busiest_of_many_come_first),
		cmocka_unit_test(warns_at_80_percent_and_again_only_after_70),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
