/*
 * gateways.h - the gateways of the cluster, as egret.ini names them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "acl/policy.h"
#include "base/addr.h"
#include "base/check.h"

#define GATEWAYS_MOST 16
#define GATEWAY_NAME 32     /* bytes, with its NUL */
#define GATEWAY_ADDRESSES 4 /* node and pod network, of both versions */

enum { GATEWAY_V4, GATEWAY_V6, GATEWAY_VERSIONS };

struct gateway_peer {
	char name[GATEWAY_NAME];
	struct addr given[GATEWAY_ADDRESSES]; /* as they are written */
	size_t n_given;
	/* by version, from gateways_place() on */
	struct addr node[GATEWAY_VERSIONS], pod[GATEWAY_VERSIONS];
	bool has_node[GATEWAY_VERSIONS], has_pod[GATEWAY_VERSIONS];
};

struct gateway_list {
	struct gateway_peer *at;
	size_t n;
};

/* Reads "NAME ADDRESS..., NAME ADDRESS...": names and addresses each once.  `list` is zero; its
 * `at` is malloc()ed.  0, -EINVAL or -ENOMEM. */
int gateways_parse(struct gateway_list *list, const char *text) WARN_UNUSED;
bool gateways_equal(const struct gateway_list *a, const struct gateway_list *b);

/* Tells the addresses in the pod networks from those of the nodes.  NULL, or the gateway that has
 * two of a kind. */
const struct gateway_peer *gateways_place(struct gateway_list *list, const struct cidr_list *pods);

/* Where it is asked for its health over a version: in the pod network if it can be, since what is
 * steered to it goes there too.  NULL: it has no address of the version. */
const struct addr *gateway_probed(const struct gateway_peer *gateway, size_t version);
