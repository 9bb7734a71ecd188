/*
 * marks.c - what a rule writes into marks.
 *
 * nft loads a mark into a register, changes bits there and writes it back, in expressions that
 * follow each other; so what a register holds is known until the first expression of another kind.
 * iptables-nft has the targets MARK and CONNMARK of xtables instead.
 */
#include "nat/marks.h"

#include <libnftnl/expr.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>
#include <string.h>

#define ALL UINT32_MAX
#define SLOTS (NFT_REG32_15 - NFT_REG32_00 + 1) /* of 32 bits */

/* (mark & keep) ^ flip of the mark `from`; MARK_KINDS: of something else. */
struct value {
	enum mark from;
	uint32_t keep, flip;
};

struct marks {
	struct value slots[SLOTS];
	void (*each)(void *arg, const struct mark_write *write);
	void *arg;
};

static const struct value unknown = {MARK_KINDS, ALL, 0};

static void forget(struct marks *m)
{
	for (size_t i = 0; i < SLOTS; i++)
		m->slots[i] = unknown;
}

/* A register of 16 bytes is four of 4. */
static struct value *slot(struct marks *m, uint32_t reg)
{
	uint32_t at = reg >= NFT_REG32_00 ? reg - NFT_REG32_00
		      : reg >= NFT_REG_1  ? (reg - NFT_REG_1) * 4
					  : SLOTS;

	return at < SLOTS ? &m->slots[at] : NULL;
}

static void load(struct marks *m, uint32_t reg, struct value value)
{
	struct value *to = slot(m, reg);

	if (to)
		*to = value;
}

static void write(struct marks *m, enum mark mark, uint32_t reg)
{
	const struct value *from = slot(m, reg);
	struct mark_write w = {.mark = mark, .bits = ALL};

	if (from && from->from == mark)
		w.bits = ~from->keep | from->flip;
	if (from && (from->from == mark || from->keep == 0)) {
		w.value = from->flip;
		w.exact = !(from->keep & from->flip);
	}
	if (w.bits)
		m->each(m->arg, &w);
}

static uint32_t data_u32(const struct nftnl_expr *e, uint16_t attribute)
{
	uint32_t size = 0, value = 0;
	const void *data = nftnl_expr_get(e, attribute, &size);

	if (data && size >= sizeof(value))
		memcpy(&value, data, sizeof(value));
	return value;
}

static void take_immediate(struct marks *m, const struct nftnl_expr *e)
{
	if (nftnl_expr_is_set(e, NFTNL_EXPR_IMM_DATA))
		load(m, nftnl_expr_get_u32(e, NFTNL_EXPR_IMM_DREG),
			(struct value){MARK_KINDS, 0, data_u32(e, NFTNL_EXPR_IMM_DATA)});
}

static void take_bitwise(struct marks *m, const struct nftnl_expr *e)
{
	struct value *from = slot(m, nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_SREG));
	struct value value = unknown;
	uint32_t keep = data_u32(e, NFTNL_EXPR_BITWISE_MASK);

	if (from && nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_OP) == NFT_BITWISE_BOOL)
		value = (struct value){from->from, from->keep & keep,
			(from->flip & keep) ^ data_u32(e, NFTNL_EXPR_BITWISE_XOR)};
	load(m, nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_DREG), value);
}

static void take_meta(struct marks *m, const struct nftnl_expr *e)
{
	bool mark = nftnl_expr_get_u32(e, NFTNL_EXPR_META_KEY) == NFT_META_MARK;

	if (nftnl_expr_is_set(e, NFTNL_EXPR_META_DREG))
		load(m, nftnl_expr_get_u32(e, NFTNL_EXPR_META_DREG),
			mark ? (struct value){MARK_PACKET, ALL, 0} : unknown);
	else if (mark)
		write(m, MARK_PACKET, nftnl_expr_get_u32(e, NFTNL_EXPR_META_SREG));
}

static void take_ct(struct marks *m, const struct nftnl_expr *e)
{
	bool mark = nftnl_expr_get_u32(e, NFTNL_EXPR_CT_KEY) == NFT_CT_MARK;

	if (nftnl_expr_is_set(e, NFTNL_EXPR_CT_DREG))
		load(m, nftnl_expr_get_u32(e, NFTNL_EXPR_CT_DREG),
			mark ? (struct value){MARK_CONNTRACK, ALL, 0} : unknown);
	else if (mark)
		write(m, MARK_CONNTRACK, nftnl_expr_get_u32(e, NFTNL_EXPR_CT_SREG));
}

static void write_bits(struct marks *m, enum mark mark, uint32_t bits)
{
	if (bits)
		m->each(m->arg, &(struct mark_write){.mark = mark, .bits = bits});
}

static void take_connmark(struct marks *m, const void *info, uint32_t size, uint32_t revision)
{
	struct xt_connmark_tginfo2 c = {0}; /* begins as tginfo1 does, in which the mode is next */
	uint8_t mode;

	memcpy(&c, info, size < sizeof(c) ? size : sizeof(c));
	mode = revision < 2 ? c.shift_dir : c.mode;
	if (mode == XT_CONNMARK_RESTORE)
		write_bits(m, MARK_PACKET, c.nfmask);
	else
		write_bits(m, MARK_CONNTRACK,
			mode == XT_CONNMARK_SET ? c.ctmask | c.ctmark : c.ctmask);
}

static void take_target(struct marks *m, const struct nftnl_expr *e)
{
	const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_TG_NAME);
	uint32_t size = 0;
	const void *info = nftnl_expr_get(e, NFTNL_EXPR_TG_INFO, &size);
	struct xt_mark_tginfo2 mark;

	if (name && info && strcmp(name, "MARK") == 0 && size >= sizeof(mark)) {
		memcpy(&mark, info, sizeof(mark));
		write_bits(m, MARK_PACKET, mark.mask | mark.mark);
	} else if (name && info && strcmp(name, "CONNMARK") == 0) {
		take_connmark(m, info, size, nftnl_expr_get_u32(e, NFTNL_EXPR_TG_REV));
	}
	forget(m);
}

static int take(struct nftnl_expr *e, void *arg)
{
	static const struct {
		const char *name;
		void (*take)(struct marks *m, const struct nftnl_expr *e);
	} kinds[] = {
		{"immediate", take_immediate},
		{"bitwise", take_bitwise},
		{"meta", take_meta},
		{"ct", take_ct},
		{"target", take_target},
	};
	const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(name, kinds[i].name) == 0) {
			kinds[i].take(arg, e);
			return 0;
		}
	forget(arg);
	return 0;
}

void marks_each(const struct nftnl_rule *rule,
	void (*each)(void *arg, const struct mark_write *write), void *arg)
{
	struct marks m = {.each = each, .arg = arg};

	forget(&m);
	nftnl_expr_foreach((struct nftnl_rule *)rule, take, &m);
}
