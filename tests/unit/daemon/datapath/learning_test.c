/*
 * What a proxy that somebody else has taken over may claim, message by message.
 */
#include "daemon/datapath/learning.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/log/log.h"

static struct ev_loop *loop;
static struct learning *learning;
static struct edition edition;
static struct config config;
static struct cidr pods;
static int changes, busy_at; /* that call is not taken */

static struct policy *policy_of(const char *text)
{
	struct files *files = files_new(".");
	struct error e = {""};
	struct policy *policy;

	assert_int_equal(files_put(files, "acl.ini", text_of(text)), 0);
	policy = policy_new(files, "acl.ini", NULL, 0, &e);
	if (!policy)
		fail_msg("%s", e.text);
	files_free(files);
	return policy;
}

static bool on_change(void *arg)
{
	(void)arg;
	changes++;
	ev_break(loop, EVBREAK_ALL);
	return changes != busy_at;
}

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	changes = busy_at = 0;
	loop = ev_loop_new(EVFLAG_AUTO);
	learning = learning_new(loop, on_change, NULL);
	assert_true(cidr_parse(&pods, TEXT("2a00:42::/32")));
	config = (struct config){.pod_cidr = {&pods, 1}};
	edition = (struct edition){.number = 7, .config = &config};
	edition.policy = policy_of("[partner other]\nhosts = a.test\n"
				   "[partner learn]\nhosts = a.test, c.test\nnat = resolve\n"
				   "[block bad]\nhosts = a.test\n");
	learning_follow(learning, &edition);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	learning_free(learning);
	policy_put(edition.policy);
	ev_loop_destroy(loop);
	return 0;
}

static struct message message_of(const char *addr)
{
	struct message m;

	memset(&m, 0, sizeof(m));
	m.type = MESSAGE_LEARNT;
	m.number = 7;
	m.learnt.section = 1;
	m.learnt.n = 1;
	m.learnt.ttl = 60;
	assert_true(addr_parse(&m.learnt.addrs[0], text_of(addr)));
	return m;
}

static size_t count_after(struct message m)
{
	learning_take(learning, &m);
	return learnt_count(learning_table(learning));
}

static void a_public_address_of_a_name_that_is_looked_up_counts(void **state)
{
	struct message m = message_of("45.0.1.10");

	(void)state;
	assert_int_equal(count_after(m), 1);
	m.learnt.host = 1;
	assert_int_equal(count_after(m), 2);
}

static void claim_another_generation(struct message *m)
{
	m->number = 6;
}

static void claim_another_section(struct message *m)
{
	m->learnt.section = 0;
}

static void claim_a_block(struct message *m)
{
	m->learnt.section = 2;
}

static void claim_no_section(struct message *m)
{
	m->learnt.section = 3;
}

static void claim_a_section_far_away(struct message *m)
{
	m->learnt.section = UINT32_MAX;
}

static void claim_no_host(struct message *m)
{
	m->learnt.host = 2;
}

static void claim_a_host_far_away(struct message *m)
{
	m->learnt.host = UINT32_MAX;
}

static void nothing_else_counts(void **state)
{
	static void (*const claims[])(struct message *) = {claim_another_generation,
		claim_another_section, claim_a_block, claim_no_section, claim_a_section_far_away,
		claim_no_host, claim_a_host_far_away};
	static const char *const addrs[] = {"10.42.0.1", "127.0.0.1", "169.254.169.254", "::1",
		"64:ff9b::7f00:1", "2a00:42::1", "0.0.0.0", "224.0.0.1"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(claims); i++) {
		struct message m = message_of("45.0.1.10");

		claims[i](&m);
		assert_int_equal(count_after(m), 0);
	}
	for (size_t i = 0; i < COUNT_OF(addrs); i++)
		assert_int_equal(count_after(message_of(addrs[i])), 0);
}

static void a_bad_address_does_not_spoil_the_good_ones(void **state)
{
	struct message m = message_of("10.42.0.1");

	(void)state;
	m.learnt.n = 2;
	m.learnt.addrs[1] = message_of("45.0.1.10").learnt.addrs[0];
	assert_int_equal(count_after(m), 1);
}

static void many_changes_are_told_once_and_none_is_not_told(void **state)
{
	(void)state;
	count_after(message_of("45.0.1.10"));
	count_after(message_of("45.0.1.11"));
	assert_int_equal(changes, 0);
	ev_run(loop, 0);
	assert_int_equal(changes, 1);
	count_after(message_of("45.0.1.11"));
	ev_run(loop, EVRUN_NOWAIT);
	assert_int_equal(changes, 1);
	count_after(message_of("45.0.1.12"));
	ev_run(loop, 0);
	assert_int_equal(changes, 2);
}

static void a_change_that_is_not_taken_is_told_again(void **state)
{
	(void)state;
	busy_at = 1;
	count_after(message_of("45.0.1.10"));
	ev_run(loop, 0);
	assert_int_equal(changes, 1);
	ev_run(loop, 0);
	assert_int_equal(changes, 2);
	ev_run(loop, EVRUN_NOWAIT);
	assert_int_equal(changes, 2);
}

static void addresses_outlive_an_edit_that_keeps_their_host(void **state)
{
	struct edition next = {.number = 8, .config = &config};
	struct policy *before = edition.policy;
	struct message m = message_of("45.0.1.10");

	(void)state;
	count_after(m);
	m.learnt.host = 1;
	count_after(m);
	ev_run(loop, 0);
	next.policy = policy_of("[partner x]\nhosts = x.test\n[partner y]\nhosts = y.test\n"
				"[partner learn]\nhosts = c.test\nnat = resolve\n");
	learning_follow(learning, &next);
	assert_int_equal(learnt_count(learning_table(learning)), 1);
	ev_run(loop, 0);
	assert_int_equal(changes, 2);
	assert_int_equal(count_after(message_of("45.0.1.99")), 1);
	edition.policy = next.policy;
	policy_put(before);
}

static void count_one(
	void *arg, const struct section *section, const char *host, const struct addr *addr)
{
	(void)section;
	(void)addr;
	assert_string_equal(host, "a.test");
	++*(size_t *)arg;
}

static size_t known_of(const struct policy *policy)
{
	size_t n = 0;

	assert_int_equal(learnt_each(learning_table(learning), policy, count_one, &n), 0);
	return n;
}

/* Before the proxy has asked anything of the next edition, and when that does not come. */
static void addresses_go_with_their_host_to_another_section(void **state)
{
	struct edition next = {.number = 8, .config = &config};
	struct policy *before = edition.policy;

	(void)state;
	count_after(message_of("45.0.1.10"));
	next.policy = policy_of("[partner learn]\nhosts = c.test\nnat = resolve\n"
				"[partner renamed]\nhosts = a.test\nnat = resolve\n");
	assert_int_equal(known_of(next.policy), 1);
	assert_int_equal(known_of(before), 1);
	learning_follow(learning, &next);
	assert_int_equal(known_of(next.policy), 1);
	assert_int_equal(learnt_count(learning_table(learning)), 1);
	edition.policy = next.policy;
	policy_put(before);
}

static void is_complete_when_all_names_were_asked_for(void **state)
{
	struct message all = {.type = MESSAGE_LEARNT_ALL, .number = 6};
	struct edition none = {.number = 8, .config = &config};

	(void)state;
	assert_false(learning_is_complete(learning));
	learning_take(learning, &all);
	assert_false(learning_is_complete(learning));
	all.number = 7;
	learning_take(learning, &all);
	assert_true(learning_is_complete(learning));
	ev_run(loop, 0);
	assert_int_equal(changes, 1);
	learning_begin(learning);
	assert_true(learning_is_complete(learning));
	learning_follow(learning, &edition);
	assert_false(learning_is_complete(learning));
	none.policy = policy_of("[partner other]\nhosts = a.test\n");
	learning_follow(learning, &none);
	assert_true(learning_is_complete(learning));
	learning_follow(learning, &edition);
	policy_put(none.policy);
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_CASE(a_public_address_of_a_name_that_is_looked_up_counts),
		TEST_CASE(nothing_else_counts),
		TEST_CASE(a_bad_address_does_not_spoil_the_good_ones),
		TEST_CASE(many_changes_are_told_once_and_none_is_not_told),
		TEST_CASE(is_complete_when_all_names_were_asked_for),
		TEST_CASE(a_change_that_is_not_taken_is_told_again),
		TEST_CASE(addresses_outlive_an_edit_that_keeps_their_host),
		TEST_CASE(addresses_go_with_their_host_to_another_section),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
