/*
 * requests.h - many changes of the kernel's routing with few system calls.
 *
 * Each is a change of its own: rtnetlink has no transactions.  What is there
 * already when it is added, or gone when it is deleted, is fine.  Another
 * refusal is remembered, and does not keep those behind it from being sent.
 */
#pragma once

#include "nat/netlink.h"

#define REQUESTS_TEXT 160

/* What a refused message is about, for the error: "route throw 10.0.0.0/8". */
typedef const char *requests_describe(const struct nlmsghdr *message, char out[REQUESTS_TEXT]);

struct requests {
	struct mnl_socket *socket; /* the caller's */
	requests_describe *describe;
	size_t done; /* changes that the kernel made */
	int error;   /* the first that counts; 0: none */
	bool broken; /* the socket fails, or answers are lost: nothing is sent any more */
	struct error *e;

	char *bytes; /* that wait to be sent */
	size_t used;
	uint32_t n, first; /* messages in it; sequence number of the first */
};

void requests_init(struct requests *r, struct mnl_socket *socket, requests_describe *describe,
	struct error *e);
void requests_fini(struct requests *r);

/* An RTM_`type` message with a zeroed header of `size` bytes but for the family; what is put
 * into it next has at most REQUESTS_MESSAGE bytes.  NULL when broken. */
#define REQUESTS_MESSAGE 2048
struct nlmsghdr *requests_open(
	struct requests *r, uint16_t type, uint16_t flags, uint8_t family, size_t size);
void requests_close(struct requests *r, struct nlmsghdr *message); /* accepts NULL */

/* Sends what waits and reads the answers.  0 or -errno; -ENOBUFS: answers were lost. */
int requests_flush(struct requests *r) WARN_UNUSED;
