/*
 * explain.c - a verdict in words.
 */
#include <stdio.h>

#include "acl/policy.h"

const char *reason_name(enum reason reason)
{
	static const char *const names[] = {
		[REASON_MATCHED] = "matched",
		[REASON_NO_MATCH] = "no-match",
		[REASON_NOT_RESOLVED] = "not-resolved",
		[REASON_ADDRESS] = "address",
		[REASON_BLOCKED_ADDRESS] = "blocked-address",
		[REASON_RATE] = "rate-limited",
		[REASON_LOOP] = "loop",
		[REASON_ORIGINAL_ADDRESS] = "original-address",
	};

	CHECK((unsigned)reason < COUNT_OF(names));
	return names[reason];
}

/* "partner stripe (acl.ini:14)" */
static const char *place(const struct section *section, char *out, size_t size)
{
	if (!section)
		snprintf(out, size, "no partner");
	else
		snprintf(out, size, "%s %s (%s:%d)",
			section->kind == SECTION_PARTNER ? "partner" : "block", section->name,
			section->file, section->line);
	return out;
}

/* "10.42.3.7 to CONNECT api.stripe.com:443" */
static void asked(const struct query *query, char *out, size_t size)
{
	char client[ADDR_TEXT], host[ADDR_TEXT] = "?";
	bool bracket = false;

	if (query->host.length == 0 && query->n_addrs > 0) {
		addr_print(&query->addrs[0], host);
		bracket = !addr_is_v4(&query->addrs[0]);
	}
	snprintf(out, size, "%s to %s%s%.*s%s:%u%s", addr_print(&query->client, client),
		query->connect ? "CONNECT " : "", bracket ? "[" : "",
		query->host.length > 0 ? (int)query->host.length : (int)strlen(host),
		query->host.length > 0 ? query->host.at : host, bracket ? "]" : "", query->port,
		query->protocol == PROTOCOL_UDP ? "/udp" : "");
}

static void allowed(const struct verdict *verdict, const char *where, char *out, size_t size)
{
	char other[512];

	if (!verdict->reported)
		snprintf(out, size, "allowed by %s", where);
	else if (!verdict->reporter)
		snprintf(out, size, "allowed because %s is in report mode", where);
	else if (verdict->reporter == verdict->section)
		snprintf(out, size,
			"allowed because %s is in report mode: its ports or sources do not fit",
			where);
	else
		snprintf(out, size, "allowed by %s because %s is in report mode", where,
			place(verdict->reporter, other, sizeof(other)));
}

static void denied(const struct verdict *verdict, const char *where, char *out, size_t size)
{
	const struct section *section = verdict->section;

	switch (verdict->reason) {
	case REASON_MATCHED:
		snprintf(out, size, "denied by %s", where);
		break;
	case REASON_NO_MATCH:
		snprintf(out, size, "denied: no partner names it for this source and port");
		break;
	case REASON_NOT_RESOLVED:
		snprintf(out, size, "denied: the name has no address to decide on");
		break;
	case REASON_ADDRESS:
		snprintf(out, size,
			"denied: the address is %s, and %s does not name it by cidr",
			verdict->by_address ? "another one" : "not public", where);
		break;
	case REASON_BLOCKED_ADDRESS:
		snprintf(out, size, "denied: the address lies in %s", where);
		break;
	case REASON_RATE:
		snprintf(out, size, "denied: the rate of %s, %s, is used up", where,
			section && section->rate_text ? section->rate_text : "none");
		break;
	case REASON_LOOP:
		snprintf(out, size, "denied: it leads back to this gateway");
		break;
	case REASON_ORIGINAL_ADDRESS:
		snprintf(out, size,
			"denied: it was on its way to an address that the name does not have (%s)",
			where);
		break;
	case N_REASONS:
		break;
	}
}

void policy_explain(
	const struct query *query, const struct verdict *verdict, char *out, size_t size)
{
	char what[512], where[512], why[1200];

	asked(query, what, sizeof(what));
	place(verdict->section, where, sizeof(where));
	switch (verdict->action) {
	case ACTION_ALLOW:
		allowed(verdict, where, why, sizeof(why));
		break;
	case ACTION_DENY:
		denied(verdict, where, why, sizeof(why));
		break;
	case ACTION_RESOLVE:
		snprintf(why, sizeof(why), "depends on the addresses of the name");
		break;
	}
	snprintf(out, size, "%s: %s", what, why);
}
