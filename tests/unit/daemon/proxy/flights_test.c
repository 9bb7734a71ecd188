/* Who leads, who follows, and what they are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/proxy/flights.h"

#define KEY TEXT("one http://a.test/")

struct world {
	struct flights *flights;
	struct store *store;
};

struct told {
	struct store_waiter waiter;
	int times;
};

static void on_ready(struct store_waiter *waiter)
{
	((struct told *)waiter)->times++;
}

static int begin(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct store_options options = {
		.fd = memfd_create("test", 0), .size = 16 << 20, .max_object = 1 << 20};
	struct error e;

	assert_int_equal(ftruncate(options.fd, (off_t)options.size), 0);
	w->store = store_new(&options, &e);
	w->flights = flights_new();
	assert_non_null(w->store);
	assert_non_null(w->flights);
	*state = w;
	return 0;
}

static int end(void **state)
{
	struct world *w = *state;

	flights_free(w->flights);
	store_free(w->store);
	free(w);
	return 0;
}

static struct flight *join(struct world *w, enum flight_part part, double now)
{
	struct flight *flight;

	assert_int_equal(flights_join(w->flights, KEY, now, &flight), part);
	assert_true((flight == NULL) == (part == FLIGHT_ALONE));
	return flight;
}

static struct fill *new_fill(struct world *w)
{
	struct cache_meta meta = {.status = 200};

	return fill_new(
		w->store, KEY, TEXT(""), TEXT(""), TEXT("HTTP/1.1 200 OK\r\n\r\n"), &meta, 10);
}

static void the_first_leads_and_the_others_are_told_of_the_fill(void **state)
{
	struct world *w = *state;
	struct flight *leader = join(w, FLIGHT_LEAD, 0), *follower = join(w, FLIGHT_FOLLOW, 0);
	struct told told = {.waiter.on_ready = on_ready};
	struct fill *fill = new_fill(w), *seen;

	assert_int_equal(flight_look(follower, &seen), FLIGHT_WAITS);
	assert_true(flight_wait(follower, &told.waiter));
	flight_fills(leader, fill);
	assert_int_equal(told.times, 1);
	assert_int_equal(flight_look(follower, &seen), FLIGHT_FILLS);
	assert_ptr_equal(seen, fill);
	assert_false(flight_wait(follower, &told.waiter));
	fill_put(seen);
	flight_put(follower);

	follower = join(w, FLIGHT_FOLLOW, 0); /* late, and still in time */
	assert_int_equal(flight_look(follower, &seen), FLIGHT_FILLS);
	fill_put(seen);
	flight_over(leader);
	assert_int_equal(flight_look(follower, &seen), FLIGHT_OVER);
	flight_put(follower);
	flight_put(leader);
	fill_abort(fill);
	fill_put(fill);
	flight_put(join(w, FLIGHT_LEAD, 0)); /* and the next one leads again */
}

static void a_pass_is_told_to_all_and_remembered_for_a_while(void **state)
{
	struct world *w = *state;
	struct flight *leader = join(w, FLIGHT_LEAD, 0), *followers[3], *late;
	struct told told[3] = {0};
	struct fill *fill;

	for (int i = 0; i < 3; i++) {
		told[i].waiter.on_ready = on_ready;
		followers[i] = join(w, FLIGHT_FOLLOW, 0);
		assert_true(flight_wait(followers[i], &told[i].waiter));
	}
	flight_pass(leader, 100);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(told[i].times, 1);
		assert_int_equal(flight_look(followers[i], &fill), FLIGHT_PASS);
		flight_put(followers[i]);
	}
	flight_put(leader);
	join(w, FLIGHT_ALONE, 100 + FLIGHTS_MEMORY - 1);
	late = join(w, FLIGHT_LEAD, 100 + FLIGHTS_MEMORY + 1);
	flight_over(late);
	flight_put(late);
}

static void a_leader_that_goes_does_not_leave_others_waiting(void **state)
{
	struct world *w = *state;
	struct flight *leader = join(w, FLIGHT_LEAD, 0), *follower = join(w, FLIGHT_FOLLOW, 0);
	struct told told = {.waiter.on_ready = on_ready};
	struct fill *fill;

	assert_true(flight_wait(follower, &told.waiter));
	flight_over(leader);
	flight_put(leader);
	assert_int_equal(told.times, 1);
	assert_int_equal(flight_look(follower, &fill), FLIGHT_OVER);
	flight_put(follower);
}

static void who_was_cancelled_is_not_told(void **state)
{
	struct world *w = *state;
	struct flight *leader = join(w, FLIGHT_LEAD, 0), *follower = join(w, FLIGHT_FOLLOW, 0);
	struct told gone = {.waiter.on_ready = on_ready}, stays = {.waiter.on_ready = on_ready};

	assert_true(flight_wait(follower, &gone.waiter));
	assert_true(flight_wait(follower, &stays.waiter));
	flight_cancel(follower, &gone.waiter);
	flight_cancel(follower, &gone.waiter); /* harmless */
	flight_over(leader);
	assert_int_equal(gone.times, 0);
	assert_int_equal(stays.times, 1);
	flight_put(leader);
	flight_put(follower);
}

static void no_more_passes_are_remembered_than_there_is_room_for(void **state)
{
	struct world *w = *state;
	struct flight *flight;
	char key[32];

	for (int i = 0; i <= FLIGHTS_REMEMBERED; i++) {
		struct text text = {
			key, (size_t)snprintf(key, sizeof(key), "one http://%d.test/", i)};

		assert_int_equal(flights_join(w->flights, text, 0, &flight), FLIGHT_LEAD);
		flight_pass(flight, 0);
		flight_put(flight);
	}
	assert_int_equal(
		flights_join(w->flights, TEXT("one http://1.test/"), 0, &flight), FLIGHT_ALONE);
	assert_int_equal(
		flights_join(w->flights, TEXT("one http://0.test/"), 0, &flight), FLIGHT_LEAD);
	flight_over(flight);
	flight_put(flight);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_first_leads_and_the_others_are_told_of_the_fill, begin, end),
		cmocka_unit_test_setup_teardown(
			a_pass_is_told_to_all_and_remembered_for_a_while, begin, end),
		cmocka_unit_test_setup_teardown(
			a_leader_that_goes_does_not_leave_others_waiting, begin, end),
		cmocka_unit_test_setup_teardown(who_was_cancelled_is_not_told, begin, end),
		cmocka_unit_test_setup_teardown(
			no_more_passes_are_remembered_than_there_is_room_for, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
