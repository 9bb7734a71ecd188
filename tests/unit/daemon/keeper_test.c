/*
 * The kernel is a stand-in here: a table that is right or not, and a pipe that tells of changes.
 */
#include "daemon/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/log/log.h"
#include "nat/table.h"

static struct {
	const struct plan *in_force; /* NULL: somebody changed it */
	int refusals;                /* so many applications fail */
	int applied;
	int pipe[2];
} kernel;

static struct ev_loop *loop;
static struct keeper *keeper;
static struct plan a = {.table = "t"}, b = {.table = "t"};

int table_apply(const struct plan *plan, struct error *e)
{
	if (kernel.refusals > 0) {
		kernel.refusals--;
		return error_set(e, -EBUSY, "refused");
	}
	kernel.applied++;
	kernel.in_force = plan;
	return 0;
}

int table_matches(const struct plan *plan, struct error *e)
{
	(void)e;
	return kernel.in_force == plan;
}

int table_remove(const char *table, struct error *e)
{
	(void)table;
	(void)e;
	return 0;
}

int table_monitor_open(struct error *e)
{
	return pipe2(kernel.pipe, O_NONBLOCK | O_CLOEXEC) == 0 ? kernel.pipe[0]
							       : error_set(e, -errno, "pipe");
}

bool table_monitor_drain(int fd, const char *table)
{
	char bytes[64];

	assert_string_equal(table, "t");
	return read(fd, bytes, sizeof(bytes)) > 0;
}

static void somebody_changes_it(void)
{
	kernel.in_force = NULL;
	assert_int_equal(write(kernel.pipe[1], "x", 1), 1);
}

static void on_late(struct ev_loop *l, ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	ev_break(l, EVBREAK_ALL);
}

static void run_for(double seconds)
{
	ev_timer late;

	ev_now_update(loop);
	ev_timer_init(&late, on_late, seconds, 0);
	ev_timer_start(loop, &late);
	ev_run(loop, 0);
	ev_timer_stop(loop, &late);
}

static void on_change(void *arg)
{
	(void)arg;
}

static int setup(void **state)
{
	struct error e;

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	loop = ev_default_loop(0);
	keeper = keeper_new(loop, on_change, NULL);
	kernel.applied = kernel.refusals = 0;
	return keeper_apply(keeper, &a, &e);
}

static int teardown(void **state)
{
	(void)state;
	keeper_free(keeper);
	close(kernel.pipe[1]);
	return 0;
}

static void a_foreign_change_is_put_right_and_counted(void **state)
{
	(void)state;
	somebody_changes_it();
	run_for(0.1);
	assert_ptr_equal(kernel.in_force, &a);
	assert_int_equal(keeper_repairs(keeper), 1);
	assert_null(keeper_trouble(keeper));
}

static void a_change_that_left_the_table_right_is_not_counted(void **state)
{
	(void)state;
	assert_int_equal(write(kernel.pipe[1], "x", 1), 1);
	run_for(0.1);
	assert_int_equal(kernel.applied, 1);
	assert_int_equal(keeper_repairs(keeper), 0);
}

static void a_burst_of_changes_does_not_put_the_repair_off(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		somebody_changes_it();
		run_for(0.005);
	}
	assert_true(keeper_repairs(keeper) >= 2);
	assert_true(keeper_repairs(keeper) <= 12);
	run_for(0.05);
	assert_ptr_equal(kernel.in_force, &a);
}

static void a_repair_that_the_kernel_refuses_is_trouble_until_it_succeeds(void **state)
{
	(void)state;
	kernel.refusals = 1;
	somebody_changes_it();
	run_for(0.1);
	assert_string_equal(keeper_trouble(keeper), "refused");
	run_for(1.2);
	assert_null(keeper_trouble(keeper));
	assert_ptr_equal(kernel.in_force, &a);
}

static void a_plan_that_the_kernel_refuses_leaves_the_old_one_kept(void **state)
{
	struct error e;

	(void)state;
	kernel.refusals = 1;
	assert_int_equal(keeper_apply(keeper, &b, &e), -EBUSY);
	somebody_changes_it();
	run_for(0.1);
	assert_ptr_equal(kernel.in_force, &a);
}

static void the_way_back_is_tried_until_it_succeeds(void **state)
{
	struct error e;

	(void)state;
	assert_int_equal(keeper_apply(keeper, &b, &e), 0);
	kernel.refusals = 1;
	keeper_revert(keeper, &a);
	assert_ptr_equal(kernel.in_force, &b);
	run_for(1.2);
	assert_ptr_equal(kernel.in_force, &a);
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST_CASE(a_foreign_change_is_put_right_and_counted),
		TEST_CASE(a_change_that_left_the_table_right_is_not_counted),
		TEST_CASE(a_burst_of_changes_does_not_put_the_repair_off),
		TEST_CASE(a_repair_that_the_kernel_refuses_is_trouble_until_it_succeeds),
		TEST_CASE(a_plan_that_the_kernel_refuses_leaves_the_old_one_kept),
		TEST_CASE(the_way_back_is_tried_until_it_succeeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
