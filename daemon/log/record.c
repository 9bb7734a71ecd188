#include "daemon/log/record.h"

#include "base/check.h"

const char *ending_name(enum ending ending)
{
	static const char *const names[] = {
#define X(name, text) [ENDING_##name] = text,
		ENDINGS(X)
#undef X
	};

	CHECK(ending < N_ENDINGS);
	return names[ending];
}

const char *cache_result_name(enum cache_result result)
{
	static const char *const names[] = {
#define X(name, text) [CACHE_RESULT_##name] = text,
		CACHE_RESULTS(X)
#undef X
	};

	CHECK(result < N_CACHE_RESULTS);
	return names[result];
}

enum outcome record_outcome(const struct record *record)
{
	const struct verdict *verdict = &record->verdict;

	if (!record->decided || verdict->action == ACTION_RESOLVE)
		return OUTCOME_NONE;
	if (verdict->action == ACTION_DENY)
		return OUTCOME_DENY;
	return verdict->reported ? OUTCOME_REPORT : OUTCOME_ALLOW;
}

const char *outcome_name(enum outcome outcome)
{
	static const char *const names[N_OUTCOMES] = {"-", "allow", "deny", "report"};

	CHECK(outcome < N_OUTCOMES);
	return names[outcome];
}

const char *record_verdict(const struct record *record)
{
	return outcome_name(record_outcome(record));
}
