/*
 * owners.c - which gateway an egress address belongs to, when gateways claim what they have.
 *
 * One line an address: who claims it, and who of these was first.
 */
#include "daemon/peers/owners.h"

#include <string.h>

#define BIT(who) (UINT32_C(1) << (who))

static struct owned *find(struct owners *o, const struct addr *addr)
{
	for (size_t i = 0; i < o->n; i++)
		if (addr_equal(&o->at[i].addr, addr))
			return &o->at[i];
	return NULL;
}

static bool is_among(const struct addr *addrs, size_t n, const struct addr *addr)
{
	for (size_t i = 0; i < n; i++)
		if (addr_equal(&addrs[i], addr))
			return true;
	return false;
}

/* The first of those who are left, or of those who were there all the time.  True when something is
 * different for whoever asks. */
static bool judge(struct owned *a, double now)
{
	bool over = a->conflict, moved = !(a->claimants & BIT(a->owner));
	uint32_t there = a->claimants & ~a->returned;

	if (moved && a->claimants)
		a->owner = (unsigned)__builtin_ctz(there ? there : a->claimants);
	if (__builtin_popcount(a->claimants) > 1) {
		a->contested = a->contested > 0 ? a->contested : now;
		over = false;
	} else {
		a->contested = 0;
		a->conflict = false;
	}
	return moved || over;
}

static bool withdraw(struct owners *o, unsigned who, const struct addr *addrs, size_t n, double now)
{
	bool changed = false;
	size_t kept = 0;

	for (size_t i = 0; i < o->n; i++) {
		struct owned *a = &o->at[i];

		if (!is_among(addrs, n, &a->addr)) {
			a->returned &= ~BIT(who);
			if (a->claimants & BIT(who)) {
				a->claimants &= ~BIT(who);
				changed = judge(a, now) || changed;
			}
		}
		if (a->claimants)
			o->at[kept++] = *a;
	}
	o->n = kept;
	return changed;
}

static bool claim(struct owners *o, unsigned who, const struct addr *addr, bool returns, double now)
{
	struct owned *a = find(o, addr);

	if (!a) {
		CHECK(o->n < COUNT_OF(o->at));
		o->at[o->n++] = (struct owned){.addr = *addr, .claimants = BIT(who), .owner = who};
		return true;
	}
	if (returns && !(a->claimants & BIT(who)))
		a->returned |= BIT(who);
	a->claimants |= BIT(who);
	return judge(a, now);
}

bool owners_claim(struct owners *o, unsigned who, const struct addr *addrs, size_t n, bool returns,
	double now)
{
	bool changed = withdraw(o, who, addrs, n, now);

	CHECK(who < OWNERS_CLAIMANTS && n <= PEER_OWNED_MOST);
	for (size_t i = 0; i < n; i++)
		changed = claim(o, who, &addrs[i], returns, now) || changed;
	return changed;
}

static bool all_heard(const struct owned *a, const double heard[OWNERS_CLAIMANTS])
{
	for (unsigned who = 0; who < OWNERS_CLAIMANTS; who++)
		if ((a->claimants & BIT(who)) && heard[who] < a->contested)
			return false;
	return true;
}

bool owners_settle(struct owners *o, const double heard[OWNERS_CLAIMANTS], double now)
{
	bool changed = false;

	for (size_t i = 0; i < o->n; i++) {
		struct owned *a = &o->at[i];

		if (a->contested > 0 && !a->conflict && now - a->contested >= OWNERS_GRACE &&
			all_heard(a, heard))
			a->conflict = changed = true;
	}
	return changed;
}

bool owners_forfeit(struct owners *o, unsigned who, double now)
{
	bool changed = false;

	for (size_t i = 0; i < o->n; i++) {
		struct owned *a = &o->at[i];

		if (a->contested > 0 && !a->conflict && (a->claimants & BIT(who)) &&
			(a->claimants & ~a->returned & ~BIT(who))) {
			a->claimants &= ~BIT(who);
			a->returned |= BIT(who);
			changed = true;
			judge(a, now);
		}
	}
	return changed;
}

int owners_find(const struct owners *o, const struct addr *addr)
{
	for (size_t i = 0; i < o->n; i++)
		if (addr_equal(&o->at[i].addr, addr))
			return (int)o->at[i].owner;
	return -1;
}

bool owners_is_contested(const struct owners *o, unsigned who)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->at[i].contested > 0 && !o->at[i].conflict && (o->at[i].claimants & BIT(who)))
			return true;
	return false;
}

size_t owners_conflicts(const struct owners *o)
{
	size_t n = 0;

	for (size_t i = 0; i < o->n; i++)
		n += o->at[i].conflict;
	return n;
}
