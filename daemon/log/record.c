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

const char *record_verdict(const struct record *record)
{
	const struct verdict *verdict = &record->verdict;

	if (!record->decided || verdict->action == ACTION_RESOLVE)
		return "-";
	if (verdict->action == ACTION_DENY)
		return "deny";
	return verdict->reported ? "report" : "allow";
}
