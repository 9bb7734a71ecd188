/*
 * learnt.h - the addresses that names of partners with `nat = resolve` have, as NAT knows them.
 *
 * Pure: the time is passed in, nothing is asked and nothing is stored on disk.  Hosts are known by
 * their own name, whichever section names them, so the table outlives a restart of the proxy and an
 * edit of the policy, which may give a host to another section, or a section another name.
 *
 * An address stays for as long as the newest answer for its name has it: when DNS fails or the
 * proxy is away, what was last known holds.  Once an answer leaves it out it stays until its TTL is
 * over, and for LEARNT_HOLD at least, as pods have it from a DNS answer, a cache or a connection of
 * their own.
 *
 * What an earlier gate had learnt is recovered from the kernel, where sections are known and hosts
 * are not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acl/policy.h"
#include "base/addr.h"
#include "base/check.h"
#include "daemon/config/config.h"

#define LEARNT_HOLD 600.0       /* seconds */
#define LEARNT_TTL_MOST 86400.0 /* seconds; a longer TTL counts as this */
#define LEARNT_TOLD 16          /* addresses of one answer, at most */
#define LEARNT_NAME_ADDRS 64    /* addresses of one name, those on hold included */
#define LEARNT_ADDRS 65536      /* in all */

struct learnt;

struct learnt *learnt_new(void);        /* NULL: no memory */
void learnt_free(struct learnt *table); /* accepts NULL */

/* What DNS said of one name. */
struct learnt_answer {
	const struct addr *addrs;
	size_t n;     /* up to LEARNT_TOLD; 0: the name has no addresses any more */
	bool partial; /* one version is not known: no address is left out by this answer */
	double ttl;   /* seconds, 0 or more */
};

enum learnt_put {
	LEARNT_SAME,    /* the same addresses as before, or no room for any other */
	LEARNT_CHANGED, /* others */
};

/* The newest answer for `host`, asked for `section`.  Of a name that has too many addresses those
 * leave first that were left out the longest ago; *dropped counts addresses that found no room. */
enum learnt_put learnt_put(struct learnt *table, const char *section, const char *host,
	const struct learnt_answer *answer, double now, size_t *dropped);

/* An address that an earlier gate knew under some name of `section` (of `policy`): nothing is known
 * of it but that it was used.  It stays until a name of the section is answered, and for
 * LEARNT_HOLD more; an answer that has it takes it over.  In a policy without a section of that
 * name it is of the first one that names all of its hosts.  Call it once for an address.  False: no
 * room. */
bool learnt_recover(struct learnt *table, struct policy *policy, const struct section *section,
	const struct addr *addr);

/* Lets what is over go.  True: the addresses changed. */
bool learnt_expire(struct learnt *table, double now);

/* Forgets what belongs to no section of `policy` with `nat = resolve`.  True: the addresses
 * changed. */
bool learnt_keep(struct learnt *table, struct policy *policy);

/* `host` is as `policy` has it; NULL: not known any more. */
typedef void learnt_each_fn(
	void *arg, const struct section *section, const char *host, const struct addr *addr);

/* Every address of every section of `policy`, by section in file order; one that two hosts of a
 * section share comes twice, those of a host that two sections name come in both.  Any policy may
 * be asked for, in force or not yet.  There are up to LEARNT_ADDRS; returns how many were left out
 * for that. */
size_t learnt_each(
	const struct learnt *table, const struct policy *policy, learnt_each_fn *each, void *arg);

/* Does `section` of `policy` name every host that `other` of the policy `before` does? */
bool learnt_covers(const struct policy *policy, const struct section *section,
	const struct policy *before, const struct section *other);

size_t learnt_count(const struct learnt *table); /* addresses */

/* Why NAT does not follow a name to `addr`, "private" or "of the pod networks"; NULL: it does.
 * Whoever may write a name's DNS records must not be able to steer what stays in the cluster. */
const char *learnt_refuses(const struct config *config, const struct addr *addr);
