/*
 * inherit.c - addresses that names had and have no more, of which flows may go on.
 *
 * Names move, connections stay; but a host that the policy does not name any more is a permission
 * withdrawn, and its flows end as those of a `cidr` do that is taken out.  What tells the two apart
 * is the host.  So each address is handed on with it, from datapath to datapath, for as long as a
 * section names the host and lets leave what goes there with the same egress addresses.
 */
#include "daemon/datapath/datapath.h"

#include <stdlib.h>
#include <string.h>

struct heirloom {
	const char *host; /* NULL: one of its section's, nobody knows which */
	struct addr addr;
	const struct section *before; /* whose it was, in the policy before */
	const struct section *now;    /* whose it is; NULL: nobody's */
	const char *host_now;         /* as the policy now has it */
};

struct inheritance {
	const struct datapath *d, *before;
	struct addr *learnt; /* what is learnt now, sorted */
	struct heirloom *at;
	size_t n;
};

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct addr));
}

/* The addresses that are learnt now, sorted. */
static struct addr *learnt_addresses(const struct datapath *d)
{
	struct addr *all = calloc(d->n_learnt + 1, sizeof(*all));

	for (size_t i = 0; all && i < d->n_learnt; i++)
		all[i] = d->learnt[i].addr;
	if (all)
		qsort(all, d->n_learnt, sizeof(*all), by_bytes);
	return all;
}

static void take(struct inheritance *in, const struct plan_learnt *from, const char *host)
{
	const struct section *before = policy_section(in->before->policy, from->section);
	bool same = in->d->policy == in->before->policy;

	if (bsearch(&from->addr, in->learnt, in->d->n_learnt, sizeof(from->addr), by_bytes))
		return;
	in->at[in->n++] = (struct heirloom){
		.host = host,
		.addr = from->addr,
		.before = before,
		.now = same ? before : NULL,
		.host_now = host,
	};
}

static bool leaves_the_same(const struct section *a, const struct section *b)
{
	if (a->n_egress != b->n_egress)
		return false;
	return a->n_egress == 0 ||
	       (a->spread == b->spread &&
		       memcmp(a->egress, b->egress, a->n_egress * sizeof(*a->egress)) == 0);
}

/* The section of the same name comes first, then the first in file order. */
static void offer(struct heirloom *h, const struct section *section, const char *host)
{
	if (!leaves_the_same(h->before, section) ||
		(h->now && strcasecmp(section->name, h->before->name) != 0))
		return;
	h->now = section;
	h->host_now = host;
}

/* Unknown hosts first, by section. */
static int by_host(const void *a, const void *b)
{
	const struct heirloom *x = a, *y = b;

	if (x->host && y->host)
		return strcmp(x->host, y->host);
	if (x->host || y->host)
		return x->host ? 1 : -1;
	return (x->before->index > y->before->index) - (x->before->index < y->before->index);
}

/* The first of `host`, or where it would stand. */
static size_t first_of(const struct inheritance *in, const char *host)
{
	size_t first = 0, last = in->n;

	while (first < last) {
		size_t middle = first + (last - first) / 2;

		if (!in->at[middle].host || strcmp(in->at[middle].host, host) < 0)
			first = middle + 1;
		else
			last = middle;
	}
	return first;
}

/* Of an unknown host: whoever names all that it may be. */
static void offer_unknown(struct inheritance *in, const struct section *section)
{
	const struct section *asked = NULL;
	bool covers = false;

	for (size_t i = 0; i < in->n && !in->at[i].host; i++) {
		struct heirloom *h = &in->at[i];

		if (h->before != asked)
			covers = learnt_covers(
				in->d->policy, section, in->before->policy, h->before);
		asked = h->before;
		if (covers)
			offer(h, section, NULL);
	}
}

static void find_sections(struct inheritance *in)
{
	const struct policy *policy = in->d->policy;

	qsort(in->at, in->n, sizeof(*in->at), by_host);
	for (size_t i = 0; i < policy_n_sections(policy); i++) {
		const struct section *s = policy_section(policy, i);
		const char *host;

		if (!s->resolve)
			continue;
		offer_unknown(in, s);
		for (size_t j = 0; (host = section_host(policy, s, j)); j++)
			for (size_t k = first_of(in, host);
				k < in->n && strcmp(in->at[k].host, host) == 0; k++)
				offer(&in->at[k], s, host);
	}
}

static int by_addr(const void *a, const void *b)
{
	const struct heirloom *x = a, *y = b;
	int order = by_bytes(&x->addr, &y->addr);

	if (order || !x->now || !y->now)
		return order;
	return (x->now->index > y->now->index) - (x->now->index < y->now->index);
}

static bool hand_over(struct datapath *d, struct inheritance *in)
{
	d->retired.at = calloc(in->n + 1, sizeof(*d->retired.at));
	d->retired_hosts = calloc(in->n + 1, sizeof(*d->retired_hosts));
	if (!d->retired.at || !d->retired_hosts)
		return false;
	qsort(in->at, in->n, sizeof(*in->at), by_addr);
	for (size_t i = 0; i < in->n && d->retired.n < DATAPATH_RETIRED; i++) {
		if (!in->at[i].now)
			continue;
		d->retired_hosts[d->retired.n] = in->at[i].host_now;
		d->retired.at[d->retired.n++] =
			(struct plan_learnt){in->at[i].now->index, in->at[i].addr};
	}
	return true;
}

bool datapath_inherit(struct datapath *d, const struct datapath *before)
{
	size_t room = before->n_learnt + before->retired.n;
	struct inheritance in = {.d = d, .before = before};
	bool done = room == 0;

	if (done)
		return true;
	in.learnt = learnt_addresses(d);
	in.at = calloc(room, sizeof(*in.at));
	if (in.learnt && in.at) {
		for (size_t i = 0; i < before->n_learnt; i++)
			take(&in, &before->learnt[i], before->learnt_hosts[i]);
		for (size_t i = 0; i < before->retired.n; i++)
			take(&in, &before->retired.at[i], before->retired_hosts[i]);
		if (in.n > 0 && d->policy != before->policy)
			find_sections(&in);
		done = hand_over(d, &in);
	}
	free(in.learnt);
	free(in.at);
	return done;
}
