/*
 * counts.c - what the kernel's table has counted.
 */
#include "nat/counts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <libnftnl/object.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include "nat/netlink.h"

#define ATTEMPTS 10

struct reading {
	const char *table;
	size_t address_size; /* of pairs: 4 or 16 */
	void (*each_pair)(void *arg, const struct counts_pair *pair);
	void (*each_counter)(void *arg, const char *name, uint64_t packets);
	void *arg;
};

/* The attribute of `type` inside a nest, or NULL. */
static const struct nlattr *inside(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *attr;

	if (nest)
		mnl_attr_for_each_nested (attr, nest)
			if (mnl_attr_get_type(attr) == type)
				return attr;
	return NULL;
}

/* The expression of an element: one alone, or the first of a list. */
static uint64_t packets_of(const struct nlattr *element)
{
	const struct nlattr *expr = inside(element, NFTA_SET_ELEM_EXPR);
	const struct nlattr *data, *packets;

	if (!expr)
		expr = inside(inside(element, NFTA_SET_ELEM_EXPRESSIONS), NFTA_LIST_ELEM);
	data = inside(expr, NFTA_EXPR_DATA);
	packets = inside(data, NFTA_COUNTER_PACKETS);
	return packets ? be64toh(mnl_attr_get_u64(packets)) : 0;
}

static struct addr address_of(const uint8_t *bytes, size_t size)
{
	struct addr addr = {{0}};

	if (size == 4)
		addr.bytes[10] = addr.bytes[11] = 0xff;
	memcpy(addr.bytes + sizeof(addr.bytes) - size, bytes, size);
	return addr;
}

static void take_pair(const struct reading *r, const struct nlattr *element)
{
	const struct nlattr *key = inside(inside(element, NFTA_SET_ELEM_KEY), NFTA_DATA_VALUE);
	struct counts_pair pair = {.packets = packets_of(element)};
	const uint8_t *bytes;

	if (!key || mnl_attr_get_payload_len(key) != 2 * r->address_size)
		return;
	bytes = mnl_attr_get_payload(key);
	pair.source = address_of(bytes, r->address_size);
	pair.destination = address_of(bytes + r->address_size, r->address_size);
	r->each_pair(r->arg, &pair);
}

static int on_elements(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attr, *element;

	mnl_attr_for_each (attr, message, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_LIST_ELEMENTS)
			mnl_attr_for_each_nested (element, attr)
				take_pair(arg, element);
	return MNL_CB_OK;
}

/* False when libnftnl had no memory for a name. */
static bool take_counter(const struct reading *r, struct nftnl_obj *object)
{
	const char *table = nftnl_obj_get_str(object, NFTNL_OBJ_TABLE);
	const char *name = nftnl_obj_get_str(object, NFTNL_OBJ_NAME);

	if (!table || !name)
		return false;
	if (strcmp(table, r->table) == 0)
		r->each_counter(r->arg, name, nftnl_obj_get_u64(object, NFTNL_OBJ_CTR_PKTS));
	return true;
}

static int on_counter(const struct nlmsghdr *message, void *arg)
{
	struct nftnl_obj *object = nftnl_obj_alloc();
	bool ok =
		object && nftnl_obj_nlmsg_parse(message, object) == 0 && take_counter(arg, object);

	if (object)
		nftnl_obj_free(object);
	return ok ? MNL_CB_OK : MNL_CB_ERROR;
}

/* A dump that is torn goes on: an element that is told twice is told with the same number. */
static int ask(struct reading *r, uint16_t type, const char *set, mnl_cb_t each, struct error *e)
{
	struct mnl_socket *socket;
	int error = netlink_open(NETLINK_NETFILTER, &socket, e);

	if (error)
		return error;
	error = -EINTR;
	for (int i = 0; i < ATTEMPTS && error == -EINTR; i++) {
		_Alignas(struct nlmsghdr) char request[1024] = {0};
		struct nlmsghdr *message =
			nftnl_nlmsg_build_hdr(request, type, NFPROTO_INET, NLM_F_DUMP, 0);

		mnl_attr_put_strz(message, NFTA_TABLE_NAME, r->table); /* 1 in every message */
		if (set)
			mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
		error = netlink_ask(socket, message, each, r);
	}
	mnl_socket_close(socket);
	if (error == -ENOENT || error == -EINTR)
		return 0;
	return error ? error_set(e, error, "reading counters of table %s: %s", r->table,
			       strerror(-error))
		     : 0;
}

int counts_pairs(const char *table, void (*each)(void *arg, const struct counts_pair *pair),
	void *arg, struct error *e)
{
	struct reading r = {.table = table, .address_size = 4, .each_pair = each, .arg = arg};
	int error = ask(&r, NFT_MSG_GETSETELEM, "leaks4", on_elements, e);

	if (error)
		return error;
	r.address_size = 16;
	return ask(&r, NFT_MSG_GETSETELEM, "leaks6", on_elements, e);
}

int counts_counters(const char *table, void (*each)(void *arg, const char *name, uint64_t packets),
	void *arg, struct error *e)
{
	struct reading r = {.table = table, .each_counter = each, .arg = arg};

	return ask(&r, NFT_MSG_GETOBJ, NULL, on_counter, e);
}
