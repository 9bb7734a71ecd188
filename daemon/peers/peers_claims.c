/*
 * peers_claims.c - who has what: owners.h with a clock, a log, and questions to those who claim the
 * same.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/log/log.h"
#include "daemon/peers/peers_parts.h"

static const char *name_of(const struct peers *p, unsigned who)
{
	return who == OWNERS_SELF ? "this node" : p->gateways[who]->name;
}

const char *claims_print(const struct peers *p, const struct owned *owned, char *out, size_t size)
{
	size_t length = 0;

	out[0] = '\0';
	for (unsigned who = 0; who < OWNERS_CLAIMANTS && length < size; who++)
		if (owned->claimants & UINT32_C(1) << who)
			length += (size_t)snprintf(out + length, size - length, "%s%s",
				length ? " and " : "", name_of(p, who));
	return out;
}

/* Whoever is in a contest is asked now. */
static void ask_contestants(struct peers *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if ((int)i != p->self && owners_is_contested(&p->owners, i))
			gateway_hurry(p->gateways[i]);
}

void claims_take(struct peers *p, unsigned who, const struct addr *addrs, size_t n, bool returns)
{
	bool contested = false;

	if (owners_claim(&p->owners, who, addrs, n, returns, clock_monotonic()))
		peers_tell_change(p);
	for (unsigned i = 0; i < OWNERS_CLAIMANTS; i++)
		contested = contested || owners_is_contested(&p->owners, i);
	if (contested && !ev_is_active(&p->settle))
		peers_start(p->loop, &p->settle, OWNERS_GRACE);
	if (contested)
		ask_contestants(p);
}

void claims_forfeit(struct peers *p, unsigned who)
{
	if (!owners_forfeit(&p->owners, who, clock_monotonic()))
		return;
	log_warn("gateway %s is silent while another one claims what it has: that one is believed",
		name_of(p, who));
	peers_tell_change(p);
}

static void on_settle(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct peers *p = timer->data;
	char addr[ADDR_TEXT], who[GATEWAYS_MOST * GATEWAY_NAME];
	bool had[COUNT_OF(p->owners.at)], waits = false;
	double heard[OWNERS_CLAIMANTS] = {[OWNERS_SELF] = INFINITY};

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < p->owners.n; i++)
		had[i] = p->owners.at[i].conflict;
	for (size_t i = 0; i < p->n; i++)
		heard[i] = p->gateways[i]->heard;
	if (owners_settle(&p->owners, heard, clock_monotonic()))
		peers_tell_change(p);
	for (size_t i = 0; i < p->owners.n; i++) {
		const struct owned *o = &p->owners.at[i];

		if (o->conflict && !had[i])
			log_error("egress address %s is claimed by %s: %s keeps it for this node",
				addr_print(&o->addr, addr), claims_print(p, o, who, sizeof(who)),
				name_of(p, o->owner));
		waits = waits || (o->contested > 0 && !o->conflict);
	}
	if (waits)
		peers_start(p->loop, &p->settle, PEERS_HASTY);
}

void claims_init(struct peers *p)
{
	ev_timer_init(&p->settle, on_settle, 0, 0);
	p->settle.data = p;
}

void claims_fini(struct peers *p)
{
	ev_timer_stop(p->loop, &p->settle);
}
