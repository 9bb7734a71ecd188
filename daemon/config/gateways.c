/*
 * gateways.c - the gateways of the cluster, as egret.ini names them.
 *
 * Which of its addresses is which follows from the pod networks, so that nobody has to say it.
 */
#include "daemon/config/gateways.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "acl/values.h"

/* The next word of `rest`; empty at the end. */
static struct text take_word(struct text *rest)
{
	struct text word;

	while (rest->length > 0 && strchr(" \t", rest->at[0])) {
		rest->at++;
		rest->length--;
	}
	word = (struct text){rest->at, 0};
	while (word.length < rest->length && !strchr(" \t", rest->at[word.length]))
		word.length++;
	rest->at += word.length;
	rest->length -= word.length;
	return word;
}

static bool is_name(struct text text)
{
	for (size_t i = 0; i < text.length; i++) {
		char c = text.at[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!letter && (i == 0 || !((c >= '0' && c <= '9') || (c && strchr("._-", c)))))
			return false;
	}
	return text.length > 0 && text.length < GATEWAY_NAME;
}

static bool has_address(const struct gateway_peer *gateway, const struct addr *addr)
{
	for (size_t i = 0; i < gateway->n_given; i++)
		if (addr_equal(&gateway->given[i], addr))
			return true;
	return false;
}

static bool is_taken(const struct gateway_list *list, const struct gateway_peer *gateway)
{
	for (size_t i = 0; i < list->n; i++) {
		if (strcmp(list->at[i].name, gateway->name) == 0)
			return true;
		for (size_t j = 0; j < gateway->n_given; j++)
			if (has_address(&list->at[i], &gateway->given[j]))
				return true;
	}
	return false;
}

static bool parse_address(struct gateway_peer *gateway, struct text word)
{
	struct addr addr;
	enum addr_class class;

	if (gateway->n_given == GATEWAY_ADDRESSES || !addr_parse(&addr, word))
		return false;
	class = addr_classify(&addr);
	if (class == ADDR_UNSPECIFIED || class == ADDR_MULTICAST || class == ADDR_LOOPBACK ||
		class == ADDR_LINK_LOCAL || has_address(gateway, &addr))
		return false;
	gateway->given[gateway->n_given++] = addr;
	return true;
}

static bool parse_one(struct gateway_peer *gateway, struct text item)
{
	struct text word = take_word(&item);

	if (!is_name(word))
		return false;
	memcpy(gateway->name, word.at, word.length);
	while ((word = take_word(&item)).length > 0)
		if (!parse_address(gateway, word))
			return false;
	return gateway->n_given > 0;
}

int gateways_parse(struct gateway_list *list, const char *text)
{
	struct text rest = text_of(text), item;

	list->at = calloc(GATEWAYS_MOST, sizeof(*list->at));
	if (!list->at)
		return -ENOMEM;
	while (list_take(&rest, &item)) {
		struct gateway_peer gateway = {0};

		if (list->n == GATEWAYS_MOST || !parse_one(&gateway, item) ||
			is_taken(list, &gateway))
			return -EINVAL;
		list->at[list->n++] = gateway;
	}
	return list->n > 0 ? 0 : -EINVAL;
}

bool gateways_equal(const struct gateway_list *a, const struct gateway_list *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct gateway_peer *x = &a->at[i], *y = &b->at[i];

		if (strcmp(x->name, y->name) != 0 || x->n_given != y->n_given ||
			memcmp(x->given, y->given, sizeof(x->given)) != 0)
			return false;
	}
	return true;
}

static bool is_in(const struct cidr_list *pods, const struct addr *addr)
{
	for (size_t i = 0; i < pods->n; i++)
		if (cidr_contains(&pods->at[i], addr))
			return true;
	return false;
}

static bool place(struct gateway_peer *gateway, const struct addr *addr, bool in_pods)
{
	int version = addr_is_v4(addr) ? GATEWAY_V4 : GATEWAY_V6;
	bool *has = in_pods ? &gateway->has_pod[version] : &gateway->has_node[version];

	if (*has)
		return false;
	*has = true;
	*(in_pods ? &gateway->pod[version] : &gateway->node[version]) = *addr;
	return true;
}

const struct gateway_peer *gateways_place(struct gateway_list *list, const struct cidr_list *pods)
{
	for (size_t i = 0; i < list->n; i++) {
		struct gateway_peer *g = &list->at[i];

		memset(g->has_node, 0, sizeof(g->has_node));
		memset(g->has_pod, 0, sizeof(g->has_pod));
		for (size_t j = 0; j < g->n_given; j++)
			if (!place(g, &g->given[j], is_in(pods, &g->given[j])))
				return g;
	}
	return NULL;
}

const struct addr *gateway_probed(const struct gateway_peer *gateway, size_t version)
{
	return gateway->has_pod[version]    ? &gateway->pod[version]
	       : gateway->has_node[version] ? &gateway->node[version]
					    : NULL;
}
