/*
 * learnt.c - a hash table of hosts, each with a short array of addresses.
 *
 * Sections come in when a policy is given: whichever of them names a host has its addresses.  Only
 * recovered addresses stand by section, in the same table.  When the policy has no section of that
 * name any more, they fall to its heir: the first that names all hosts which they may be of.
 *
 * The names are those of the operator's files, so the hash needs no key.
 */
#include "daemon/datapath/learnt.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FEWEST_BUCKETS 64

/* What a name is of. */
enum kind { HOST, RECOVERED /* a section */ };

/* `until` counts once the address is not current: its TTL's end, or the end of its hold. */
struct entry {
	struct addr addr;
	double until; /* seconds */
	bool current; /* the newest answer has it */
};

struct known {
	struct known *chain; /* same bucket */
	uint32_t hash;
	enum kind kind;
	bool wanted; /* scratch of learnt_keep() */
	bool seen;   /* scratch of each_host() */
	struct entry *at;
	size_t n;
	/* Of what is recovered: */
	struct known *next;            /* of learnt.recovered */
	struct known *orphan;          /* scratch of find_heirs(): the next one */
	struct policy *policy;         /* the hosts that it may be of: those of this policy's */
	const struct section *section; /* section */
	const struct section *heir;    /* scratch of find_heirs(): of another policy; NULL: none */
	char name[];
};

struct learnt {
	struct known **buckets;
	size_t n_buckets; /* a power of two */
	size_t n_names, n_addrs;
	struct known *recovered;
};

struct learnt *learnt_new(void)
{
	struct learnt *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->n_buckets = FEWEST_BUCKETS;
	t->buckets = calloc(t->n_buckets, sizeof(struct known *));
	if (t->buckets)
		return t;
	free(t);
	return NULL;
}

static void known_free(struct known *k)
{
	policy_put(k->policy);
	free(k->at);
	free(k);
}

void learnt_free(struct learnt *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_buckets; i++) {
		struct known *next;

		for (struct known *k = t->buckets[i]; k; k = next) {
			next = k->chain;
			known_free(k);
		}
	}
	free(t->buckets);
	free(t);
}

/* ---- names ---- */

/* Upper and lower case do not tell two sections apart, and hosts are in lower case. */
static uint32_t hash_of(enum kind kind, const char *name)
{
	uint32_t hash = 2166136261 ^ kind;

	for (; *name; name++)
		hash = (hash ^ (unsigned)tolower((unsigned char)*name)) * 16777619; /* FNV-1a */
	return hash ^ hash >> 15;
}

static struct known **bucket_of(const struct learnt *t, uint32_t hash)
{
	return &t->buckets[hash & (t->n_buckets - 1)];
}

static struct known *find(const struct learnt *t, enum kind kind, const char *name)
{
	uint32_t hash = hash_of(kind, name);
	struct known *k = *bucket_of(t, hash);

	while (k && (k->hash != hash || k->kind != kind || strcasecmp(k->name, name) != 0))
		k = k->chain;
	return k;
}

/* Without memory the chains just become longer. */
static void grow(struct learnt *t)
{
	struct learnt larger = *t;

	larger.n_buckets = 2 * t->n_buckets;
	larger.buckets = calloc(larger.n_buckets, sizeof(struct known *));
	if (!larger.buckets)
		return;
	for (size_t i = 0; i < t->n_buckets; i++) {
		struct known *next;

		for (struct known *k = t->buckets[i]; k; k = next) {
			struct known **bucket = bucket_of(&larger, k->hash);

			next = k->chain;
			k->chain = *bucket;
			*bucket = k;
		}
	}
	free(t->buckets);
	*t = larger;
}

static struct known *add(struct learnt *t, enum kind kind, const char *name)
{
	size_t length = strlen(name) + 1;
	struct known *k = calloc(1, sizeof(*k) + length);
	struct known **bucket;

	if (!k)
		return NULL;
	memcpy(k->name, name, length);
	k->kind = kind;
	k->hash = hash_of(kind, name);
	if (t->n_names >= t->n_buckets)
		grow(t);
	bucket = bucket_of(t, k->hash);
	k->chain = *bucket;
	*bucket = k;
	t->n_names++;
	return k;
}

/* ---- addresses ---- */

static struct entry *entry_of(struct known *k, const struct addr *addr)
{
	for (size_t i = 0; i < k->n; i++)
		if (addr_equal(&k->at[i].addr, addr))
			return &k->at[i];
	return NULL;
}

static void leave_out(struct known *k, double now)
{
	for (size_t i = 0; i < k->n; i++) {
		if (!k->at[i].current)
			continue;
		k->at[i].current = false;
		k->at[i].until = fmax(k->at[i].until, now + LEARNT_HOLD);
	}
}

/* The place of the address that was left out the longest ago, or NULL: all are current. */
static struct entry *stalest(struct known *k)
{
	struct entry *found = NULL;

	for (size_t i = 0; i < k->n; i++)
		if (!k->at[i].current && (!found || k->at[i].until < found->until))
			found = &k->at[i];
	return found;
}

/* Room for one address more, perhaps another's.  NULL: there is none. */
static struct entry *make_room(struct learnt *t, struct known *k)
{
	struct entry *larger;

	if (k->n >= LEARNT_NAME_ADDRS || t->n_addrs >= LEARNT_ADDRS)
		return stalest(k);
	larger = realloc(k->at, (k->n + 1) * sizeof(*larger));
	if (!larger)
		return NULL;
	k->at = larger;
	t->n_addrs++;
	return &k->at[k->n++];
}

/* The address has a name again. */
static void take_over(struct learnt *t, struct known *recovered, const struct addr *addr)
{
	struct entry *entry = recovered ? entry_of(recovered, addr) : NULL;

	if (!entry)
		return;
	*entry = recovered->at[--recovered->n];
	t->n_addrs--;
}

/* Those that are known first, so that none of them makes room for a new one. */
static void renew(struct known *k, const struct learnt_answer *answer, double until)
{
	for (size_t i = 0; i < answer->n; i++) {
		struct entry *entry = entry_of(k, &answer->addrs[i]);

		if (!entry)
			continue;
		entry->until = fmax(entry->until, until);
		entry->current = true;
	}
}

static bool put_addrs(struct learnt *t, struct known *k, struct known *recovered,
	const struct learnt_answer *answer, double until, size_t *dropped)
{
	bool changed = false;

	renew(k, answer, until);
	for (size_t i = 0; i < answer->n; i++) {
		struct entry *entry;

		take_over(t, recovered, &answer->addrs[i]);
		if (entry_of(k, &answer->addrs[i]))
			continue;
		entry = make_room(t, k);
		if (entry)
			*entry = (struct entry){answer->addrs[i], until, true};
		else
			(*dropped)++;
		changed = changed || entry;
	}
	return changed;
}

enum learnt_put learnt_put(struct learnt *t, const char *section, const char *host,
	const struct learnt_answer *answer, double now, size_t *dropped)
{
	struct known *k = find(t, HOST, host), *recovered = find(t, RECOVERED, section);

	*dropped = 0;
	if (recovered)
		leave_out(recovered, now);
	if (!k && answer->n > 0)
		k = add(t, HOST, host);
	if (!k) {
		*dropped = answer->n;
		return LEARNT_SAME;
	}
	if (!answer->partial)
		leave_out(k, now);
	return put_addrs(t, k, recovered, answer, now + fmin(answer->ttl, LEARNT_TTL_MOST), dropped)
		       ? LEARNT_CHANGED
		       : LEARNT_SAME;
}

/* The hosts that recovered addresses may be of. */
static void set_hosts(struct known *k, struct policy *policy, const struct section *section)
{
	policy_get(policy);
	policy_put(k->policy);
	k->policy = policy;
	k->section = section;
}

static void list_recovered(struct learnt *t, struct known *k)
{
	if (k->kind != RECOVERED)
		return;
	k->next = t->recovered;
	t->recovered = k;
}

/* What is recovered of a section; perhaps nothing yet.  NULL: no memory. */
static struct known *recovered_of(
	struct learnt *t, struct policy *policy, const struct section *section)
{
	struct known *k = find(t, RECOVERED, section->name);

	if (k)
		return k;
	k = add(t, RECOVERED, section->name);
	if (!k)
		return NULL;
	set_hosts(k, policy, section);
	list_recovered(t, k);
	return k;
}

static bool append(struct known *k, const struct entry *entry)
{
	struct entry *larger;

	if ((k->n & (k->n - 1)) == 0) { /* a power of two, or none */
		larger = reallocarray(k->at, k->n ? 2 * k->n : 1, sizeof(*larger));
		if (!larger)
			return false;
		k->at = larger;
	}
	k->at[k->n++] = *entry;
	return true;
}

bool learnt_recover(struct learnt *t, struct policy *policy, const struct section *section,
	const struct addr *addr)
{
	const struct entry entry = {.addr = *addr, .current = true};
	struct known *k = recovered_of(t, policy, section);

	if (!k || t->n_addrs >= LEARNT_ADDRS || !append(k, &entry))
		return false;
	t->n_addrs++;
	return true;
}

static bool expire_addrs(struct known *k, double now)
{
	size_t kept = 0, before = k->n;

	for (size_t i = 0; i < k->n; i++)
		if (k->at[i].current || k->at[i].until > now)
			k->at[kept++] = k->at[i];
	k->n = kept;
	return kept < before;
}

/* ---- the whole table ---- */

/* Forgets names that are not wanted, and addresses that are over. */
static bool sweep(struct learnt *t, double now, bool all_wanted)
{
	size_t before = t->n_addrs;

	t->n_addrs = 0;
	t->recovered = NULL;
	for (size_t i = 0; i < t->n_buckets; i++) {
		struct known **at = &t->buckets[i], *k;

		while ((k = *at)) {
			expire_addrs(k, now);
			if (k->n > 0 && (all_wanted || k->wanted)) {
				t->n_addrs += k->n;
				list_recovered(t, k);
				at = &k->chain;
				continue;
			}
			*at = k->chain;
			known_free(k);
			t->n_names--;
		}
	}
	return t->n_addrs < before;
}

bool learnt_expire(struct learnt *t, double now)
{
	return sweep(t, now, true);
}

static bool names(const struct policy *policy, const struct section *section, const char *host)
{
	const char *other;

	for (size_t i = 0; (other = section_host(policy, section, i)); i++)
		if (strcmp(other, host) == 0)
			return true;
	return false;
}

bool learnt_covers(const struct policy *policy, const struct section *section,
	const struct policy *before, const struct section *other)
{
	const char *host;
	size_t i;

	for (i = 0; (host = section_host(before, other, i)); i++)
		if (!names(policy, section, host))
			return false;
	return i > 0;
}

static const struct section *find_heir(const struct policy *policy, const struct known *k)
{
	for (size_t i = 0; i < policy_n_sections(policy); i++) {
		const struct section *s = policy_section(policy, i);

		if (s->resolve && learnt_covers(policy, s, k->policy, k->section))
			return s;
	}
	return NULL;
}

/* To whom recovered addresses fall: the section of their name, else the first that names all of
 * their hosts.  Returns those without a section of their name. */
static struct known *find_heirs(const struct learnt *t, const struct policy *policy)
{
	struct known *orphans = NULL;

	for (struct known *k = t->recovered; k; k = k->next)
		k->heir = NULL;
	for (size_t i = 0; t->recovered && i < policy_n_sections(policy); i++) {
		const struct section *s = policy_section(policy, i);
		struct known *k = s->resolve && section_host(policy, s, 0)
					  ? find(t, RECOVERED, s->name)
					  : NULL;

		if (k)
			k->heir = s;
	}
	for (struct known *k = t->recovered; k; k = k->next) {
		if (k->heir)
			continue;
		k->heir = find_heir(policy, k);
		k->orphan = orphans;
		orphans = k;
	}
	return orphans;
}

/* `host` is NULL with what is recovered. */
typedef void each_known_fn(
	void *arg, const struct section *section, const char *host, struct known *k);

static void each_host(const struct learnt *t, const struct policy *policy,
	const struct section *section, each_known_fn *each, void *arg)
{
	const char *host;
	struct known *k;

	for (size_t i = 0; (host = section_host(policy, section, i)); i++)
		if ((k = find(t, HOST, host)))
			k->seen = false;
	for (size_t i = 0; (host = section_host(policy, section, i)); i++) {
		k = find(t, HOST, host);
		if (!k || k->seen)
			continue;
		k->seen = true;
		each(arg, section, host, k);
	}
}

/* Calls `each` with what is known of every host of `policy` that is looked up, for each section
 * that names it, and once there even when it is written twice. */
static void each_known(
	const struct learnt *t, const struct policy *policy, each_known_fn *each, void *arg)
{
	struct known *orphans = find_heirs(t, policy);

	for (size_t i = 0; i < policy_n_sections(policy); i++) {
		const struct section *s = policy_section(policy, i);
		struct known *own = s->resolve ? find(t, RECOVERED, s->name) : NULL;

		if (!s->resolve)
			continue;
		each_host(t, policy, s, each, arg);
		if (own && own->heir == s)
			each(arg, s, NULL, own);
		for (struct known *k = orphans; k; k = k->orphan)
			if (k->heir == s)
				each(arg, s, NULL, k);
	}
}

static void want(void *arg, const struct section *section, const char *host, struct known *k)
{
	(void)arg;
	(void)section;
	(void)host;
	k->wanted = true;
}

/* What is recovered stands by its heir's name from now on, and may be of its heir's hosts.  Without
 * memory it is forgotten. */
static void settle(struct learnt *t, struct policy *policy)
{
	struct known *next;

	for (struct known *k = t->recovered; k; k = next) {
		struct known *heir;

		next = k->next;
		if (!k->heir || strcasecmp(k->heir->name, k->name) == 0) {
			if (k->heir)
				set_hosts(k, policy, k->heir);
			continue;
		}
		heir = recovered_of(t, policy, k->heir);
		k->wanted = false;
		for (size_t i = 0; heir && i < k->n; i++)
			append(heir, &k->at[i]);
		if (heir)
			heir->wanted = true;
	}
}

bool learnt_keep(struct learnt *t, struct policy *policy)
{
	size_t before = t->n_addrs;

	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct known *k = t->buckets[i]; k; k = k->chain)
			k->wanted = false;
	each_known(t, policy, want, NULL);
	settle(t, policy);
	sweep(t, -INFINITY, false);
	return t->n_addrs < before;
}

struct walk {
	learnt_each_fn *each;
	void *arg;
	size_t n, left_out;
};

static void each_addr(void *arg, const struct section *section, const char *host, struct known *k)
{
	struct walk *walk = arg;

	for (size_t i = 0; i < k->n; i++) {
		if (walk->n == LEARNT_ADDRS) {
			walk->left_out += k->n - i;
			break;
		}
		walk->n++;
		walk->each(walk->arg, section, host, &k->at[i].addr);
	}
}

size_t learnt_each(
	const struct learnt *t, const struct policy *policy, learnt_each_fn *each, void *arg)
{
	struct walk walk = {.each = each, .arg = arg};

	each_known(t, policy, each_addr, &walk);
	return walk.left_out;
}

size_t learnt_count(const struct learnt *t)
{
	return t->n_addrs;
}

static bool holds(const struct cidr_list *list, const struct addr *addr)
{
	for (size_t i = 0; i < list->n; i++)
		if (cidr_contains(&list->at[i], addr))
			return true;
	return false;
}

const char *learnt_refuses(const struct config *config, const struct addr *addr)
{
	enum addr_class class = addr_classify(addr);

	if (class != ADDR_GLOBAL)
		return addr_class_name(class);
	if (holds(&config->pod_cidr, addr))
		return "of the pod networks";
	return holds(&config->exclude_cidr, addr) ? "in exclude-cidr" : NULL;
}
