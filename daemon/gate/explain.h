/*
 * explain.h - "what would happen to this flow?", asked by a person: what the proxy's policy says of
 * it, section by section, and what NAT does with it when it does not go through the proxy.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "daemon/gate/edition.h"

#define EXPLAIN_ADDRS 16
#define EXPLAIN_SECTIONS 1000 /* told one by one; of further ones only those that matter */

struct explain_ask {
	const char *source, *method, *target; /* the target as a request line has it; method NULL:
					       * CONNECT for "host:port", else GET */
	const char *protocol;                 /* of the flow by NAT: "tcp" or "udp"; NULL: tcp */
	struct addr addrs[EXPLAIN_ADDRS];     /* what the target's name resolves to */
	size_t n_addrs;
	bool resolved; /* these are all, even if there are none; else they are not known.  Nothing
			* is looked up here */
};

/* docs/egretctl.md tells the fields.  NULL with `e`: the question is none, or no memory. */
json_t *explain(
	const struct edition *edition, const struct explain_ask *ask, struct error *e) WARN_UNUSED;
