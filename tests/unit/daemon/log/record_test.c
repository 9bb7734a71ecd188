#include "daemon/log/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void every_ending_has_a_name_of_its_own(void **state)
{
	(void)state;
	assert_string_equal(ending_name(ENDING_DONE), "done");
	assert_string_equal(ending_name(ENDING_INTERNAL), "internal");
	for (int i = 0; i < N_ENDINGS; i++)
		for (int k = 0; k < i; k++)
			assert_string_not_equal(
				ending_name((enum ending)i), ending_name((enum ending)k));
}

static void a_verdict_is_told_in_one_word(void **state)
{
	static const struct {
		struct record record;
		enum outcome outcome;
		const char *word;
	} cases[] = {
		{{.decided = false, .verdict = {.action = ACTION_ALLOW}}, OUTCOME_NONE, "-"},
		{{.decided = true, .verdict = {.action = ACTION_RESOLVE}}, OUTCOME_NONE, "-"},
		{{.decided = true, .verdict = {.action = ACTION_ALLOW}}, OUTCOME_ALLOW, "allow"},
		{{.decided = true, .verdict = {.action = ACTION_DENY}}, OUTCOME_DENY, "deny"},
		{{.decided = true, .verdict = {.action = ACTION_ALLOW, .reported = true}},
			OUTCOME_REPORT, "report"},
		{{.decided = true, .verdict = {.action = ACTION_DENY, .reported = true}},
			OUTCOME_DENY, "deny"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		assert_int_equal(record_outcome(&cases[i].record), cases[i].outcome);
		assert_string_equal(record_verdict(&cases[i].record), cases[i].word);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_ending_has_a_name_of_its_own),
		cmocka_unit_test(a_verdict_is_told_in_one_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
