/*
 * learnt.h - the addresses that names of partners with `nat = resolve` have, as NAT knows them.
 *
 * Pure: the time is passed in, nothing is asked and nothing is stored on disk.  Names are known by
 * their section's name and their own, so the table outlives an edit of the policy and a restart of
 * the proxy.
 *
 * An address stays for as long as the newest answer for its name has it: when DNS fails or the
 * proxy is away, what was last known holds.  Once an answer leaves it out it stays until its TTL is
 * over, and for LEARNT_HOLD at least, as pods have it from a DNS answer, a cache or a connection of
 * their own.
 *
 * What an earlier gate had learnt is recovered from the kernel, where names are not known any more.
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

/* The newest answer for `host` of `section`.  Of a name that has too many addresses those leave
 * first that were left out the longest ago; *dropped counts addresses that found no room. */
enum learnt_put learnt_put(struct learnt *table, const char *section, const char *host,
	const struct learnt_answer *answer, double now, size_t *dropped);

/* An address that an earlier gate knew under some name of `section`: nothing is known of it but
 * that it was used.  It stays until a name of the section is answered, and for LEARNT_HOLD more;
 * an answer that has it takes it over.  Call it once for an address.  False: no room. */
bool learnt_recover(struct learnt *table, const char *section, const struct addr *addr);

/* Lets what is over go.  True: the addresses changed. */
bool learnt_expire(struct learnt *table, double now);

/* Forgets what belongs to no section of `policy` with `nat = resolve`.  True: the addresses
 * changed. */
bool learnt_keep(struct learnt *table, const struct policy *policy);

/* Every address of every section of `policy`, by section in file order; one that two hosts of a
 * section share comes twice, but there are at most learnt_count() in all.  Any policy may be asked
 * for, in force or not yet. */
void learnt_each(const struct learnt *table, const struct policy *policy,
	void (*each)(void *arg, const struct section *section, const struct addr *addr), void *arg);

size_t learnt_count(const struct learnt *table); /* addresses */

/* Why NAT does not follow a name to `addr`, "private" or "of the pod networks"; NULL: it does.
 * Whoever may write a name's DNS records must not be able to steer what stays in the cluster. */
const char *learnt_refuses(const struct config *config, const struct addr *addr);
