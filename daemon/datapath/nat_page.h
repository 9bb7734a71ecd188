/*
 * nat_page.h - when the gate makes NAT's page of metrics, and hands it to the proxy.
 *
 * Once a second while somebody reads /metrics, else rarely: the numbers cost the kernel work.  A
 * page that says what the last one said is not sent.
 */
#pragma once

#include <ev.h>

#include "base/check.h"
#include "daemon/datapath/nat_metrics.h"

struct nat_page;

struct nat_page_events {
	/* Put in what there is, in the order of the families. */
	void (*fill)(void *arg, struct nat_metrics *page);
	int (*send)(void *arg, int fd); /* 0 or -errno: it is tried again with the next page */
	void *arg;
};

/* NULL: no memory. */
struct nat_page *nat_page_new(struct ev_loop *loop, const struct nat_page_events *events);
void nat_page_free(struct nat_page *page); /* accepts NULL */

void nat_page_begin(struct nat_page *page);   /* a new proxy, which has no page: makes one now */
void nat_page_scraped(struct nat_page *page); /* somebody reads it */
