/*
 * resolver_test.c - two kinds of servers: Debian's dnsmasq, and for what no real server does
 * (late, lost, malformed and contradictory replies) a small responder in the same loop.
 */
#include "daemon/net/resolver.h"
#include "daemon/net/hosts.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the world: a loop, a responder, a resolver --- */

enum how { ANSWER, NO_DATA, NX_DOMAIN, SERV_FAIL, SILENT, GARBAGE, CUT_SHORT, FOREIGN, CNAME_ONLY };

struct record {
	enum how how;
	double delay;
	int ttl, ttl_step; /* of the first, and what each next one has more */
	int n;             /* addresses; the first is as given, the last byte counts up */
	unsigned char addr[16];
};

struct late_reply {
	ev_timer timer;
	struct sockaddr_in to;
	unsigned char bytes[1500];
	size_t length;
	struct late_reply *next;
};

static struct world {
	struct ev_loop *loop;
	struct resolver *resolver;
	ev_io udp;
	struct record a, aaaa; /* what the responder says to any name */
	int asked_a, asked_aaaa;
	struct late_reply *late;
	int answers;
	ev_timer watchdog;
	bool overdue;
	struct names hosts;
} world;

static void on_watchdog(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)timer, (void)revents;
	world.overdue = true;
	ev_break(loop, EVBREAK_ALL);
}

static size_t put16(unsigned char *at, unsigned value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
	return 2;
}

/* A resource record of the name in the question. */
static size_t put_record(unsigned char *at, int type, int ttl, const void *data, size_t length)
{
	size_t n = put16(at, 0xc00c);

	n += put16(at + n, (unsigned)type);
	n += put16(at + n, C_IN);
	n += put16(at + n, (unsigned)ttl >> 16);
	n += put16(at + n, (unsigned)ttl & 0xffff);
	n += put16(at + n, (unsigned)length);
	memcpy(at + n, data, length);
	return n + length;
}

static size_t question_end(const unsigned char *query)
{
	size_t at = 12;

	while (query[at])
		at += 1u + query[at];
	return at + 5;
}

static size_t put_answers(unsigned char *out, size_t at, int type, const struct record *r)
{
	static const unsigned char target[] = "\005other\004test";
	unsigned char addr[16];

	if (r->how == CNAME_ONLY) {
		put16(out + 6, 1);
		return at + put_record(out + at, T_CNAME, r->ttl, target, sizeof(target));
	}
	put16(out + 6, (unsigned)r->n);
	for (int i = 0; i < r->n; i++) {
		size_t length = type == T_A ? 4 : 16;

		memcpy(addr, r->addr, 16);
		addr[length - 1] = (unsigned char)(addr[length - 1] + i);
		at += put_record(out + at, type, r->ttl + i * r->ttl_step, addr, length);
	}
	return at;
}

/* The reply to `query` that `r` describes.  Returns its length. */
static size_t reply(
	unsigned char *out, const unsigned char *query, int type, const struct record *r)
{
	static const int rcodes[] = {[NX_DOMAIN] = 3, [SERV_FAIL] = 2, [CNAME_ONLY] = 0};
	size_t end = question_end(query);

	memcpy(out, query, end);
	put16(out + 2, 0x8180u | (unsigned)rcodes[r->how]);
	memset(out + 6, 0, 6);
	if (r->how == ANSWER || r->how == CUT_SHORT || r->how == CNAME_ONLY || r->how == FOREIGN)
		end = put_answers(out, end, type, r);
	if (r->how == CUT_SHORT)
		end -= 3;
	if (r->how == FOREIGN)
		out[13] ^= 1; /* another name than the one in question */
	if (r->how == GARBAGE)
		memset(out + 12, 0xff, end - 12);
	return end;
}

static void send_reply(const struct late_reply *late)
{
	assert_true(sendto(world.udp.fd, late->bytes, late->length, 0,
			    (const struct sockaddr *)&late->to, sizeof(late->to)) > 0);
}

static void on_late(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)revents;
	send_reply(timer->data);
}

static void on_query(struct ev_loop *loop, ev_io *io, int revents)
{
	unsigned char query[1500];
	struct late_reply *late = calloc(1, sizeof(*late));
	socklen_t length = sizeof(late->to);
	ssize_t n;
	int type;
	const struct record *r;

	(void)revents;
	assert_non_null(late);
	n = recvfrom(io->fd, query, sizeof(query), 0, (struct sockaddr *)&late->to, &length);
	assert_true(n > 16);
	type = query[question_end(query) - 3];
	r = type == T_A ? &world.a : &world.aaaa;
	(*(type == T_A ? &world.asked_a : &world.asked_aaaa))++;
	ev_timer_init(&late->timer, on_late, r->delay, 0.0);
	late->timer.data = late;
	late->next = world.late;
	world.late = late;
	if (r->how == SILENT)
		return;
	late->length = reply(late->bytes, query, type, r);
	if (r->delay > 0)
		ev_timer_start(loop, &late->timer);
	else
		send_reply(late);
}

static struct endpoint bound_endpoint(int fd)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(sa);
	struct endpoint e;

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &length), 0);
	assert_true(endpoint_from_sockaddr(&e, (struct sockaddr *)&sa));
	return e;
}

static struct resolver_options defaults(void)
{
	return (struct resolver_options){.timeout = 2.0,
		.cache_names = 100,
		.min_ttl = 0,
		.max_ttl = 3600,
		.negative_ttl = 30,
		.queries = 10,
		.waiters = 10};
}

static void new_resolver_of(
	struct resolver_options options, const struct endpoint *servers, size_t n)
{
	struct error e = {""};

	options.servers = servers;
	options.n_servers = n;
	world.resolver = resolver_new(world.loop, &options, &e);
	if (!world.resolver)
		fail_msg("%s", e.text);
}

static void new_resolver(struct resolver_options options, const struct endpoint *server)
{
	new_resolver_of(options, server, 1);
}

/* A resolver that asks the responder. */
static void ask_responder(struct resolver_options options)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct endpoint server = bound_endpoint(fd);

	ev_io_init(&world.udp, on_query, fd, EV_READ);
	ev_io_start(world.loop, &world.udp);
	new_resolver(options, &server);
}

static int set_up(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	world.a = (struct record){.how = ANSWER, .ttl = 60, .n = 1, .addr = {192, 0, 2, 1}};
	world.aaaa = (struct record){
		.how = ANSWER, .ttl = 60, .n = 1, .addr = {0x20, 1, 0xd, 0xb8, [15] = 1}};
	world.loop = ev_loop_new(EVFLAG_AUTO);
	ev_timer_init(&world.watchdog, on_watchdog, 20.0, 0.0);
	ev_timer_start(world.loop, &world.watchdog);
	return world.loop ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	resolver_free(world.resolver);
	while (world.late) {
		struct late_reply *late = world.late;

		world.late = late->next;
		ev_timer_stop(world.loop, &late->timer);
		free(late);
	}
	if (ev_is_active(&world.udp)) {
		ev_io_stop(world.loop, &world.udp);
		close(world.udp.fd);
	}
	names_fini(&world.hosts);
	ev_timer_stop(world.loop, &world.watchdog);
	ev_loop_destroy(world.loop);
	return 0;
}

static void on_answer(struct lookup *lookup)
{
	(void)lookup;
	world.answers++;
	ev_break(world.loop, EVBREAK_ALL);
}

/* Runs the loop until `n` answers came in all. */
static void wait_for(int n)
{
	while (world.answers < n && !world.overdue)
		ev_run(world.loop, 0);
	assert_false(world.overdue);
	assert_int_equal(world.answers, n);
}

static void on_pause(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	*(bool *)timer->data = true;
	ev_break(loop, EVBREAK_ALL);
}

/* Time passes, for a TTL or for a server that is late. */
static void pass(double seconds)
{
	bool over = false;
	ev_timer timer;

	ev_now_update(world.loop);
	ev_timer_init(&timer, on_pause, seconds, 0.0);
	timer.data = &over;
	ev_timer_start(world.loop, &timer);
	while (!over && !world.overdue)
		ev_run(world.loop, 0);
	ev_timer_stop(world.loop, &timer);
	assert_false(world.overdue);
}

static void begin(struct lookup *lookup, const char *name)
{
	ev_now_update(world.loop);
	assert_false(resolver_ask(world.resolver, text_of(name), lookup, on_answer));
}

/* Asks and waits for a server's answer, which has to come: it must not be known yet. */
static struct resolver_answer ask(const char *name)
{
	struct lookup lookup = {0};

	begin(&lookup, name);
	wait_for(world.answers + 1);
	assert_false(lookup.answer.cached);
	return lookup.answer;
}

/* Asks for what is known already. */
static struct resolver_answer known(const char *name)
{
	struct lookup lookup = {0};

	assert_true(resolver_ask(world.resolver, text_of(name), &lookup, on_answer));
	return lookup.answer;
}

/* "ADDRESS ADDRESS ..." or the status. */
static const char *print(const struct resolver_answer *answer)
{
	static char out[RESOLVER_ADDRS * (ADDR_TEXT + 1)];
	char text[ADDR_TEXT];

	if (answer->status != RESOLVER_OK) {
		assert_int_equal(answer->n_addrs, 0);
		return resolver_status_name(answer->status);
	}
	out[0] = '\0';
	for (size_t i = 0; i < answer->n_addrs; i++)
		strcat(strcat(out, i ? " " : ""), addr_print(&answer->addrs[i], text));
	return out;
}

#define EXPECT(answer_, want)                                                                      \
	do {                                                                                       \
		struct resolver_answer expect_answer = (answer_);                                  \
		assert_string_equal(print(&expect_answer), want);                                  \
	} while (0)

/* --- what two replies mean together --- */

static void two_replies_make_one_answer(void **state)
{
	static const struct {
		enum how aaaa, a;
		const char *want;
	} cases[] = {
		{ANSWER, ANSWER, "2001:db8::1 192.0.2.1"},
		{ANSWER, NO_DATA, "2001:db8::1"},
		{NO_DATA, ANSWER, "192.0.2.1"},
		{NX_DOMAIN, ANSWER, "192.0.2.1"},
		{ANSWER, NX_DOMAIN, "2001:db8::1"},
		{SERV_FAIL, ANSWER, "192.0.2.1"},
		{ANSWER, SERV_FAIL, "2001:db8::1"},
		{NO_DATA, NO_DATA, "nxdomain"},
		{NX_DOMAIN, NX_DOMAIN, "nxdomain"},
		{NX_DOMAIN, SERV_FAIL, "nxdomain"},
		{SERV_FAIL, NX_DOMAIN, "nxdomain"},
		{NO_DATA, SERV_FAIL, "failed"},
		{SERV_FAIL, NO_DATA, "failed"},
		{SERV_FAIL, SERV_FAIL, "failed"},
		{CNAME_ONLY, ANSWER, "192.0.2.1"},
		{CNAME_ONLY, CNAME_ONLY, "nxdomain"},
		{CUT_SHORT, ANSWER, "192.0.2.1"},
		{CUT_SHORT, CUT_SHORT, "failed"},
	};

	(void)state;
	ask_responder(defaults());
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char name[32];

		snprintf(name, sizeof(name), "case-%zu.test", i);
		world.aaaa.how = cases[i].aaaa;
		world.a.how = cases[i].a;
		EXPECT(ask(name), cases[i].want);
		EXPECT(known(name), cases[i].want);
		assert_true(known(name).cached);
	}
}

static void a_server_that_never_answers_is_a_timeout(void **state)
{
	struct resolver_options options = defaults();
	struct lookup lookup = {0};

	(void)state;
	options.timeout = 0.5;
	world.a.how = world.aaaa.how = SILENT;
	ask_responder(options);
	begin(&lookup, "a.test");
	wait_for(1);
	EXPECT(lookup.answer, "timeout");
	assert_true(lookup.took > 0.45);
	assert_true(world.asked_a == 3 && world.asked_aaaa == 3); /* tries */
	EXPECT(known("a.test"), "timeout");
}

static void a_reply_to_something_else_is_no_reply(void **state)
{
	struct resolver_options options = defaults();

	(void)state;
	options.timeout = 0.3;
	world.a.how = FOREIGN;
	world.aaaa.how = GARBAGE;
	ask_responder(options);
	EXPECT(ask("a.test"), "timeout");
}

static void nobody_at_the_servers_address_is_a_failure(void **state)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct endpoint server = bound_endpoint(fd);
	struct resolver_options options = defaults();

	(void)state;
	close(fd);
	options.timeout = 0.3; /* c-ares sees one error of its socket for both queries */
	new_resolver(options, &server);
	EXPECT(ask("a.test"), "failed");
}

/* That is no word of a server's, so it is neither said to be one nor kept. */
static void without_a_descriptor_it_is_full_until_there_is_one(void **state)
{
	struct rlimit limit, none;

	(void)state;
	ask_responder(defaults());
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){0, limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	EXPECT(ask("a.test"), "full");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	EXPECT(ask("a.test"), "2001:db8::1 192.0.2.1");
}

/* --- one version is late (RFC 8305 3) --- */

static void does_not_wait_long_for_a_late_version(void **state)
{
	static const struct {
		double aaaa, a;
		const char *first, *whole;
	} cases[] = {
		{0.4, 0, "192.0.2.1", "2001:db8::1 192.0.2.1"},
		{0, 0.4, "2001:db8::1", "2001:db8::1 192.0.2.1"},
	};

	struct resolver_options options = defaults();

	(void)state;
	options.timeout = 7.0; /* the first of c-ares' tries takes one second */
	ask_responder(options);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *name = i ? "b.test" : "a.test";
		struct lookup lookup = {0};

		world.aaaa.delay = cases[i].aaaa;
		world.a.delay = cases[i].a;
		begin(&lookup, name);
		wait_for(world.answers + 1);
		EXPECT(lookup.answer, cases[i].first);
		assert_true(lookup.took > 0.045);
		EXPECT(known(name), cases[i].first);
		pass(0.45);
		EXPECT(known(name), cases[i].whole);
	}
	assert_true(world.asked_a == 2 && world.asked_aaaa == 2);
}

static void says_when_one_version_is_not_known(void **state)
{
	static const struct {
		enum how aaaa, a;
		bool partial;
	} cases[] = {
		{ANSWER, ANSWER, false},
		{NO_DATA, ANSWER, false},
		{SERV_FAIL, ANSWER, true},
		{ANSWER, CUT_SHORT, true},
	};
	struct lookup late = {0};

	(void)state;
	ask_responder(defaults());
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char name[32];

		snprintf(name, sizeof(name), "case-%zu.test", i);
		world.aaaa.how = cases[i].aaaa;
		world.a.how = cases[i].a;
		assert_int_equal(ask(name).partial, cases[i].partial);
		assert_int_equal(known(name).partial, cases[i].partial);
	}
	world.a = world.aaaa;
	world.aaaa.delay = 0.4;
	begin(&late, "late.test");
	wait_for(world.answers + 1);
	assert_true(late.answer.partial);
}

static void says_how_long_addresses_stand(void **state)
{
	struct resolver_options options = defaults();
	static const char line[] = "192.0.2.7 filed.test\n";
	double ttl;

	(void)state;
	options.min_ttl = 3;
	options.max_ttl = 100;
	ask_responder(options);
	world.a.ttl = 50;
	world.aaaa.ttl = 200;
	assert_true(ask("a.test").ttl == 50);
	ttl = known("a.test").ttl;
	assert_true(ttl <= 50 && ttl > 20);
	world.a.ttl = 1;
	assert_true(ask("b.test").ttl == 3);
	world.a.ttl = 200;
	assert_true(ask("c.test").ttl == 100);
	world.aaaa.how = SERV_FAIL; /* asked again soon, but the addresses stand */
	assert_true(ask("d.test").ttl == 100);
	assert_true(names_init(&world.hosts, 0));
	assert_int_equal(hosts_add(&world.hosts, "hosts", text_of(line), NULL), 0);
	resolver_set_hosts(world.resolver, &world.hosts);
	assert_true(known("filed.test").ttl == INFINITY);
}

static void waits_a_moment_for_the_other_version(void **state)
{
	(void)state;
	ask_responder(defaults());
	world.aaaa.delay = 0.02;
	EXPECT(ask("a.test"), "2001:db8::1 192.0.2.1");
}

static void waits_for_addresses_when_the_other_version_has_none(void **state)
{
	(void)state;
	ask_responder(defaults());
	world.aaaa.how = NX_DOMAIN;
	world.a.delay = 0.2;
	EXPECT(ask("a.test"), "192.0.2.1");
}

static void a_version_that_never_comes_is_asked_again_soon(void **state)
{
	struct resolver_options options = defaults();

	(void)state;
	options.timeout = 0.3;
	ask_responder(options);
	world.aaaa.how = SILENT;
	EXPECT(ask("a.test"), "192.0.2.1");
	pass(0.4);
	EXPECT(known("a.test"), "192.0.2.1");
	pass(RESOLVER_FAILURE_TTL + 0.05);
	world.aaaa.how = ANSWER;
	EXPECT(ask("a.test"), "2001:db8::1 192.0.2.1");
}

/* --- addresses --- */

static void keeps_places_for_both_versions(void **state)
{
	struct resolver_answer answer;
	size_t n4 = 0;

	(void)state;
	ask_responder(defaults());
	world.a.n = 20;
	world.aaaa.n = 20;
	answer = ask("both.test");
	assert_int_equal(answer.n_addrs, RESOLVER_ADDRS);
	for (size_t i = 0; i < answer.n_addrs; i++)
		n4 += addr_is_v4(&answer.addrs[i]);
	assert_int_equal(n4, RESOLVER_ADDRS / 2);
	world.a.n = 2;
	answer = ask("most.test");
	assert_int_equal(answer.n_addrs, RESOLVER_ADDRS);
	assert_true(addr_is_v4(&answer.addrs[14]) && !addr_is_v4(&answer.addrs[13]));
	world.aaaa.how = NO_DATA;
	world.a.n = 20;
	assert_int_equal(ask("four.test").n_addrs, RESOLVER_ADDRS);
}

static void a_mapped_address_is_the_ipv4_address_once(void **state)
{
	(void)state;
	ask_responder(defaults());
	world.aaaa = (struct record){.how = ANSWER,
		.ttl = 60,
		.n = 1,
		.addr = {[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 1}};
	EXPECT(ask("a.test"), "192.0.2.1");
}

static void set_hosts(const char *text)
{
	struct error e;

	names_fini(&world.hosts);
	assert_true(names_init(&world.hosts, 0));
	if (hosts_add(&world.hosts, "hosts", text_of(text), &e) < 0)
		fail_msg("%s", e.text);
	resolver_set_hosts(world.resolver, &world.hosts);
}

static void localhost_is_never_asked_of_a_server(void **state)
{
	struct resolver_options options = defaults();

	(void)state;
	ask_responder(options);
	set_hosts("192.0.2.9 localhost\n");
	EXPECT(known("localhost"), "::1 127.0.0.1");
	EXPECT(known("any.localhost"), "::1 127.0.0.1");
	EXPECT(ask("notlocalhost"), "2001:db8::1 192.0.2.1");
	assert_int_equal(world.asked_a, 1);
}

static void the_hosts_text_comes_before_dns(void **state)
{
	struct resolver_options options = defaults();

	(void)state;
	options.cache_names = 1;
	ask_responder(options);
	set_hosts("192.0.2.9 a.test\n192.0.2.10 b.test\n");
	EXPECT(ask("c.test"), "2001:db8::1 192.0.2.1");
	EXPECT(known("a.test"), "192.0.2.9");
	EXPECT(known("b.test"), "192.0.2.10");
	assert_int_equal(world.asked_a, 1);
	set_hosts("192.0.2.11 a.test\n");
	EXPECT(known("a.test"), "192.0.2.11");
	EXPECT(ask("b.test"), "2001:db8::1 192.0.2.1");
}

static void a_name_too_long_or_empty_is_no_name(void **state)
{
	char name[300] = "";

	(void)state;
	ask_responder(defaults());
	EXPECT(known(""), "nxdomain");
	memset(name, 'a', 254);
	EXPECT(known(name), "nxdomain");
	name[100] = '\0'; /* a label of more than 63 bytes: c-ares refuses it at once, from inside
			     resolver_ask() */
	EXPECT(ask(name), "nxdomain");
	EXPECT(ask("a..test"), "nxdomain");
	assert_int_equal(world.asked_a, 0);
}

static void bad_options_are_refused_with_a_reason(void **state)
{
	struct resolver_options options = defaults();
	struct endpoint servers[9];
	struct error e = {""};

	(void)state;
	memset(servers, 1, sizeof(servers));
	options.servers = servers;
	options.n_servers = COUNT_OF(servers);
	assert_null(resolver_new(world.loop, &options, &e));
	assert_string_equal(e.text, "resolver: 9 servers: want at most 8");
}

/* --- time --- */

static void an_answer_is_kept_for_its_ttl(void **state)
{
	(void)state;
	ask_responder(defaults());
	world.a.ttl = 1;
	EXPECT(ask("a.test"), "2001:db8::1 192.0.2.1");
	pass(0.8);
	EXPECT(known("a.test"), "2001:db8::1 192.0.2.1");
	pass(0.3);
	EXPECT(ask("a.test"), "2001:db8::1 192.0.2.1");
	assert_int_equal(world.asked_a, 2);
}

static void the_least_ttl_of_the_records_counts(void **state)
{
	(void)state;
	ask_responder(defaults());
	world.a.n = world.aaaa.n = 2;
	world.a.ttl_step = -world.a.ttl;
	ask("a.test");
	ask("a.test");
	world.a.ttl_step = 0;
	world.aaaa.ttl_step = -world.aaaa.ttl;
	ask("b.test");
	ask("b.test");
}

static void a_ttl_has_bounds(void **state)
{
	struct resolver_options options = defaults();

	(void)state;
	options.min_ttl = 0.4;
	options.max_ttl = 0.7;
	ask_responder(options);
	world.a.ttl = world.aaaa.ttl = 0;
	ask("short.test");
	known("short.test");
	world.a.ttl = world.aaaa.ttl = 3600;
	ask("long.test");
	pass(0.5);
	ask("short.test");
	known("long.test");
	pass(0.3);
	ask("long.test");
}

static void a_ttl_of_nothing_is_not_kept(void **state)
{
	(void)state;
	ask_responder(defaults());
	world.a.ttl = 0;
	ask("a.test");
	ask("a.test");
	world.a.ttl = -1; /* as a server of 2^32 - 1 means it: RFC 2181 8 */
	ask("b.test");
	ask("b.test");
}

static void no_name_is_kept_for_the_negative_ttl(void **state)
{
	struct resolver_options options = defaults();

	(void)state;
	options.negative_ttl = 0.3;
	ask_responder(options);
	world.a.how = world.aaaa.how = NX_DOMAIN;
	EXPECT(ask("a.test"), "nxdomain");
	EXPECT(known("a.test"), "nxdomain");
	pass(0.35);
	world.a.how = ANSWER;
	EXPECT(ask("a.test"), "192.0.2.1");
}

static void the_least_recently_used_name_leaves(void **state)
{
	struct resolver_options options = defaults();

	(void)state;
	options.cache_names = 2;
	ask_responder(options);
	ask("a.test");
	ask("b.test");
	known("a.test");
	ask("c.test");
	known("a.test");
	ask("b.test");
}

/* --- many at once --- */

static void lookups_of_one_name_share_one_question(void **state)
{
	struct lookup lookups[5] = {{{0}, 0, 0, 0, 0, 0, 0}};

	(void)state;
	ask_responder(defaults());
	for (size_t i = 0; i < COUNT_OF(lookups); i++)
		begin(&lookups[i], "a.test");
	wait_for(COUNT_OF(lookups));
	for (size_t i = 0; i < COUNT_OF(lookups); i++)
		EXPECT(lookups[i].answer, "2001:db8::1 192.0.2.1");
	assert_true(world.asked_a == 1 && world.asked_aaaa == 1);
	assert_int_equal(resolver_counts(world.resolver)->ok, 5);
	assert_int_equal(resolver_counts(world.resolver)->cache_hits, 0);
}

static void more_waiters_than_allowed_are_refused(void **state)
{
	struct resolver_options options = defaults();
	struct lookup one = {0}, two = {0};

	(void)state;
	options.waiters = 2;
	ask_responder(options);
	begin(&one, "a.test");
	begin(&two, "a.test");
	EXPECT(known("a.test"), "full");
	resolver_cancel(&one);
	begin(&one, "a.test");
	wait_for(2);
	assert_int_equal(resolver_counts(world.resolver)->full, 1);
}

static void more_questions_than_allowed_are_refused(void **state)
{
	struct resolver_options options = defaults();
	struct lookup one = {0}, two = {0}, three = {0};

	(void)state;
	options.queries = 2;
	ask_responder(options);
	begin(&one, "a.test");
	begin(&two, "b.test");
	EXPECT(known("c.test"), "full");
	begin(&three, "b.test");
	wait_for(3);
	EXPECT(ask("c.test"), "2001:db8::1 192.0.2.1");
}

static void many_names_at_once_all_get_their_answer(void **state)
{
	enum { MANY = 300 };
	struct resolver_options options = defaults();
	struct lookup lookups[MANY] = {{{0}, 0, 0, 0, 0, 0, 0}};
	char name[32];

	(void)state;
	options.queries = MANY;
	options.cache_names = MANY;
	ask_responder(options);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "n%d.test", i);
		begin(&lookups[i], name);
	}
	wait_for(MANY);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(lookups[i].answer.status, RESOLVER_OK);
	snprintf(name, sizeof(name), "n%d.test", 0);
	assert_true(known(name).cached);
}

static void a_cancelled_lookup_gets_no_answer_but_the_name_is_known(void **state)
{
	struct lookup one = {0};

	(void)state;
	ask_responder(defaults());
	resolver_cancel(&one);
	begin(&one, "a.test");
	resolver_cancel(&one);
	resolver_cancel(&one);
	pass(0.1);
	assert_int_equal(world.answers, 0);
	EXPECT(known("a.test"), "2001:db8::1 192.0.2.1");
}

static struct lookup *victim;

static void cancel_the_other(struct lookup *lookup)
{
	on_answer(lookup);
	resolver_cancel(victim);
}

static void a_callback_may_cancel_another_lookup_of_the_name(void **state)
{
	struct lookup one = {0}, two = {0}, three = {0};

	(void)state;
	ask_responder(defaults());
	assert_false(resolver_ask(world.resolver, TEXT("a.test"), &one, cancel_the_other));
	begin(&two, "a.test");
	begin(&three, "a.test");
	victim = &two;
	wait_for(2);
	assert_int_equal(two.answer.n_addrs, 0);
	assert_int_equal(three.answer.n_addrs, 2);
}

static void free_lookup(struct lookup *lookup)
{
	free(lookup);
	on_answer(NULL);
}

static void a_callback_may_free_its_lookup(void **state)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));

	(void)state;
	ask_responder(defaults());
	assert_non_null(lookup);
	assert_false(resolver_ask(world.resolver, TEXT("a.test"), lookup, free_lookup));
	wait_for(1);
}

static void ask_another(struct lookup *lookup)
{
	on_answer(lookup);
	assert_true(resolver_ask(world.resolver, TEXT("a.test"), lookup, on_answer));
	assert_false(resolver_ask(world.resolver, TEXT("b.test"), lookup, on_answer));
}

static void a_callback_may_ask_again(void **state)
{
	struct lookup lookup = {0};

	(void)state;
	ask_responder(defaults());
	assert_false(resolver_ask(world.resolver, TEXT("a.test"), &lookup, ask_another));
	wait_for(2);
	EXPECT(lookup.answer, "2001:db8::1 192.0.2.1");
}

static void may_be_freed_while_a_server_is_silent(void **state)
{
	struct lookup lookup = {0};

	(void)state;
	world.a.how = SILENT;
	world.aaaa.delay = 0.1;
	ask_responder(defaults());
	begin(&lookup, "a.test");
	ev_run(world.loop, EVRUN_NOWAIT);
	resolver_cancel(&lookup);
}

static void counts_what_lookups_got(void **state)
{
	const struct resolver_counts *counts;

	(void)state;
	ask_responder(defaults());
	counts = resolver_counts(world.resolver);
	world.a.delay = world.aaaa.delay = 0.1;
	ask("a.test");
	known("a.test");
	world.a.how = world.aaaa.how = NX_DOMAIN;
	ask("b.test");
	world.a.how = world.aaaa.how = SERV_FAIL;
	ask("c.test");
	assert_int_equal(counts->asked, 4);
	assert_int_equal(counts->cache_hits, 1);
	assert_int_equal(counts->ok, 2);
	assert_int_equal(counts->no_name, 1);
	assert_int_equal(counts->failed, 1);
	assert_true(counts->seconds > 0.29);
}

/* --- a real server --- */

static pid_t dnsmasq;
static char log_name[] = "/tmp/egret-resolver-test.XXXXXX";
static struct endpoint dnsmasq_at;

#define BIG 120 /* addresses: more than a datagram of EDNS_SIZE holds */

static void run_dnsmasq(int log)
{
	char port[16], big[BIG][64];
	const char *args[32 + BIG] = {"dnsmasq", "--no-daemon", "--conf-file=/dev/null",
		"--no-hosts", "--no-resolv", "--pid-file=", "--bind-interfaces",
		"--listen-address=127.0.0.1,::1", "--log-queries", "--local=/test/",
		"--host-record=four.test,192.0.2.4,60", "--host-record=six.test,2001:db8::6,60",
		"--host-record=both.test,192.0.2.5,2001:db8::5,60",
		"--host-record=end.test,192.0.2.7,1", "--cname=middle.test,end.test,60",
		"--cname=begin.test,middle.test,60"};
	size_t n = 16;

	snprintf(port, sizeof(port), "--port=%u", dnsmasq_at.port);
	args[n++] = port;
	for (int i = 0; i < BIG; i++) {
		snprintf(big[i], sizeof(big[i]), "--host-record=big.test,192.0.2.%d,60", i + 1);
		args[n++] = big[i];
	}
	dup2(log, STDERR_FILENO);
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* also when a test crashes */
	execvp("dnsmasq", (char *const *)args);
	_exit(127);
}

static bool dnsmasq_answers(void)
{
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&dnsmasq_at, &sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = connect(fd, (struct sockaddr *)&sa, length) == 0;

	close(fd);
	return yes;
}

static int start_dnsmasq(void **state)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int log = mkostemp(log_name, O_CLOEXEC);

	(void)state;
	dnsmasq_at = bound_endpoint(fd);
	close(fd);
	dnsmasq = fork();
	if (dnsmasq == 0)
		run_dnsmasq(log);
	close(log);
	for (int i = 0; i < 500 && !dnsmasq_answers(); i++) {
		if (waitpid(dnsmasq, NULL, WNOHANG) != 0) {
			dnsmasq = 0;
			return -1;
		}
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return 0;
}

static int stop_dnsmasq(void **state)
{
	(void)state;
	if (dnsmasq > 0) {
		kill(dnsmasq, SIGTERM);
		waitpid(dnsmasq, NULL, 0);
	}
	unlink(log_name);
	return 0;
}

/* How often dnsmasq's log has `what`. */
static int logged(const char *what)
{
	FILE *log = fopen(log_name, "re");
	char line[1024];
	int n = 0;

	assert_non_null(log);
	while (fgets(line, sizeof(line), log))
		n += strstr(line, what) != NULL;
	fclose(log);
	return n;
}

static void dnsmasq_is_understood(void **state)
{
	static const struct {
		const char *name, *want;
	} cases[] = {
		{"four.test", "192.0.2.4"},
		{"six.test", "2001:db8::6"},
		{"both.test", "2001:db8::5 192.0.2.5"},
		{"none.test", "nxdomain"},
		{"begin.test", "192.0.2.7"},
		{"refused.example", "failed"},
	};

	(void)state;
	new_resolver(defaults(), &dnsmasq_at);
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		EXPECT(ask(cases[i].name), cases[i].want);
}

static void a_server_may_have_an_ipv6_address(void **state)
{
	struct endpoint server = dnsmasq_at;

	(void)state;
	assert_true(addr_parse(&server.addr, TEXT("::1")));
	new_resolver(defaults(), &server);
	EXPECT(ask("four.test"), "192.0.2.4");
}

static void the_next_server_is_asked_when_one_is_silent(void **state)
{
	int silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct endpoint servers[] = {bound_endpoint(silent), dnsmasq_at};

	(void)state;
	new_resolver_of(defaults(), servers, COUNT_OF(servers));
	EXPECT(ask("both.test"), "2001:db8::5 192.0.2.5");
	close(silent);
}

static void without_servers_it_follows_resolv_conf(void **state)
{
	(void)state;
	new_resolver_of(defaults(), NULL, 0);
	EXPECT(known("localhost"), "::1 127.0.0.1");
}

static void dnsmasq_is_asked_once_while_the_answer_is_kept(void **state)
{
	int before = logged("query[A] both.test");

	(void)state;
	new_resolver(defaults(), &dnsmasq_at);
	ask("both.test");
	for (int i = 0; i < 10; i++)
		assert_true(known("both.test").cached);
	assert_int_equal(logged("query[A] both.test"), before + 1);
	assert_int_equal(logged("query[AAAA] both.test") > 0, true);
}

static void the_least_ttl_of_a_chain_counts(void **state)
{
	(void)state;
	new_resolver(defaults(), &dnsmasq_at);
	EXPECT(ask("begin.test"), "192.0.2.7");
	known("begin.test");
	pass(1.1);
	EXPECT(ask("begin.test"), "192.0.2.7");
}

static void a_long_answer_comes_by_tcp(void **state)
{
	int before = logged("query[A] big.test");
	struct resolver_answer answer;

	(void)state;
	new_resolver(defaults(), &dnsmasq_at);
	answer = ask("big.test");
	assert_int_equal(answer.status, RESOLVER_OK);
	assert_int_equal(answer.n_addrs, RESOLVER_ADDRS);
	assert_int_equal(logged("query[A] big.test"), before + 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(two_replies_make_one_answer),
		TEST(a_server_that_never_answers_is_a_timeout),
		TEST(a_reply_to_something_else_is_no_reply),
		TEST(nobody_at_the_servers_address_is_a_failure),
		TEST(without_a_descriptor_it_is_full_until_there_is_one),
		TEST(does_not_wait_long_for_a_late_version),
		TEST(says_when_one_version_is_not_known),
		TEST(says_how_long_addresses_stand),
		TEST(waits_a_moment_for_the_other_version),
		TEST(waits_for_addresses_when_the_other_version_has_none),
		TEST(a_version_that_never_comes_is_asked_again_soon),
		TEST(keeps_places_for_both_versions),
		TEST(a_mapped_address_is_the_ipv4_address_once),
		TEST(localhost_is_never_asked_of_a_server),
		TEST(the_hosts_text_comes_before_dns),
		TEST(a_name_too_long_or_empty_is_no_name),
		TEST(bad_options_are_refused_with_a_reason),
		TEST(an_answer_is_kept_for_its_ttl),
		TEST(the_least_ttl_of_the_records_counts),
		TEST(a_ttl_has_bounds),
		TEST(a_ttl_of_nothing_is_not_kept),
		TEST(no_name_is_kept_for_the_negative_ttl),
		TEST(the_least_recently_used_name_leaves),
		TEST(lookups_of_one_name_share_one_question),
		TEST(more_waiters_than_allowed_are_refused),
		TEST(more_questions_than_allowed_are_refused),
		TEST(many_names_at_once_all_get_their_answer),
		TEST(a_cancelled_lookup_gets_no_answer_but_the_name_is_known),
		TEST(a_callback_may_cancel_another_lookup_of_the_name),
		TEST(a_callback_may_free_its_lookup),
		TEST(a_callback_may_ask_again),
		TEST(may_be_freed_while_a_server_is_silent),
		TEST(counts_what_lookups_got),
		TEST(dnsmasq_is_understood),
		TEST(a_server_may_have_an_ipv6_address),
		TEST(the_next_server_is_asked_when_one_is_silent),
		TEST(without_servers_it_follows_resolv_conf),
		TEST(dnsmasq_is_asked_once_while_the_answer_is_kept),
		TEST(the_least_ttl_of_a_chain_counts),
		TEST(a_long_answer_comes_by_tcp),
	};

	return cmocka_run_group_tests(tests, start_dnsmasq, stop_dnsmasq);
}
