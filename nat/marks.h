/*
 * marks.h - what a rule, whoever made it, writes into the marks of packets and connections.
 */
#pragma once

#include <libnftnl/rule.h>
#include <stdbool.h>
#include <stdint.h>

enum mark { MARK_PACKET, MARK_CONNTRACK, MARK_KINDS };

struct mark_write {
	enum mark mark;
	uint32_t bits;  /* that may be others afterwards */
	uint32_t value; /* of these bits, when exact */
	bool exact;     /* the bits become `value`, whatever they were */
};

/* Calls `each` for every write.  What is too clever to be followed counts as all bits. */
void marks_each(const struct nftnl_rule *rule,
	void (*each)(void *arg, const struct mark_write *write), void *arg);
