/*
 * peers_test.c - two gateways, each a process in a network namespace, and an agent in a third, on
 * one bridge.  A gateway does what its pipe says: the addresses it has, line by line.
 */
#include "../../nat/helpers.h"
#include "tests/unit/daemon/run_until.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "daemon/peers/answerer.h"
#include "daemon/log/log.h"
#include "daemon/peers/peers.h"

#define A "203.0.113.10"
#define B "203.0.113.11"
#define A6 "2001:db8:1::10"
#define GATEWAYS "gw1 192.168.1.1 10.42.1.0, gw2 192.168.1.2 fd42:0:0:2::"
#define BOTH "gw1 10.42.1.0 fd42:0:0:1::, gw2 10.42.2.0 fd42:0:0:2::"
#define PORT 9129

static struct {
	int bridge, gateways[2], agent;
} world;

static struct child {
	pid_t pid;
	int pipe;
} children[2];

static struct ev_loop *loop;
static struct peers *peers;
static const char *gateways; /* as the gateways themselves know them */
static unsigned changes, refusals;

static int new_node(int number)
{
	int fd = new_namespace();

	run("ip link add eth0 type veth peer name port%d netns /proc/%d/fd/%d", number, getpid(),
		world.bridge);
	run("ip link set eth0 up; ip addr add 192.168.1.%d/24 dev eth0;"
	    " ip addr add 10.42.%d.0/16 dev eth0; ip addr add fd42:0:0:%d::/56 dev eth0 nodad",
		number, number, number);
	enter(world.bridge);
	run("ip link set port%d up master br0", number);
	enter(fd);
	return fd;
}

static int make_world(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET))
		return 0; /* each test skips */
	log_set_level(LOG_LEVEL_ERROR);
	world.bridge = new_namespace();
	run("ip link add br0 type bridge; ip link set br0 up");
	world.gateways[0] = new_node(1);
	world.gateways[1] = new_node(2);
	world.agent = new_node(3);
	return 0;
}

static bool on_change(void *arg)
{
	(void)arg;
	changes++;
	if (refusals == 0)
		return true;
	refusals--;
	return false;
}

static int set_up(void **state)
{
	const struct peers_events events = {on_change, NULL};

	(void)state;
	if (world.agent == 0)
		return 0;
	enter(world.agent);
	changes = refusals = 0;
	gateways = GATEWAYS;
	loop = ev_loop_new(0);
	peers = loop ? peers_new(loop, &events) : NULL;
	return peers ? 0 : -1;
}

static void end(struct child *child)
{
	if (child->pid == 0)
		return;
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	close(child->pipe);
	*child = (struct child){0};
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(children); i++)
		end(&children[i]);
	for (size_t i = 0; world.agent && i < COUNT_OF(world.gateways); i++) {
		enter(world.gateways[i]);
		run("nft flush ruleset");
	}
	peers_free(peers);
	if (loop)
		ev_loop_destroy(loop);
	peers = NULL;
	loop = NULL;
	return 0;
}

static void skip_without_world(void)
{
	if (world.agent == 0)
		skip();
}

static int follow(struct peers *p, enum role role, const char *text, double interval)
{
	const struct cidr networks[] = {cidr_of("10.42.0.0/16"), cidr_of("fd42::/56")};
	const struct cidr_list pods = {(struct cidr *)networks, COUNT_OF(networks)};
	struct gateway_list list = {0};
	struct peers_config config = {role, &list, PORT, interval,
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", NULL};
	struct error e = {""};
	int error;

	if (text)
		assert_int_equal(gateways_parse(&list, text), 0);
	assert_null(gateways_place(&list, &pods));
	error = peers_follow(p, &config, &e);
	if (error)
		fail_msg("%s", e.text);
	free(list.at);
	return error;
}

/* ---- a gateway's process ---- */

static size_t parse_owned(char *line, struct addr *out)
{
	size_t n = 0;

	for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
		out[n++] = addr_of(word);
	return n;
}

static void on_pipe(struct ev_loop *l, ev_io *io, int revents)
{
	char line[8192];
	ssize_t got = read(io->fd, line, sizeof(line) - 1);
	struct addr owned[200];

	(void)l;
	(void)revents;
	if (got <= 0)
		_exit(0);
	line[got] = '\0';
	peers_owned(io->data, owned, parse_owned(line, owned));
}

static void __attribute__((noreturn)) be_gateway(int number, int pipe)
{
	const struct peers_events events = {on_change, NULL};
	struct ev_loop *mine = ev_loop_new(0);
	struct peers *p = peers_new(mine, &events);
	ev_io io;

	enter(world.gateways[number]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_set_level(LOG_LEVEL_ERROR);
	ev_io_init(&io, on_pipe, pipe, EV_READ);
	io.data = p;
	ev_io_start(mine, &io);
	follow(p, ROLE_GATEWAY, gateways, 5);
	ev_run(mine, 0);
	_exit(0);
}

static void start_gateway(int number)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	children[number].pid = fork();
	assert_true(children[number].pid >= 0);
	if (children[number].pid == 0)
		be_gateway(number, fds[0]);
	close(fds[0]);
	children[number].pipe = fds[1];
}

static void own(int number, const char *line)
{
	assert_int_equal(write(children[number].pipe, line, strlen(line)), strlen(line));
}

static void start_both(const char *first, const char *second)
{
	start_gateway(0);
	start_gateway(1);
	own(0, first);
	own(1, second);
	enter(world.agent);
}

static int owner(const char *text)
{
	struct addr addr = addr_of(text);

	return peers_owner(peers, &addr);
}

/* None of its probes is answered any more; what it tells unasked still arrives. */
static void close_port(int number, const char *match)
{
	char rules[200];

	snprintf(rules, sizeof(rules),
		"table inet t { chain c { type filter hook input priority 0;\n"
		"%s udp dport 9129 drop\n}\n}\n",
		match);
	enter(world.gateways[number]);
	assert_int_equal(nft_takes("", rules), 0);
	enter(world.agent);
}

static void open_port(int number)
{
	enter(world.gateways[number]);
	run("nft flush ruleset");
	enter(world.agent);
}

static int via(const char *text)
{
	struct addr addr = addr_of(text);

	return peers_via(peers, &addr);
}

/* ---- what is learnt ---- */

static void an_agent_learns_who_is_there_and_who_has_what(void **state)
{
	struct peers_view view;
	char text[ENDPOINT_TEXT];

	(void)state;
	skip_without_world();
	start_both(A " " B "\n", "\n");
	follow(peers, ROLE_AGENT, GATEWAYS, 5);
	assert_false(peers_up(peers, 0) || peers_up(peers, 1) || peers_up(peers, 2));
	assert_int_equal(owner(A), -1);
	RUN_UNTIL(peers_up(peers, 0) && peers_up(peers, 1) && owner(A) == 0 && changes > 0);
	assert_int_equal(owner(B), 0);
	assert_int_equal(owner("203.0.113.12"), -1);
	view = peers_view(peers, 0);
	assert_string_equal(view.name, "gw1");
	assert_int_equal(view.n_paths, 1);
	assert_string_equal(endpoint_print(&view.paths[0].at, text), "10.42.1.0:9129");
	assert_true(view.up && !view.self && view.paths[0].up);
	assert_true(view.paths[0].rtt > 0 && view.paths[0].since > 0);
	assert_int_equal(view.n_owned, 2);
	assert_memory_equal(view.digest, "\x01\x23\x45\x67\x89\xab\xcd\xef\x01", 9);
	view = peers_view(peers, 1);
	assert_int_equal(view.n_paths, 2);
	assert_string_equal(endpoint_print(&view.paths[0].at, text), "192.168.1.2:9129");
	assert_string_equal(endpoint_print(&view.paths[1].at, text), "[fd42:0:0:2::]:9129");
	assert_null(peers_trouble(peers));
}

/* Its questions reach it no more: only what it tells by itself does, before it counts as down. */
static void a_gateway_tells_of_a_change_unasked(void **state)
{
	(void)state;
	skip_without_world();
	start_both(A "\n", "\n");
	follow(peers, ROLE_AGENT, GATEWAYS, 60);
	RUN_UNTIL(owner(A) == 0 && peers_up(peers, 1));
	close_port(0, "");
	own(0, B "\n");
	RUN_UNTIL(owner(B) == 0);
	assert_int_equal(owner(A), -1);
}

/* A minute before it would be asked again. */
static void who_is_inquired_of_answers_or_is_down_soon(void **state)
{
	double rtt;

	(void)state;
	skip_without_world();
	start_both(A "\n", "\n");
	follow(peers, ROLE_AGENT, GATEWAYS, 60);
	RUN_UNTIL(owner(A) == 0 && peers_up(peers, 1));
	rtt = peers_view(peers, 0).paths[0].rtt;
	peers_inquire(peers);
	RUN_UNTIL(peers_view(peers, 0).paths[0].rtt != rtt);
	close_port(0, "");
	peers_inquire(peers);
	RUN_UNTIL(!peers_up(peers, 0));
	assert_int_equal(owner(A), -1);
	assert_true(peers_up(peers, 1));
}

static void a_gateway_that_does_not_answer_has_nothing(void **state)
{
	(void)state;
	skip_without_world();
	start_both(A "\n", "\n");
	follow(peers, ROLE_AGENT, GATEWAYS, 0.1);
	RUN_UNTIL(owner(A) == 0 && peers_up(peers, 1));
	changes = 0;
	close_port(0, "");
	RUN_UNTIL(!peers_up(peers, 0) && changes > 0);
	assert_int_equal(owner(A), -1);
	assert_true(peers_up(peers, 1));
	assert_int_equal(peers_view(peers, 0).n_owned, 0);
	open_port(0);
	RUN_UNTIL(owner(A) == 0);
}

/* ---- over each version ---- */

static bool is_up(size_t gateway, size_t version)
{
	return peers_view(peers, gateway).paths[version].up;
}

static bool all_up(void)
{
	return is_up(0, 0) && is_up(0, 1) && is_up(1, 0) && is_up(1, 1);
}

static void a_gateway_that_does_not_answer_over_one_version_is_reached_over_the_other(void **state)
{
	static const char *const matches[] = {"meta nfproto ipv4", "meta nfproto ipv6"};
	static const char *const here[] = {A, A6};
	char trouble[160];

	(void)state;
	skip_without_world();
	gateways = BOTH;
	start_both(A " " A6 "\n", "\n");
	follow(peers, ROLE_AGENT, BOTH, 0.1);
	RUN_UNTIL(owner(A) == 0 && owner(A6) == 0 && all_up());
	for (size_t v = 0; v < 2; v++) {
		changes = 0;
		close_port(0, matches[v]);
		RUN_UNTIL(!is_up(0, v) && changes > 0);
		assert_true(is_up(0, !v) && peers_up(peers, 0));
		assert_true(is_up(1, 0) && is_up(1, 1));
		assert_int_equal(owner(here[v]), 0);
		assert_int_equal(via(here[v]), -1);
		assert_int_equal(via(here[!v]), 0);
		snprintf(trouble, sizeof(trouble),
			"egress address %s is on gateway gw1, which does not answer over IPv%d",
			here[v], v ? 6 : 4);
		assert_string_equal(peers_trouble(peers), trouble);
		changes = 0;
		open_port(0);
		RUN_UNTIL(via(here[v]) == 0 && changes > 0);
		assert_null(peers_trouble(peers));
	}
}

static void what_a_gateway_has_is_known_over_either_version(void **state)
{
	(void)state;
	skip_without_world();
	gateways = BOTH;
	close_port(0, "meta nfproto ipv4");
	start_both("\n", "\n");
	follow(peers, ROLE_AGENT, BOTH, 60);
	RUN_UNTIL(is_up(0, 1) && is_up(1, 0) && peers_view(peers, 0).paths[0].since > 0);
	assert_null(peers_trouble(peers)); /* nothing there that it would be needed for */
	own(0, A " " A6 "\n");
	RUN_UNTIL(owner(A) == 0 && owner(A6) == 0);
	assert_int_equal(via(A), -1);
	assert_int_equal(via(A6), 0);
	kill(children[0].pid, SIGSTOP);
	RUN_UNTIL(!peers_up(peers, 0));
	assert_int_equal(owner(A), -1);
	assert_int_equal(owner(A6), -1);
	assert_null(peers_trouble(peers));
}

static void who_is_silent_over_one_version_loses_nothing_that_another_one_claims(void **state)
{
	(void)state;
	skip_without_world();
	gateways = BOTH;
	start_both(A "\n", "\n");
	follow(peers, ROLE_AGENT, BOTH, 0.1);
	RUN_UNTIL(owner(A) == 0 && all_up());
	close_port(0, "meta nfproto ipv4");
	RUN_UNTIL(!is_up(0, 0));
	own(1, A "\n");
	RUN_UNTIL(
		owner(A) == 1 || (peers_trouble(peers) && strstr(peers_trouble(peers), "claimed")));
	assert_int_equal(owner(A), 0);
}

static void an_address_moves_without_a_conflict(void **state)
{
	(void)state;
	skip_without_world();
	start_both(A "\n", "\n");
	follow(peers, ROLE_AGENT, GATEWAYS, 60);
	RUN_UNTIL(owner(A) == 0 && peers_up(peers, 1));
	own(1, A "\n"); /* the new owner is the first to tell */
	own(0, "\n");
	RUN_UNTIL(owner(A) == 1 || peers_trouble(peers));
	assert_null(peers_trouble(peers));
}

/* By the interval alone it would be known to be dead in a minute: the other's claim makes it be
 * asked. */
static void the_claim_of_another_gateway_finds_out_that_the_owner_is_dead(void **state)
{
	(void)state;
	skip_without_world();
	start_both(A " " B "\n", "\n");
	follow(peers, ROLE_AGENT, GATEWAYS, 60);
	RUN_UNTIL(owner(A) == 0 && peers_up(peers, 1));
	kill(children[0].pid, SIGSTOP);
	own(1, A "\n");
	RUN_UNTIL(owner(A) == 1 || peers_trouble(peers));
	assert_null(peers_trouble(peers));
	assert_int_equal(owner(B), 0); /* it may just be busy */
	RUN_UNTIL(!peers_up(peers, 0));
	assert_int_equal(owner(A), 1);
	assert_int_equal(owner(B), -1);
}

/* It was cut off while the other one took over, who is busy now. */
static void who_comes_back_with_an_address_gets_it_when_its_owner_is_down(void **state)
{
	(void)state;
	skip_without_world();
	start_both(A "\n", "\n");
	follow(peers, ROLE_AGENT, GATEWAYS, 60);
	RUN_UNTIL(owner(A) == 0 && peers_up(peers, 1));
	kill(children[0].pid, SIGSTOP);
	own(1, A "\n");
	RUN_UNTIL(owner(A) == 1 && !peers_up(peers, 0));
	kill(children[1].pid, SIGSTOP);
	kill(children[0].pid, SIGCONT);
	RUN_UNTIL(owner(A) == 0);
	assert_false(peers_up(peers, 1));
}

static void two_that_claim_an_address_are_a_conflict_while_it_lasts(void **state)
{
	(void)state;
	skip_without_world();
	start_both(A "\n", "\n");
	follow(peers, ROLE_AGENT, GATEWAYS, 5);
	RUN_UNTIL(owner(A) == 0 && peers_up(peers, 1));
	changes = 0;
	own(1, A "\n");
	RUN_UNTIL(peers_trouble(peers) && changes > 0);
	assert_string_equal(peers_trouble(peers), "egress address " A " is claimed by gw1 and gw2");
	assert_int_equal(owner(A), 0);
	changes = 0;
	own(0, "\n");
	RUN_UNTIL(!peers_trouble(peers) && changes > 0);
	assert_int_equal(owner(A), 1);
}

static void this_node_and_another_are_a_conflict_too(void **state)
{
	struct addr a = addr_of(A);

	(void)state;
	skip_without_world();
	start_gateway(1);
	own(1, A "\n");
	enter(world.gateways[0]);
	follow(peers, ROLE_GATEWAY, GATEWAYS, 5);
	assert_true(peers_view(peers, 0).self && peers_up(peers, 0));
	assert_false(peers_view(peers, 1).self);
	peers_owned(peers, &a, 1);
	assert_int_equal(owner(A), -1); /* it is here */
	RUN_UNTIL(peers_trouble(peers));
	assert_string_equal(
		peers_trouble(peers), "egress address " A " is claimed by gw2 and this node");
	assert_int_equal(owner(A), -1);
	peers_owned(peers, NULL, 0);
	RUN_UNTIL(!peers_trouble(peers));
	assert_int_equal(owner(A), 1);
}

static void more_addresses_than_can_be_told_are_trouble(void **state)
{
	struct addr many[PEER_OWNED_MOST + 1];

	(void)state;
	skip_without_world();
	for (unsigned i = 0; i < COUNT_OF(many); i++)
		many[i] = (struct addr){{[10] = 0xff, 0xff, 203, 0, 113, (uint8_t)i}};
	enter(world.gateways[0]);
	follow(peers, ROLE_GATEWAY, GATEWAYS, 5);
	peers_owned(peers, many, PEER_OWNED_MOST);
	assert_null(peers_trouble(peers));
	peers_owned(peers, many, PEER_OWNED_MOST + 1);
	assert_string_equal(peers_trouble(peers),
		"65 egress addresses are on this node, other nodes can be told of 64");
}

static void another_list_keeps_what_is_known(void **state)
{
	(void)state;
	skip_without_world();
	start_both(A "\n", B "\n");
	follow(peers, ROLE_AGENT, GATEWAYS, 5);
	RUN_UNTIL(owner(A) == 0 && owner(B) == 1);
	follow(peers, ROLE_AGENT, "new 10.42.9.0, gw2 192.168.1.2 fd42:0:0:2::, gw1 10.42.1.0", 5);
	assert_int_equal(owner(A), 2);
	assert_int_equal(owner(B), 1);
	assert_int_equal(peers_count(peers), 3);
	follow(peers, ROLE_AGENT, "gw1 10.42.1.0", 5);
	assert_int_equal(owner(A), 0);
	assert_int_equal(owner(B), -1);
	follow(peers, ROLE_AGENT, NULL, 5);
	assert_int_equal(owner(A), -1);
	assert_int_equal(peers_count(peers), 0);
}

static void a_change_that_comes_at_a_bad_time_is_told_again(void **state)
{
	(void)state;
	skip_without_world();
	start_both(A "\n", "\n");
	refusals = 2;
	follow(peers, ROLE_AGENT, GATEWAYS, 60);
	RUN_UNTIL(owner(A) == 0 && changes >= 3 && refusals == 0);
}

/* ---- what is believed ---- */

static int fake;
static struct sockaddr_storage asker;
static socklen_t asker_length;

static struct peer_message an_answer(uint64_t id)
{
	struct peer_message m = {.type = PEER_ANSWER,
		.id = id,
		.instance = 7,
		.serial = 5,
		.n_owned = 1,
		.owned = {addr_of(A)}};

	return m;
}

static void start_fake(void)
{
	struct endpoint at = {addr_of("10.42.1.0"), PORT};
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&at, &sa);

	enter(world.gateways[0]);
	fake = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake, (struct sockaddr *)&sa, length), 0);
	enter(world.agent);
}

/* The agent's next question. */
static uint64_t take_probe(void)
{
	uint8_t bytes[PEER_MESSAGE_SIZE + 1];
	struct peer_message m;
	ssize_t got = -1;

	asker_length = sizeof(asker);
	RUN_UNTIL((got = recvfrom(fake, bytes, sizeof(bytes), MSG_DONTWAIT,
			   (struct sockaddr *)&asker, &asker_length)) >= 0);
	assert_true(peer_message_decode(&m, bytes, (size_t)got));
	assert_int_equal(m.type, PEER_PROBE);
	return m.id;
}

static void answer_from(int fd, const struct peer_message *m)
{
	uint8_t bytes[PEER_MESSAGE_SIZE];

	peer_message_encode(m, bytes);
	assert_int_equal(
		sendto(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&asker, asker_length),
		sizeof(bytes));
}

static void only_the_gateway_is_believed(void **state)
{
	struct endpoint at = {addr_of("192.168.1.1"), PORT};
	struct sockaddr_storage sa;
	struct peer_message m;
	int other;

	(void)state;
	skip_without_world();
	start_fake();
	follow(peers, ROLE_AGENT, "gw1 10.42.1.0", 5);
	m = an_answer(take_probe());
	enter(world.gateways[0]);
	other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(other, (struct sockaddr *)&sa, endpoint_to_sockaddr(&at, &sa)), 0);
	enter(world.agent);
	answer_from(other, &m); /* another address */
	close(other);
	enter(world.gateways[0]);
	at = (struct endpoint){addr_of("10.42.1.0"), PORT + 1};
	other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(other, (struct sockaddr *)&sa, endpoint_to_sockaddr(&at, &sa)), 0);
	enter(world.agent);
	answer_from(other, &m); /* another port */
	close(other);
	m.id ^= 1; /* a guess */
	answer_from(fake, &m);
	m.type = PEER_CHANGE;
	answer_from(fake, &m);
	sendto(fake, "EGRT", 4, 0, (struct sockaddr *)&asker, asker_length);
	m = an_answer(take_probe());
	assert_false(peers_up(peers, 0));
	answer_from(fake, &m);
	RUN_UNTIL(peers_up(peers, 0));
	assert_int_equal(owner(A), 0);
	close(fake);
}

static void what_is_older_than_what_is_known_is_not_believed(void **state)
{
	struct peer_message m;

	(void)state;
	skip_without_world();
	start_fake();
	follow(peers, ROLE_AGENT, "gw1 10.42.1.0", 5);
	m = an_answer(take_probe());
	answer_from(fake, &m);
	RUN_UNTIL(owner(A) == 0);
	m.type = PEER_CHANGE;
	m.serial = 4;
	m.owned[0] = addr_of(B);
	answer_from(fake, &m); /* overtaken on its way */
	m.serial = 6;
	m.owned[0] = addr_of("203.0.113.12");
	answer_from(fake, &m);
	RUN_UNTIL(owner("203.0.113.12") == 0);
	assert_int_equal(owner(B), -1);
	m.instance = 8; /* started again: its serials begin anew */
	m.serial = 1;
	m.owned[0] = addr_of(B);
	answer_from(fake, &m);
	RUN_UNTIL(owner(B) == 0);
	close(fake);
}

/* ---- a loop that is busy ---- */

/* For longer than a question waits for its answer, which comes meanwhile. */
static void be_busy(void)
{
	usleep(300000);
}

static void an_answer_that_came_while_the_loop_was_busy_counts(void **state)
{
	(void)state;
	skip_without_world();
	start_fake();
	follow(peers, ROLE_AGENT, "gw1 10.42.1.0", 0.1);
	for (unsigned i = 0; i < 3 * PEERS_MISSED; i++) {
		struct peer_message m = an_answer(take_probe());

		answer_from(fake, &m);
		be_busy();
		ev_run(loop, EVRUN_ONCE); /* the answer and the end of patience at once */
		assert_true(peers_up(peers, 0));
		assert_int_equal(owner(A), 0);
	}
	close(fake);
}

static void a_gateway_is_known_when_it_has_answered_or_had_the_time_to(void **state)
{
	struct peer_message m;

	(void)state;
	skip_without_world();
	start_fake();
	follow(peers, ROLE_AGENT, "gw1 10.42.1.0", 0.1);
	m = an_answer(take_probe());
	be_busy();
	assert_false(peers_hear(peers));
	answer_from(fake, &m);
	be_busy();
	assert_true(peers_hear(peers)); /* not by the loop */
	assert_int_equal(owner(A), 0);
	follow(peers, ROLE_AGENT, "gw3 10.42.9.0", 0.1);
	assert_false(peers_hear(peers));
	RUN_UNTIL(peers_hear(peers));
	assert_false(peers_up(peers, 0));
	close(fake);
}

/* ---- the gateway's side ---- */

static struct answerer *answerer;

static int client_at(const char *text)
{
	struct endpoint at = {addr_of(text), 0};
	struct endpoint to = {addr_of("127.0.0.1"), PORT};
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&at, &sa);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, length), 0);
	length = endpoint_to_sockaddr(&to, &sa);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, length), 0);
	return fd;
}

static void ask_as(int fd, uint64_t id)
{
	const struct peer_message probe = {.type = PEER_PROBE, .id = id};
	uint8_t bytes[PEER_MESSAGE_SIZE];

	peer_message_encode(&probe, bytes);
	assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
}

static struct peer_message take_from(int fd)
{
	uint8_t bytes[PEER_MESSAGE_SIZE + 1];
	struct peer_message m;
	ssize_t got = -1;

	RUN_UNTIL((got = recv(fd, bytes, sizeof(bytes), 0)) >= 0);
	assert_true(peer_message_decode(&m, bytes, (size_t)got));
	return m;
}

static void start_answerer(void)
{
	const struct endpoint at = {addr_of("127.0.0.1"), PORT};
	struct peer_message say = an_answer(1);
	struct error e = {""};

	answerer = answerer_new(loop);
	assert_non_null(answerer);
	answerer_say(answerer, &say, 60);
	if (answerer_listen(answerer, &at, &e) < 0)
		fail_msg("%s", e.text);
}

static void only_probes_are_answered(void **state)
{
	uint8_t bytes[PEER_MESSAGE_SIZE + 1] = {0};
	struct peer_message m = an_answer(3);
	int fd;

	(void)state;
	skip_without_world();
	start_answerer();
	fd = client_at("127.0.0.1");
	assert_int_equal(send(fd, bytes, 0, 0), 0);
	assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	peer_message_encode(&m, bytes);
	assert_int_equal(send(fd, bytes, PEER_MESSAGE_SIZE, 0), PEER_MESSAGE_SIZE);
	ask_as(fd, 42);
	m = take_from(fd);
	assert_int_equal(m.type, PEER_ANSWER);
	assert_int_equal(m.id, 42);
	assert_int_equal(m.n_owned, 1);
	assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), -1);
	close(fd);
	answerer_free(answerer);
}

static bool was_answered;

static void on_work(struct ev_loop *l, ev_timer *timer, int revents)
{
	const int *fd = timer->data;
	uint8_t bytes[PEER_MESSAGE_SIZE + 1];

	(void)l;
	(void)revents;
	was_answered = recv(*fd, bytes, sizeof(bytes), MSG_PEEK) >= 0;
}

static void a_probe_is_answered_before_other_work(void **state)
{
	int fd;
	ev_timer work;

	(void)state;
	skip_without_world();
	start_answerer();
	fd = client_at("127.0.0.1");
	ev_timer_init(&work, on_work, 0, 0);
	work.data = &fd;
	ev_timer_start(loop, &work);
	ask_as(fd, 42);
	be_busy();
	ev_run(loop, EVRUN_ONCE);
	assert_false(ev_is_active(&work));
	assert_true(was_answered);
	close(fd);
	answerer_free(answerer);
}

static void a_thousand_nodes_are_told_and_the_longest_silent_is_forgotten_first(void **state)
{
	struct peer_message say = an_answer(1);
	struct peer_message m;
	int first, second, fd;

	(void)state;
	skip_without_world();
	start_answerer();
	first = client_at("127.1.0.1");
	ask_as(first, 1);
	take_from(first);
	second = client_at("127.1.0.2");
	ask_as(second, 2);
	take_from(second);
	for (unsigned i = 0; i < ANSWERER_PEERS - 1; i++) {
		char text[ADDR_TEXT];

		snprintf(text, sizeof(text), "127.2.%u.%u", i >> 8, i & 255);
		fd = client_at(text);
		ask_as(fd, 100 + i);
		take_from(fd);
		close(fd);
	}
	while (recv(first, &m, sizeof(m), 0) >= 0 || recv(second, &m, sizeof(m), 0) >= 0)
		; /* told at first */
	say.serial++;
	answerer_say(answerer, &say, 60);
	for (int i = 0; i < 3; i++) { /* told three times */
		say = take_from(second);
		assert_int_equal(say.type, PEER_CHANGE);
		assert_int_equal(say.id, 2);
		assert_int_equal(say.serial, 6);
	}
	assert_int_equal(recv(first, &say, sizeof(say), 0), -1);
	close(first);
	close(second);
	answerer_free(answerer);
}

/* A pod cannot push nodes out of the table with many ports. */
static void a_node_is_remembered_once(void **state)
{
	struct peer_message say = an_answer(1);
	int node, fd;

	(void)state;
	skip_without_world();
	start_answerer();
	node = client_at("127.1.0.1");
	ask_as(node, 1);
	take_from(node);
	for (unsigned i = 0; i < ANSWERER_PEERS + 10; i++) {
		fd = client_at("127.1.0.2");
		ask_as(fd, 100 + i);
		take_from(fd);
		close(fd);
	}
	say.serial++;
	answerer_say(answerer, &say, 60);
	assert_int_equal(take_from(node).type, PEER_CHANGE);
	close(node);
	answerer_free(answerer);
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_CASE(an_agent_learns_who_is_there_and_who_has_what),
		TEST_CASE(a_gateway_tells_of_a_change_unasked),
		TEST_CASE(who_is_inquired_of_answers_or_is_down_soon),
		TEST_CASE(a_gateway_that_does_not_answer_has_nothing),
		TEST_CASE(
			a_gateway_that_does_not_answer_over_one_version_is_reached_over_the_other),
		TEST_CASE(what_a_gateway_has_is_known_over_either_version),
		TEST_CASE(who_is_silent_over_one_version_loses_nothing_that_another_one_claims),
		TEST_CASE(an_address_moves_without_a_conflict),
		TEST_CASE(the_claim_of_another_gateway_finds_out_that_the_owner_is_dead),
		TEST_CASE(who_comes_back_with_an_address_gets_it_when_its_owner_is_down),
		TEST_CASE(two_that_claim_an_address_are_a_conflict_while_it_lasts),
		TEST_CASE(this_node_and_another_are_a_conflict_too),
		TEST_CASE(more_addresses_than_can_be_told_are_trouble),
		TEST_CASE(another_list_keeps_what_is_known),
		TEST_CASE(a_change_that_comes_at_a_bad_time_is_told_again),
		TEST_CASE(only_the_gateway_is_believed),
		TEST_CASE(what_is_older_than_what_is_known_is_not_believed),
		TEST_CASE(an_answer_that_came_while_the_loop_was_busy_counts),
		TEST_CASE(a_gateway_is_known_when_it_has_answered_or_had_the_time_to),
		TEST_CASE(only_probes_are_answered),
		TEST_CASE(a_probe_is_answered_before_other_work),
		TEST_CASE(a_thousand_nodes_are_told_and_the_longest_silent_is_forgotten_first),
		TEST_CASE(a_node_is_remembered_once),
	};

	return cmocka_run_group_tests(tests, make_world, NULL);
}
