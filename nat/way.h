/*
 * way.h - how packets get to another gateway, by the node's own routes.
 */
#pragma once

#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"

struct way {
	char device[16];  /* "": there is none */
	struct addr via;  /* the next hop on it */
	struct cidr link; /* what is on the link with it by the node's routes; at least itself */
	bool wireguard;   /* that device takes what its peer is allowed: wireguard_lead() */
	char tunnel[16];  /* why there is none: this device of the pods has no next hops; else "" */
};

/* `pod`: the gateway's address in the pod network; `node`: its own one.  Each may be NULL.  The
 * network of the pods leads over a tunnel or by the node, both with a next hop (Flannel's vxlan and
 * host-gw), or over WireGuard.  Another tunnel without next hops carries what is between pods, and
 * who knows what else: there is no way.  Where the pods' network is not known or away, the node is
 * the next hop if it is on the link.  0, also when there is none, or -errno. */
int way_find(struct way *way, const struct addr *pod, const struct addr *node,
	struct error *e) WARN_UNUSED;
