#include "daemon/datapath/ports.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"
#include "base/siphash.h"

struct ports_endpoint {
	struct hash_item item; /* first: the table holds these */
	struct port_use use;
	bool warned;
};

struct ports {
	struct hash endpoints;
	struct siphash_key key;
	unsigned range;
	void (*on_high)(void *, const struct port_use *);
	void *arg;
};

struct ports *ports_new(
	unsigned range, void (*on_high)(void *arg, const struct port_use *use), void *arg)
{
	struct ports *ports = calloc(1, sizeof(*ports));

	if (!ports)
		return NULL;
	*ports = (struct ports){.range = range, .on_high = on_high, .arg = arg};
	/* Without randomness only the protection against chosen collisions is lost. */
	(void)!getrandom(&ports->key, sizeof(ports->key), GRND_NONBLOCK);
	return ports;
}

static void free_endpoint(void *arg, struct hash_item *item)
{
	(void)arg;
	free(item);
}

void ports_free(struct ports *ports)
{
	if (!ports)
		return;
	hash_each(&ports->endpoints, free_endpoint, NULL);
	hash_fini(&ports->endpoints);
	free(ports);
}

static uint64_t key_of(const struct ports *ports, const struct port_use *use)
{
	uint8_t bytes[35];

	memcpy(bytes, &use->egress, 16);
	memcpy(bytes + 16, &use->partner, 16);
	memcpy(bytes + 32, &use->port, 2);
	bytes[34] = use->protocol;
	return siphash(&ports->key, bytes, sizeof(bytes)).words[0];
}

static bool is_same(const struct port_use *a, const struct port_use *b)
{
	return a->port == b->port && a->protocol == b->protocol &&
	       addr_equal(&a->egress, &b->egress) && addr_equal(&a->partner, &b->partner);
}

static struct ports_endpoint *get(struct ports *ports, const struct port_use *use)
{
	uint64_t key = key_of(ports, use);
	struct hash_item *item = hash_first(&ports->endpoints, key);
	struct ports_endpoint *endpoint;

	for (; item; item = hash_next(item)) {
		endpoint = (struct ports_endpoint *)item;
		if (is_same(&endpoint->use, use))
			return endpoint;
	}
	endpoint = calloc(1, sizeof(*endpoint));
	if (!endpoint)
		return NULL;
	endpoint->use = *use;
	endpoint->use.used = 0;
	if (hash_add(&ports->endpoints, &endpoint->item, key))
		return endpoint;
	free(endpoint);
	return NULL;
}

static bool is_above(const struct ports *ports, const struct ports_endpoint *endpoint, unsigned per)
{
	return (uint64_t)endpoint->use.used * 100 >= (uint64_t)ports->range * per;
}

struct ports_endpoint *ports_take(struct ports *ports, const struct port_use *use)
{
	struct ports_endpoint *endpoint = get(ports, use);

	if (!endpoint)
		return NULL;
	endpoint->use.used++;
	if (!endpoint->warned && is_above(ports, endpoint, PORTS_HIGH)) {
		endpoint->warned = true;
		ports->on_high(ports->arg, &endpoint->use);
	}
	return endpoint;
}

void ports_release(struct ports *ports, struct ports_endpoint *endpoint)
{
	if (!endpoint)
		return;
	CHECK(endpoint->use.used > 0);
	endpoint->use.used--;
	if (!is_above(ports, endpoint, PORTS_LOW))
		endpoint->warned = false;
	if (endpoint->use.used == 0) {
		hash_remove(&ports->endpoints, &endpoint->item);
		free(endpoint);
	}
}

size_t ports_count(const struct ports *ports)
{
	return ports->endpoints.n;
}

unsigned ports_range(const struct ports *ports)
{
	return ports->range;
}

/* The best so far, as a heap with the least of them first. */
struct best {
	struct port_use *at;
	size_t n, max;
};

static void sink_first(struct best *best)
{
	size_t at = 0;

	for (;;) {
		size_t least = at;
		struct port_use held;

		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < best->n; child++)
			if (best->at[child].used < best->at[least].used)
				least = child;
		if (least == at)
			return;
		held = best->at[at];
		best->at[at] = best->at[least];
		best->at[least] = held;
		at = least;
	}
}

static int by_use(const void *a, const void *b)
{
	const struct port_use *x = a, *y = b;

	return x->used < y->used ? 1 : x->used > y->used ? -1 : 0;
}

static int by_use_up(const void *a, const void *b)
{
	return by_use(b, a);
}

static void consider(void *arg, struct hash_item *item)
{
	const struct port_use *use = &((struct ports_endpoint *)item)->use;
	struct best *best = arg;

	if (best->n < best->max) {
		best->at[best->n++] = *use;
		if (best->n == best->max) /* what is sorted is a heap */
			qsort(best->at, best->n, sizeof(*best->at), by_use_up);
	} else if (use->used > best->at[0].used) {
		best->at[0] = *use;
		sink_first(best);
	}
}

size_t ports_busiest(const struct ports *ports, struct port_use *out, size_t max)
{
	struct best best = {out, 0, max};

	if (max == 0)
		return 0;
	hash_each(&ports->endpoints, consider, &best);
	qsort(out, best.n, sizeof(*out), by_use);
	return best.n;
}
