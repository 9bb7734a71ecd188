/*
 * wireguard.h - which peer of a WireGuard device takes what has no network of its own there.
 *
 * WireGuard sends a packet to the peer in whose allowed networks its destination is, and takes from
 * a peer only what has its source in them, whatever the routes say.  Flannel allows each node its
 * pods' network.  So what is steered to a gateway, and partners' answers from there, need 0.0.0.0/0
 * or ::/0 allowed to that one peer as well; longer networks still go first.  One peer can have it.
 */
#pragma once

#include <stdint.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"

/* Whether the device is one.  Needs no privilege; false also when it is not there. */
bool wireguard_is_device(uint32_t index);

/* The peer that has `to` takes all of its IP version.  1 when that was changed, 0 when it was so,
 * or -errno: -ENOENT without such a peer, -EADDRINUSE when a peer without other networks has it,
 * which nobody but an administrator can have wanted. */
int wireguard_lead(const char *device, const struct addr *to, struct error *e) WARN_UNUSED;
/* 1 when it does, 0 when not, or -errno. */
int wireguard_leads(const char *device, const struct addr *to, struct error *e) WARN_UNUSED;
/* Takes both away again from peers that have other networks.  The number of changes or -errno. */
int wireguard_release(const char *device, struct error *e) WARN_UNUSED;
