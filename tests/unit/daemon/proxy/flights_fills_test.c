/* What becomes of the fill, and of who might have followed. */
#include "tests/unit/daemon/cache/store_world.h"

#include "daemon/proxy/flights.h"

static struct flight *join(struct flights *flights, enum flight_part part)
{
	struct flight *flight;

	assert_int_equal(flights_join(flights, TEXT("k"), 1, &flight), part);
	return flight;
}

static void a_pass_is_remembered_without_its_fill(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct flights *flights = flights_new();
	struct flight *leads = join(flights, FLIGHT_LEAD), *none;
	struct fill *fill = world_begin(store, "k", "", 1, 1000, true);

	(void)state;
	flight_fills(leads, fill);
	assert_int_equal(fill_references(fill), 2);
	flight_pass(leads, 1);
	assert_int_equal(fill_references(fill), 1);
	flight_put(leads);
	join(flights, FLIGHT_ALONE);
	assert_int_equal(flights_join(flights, TEXT("k"), 2 + FLIGHTS_MEMORY, &none), FLIGHT_LEAD);
	flight_put(none);
	fill_put(fill);
	flights_free(flights);
	store_free(store);
}

static void who_leaves_takes_the_fill_along_unless_somebody_has_it(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct flights *flights = flights_new();
	struct fill *fill = world_begin(store, "k", "", 1, 1000, true), *got;

	(void)state;
	for (int followed = 0; followed < 2; followed++) {
		struct flight *leads = join(flights, FLIGHT_LEAD);
		struct flight *follows = join(flights, FLIGHT_FOLLOW);

		flight_fills(leads, fill);
		if (followed) {
			assert_int_equal(flight_look(follows, &got), FLIGHT_FILLS);
			fill_put(got);
		}
		assert_int_equal(flight_leave(leads), !followed);
		assert_int_equal(flight_look(follows, &got), followed ? FLIGHT_FILLS : FLIGHT_OVER);
		fill_put(got);
		flight_over(leads);
		flight_put(leads);
		flight_put(follows);
	}
	fill_put(fill);
	flights_free(flights);
	store_free(store);
}

static void nobody_follows_what_is_forgotten(void **state)
{
	struct flights *flights = flights_new();
	const struct text key = TEXT("k");
	struct fill *fill;

	(void)state;
	for (int all = 0; all < 2; all++) {
		struct flight *old = join(flights, FLIGHT_LEAD), *new;

		flights_forget(flights, all ? NULL : &key);
		new = join(flights, FLIGHT_LEAD);
		flight_over(old);
		assert_int_equal(flight_look(new, &fill), FLIGHT_WAITS);
		flight_put(join(flights, FLIGHT_FOLLOW));
		flight_over(new);
		flight_put(old);
		flight_put(new);
	}
	flights_free(flights);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pass_is_remembered_without_its_fill),
		cmocka_unit_test(who_leaves_takes_the_fill_along_unless_somebody_has_it),
		cmocka_unit_test(nobody_follows_what_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
