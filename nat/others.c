/*
 * others.c - what other tables of nftables do that does not go together with ours.
 *
 * Two dumps, of all chains and of all rules.  Rules with expressions that are not known here are
 * passed over.
 */
#include "nat/others.h"

#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#include "nat/marks.h"
#include "nat/netlink.h"

#define ATTEMPTS 20

static const char *family_name(uint32_t family)
{
	switch (family) {
	case NFPROTO_INET:
		return "inet";
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_BRIDGE:
		return "bridge";
	case NFPROTO_NETDEV:
		return "netdev";
	default:
		return "arp";
	}
}

static bool is_ours(const struct plan *plan, uint32_t family, const char *table)
{
	return family == NFPROTO_INET && strcmp(table, plan->table) == 0;
}

/* A dump that is torn is asked for again; `forget` first. */
static int dump(uint16_t type, mnl_cb_t each, void (*forget)(void *arg), void *arg, struct error *e)
{
	struct mnl_socket *socket;
	int error = netlink_open(NETLINK_NETFILTER, &socket, e);

	if (error)
		return error;
	error = -EINTR;
	for (int i = 0; i < ATTEMPTS && error == -EINTR; i++) {
		_Alignas(struct nlmsghdr) char request[64] = {0};

		forget(arg);
		error = netlink_ask(socket,
			nftnl_nlmsg_build_hdr(request, type, AF_UNSPEC, NLM_F_DUMP, 0), each, arg);
	}
	mnl_socket_close(socket);
	return error ? error_set(e, error, "reading others' nftables: %s", strerror(-error)) : 0;
}

/* ---- chains ---- */

struct chains {
	const struct plan *plan;
	int32_t priority; /* ours */
	bool found;
	struct error rival; /* the first */
};

static void take_chain(struct chains *c, const struct nftnl_chain *chain)
{
	const char *type = nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE);
	const char *table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE);
	uint32_t family = nftnl_chain_get_u32(chain, NFTNL_CHAIN_FAMILY);
	int32_t priority = nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO);

	if (!type || !table || strcmp(type, "nat") != 0 || is_ours(c->plan, family, table) ||
		c->found ||
		nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM) != NF_INET_POST_ROUTING ||
		priority > c->priority)
		return;
	c->found = true;
	error_set(&c->rival, -EADDRINUSE,
		"[nat] translate-priority = %d: chain %s of table %s %s translates at priority %d "
		"and would win: want a number below that here, or another one there",
		c->priority, nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME), family_name(family),
		table, priority);
}

static int on_chain(const struct nlmsghdr *message, void *arg)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (!chain)
		return MNL_CB_ERROR;
	if (nftnl_chain_nlmsg_parse(message, chain) == 0)
		take_chain(arg, chain);
	nftnl_chain_free(chain);
	return MNL_CB_OK;
}

static void forget_chains(void *arg)
{
	((struct chains *)arg)->found = false;
}

int others_check_chains(const struct plan *plan, struct error *e)
{
	const struct plan_chain *ours = plan_chain(plan, "translate");
	struct chains c = {.plan = plan, .priority = ours ? ours->priority : INT32_MIN};
	int error = dump(NFT_MSG_GETCHAIN, on_chain, forget_chains, &c, e);

	if (error || !c.found)
		return error;
	return error_set(e, -EADDRINUSE, "%s", c.rival.text);
}

/* ---- rules ---- */

struct clash {
	char *table, *chain;
	uint32_t family;
	enum mark mark;
	uint32_t bits;
};

struct rules {
	const struct plan *plan;
	size_t n_rules;
	bool more;
	struct clash clashes[OTHERS_MOST_CLASHES];
	size_t n;
	const struct nftnl_rule *rule; /* at hand */
};

static void forget_rules(void *arg)
{
	struct rules *r = arg;

	while (r->n > 0) {
		free(r->clashes[--r->n].table);
		free(r->clashes[r->n].chain);
	}
	r->n_rules = 0;
	r->more = false;
}

static struct clash *clash_of(struct rules *r, const struct clash *key)
{
	struct clash *clash = r->clashes;

	for (size_t i = 0; i < r->n; i++, clash++)
		if (clash->family == key->family && clash->mark == key->mark &&
			strcmp(clash->table, key->table) == 0 &&
			strcmp(clash->chain, key->chain) == 0)
			return clash;
	if (r->n == OTHERS_MOST_CLASHES) {
		r->more = true;
		return NULL;
	}
	*clash = (struct clash){strdup(key->table), strdup(key->chain), key->family, key->mark, 0};
	if (clash->table && clash->chain) {
		r->n++;
		return clash;
	}
	free(clash->table);
	free(clash->chain);
	return NULL;
}

static void on_write(void *arg, const struct mark_write *w)
{
	struct rules *r = arg;
	uint32_t ours = w->mark == MARK_PACKET ? r->plan->mark_mask
					       : r->plan->class_mask | r->plan->unjudged;
	const struct clash key = {
		.table = (char *)nftnl_rule_get_str(r->rule, NFTNL_RULE_TABLE),
		.chain = (char *)nftnl_rule_get_str(r->rule, NFTNL_RULE_CHAIN),
		.family = nftnl_rule_get_u32(r->rule, NFTNL_RULE_FAMILY),
		.mark = w->mark,
	};
	struct clash *clash = w->bits & ours ? clash_of(r, &key) : NULL;

	if (clash)
		clash->bits |= w->bits & ours;
}

static int on_rule(const struct nlmsghdr *message, void *arg)
{
	struct rules *r = arg;
	struct nftnl_rule *rule;
	const char *table;

	if (r->n_rules++ == OTHERS_MOST_RULES) {
		errno = E2BIG;
		return MNL_CB_ERROR;
	}
	rule = nftnl_rule_alloc();
	if (!rule)
		return MNL_CB_ERROR;
	r->rule = rule;
	table = nftnl_rule_nlmsg_parse(message, rule) == 0
			? nftnl_rule_get_str(rule, NFTNL_RULE_TABLE)
			: NULL;
	if (table && nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN) &&
		!is_ours(r->plan, nftnl_rule_get_u32(rule, NFTNL_RULE_FAMILY), table))
		marks_each(rule, on_write, r);
	nftnl_rule_free(rule);
	return MNL_CB_OK;
}

int others_clashes(const struct plan *plan,
	void (*each)(void *arg, const struct others_clash *clash), void *arg, struct error *e)
{
	struct rules r = {.plan = plan};
	int error = dump(NFT_MSG_GETRULE, on_rule, forget_rules, &r, e);
	bool more = r.more || error == -E2BIG;

	for (size_t i = 0; i < r.n && (!error || error == -E2BIG); i++)
		each(arg, &(struct others_clash){family_name(r.clashes[i].family),
				  r.clashes[i].table, r.clashes[i].chain,
				  r.clashes[i].mark == MARK_CONNTRACK, r.clashes[i].bits});
	forget_rules(&r);
	return error && error != -E2BIG ? error : more;
}
