/*
 * rule.c - a plan's rule as nftables expressions.
 *
 * Every match loads into register 1 and tests it there, as nft itself does, so that `nft list`
 * shows our rules in the words that it would take.  The parts of a key stand in registers one
 * behind the other.
 *
 * An error sticks: a rule with a match missing is never finished.
 */
#include "nat/rule.h"

#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#define SEED 0x65677265 /* of the hash that chooses a source's egress address */

struct rule {
	struct nftnl_rule *nftnl;
	uint8_t version;
	bool failed;
};

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

/* ---- what loads a register ---- */

static void load_meta(struct rule *r, uint32_t key)
{
	struct nftnl_expr *e = append(r, "meta");

	put_u32(e, NFTNL_EXPR_META_KEY, key);
	put_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

static void load_ct(struct rule *r, uint32_t key)
{
	struct nftnl_expr *e = append(r, "ct");

	put_u32(e, NFTNL_EXPR_CT_KEY, key);
	put_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
}

static void load_payload(struct rule *r, uint32_t base, size_t offset, size_t size, uint32_t to)
{
	struct nftnl_expr *e = append(r, "payload");

	put_u32(e, NFTNL_EXPR_PAYLOAD_DREG, to);
	put_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	put_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, (uint32_t)offset);
	put_u32(e, NFTNL_EXPR_PAYLOAD_LEN, (uint32_t)size);
}

static size_t address_size(const struct rule *r)
{
	return r->version == 4 ? 4 : 16;
}

static void load_source(struct rule *r, size_t size, uint32_t to)
{
	load_payload(r, NFT_PAYLOAD_NETWORK_HEADER,
		r->version == 4 ? offsetof(struct iphdr, saddr) : offsetof(struct ip6_hdr, ip6_src),
		size, to);
}

static void load_destination(struct rule *r, size_t size, uint32_t to)
{
	load_payload(r, NFT_PAYLOAD_NETWORK_HEADER,
		r->version == 4 ? offsetof(struct iphdr, daddr) : offsetof(struct ip6_hdr, ip6_dst),
		size, to);
}

static void load_original_source(struct rule *r)
{
	struct nftnl_expr *e = append(r, "ct");

	put_u32(e, NFTNL_EXPR_CT_KEY, r->version == 4 ? NFT_CT_SRC_IP : NFT_CT_SRC_IP6);
	put_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	if (e)
		nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, IP_CT_DIR_ORIGINAL);
}

static void load_port(struct rule *r)
{
	load_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offsetof(struct tcphdr, th_dport),
		sizeof(uint16_t), NFT_REG_1);
}

static void load_next_hop(struct rule *r, uint32_t to)
{
	struct nftnl_expr *e = append(r, "rt");

	put_u32(e, NFTNL_EXPR_RT_KEY, r->version == 4 ? NFT_RT_NEXTHOP4 : NFT_RT_NEXTHOP6);
	put_u32(e, NFTNL_EXPR_RT_DREG, to);
}

/* ---- what works on register 1 ---- */

static void mask(struct rule *r, const void *bits, const void *flip, size_t size)
{
	struct nftnl_expr *e = append(r, "bitwise");

	put_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
	put_u32(e, NFTNL_EXPR_BITWISE_LEN, (uint32_t)size);
	put_data(r, e, NFTNL_EXPR_BITWISE_MASK, bits, size);
	put_data(r, e, NFTNL_EXPR_BITWISE_XOR, flip, size);
}

static void mask_u32(struct rule *r, uint32_t bits, uint32_t flip)
{
	mask(r, &bits, &flip, sizeof(bits));
}

static void compare(struct rule *r, uint32_t op, const void *data, size_t size)
{
	struct nftnl_expr *e = append(r, "cmp");

	put_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_CMP_OP, op);
	put_data(r, e, NFTNL_EXPR_CMP_DATA, data, size);
}

static void compare_u32(struct rule *r, uint32_t op, uint32_t value)
{
	compare(r, op, &value, sizeof(value));
}

static void compare_u8(struct rule *r, uint8_t value)
{
	compare(r, NFT_CMP_EQ, &value, sizeof(value));
}

static struct nftnl_expr *lookup(struct rule *r, const struct plan_set *set)
{
	struct nftnl_expr *e = append(r, "lookup");

	put_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	put_name(r, e, NFTNL_EXPR_LOOKUP_SET, set->name);
	put_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, 0);
	return e;
}

static void lookup_verdict(struct rule *r, const struct plan_set *map)
{
	put_u32(lookup(r, map), NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
}

/* ---- steps ---- */

/* As many whole bytes as the prefix has, and a mask where it ends within one. */
static void match_net(
	struct rule *r, const struct cidr *net, void (*load)(struct rule *, size_t, uint32_t))
{
	static const uint8_t zero[16];
	size_t skip = r->version == 4 ? 12 : 0, bits = net->bits - 8 * skip;
	size_t size = (bits + 7) / 8;
	uint8_t ones[16];

	if (bits == 0)
		return;
	load(r, size, NFT_REG_1);
	memset(ones, 0xff, sizeof(ones));
	if (bits % 8) {
		ones[size - 1] = (uint8_t)(0xff << (8 - bits % 8));
		mask(r, ones, zero, size);
	}
	compare(r, NFT_CMP_EQ, net->addr.bytes + skip, size);
}

static void match_ports(struct rule *r, const struct plan_step *step)
{
	uint16_t first = htons((uint16_t)step->number), last = htons((uint16_t)step->other);

	load_port(r);
	if (first == last) {
		compare(r, NFT_CMP_EQ, &first, sizeof(first));
		return;
	}
	compare(r, NFT_CMP_GTE, &first, sizeof(first));
	compare(r, NFT_CMP_LTE, &last, sizeof(last));
}

static void match_syn(struct rule *r)
{
	const uint8_t bits = TH_FIN | TH_SYN | TH_RST | TH_ACK, none = 0;

	load_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offsetof(struct tcphdr, th_flags),
		sizeof(bits), NFT_REG_1);
	mask(r, &bits, &none, sizeof(bits));
	compare_u8(r, TH_SYN);
}

static void match_type(struct rule *r, uint32_t type)
{
	struct nftnl_expr *e = append(r, "fib");

	put_u32(e, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	put_u32(e, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
	compare_u32(r, NFT_CMP_EQ, type);
}

static void match_state(struct rule *r, uint32_t states)
{
	load_ct(r, NFT_CT_STATE);
	mask_u32(r, states, 0);
	compare_u32(r, NFT_CMP_NEQ, 0);
}

static void match_dnatted(struct rule *r)
{
	load_ct(r, NFT_CT_STATUS);
	mask_u32(r, IPS_DST_NAT, 0);
	compare_u32(r, NFT_CMP_NEQ, 0);
}

static void match_device(struct rule *r, const char *name)
{
	char padded[16] = "";

	memcpy(padded, name, strnlen(name, sizeof(padded) - 1));
	load_meta(r, NFT_META_IIFNAME);
	compare(r, NFT_CMP_EQ, padded, sizeof(padded));
}

static void match_hash(struct rule *r, const struct plan_step *step)
{
	struct nftnl_expr *e;

	load_source(r, address_size(r), NFT_REG_2);
	e = append(r, "hash");
	put_u32(e, NFTNL_EXPR_HASH_SREG, NFT_REG_2);
	put_u32(e, NFTNL_EXPR_HASH_DREG, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_HASH_LEN, (uint32_t)address_size(r));
	put_u32(e, NFTNL_EXPR_HASH_MODULUS, step->other);
	put_u32(e, NFTNL_EXPR_HASH_SEED, SEED);
	put_u32(e, NFTNL_EXPR_HASH_TYPE, NFT_HASH_JENKINS);
	compare_u32(r, NFT_CMP_EQ, step->number);
}

static void match_random(struct rule *r, uint32_t modulus)
{
	struct nftnl_expr *e = append(r, "numgen");

	put_u32(e, NFTNL_EXPR_NG_DREG, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_NG_MODULUS, modulus);
	put_u32(e, NFTNL_EXPR_NG_TYPE, NFT_NG_RANDOM);
	compare_u32(r, NFT_CMP_EQ, 0);
}

/* Adds or refreshes the element whose key is loaded, with an expression in it. */
static void put_element(
	struct rule *r, const struct plan_set *set, uint32_t op, struct nftnl_expr *inner)
{
	struct nftnl_expr *e = append(r, "dynset");

	if (!e || !inner) {
		if (inner)
			nftnl_expr_free(inner);
		r->failed = true;
		return;
	}
	put_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_DYNSET_OP, op);
	put_name(r, e, NFTNL_EXPR_DYNSET_SET_NAME, set->name);
	nftnl_expr_set(e, NFTNL_EXPR_DYNSET_EXPR, inner, 0);
}

static void match_over(struct rule *r, const struct plan_step *step)
{
	struct nftnl_expr *limit = nftnl_expr_alloc("connlimit");

	load_source(r, address_size(r), NFT_REG_1);
	put_u32(limit, NFTNL_EXPR_CONNLIMIT_COUNT, step->number);
	put_u32(limit, NFTNL_EXPR_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
	put_element(r, step->set, NFT_DYNSET_OP_ADD, limit);
}

static void note(struct rule *r, const struct plan_step *step)
{
	if (step->op == PLAN_NOTE)
		load_source(r, address_size(r), NFT_REG_1);
	else
		load_original_source(r);
	load_destination(r, address_size(r), r->version == 4 ? NFT_REG32_01 : NFT_REG_2);
	put_element(r, step->set, NFT_DYNSET_OP_UPDATE, nftnl_expr_alloc("counter"));
}

static void set_mark(struct rule *r, const struct plan_step *step)
{
	bool packet = step->op == PLAN_SET_MARK;
	struct nftnl_expr *e;

	if (packet)
		load_meta(r, NFT_META_MARK);
	else
		load_ct(r, NFT_CT_MARK);
	mask_u32(r, ~step->other, step->number);
	e = append(r, packet ? "meta" : "ct");
	put_u32(e, packet ? NFTNL_EXPR_META_KEY : NFTNL_EXPR_CT_KEY,
		packet ? NFT_META_MARK : NFT_CT_MARK);
	put_u32(e, packet ? NFTNL_EXPR_META_SREG : NFTNL_EXPR_CT_SREG, NFT_REG_1);
}

/* To what is in register 1. */
static void set_priority(struct rule *r)
{
	struct nftnl_expr *e = append(r, "meta");

	put_u32(e, NFTNL_EXPR_META_KEY, NFT_META_PRIORITY);
	put_u32(e, NFTNL_EXPR_META_SREG, NFT_REG_1);
}

static void load_zero(struct rule *r)
{
	const uint32_t zero = 0;
	struct nftnl_expr *e = append(r, "immediate");

	put_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	put_data(r, e, NFTNL_EXPR_IMM_DATA, &zero, sizeof(zero));
}

static void load_class(struct rule *r, const struct plan_step *step)
{
	load_ct(r, NFT_CT_MARK);
	mask_u32(r, step->other, 0);
}

static void count(struct rule *r, const char *name)
{
	struct nftnl_expr *e = append(r, "objref");

	put_u32(e, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
	put_name(r, e, NFTNL_EXPR_OBJREF_IMM_NAME, name);
}

static void verdict(struct rule *r, int code, const char *chain)
{
	struct nftnl_expr *e = append(r, "immediate");

	put_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	put_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)code);
	if (chain)
		put_name(r, e, NFTNL_EXPR_IMM_CHAIN, chain);
}

static void snat_to_register(struct rule *r, bool v4)
{
	struct nftnl_expr *e = append(r, "nat");

	put_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_SNAT);
	put_u32(e, NFTNL_EXPR_NAT_FAMILY, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	put_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MAX, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_NAT_FLAGS, NF_NAT_RANGE_MAP_IPS); /* or the kernel adds it itself */
}

static void snat(struct rule *r, const struct addr *to)
{
	bool v4 = addr_is_v4(to);
	struct nftnl_expr *e = append(r, "immediate");

	put_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	put_data(r, e, NFTNL_EXPR_IMM_DATA, v4 ? to->bytes + 12 : to->bytes, v4 ? 4 : 16);
	snat_to_register(r, v4);
}

static void redirect(struct rule *r, uint16_t port)
{
	struct nftnl_expr *e = append(r, "immediate");

	port = htons(port);
	put_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	put_data(r, e, NFTNL_EXPR_IMM_DATA, &port, sizeof(port));
	e = append(r, "redir");
	put_u32(e, NFTNL_EXPR_REDIR_REG_PROTO_MIN, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_REDIR_REG_PROTO_MAX, NFT_REG_1);
	put_u32(e, NFTNL_EXPR_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED); /* as above */
}

static void reject(struct rule *r)
{
	struct nftnl_expr *e = append(r, "reject");

	put_u32(e, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
	if (e)
		nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
}

static void put_match(struct rule *r, const struct plan_step *step)
{
	switch (step->op) {
	case PLAN_FROM_NET:
		match_net(r, &step->net, load_source);
		break;
	case PLAN_TO_NET:
		match_net(r, &step->net, load_destination);
		break;
	case PLAN_FROM_SET:
		load_source(r, address_size(r), NFT_REG_1);
		lookup(r, step->set);
		break;
	case PLAN_TO_SET:
		load_destination(r, address_size(r), NFT_REG_1);
		lookup(r, step->set);
		break;
	case PLAN_TO_LOCAL:
	case PLAN_TO_UNICAST:
		match_type(r, step->op == PLAN_TO_LOCAL ? RTN_LOCAL : RTN_UNICAST);
		break;
	case PLAN_PROTOCOL:
		load_meta(r, NFT_META_L4PROTO);
		compare_u8(r, (uint8_t)step->number);
		break;
	case PLAN_PROTOCOL_SET:
		load_meta(r, NFT_META_L4PROTO);
		lookup(r, step->set);
		break;
	case PLAN_PORTS:
		match_ports(r, step);
		break;
	case PLAN_PORT_SET:
		load_port(r);
		lookup(r, step->set);
		break;
	case PLAN_SYN:
		match_syn(r);
		break;
	case PLAN_ORIGINAL:
	case PLAN_REPLY:
		load_ct(r, NFT_CT_DIRECTION);
		compare_u8(r, step->op == PLAN_ORIGINAL ? IP_CT_DIR_ORIGINAL : IP_CT_DIR_REPLY);
		break;
	case PLAN_KNOWN:
		match_state(r, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
		break;
	case PLAN_UNKNOWN:
		match_state(r, NF_CT_STATE_INVALID_BIT | NF_CT_STATE_UNTRACKED_BIT);
		break;
	case PLAN_DNATTED:
		match_dnatted(r);
		break;
	case PLAN_FROM_DEVICE:
		match_device(r, step->name);
		break;
	case PLAN_CLASSED:
	case PLAN_CLASS:
		load_class(r, step);
		compare_u32(r, step->op == PLAN_CLASS ? NFT_CMP_EQ : NFT_CMP_NEQ, step->number);
		break;
	case PLAN_CLASS_SOURCE:
		load_class(r, step);
		load_source(r, address_size(r), NFT_REG32_01);
		lookup(r, step->set);
		break;
	case PLAN_CLASS_HOP:
		load_class(r, step);
		load_next_hop(r, NFT_REG32_01);
		lookup(r, step->set);
		break;
	case PLAN_HASHED:
		match_hash(r, step);
		break;
	case PLAN_RANDOM:
		match_random(r, step->other);
		break;
	case PLAN_OVER:
		match_over(r, step);
		break;
	default:
		break;
	}
}

static void put_action(struct rule *r, const struct plan_step *step)
{
	switch (step->op) {
	case PLAN_SET_MARK:
	case PLAN_SET_CLASS:
		set_mark(r, step);
		break;
	case PLAN_COUNT:
		count(r, step->name);
		break;
	case PLAN_NOTE:
	case PLAN_NOTE_ORIGIN:
		note(r, step);
		break;
	case PLAN_ACCEPT:
		verdict(r, NF_ACCEPT, NULL);
		break;
	case PLAN_DROP:
		verdict(r, NF_DROP, NULL);
		break;
	case PLAN_REJECT:
		reject(r);
		break;
	case PLAN_SNAT:
		snat(r, &step->net.addr);
		break;
	case PLAN_REDIRECT:
		redirect(r, (uint16_t)step->number);
		break;
	case PLAN_SNAT_SELF:
		load_source(r, address_size(r), NFT_REG_1);
		snat_to_register(r, r->version == 4);
		break;
	case PLAN_GOTO:
		verdict(r, NFT_GOTO, step->chain->name);
		break;
	case PLAN_TO_MAP:
		load_destination(r, address_size(r), NFT_REG_1);
		lookup_verdict(r, step->set);
		break;
	case PLAN_CLASS_MAP:
		load_class(r, step);
		lookup_verdict(r, step->set);
		break;
	case PLAN_NUMBER:
		load_destination(r, address_size(r), NFT_REG_1);
		put_u32(lookup(r, step->set), NFTNL_EXPR_LOOKUP_DREG, NFT_REG_1);
		set_priority(r);
		break;
	case PLAN_NUMBER_MAP:
		load_meta(r, NFT_META_PRIORITY);
		lookup_verdict(r, step->set);
		break;
	case PLAN_CLEAR_NUMBER:
		load_zero(r);
		set_priority(r);
		break;
	case PLAN_NUMBERED:
		load_meta(r, NFT_META_PRIORITY);
		lookup(r, step->set);
		break;
	default:
		break;
	}
}

static void match_version(struct rule *r)
{
	load_meta(r, NFT_META_NFPROTO);
	compare_u8(r, r->version == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
}

static bool names_version(const struct plan_rule *rule)
{
	for (const struct plan_step *step = rule->steps; step->op != PLAN_END; step++)
		switch (step->op) {
		case PLAN_VERSION:
		case PLAN_FROM_NET:
		case PLAN_TO_NET:
		case PLAN_FROM_SET:
		case PLAN_TO_SET:
		case PLAN_CLASS_SOURCE:
		case PLAN_CLASS_HOP:
		case PLAN_SNAT_SELF:
		case PLAN_HASHED:
		case PLAN_OVER:
		case PLAN_NOTE:
		case PLAN_NOTE_ORIGIN:
		case PLAN_TO_MAP:
		case PLAN_NUMBER:
			return true;
		default:
			break;
		}
	return false;
}

struct nftnl_rule *rule_make(const char *table, const char *chain, const struct plan_rule *rule)
{
	struct rule r = {.nftnl = nftnl_rule_alloc(), .version = rule->version};

	if (!r.nftnl)
		return NULL;
	nftnl_rule_set_u32(r.nftnl, NFTNL_RULE_FAMILY, NFPROTO_INET);
	r.failed = nftnl_rule_set_str(r.nftnl, NFTNL_RULE_TABLE, table) ||
		   nftnl_rule_set_str(r.nftnl, NFTNL_RULE_CHAIN, chain);
	if (names_version(rule))
		match_version(&r);
	for (const struct plan_step *step = rule->steps; step->op != PLAN_END; step++) {
		put_match(&r, step);
		put_action(&r, step);
	}
	if (!r.failed)
		return r.nftnl;
	nftnl_rule_free(r.nftnl);
	return NULL;
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
	char *grown, *timeout;
	int n;

	n = nftnl_expr_snprintf(body, sizeof(body), e, NFTNL_OUTPUT_DEFAULT, 0);
	if (n < 0 || (size_t)n >= sizeof(body))
		body[0] = '\0'; /* longer than any of ours: not equal by what is missing */
	timeout = strstr(body, "timeout 0ms ");
	if (timeout) /* the kernel names the set's own */
		memmove(timeout, timeout + 12, strlen(timeout + 12) + 1);
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
