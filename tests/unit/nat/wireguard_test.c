/*
 * wireguard_test.c - which peer takes everything, with the kernel's WireGuard where it has one.
 */
#include "helpers.h"

#include <net/if.h>

#include "nat/wireguard.h"

#define ONE "b25lb25lb25lb25lb25lb25lb25lb25lb25lb25lb24="
#define TWO "dHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHc="
#define OTHER "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyb3Q="

static int set_up(void **state)
{
	static bool is_here;

	enter_new_namespace();
	is_here = system("ip link add wg0 type wireguard 2>/dev/null") == 0;
	*state = &is_here;
	if (is_here)
		run("wg set wg0 peer " ONE " allowed-ips 10.42.0.0/24,fd42::/64"
		    " peer " TWO " allowed-ips 10.42.1.0/24,10.42.9.0/24,fd42:0:0:1::/64;"
		    " ip link set wg0 up");
	return 0;
}

static void need(void **state)
{
	if (!*(bool *)*state)
		skip();
}

/* In whatever order. */
static void assert_allowed(const char *key, const char *networks)
{
	run("sorted() { tr ' ' '\\n' | sort | xargs; };"
	    " test \"$(wg show wg0 allowed-ips | grep '^%s' | cut -f2 | sorted)\" = \"$(echo %s | "
	    "sorted)\"",
		key, networks);
}

static int lead(const char *to, struct error *e)
{
	struct addr addr = addr_of(to);

	return wireguard_lead("wg0", &addr, e);
}

static bool leads(const char *to)
{
	struct addr addr = addr_of(to);

	return wireguard_leads("wg0", &addr, NULL) == 1;
}

static void the_peer_of_an_address_leads(void **state)
{
	need(state);
	assert_false(leads("10.42.0.0"));
	assert_int_equal(lead("10.42.0.0", NULL), 1);
	assert_int_equal(lead("10.42.0.0", NULL), 0);
	assert_int_equal(lead("fd42:0:0:1::", NULL), 1);
	assert_true(leads("10.42.0.7"));
	assert_true(leads("fd42:0:0:1::7"));
	assert_false(leads("fd42::"));
	assert_allowed(ONE, "10.42.0.0/24 fd42::/64 0.0.0.0/0");
	assert_allowed(TWO, "10.42.9.0/24 10.42.1.0/24 fd42:0:0:1::/64 ::/0");
}

static void it_moves_and_goes_and_leaves_the_rest(void **state)
{
	need(state);
	assert_int_equal(lead("10.42.0.0", NULL), 1);
	assert_int_equal(lead("10.42.9.1", NULL), 1);
	assert_int_equal(lead("fd42:0:0:1::", NULL), 1);
	assert_allowed(ONE, "10.42.0.0/24 fd42::/64");
	assert_true(leads("10.42.1.0"));
	assert_int_equal(wireguard_release("wg0", NULL), 1);
	assert_int_equal(wireguard_release("wg0", NULL), 0);
	assert_false(leads("10.42.1.0"));
	run("test $(wg show wg0 allowed-ips | tr '\\t' '\\n' | tr ' ' '\\n' | grep -c /) = 5");
}

static void what_cannot_be_is_told(void **state)
{
	struct addr addr = addr_of("10.42.0.0");
	struct error e = {""};

	need(state);
	assert_int_equal(lead("10.43.0.0", &e), -ENOENT);
	assert_string_equal(e.text, "WireGuard's device wg0: no peer has 10.43.0.0");
	run("wg set wg0 peer " OTHER " allowed-ips 0.0.0.0/0");
	assert_int_equal(lead("10.42.0.0", &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "a peer that is no node has 0.0.0.0/0"));
	assert_int_equal(lead("10.43.0.0", &e), -ENOENT);
	assert_int_equal(wireguard_release("wg0", NULL), 0);
	assert_allowed(OTHER, "0.0.0.0/0");
	assert_true(wireguard_lead("lo", &addr, &e) < 0);
	assert_true(wireguard_lead("wg1", &addr, &e) < 0);
}

static void many_peers_take_several_messages(void **state)
{
	need(state);
	run("i=0; while [ $i -lt 300 ]; do i=$((i+1));"
	    " echo \"wg set wg0 peer $(wg genkey | wg pubkey) allowed-ips"
	    " 10.50.$((i / 256)).$((i %% 256))/32,fd50::$i/128\"; done | sh");
	assert_int_equal(lead("10.50.1.44", NULL), 1);
	assert_true(leads("10.50.1.44"));
	assert_false(leads("10.42.0.0"));
}

static void only_wireguards_devices_are(void **state)
{
	run("ip link add b0 type bridge");
	assert_false(wireguard_is_device(if_nametoindex("b0")));
	assert_false(wireguard_is_device(99999));
	need(state);
	assert_true(wireguard_is_device(if_nametoindex("wg0")));
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup(name, set_up)
	const struct CMUnitTest tests[] = {
		TEST_CASE(the_peer_of_an_address_leads),
		TEST_CASE(it_moves_and_goes_and_leaves_the_rest),
		TEST_CASE(what_cannot_be_is_told),
		TEST_CASE(many_peers_take_several_messages),
		TEST_CASE(only_wireguards_devices_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
