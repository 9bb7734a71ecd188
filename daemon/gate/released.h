/*
 * released.h - egress addresses that this node is not to have, whatever egret.ini says: those that
 * `egretctl release` named.
 */
#pragma once

#include "base/addr.h"
#include "base/check.h"

struct released {
	bool all; /* whatever else is said */
	struct addr *at;
	size_t n;
};

/* Each once.  0 or -ENOMEM. */
int released_add(struct released *released, const struct addr *addr) WARN_UNUSED;
void released_remove(struct released *released, const struct addr *addr);
bool released_has(const struct released *released, const struct addr *addr);
void released_fini(struct released *released); /* releases nothing from then on */
