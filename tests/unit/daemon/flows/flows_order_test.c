/*
 * flows_order_test.c - when a dump begins and when it counts, with a stand-in for the kernel: an
 * event socket and a dump that give what the test says, one thing a turn of the loop.
 */
#include "daemon/flows/flows.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/log/log.h"

static struct {
	int pipe[2];                    /* always readable */
	enum conntrack_drained drained; /* of the next drain */
	uint32_t destroyed;             /* told by the next drain: this flow; 0: none */
	uint32_t dumped;                /* told by the next step of a dump */
	int step;                       /* its result */
	unsigned dumps;                 /* begun */
	bool refuses;                   /* to begin one */
	bool deaf;                      /* refuses to tell of events */
	unsigned listened, drains;
} kernel;

static struct ev_loop *loop;
static struct flows *flows;

static struct flow flow_of(uint32_t id)
{
	struct flow flow = {.id = id, .mark = 0x1000, .version = 4};

	flow.original.protocol = flow.reply.protocol = IPPROTO_UDP;
	return flow;
}

static int readable(void)
{
	return dup(kernel.pipe[0]);
}

int conntrack_events_open(int room, struct error *e)
{
	(void)room;
	kernel.listened++;
	return kernel.deaf ? error_set(e, -EPERM, "no events") : readable();
}

enum conntrack_drained conntrack_events_drain(int fd,
	void (*on_event)(void *, enum conntrack_event, const struct flow *), void *arg,
	unsigned budget)
{
	struct flow flow = flow_of(kernel.destroyed);

	(void)fd;
	(void)budget;
	kernel.drains++;
	if (kernel.destroyed)
		on_event(arg, CONNTRACK_DESTROY, &flow);
	kernel.destroyed = 0;
	return kernel.drained;
}

int conntrack_dump_open(int version, struct error *e)
{
	assert_int_equal(version, 0);
	kernel.dumps++;
	return kernel.refuses ? error_set(e, -ENOBUFS, "no dump") : readable();
}

int conntrack_dump_step(int fd, void (*each)(void *, const struct flow *), void *arg, size_t budget)
{
	struct flow flow = flow_of(kernel.dumped);

	(void)fd;
	(void)budget;
	if (kernel.dumped)
		each(arg, &flow);
	kernel.dumped = 0;
	return kernel.step;
}

static const char *name_of(void *arg, uint32_t mark, const struct flow *flow)
{
	(void)arg;
	(void)mark;
	(void)flow;
	return NULL;
}

static void turn(void)
{
	ev_run(loop, EVRUN_NOWAIT);
}

/* Turns until so many dumps have begun; the pause between two is a second. */
static void until_dumps(unsigned n)
{
	for (int i = 0; kernel.dumps < n; i++) {
		assert_true(i < 500);
		usleep(10000);
		turn();
	}
}

static int begin(const char *log)
{
	const struct flows_config config = {
		.log = log, .class_mask = 0xfffff000, .max_flows = 10, .dump_every = 0.01};
	struct error e;

	log_set_level(LOG_LEVEL_ERROR);
	kernel.drained = CONNTRACK_EMPTY;
	kernel.destroyed = 0;
	kernel.dumped = 1;
	kernel.step = 1;
	kernel.dumps = 0;
	kernel.refuses = kernel.deaf = false;
	kernel.listened = kernel.drains = 0;
	if (pipe2(kernel.pipe, O_CLOEXEC) || write(kernel.pipe[1], "x", 1) != 1)
		return -1;
	loop = ev_loop_new(0);
	flows = flows_new(loop, &config, name_of, NULL, &e);
	return flows ? 0 : -1;
}

static int setup(void **state)
{
	(void)state;
	return begin("/dev/null");
}

static int setup_without_log(void **state)
{
	(void)state;
	return begin(NULL);
}

static int teardown(void **state)
{
	(void)state;
	flows_free(flows);
	ev_loop_destroy(loop);
	close(kernel.pipe[0]);
	close(kernel.pipe[1]);
	return 0;
}

static void the_first_dump_begins_at_once(void **state)
{
	(void)state;
	assert_int_equal(kernel.dumps, 1);
	turn();
	assert_int_equal(flows_counts(flows).flows, 1);
	assert_int_equal(flows_counts(flows).dumps, 0);
	kernel.step = 0;
	turn();
	assert_int_equal(flows_counts(flows).dumps, 1);
}

/* Flow 1 is not in the second dump, but the event of its end still waits. */
static void a_dump_counts_only_when_the_events_before_its_end_are_read(void **state)
{
	(void)state;
	kernel.step = 0;
	turn();
	flows_resync(flows);
	until_dumps(2);
	kernel.drained = CONNTRACK_MORE;
	for (int i = 0; i < 5; i++)
		turn();
	assert_int_equal(flows_counts(flows).ended, 0);
	kernel.destroyed = 1;
	kernel.drained = CONNTRACK_EMPTY;
	turn();
	assert_int_equal(flows_counts(flows).dumps, 2);
	assert_int_equal(flows_counts(flows).ended, 1);
	assert_int_equal(flows_counts(flows).unseen, 0);
}

static void after_an_overflow_a_dump_waits_for_the_socket_to_be_empty(void **state)
{
	(void)state;
	kernel.step = 0;
	turn();
	kernel.drained = CONNTRACK_LOST;
	turn();
	assert_true(flows_counts(flows).overflows > 0);
	kernel.drained = CONNTRACK_MORE;
	for (int i = 0; i < 120; i++, usleep(10000)) /* longer than the pause between dumps */
		turn();
	assert_int_equal(kernel.dumps, 1);
	kernel.drained = CONNTRACK_EMPTY;
	until_dumps(2);
}

static void an_overflow_during_a_dump_asks_for_another(void **state)
{
	(void)state;
	kernel.drained = CONNTRACK_LOST;
	turn();
	kernel.drained = CONNTRACK_EMPTY;
	turn();
	assert_int_equal(kernel.dumps, 1);
	kernel.step = 0;
	until_dumps(2);
	turn();
	assert_int_equal(flows_counts(flows).dumps, 2);
}

static void a_dump_that_fails_is_tried_again(void **state)
{
	(void)state;
	kernel.step = -EINTR;
	turn();
	kernel.refuses = true;
	until_dumps(2);
	kernel.refuses = false;
	until_dumps(3);
	assert_int_equal(flows_counts(flows).dumps, 0);
	kernel.step = 0;
	turn();
	turn();
	assert_int_equal(flows_counts(flows).dumps, 1);
}

static void without_a_log_it_looks_again_and_again(void **state)
{
	(void)state;
	kernel.step = 0;
	turn();
	assert_int_equal(flows_counts(flows).flows, 1);
	assert_int_equal(flows_counts(flows).started, 1);
	until_dumps(2);
	turn();
	assert_int_equal(flows_counts(flows).flows, 0);
	assert_int_equal(flows_counts(flows).ended, 1);
	assert_int_equal(kernel.listened + kernel.drains, 0);
	until_dumps(3);
}

static void the_log_opens_and_closes_the_events(void **state)
{
	struct error e;

	(void)state;
	kernel.step = 0;
	turn();
	kernel.dumped = 1;
	assert_int_equal(flows_set_log(flows, "/dev/null", &e), 0);
	assert_int_equal(kernel.listened, 1);
	assert_int_equal(flows_set_log(flows, "/dev/zero", &e), 0);
	assert_int_equal(kernel.listened, 1);
	until_dumps(2);
	turn();
	turn();
	assert_int_equal(flows_counts(flows).flows, 1);
	kernel.destroyed = 1;
	turn();
	assert_int_equal(flows_counts(flows).ended, 1);
	assert_int_equal(flows_set_log(flows, NULL, &e), 0);
	kernel.drains = 0;
	until_dumps(3);
	turn();
	assert_int_equal(kernel.drains, 0);
}

/* Else what the dump did not name would never end. */
static void a_dump_under_way_counts_when_the_events_are_closed(void **state)
{
	struct error e;

	(void)state;
	kernel.drained = CONNTRACK_MORE;
	kernel.step = 0;
	turn();
	assert_int_equal(flows_counts(flows).dumps, 0);
	assert_int_equal(flows_set_log(flows, NULL, &e), 0);
	assert_int_equal(flows_counts(flows).dumps, 1);
}

static void a_log_that_cannot_be_opened_changes_nothing(void **state)
{
	struct error e;

	(void)state;
	assert_true(flows_set_log(flows, "/nonexistent/log", &e) < 0);
	assert_null(flows_log(flows));
	kernel.deaf = true;
	assert_int_equal(flows_set_log(flows, "/dev/null", &e), -EPERM);
	assert_null(flows_log(flows));
	turn();
	assert_int_equal(kernel.drains, 0);
}

int main(void)
{
#define SILENT(name) cmocka_unit_test_setup_teardown(name, setup_without_log, teardown)
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_first_dump_begins_at_once),
		TEST(a_dump_counts_only_when_the_events_before_its_end_are_read),
		TEST(after_an_overflow_a_dump_waits_for_the_socket_to_be_empty),
		TEST(an_overflow_during_a_dump_asks_for_another),
		TEST(a_dump_that_fails_is_tried_again),
		SILENT(without_a_log_it_looks_again_and_again),
		SILENT(the_log_opens_and_closes_the_events),
		TEST(a_dump_under_way_counts_when_the_events_are_closed),
		SILENT(a_log_that_cannot_be_opened_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
