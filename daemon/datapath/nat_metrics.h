/*
 * nat_metrics.h - what the gate knows of NAT, as Prometheus text.
 *
 * A builder of bounded size: whoever has the numbers puts them in, family by family in the order of
 * enum nat_family.  What does not fit is left out, and egret_nat_metrics_complete says so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/text.h"

#define NAT_METRICS_MOST ((size_t)4 << 20) /* bytes of a page */

/* The labels of a value are given in the order named here. */
enum nat_family {
	NAT_LEAKS_PREVENTED,        /* partner, source */
	NAT_DENIED,                 /* section, reason */
	NAT_REPAIRS,                /* kind: "table", "routes", "addresses", "sysctls" */
	NAT_EGRESS_ADDRESS_PRESENT, /* address; 0 or 1 */
	NAT_PORTS_USED,             /* address, destination, port, protocol */
	NAT_PORTS_AVAILABLE,        /* the same */
	NAT_CONNTRACK_ENTRIES,
	NAT_CONNTRACK_LIMIT,
	NAT_CONNTRACK_INSERT_FAILED,
	NAT_CONNTRACK_DROP,
	NAT_CONNTRACK_EARLY_DROP,
	NAT_FLOWS,
	NAT_FLOWS_STARTED,
	NAT_FLOWS_ENDED,
	NAT_FLOW_EVENTS_LOST,
	NAT_FLOW_LINES_LOST,
	NAT_LEARNT_ADDRESSES, /* partner */
	NAT_GATEWAY_UP,       /* gateway, ip_version; 0 or 1 */
	NAT_GATEWAY_OWNED,    /* gateway */
	NAT_GATEWAY_RTT,      /* gateway, ip_version; seconds */
	NAT_GATEWAY_CHANGE,   /* the same; Unix time */
	NAT_GATEWAY_CONFLICTS,
	NAT_PLAN_TIME, /* Unix time; nat_metrics_seconds() */
	NAT_FAMILIES
};

struct nat_metrics;

/* A page of up to `most` bytes, normally NAT_METRICS_MOST.  NULL: no memory. */
struct nat_metrics *nat_metrics_begin(size_t most);

/* Adds a value.  `labels` as LABELS("a", "b"), with as many as the family has. */
void nat_metrics_value(struct nat_metrics *page, enum nat_family family, uint64_t value,
	const char *const *labels);
void nat_metrics_seconds(
	struct nat_metrics *page, enum nat_family family, double value, const char *const *labels);
#define LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_LABELS ((const char *const[]){NULL})

/* Ends it, and frees the builder.  malloc()ed text, the caller's; NULL: no memory. */
char *nat_metrics_finish(struct nat_metrics *page, size_t *length) WARN_UNUSED;

/* Is it such a page: whole lines of text, each about a family of egret's NAT? */
bool nat_metrics_is_page(struct text page);
