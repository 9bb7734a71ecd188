#include "daemon/datapath/released.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct addr *find(const struct released *r, const struct addr *addr)
{
	for (size_t i = 0; i < r->n; i++)
		if (addr_equal(&r->at[i], addr))
			return &r->at[i];
	return NULL;
}

int released_add(struct released *r, const struct addr *addr)
{
	struct addr *grown;

	if (find(r, addr))
		return 0;
	grown = reallocarray(r->at, r->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	r->at = grown;
	r->at[r->n++] = *addr;
	return 0;
}

void released_remove(struct released *r, const struct addr *addr)
{
	struct addr *found = find(r, addr);

	if (found)
		*found = r->at[--r->n];
}

void released_set_all(struct released *r, bool all)
{
	r->n = 0;
	r->all = all;
}

bool released_has(const struct released *r, const struct addr *addr)
{
	return r->all || find(r, addr);
}

void released_fini(struct released *r)
{
	free(r->at);
	free(r->heard);
	memset(r, 0, sizeof(*r));
}

int released_copy(const struct released *r, struct released *copy)
{
	*copy = *r;
	copy->at = calloc(r->n + 1, sizeof(*copy->at));
	copy->heard = calloc(r->n_heard + 1, sizeof(*copy->heard));
	if (!copy->at || !copy->heard) {
		released_fini(copy);
		return -ENOMEM;
	}
	for (size_t i = 0; i < r->n; i++)
		copy->at[i] = r->at[i];
	for (size_t i = 0; i < r->n_heard; i++)
		copy->heard[i] = r->heard[i];
	return 0;
}

/* ---- the others' word ---- */

static struct heard *find_heard(const struct released *r, const struct addr *addr)
{
	for (size_t i = 0; i < r->n_heard; i++)
		if (addr_equal(&r->heard[i].addr, addr))
			return &r->heard[i];
	return NULL;
}

int released_follow(struct released *r, const struct addr *addrs, size_t n, double until)
{
	struct heard *all = calloc(n + 1, sizeof(*all));
	int fresh = 0;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct heard *before = find_heard(r, &addrs[i]);

		all[i] = before ? *before : (struct heard){.addr = addrs[i], .until = until};
		fresh += !before;
	}
	free(r->heard);
	r->heard = all;
	r->n_heard = n;
	return fresh;
}

void released_decide(struct released *r, const struct addr *addr, double until)
{
	struct heard *heard = find_heard(r, addr);

	if (!heard)
		return;
	heard->decided = true;
	heard->until = until;
}

bool released_waits(const struct released *r, const struct addr *addr)
{
	const struct heard *heard = find_heard(r, addr);

	return !heard || !heard->decided;
}

bool released_is_newcomer(const struct released *r, const struct addr *addr, double now)
{
	const struct heard *heard = find_heard(r, addr);

	return heard && heard->decided && now < heard->until;
}

bool released_next(const struct released *r, double *until)
{
	bool some = false;

	for (size_t i = 0; i < r->n_heard; i++) {
		if (r->heard[i].decided || (some && *until <= r->heard[i].until))
			continue;
		*until = r->heard[i].until;
		some = true;
	}
	return some;
}
