#include "daemon/peers/owners.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct owners owners;
static struct addr a, b;

static int setup(void **state)
{
	(void)state;
	memset(&owners, 0, sizeof(owners));
	return addr_parse(&a, TEXT("203.0.113.10")) && addr_parse(&b, TEXT("203.0.113.11")) ? 0
											    : -1;
}

static bool claim(unsigned who, const struct addr *addr, double now)
{
	return owners_claim(&owners, who, addr, addr ? 1 : 0, false, now);
}

/* Each has just been heard. */
static bool settle(double now)
{
	double heard[OWNERS_CLAIMANTS];

	for (size_t i = 0; i < OWNERS_CLAIMANTS; i++)
		heard[i] = now;
	return owners_settle(&owners, heard, now);
}

static void who_claims_an_address_has_it(void **state)
{
	const struct addr both[] = {a, b};

	(void)state;
	assert_int_equal(owners_find(&owners, &a), -1);
	assert_true(owners_claim(&owners, 1, both, 2, false, 1));
	assert_int_equal(owners_find(&owners, &a), 1);
	assert_int_equal(owners_find(&owners, &b), 1);
	assert_false(owners_claim(&owners, 1, both, 2, false, 2));
	assert_true(claim(1, &b, 3));
	assert_int_equal(owners_find(&owners, &a), -1);
	assert_int_equal(owners_find(&owners, &b), 1);
	assert_true(claim(1, NULL, 4));
	assert_int_equal(owners.n, 0);
}

static void an_address_moves_when_its_owner_lets_go(void **state)
{
	(void)state;
	claim(1, &a, 1);
	assert_true(claim(1, NULL, 2));
	assert_true(claim(0, &a, 3));
	assert_int_equal(owners_find(&owners, &a), 0);
	assert_int_equal(owners_conflicts(&owners), 0);
}

/* The new owner tells first; the former is asked at once, and tells that it has it no more. */
static void a_moment_on_two_nodes_is_no_conflict(void **state)
{
	(void)state;
	claim(0, &a, 1);
	assert_false(claim(1, &a, 2));
	assert_int_equal(owners_find(&owners, &a), 0);
	assert_true(owners_is_contested(&owners, 0) && owners_is_contested(&owners, 1));
	assert_false(owners_is_contested(&owners, 2));
	assert_false(settle(2 + OWNERS_GRACE / 2));
	assert_true(claim(0, NULL, 2.3));
	assert_int_equal(owners_find(&owners, &a), 1);
	assert_false(owners_is_contested(&owners, 1));
	assert_false(settle(100));
	assert_int_equal(owners_conflicts(&owners), 0);
}

static void two_that_go_on_claiming_are_a_conflict_which_the_former_owner_wins(void **state)
{
	(void)state;
	claim(OWNERS_SELF, &a, 1);
	claim(3, &a, 2);
	assert_false(claim(OWNERS_SELF, &a, 2.1));
	assert_true(settle(2 + OWNERS_GRACE));
	assert_int_equal(owners_conflicts(&owners), 1);
	assert_false(settle(9));
	assert_int_equal(owners_find(&owners, &a), OWNERS_SELF);
	assert_false(owners_is_contested(&owners, 3));
	assert_true(claim(3, NULL, 10));
	assert_int_equal(owners_conflicts(&owners), 0);
	assert_int_equal(owners_find(&owners, &a), OWNERS_SELF);
	claim(3, &a, 11);
	assert_true(owners_is_contested(&owners, 3)); /* another contest, from its begin */
	assert_false(settle(11.1));
}

/* It may be dead: then it is soon known to be down. */
static void who_has_not_been_heard_since_is_no_party_to_a_conflict(void **state)
{
	double heard[OWNERS_CLAIMANTS] = {1.9, 2.5};

	(void)state;
	claim(0, &a, 1);
	claim(1, &a, 2);
	assert_false(owners_settle(&owners, heard, 9));
	heard[0] = 2;
	assert_true(owners_settle(&owners, heard, 9));
}

static void who_is_silent_loses_what_another_one_claims(void **state)
{
	const struct addr both[] = {a, b};

	(void)state;
	owners_claim(&owners, 0, both, 2, false, 1);
	assert_false(owners_forfeit(&owners, 0, 1));
	claim(1, &a, 2);
	assert_true(owners_forfeit(&owners, 0, 2.3));
	assert_int_equal(owners_find(&owners, &a), 1);
	assert_int_equal(owners_find(&owners, &b), 0);
	assert_false(owners_is_contested(&owners, 1));
	owners_claim(&owners, 0, both, 2, false, 3); /* it is there after all */
	assert_int_equal(owners_find(&owners, &a), 1);
	assert_true(settle(4));
	assert_false(owners_forfeit(&owners, 0, 5)); /* a conflict is one until somebody lets go */
}

/* It may have been cut off while somebody took over, who is only busy for a moment. */
static void who_comes_back_is_not_believed_for_a_moment_s_silence(void **state)
{
	(void)state;
	claim(0, &a, 1);
	assert_false(owners_claim(&owners, 1, &a, 1, true, 2));
	assert_true(owners_is_contested(&owners, 0));
	assert_false(owners_forfeit(&owners, 0, 2.3));
	assert_int_equal(owners_find(&owners, &a), 0);
	claim(2, &a, 2.4); /* one that was there all the time */
	assert_true(owners_forfeit(&owners, 0, 2.7));
	assert_int_equal(owners_find(&owners, &a), 2);
	claim(2, NULL, 3);
	claim(1, NULL, 3);
	claim(0, &a, 4);
	claim(1, &a, 5); /* what it takes now is news */
	assert_true(owners_forfeit(&owners, 0, 5.3));
	assert_int_equal(owners_find(&owners, &a), 1);
}

static void who_was_silent_comes_back(void **state)
{
	(void)state;
	claim(0, &a, 1);
	claim(1, &a, 2);
	assert_true(owners_forfeit(&owners, 0, 2.3));
	claim(0, &a, 2.4);
	assert_false(owners_forfeit(&owners, 1, 2.7));
	assert_int_equal(owners_find(&owners, &a), 1);
	claim(0, NULL, 3);
	claim(0, &a, 4);
	assert_true(owners_forfeit(&owners, 1, 4.3));
	assert_int_equal(owners_find(&owners, &a), 0);
}

static void a_third_claimant_does_not_end_a_conflict(void **state)
{
	(void)state;
	claim(0, &a, 1);
	claim(1, &a, 2);
	assert_true(settle(3));
	assert_false(claim(2, &a, 4));
	assert_true(claim(0, NULL, 5)); /* another owner */
	assert_int_equal(owners_find(&owners, &a), 1);
	assert_int_equal(owners_conflicts(&owners), 1);
	assert_true(claim(2, NULL, 6));
	assert_int_equal(owners_conflicts(&owners), 0);
}

static void there_is_room_for_all_that_can_be_claimed(void **state)
{
	struct addr many[PEER_OWNED_MOST];

	(void)state;
	for (unsigned who = 0; who < OWNERS_CLAIMANTS; who++) {
		for (unsigned i = 0; i < PEER_OWNED_MOST; i++)
			many[i] =
				(struct addr){{0x20, [14] = (uint8_t)who, [15] = (uint8_t)(i + 1)}};
		assert_true(owners_claim(&owners, who, many, PEER_OWNED_MOST, false, 1));
		assert_int_equal(owners_find(&owners, &many[PEER_OWNED_MOST - 1]), who);
	}
	assert_int_equal(owners.n, COUNT_OF(owners.at));
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		TEST_CASE(who_claims_an_address_has_it),
		TEST_CASE(an_address_moves_when_its_owner_lets_go),
		TEST_CASE(a_moment_on_two_nodes_is_no_conflict),
		TEST_CASE(two_that_go_on_claiming_are_a_conflict_which_the_former_owner_wins),
		TEST_CASE(who_has_not_been_heard_since_is_no_party_to_a_conflict),
		TEST_CASE(who_is_silent_loses_what_another_one_claims),
		TEST_CASE(who_comes_back_is_not_believed_for_a_moment_s_silence),
		TEST_CASE(who_was_silent_comes_back),
		TEST_CASE(a_third_claimant_does_not_end_a_conflict),
		TEST_CASE(there_is_room_for_all_that_can_be_claimed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
