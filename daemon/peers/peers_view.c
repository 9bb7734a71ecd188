/*
 * peers_view.c - what is known of the gateways, for the plan, for operators and for Prometheus.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/peers/peers_parts.h"

int peers_owner(const struct peers *p, const struct addr *addr)
{
	int owner = owners_find(&p->owners, addr);

	return owner == OWNERS_SELF ? -1 : owner;
}

int peers_via(const struct peers *p, const struct addr *addr)
{
	int owner = peers_owner(p, addr);
	const struct path *path =
		owner < 0 ? NULL : gateway_path(p->gateways[owner], addr_is_v4(addr));

	return path && path->is.up ? owner : -1;
}

bool peers_precede(const struct peers *p, const struct addr *addr)
{
	uint32_t before = p->self > 0 ? (UINT32_C(1) << p->self) - 1 : 0;

	for (size_t i = 0; i < p->owners.n; i++) {
		const struct owned *o = &p->owners.at[i];

		if (addr_equal(&o->addr, addr))
			return o->conflict && (o->claimants & before) &&
			       (o->claimants & UINT32_C(1) << OWNERS_SELF);
	}
	return false;
}

bool peers_up(const struct peers *p, size_t gateway)
{
	return gateway < p->n && ((int)gateway == p->self || gateway_is_up(p->gateways[gateway]));
}

size_t peers_count(const struct peers *p)
{
	return p->n;
}

struct peers_view peers_view(const struct peers *p, size_t i)
{
	const struct gateway *g = p->gateways[i];
	bool self = (int)i == p->self;
	const struct peer_message *said = self ? &p->say : &g->said;
	struct peers_view view = {.name = g->name,
		.self = self,
		.up = peers_up(p, i),
		.n_paths = g->n_paths,
		.owned = said->owned,
		.n_owned = peers_up(p, i) ? said->n_owned : 0};

	for (size_t j = 0; j < g->n_paths; j++) {
		view.paths[j] = g->paths[j].is;
		view.paths[j].up = self || g->paths[j].is.up;
	}
	memcpy(view.digest, said->digest, sizeof(view.digest));
	return view;
}

/* An address that is on a gateway which answers, but not over the address's version. */
static const char *unreached(struct peers *p)
{
	for (size_t i = 0; i < p->owners.n; i++) {
		const struct addr *addr = &p->owners.at[i].addr;
		int owner = peers_owner(p, addr);
		const struct gateway *g = owner < 0 ? NULL : p->gateways[owner];
		const struct path *path = g ? gateway_path(g, addr_is_v4(addr)) : NULL;
		char text[ADDR_TEXT];

		if (!path || path->is.up || path->is.since == 0)
			continue;
		snprintf(p->trouble, sizeof(p->trouble),
			"egress address %s is on gateway %s, which does not answer over IPv%d",
			addr_print(addr, text), g->name, addr_is_v4(addr) ? 4 : 6);
		return p->trouble;
	}
	return NULL;
}

const char *peers_trouble(struct peers *p)
{
	char addr[ADDR_TEXT], who[64];

	if (p->n > 0 && p->n_beyond > 0) {
		snprintf(p->trouble, sizeof(p->trouble),
			"%zu egress addresses are on this node, other nodes can be told of %d",
			p->n_beyond + PEER_OWNED_MOST, PEER_OWNED_MOST);
		return p->trouble;
	}
	for (size_t i = 0; i < p->owners.n; i++)
		if (p->owners.at[i].conflict) {
			snprintf(p->trouble, sizeof(p->trouble),
				"egress address %s is claimed by %s",
				addr_print(&p->owners.at[i].addr, addr),
				claims_print(p, &p->owners.at[i], who, sizeof(who)));
			return p->trouble;
		}
	return unreached(p);
}

static void put_path(const struct peers_view *view, const struct peers_path *path,
	struct nat_metrics *page, enum nat_family family)
{
	const char *version = addr_is_v4(&path->at.addr) ? "4" : "6";
	const char *const *labels = LABELS(view->name, version);

	if (family == NAT_GATEWAY_UP)
		nat_metrics_value(page, family, path->up, labels);
	else if (family == NAT_GATEWAY_RTT && !view->self)
		nat_metrics_seconds(page, family, path->up ? path->rtt : 0, labels);
	else if (family == NAT_GATEWAY_CHANGE && !view->self)
		nat_metrics_seconds(page, family, path->since, labels);
}

static void put_each(const struct peers *p, struct nat_metrics *page, enum nat_family family)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct peers_view view = peers_view(p, i);

		if (family == NAT_GATEWAY_OWNED)
			nat_metrics_value(page, family, view.n_owned, LABELS(view.name));
		else
			for (size_t j = 0; j < view.n_paths; j++)
				put_path(&view, &view.paths[j], page, family);
	}
}

void peers_metrics(const struct peers *p, struct nat_metrics *page)
{
	for (int family = NAT_GATEWAY_UP; family <= NAT_GATEWAY_CHANGE; family++)
		put_each(p, page, (enum nat_family)family);
	if (p->n > 0)
		nat_metrics_value(
			page, NAT_GATEWAY_CONFLICTS, owners_conflicts(&p->owners), NO_LABELS);
}
