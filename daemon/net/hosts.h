/*
 * hosts.h - hosts(5) text: names that have addresses without DNS.
 *
 * "ADDRESS NAME [NAME ...]", "#" begins a comment.  A name may stand in several lines and has the
 * addresses of all of them, without doubles, up to RESOLVER_ADDRS.  Letters of both cases are the
 * same, one trailing dot is dropped.  Addresses with a zone (fe80::1%eth0) belong to one link and
 * are passed over.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "daemon/net/names.h"

/* Adds the names of `text`, pinned, never to expire.  0; or -EINVAL or -ENOMEM with `e` saying
 * "FILE:LINE: ...".  A table of such names alone may be read by several threads. */
int hosts_add(struct names *names, const char *file, struct text text, struct error *e) WARN_UNUSED;
