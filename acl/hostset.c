/*
 * A name is walked from its last label: each node's `below` chain holds the sections
 * with "*.x" or ".x" there, the last node's `self` chain those with "x" or ".x".  The walk ends
 * at the first label that no pattern has, so a long name made up by a client
 * costs no more than the longest pattern.
 *
 * Addresses hang below a root of their own, with their 16 bytes as one label: no name can
 * be taken for one.
 */
#include "acl/hostset.h"

#include <errno.h>
#include <sys/auxv.h>

#define ROOT 1u      /* node 0 means none */
#define ADDRESSES 2u /* parent of all addresses */
#define LABEL_MAX 255

struct hostset_node {
	uint32_t parent;
	uint32_t label;       /* where it begins in the text */
	uint32_t self, below; /* chains */
	uint8_t length;       /* of the label */
};

static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash(const struct hostset *set, uint32_t parent, struct text label)
{
	uint64_t state = fold(set->seed[0] ^ parent, set->seed[1] ^ label.length);
	uint64_t word;

	for (; label.length > 0; label.at += sizeof(word)) {
		size_t n = label.length < sizeof(word) ? label.length : sizeof(word);

		word = 0;
		memcpy(&word, label.at, n);
		state = fold(state ^ word, set->seed[1]);
		label.length -= n;
		if (n < sizeof(word))
			break;
	}
	return (uint32_t)(state ^ state >> 32);
}

static struct text label_of(const struct hostset *set, uint32_t node)
{
	return (struct text){set->text + set->nodes[node].label, set->nodes[node].length};
}

/* The slot of that child, or the free one where it belongs. */
static uint32_t *slot_of(const struct hostset *set, uint32_t parent, struct text label)
{
	uint32_t i = hash(set, parent, label) & (set->n_slots - 1);

	for (;; i = (i + 1) & (set->n_slots - 1)) {
		uint32_t node = set->slots[i];

		if (!node || (set->nodes[node].parent == parent &&
				     text_equal(label_of(set, node), label)))
			return &set->slots[i];
	}
}

static int set_slots(struct hostset *set, uint32_t n)
{
	uint32_t *old = set->slots;
	uint32_t node;

	set->slots = calloc(n, sizeof(*set->slots));
	if (!set->slots) {
		set->slots = old;
		return -ENOMEM;
	}
	set->n_slots = n;
	free(old);
	for (node = ADDRESSES + 1; node < set->n_nodes; node++)
		*slot_of(set, set->nodes[node].parent, label_of(set, node)) = node;
	return 0;
}

/* Makes room in `*array` for `more` elements. */
static int reserve(void *array, uint32_t *max, size_t n, size_t more, size_t size)
{
	size_t want = *max ? *max : 64;
	void *grown;

	if (n + more > UINT32_MAX)
		return -EFBIG;
	if (n + more <= *max)
		return 0;
	while (want < n + more)
		want *= 2;
	if (want > UINT32_MAX)
		want = UINT32_MAX;
	memcpy(&grown, array, sizeof(grown));
	grown = realloc(grown, want * size);
	if (!grown)
		return -ENOMEM;
	memcpy(array, &grown, sizeof(grown));
	*max = (uint32_t)want;
	return 0;
}

int hostset_init(struct hostset *set)
{
	const void *random = (const void *)(uintptr_t)getauxval(AT_RANDOM);
	int error;

	*set = (struct hostset){.seed = {0x9e3779b97f4a7c15u, 0xd6e8feb86659fd93u}};
	if (random)
		memcpy(set->seed, random, sizeof(set->seed));
	set->seed[1] |= 1;
	error = reserve(&set->nodes, &set->max_nodes, 0, ADDRESSES + 1, sizeof(*set->nodes));
	if (error)
		return error;
	memset(set->nodes, 0, (ADDRESSES + 1) * sizeof(*set->nodes));
	set->n_nodes = ADDRESSES + 1;
	return set_slots(set, 64);
}

void hostset_fini(struct hostset *set)
{
	chains_fini(&set->chains);
	free(set->nodes);
	free(set->slots);
	free(set->text);
	free(set->patterns);
	*set = (struct hostset){0};
}

static int new_child(
	struct hostset *set, uint32_t parent, struct text label, uint32_t *slot, uint32_t *child)
{
	int error = reserve(&set->nodes, &set->max_nodes, set->n_nodes, 1, sizeof(*set->nodes));

	if (error)
		return error;
	*child = set->n_nodes++;
	set->nodes[*child] = (struct hostset_node){
		.parent = parent,
		.label = (uint32_t)(label.at - set->text),
		.length = (uint8_t)label.length,
	};
	*slot = *child;
	if (set->n_nodes <= set->n_slots / 4 * 3)
		return 0;
	if (set->n_slots > UINT32_MAX / 2)
		return -EFBIG;
	return set_slots(set, 2 * set->n_slots);
}

/* The child with that label, made if need be.  `label` points into the set's text. */
static int child_of(struct hostset *set, uint32_t parent, struct text label, uint32_t *child)
{
	uint32_t *slot = slot_of(set, parent, label);

	CHECK(label.length <= LABEL_MAX);
	*child = *slot;
	return *child ? 0 : new_child(set, parent, label, slot, child);
}

/* Cuts the last label off `name`. */
static struct text last_label(struct text *name)
{
	const char *dot = memrchr(name->at, '.', name->length);
	const char *at = dot ? dot + 1 : name->at;
	struct text label = {at, (size_t)(name->at + name->length - at)};

	name->length = dot ? (size_t)(dot - name->at) : 0;
	return label;
}

/* A place in the text for one more pattern of `length` bytes, counted and NUL-terminated. */
static int new_pattern(struct hostset *set, size_t length, char **at)
{
	int error = reserve(
		&set->patterns, &set->max_patterns, set->n_patterns, 1, sizeof(*set->patterns));

	if (!error)
		error = reserve(&set->text, &set->text_max, set->text_used, length + 1, 1);
	if (error)
		return error;
	set->patterns[set->n_patterns++] = set->text_used;
	*at = set->text + set->text_used;
	(*at)[length] = '\0';
	set->text_used += (uint32_t)length + 1;
	return 0;
}

int hostset_add(struct hostset *set, enum hostset_match match, struct text name, uint32_t section)
{
	static const char *const prefixes[] = {
		[HOSTSET_EXACT] = "", [HOSTSET_BELOW] = "*.", [HOSTSET_TREE] = "."};
	struct text prefix = text_of(prefixes[match]);
	uint32_t node = ROOT;
	char *at;
	int error;

	if (name.length == 0)
		prefix.length = 1;
	error = new_pattern(set, prefix.length + name.length, &at);
	if (error)
		return error;
	memcpy(at, prefix.at, prefix.length);
	if (name.length > 0)
		memcpy(at + prefix.length, name.at, name.length);
	name.at = at + prefix.length;
	while (!error && name.length > 0)
		error = child_of(set, node, last_label(&name), &node);
	if (!error && match != HOSTSET_BELOW)
		error = chain_append(&set->chains, &set->nodes[node].self, section);
	if (!error && match != HOSTSET_EXACT)
		error = chain_append(&set->chains, &set->nodes[node].below, section);
	return error;
}

int hostset_add_address(struct hostset *set, const struct addr *addr, uint32_t section)
{
	struct text label = {NULL, sizeof(addr->bytes)};
	char print[ADDR_TEXT];
	uint32_t node;
	char *at;
	int error;

	addr_print(addr, print);
	error = new_pattern(set, strlen(print) + 1 + sizeof(addr->bytes), &at);
	if (error)
		return error;
	memcpy(at, print, strlen(print) + 1);
	label.at = memcpy(at + strlen(print) + 1, addr->bytes, sizeof(addr->bytes));
	error = child_of(set, ADDRESSES, label, &node);
	if (error)
		return error;
	return chain_append(&set->chains, &set->nodes[node].self, section);
}

static void trim(void *array, uint32_t *max, uint32_t n, size_t size)
{
	void *trimmed;

	if (n == 0 || n == *max)
		return;
	memcpy(&trimmed, array, sizeof(trimmed));
	trimmed = realloc(trimmed, n * size);
	if (!trimmed)
		return;
	memcpy(array, &trimmed, sizeof(trimmed));
	*max = n;
}

void hostset_trim(struct hostset *set)
{
	chains_trim(&set->chains);
	trim(&set->nodes, &set->max_nodes, set->n_nodes, sizeof(*set->nodes));
	trim(&set->text, &set->text_max, set->text_used, 1);
	trim(&set->patterns, &set->max_patterns, set->n_patterns, sizeof(*set->patterns));
}

static size_t note(uint32_t *found, size_t n, uint32_t chain)
{
	found[n] = chain;
	return n + (chain != 0);
}

size_t hostset_find(const struct hostset *set, struct text name, uint32_t found[HOSTSET_FOUND])
{
	uint32_t node = ROOT;
	size_t n = note(found, 0, set->nodes[ROOT].below);

	while (name.length > 0 && n < HOSTSET_FOUND) {
		node = *slot_of(set, node, last_label(&name));
		if (!node)
			break;
		n = note(
			found, n, name.length > 0 ? set->nodes[node].below : set->nodes[node].self);
	}
	return n;
}

size_t hostset_find_address(
	const struct hostset *set, const struct addr *addr, uint32_t found[HOSTSET_FOUND])
{
	struct text label = {(const char *)addr->bytes, sizeof(addr->bytes)};
	size_t n = note(found, 0, set->nodes[ROOT].below);

	return note(found, n, set->nodes[*slot_of(set, ADDRESSES, label)].self);
}

const char *hostset_pattern(const struct hostset *set, uint32_t index)
{
	CHECK(index < set->n_patterns);
	return set->text + set->patterns[index];
}
