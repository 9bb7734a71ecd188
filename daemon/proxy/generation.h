/*
 * generation.h - one edit of the files, as the proxy follows it: configuration, policy and
 * egress addresses that belong together.  Immutable; threads share it by reference.
 */
#pragma once

#include <stdatomic.h>

#include "acl/policy.h"
#include "daemon/channel.h"
#include "daemon/config/config.h"
#include "daemon/net/names.h"
#include "daemon/net/resolver.h"

struct generation {
	atomic_uint references;
	uint64_t number;
	char digest[FILES_DIGEST_TEXT];
	struct names hosts; /* of the [dns] hosts-file */
	struct config *config;
	struct policy *policy;
	struct addr egress[MESSAGE_EGRESS_MAX]; /* the gateway's, in force */
	size_t n_egress;
};

/* Parses what the gate packed into `fd` (which stays the caller's).  NULL with `e` set. */
struct generation *generation_new(const struct message *message, int fd, struct error *e);
struct generation *generation_get(struct generation *generation);
void generation_put(struct generation *generation); /* accepts NULL */

/* The egress addresses under this section (NULL: none decided), its own or the gateway's: how many,
 * and *at them.  0: the kernel chooses, unless NAT is on. */
size_t generation_egresses(
	const struct generation *generation, const struct section *section, const struct addr **at);
enum spread generation_spread(const struct generation *generation, const struct section *section);

/* The address that a connection to `like`'s version leaves from under this section, or NULL: the
 * kernel chooses.  *none: there is no egress address of that version, so none may be made.
 * Among several `client` or `random` decides: egress_choose(). */
const struct addr *generation_egress(const struct generation *generation,
	const struct section *section, const struct addr *like, const struct addr *client,
	uint32_t random, bool *none);

/* A resolver as [dns] says, with the names of the hosts-file: resolver_set_hosts() before this
 * generation goes.  NULL with `e` set. */
struct resolver *generation_resolver(
	struct generation *generation, struct ev_loop *loop, struct error *e);
