/*
 * rule.c - nftables expressions of one rule.
 *
 * Every match loads into register 1 and tests it there, as nft itself does, so that `nft list`
 * shows our rules in the words that it would take.
 */
#include "nat/rule.h"

#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void rule_begin(struct rule *r, const char *table, const char *chain)
{
	*r = (struct rule){.nftnl = nftnl_rule_alloc()};
	if (!r->nftnl) {
		r->failed = true;
		return;
	}
	nftnl_rule_set_u32(r->nftnl, NFTNL_RULE_FAMILY, NFPROTO_INET);
	if (nftnl_rule_set_str(r->nftnl, NFTNL_RULE_TABLE, table) ||
		nftnl_rule_set_str(r->nftnl, NFTNL_RULE_CHAIN, chain))
		r->failed = true;
}

struct nftnl_rule *rule_finish(struct rule *r)
{
	struct nftnl_rule *nftnl = r->nftnl;

	if (r->failed && nftnl) {
		nftnl_rule_free(nftnl);
		nftnl = NULL;
	}
	*r = (struct rule){0};
	return nftnl;
}

/* A new expression at the end of the rule; NULL when the rule has failed. */
static struct nftnl_expr *append(struct rule *r, const char *name)
{
	struct nftnl_expr *e = r->failed ? NULL : nftnl_expr_alloc(name);

	if (e)
		nftnl_rule_add_expr(r->nftnl, e);
	else
		r->failed = true;
	return e;
}

static void put_u32(struct nftnl_expr *e, uint16_t attribute, uint32_t value)
{
	if (e)
		nftnl_expr_set_u32(e, attribute, value);
}

static void put_data(
	struct rule *r, struct nftnl_expr *e, uint16_t attribute, const void *data, size_t size)
{
	if (e && nftnl_expr_set(e, attribute, data, (uint32_t)size))
		r->failed = true;
}

static void put_name(struct rule *r, struct nftnl_expr *e, uint16_t attribute, const char *name)
{
	if (e && nftnl_expr_set_str(e, attribute, name))
		r->failed = true;
}

static void meta(struct rule *r, uint32_t key)
{
	struct nftnl_expr *e = append(r, "meta");

	put_u32(e, NFTNL_EXPR_META_KEY, key);
	put_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

static void payload(struct rule *r, uint32_t base, size_t offset, size_t size)
{
	struct nftnl_expr *e = append(r, "payload");

	put_u32(e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	put_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, (uint32_t)offset);
	put_u32(e, NFTNL_EXPR_PAYLOAD_LEN, (uint32_t)size);
}

static void compare(struct rule *r, uint32_t op, const void *data, size_t size)
{
	struct nftnl_expr *e = append(r, "cmp");

	put_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_CMP_OP, op);
	put_data(r, e, NFTNL_EXPR_CMP_DATA, data, size);
}

static struct nftnl_expr *lookup(struct rule *r, const char *set, uint32_t flags)
{
	struct nftnl_expr *e = append(r, "lookup");

	put_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	put_name(r, e, NFTNL_EXPR_LOOKUP_SET, set);
	put_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, flags);
	return e;
}

void rule_ct_state(struct rule *r, uint32_t bits)
{
	static const uint32_t zero;
	struct nftnl_expr *e = append(r, "ct");

	put_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_STATE);
	put_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	e = append(r, "bitwise");
	put_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
	put_u32(e, NFTNL_EXPR_BITWISE_LEN, sizeof(bits));
	put_data(r, e, NFTNL_EXPR_BITWISE_MASK, &bits, sizeof(bits));
	put_data(r, e, NFTNL_EXPR_BITWISE_XOR, &zero, sizeof(zero));
	compare(r, NFT_CMP_NEQ, &zero, sizeof(zero));
}

void rule_nfproto(struct rule *r, uint8_t family)
{
	meta(r, NFT_META_NFPROTO);
	compare(r, NFT_CMP_EQ, &family, sizeof(family));
}

void rule_l4proto(struct rule *r, uint8_t protocol)
{
	meta(r, NFT_META_L4PROTO);
	compare(r, NFT_CMP_EQ, &protocol, sizeof(protocol));
}

void rule_l4proto_in(struct rule *r, const char *set)
{
	meta(r, NFT_META_L4PROTO);
	lookup(r, set, 0);
}

void rule_dport_in(struct rule *r, const char *set)
{
	payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offsetof(struct tcphdr, th_dport),
		sizeof(uint16_t));
	lookup(r, set, 0);
}

static void source(struct rule *r, uint8_t version)
{
	if (version == 4)
		payload(r, NFT_PAYLOAD_NETWORK_HEADER, offsetof(struct iphdr, saddr), 4);
	else
		payload(r, NFT_PAYLOAD_NETWORK_HEADER, offsetof(struct ip6_hdr, ip6_src), 16);
}

static void destination(struct rule *r, uint8_t version)
{
	if (version == 4)
		payload(r, NFT_PAYLOAD_NETWORK_HEADER, offsetof(struct iphdr, daddr), 4);
	else
		payload(r, NFT_PAYLOAD_NETWORK_HEADER, offsetof(struct ip6_hdr, ip6_dst), 16);
}

void rule_saddr_in(struct rule *r, uint8_t version, const char *set)
{
	source(r, version);
	lookup(r, set, 0);
}

void rule_daddr_not_in(struct rule *r, uint8_t version, const char *set)
{
	destination(r, version);
	lookup(r, set, NFT_LOOKUP_F_INV);
}

void rule_daddr_vmap(struct rule *r, uint8_t version, const char *map)
{
	destination(r, version);
	put_u32(lookup(r, map, 0), NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
}

void rule_verdict(struct rule *r, int verdict)
{
	struct nftnl_expr *e = append(r, "immediate");

	put_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	put_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
}

void rule_snat(struct rule *r, const struct addr *to)
{
	bool v4 = addr_is_v4(to);
	struct nftnl_expr *e = append(r, "immediate");

	put_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	put_data(r, e, NFTNL_EXPR_IMM_DATA, v4 ? to->bytes + 12 : to->bytes, v4 ? 4 : 16);
	e = append(r, "nat");
	put_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_SNAT);
	put_u32(e, NFTNL_EXPR_NAT_FAMILY, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	put_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MAX, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_NAT_FLAGS, NF_NAT_RANGE_MAP_IPS); /* or the kernel adds it itself */
}

void rule_reject(struct rule *r)
{
	struct nftnl_expr *e = append(r, "reject");

	put_u32(e, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
	if (e)
		nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
}

struct description {
	char *text;
	size_t length;
};

static int describe_one(struct nftnl_expr *e, void *arg)
{
	struct description *d = arg;
	const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);
	char body[1024];
	char *grown;
	int n;

	n = nftnl_expr_snprintf(body, sizeof(body), e, NFTNL_OUTPUT_DEFAULT, 0);
	if (n < 0 || (size_t)n >= sizeof(body))
		body[0] = '\0'; /* longer than any of ours: not equal by what is missing */
	grown = realloc(d->text, d->length + strlen(name) + strlen(body) + 4);
	if (!grown)
		return -1;
	d->text = grown;
	d->length += (size_t)sprintf(grown + d->length, "[%s %s]", name, body);
	return 0;
}

char *rule_describe(const struct nftnl_rule *rule)
{
	struct description d = {.text = calloc(1, 1)};

	if (d.text && nftnl_expr_foreach((struct nftnl_rule *)rule, describe_one, &d)) {
		free(d.text);
		return NULL;
	}
	return d.text;
}
