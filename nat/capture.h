/*
 * capture.h - connections to the web that pods make without a proxy, and that are the proxy's.
 */
#pragma once

#include "nat/build.h"

/* How what is not excluded goes. */
struct capture_way {
	const struct plan_set *exclude;
	struct plan_chain *classify;
	struct plan_step go_on; /* of what has a class */
};

/* What the groups with `capture` need of one version:
 *   - here: TCP to ports 80 and 443 is redirected to the proxy, in *chain, which is made when the
 *     first rule wants it;
 *   - on a node that has not the gateway's egress address of this version: it gets the gateway's
 *     class, so that it goes where it is redirected, or not at all;
 *   - QUIC (UDP port 443), which no proxy could read, is rejected.
 * The last two are rules of `classify`, where what is excluded has left. */
void capture_put(struct build *b, const struct policy *policy, const struct plan_facts *facts,
	uint8_t version, const struct capture_way *way, struct plan_chain **chain);

/* REDIRECT may choose an egress address, as the newest of the device: what was redirected passes
 * the chain that keeps others away from these. */
void capture_put_inbound(
	struct build *b, const struct plan_facts *facts, struct plan_chain *inbound);
