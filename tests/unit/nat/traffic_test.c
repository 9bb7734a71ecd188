/*
 * traffic_test.c - what a partner sees, with a masquerade like Flannel's in place.
 *
 *     pod 10.42.0.2, fd42::2 ── gateway 203.0.113.1, 2001:db8:1::1 ── partner, with all
 * destinations
 *
 * The three namespaces are held by file descriptors of this process only, so they and all in
 * them are gone when it ends, however it ends.
 */
#include "helpers.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include "nat/table.h"

static struct {
	int home, pod, gateway, partner; /* namespaces */
} world;

static const char acl[] = "[group other]\n"
			  "cidr = 10.42.99.0/24, fd42:0:0:99::/64\n"
			  "[partner keeps]\n"
			  "cidr = 198.51.100.1\n"
			  "[partner bank]\n"
			  "cidr = 198.51.100.0/24, 2001:db8:5::/64\n"
			  "ports = 443\n"
			  "egress-ip = 203.0.113.10, 2001:db8:1::10\n"
			  "[partner not-us]\n"
			  "cidr = 192.0.2.0/25\n"
			  "from = other\n"
			  "egress-ip = 203.0.113.11\n"
			  "[partner only-v4]\n"
			  "cidr = 192.0.2.128/25, 2001:db8:6::/64\n"
			  "egress-ip = 203.0.113.11\n"
			  "[partner open]\n"
			  "cidr = 198.18.0.1\n"
			  "[block benchmarks]\n"
			  "cidr = 198.18.0.0/15, 2001:db8:7::/64\n"
			  "protocol = any\n"
			  "[block looking]\n"
			  "cidr = 198.19.0.0/16, 192.0.2.0/24\n"
			  "mode = report\n";

static const char flannel[] =
	"table ip flannel-ipv4 { chain postrtg { type nat hook postrouting priority srcnat;\n"
	" meta mark 0x4000 return\n"
	" ip saddr 10.42.0.0/16 ip daddr 10.42.0.0/16 return\n"
	" ip saddr 10.42.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random\n"
	"}\n}\n"
	"table ip6 flannel-ipv6 { chain postrtg { type nat hook postrouting priority srcnat;\n"
	" ip6 saddr fd42::/56 ip6 daddr fd42::/56 return\n"
	" ip6 saddr fd42::/56 ip6 daddr != ff00::/8 masquerade fully-random\n"
	"}\n}\n";

/* A veth between the namespace we are in (`here`) and another. */
static void link_to(int other, const char *here, const char *there)
{
	run("ip link add %s type veth peer name %s netns /proc/%d/fd/%d", here, there, getpid(),
		other);
	run("ip link set %s up", here);
}

static void address(int namespace, const char *device, const char *addresses)
{
	enter(namespace);
	run("ip link set %s up; for a in %s; do"
	    " case $a in *:*) o=nodad;; *) o=;; esac; ip addr add $a dev %s $o || exit; done",
		device, addresses, device);
}

static int make_world(void **state)
{
	(void)state;
	world.home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (unshare(CLONE_NEWNET))
		return 0; /* each test skips */
	world.pod = new_namespace();
	world.gateway = new_namespace();
	run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
	world.partner = new_namespace();
	enter(world.gateway);
	link_to(world.pod, "cni0", "eth0");
	link_to(world.partner, "eth0", "eth0");
	address(world.pod, "eth0", "10.42.0.2/24 fd42::2/64");
	run("ip route add default via 10.42.0.1; ip route add default via fd42::1");
	address(world.partner, "eth0", "203.0.113.254/24 2001:db8:1::fe/64");
	run("ip route add 10.42.0.0/16 via 203.0.113.1; ip route add fd42::/56 via 2001:db8:1::1");
	address(world.partner, "lo",
		"198.51.100.1/32 198.51.100.7/32 192.0.2.7/32 192.0.2.200/32 198.18.0.1/32"
		" 198.18.0.7/32 198.19.0.7/32 8.8.8.8/32 10.43.0.9/32 2001:db8:5::7/128"
		" 2001:db8:6::7/128 2001:db8:7::7/128 2001:db8:8::8/128 fd43::9/128");
	address(world.gateway, "cni0", "10.42.0.1/24 fd42::1/64");
	address(world.gateway, "eth0",
		"203.0.113.1/24 203.0.113.9/32 203.0.113.10/32 203.0.113.11/32 2001:db8:1::1/64");
	run("for a in 9 10; do ip addr add 2001:db8:1::$a/128 dev eth0 nodad preferred_lft 0; done;"
	    " ip route add default via 203.0.113.254; ip route add default via 2001:db8:1::fe");
	assert_int_equal(nft_takes("", flannel), 0);
	return 0;
}

static int leave_world(void **state)
{
	(void)state;
	enter(world.home);
	return 0;
}

static void apply(const char *text)
{
	struct plan *plan = plan_of(text, &dual_stack);
	struct error e = {0};

	enter(world.gateway);
	if (table_apply(plan, NULL, NULL, &e))
		fail_msg("%s", e.text);
	plan_free(plan);
}

static void need_world(void)
{
	if (!world.partner) {
		print_message("[  SKIP  ] needs root, to make network namespaces\n");
		skip();
	}
}

static int bound_socket(int namespace, int type, const char *address_text, uint16_t port)
{
	struct endpoint at = {addr_of(address_text), port};
	const struct timeval patience = {.tv_sec = 5};
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&at, &sa);
	int fd, on = 1;

	enter(namespace);
	fd = socket(sa.ss_family, type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, length), 0);
	return fd;
}

static int pod_socket(int type, const char *to)
{
	return bound_socket(world.pod, type, strchr(to, ':') ? "fd42::2" : "10.42.0.2", 0);
}

/* 0 or the errno of connect(). */
static int connect_to(int fd, const char *to, uint16_t port)
{
	struct endpoint at = {addr_of(to), port};
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&at, &sa);

	return connect(fd, (struct sockaddr *)&sa, length) ? errno : 0;
}

static const char *source_text(const struct sockaddr_storage *sa, char out[ADDR_TEXT])
{
	struct endpoint source;

	assert_true(endpoint_from_sockaddr(&source, (const struct sockaddr *)sa));
	return addr_print(&source.addr, out);
}

/* A TCP connection of the pod: both ends, and whose address the partner sees. */
struct connection {
	int pod, partner;
	char source[ADDR_TEXT];
};

static struct connection open_tcp(const char *to, uint16_t port)
{
	int listener = bound_socket(world.partner, SOCK_STREAM, to, port);
	struct connection c = {.pod = pod_socket(SOCK_STREAM, to)};
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);
	int error;

	assert_int_equal(listen(listener, 1), 0);
	error = connect_to(c.pod, to, port);
	if (error)
		fail_msg("%s port %u: %s", to, port, strerror(error));
	c.partner = accept(listener, (struct sockaddr *)&sa, &length);
	assert_true(c.partner >= 0);
	source_text(&sa, c.source);
	close(listener);
	return c;
}

static void assert_still_open(const struct connection *c)
{
	char byte = 'x';

	assert_int_equal(send(c->pod, &byte, 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(c->partner, &byte, 1, 0), 1);
	assert_int_equal(send(c->partner, &byte, 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(c->pod, &byte, 1, 0), 1);
}

static void close_tcp(const struct connection *c)
{
	close(c->pod);
	close(c->partner);
}

static void check_tcp(const char *to, uint16_t port, const char *source)
{
	struct connection c = open_tcp(to, port);

	if (strcmp(c.source, source) != 0)
		fail_msg("%s port %u: the partner sees %s, not %s", to, port, c.source, source);
	assert_still_open(&c);
	close_tcp(&c);
}

static void check_udp(const char *to, uint16_t port, const char *source)
{
	int server = bound_socket(world.partner, SOCK_DGRAM, to, port);
	int client = pod_socket(SOCK_DGRAM, to);
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);
	char seen[ADDR_TEXT], byte = 'x';

	assert_int_equal(connect_to(client, to, port), 0);
	assert_int_equal(send(client, &byte, 1, 0), 1);
	assert_int_equal(recvfrom(server, &byte, 1, 0, (struct sockaddr *)&sa, &length), 1);
	assert_string_equal(source_text(&sa, seen), source);
	assert_int_equal(sendto(server, &byte, 1, 0, (struct sockaddr *)&sa, length), 1);
	assert_int_equal(recv(client, &byte, 1, 0), 1);
	close(server);
	close(client);
}

/* ICMP's and ICMPv6's "administratively prohibited", as connect() says them. */
static void check_refused(const char *to, uint16_t port)
{
	int fd = pod_socket(SOCK_STREAM, to);
	int error = connect_to(fd, to, port);

	if (error != EHOSTUNREACH && error != EACCES)
		fail_msg("%s port %u: %s", to, port, strerror(error));
	close(fd);
}

static void a_partner_sees_its_egress_address(void **state)
{
	static const struct {
		const char *to;
		uint16_t port;
		const char *source;
	} cases[] = {
		{"8.8.8.8", 443, "203.0.113.9"}, /* the gateway's */
		{"2001:db8:8::8", 443, "2001:db8:1::9"},
		{"198.51.100.7", 443, "203.0.113.10"}, /* the partner's own */
		{"2001:db8:5::7", 443, "2001:db8:1::10"},
		{"198.51.100.7", 80, "203.0.113.9"},  /* not on this port */
		{"198.51.100.1", 443, "203.0.113.9"}, /* an earlier partner without one */
		{"192.0.2.7", 443, "203.0.113.9"},    /* not from this pod */
		{"192.0.2.200", 443, "203.0.113.11"},
		{"198.18.0.1", 443, "203.0.113.9"}, /* a partner before the block */
	};

	(void)state;
	need_world();
	apply(acl);
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		check_tcp(cases[i].to, cases[i].port, cases[i].source);
	check_udp("8.8.8.8", 53, "203.0.113.9");
	check_udp("192.0.2.200", 53, "203.0.113.11");
	check_udp("2001:db8:8::8", 53, "2001:db8:1::9");
}

static void excluded_destinations_are_left_to_others(void **state)
{
	(void)state;
	need_world();
	apply("[block all]\ncidr = 0.0.0.0/0, ::/0\nprotocol = any\n");
	check_tcp("10.43.0.9", 443, "203.0.113.1"); /* Flannel masquerades it */
	check_tcp("fd43::9", 443, "2001:db8:1::1");
	enter(world.gateway);
	run("nft delete table ip flannel-ipv4; nft delete table ip6 flannel-ipv6");
	check_tcp("10.43.0.9", 443, "10.42.0.2");
	check_tcp("fd43::9", 443, "fd42::2");
	enter(world.gateway);
	assert_int_equal(nft_takes("", flannel), 0);
}

static void what_a_block_names_is_refused(void **state)
{
	(void)state;
	need_world();
	apply(acl);
	check_refused("198.18.0.7", 443);
	check_refused("198.19.0.7", 443);
	check_refused("2001:db8:7::7", 443);
	check_refused("2001:db8:6::7", 443); /* no egress address of this version */
}

/* A byte from the pod does not reach the partner. */
static void assert_cut(const struct connection *c)
{
	struct timeval patience = {.tv_usec = 100000};
	char byte = 'x';

	setsockopt(c->partner, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(c->pod, &byte, 1, MSG_NOSIGNAL) == 1)
		assert_int_equal(recv(c->partner, &byte, 1, 0), -1);
}

static void connections_whose_address_stays_outlive_every_change(void **state)
{
	static const char *const others[] = {
		"[partner bank]\ncidr = 198.51.100.0/23, 2001:db8:5::/64\nports = 443\n"
		"egress-ip = 203.0.113.10, 2001:db8:1::10\n[block all]\ncidr = 0.0.0.0/0\n",
		acl,
		"[partner bank]\ncidr = 198.51.100.7, 2001:db8:5::/63\n"
		"egress-ip = 203.0.113.10, 2001:db8:1::10\n",
	};
	struct connection v4, v6;
	char flush[2048];

	(void)state;
	need_world();
	apply(acl);
	v4 = open_tcp("198.51.100.7", 443);
	v6 = open_tcp("2001:db8:5::7", 443);
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		apply(others[i]);
		assert_still_open(&v4);
		assert_still_open(&v6);
	}
	enter(world.gateway);
	/* In one transaction: without any NAT rule packets would leave untranslated. */
	snprintf(flush, sizeof(flush), "flush ruleset\n%s", flannel);
	assert_int_equal(nft_takes("", flush), 0);
	apply(acl);
	assert_still_open(&v4);
	assert_still_open(&v6);
	close_tcp(&v4);
	close_tcp(&v6);
}

static void a_connection_whose_address_changed_sends_nothing_more(void **state)
{
	struct connection v4, v6;

	(void)state;
	need_world();
	apply(acl);
	v4 = open_tcp("198.51.100.7", 443);
	v6 = open_tcp("2001:db8:5::7", 443);
	apply("");
	assert_cut(&v4);
	assert_cut(&v6);
	check_tcp("198.51.100.7", 443, "203.0.113.9");
	close_tcp(&v4);
	close_tcp(&v6);
}

static void a_pod_answers_what_a_blocked_address_began(void **state)
{
	int listener, client, server;
	char byte = 'x';

	(void)state;
	need_world();
	apply(acl);
	listener = bound_socket(world.pod, SOCK_STREAM, "10.42.0.2", 8080);
	assert_int_equal(listen(listener, 1), 0);
	client = bound_socket(world.partner, SOCK_STREAM, "198.18.0.7", 0);
	assert_int_equal(connect_to(client, "10.42.0.2", 8080), 0);
	server = accept(listener, NULL, NULL);
	assert_int_equal(send(server, &byte, 1, 0), 1);
	assert_int_equal(recv(client, &byte, 1, 0), 1);
	close(listener);
	close(client);
	close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_partner_sees_its_egress_address),
		cmocka_unit_test(excluded_destinations_are_left_to_others),
		cmocka_unit_test(what_a_block_names_is_refused),
		cmocka_unit_test(connections_whose_address_stays_outlive_every_change),
		cmocka_unit_test(a_connection_whose_address_changed_sends_nothing_more),
		cmocka_unit_test(a_pod_answers_what_a_blocked_address_began),
	};

	return cmocka_run_group_tests(tests, make_world, leave_world);
}
