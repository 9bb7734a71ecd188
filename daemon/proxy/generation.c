#include "daemon/proxy/generation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acl/egress.h"
#include "daemon/net/hosts.h"

static int parse(struct generation *g, struct files *files, const char *name, struct error *e)
{
	struct text hosts = {NULL, 0};

	g->config = config_new(files, name, e);
	if (!g->config)
		return -EINVAL;
	g->policy =
		policy_new(files, g->config->acl, g->config->pod_cidr.at, g->config->pod_cidr.n, e);
	if (!g->policy)
		return -EINVAL;
	if (!names_init(&g->hosts, 0))
		return error_set(e, -ENOMEM, "out of memory");
	if (!g->config->dns_hosts_file)
		return 0;
	if (files_get(files, g->config->dns_hosts_file, &hosts, e))
		return -EINVAL;
	return hosts_add(&g->hosts, g->config->dns_hosts_file, hosts, e);
}

struct generation *generation_new(const struct message *message, int fd, struct error *e)
{
	struct generation *g = calloc(1, sizeof(*g));
	struct files *files;
	char name[sizeof(message->text)];

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
	snprintf(name, sizeof(name), "%.*s", (int)sizeof(message->text) - 1, message->text);
	files = files_unpack(fd, e);
	if (!files || parse(g, files, name, e)) {
		generation_put(g);
		g = NULL;
	}
	files_free(files);
	return g;
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
	names_fini(&g->hosts);
	free(g);
}

size_t generation_egresses(
	const struct generation *g, const struct section *section, const struct addr **at)
{
	bool own = section && section->n_egress > 0;

	*at = own ? section->egress : g->egress;
	return own ? section->n_egress : g->n_egress;
}

enum spread generation_spread(const struct generation *g, const struct section *section)
{
	return section && section->n_egress > 0 ? section->spread : g->config->spread;
}

const struct addr *generation_egress(const struct generation *g, const struct section *section,
	const struct addr *like, const struct addr *client, uint32_t random, bool *none)
{
	const struct addr *at, *chosen;
	size_t n = generation_egresses(g, section, &at);

	chosen = egress_choose(at, n, generation_spread(g, section), like, client, random);
	*none = !chosen && (n > 0 || g->config->nat);
	return chosen;
}

struct resolver *generation_resolver(struct generation *g, struct ev_loop *loop, struct error *e)
{
	const struct config *config = g->config;
	const struct resolver_options options = {.servers = config->dns_servers.at,
		.n_servers = config->dns_servers.n,
		.timeout = config->dns_timeout,
		.cache_names = config->dns_cache,
		.min_ttl = config->dns_min_ttl,
		.max_ttl = config->dns_max_ttl,
		.negative_ttl = config->dns_negative_ttl,
		.queries = config->dns_queries,
		.waiters = config->dns_waiters};
	struct resolver *resolver = resolver_new(loop, &options, e);

	if (resolver)
		resolver_set_hosts(resolver, &g->hosts);
	return resolver;
}
