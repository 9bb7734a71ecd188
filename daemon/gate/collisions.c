/*
 * collisions.c - who else in the kernel uses what the datapath is to use.
 *
 * What would break a promise is an error.  A rule that writes our bits of a mark is not: it may be
 * for packets that no pod sends, and where it is not, packets are dropped and none leaks.
 */
#include "daemon/gate/collisions.h"

#include "daemon/log/log.h"
#include "nat/others.h"
#include "nat/table.h"

static void warn_of_clash(void *arg, const struct others_clash *clash)
{
	const struct plan *plan = arg;

	log_warn("table %s %s: a rule of chain %s writes bits 0x%08x of the %s mark, which are of "
		 "[nat] %s = 0x%08x: what egret decided about a pod's packet may be lost there, "
		 "and the packet dropped",
		clash->family, clash->table, clash->chain, clash->bits,
		clash->conntrack ? "conntrack" : "packet",
		clash->conntrack ? "ct-mark-mask" : "mark-mask",
		clash->conntrack ? plan->class_mask | plan->unjudged : plan->mark_mask);
}

static void warn_of_clashes(struct plan *plan)
{
	struct error e;
	int more = others_clashes(plan, warn_of_clash, plan, &e);

	if (more < 0)
		log_warn("%s", e.text);
	else if (more)
		log_warn("not all rules of other tables were held against mark-mask and "
			 "ct-mark-mask: there are too many");
}

int collisions_check(const struct datapath *d, struct error *e)
{
	int error = table_check_free(d->plan->table, e);

	if (!error)
		error = routing_check_free(&d->guard.routing, e);
	for (size_t i = 0; i < d->ways.n_routes && !error; i++)
		error = routing_check_free(&d->ways.routes[i], e);
	if (!error)
		error = others_check_chains(d->plan, e);
	if (!error)
		warn_of_clashes(d->plan);
	return error;
}
