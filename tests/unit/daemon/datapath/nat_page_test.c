#include "daemon/datapath/nat_page.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/sealed.h"

static struct ev_loop *loop;
static struct nat_page *page;
static ev_timer watchdog;
static uint64_t flows;
static int made, sent, refusal;
static char last[4096];

static void fill(void *arg, struct nat_metrics *metrics)
{
	(void)arg;
	made++;
	nat_metrics_value(metrics, NAT_FLOWS, flows, NO_LABELS);
}

static int on_send(void *arg, int fd)
{
	size_t length;
	char *text;

	(void)arg;
	if (refusal)
		return refusal;
	assert_int_equal(sealed_read(fd, sizeof(last) - 1, &text, &length), 0);
	strcpy(last, text);
	free(text);
	sent++;
	ev_break(loop, EVBREAK_ALL);
	return 0;
}

static void on_watchdog(struct ev_loop *l, ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	ev_break(l, EVBREAK_ALL);
}

static int set_up(void **state)
{
	const struct nat_page_events events = {fill, on_send, NULL};

	(void)state;
	made = sent = refusal = 0;
	flows = 1;
	last[0] = '\0';
	loop = ev_loop_new(EVFLAG_AUTO);
	page = nat_page_new(loop, &events);
	ev_timer_init(&watchdog, on_watchdog, 14.0, 0.0);
	ev_timer_start(loop, &watchdog);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	nat_page_free(page);
	ev_timer_stop(loop, &watchdog);
	ev_loop_destroy(loop);
	return 0;
}

static void a_new_proxy_is_sent_the_page_at_once(void **state)
{
	(void)state;
	nat_page_begin(page);
	assert_int_equal(sent, 1);
	assert_non_null(strstr(last, "\negret_nat_flows 1\n"));
	nat_page_begin(page); /* the same page, but another proxy */
	assert_int_equal(sent, 2);
}

static void a_reader_gets_a_page_at_most_a_second_old(void **state)
{
	(void)state;
	nat_page_begin(page);
	flows = 2;
	for (int i = 0; i < 100; i++)
		nat_page_scraped(page);
	assert_int_equal(made, 1);
	ev_run(loop, 0);
	assert_int_equal(sent, 2);
	assert_non_null(strstr(last, "\negret_nat_flows 2\n"));
	flows = 3;
	ev_run(loop, 0);
	assert_int_equal(made, 3); /* it goes on, as it is still read */
	assert_int_equal(sent, 3);
}

static void a_page_that_says_the_same_is_not_sent(void **state)
{
	(void)state;
	nat_page_begin(page);
	nat_page_scraped(page);
	while (made < 3)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(sent, 1);
}

static void what_the_proxy_did_not_take_is_sent_again(void **state)
{
	(void)state;
	refusal = -EAGAIN;
	nat_page_begin(page);
	assert_int_equal(sent, 0);
	refusal = 0;
	nat_page_scraped(page);
	ev_run(loop, 0);
	assert_int_equal(sent, 1);
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_CASE(a_new_proxy_is_sent_the_page_at_once),
		TEST_CASE(a_reader_gets_a_page_at_most_a_second_old),
		TEST_CASE(a_page_that_says_the_same_is_not_sent),
		TEST_CASE(what_the_proxy_did_not_take_is_sent_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
