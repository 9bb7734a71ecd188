/*
 * announce.h - tells the link that an egress address is here now.
 *
 * Neighbours that know the address by another node's link-layer address keep
 * sending there until they hear of the new one, for many seconds.
 */
#pragma once

#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"

/* Once, for an address of the device; frames may be lost, so the caller repeats it.  IPv4: an ARP
 * announcement (RFC 5227 3) as request and as reply, since some neighbours listen to one only.
 * IPv6: an unsolicited neighbour advertisement with the override flag (RFC 4861 7.2.6).  0 also on
 * devices without neighbours (loopback, dummy, tunnels), where there is nobody to tell.  Needs
 * CAP_NET_RAW.  -errno. */
int announce_send(const char *device, const struct addr *addr, struct error *e) WARN_UNUSED;
