/*
 * recover.h - addresses learnt from DNS, noted in the table for the next gate.
 *
 * It begins without any answer, while the rules of the last one still stand.  No rule looks at the
 * notes:
 *
 *     set learnt4 { type mark . ipv4_addr; elements = { HASH-OF-THE-SECTION'S-NAME . ADDRESS } }
 */
#pragma once

#include "nat/build.h"

/* Case does not matter, as in names of sections. */
uint32_t recover_hash(const char *section);

/* Notes facts->learnt. */
void recover_put(struct build *b, const struct policy *policy, const struct plan_facts *facts);

/* Calls `each` for every note in the kernel's table.  One that is not there or not egret's: no
 * calls.  0 or -errno. */
int recover_each(const char *table,
	void (*each)(void *arg, uint32_t section, const struct addr *addr), void *arg,
	struct error *e) WARN_UNUSED;
