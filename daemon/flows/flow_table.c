#include "daemon/flows/flow_table.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/siphash.h"

#define NAMES 65536

struct name {
	struct hash_item item; /* first */
	uint64_t flows;        /* that began under it */
	double last;           /* when the last one did, Unix time */
	char text[];
};

struct flow_table {
	struct hash flows, names;
	size_t max;
};

struct flow_table *flow_table_new(size_t max)
{
	struct flow_table *table = calloc(1, sizeof(*table));

	if (table)
		table->max = max;
	return table;
}

static void free_item(void *arg, struct hash_item *item)
{
	(void)arg;
	free(item);
}

void flow_table_free(struct flow_table *table)
{
	if (!table)
		return;
	hash_each(&table->flows, free_item, NULL);
	hash_each(&table->names, free_item, NULL);
	hash_fini(&table->flows);
	hash_fini(&table->names);
	free(table);
}

static bool tuple_equal(const struct flow_tuple *a, const struct flow_tuple *b)
{
	return a->sport == b->sport && a->dport == b->dport && a->protocol == b->protocol &&
	       a->type == b->type && a->code == b->code && addr_equal(&a->src, &b->src) &&
	       addr_equal(&a->dst, &b->dst);
}

struct known_flow *flow_table_find(const struct flow_table *table, const struct flow *flow)
{
	struct hash_item *item = hash_first(&table->flows, flow->id);

	for (; item; item = hash_next(item)) {
		struct known_flow *known = (struct known_flow *)item;

		if (known->zone == flow->zone && tuple_equal(&known->original, &flow->original))
			return known;
	}
	return NULL;
}

struct known_flow *flow_table_add(struct flow_table *table, const struct flow *flow)
{
	struct known_flow *known = table->flows.n < table->max ? calloc(1, sizeof(*known)) : NULL;

	if (!known)
		return NULL;
	known->original = flow->original;
	known->reply = flow->reply;
	known->mark = flow->mark;
	known->id = flow->id;
	known->zone = flow->zone;
	known->version = flow->version;
	known->start = flow->start;
	if (hash_add(&table->flows, &known->item, flow->id))
		return known;
	free(known);
	return NULL;
}

void flow_table_remove(struct flow_table *table, struct known_flow *known)
{
	hash_remove(&table->flows, &known->item);
	free(known);
}

size_t flow_table_count(const struct flow_table *table)
{
	return table->flows.n;
}

struct walk {
	void (*each)(void *, struct known_flow *);
	void *arg;
};

static void on_item(void *arg, struct hash_item *item)
{
	const struct walk *walk = arg;

	walk->each(walk->arg, (struct known_flow *)item);
}

void flow_table_each(
	struct flow_table *table, void (*each)(void *arg, struct known_flow *known), void *arg)
{
	struct walk walk = {each, arg};

	hash_each(&table->flows, on_item, &walk);
}

const char *flow_table_name(struct flow_table *table, const char *name)
{
	static const struct siphash_key key = {{0}}; /* names are the operator's */
	struct hash_item *item;
	struct name *added;
	uint64_t digest;
	size_t size;

	if (!name)
		return NULL;
	size = strlen(name) + 1;
	digest = siphash(&key, name, size).words[0];
	for (item = hash_first(&table->names, digest); item; item = hash_next(item))
		if (strcmp(((struct name *)item)->text, name) == 0)
			return ((struct name *)item)->text;
	added = table->names.n < NAMES ? malloc(sizeof(*added) + size) : NULL;
	if (!added)
		return NULL;
	added->flows = 0;
	added->last = 0;
	memcpy(added->text, name, size);
	if (hash_add(&table->names, &added->item, digest))
		return added->text;
	free(added);
	return NULL;
}

void flow_table_count_begin(const char *name, double when)
{
	struct name *n = name ? (struct name *)(name - offsetof(struct name, text)) : NULL;

	if (!n)
		return;
	n->flows++;
	n->last = when > n->last ? when : n->last;
}

struct name_walk {
	void (*each)(void *arg, const struct flows_partner *partner);
	void *arg;
};

static void on_name(void *arg, struct hash_item *item)
{
	const struct name_walk *walk = arg;
	const struct name *n = (const struct name *)item;
	const struct flows_partner partner = {n->text, n->flows, n->last};

	walk->each(walk->arg, &partner);
}

void flow_table_each_name(const struct flow_table *table,
	void (*each)(void *arg, const struct flows_partner *partner), void *arg)
{
	struct name_walk walk = {each, arg};

	hash_each(&table->names, on_name, &walk);
}
