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
	X(KILLED, "killed")                 /* cut by command */                                   \
	X(FULL, "full")                     /* a configured limit, or no memory */                 \
	X(INTERNAL, "internal")

enum ending {
#define X(name, text) ENDING_##name,
	ENDINGS(X)
#undef X
		N_ENDINGS
};
const char *ending_name(enum ending ending);

/* What part the cache had. */
#define CACHE_RESULTS(X)                                                                           \
	X(NONE, "none")           /* its partner is not cached */                                  \
	X(HIT, "hit")             /* from what was stored */                                       \
	X(STALE, "stale")         /* the same, though it is not fresh any more */                  \
	X(VALIDATED, "validated") /* the same, after the origin said that it is still good */      \
	X(SHARED, "shared")       /* from another request's response, while that came */           \
	X(STORED, "stored")       /* from the origin, and stored */                                \
	X(PASSED, "passed")       /* from the origin, not stored */

enum cache_result {
#define X(name, text) CACHE_RESULT_##name,
	CACHE_RESULTS(X)
#undef X
		N_CACHE_RESULTS
};
const char *cache_result_name(enum cache_result result);

struct record {
	double when;  /* start, Unix time in seconds */
	double total; /* seconds; the next three are negative where they did not happen */
	double dns, connect, first_byte;
	struct endpoint client;
	struct text method; /* as received, "TLS" without a request; length 0: none could be read */
	struct text
		target; /* as received, with the host when captured; bounded by the header limits */
	bool tunnel;
	bool pooled;   /* the origin connection was reused */
	bool captured; /* it was made to the origin, and redirected */
	struct verdict verdict;
	bool decided; /* `verdict` means something */
	int status;   /* sent to the client, or of captured TLS what CONNECT would get; 0: none */
	uint64_t from_client, to_client; /* bytes of bodies, or through the tunnel */
	struct endpoint origin;          /* port 0: none was reached */
	struct addr egress;              /* source address bound for it */
	bool has_egress;
	enum cache_result cache;
	enum ending ending;
	const char *detail; /* more for the person who reads it, or NULL */
};

enum outcome { OUTCOME_NONE, OUTCOME_ALLOW, OUTCOME_DENY, OUTCOME_REPORT, N_OUTCOMES };
enum outcome record_outcome(const struct record *record);

/* "allow", "deny", "report", or "-" where nothing was decided. */
const char *outcome_name(enum outcome outcome);
const char *record_verdict(const struct record *record); /* the name of its outcome */
