/*
 * elements.c - messages that add and delete elements.
 *
 * An element of an interval set is two for the kernel: the first key, and marked as its end the
 * key behind the last one.
 */
#include "nat/elements.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#include "nat/build.h"

#define ELEMENTS_ROOM (48 * 1024) /* of one message: the length of an attribute has 16 bits */

/* Elements of one set, over as many messages as they need. */
struct elements {
	struct batch *batch;
	const char *table;
	const struct plan_set *set;
	uint16_t type; /* NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM */
	struct nlmsghdr *message;
	struct nlattr *list;
};

static void end_message(struct elements *e)
{
	if (!e->message)
		return;
	mnl_attr_nest_end(e->message, e->list);
	batch_close(e->batch);
	e->message = NULL;
}

static bool begin_message(struct elements *e)
{
	bool add = e->type == NFT_MSG_NEWSETELEM;
	struct label label = {add ? "add elements to" : "delete elements of", e->set->name, NULL};

	if (e->message && e->message->nlmsg_len < ELEMENTS_ROOM)
		return true;
	end_message(e);
	e->message = batch_open(e->batch, e->type, add ? NLM_F_CREATE : 0, &label);
	if (!e->message)
		return false;
	mnl_attr_put_strz(e->message, NFTA_SET_ELEM_LIST_TABLE, e->table);
	mnl_attr_put_strz(e->message, NFTA_SET_ELEM_LIST_SET, e->set->name);
	e->list = mnl_attr_nest_start(e->message, NFTA_SET_ELEM_LIST_ELEMENTS);
	return true;
}

static void put_jump(struct nlmsghdr *message, const char *chain)
{
	struct nlattr *data = mnl_attr_nest_start(message, NFTA_SET_ELEM_DATA);
	struct nlattr *verdict = mnl_attr_nest_start(message, NFTA_DATA_VERDICT);

	mnl_attr_put_u32(message, NFTA_VERDICT_CODE, htonl((uint32_t)NFT_JUMP));
	mnl_attr_put_strz(message, NFTA_VERDICT_CHAIN, chain);
	mnl_attr_nest_end(message, verdict);
	mnl_attr_nest_end(message, data);
}

static void put_key(struct nlmsghdr *message, const struct plan_key_info *key, uint32_t mark,
	const struct addr *at)
{
	uint8_t bytes[sizeof(mark) + sizeof(at->bytes)];

	memcpy(bytes, &mark, key->mark);
	if (key->n > 0)
		memcpy(bytes + key->mark, at->bytes + sizeof(at->bytes) - key->size, key->size);
	mnl_attr_put(message, NFTA_DATA_VALUE, key->mark + key->size, bytes);
}

static void put_number(struct nlmsghdr *message, uint32_t number)
{
	struct nlattr *data = mnl_attr_nest_start(message, NFTA_SET_ELEM_DATA);

	mnl_attr_put(message, NFTA_DATA_VALUE, sizeof(number), &number);
	mnl_attr_nest_end(message, data);
}

/* `range`: whose data it has; NULL: none. */
static void put_element(struct elements *e, uint32_t mark, const struct addr *at, bool end,
	const struct plan_range *range)
{
	struct nlattr *element, *key;

	if (!begin_message(e))
		return;
	element = mnl_attr_nest_start(e->message, NFTA_LIST_ELEM);
	if (end)
		mnl_attr_put_u32(e->message, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
	key = mnl_attr_nest_start(e->message, NFTA_SET_ELEM_KEY);
	put_key(e->message, &plan_keys[e->set->key], mark, at);
	mnl_attr_nest_end(e->message, key);
	if (range && range->jump)
		put_jump(e->message, range->jump);
	else if (range && e->set->numbers)
		put_number(e->message, range->number);
	mnl_attr_nest_end(e->message, element);
}

static void put_catch_all(struct elements *e)
{
	struct nlattr *element;

	if (!begin_message(e))
		return;
	element = mnl_attr_nest_start(e->message, NFTA_LIST_ELEM);
	mnl_attr_put_u32(e->message, NFTA_SET_ELEM_FLAGS, htonl(ELEMENT_CATCH_ALL));
	mnl_attr_nest_end(e->message, element);
}

/* The key behind the range; false when the range reaches to the last key of all. */
static bool end_of(const struct plan_set *set, const struct plan_range *range, struct addr *end)
{
	static const struct addr zero;
	size_t size = plan_keys[set->key].size;

	*end = range->last;
	build_next(end);
	return memcmp(end->bytes + sizeof(end->bytes) - size, zero.bytes, size) != 0;
}

static void put_range(struct elements *e, const struct plan_range *range)
{
	struct addr end;
	bool add = e->type == NFT_MSG_NEWSETELEM;

	put_element(e, range->mark, &range->first, false, add ? range : NULL);
	if (e->set->kind == PLAN_INTERVAL && end_of(e->set, range, &end))
		put_element(e, 0, &end, true, NULL);
}

static bool same_range(const struct plan_range *a, const struct plan_range *b)
{
	return addr_equal(&a->last, &b->last) && a->number == b->number && !a->jump == !b->jump &&
	       (!a->jump || strcmp(a->jump, b->jump) == 0);
}

/* Which of two ranges comes first; NULL is behind the last. */
static int place(const struct plan_range *have, const struct plan_range *want)
{
	if (!have || !want)
		return have ? -1 : 1;
	if (have->mark != want->mark)
		return have->mark < want->mark ? -1 : 1;
	return memcmp(&have->first, &want->first, sizeof(want->first));
}

/* Byte by byte, which is less than equal. */
static bool same_bytes(const struct plan_set *set, const struct state_set *now)
{
	return now && now->n_ranges == set->n_ranges &&
	       (set->n_ranges == 0 ||
		       memcmp(now->ranges, set->ranges, set->n_ranges * sizeof(*set->ranges)) == 0);
}

/* Walks both sorted lists; calls with what only the kernel has, or with what only the plan has. */
static void each_difference(const struct plan_set *set, const struct state_set *now,
	void (*each)(void *arg, const struct plan_range *range, bool kernel), void *arg)
{
	size_t i = 0, j = 0, n = now ? now->n_ranges : 0;

	if (same_bytes(set, now))
		return;
	while (i < n || j < set->n_ranges) {
		const struct plan_range *have = i < n ? &now->ranges[i] : NULL;
		const struct plan_range *want = j < set->n_ranges ? &set->ranges[j] : NULL;
		int order = place(have, want);
		bool same = order == 0 && same_range(have, want);

		if (order <= 0 && !same)
			each(arg, have, true);
		if (order >= 0 && !same)
			each(arg, want, false);
		i += order <= 0;
		j += order >= 0;
	}
}

static void on_difference(void *arg, const struct plan_range *range, bool kernel)
{
	struct elements *e = arg;

	if (kernel == (e->type == NFT_MSG_DELSETELEM))
		put_range(e, range);
}

static void put(struct batch *batch, const char *table, const struct plan_set *set,
	const struct state_set *now, uint16_t type)
{
	struct elements e = {.batch = batch, .table = table, .set = set, .type = type};

	if (now && now->catch_all && type == NFT_MSG_DELSETELEM)
		put_catch_all(&e);
	each_difference(set, now, on_difference, &e);
	end_message(&e);
}

void elements_put_deletes(struct batch *batch, const char *table, const struct plan_set *set,
	const struct state_set *now)
{
	put(batch, table, set, now, NFT_MSG_DELSETELEM);
}

void elements_put_adds(struct batch *batch, const char *table, const struct plan_set *set,
	const struct state_set *now)
{
	put(batch, table, set, now, NFT_MSG_NEWSETELEM);
}

struct collection {
	struct build build;
	struct plan_set *out;
};

static void on_changed(void *arg, const struct plan_range *range, bool kernel)
{
	struct collection *c = arg;

	(void)kernel;
	build_range(&c->build, c->out, &range->first, &range->last, NULL);
}

bool elements_changed(struct plan_set *out, const struct plan_set *set, const struct state_set *now)
{
	struct collection c = {.out = out};

	each_difference(set, now, on_changed, &c);
	return !c.build.failed;
}
