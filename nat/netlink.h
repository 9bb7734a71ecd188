/*
 * netlink.h - questions to the kernel, and transactions of nftables.
 *
 * A transaction is one batch: the kernel takes all of it or nothing.  Every
 * message asks for an acknowledgement and has a label, so that a refusal names
 * what was refused.
 */
#pragma once

#include <libmnl/libmnl.h>

#include "base/check.h"
#include "base/error.h"

/* A socket of `protocol` (NETLINK_ROUTE ...) for mnl_socket_close().  0 or -errno. */
int netlink_open(int protocol, struct mnl_socket **socket, struct error *e) WARN_UNUSED;

/* Sends the request, whose sequence number is set here, and calls `each` for every answer; `each`
 * returns MNL_CB_OK or MNL_CB_ERROR with errno.  0, or -errno without text: -EINTR when a dump was
 * torn by a change meanwhile. */
int netlink_ask(
	struct mnl_socket *socket, struct nlmsghdr *request, mnl_cb_t each, void *arg) WARN_UNUSED;

/* What a message of a batch is about: "add rule", "postrouting", "ip saddr ...". */
struct label {
	const char *what, *name, *detail; /* detail may be NULL.  They outlive the batch */
};

struct batch {
	char *bytes;
	size_t used, room;
	struct label *labels;
	uint32_t n_labels, labels_room;
	bool failed;
	struct nlmsghdr *open;
};

/* `generation`: the kernel refuses with -ERESTART when its rules are not of this generation any
 * more; 0: whatever it is. */
void batch_begin(struct batch *b, uint32_t generation);
void batch_fini(struct batch *b);

/* Opens a message NFT_MSG_`type` of family inet with NLM_F_`flags`.  At most 64 KiB may be put into
 * it before batch_close().  NULL without memory: the batch fails, later calls add nothing. */
struct nlmsghdr *batch_open(
	struct batch *b, uint16_t type, uint16_t flags, const struct label *label);
void batch_close(struct batch *b);
bool batch_is_empty(const struct batch *b);

/* Sends the whole and reads all acknowledgements.  0 or -errno with the label and the kernel's
 * reason. -ERESTART: another generation.  -ENOBUFS: acknowledgements were lost, the outcome is
 * unknown. */
int batch_commit(struct batch *b, struct mnl_socket *socket, struct error *e) WARN_UNUSED;
