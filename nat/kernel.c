/*
 * kernel.c - what newer kernels add.
 *
 * The lock of a table is asked for in a transaction that fails at its second message: what the
 * kernel says to the first is the answer, and nothing has changed.
 */
#include "nat/kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "nat/address.h"
#include "nat/netlink.h"
#include "nat/state.h"

#define NOT_THERE "egret-not-there" /* no table has this name, before and after */

static void put_table(struct batch *batch, uint16_t type)
{
	const struct label label = {"probe", NOT_THERE, NULL};
	struct nlmsghdr *message = batch_open(
		batch, type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE | NLM_F_EXCL : 0, &label);

	if (!message)
		return;
	mnl_attr_put_strz(message, NFTA_TABLE_NAME,
		type == NFT_MSG_NEWTABLE ? NOT_THERE : NOT_THERE "-either");
	if (type == NFT_MSG_NEWTABLE)
		mnl_attr_put_u32(message, NFTA_TABLE_FLAGS, htonl(TABLE_LOCKED));
	batch_close(batch);
}

static enum kernel_has has_table_lock(void)
{
	struct mnl_socket *socket;
	struct batch batch;
	int error = netlink_open(NETLINK_NETFILTER, &socket, NULL);

	if (error)
		return KERNEL_UNKNOWN;
	batch_begin(&batch, 0);
	put_table(&batch, NFT_MSG_NEWTABLE);
	put_table(&batch, NFT_MSG_DELTABLE);
	error = batch_commit(&batch, socket, NULL);
	batch_fini(&batch);
	mnl_socket_close(socket);
	if (error == -ENOENT)
		return KERNEL_HAS;
	return error == -EOPNOTSUPP || error == -EINVAL ? KERNEL_LACKS : KERNEL_UNKNOWN;
}

static enum kernel_has has_address_tag(void)
{
	struct address_list list = {0};
	int error = address_list_load(&list, NULL);
	bool tells = list.tells_protocol;

	address_list_fini(&list);
	return error ? KERNEL_UNKNOWN : tells ? KERNEL_HAS : KERNEL_LACKS;
}

void kernel_features(struct kernel_features *f)
{
	struct utsname name = {0};

	*f = (struct kernel_features){0};
	uname(&name);
	snprintf(f->release, sizeof(f->release), "%s", name.release);
	f->table_lock = has_table_lock();
	f->address_tag = has_address_tag();
}

static const char *way(enum kernel_has has, const char *before)
{
	return has == KERNEL_HAS     ? "yes (kernel has it)"
	       : has == KERNEL_LACKS ? before
				     : "not known: that needs CAP_NET_ADMIN";
}

const char *kernel_print(const struct kernel_features *f, bool lock, char out[KERNEL_TEXT])
{
	snprintf(out, KERNEL_TEXT, "kernel %s: table locked: %s; addresses tagged: %s", f->release,
		lock ? way(f->table_lock, "no: kernel before 6.9") : "no ([nat] lock-table = no)",
		way(f->address_tag, "no: kernel before 5.18"));
	return out;
}
