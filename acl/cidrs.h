/*
 * cidrs.h - networks as a sorted list without overlap: IPv4 first, then IPv6.
 */
#pragma once

#include "acl/policy.h"

/* Sorts and drops what another network of the list holds; returns how many are left. */
size_t cidrs_sort(struct cidr *at, size_t n);

/* The order of that list, for qsort(3): of two with one address, the wider network is first. */
int cidrs_in_order(const void *left, const void *right);

/* Does a network of the sorted list hold `addr`? */
bool cidrs_contain(const struct cidr_list *list, const struct addr *addr);
