/*
 * facts.h - what the node itself says: which address and device face the outside.
 */
#pragma once

#include "base/addr.h"
#include "base/check.h"
#include "base/error.h"

struct nat_facts {
	char device[16];       /* of the default route, or as named; "" when there is none */
	struct addr egress[2]; /* its IPv4 and IPv6 source address, as far as there is one */
	size_t n_egress;
};

/* Asks the kernel (rtnetlink, no privilege).  `device` NULL: the device of each version's default
 * route, and the source address that goes with it.  Else of that device: the source address of its
 * default route, or without one its first address that is global and preferred.  -ENODEV when a
 * named device is not there.  0 and n_egress 0 when there is no such address. */
int nat_facts(struct nat_facts *facts, const char *device, struct error *e) WARN_UNUSED;

/* Does a connection to the address stay on this node?  It is on some interface, loopback or
 * unspecified; also true when the kernel does not say. */
bool nat_address_is_local(const struct addr *addr);
