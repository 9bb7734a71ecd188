/*
 * outcome.h - what one section does to the packets for its networks, as rules.
 */
#pragma once

#include "nat/build.h"

/* What the outcomes of all sections have in common. */
struct outcomes {
	struct build *build;
	const struct plan_facts *facts;
	const uint32_t *marks; /* classes_marks() */
	uint8_t version;
	const struct plan_chain *leave; /* what goes on does so here; NULL: accept */
};

struct outcome {
	bool report;
	bool never;              /* no pod of this version is in `from` */
	bool always;             /* fits every packet */
	struct plan_rule *rules; /* tried one after the other */
	size_t n_rules, room;
	struct plan_rule any;           /* for every packet: of a partner in report mode */
	const struct plan_chain *alone; /* of ranges that only this section names; NULL: not yet */
};

/* Of a zeroed outcome.  Without memory the build fails; outcome_fini() in every case. */
void outcome_init(struct outcome *outcome, struct outcomes *all, const struct section *s);
void outcome_fini(struct outcome *outcome); /* fine when zero */
