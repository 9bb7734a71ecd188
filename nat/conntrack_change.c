/*
 * conntrack_change.c - flows deleted and marked, many at a time.
 *
 * A netlink packet may hold many messages.  The kernel works all of them off before sendto()
 * returns, and answers each that it refuses; only the last of a packet asks for an acknowledgement,
 * behind which there is nothing more to read.  A packet is so small that refusals of all its
 * messages fit into the receive buffer.
 */
#include "nat/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nat/netlink.h"

#define PACKET_CHANGES 256
#define CHANGE_ROOM 256 /* bytes: a message with everything in it is about 160 */
#define ANSWER_ROOM (PACKET_CHANGES * 1024)

void conntrack_changes_fini(struct conntrack_changes *c)
{
	free(c->bytes);
	*c = (struct conntrack_changes){0};
}

static bool reserve(struct conntrack_changes *c)
{
	size_t room = c->room ? 2 * c->room : 64 * CHANGE_ROOM;
	char *grown;

	if (c->failed || c->room - c->used >= CHANGE_ROOM)
		return !c->failed;
	grown = realloc(c->bytes, room);
	if (!grown) {
		c->failed = true;
		return false;
	}
	c->bytes = grown;
	c->room = room;
	return true;
}

static struct nlmsghdr *begin(struct conntrack_changes *c, const struct flow *flow, unsigned type)
{
	struct nlmsghdr *message;
	struct nfgenmsg *nfgen;

	if (flow->raw_length == 0) {
		c->refused++;
		return NULL;
	}
	if (!reserve(c))
		return NULL;
	memset(c->bytes + c->used, 0, CHANGE_ROOM); /* libmnl leaves gaps */
	message = mnl_nlmsg_put_header(c->bytes + c->used);
	message->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	message->nlmsg_flags = NLM_F_REQUEST;
	nfgen = mnl_nlmsg_put_extra_header(message, sizeof(*nfgen));
	*nfgen = (struct nfgenmsg){
		.nfgen_family = flow->version == 4 ? AF_INET : AF_INET6, .version = NFNETLINK_V0};
	mnl_attr_put(message, CTA_TUPLE_ORIG | NLA_F_NESTED, flow->raw_length, flow->raw);
	if (flow->zone)
		mnl_attr_put_u16(message, CTA_ZONE, htons(flow->zone));
	return message;
}

static void finish(struct conntrack_changes *c, const struct nlmsghdr *message)
{
	c->used += MNL_ALIGN(message->nlmsg_len);
	c->n++;
}

void conntrack_delete(struct conntrack_changes *c, const struct flow *flow)
{
	struct nlmsghdr *message = begin(c, flow, IPCTNL_MSG_CT_DELETE);

	if (!message)
		return;
	mnl_attr_put_u32(message, CTA_ID, htonl(flow->id));
	finish(c, message);
}

void conntrack_set_mark(
	struct conntrack_changes *c, const struct flow *flow, uint32_t mark, uint32_t mask)
{
	struct nlmsghdr *message = begin(c, flow, IPCTNL_MSG_CT_NEW);

	if (!message)
		return;
	mnl_attr_put_u32(message, CTA_MARK, htonl(mark & mask));
	mnl_attr_put_u32(message, CTA_MARK_MASK, htonl(mask));
	finish(c, message);
}

/* What the kernel said of a packet of `n` changes. */
struct answers {
	uint32_t n;
	uint32_t gone, refused;
	int first; /* -errno of the first refusal, or 0 */
	bool last; /* the acknowledgement behind all */
};

static void take_answer(struct answers *a, const struct nlmsghdr *message)
{
	int code;

	if (message->nlmsg_type != NLMSG_ERROR || message->nlmsg_seq > a->n ||
		mnl_nlmsg_get_payload_len(message) < sizeof(code))
		return;
	memcpy(&code, mnl_nlmsg_get_payload(message), sizeof(code));
	if (code == -ENOENT)
		a->gone++;
	else if (code)
		a->refused++;
	if (code != -ENOENT && !a->first)
		a->first = code;
	a->last = message->nlmsg_seq == a->n;
}

static int read_answers(struct answers *a, int fd)
{
	_Alignas(struct nlmsghdr) char buffer[16 * 1024];

	while (!a->last) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			take_answer(a, message);
	}
	return 0;
}

/* The next packet: its length, numbered and with the acknowledgement asked for. */
static size_t seal_packet(char *bytes, size_t left, struct answers *a)
{
	struct nlmsghdr *message = NULL;
	size_t length = 0;

	*a = (struct answers){0};
	while (length < left && a->n < PACKET_CHANGES) {
		message = (struct nlmsghdr *)(bytes + length);
		message->nlmsg_seq = ++a->n;
		length += MNL_ALIGN(message->nlmsg_len);
	}
	if (message)
		message->nlmsg_flags |= NLM_F_ACK;
	return length;
}

static int send_packet(int fd, const char *bytes, size_t length, struct answers *a)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	ssize_t sent;

	do
		sent = sendto(
			fd, bytes, length, 0, (const struct sockaddr *)&kernel, sizeof(kernel));
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : read_answers(a, fd);
}

static int send_all(struct conntrack_changes *c, int fd)
{
	int first = 0, error = 0;

	for (size_t at = 0, length; at < c->used && !error; at += length) {
		struct answers a;

		length = seal_packet(c->bytes + at, c->used - at, &a);
		error = send_packet(fd, c->bytes + at, length, &a);
		if (error)
			break;
		c->gone += a.gone;
		c->refused += a.refused;
		c->done += a.n - a.gone - a.refused;
		c->n -= a.n;
		if (!first)
			first = a.first;
	}
	return error ? error : first;
}

int conntrack_commit(struct conntrack_changes *c, struct error *e)
{
	const int room = ANSWER_ROOM;
	struct mnl_socket *socket;
	int error;

	if (c->failed || c->n == 0) {
		bool failed = c->failed;

		c->used = c->n = 0;
		c->failed = false;
		return failed ? error_set(e, -ENOMEM, "conntrack changes: out of memory") : 0;
	}
	error = netlink_open(NETLINK_NETFILTER, &socket, e);
	if (error)
		return error;
	setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	error = send_all(c, mnl_socket_get_fd(socket));
	mnl_socket_close(socket);
	c->refused += c->n; /* not sent, or the answer was lost */
	c->used = c->n = 0;
	return error ? error_set(e, error, "conntrack changes: %zu not made: %s", c->refused,
			       strerror(-error))
		     : 0;
}
