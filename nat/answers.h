/*
 * answers.h - partners' answers that another gateway brings here, to flows that this node has
 * forgotten.
 */
#pragma once

#include "nat/build.h"

/* Rules of `prerouting`, behind those for packets of pods and before the one that lets pass what is
 * for pods; and the chains that they lead to.  `exclude`: networks that may begin flows to pods.
 * Without gateways there is nothing to put. */
void answers_put(struct build *b, const struct policy *policy, const struct plan_facts *facts,
	uint8_t version, const struct plan_set *exclude, struct plan_chain *prerouting);
