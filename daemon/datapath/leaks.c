/*
 * leaks.c - what the guard did not let out, by partner and source.
 *
 * Two tables: pairs of source and destination as the kernel has them, with what was last seen of
 * each; and sums by partner and source.  A pair that the kernel has forgotten is forgotten at the
 * next update, so the first table is bounded by the kernel's.
 */
#include "daemon/datapath/leaks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"
#include "base/siphash.h"
#include "daemon/log/log.h"
#include "nat/counts.h"

#define NAME 65           /* of a partner, with its NUL */
#define LOGGED_AT_ONCE 20 /* more are counted only */

struct pair {
	struct hash_item item; /* first: the table holds these */
	struct addr ends[2];   /* source, destination */
	bool backstop;         /* the backstop counts it */
	uint64_t packets;
	unsigned seen; /* the update that saw it last */
};

struct sum {
	struct hash_item item; /* first */
	char partner[NAME];
	struct addr source;
	uint64_t packets;
};

struct leaks {
	struct siphash_key key;
	struct hash pairs, sums;
	uint64_t other, total;
	unsigned update;
	size_t n_firsts; /* of the update at hand */

	/* of the update at hand */
	bool backstop;
	const struct plan *plan;
	const struct policy *policy;
};

struct leaks *leaks_new(void)
{
	struct leaks *leaks = calloc(1, sizeof(*leaks));

	/* Without randomness only the protection against chosen collisions is lost. */
	if (leaks)
		(void)!getrandom(&leaks->key, sizeof(leaks->key), GRND_NONBLOCK);
	return leaks;
}

static void free_item(void *arg, struct hash_item *item)
{
	(void)arg;
	free(item);
}

void leaks_free(struct leaks *leaks)
{
	if (!leaks)
		return;
	hash_each(&leaks->pairs, free_item, NULL);
	hash_each(&leaks->sums, free_item, NULL);
	hash_fini(&leaks->pairs);
	hash_fini(&leaks->sums);
	free(leaks);
}

static struct pair *find_pair(struct leaks *leaks, const struct counts_pair *at)
{
	struct addr ends[2] = {at->source, at->destination};
	uint64_t key = siphash(&leaks->key, ends, sizeof(ends)).words[0];
	struct hash_item *item = hash_first(&leaks->pairs, key);
	struct pair *pair;

	for (; item; item = hash_next(item)) {
		pair = (struct pair *)item;
		if (memcmp(pair->ends, ends, sizeof(ends)) == 0 &&
			pair->backstop == leaks->backstop)
			return pair;
	}
	pair = calloc(1, sizeof(*pair));
	if (!pair)
		return NULL;
	memcpy(pair->ends, ends, sizeof(ends));
	pair->backstop = leaks->backstop;
	if (hash_add(&leaks->pairs, &pair->item, key))
		return pair;
	free(pair);
	return NULL;
}

/* A pod that forges sources makes many firsts. */
static void log_first(struct leaks *leaks, const struct sum *sum, const struct addr *destination)
{
	char source[ADDR_TEXT], to[ADDR_TEXT];

	if (++leaks->n_firsts > LOGGED_AT_ONCE)
		return;
	log_warn("a packet of %s to %s (%s) did not leave: it would have had another source "
		 "address than its egress address",
		addr_print(&sum->source, source), addr_print(destination, to),
		sum->partner[0] ? sum->partner : "no partner");
}

/* NULL: there are too many. */
static struct sum *find_sum(struct leaks *leaks, const char *partner, const struct addr *source,
	const struct addr *destination)
{
	char bytes[NAME + sizeof(*source)] = "";
	struct hash_item *item;
	struct sum *sum;
	uint64_t key;

	snprintf(bytes, NAME, "%s", partner);
	memcpy(bytes + NAME, source, sizeof(*source));
	key = siphash(&leaks->key, bytes, sizeof(bytes)).words[0];
	for (item = hash_first(&leaks->sums, key); item; item = hash_next(item)) {
		sum = (struct sum *)item;
		if (strcmp(sum->partner, bytes) == 0 && addr_equal(&sum->source, source))
			return sum;
	}
	sum = leaks->sums.n < LEAKS_MOST ? calloc(1, sizeof(*sum)) : NULL;
	if (!sum)
		return NULL;
	memcpy(sum->partner, bytes, NAME);
	sum->source = *source;
	if (!hash_add(&leaks->sums, &sum->item, key)) {
		free(sum);
		return NULL;
	}
	log_first(leaks, sum, destination);
	return sum;
}

static void on_pair(void *arg, const struct counts_pair *at)
{
	struct leaks *leaks = arg;
	struct pair *pair = find_pair(leaks, at);
	const struct plan_packet any = {.destination = at->destination};
	int section = plan_section(leaks->plan, leaks->policy, &any);
	struct sum *sum;
	uint64_t more;

	if (!pair)
		return;
	/* Less than before: the kernel had forgotten the pair, or the table was made anew. */
	more = at->packets >= pair->packets ? at->packets - pair->packets : at->packets;
	pair->packets = at->packets;
	pair->seen = leaks->update;
	if (more == 0)
		return;
	leaks->total += more;
	sum = find_sum(leaks,
		section < 0 ? "" : policy_section(leaks->policy, (size_t)section)->name,
		&at->source, &at->destination);
	*(sum ? &sum->packets : &leaks->other) += more;
}

static void forget(void *arg, struct hash_item *item)
{
	struct leaks *leaks = arg;

	if (((struct pair *)item)->seen == leaks->update)
		return;
	hash_remove(&leaks->pairs, item);
	free(item);
}

int leaks_update(struct leaks *leaks, const struct plan *plan, const struct plan *backstop,
	const struct policy *policy, struct error *e)
{
	int error;

	leaks->plan = plan;
	leaks->policy = policy;
	leaks->update++;
	leaks->n_firsts = 0;
	leaks->backstop = false;
	error = counts_pairs(plan->table, on_pair, leaks, e);
	leaks->backstop = true;
	if (!error)
		error = counts_pairs(backstop->table, on_pair, leaks, e);
	if (leaks->n_firsts > LOGGED_AT_ONCE)
		log_warn("and so it was with packets of %zu more partners and sources",
			leaks->n_firsts - LOGGED_AT_ONCE);
	if (!error)
		hash_each(&leaks->pairs, forget, leaks);
	return error;
}

uint64_t leaks_total(const struct leaks *leaks)
{
	return leaks->total;
}

static void put_sum(void *arg, struct hash_item *item)
{
	const struct sum *sum = (const struct sum *)item;
	char source[ADDR_TEXT];

	nat_metrics_value(arg, NAT_LEAKS_PREVENTED, sum->packets,
		LABELS(sum->partner, addr_print(&sum->source, source)));
}

void leaks_metrics(const struct leaks *leaks, struct nat_metrics *page)
{
	hash_each(&leaks->sums, put_sum, page);
	if (leaks->other)
		nat_metrics_value(
			page, NAT_LEAKS_PREVENTED, leaks->other, LABELS("other", "other"));
}
