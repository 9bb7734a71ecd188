/*
 * generation.h - one edit of the files, as the proxy follows it: configuration, policy and
 * egress addresses that belong together.  Immutable; threads share it by reference.
 */
#pragma once

#include <stdatomic.h>

#include "acl/policy.h"
#include "daemon/channel.h"
#include "daemon/config.h"
#include "daemon/net/names.h"

struct generation {
	atomic_uint references;
	uint64_t number;
	char digest[FILES_DIGEST_TEXT];
	struct names hosts; /* of the [dns] hosts-file */
	struct config *config;
	struct policy *policy;
	struct addr egress[2]; /* the gateway's, in force */
	size_t n_egress;
};

/* Parses what the gate packed into `fd` (which stays the caller's).  NULL with `e` set. */
struct generation *generation_new(const struct message *message, int fd, struct error *e);
struct generation *generation_get(struct generation *generation);
void generation_put(struct generation *generation); /* accepts NULL */

/* The address that connections to `like`'s version leave from under this section, or NULL: the
 * kernel chooses.  *none: there is no egress address of that version, so none may be made. */
const struct addr *generation_egress(const struct generation *generation,
	const struct section *section, const struct addr *like, bool *none);
