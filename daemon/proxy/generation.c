#include "daemon/proxy/generation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct generation *generation_new(const struct message *message, int fd, struct error *e)
{
	struct generation *g = calloc(1, sizeof(*g));

	if (!g) {
		error_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	atomic_init(&g->references, 1);
	g->number = message->number;
	memcpy(g->digest, message->digest, sizeof(g->digest));
	g->digest[sizeof(g->digest) - 1] = 0;
	g->n_egress = message->n_egress <= COUNT_OF(g->egress) ? message->n_egress : 0;
	memcpy(g->egress, message->egress, sizeof(g->egress));
	g->files = files_unpack(fd, e);
	if (!g->files)
		goto out;
	g->config = config_new(g->files, "egret.ini", e);
	if (!g->config)
		goto out;
	g->policy = policy_new(g->files, g->config->acl, g->config->pod_cidr.at,
		g->config->pod_cidr.n, e);
	if (!g->policy)
		goto out;
	return g;
out:
	generation_put(g);
	return NULL;
}

struct generation *generation_get(struct generation *g)
{
	atomic_fetch_add_explicit(&g->references, 1, memory_order_relaxed);
	return g;
}

void generation_put(struct generation *g)
{
	if (!g || atomic_fetch_sub_explicit(&g->references, 1, memory_order_acq_rel) != 1)
		return;
	policy_put(g->policy);
	config_free(g->config);
	files_free(g->files);
	free(g);
}

const struct addr *generation_egress(const struct generation *g, const struct section *section,
	const struct addr *like, bool *none)
{
	const struct addr *own = section ? section_egress(section, like) : NULL;

	*none = false;
	if (own)
		return own;
	if (section && section->n_egress > 0) {
		*none = true;
		return NULL;
	}
	for (size_t i = 0; i < g->n_egress; i++)
		if (addr_is_v4(&g->egress[i]) == addr_is_v4(like))
			return &g->egress[i];
	*none = g->n_egress > 0;
	return NULL;
}
