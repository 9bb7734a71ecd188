/*
 * Every node is a network; its children are networks within its two halves.  A node that
 * nobody added stands where two networks part.  The roots are 0.0.0.0/0 and ::/0
 * and always there; ::/0 and what else is wider than ::ffff:0:0/96 does not hold IPv4,
 * as in the kernel.
 */
#include "acl/netset.h"

#include <errno.h>
#include <string.h>

enum { ROOT_V4, ROOT_V6, N_ROOTS };

struct netset_node {
	struct cidr net;
	uint32_t child[2]; /* 0: none, for no child is a root */
	uint32_t chain;
};

static unsigned bit_at(const struct addr *a, unsigned i)
{
	return a->bytes[i / 8] >> (7 - i % 8) & 1;
}

/* How many leading bits, at most `max`, two addresses have in common. */
static unsigned common_bits(const struct addr *a, const struct addr *b, unsigned max)
{
	unsigned i = 0;

	while (i < max / 8 && a->bytes[i] == b->bytes[i])
		i++;
	for (i *= 8; i < max && bit_at(a, i) == bit_at(b, i); i++)
		;
	return i;
}

static struct cidr prefix_of(const struct addr *a, unsigned bits)
{
	struct cidr net = {.addr = *a, .bits = (uint8_t)bits};
	unsigned i = bits / 8;

	if (bits % 8)
		net.addr.bytes[i++] &= (uint8_t)(0xff << (8 - bits % 8));
	memset(net.addr.bytes + i, 0, sizeof(net.addr.bytes) - i);
	return net;
}

int netset_init(struct netset *set)
{
	static const struct addr v4 = {{[10] = 0xff, [11] = 0xff}}, v6 = {{0}};

	*set = (struct netset){.max_nodes = 64};
	set->nodes = calloc(set->max_nodes, sizeof(*set->nodes));
	if (!set->nodes)
		return -ENOMEM;
	set->nodes[ROOT_V4].net = (struct cidr){.addr = v4, .bits = 96};
	set->nodes[ROOT_V6].net = (struct cidr){.addr = v6, .bits = 0};
	set->n_nodes = N_ROOTS;
	return 0;
}

void netset_fini(struct netset *set)
{
	chains_fini(&set->chains);
	free(set->nodes);
	*set = (struct netset){0};
}

/* Two more nodes are all that one network can need. */
static int reserve(struct netset *set)
{
	struct netset_node *nodes;

	if (set->max_nodes - set->n_nodes >= 2)
		return 0;
	if (set->max_nodes > UINT32_MAX / 2)
		return -ENOMEM;
	nodes = realloc(set->nodes, 2 * (size_t)set->max_nodes * sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	set->nodes = nodes;
	set->max_nodes *= 2;
	return 0;
}

static uint32_t new_node(struct netset *set, struct cidr net)
{
	set->nodes[set->n_nodes] = (struct netset_node){.net = net};
	return set->n_nodes++;
}

/* The child of `at` that holds `net` or is it, made if need be. */
static uint32_t step_towards(struct netset *set, uint32_t at, const struct cidr *net)
{
	unsigned side = bit_at(&net->addr, set->nodes[at].net.bits);
	uint32_t next = set->nodes[at].child[side];
	struct cidr other;
	unsigned common;
	uint32_t middle;

	if (!next)
		return set->nodes[at].child[side] = new_node(set, *net);
	other = set->nodes[next].net;
	common = common_bits(
		&other.addr, &net->addr, other.bits < net->bits ? other.bits : net->bits);
	if (common == other.bits)
		return next;
	middle = new_node(set, prefix_of(&net->addr, common));
	set->nodes[middle].child[bit_at(&other.addr, common)] = next;
	return set->nodes[at].child[side] = middle;
}

int netset_add(struct netset *set, const struct cidr *net, uint32_t section)
{
	uint32_t at = cidr_is_v4(net) ? ROOT_V4 : ROOT_V6;
	int error = reserve(set);

	if (error)
		return error;
	while (set->nodes[at].net.bits < net->bits)
		at = step_towards(set, at, net);
	return chain_append(&set->chains, &set->nodes[at].chain, section);
}

void netset_trim(struct netset *set)
{
	struct netset_node *nodes = realloc(set->nodes, set->n_nodes * sizeof(*nodes));

	chains_trim(&set->chains);
	if (!nodes)
		return;
	set->nodes = nodes;
	set->max_nodes = set->n_nodes;
}

size_t netset_find(const struct netset *set, const struct addr *addr, uint32_t found[NETSET_FOUND])
{
	const struct netset_node *node = &set->nodes[addr_is_v4(addr) ? ROOT_V4 : ROOT_V6];
	size_t n = 0;
	uint32_t next;

	for (;;) {
		if (node->chain)
			found[n++] = node->chain;
		if (node->net.bits == 128)
			break;
		next = node->child[bit_at(addr, node->net.bits)];
		if (!next)
			break;
		node = &set->nodes[next];
		if (common_bits(&node->net.addr, addr, node->net.bits) < node->net.bits)
			break;
	}
	return n;
}
