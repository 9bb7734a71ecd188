/*
 * lock_test.c - a table that is one process's alone.
 */
#include "helpers.h"

#include <linux/netfilter/nf_tables.h>
#include <signal.h>
#include <sys/wait.h>

#include "nat/kernel.h"
#include "nat/netlink.h"
#include "nat/table.h"

static const char acl[] = "[partner bank]\ncidr = 198.51.100.0/24\negress-ip = 203.0.113.10\n";
static const char other_acl[] = "[partner bank]\ncidr = 192.0.2.0/24\negress-ip = 203.0.113.10\n";

static struct plan *plan, *other;

static int set_up(void **state)
{
	struct kernel_features features;

	(void)state;
	enter_new_namespace();
	kernel_features(&features);
	if (features.table_lock != KERNEL_HAS)
		return 0; /* need_lock() skips the test */
	plan = plan_of(acl, &dual_stack);
	other = plan_of(other_acl, &dual_stack);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	table_unlock();
	plan_free(plan);
	plan_free(other);
	plan = other = NULL;
	return 0;
}

static void need_lock(void)
{
	if (!plan)
		skip();
}

static void lock(void)
{
	struct error e = {0};

	if (table_lock(&e))
		fail_msg("%s", e.text);
}

static void apply(const struct plan *to)
{
	struct error e = {0};

	if (table_apply(to, NULL, NULL, &e))
		fail_msg("%s", e.text);
	assert_int_equal(table_matches(to, &e), 1);
}

static void nobody_else_changes_it(void **state)
{
	(void)state;
	need_lock();
	lock();
	apply(plan);
	run("! nft delete table inet egret 2>/dev/null");
	run("! nft flush table inet egret 2>/dev/null");
	run("! nft add chain inet egret stranger 2>/dev/null");
	run("nft add table inet other; nft flush ruleset");
	assert_int_equal(table_matches(plan, NULL), 1);
	run("! nft list tables | grep other");
	apply(other);
	assert_int_equal(table_apply(plan, &(struct table_known){.plan = other}, NULL, NULL), 0);
	assert_int_equal(table_matches(plan, NULL), 1);
}

static void it_outlives_the_lock_and_is_locked_again_as_it_is(void **state)
{
	static const char handles[] = "nft -a list table inet egret | sed /flags/d | sed 1d";
	char *before, *after;

	(void)state;
	need_lock();
	lock();
	apply(plan);
	before = output_of(handles);
	table_unlock();
	assert_int_equal(table_matches(plan, NULL), 1);
	apply(plan);
	lock();
	assert_int_equal(table_matches(plan, NULL), 0);
	apply(plan);
	run("! nft delete table inet egret 2>/dev/null");
	after = output_of(handles);
	assert_string_equal(after, before);
	free(before);
	free(after);
}

static void without_the_lock_everybody_may_remove_it(void **state)
{
	(void)state;
	need_lock();
	lock();
	apply(plan);
	table_unlock();
	run("nft flush ruleset");
	assert_int_equal(table_matches(plan, NULL), 0);
	lock();
	apply(plan);
	table_unlock();
	assert_int_equal(table_remove("egret", NULL), 0);
	run("test -z \"$(nft list tables)\"");
}

static void a_table_that_was_never_locked_is_made_anew(void **state)
{
	(void)state;
	need_lock();
	apply(plan);
	lock();
	apply(plan);
	run("! nft delete table inet egret 2>/dev/null");
	assert_int_equal(table_remove("egret", NULL), 0);
}

static void a_lock_of_another_process_is_told(void **state)
{
	struct error e = {0};
	int ends[2], status;
	char byte;
	pid_t child;

	(void)state;
	need_lock();
	apply(plan);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		lock();
		apply(plan);
		(void)!write(ends[1], "x", 1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(table_check_free("egret", &e), -EBUSY);
	assert_non_null(strstr(e.text, "another process has locked table inet egret"));
	assert_int_equal(table_apply(other, NULL, NULL, &e), -EPERM);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(table_check_free("egret", &e), 0);
	close(ends[0]);
	close(ends[1]);
}

/* Acknowledgements that nobody read are not those of the next transaction. */
static void a_refusal_does_not_disturb_what_comes_behind(void **state)
{
	static const struct label label = {"test", "test", NULL};
	struct mnl_socket *socket;
	struct error e = {0};
	struct batch batch;

	(void)state;
	need_lock();
	assert_int_equal(netlink_open(NETLINK_NETFILTER, &socket, &e), 0);
	for (int i = 0; i < 3; i++) {
		batch_begin(&batch, 0);
		for (int j = 0; j < 3 - i; j++) {
			struct nlmsghdr *message =
				batch_open(&batch, i == 2 ? NFT_MSG_NEWTABLE : NFT_MSG_DELTABLE,
					i == 2 ? NLM_F_CREATE : 0, &label);

			mnl_attr_put_strz(message, NFTA_TABLE_NAME, i == 2 ? "good" : "nobody");
			batch_close(&batch);
		}
		assert_int_equal(batch_commit(&batch, socket, &e), i == 2 ? 0 : -ENOENT);
		batch_fini(&batch);
	}
	mnl_socket_close(socket);
	run("nft list table inet good");
}

static void features_are_found_without_a_trace(void **state)
{
	struct kernel_features features;
	char text[KERNEL_TEXT];

	(void)state;
	need_lock();
	kernel_features(&features);
	run("test -z \"$(nft list tables)\"");
	assert_non_null(
		strstr(kernel_print(&features, true, text), "table locked: yes (kernel has"));
	assert_non_null(
		strstr(kernel_print(&features, false, text), "table locked: no ([nat] lock-"));
	features.table_lock = features.address_tag = KERNEL_LACKS;
	kernel_print(&features, true, text);
	assert_non_null(strstr(text, "table locked: no: kernel before 6.9"));
	assert_non_null(strstr(text, "addresses tagged: no: kernel before 5.18"));
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_CASE(nobody_else_changes_it),
		TEST_CASE(it_outlives_the_lock_and_is_locked_again_as_it_is),
		TEST_CASE(without_the_lock_everybody_may_remove_it),
		TEST_CASE(a_table_that_was_never_locked_is_made_anew),
		TEST_CASE(a_lock_of_another_process_is_told),
		TEST_CASE(a_refusal_does_not_disturb_what_comes_behind),
		TEST_CASE(features_are_found_without_a_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
