/*
 * change_test.c - what pods' packets meet between the phases of a change, and while plans change
 * under a flood of new flows.
 */
#include "egress_world.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "nat/address.h"
#include "nat/audit.h"
#include "nat/change.h"

static const char steady[] = "[partner steady]\ncidr = 192.0.2.7\negress-ip = 203.0.113.11\n";

static char *with_steady(const char *acl)
{
	char *text = NULL;

	assert_true(asprintf(&text, "%s%s", steady, acl) > 0);
	return text;
}

static struct plan *steady_plan(const char *acl, const struct node *node)
{
	char *text = with_steady(acl);
	struct plan *plan = plan_of(text, node);

	free(text);
	return plan;
}

/* ---- phase by phase ---- */

struct step {
	struct mnl_socket *socket;
	struct state state;
	const struct plan *plan;
};

static struct step begin(const struct plan *from, const struct plan *to)
{
	struct step step = {.plan = to};
	struct error e = {0};

	if (table_apply(from, NULL, NULL, &e) ||
		netlink_open(NETLINK_NETFILTER, &step.socket, &e) ||
		state_load(&step.state, step.socket, "egret", &e))
		fail_msg("%s", e.text);
	return step;
}

static void take(struct step *step, enum change_phase phase)
{
	struct batch batch;
	struct error e = {0};

	batch_begin(&batch, 0);
	change_put(&batch, step->plan, &step->state, 0, phase);
	if (!batch_is_empty(&batch) && batch_commit(&batch, step->socket, &e))
		fail_msg("phase %d: %s", phase, e.text);
	batch_fini(&batch);
}

static void end(struct step *step)
{
	assert_int_equal(table_matches(step->plan, NULL), 1);
	state_fini(&step->state);
	mnl_socket_close(step->socket);
}

/* Is the pair in the kernel's set? */
static bool kernel_allows(uint32_t mark, const char *source)
{
	struct addr addr = addr_of(source);
	struct mnl_socket *socket;
	struct state state;
	const struct state_set *ok;
	bool found = false;

	assert_int_equal(netlink_open(NETLINK_NETFILTER, &socket, NULL), 0);
	assert_int_equal(state_load(&state, socket, "egret", NULL), 0);
	ok = state_set(&state, addr_is_v4(&addr) ? "ok4" : "ok6");
	assert_non_null(ok);
	for (size_t i = 0; i < ok->n_ranges && !found; i++)
		found = ok->ranges[i].mark == mark && addr_equal(&ok->ranges[i].first, &addr);
	state_fini(&state);
	mnl_socket_close(socket);
	return found;
}

static uint32_t mark_to(const struct plan *plan, const char *destination)
{
	struct plan_packet packet = {
		.source = addr_of(strchr(destination, ':') ? "fd42::2" : "10.42.0.2"),
		.destination = addr_of(destination),
		.protocol = IPPROTO_UDP,
		.port = 4000};
	struct plan_decision d = plan_decide(plan, &packet);

	assert_int_equal(d.fate, PLAN_CLASSED_AS);
	return d.mark;
}

static const char ten[] = "[partner bank]\ncidr = 198.51.100.7, 2001:db8:5::7\n"
			  "egress-ip = 203.0.113.10, 2001:db8:1::10\n";
static const char eleven[] = "[partner bank]\ncidr = 198.51.100.7, 2001:db8:5::7\n"
			     "egress-ip = 203.0.113.11, 2001:db8:1::11\n";

static void what_changes_is_held_from_guard_to_release_and_nothing_else(void **state)
{
	static const struct {
		const char *four, *six;
	} bank[] = {
		[CHANGE_GUARD] = {"", ""},
		[CHANGE_SWITCH] = {"", ""},
		[CHANGE_RELEASE] = {"203.0.113.11", "2001:db8:1::11"},
		[CHANGE_CLEAN] = {"203.0.113.11", "2001:db8:1::11"},
	};
	struct plan *from, *to;
	struct step step;

	(void)state;
	need_egress_world();
	from = steady_plan(ten, &dual_stack);
	to = steady_plan(eleven, &dual_stack);
	step = begin(from, to);
	check_source("198.51.100.7", "203.0.113.10");
	check_source("2001:db8:5::7", "2001:db8:1::10");
	for (enum change_phase phase = 0; phase < CHANGE_N_PHASES; phase++) {
		take(&step, phase);
		check_source("198.51.100.7", bank[phase].four);
		check_source("2001:db8:5::7", bank[phase].six);
		check_source("192.0.2.7", "203.0.113.11");
		check_source("8.8.8.8", "203.0.113.9");
		check_source("2001:db8:8::8", "2001:db8:1::9");
	}
	end(&step);
	plan_free(from);
	plan_free(to);
}

static void pairs_are_allowed_before_the_switch_and_taken_away_at_the_end(void **state)
{
	struct plan *from, *to;
	uint32_t was, is;
	struct step step;

	(void)state;
	need_egress_world();
	from = steady_plan(ten, &dual_stack);
	to = steady_plan(eleven, &dual_stack);
	was = mark_to(from, "198.51.100.7");
	is = mark_to(to, "198.51.100.7");
	assert_int_not_equal(was, is);
	step = begin(from, to);
	assert_true(kernel_allows(was, "203.0.113.10"));
	assert_false(kernel_allows(is, "203.0.113.11"));
	for (enum change_phase phase = 0; phase < CHANGE_N_PHASES; phase++) {
		take(&step, phase);
		assert_true(kernel_allows(is, "203.0.113.11"));
		assert_true(kernel_allows(is, "2001:db8:1::11"));
		assert_int_equal(kernel_allows(was, "203.0.113.10"), phase < CHANGE_CLEAN);
		assert_int_equal(kernel_allows(was, "2001:db8:1::10"), phase < CHANGE_CLEAN);
	}
	end(&step);
	plan_free(from);
	plan_free(to);
}

static void a_flow_of_the_plan_before_goes_on_until_the_end(void **state)
{
	struct plan *from, *to;
	struct step step;
	int four, six;

	(void)state;
	need_egress_world();
	from = steady_plan(ten, &dual_stack);
	to = steady_plan(eleven, &dual_stack);
	step = begin(from, to);
	four = fresh_pod_socket(4);
	six = fresh_pod_socket(6);
	assert_string_equal(source_through(four, "198.51.100.7"), "203.0.113.10");
	assert_string_equal(source_through(six, "2001:db8:5::7"), "2001:db8:1::10");
	for (enum change_phase phase = 0; phase < CHANGE_N_PHASES; phase++) {
		bool over = phase == CHANGE_CLEAN;

		take(&step, phase);
		assert_string_equal(
			source_through(four, "198.51.100.7"), over ? "" : "203.0.113.10");
		assert_string_equal(
			source_through(six, "2001:db8:5::7"), over ? "" : "2001:db8:1::10");
	}
	end(&step);
	close(four);
	close(six);
	plan_free(from);
	plan_free(to);
}

static void what_an_update_left_held_is_let_go_by_the_next(void **state)
{
	struct plan *from, *to;
	struct step step;

	(void)state;
	need_egress_world();
	from = steady_plan(ten, &dual_stack);
	to = steady_plan(eleven, &dual_stack);
	step = begin(from, to);
	take(&step, CHANGE_GUARD); /* and the gate is killed */
	check_source("198.51.100.7", "");
	state_fini(&step.state);
	mnl_socket_close(step.socket);
	step = begin(from, from);
	end(&step);
	check_source("198.51.100.7", "203.0.113.10");
	check_source("2001:db8:5::7", "2001:db8:1::10");
	plan_free(from);
	plan_free(to);
}

/* ---- under a flood ---- */

#define FLOOD_SECONDS 2.0
#define FLOOD_CHANGES 20
#define FLOOD_MOST 6    /* destinations */
#define FLOOD_SOURCES 6 /* addresses that a partner may see */
#define FLOOD_BATCH 50  /* ports that send twice each, one after the other */
#define FLOOD_TOKENS (1U << 24)

/* In memory that the sender and the judge share with us. */
struct tally {
	unsigned sent;
	unsigned seen[FLOOD_MOST][FLOOD_SOURCES];
	unsigned wrong;
	char first[2][ADDR_TEXT]; /* of the wrong ones: source, destination */
};

/* A destination, and every source that it may see while the two plans alternate. */
struct aim {
	const char *to;
	const char *sources[FLOOD_SOURCES];
};

static struct tally *tally;
static pid_t children[2];

static pid_t start_child(void)
{
	cpu_set_t all;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	return 0;
}

static void judge(const struct aim *aims, size_t n, const struct sighting *seen)
{
	char source[ADDR_TEXT], to[ADDR_TEXT];

	addr_print(&seen->source, source);
	addr_print(&seen->destination, to);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; strcmp(aims[i].to, to) == 0 && aims[i].sources[j]; j++)
			if (strcmp(aims[i].sources[j], source) == 0) {
				tally->seen[i][j]++;
				return;
			}
	if (tally->wrong++ == 0) {
		strcpy(tally->first[0], source);
		strcpy(tally->first[1], to);
	}
}

static void judge_all(const struct aim *aims, size_t n)
{
	uint8_t packet[2048];
	struct sighting seen;

	for (;;) {
		ssize_t length = recv(egress_capture, packet, sizeof(packet), 0);

		if (length > 0 && read_sighting(packet, length, &seen) &&
			seen.token >= egress_token) /* none of a flood before */
			judge(aims, n, &seen);
	}
}

/* Flows of a port to every destination; a second packet of each while the next begin. */
static void flood(const struct aim *aims, size_t n)
{
	int fds[FLOOD_BATCH];

	for (;;) {
		for (size_t i = 0; i < FLOOD_BATCH; i++)
			fds[i] = fresh_pod_socket(strchr(aims[0].to, ':') ? 6 : 4);
		for (size_t round = 0; round < 2; round++)
			for (size_t i = 0; i < FLOOD_BATCH; i++)
				for (size_t j = 0; j < n; j++) {
					send_token(fds[i], aims[j].to);
					tally->sent++;
				}
		for (size_t i = 0; i < FLOOD_BATCH; i++)
			close(fds[i]);
		if (egress_sport > 60000)
			egress_sport = FIRST_SPORT;
	}
}

static void begin_flood(const struct aim *aims, size_t n)
{
	tally = mmap(
		NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(tally != MAP_FAILED);
	egress_token += FLOOD_TOKENS;
	children[0] = start_child();
	if (children[0] == 0)
		judge_all(aims, n);
	children[1] = start_child();
	if (children[1] == 0)
		flood(aims, n);
	for (unsigned ms = 0; tally->sent < 1000; ms++) {
		assert_true(ms < 20000);
		poll(NULL, 0, 1);
	}
}

static void end_flood(void)
{
	for (size_t i = 2; i-- > 0;) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
		children[i] = 0;
	}
	egress_token += FLOOD_TOKENS;
}

static int stop_flood(void **state)
{
	(void)state;
	if (children[0] > 0)
		end_flood();
	return 0;
}

/* Each as an edition: its policy, and the node that it is for. */
struct edition_of {
	const char *acl;
	struct node node;
};

struct audited {
	const struct plan *plan;
	const struct policy *policy;
};

static int audit_flows(void *arg, struct error *e)
{
	const struct audited *a = arg;
	struct address_list addresses = {0};
	struct audit found;
	int error = address_list_load(&addresses, e);

	if (!error)
		error = audit_run(
			&found, a->plan, a->policy, &(struct audit_retired){0}, &addresses, e);
	address_list_fini(&addresses);
	return error;
}

static void alternate(const struct edition_of editions[2], const struct aim *aims, size_t n)
{
	struct policy *policies[2];
	struct plan *plans[2];
	double start;
	unsigned changes = 0, want = getenv("EGRET_SLOW") ? 4 : FLOOD_CHANGES;

	for (size_t i = 0; i < 2; i++) {
		char *text = with_steady(editions[i].acl);

		policies[i] = policy_of(text, &editions[i].node);
		plans[i] = plan_for(policies[i], &editions[i].node);
		free(text);
	}
	run("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=1");
	assert_int_equal(table_apply(plans[1], NULL, NULL, NULL), 0);
	begin_flood(aims, n);
	start = clock_monotonic();
	for (; changes < want || clock_monotonic() - start < FLOOD_SECONDS; changes++) {
		struct audited audited = {plans[changes % 2], policies[changes % 2]};
		const struct table_between between = {audit_flows, &audited};
		const struct table_known known = {
			.plan = changes % 4 < 2 ? NULL : plans[(changes + 1) % 2]};
		struct error e = {0};

		if (table_apply(plans[changes % 2], &known, &between, &e))
			fail_msg("%s", e.text);
	}
	end_flood();
	if (tally->wrong)
		fail_msg("%u of %u datagrams came from a wrong source, first from %s to %s",
			tally->wrong, tally->sent, tally->first[0], tally->first[1]);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; aims[i].sources[j]; j++)
			if (tally->seen[i][j] == 0)
				fail_msg("%s never saw %s (%u changes, %u datagrams)", aims[i].to,
					aims[i].sources[j], changes, tally->sent);
	print_message("%u changes, %u datagrams\n", changes, tally->sent);
	munmap(tally, sizeof(*tally));
	for (size_t i = 0; i < 2; i++) {
		plan_free(plans[i]);
		policy_put(policies[i]);
	}
}

#define NODE .pods = {"10.42.0.0/16", "fd42::/56"}, .egress = {"203.0.113.9", "2001:db8:1::9"}
#define SERVICES .exclude = {"10.43.0.0/16", "fd43::/112"}
#define STEADY                                                                                     \
	{                                                                                          \
		"192.0.2.7",                                                                       \
		{                                                                                  \
			"203.0.113.11"                                                             \
		}                                                                                  \
	}
#define OUTSIDE                                                                                    \
	{                                                                                          \
		"8.8.8.8",                                                                         \
		{                                                                                  \
			"203.0.113.9"                                                              \
		}                                                                                  \
	}

static void a_partner_that_moves_never_sees_a_third_address(void **state)
{
	const struct edition_of editions[] = {{ten, {NODE, SERVICES}}, {eleven, {NODE, SERVICES}}};
	static const struct aim aims[] = {
		STEADY, OUTSIDE, {"198.51.100.7", {"203.0.113.10", "203.0.113.11"}}};

	(void)state;
	need_egress_world();
	alternate(editions, aims, COUNT_OF(aims));
}

/* Sets that the kernel takes longer to take up. */
static char *among_thousands(const char *egress)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fprintf(out, "[partner bank]\ncidr = 198.51.100.7\negress-ip = 203.0.113.%s\n", egress);
	for (unsigned i = 0; i < (getenv("EGRET_SLOW") ? 80 : 800); i++) {
		fprintf(out, "[partner p%u]\negress-ip = 203.0.113.%s\ncidr = ", i, egress);
		for (unsigned j = 0; j < 10; j++)
			fprintf(out, "%s20.%u.%u.0/24", j ? ", " : "", i / 10,
				(i % 10 * 10 + j) * 2 + (egress[1] == '1'));
		fputc('\n', out);
	}
	fclose(out);
	return text;
}

static void a_partner_among_thousands_that_move_never_sees_a_third_address(void **state)
{
	char *acl[] = {among_thousands("10"), among_thousands("11")};
	const struct edition_of editions[] = {
		{acl[0], {NODE, SERVICES}}, {acl[1], {NODE, SERVICES}}};
	static const struct aim aims[] = {
		STEADY, OUTSIDE, {"198.51.100.7", {"203.0.113.10", "203.0.113.11"}}};

	(void)state;
	need_egress_world();
	alternate(editions, aims, COUNT_OF(aims));
	free(acl[0]);
	free(acl[1]);
}

/* And become whole again. */
static void while_maps_are_divided_a_partner_never_sees_a_third_address(void **state)
{
	char *many = many_networks_acl(0), *large = NULL;
	static const struct aim four[] = {
		STEADY, OUTSIDE, {"198.51.100.7", {"203.0.113.10", "203.0.113.11"}}};
	static const struct aim six[] = {{"2001:db8:8::8", {"2001:db8:1::9"}},
		{"2001:db8:5::7", {"2001:db8:1::10", "2001:db8:1::11"}}};

	(void)state;
	assert_true(asprintf(&large, "%s%s", ten, many) > 0);
	{
		const struct edition_of editions[] = {
			{large, {NODE, SERVICES}}, {eleven, {NODE, SERVICES}}};

		need_egress_world();
		alternate(editions, four, COUNT_OF(four));
		need_egress_world();
		alternate(editions, six, COUNT_OF(six));
	}
	free(large);
	free(many);
}

static void a_partner_that_moves_does_not_move_its_neighbours_in_a_part(void **state)
{
	char *many = many_networks_acl(0), *acl[2] = {NULL};
	static const struct aim aims[] = {STEADY, OUTSIDE, {"198.51.100.8", {"203.0.113.10"}},
		{"198.51.100.9", {"203.0.113.10"}},
		{"198.51.100.7", {"203.0.113.10", "203.0.113.11"}}};

	(void)state;
	assert_true(asprintf(&acl[0], "%s%s", ten, many) > 0);
	assert_true(asprintf(&acl[1], "%s%s", eleven, many) > 0);
	{
		const struct edition_of editions[] = {
			{acl[0], {NODE, SERVICES}}, {acl[1], {NODE, SERVICES}}};

		need_egress_world();
		alternate(editions, aims, COUNT_OF(aims));
	}
	free(acl[0]);
	free(acl[1]);
	free(many);
}

static void a_partner_of_ipv6_that_moves_never_sees_a_third_address(void **state)
{
	const struct edition_of editions[] = {{ten, {NODE, SERVICES}}, {eleven, {NODE, SERVICES}}};
	static const struct aim aims[] = {{"2001:db8:8::8", {"2001:db8:1::9"}},
		{"2001:db8:5::7", {"2001:db8:1::10", "2001:db8:1::11"}}};

	(void)state;
	need_egress_world();
	alternate(editions, aims, COUNT_OF(aims));
}

static void a_partner_behind_a_new_block_never_sees_the_gateways_address(void **state)
{
	const struct edition_of editions[] = {
		{"[block one]\ncidr = 198.51.100.8\nprotocol = any\n[partner bank]\n"
		 "cidr = 198.51.100.0/24\negress-ip = 203.0.113.10\n",
			{NODE, SERVICES}},
		{"[partner bank]\ncidr = 198.51.100.0/24\negress-ip = 203.0.113.10\n",
			{NODE, SERVICES}},
	};
	static const struct aim aims[] = {STEADY, OUTSIDE, {"198.51.100.7", {"203.0.113.10"}},
		{"198.51.100.8", {"203.0.113.10"}}, {"198.51.100.9", {"203.0.113.10"}}};

	(void)state;
	need_egress_world();
	alternate(editions, aims, COUNT_OF(aims));
}

static void what_is_not_excluded_any_more_is_masqueraded_or_the_partners(void **state)
{
	static const char acl[] = "[partner far]\ncidr = 10.99.0.0/24, 198.51.100.0/24\n"
				  "egress-ip = 203.0.113.10\n";
	const struct edition_of editions[] = {
		{acl, {NODE, .exclude = {"10.43.0.0/16", "10.99.0.0/16", "fd43::/112"}}},
		{acl, {NODE, SERVICES}},
	};
	static const struct aim aims[] = {STEADY, OUTSIDE, {MARKER4, {"203.0.113.1"}},
		{"198.51.100.7", {"203.0.113.10"}}, {"10.99.0.9", {"203.0.113.1", "203.0.113.10"}}};

	(void)state;
	need_egress_world();
	alternate(editions, aims, COUNT_OF(aims));
}

static void partners_keep_their_address_while_the_fallback_changes(void **state)
{
	static const struct {
		enum plan_fallback a, b;
		struct aim outside;
	} cases[] = {
		{PLAN_GATEWAY, PLAN_DENY, {"8.8.8.8", {"203.0.113.9"}}},
		{PLAN_GATEWAY, PLAN_LOCAL, {"8.8.8.8", {"203.0.113.9", "203.0.113.1"}}},
		{PLAN_LOCAL, PLAN_DENY, {"8.8.8.8", {"203.0.113.1"}}},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct edition_of editions[] = {
			{ten, {NODE, SERVICES, .fallback = cases[i].a}},
			{ten, {NODE, SERVICES, .fallback = cases[i].b}},
		};
		const struct aim aims[] = {
			STEADY, cases[i].outside, {"198.51.100.7", {"203.0.113.10"}}};

		need_egress_world();
		alternate(editions, aims, COUNT_OF(aims));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_changes_is_held_from_guard_to_release_and_nothing_else),
		cmocka_unit_test(pairs_are_allowed_before_the_switch_and_taken_away_at_the_end),
		cmocka_unit_test(a_flow_of_the_plan_before_goes_on_until_the_end),
		cmocka_unit_test(what_an_update_left_held_is_let_go_by_the_next),
		cmocka_unit_test_teardown(
			a_partner_that_moves_never_sees_a_third_address, stop_flood),
		cmocka_unit_test_teardown(
			a_partner_among_thousands_that_move_never_sees_a_third_address, stop_flood),
		cmocka_unit_test_teardown(
			while_maps_are_divided_a_partner_never_sees_a_third_address, stop_flood),
		cmocka_unit_test_teardown(
			a_partner_that_moves_does_not_move_its_neighbours_in_a_part, stop_flood),
		cmocka_unit_test_teardown(
			a_partner_of_ipv6_that_moves_never_sees_a_third_address, stop_flood),
		cmocka_unit_test_teardown(
			a_partner_behind_a_new_block_never_sees_the_gateways_address, stop_flood),
		cmocka_unit_test_teardown(
			what_is_not_excluded_any_more_is_masqueraded_or_the_partners, stop_flood),
		cmocka_unit_test_teardown(
			partners_keep_their_address_while_the_fallback_changes, stop_flood),
	};

	return cmocka_run_group_tests(tests, make_egress_world, leave_flow_world);
}
