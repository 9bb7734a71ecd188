/*
 * explain.h - "what would happen to this request?", asked by a person.
 */
#pragma once

#include "acl/policy.h"

/* `question` is "CLIENT METHOD TARGET": an address, a method, and the target as a request line has
 * it ("http://host/path", for CONNECT "host:port").  The answer, or a line that starts with "error:
 * ", in `out`. Nothing is looked up: where addresses of a name decide, the answer says so. */
void explain(const struct policy *policy, const char *question, char *out, size_t size);
