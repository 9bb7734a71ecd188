/*
 * record.h - what is said of one exchange or tunnel when it is over.
 *
 * Filled by the proxy, read by the access log and the metrics; a plain value whose texts
 * live until the call returns.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acl/policy.h"
#include "base/addr.h"
#include "base/text.h"

/* How it ended. */
#define ENDINGS(X)                                                                                 \
	X(DONE, "done")     /* to its regular end */                                               \
	X(DENIED, "denied") /* by policy, guard or loop check */                                   \
	X(RATE_LIMITED, "rate-limited")                                                            \
	X(BAD_REQUEST, "bad-request")                                                              \
	X(BAD_RESPONSE, "bad-response")                                                            \
	X(DNS_FAILED, "dns-failed")                                                                \
	X(CONNECT_FAILED, "connect-failed")                                                        \
	X(CLIENT_GONE, "client-gone") /* reset, or closed before the end */                        \
	X(ORIGIN_GONE, "origin-gone")                                                              \
	X(CLIENT_TIMEOUT, "client-timeout")                                                        \
	X(ORIGIN_TIMEOUT, "origin-timeout")                                                        \
	X(IDLE_TIMEOUT, "idle-timeout")     /* a tunnel without traffic */                         \
	X(POLICY_CHANGED, "policy-changed") /* a tunnel that the new policy denies */              \
	X(DRAINED, "drained")               /* cut at drain-timeout */                             \
	X(FULL, "full")                     /* a configured limit, or no memory */                 \
	X(INTERNAL, "internal")

enum ending {
#define X(name, text) ENDING_##name,
	ENDINGS(X)
#undef X
		N_ENDINGS
};
const char *ending_name(enum ending ending);

struct record {
	double when;  /* start, Unix time in seconds */
	double total; /* seconds; the next three are negative where they did not happen */
	double dns, connect, first_byte;
	struct endpoint client;
	struct text method; /* as received; length 0: no request could be read */
	struct text target; /* as received, bounded by the header limits */
	bool tunnel;
	bool pooled; /* the origin connection was reused */
	struct verdict verdict;
	bool decided;                    /* `verdict` means something */
	int status;                      /* sent to the client; 0: none */
	uint64_t from_client, to_client; /* bytes of bodies, or through the tunnel */
	struct endpoint origin;          /* port 0: none was reached */
	struct addr egress;              /* source address bound for it */
	bool has_egress;
	enum ending ending;
	const char *detail; /* more for the person who reads it, or NULL */
};

enum outcome { OUTCOME_NONE, OUTCOME_ALLOW, OUTCOME_DENY, OUTCOME_REPORT, N_OUTCOMES };
enum outcome record_outcome(const struct record *record);

/* "allow", "deny", "report", or "-" where nothing was decided. */
const char *outcome_name(enum outcome outcome);
const char *record_verdict(const struct record *record); /* the name of its outcome */
