/*
 * rule.h - a plan's rule as nftables expressions, and the text to compare rules by.
 */
#pragma once

#include <libnftnl/rule.h>

#include "nat/plan.h"

/* The rule, the caller's to free; NULL without memory. */
struct nftnl_rule *rule_make(const char *table, const char *chain, const struct plan_rule *rule);

/* The expressions of a rule as text in which two rules that do the same are equal; malloc()ed,
 * NULL without memory.  For rules made here and for rules read from the kernel. */
char *rule_describe(const struct nftnl_rule *rule);
