/*
 * way_test.c - the ways that Flannel's backends leave to a gateway, in a namespace with their
 * routes.  eth0 and flannel.1 have other ends without an answer; flannel-wg is a TUN device.
 */
#include "helpers.h"

#include "nat/way.h"

#define NODE "192.168.1.11"
#define NODE6 "2001:db8::11"
#define LINK "192.168.1.0/24"
#define LINK6 "2001:db8::/64"

static bool has_world;

static int make_world(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET))
		return 0; /* each test skips */
	has_world = true;
	run("ip link set lo up; ip link add eth0 type veth peer name e0; ip link set e0 up;"
	    " ip link set eth0 up; ip link add flannel.1 type veth peer name e1;"
	    " ip link set e1 up; ip link set flannel.1 up;"
	    " ip tuntap add dev flannel-wg mode tun; ip link set flannel-wg up;"
	    " ip addr add 192.168.1.2/24 dev eth0; ip addr add 2001:db8::2/64 dev eth0 nodad;"
	    " ip addr add 10.42.2.0/32 dev flannel.1; ip addr add fd42:0:0:2::/128 dev flannel.1 "
	    "nodad;"
	    " ip route add default via 192.168.1.1; ip route add default via 2001:db8::1");
	return 0;
}

static const struct {
	const char *routes, *pod, *node, *device, *via, *tunnel, *link; /* link: NULL: no way */
} ways[] = {
	/* vxlan */
	{"ip route add 10.42.0.0/24 via 10.42.0.0 dev flannel.1 onlink", "10.42.0.0", NODE,
		"flannel.1", "10.42.0.0", "", "10.42.0.0"},
	{"ip route add fd42::/64 via fd42:: dev flannel.1 onlink", "fd42::", NODE6, "flannel.1",
		"fd42::", "", "fd42::"},
	/* host-gw */
	{"ip route add 10.42.0.0/24 via " NODE, "10.42.0.1", NODE, "eth0", NODE, "", LINK},
	{"ip route add fd42::/64 via " NODE6, "fd42::1", NODE6, "eth0", NODE6, "", LINK6},
	/* an address without a network, and routes to the link */
	{"ip route add 203.0.113.0/24 dev eth0; ip route add 10.42.0.0/24 via 203.0.113.7",
		"10.42.0.1", "203.0.113.7", "eth0", "203.0.113.7", "", "203.0.113.0/24"},
	{"ip route replace default dev eth0", NULL, "198.51.100.7", "eth0", "198.51.100.7", "",
		"198.51.100.7"},
	/* no address in the pods' network, or no route to it now */
	{"true", NULL, NODE, "eth0", NODE, "", LINK},
	{"true", "10.42.0.0", NODE, "eth0", NODE, "", LINK},
	{"true", "fd42::", NODE6, "eth0", NODE6, "", LINK6},
	/* one link for nodes and pods */
	{"ip route add 10.42.0.0/16 dev eth0", "10.42.0.0", NODE, "eth0", NODE, "", LINK},
	/* wireguard */
	{"ip route add 10.42.0.0/16 dev flannel-wg", "10.42.0.0", NODE, "", "::", "flannel-wg",
		NULL},
	{"ip route add 10.42.0.0/16 dev flannel-wg", "10.42.0.0", NULL, "", "::", "flannel-wg",
		NULL},
	{"ip route add fd42::/48 dev flannel-wg", "fd42::", NODE6, "", "::", "flannel-wg", NULL},
	/* beyond a router nobody takes the packet for the gateway's */
	{"true", "10.42.0.0", "198.51.100.1", "", "::", "", NULL},
	{"true", NULL, "2001:db8:9::1", "", "::", "", NULL},
	{"ip route add unreachable 192.168.1.11", NULL, NODE, "", "::", "", NULL},
};

static void a_way_leads_to_the_gateway_and_back(void **state)
{
	(void)state;
	if (!has_world)
		skip();
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		struct addr pod = addr_of(ways[i].pod ? ways[i].pod : "::");
		struct addr node = addr_of(ways[i].node ? ways[i].node : "::");
		struct error e = {""};
		char via[ADDR_TEXT], link[ADDR_TEXT + 4];
		struct way way;

		run("%s", ways[i].routes);
		if (way_find(&way, ways[i].pod ? &pod : NULL, ways[i].node ? &node : NULL, &e) < 0)
			fail_msg("%zu: %s", i, e.text);
		if (strcmp(way.device, ways[i].device) != 0 ||
			strcmp(way.tunnel, ways[i].tunnel) != 0 ||
			strcmp(addr_print(&way.via, via), ways[i].via) != 0)
			fail_msg("%zu (%s): '%s' via %s, tunnel '%s'", i, ways[i].routes,
				way.device, addr_print(&way.via, via), way.tunnel);
		if (ways[i].link)
			assert_string_equal(cidr_print(&way.link, link), ways[i].link);
		run("ip route flush proto boot root 10.42.0.0/16; ip -6 route flush root fd42::/48;"
		    " ip route flush root 203.0.113.0/24; ip route replace default via 192.168.1.1;"
		    " ip route del unreachable 192.168.1.11 2>/dev/null; true");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_way_leads_to_the_gateway_and_back),
	};

	return cmocka_run_group_tests(tests, make_world, NULL);
}
