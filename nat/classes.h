/*
 * classes.h - numbers for egress addresses.
 *
 * The class of a flow, in its conntrack mark, is the list of egress addresses that it may have.
 */
#pragma once

#include "nat/build.h"

/* Of plan->class_mask, counted from its lowest bit. */
#define CLASS_GATEWAY 1 /* the gateway's addresses */
#define CLASS_LOCAL 2   /* as if egret were not there */
#define CLASS_FIRST 16  /* of a list that sections name */

uint32_t class_mark(const struct plan *plan, uint32_t class);

/* The lowest of the bits that are ours, which holds no class. */
uint32_t class_unjudged(uint32_t ct_mark_mask);

/* Gives a flow the class with this mark, on which the guard has still to judge; or none: 0. */
struct plan_step class_step(const struct plan *plan, uint32_t mark);

/* The marks of the sections by index; 0: it translates nothing.  The plan gets a class for each.
 * The caller frees the marks.  NULL without memory, and the build fails. */
uint32_t *classes_marks(
	struct build *b, const struct policy *policy, enum plan_fallback fallback) WARN_UNUSED;
