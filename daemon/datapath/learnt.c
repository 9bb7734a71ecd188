/*
 * learnt.c - a hash table of names, each with a short array of addresses.
 *
 * The names are those of the operator's files, so the hash needs no key.
 */
#include "daemon/datapath/learnt.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FEWEST_BUCKETS 64
#define RECOVERED "" /* the host of addresses whose name is not known any more */

/* `until` counts once the address is not current: its TTL's end, or the end of its hold. */
struct entry {
	struct addr addr;
	double until; /* seconds */
	bool current; /* the newest answer has it */
};

struct known {
	struct known *chain; /* same bucket */
	uint32_t hash;
	bool wanted; /* scratch of learnt_keep() */
	bool seen;   /* scratch of each_of_section() */
	struct entry *at;
	size_t n;
	const char *host; /* within `section` */
	char section[];   /* and, after its NUL, the host */
};

struct learnt {
	struct known **buckets;
	size_t n_buckets; /* a power of two */
	size_t n_names, n_addrs;
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

/* Upper and lower case do not tell two sections apart. */
static uint32_t hash_of(const char *section, const char *host)
{
	uint32_t hash = 2166136261;

	for (; *section; section++)
		hash = (hash ^ (unsigned)tolower((unsigned char)*section)) * 16777619; /* FNV-1a */
	hash = (hash ^ '\n') * 16777619;
	for (; *host; host++)
		hash = (hash ^ (unsigned char)*host) * 16777619;
	return hash ^ hash >> 15;
}

static struct known **bucket_of(const struct learnt *t, uint32_t hash)
{
	return &t->buckets[hash & (t->n_buckets - 1)];
}

static struct known *find(const struct learnt *t, const char *section, const char *host)
{
	uint32_t hash = hash_of(section, host);
	struct known *k = *bucket_of(t, hash);

	while (k && (k->hash != hash || strcasecmp(k->section, section) != 0 ||
			    strcmp(k->host, host) != 0))
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

static struct known *add(struct learnt *t, const char *section, const char *host)
{
	size_t before = strlen(section) + 1, length = before + strlen(host) + 1;
	struct known *k = calloc(1, sizeof(*k) + length);
	struct known **bucket;

	if (!k)
		return NULL;
	memcpy(k->section, section, before);
	memcpy(k->section + before, host, length - before);
	k->host = k->section + before;
	k->hash = hash_of(section, host);
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
static void take_over(struct learnt *t, const char *section, const struct addr *addr)
{
	struct known *recovered = find(t, section, RECOVERED);
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

static bool put_addrs(struct learnt *t, struct known *k, const struct learnt_answer *answer,
	double until, size_t *dropped)
{
	bool changed = false;

	renew(k, answer, until);
	for (size_t i = 0; i < answer->n; i++) {
		struct entry *entry;

		if (entry_of(k, &answer->addrs[i]))
			continue;
		take_over(t, k->section, &answer->addrs[i]);
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
	struct known *k = find(t, section, host), *recovered = find(t, section, RECOVERED);

	*dropped = 0;
	if (recovered)
		leave_out(recovered, now);
	if (!k && answer->n > 0)
		k = add(t, section, host);
	if (!k) {
		*dropped = answer->n;
		return LEARNT_SAME;
	}
	if (!answer->partial)
		leave_out(k, now);
	return put_addrs(t, k, answer, now + fmin(answer->ttl, LEARNT_TTL_MOST), dropped)
		       ? LEARNT_CHANGED
		       : LEARNT_SAME;
}

bool learnt_recover(struct learnt *t, const char *section, const struct addr *addr)
{
	struct known *k = find(t, section, RECOVERED);
	struct entry *larger;

	if (!k)
		k = add(t, section, RECOVERED);
	if (!k || t->n_addrs >= LEARNT_ADDRS)
		return false;
	if ((k->n & (k->n - 1)) == 0) { /* a power of two, or none */
		larger = reallocarray(k->at, k->n ? 2 * k->n : 1, sizeof(*larger));
		if (!larger)
			return false;
		k->at = larger;
	}
	k->at[k->n++] = (struct entry){.addr = *addr, .current = true};
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
	for (size_t i = 0; i < t->n_buckets; i++) {
		struct known **at = &t->buckets[i], *k;

		while ((k = *at)) {
			expire_addrs(k, now);
			if (k->n > 0 && (all_wanted || k->wanted)) {
				t->n_addrs += k->n;
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

static void each_of_section(const struct learnt *t, const struct policy *policy,
	const struct section *section,
	void (*each)(void *arg, const struct section *section, struct known *k), void *arg)
{
	const char *host;
	struct known *k;

	for (size_t i = 0; (host = section_host(policy, section, i)); i++)
		if ((k = find(t, section->name, host)))
			k->seen = false;
	for (size_t i = 0; (host = section_host(policy, section, i)); i++) {
		k = find(t, section->name, host);
		if (!k || k->seen)
			continue;
		k->seen = true;
		each(arg, section, k);
	}
	k = find(t, section->name, RECOVERED);
	if (k)
		each(arg, section, k);
}

/* Calls `each` with what is known of every host of `policy` that is looked up, once even when the
 * host is written twice. */
static void each_known(const struct learnt *t, const struct policy *policy,
	void (*each)(void *arg, const struct section *section, struct known *k), void *arg)
{
	for (size_t i = 0; i < policy_n_sections(policy); i++)
		if (policy_section(policy, i)->resolve)
			each_of_section(t, policy, policy_section(policy, i), each, arg);
}

static void want(void *arg, const struct section *section, struct known *k)
{
	(void)arg;
	(void)section;
	k->wanted = true;
}

bool learnt_keep(struct learnt *t, const struct policy *policy)
{
	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct known *k = t->buckets[i]; k; k = k->chain)
			k->wanted = false;
	each_known(t, policy, want, NULL);
	return sweep(t, -INFINITY, false);
}

struct walk {
	void (*each)(void *arg, const struct section *section, const struct addr *addr);
	void *arg;
};

static void each_addr(void *arg, const struct section *section, struct known *k)
{
	const struct walk *walk = arg;

	for (size_t i = 0; i < k->n; i++)
		walk->each(walk->arg, section, &k->at[i].addr);
}

void learnt_each(const struct learnt *t, const struct policy *policy,
	void (*each)(void *arg, const struct section *section, const struct addr *addr), void *arg)
{
	each_known(t, policy, each_addr, &(struct walk){each, arg});
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
