/*
 * backstop.c - a table of one socket.
 */
#include "nat/backstop.h"

#include <stdlib.h>

#include "nat/build.h"
#include "nat/change.h"
#include "nat/classes.h"

static struct mnl_socket *owner; /* NULL: not open */

static void put_note(struct build *b, struct plan_chain *chain, uint8_t version)
{
	static const enum plan_key keys[] = {PLAN_KEY_PAIR4, PLAN_KEY_PAIR6};
	struct plan_set *set =
		build_set(b, version == 4 ? "leaks4" : "leaks6", keys[version == 6], PLAN_DYNAMIC);

	if (!b->failed)
		set->timeout = PLAN_NOTE_TIMEOUT;
	build_rule(b, chain, version,
		STEPS({.op = PLAN_VERSION}, {.op = PLAN_NOTE_ORIGIN, .set = set}));
}

struct plan *backstop_plan(const struct plan_facts *facts)
{
	char name[PLAN_NAME + 16];
	struct plan_chain *chain, *refuse;
	struct build b;

	snprintf(name, sizeof(name), "%s-backstop", facts->table);
	build_begin(&b, name);
	chain = build_chain(&b, "backstop", PLAN_GUARD, facts->guard_priority + 1);
	refuse = build_chain(&b, "refuse", PLAN_NO_HOOK, 0);
	build_rule(&b, chain, 0,
		STEPS({.op = PLAN_CLASSED, .other = class_unjudged(facts->ct_mark_mask)},
			{.op = PLAN_ORIGINAL}, {.op = PLAN_GOTO, .chain = refuse}));
	build_chain(&b, "keep", PLAN_TRANSLATE, facts->guard_priority + 1);
	put_note(&b, refuse, 4);
	put_note(&b, refuse, 6);
	build_rule(&b, refuse, 0, STEPS({.op = PLAN_DROP}));
	return build_finish(&b);
}

int backstop_open(const struct plan *backstop, struct error *e)
{
	static const struct state nothing;
	struct batch batch;
	int error;

	if (owner)
		return 0;
	error = netlink_open(NETLINK_NETFILTER, &owner, e);
	if (error)
		return error;
	batch_begin(&batch, 0);
	change_put(&batch, backstop, &nothing, TABLE_OWNER, CHANGE_GUARD);
	change_put(&batch, backstop, &nothing, TABLE_OWNER, CHANGE_SWITCH);
	error = batch_commit(&batch, owner, e);
	batch_fini(&batch);
	if (error)
		backstop_close();
	return error;
}

void backstop_close(void)
{
	if (owner)
		mnl_socket_close(owner);
	owner = NULL;
}
