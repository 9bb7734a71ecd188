/*
 * learning.c - messages in, addresses out, and two timers: one gathers changes, one lets go of
 * what is over.
 */
#include "daemon/datapath/learning.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/log/log.h"
#include "nat/recover.h"

#define EXPIRE_EVERY 10.0 /* seconds: an address leaves up to that much late */

struct learning {
	struct ev_loop *loop;
	struct learnt *table;
	const struct edition *edition; /* NULL: none yet */
	bool (*on_change)(void *arg);
	void *arg;
	bool complete;   /* every name of this edition was asked for */
	bool complained; /* about this proxy and edition */
	bool crowded;    /* and said so: the policy asks for more addresses than NAT follows */
	ev_timer change; /* runs while a change is not told */
	ev_timer expire; /* runs while the table is not empty */
};

/* Both timers as the table wants them. */
static void changed(struct learning *l)
{
	ev_now_update(l->loop);
	if (!ev_is_active(&l->change)) {
		ev_timer_set(&l->change, LEARNING_DEBOUNCE, 0);
		ev_timer_start(l->loop, &l->change);
	}
	if (learnt_count(l->table) == 0)
		ev_timer_stop(l->loop, &l->expire);
	else if (!ev_is_active(&l->expire))
		ev_timer_again(l->loop, &l->expire);
}

static void ignore(
	void *arg, const struct section *section, const char *host, const struct addr *addr)
{
	(void)arg;
	(void)section;
	(void)host;
	(void)addr;
}

/* An address counts in each section that names its host, so there may be more than were learnt. */
static void warn_of_crowd(struct learning *l)
{
	size_t left_out = learnt_each(l->table, l->edition->policy, ignore, NULL);

	if (left_out > 0 && !l->crowded)
		log_warn("NAT follows names to %d addresses and no more: %zu of the last partners "
			 "are left out",
			LEARNT_ADDRS, left_out);
	l->crowded = left_out > 0;
}

static void on_change(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct learning *l = timer->data;

	(void)loop;
	(void)revents;
	warn_of_crowd(l);
	if (!l->on_change(l->arg))
		changed(l);
}

static void on_expire(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct learning *l = timer->data;

	(void)loop;
	(void)revents;
	if (learnt_expire(l->table, clock_monotonic()))
		changed(l);
}

struct learning *learning_new(struct ev_loop *loop, bool (*changed_cb)(void *arg), void *arg)
{
	struct learning *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->loop = loop;
	l->on_change = changed_cb;
	l->arg = arg;
	ev_timer_init(&l->change, on_change, 0, 0);
	ev_timer_init(&l->expire, on_expire, EXPIRE_EVERY, EXPIRE_EVERY);
	l->change.data = l->expire.data = l;
	l->table = learnt_new();
	if (l->table)
		return l;
	free(l);
	return NULL;
}

void learning_free(struct learning *l)
{
	if (!l)
		return;
	ev_timer_stop(l->loop, &l->change);
	ev_timer_stop(l->loop, &l->expire);
	learnt_free(l->table);
	free(l);
}

static bool has_names(const struct policy *policy)
{
	for (size_t i = 0; i < policy_n_sections(policy); i++)
		if (policy_section(policy, i)->resolve)
			return true;
	return false;
}

void learning_follow(struct learning *l, const struct edition *edition)
{
	l->complete = !has_names(edition->policy);
	l->edition = edition;
	l->complained = false;
	if (learnt_keep(l->table, edition->policy))
		changed(l);
}

void learning_begin(struct learning *l)
{
	l->complained = false;
}

/* ---- what an earlier gate had learnt ---- */

struct noted_section {
	uint32_t hash;
	const struct section *section;
};

struct recovery {
	struct learning *learning;
	struct noted_section *sections; /* with names to look up, sorted */
	size_t n;
};

static int by_hash(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool list_sections(struct recovery *r, const struct policy *policy)
{
	size_t n = policy_n_sections(policy);

	r->sections = calloc(n + 1, sizeof(*r->sections));
	if (!r->sections)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct section *s = policy_section(policy, i);

		if (s->resolve)
			r->sections[r->n++] = (struct noted_section){recover_hash(s->name), s};
	}
	qsort(r->sections, r->n, sizeof(*r->sections), by_hash);
	return true;
}

/* The operator may have edited what is allowed, meanwhile. */
static void on_note(void *arg, uint32_t section, const struct addr *addr)
{
	const struct recovery *r = arg;
	const struct noted_section *found =
		bsearch(&section, r->sections, r->n, sizeof(*r->sections), by_hash);

	if (found && !learnt_refuses(r->learning->edition->config, addr))
		learnt_recover(
			r->learning->table, r->learning->edition->policy, found->section, addr);
}

int learning_recover(struct learning *l, struct error *e)
{
	struct recovery r = {.learning = l};
	size_t n;
	int error;

	if (!has_names(l->edition->policy))
		return 0;
	if (!list_sections(&r, l->edition->policy))
		return error_set(e, -ENOMEM, "no memory for addresses of names");
	error = recover_each(l->edition->datapath->plan->table, on_note, &r, e);
	free(r.sections);
	n = learnt_count(l->table);
	if (error || n == 0)
		return error;
	log_info("NAT goes on following names to %zu addresses that an earlier egretd learnt", n);
	changed(l);
	return 0;
}

/* ---- messages ---- */

static void complain(struct learning *l, const char *host, const char *why)
{
	if (!l->complained)
		log_warn("the proxy tells of addresses that do not count for NAT: %s: %s", host,
			why);
	l->complained = true;
}

/* The host that a message of the edition in force speaks of, or NULL. */
static const char *host_of(const struct policy *policy, const struct message_learnt *told)
{
	const struct section *section;

	if (told->section >= policy_n_sections(policy))
		return NULL;
	section = policy_section(policy, told->section);
	return section->resolve ? section_host(policy, section, told->host) : NULL;
}

static void put(struct learning *l, const char *section, const char *host,
	const struct learnt_answer *answer)
{
	size_t dropped;
	enum learnt_put result =
		learnt_put(l->table, section, host, answer, clock_monotonic(), &dropped);

	if (dropped)
		complain(l, host, "there is no room for more");
	if (result == LEARNT_CHANGED) {
		log_debug("partner %s: %s has %zu addresses now; NAT follows %zu in all", section,
			host, answer->n, learnt_count(l->table));
		changed(l);
	}
}

static void take_all(struct learning *l)
{
	if (l->complete)
		return;
	l->complete = true;
	log_debug("all names for NAT were asked for: %zu addresses", learnt_count(l->table));
	changed(l);
}

static void take_answer(struct learning *l, const struct message_learnt *told)
{
	struct addr addrs[LEARNT_TOLD];
	struct learnt_answer answer = {addrs, 0, told->partial, told->ttl};
	const char *host;

	host = host_of(l->edition->policy, told);
	if (!host) {
		complain(l, "a name", "it has no nat = resolve");
		return;
	}
	for (size_t i = 0; i < told->n; i++) {
		const char *why = learnt_refuses(l->edition->config, &told->addrs[i]);

		if (why)
			complain(l, host, why);
		else
			addrs[answer.n++] = told->addrs[i];
	}
	put(l, policy_section(l->edition->policy, told->section)->name, host, &answer);
}

void learning_take(struct learning *l, const struct message *message)
{
	if (!l->edition || message->number != l->edition->number)
		return; /* it was sent before the proxy followed this one */
	if (message->type == MESSAGE_LEARNT_ALL)
		take_all(l);
	else
		take_answer(l, &message->learnt);
}

bool learning_is_complete(const struct learning *l)
{
	return l->complete;
}

const struct learnt *learning_table(const struct learning *l)
{
	return l->table;
}

static void count(
	void *counts, const struct section *section, const char *host, const struct addr *addr)
{
	(void)host;
	(void)addr;
	((uint64_t *)counts)[section->index]++;
}

void learning_metrics(const struct learning *l, struct nat_metrics *page)
{
	const struct policy *policy = l->edition->policy;
	size_t n = policy_n_sections(policy);
	uint64_t *counts = calloc(n + 1, sizeof(*counts));

	if (!counts)
		return;
	learnt_each(l->table, policy, count, counts);
	for (size_t i = 0; i < n; i++)
		if (policy_section(policy, i)->resolve)
			nat_metrics_value(page, NAT_LEARNT_ADDRESSES, counts[i],
				LABELS(policy_section(policy, i)->name));
	free(counts);
}
