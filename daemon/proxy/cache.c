/*
 * cache.c - the cache of all workers: what is stored, and what is being asked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/proxy/cached.h"

static int memory(size_t size, struct error *e)
{
	int fd = memfd_create("egret-cache", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size)) {
		error_set(e, -errno, "memory for the cache: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

struct cache *cache_new(const struct config *config, int fd, struct error *e)
{
	struct store_options options = {.fd = fd >= 0 ? fd : memory(config->cache_size, e),
		.size = config->cache_size,
		.disk = fd >= 0,
		.max_object = config->cache_max_object};
	struct cache *cache = options.fd < 0 ? NULL : calloc(1, sizeof(*cache));

	if (options.max_object > options.size / 4)
		options.max_object = options.size / 4;
	if (!cache)
		return NULL;
	cache->flights = flights_new();
	cache->store = store_new(&options, e);
	if (cache->flights && cache->store)
		return cache;
	if (!cache->flights)
		error_set(e, -ENOMEM, "out of memory");
	cache_free(cache);
	return NULL;
}

void cache_free(struct cache *cache)
{
	if (!cache)
		return;
	flights_free(cache->flights);
	if (cache->store)
		store_free(cache->store);
	free(cache);
}
