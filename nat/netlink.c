/*
 * netlink.c - questions to the kernel, and transactions of nftables.
 *
 * The kernel takes a batch from one sendmsg() only, works it off before that returns, and queues
 * one acknowledgement a message.  So the batch is one run of bytes, both socket buffers are
 * made large enough for it first (as root: beyond the sysctl limits), and the answers are read
 * until there are no more.
 */
#include "nat/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define MESSAGE_ROOM (128 * 1024) /* 64 KiB and what libnftnl puts around */
#define ACK_ROOM 1024 /* the kernel counts a queued acknowledgement as about 768 bytes */
#define READ_ROOM (64 * 1024)
#define FIRST_OF_BATCH (1U << 30) /* sequence numbers below are of questions */
#define LARGEST_BUFFER (1 << 30)

int netlink_open(int protocol, struct mnl_socket **out, struct error *e)
{
	struct mnl_socket *socket = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	const struct timeval patience = {.tv_sec = 30};
	int on = 1, error;

	if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID)) {
		error = error_set(e, -errno, "netlink socket: %s", strerror(errno));
		if (socket)
			mnl_socket_close(socket);
		return error;
	}
	/* Best effort: short refusals, and no wait without an end. */
	mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	*out = socket;
	return 0;
}

struct answer {
	unsigned sequence;
	mnl_cb_t each;
	void *arg;
	bool torn;
};

/* One message: MNL_CB_OK, MNL_CB_STOP after the last, or -errno. */
static int take_message(struct answer *a, const struct nlmsghdr *message)
{
	int code = 0;

	if (message->nlmsg_seq != a->sequence)
		return MNL_CB_OK; /* of an earlier question that ended early */
	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		a->torn = true;
	if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
		if (mnl_nlmsg_get_payload_len(message) >= sizeof(code))
			memcpy(&code, mnl_nlmsg_get_payload(message), sizeof(code));
		return code < 0 ? code : MNL_CB_STOP;
	}
	errno = EIO; /* for an answer that cannot be read */
	if (message->nlmsg_type >= NLMSG_MIN_TYPE && a->each(message, a->arg) != MNL_CB_OK)
		return -errno;
	return message->nlmsg_flags & NLM_F_MULTI ? MNL_CB_OK : MNL_CB_STOP;
}

static int take_messages(struct answer *a, const char *buffer, ssize_t n)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
	int left = (int)n, result = MNL_CB_OK;

	while (result == MNL_CB_OK && mnl_nlmsg_ok(message, left)) {
		result = take_message(a, message);
		message = mnl_nlmsg_next(message, &left);
	}
	return result;
}

int netlink_ask(struct mnl_socket *socket, struct nlmsghdr *request, mnl_cb_t each, void *arg)
{
	static unsigned sequence;
	struct answer answer = {.sequence = ++sequence % FIRST_OF_BATCH, .each = each, .arg = arg};
	char *buffer = malloc(READ_ROOM);
	int result = buffer ? MNL_CB_OK : -ENOMEM;

	request->nlmsg_seq = answer.sequence;
	if (buffer && mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		result = -errno;
	while (result == MNL_CB_OK) {
		ssize_t n = mnl_socket_recvfrom(socket, buffer, READ_ROOM);

		if (n >= 0)
			result = take_messages(&answer, buffer, n);
		else if (errno != EINTR)
			result = -errno;
	}
	free(buffer);
	return result < 0 ? result : answer.torn ? -EINTR : 0;
}

/* Room for one more message. */
static bool reserve(struct batch *b)
{
	size_t room = b->room ? 2 * b->room : 4 * MESSAGE_ROOM;
	uint32_t labels_room = b->labels_room ? 2 * b->labels_room : 64;
	void *grown;

	if (b->room - b->used < MESSAGE_ROOM) {
		grown = realloc(b->bytes, room);
		if (!grown)
			return false;
		b->bytes = grown;
		memset(b->bytes + b->room, 0, room - b->room); /* libmnl leaves gaps */
		b->room = room;
	}
	if (b->n_labels == b->labels_room) {
		grown = reallocarray(b->labels, labels_room, sizeof(*b->labels));
		if (!grown)
			return false;
		b->labels = grown;
		b->labels_room = labels_room;
	}
	return true;
}

static void put_edge(struct batch *b, uint16_t type, uint32_t generation)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(b->bytes + b->used);
	struct nfgenmsg *nfgen;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST;
	message->nlmsg_seq = FIRST_OF_BATCH + (type == NFNL_MSG_BATCH_BEGIN ? 0 : b->n_labels + 1);
	nfgen = mnl_nlmsg_put_extra_header(message, sizeof(*nfgen));
	*nfgen = (struct nfgenmsg){AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)};
	if (generation)
		mnl_attr_put_u32(message, NFNL_BATCH_GENID, htonl(generation));
	b->used += message->nlmsg_len;
}

void batch_begin(struct batch *b, uint32_t generation)
{
	*b = (struct batch){0};
	b->failed = !reserve(b);
	if (!b->failed)
		put_edge(b, NFNL_MSG_BATCH_BEGIN, generation);
}

void batch_fini(struct batch *b)
{
	free(b->bytes);
	free(b->labels);
	*b = (struct batch){0};
}

struct nlmsghdr *batch_open(
	struct batch *b, uint16_t type, uint16_t flags, const struct label *label)
{
	CHECK(!b->open);
	if (b->failed || !reserve(b)) {
		b->failed = true;
		return NULL;
	}
	b->labels[b->n_labels++] = *label;
	b->open = nftnl_nlmsg_build_hdr(b->bytes + b->used, type, NFPROTO_INET,
		(uint16_t)(flags | NLM_F_ACK), FIRST_OF_BATCH + b->n_labels);
	return b->open;
}

void batch_close(struct batch *b)
{
	if (b->failed)
		return;
	b->used += MNL_ALIGN(b->open->nlmsg_len);
	b->open = NULL;
}

bool batch_is_empty(const struct batch *b)
{
	return b->n_labels == 0;
}

/* Without the privilege the sysctl limits stay, and the kernel says what was too much. */
static void make_room(int fd, size_t bytes, size_t acks)
{
	int send = bytes < LARGEST_BUFFER ? (int)bytes : LARGEST_BUFFER;
	int receive = acks < LARGEST_BUFFER / ACK_ROOM ? (int)acks * ACK_ROOM : LARGEST_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send, sizeof(send)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof(send));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive, sizeof(receive)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof(receive));
}

static int refusal(const struct batch *b, uint32_t sequence, int code, struct error *e)
{
	const struct label *label;

	if (sequence == 0)
		return error_set(e, code, "nftables transaction: %s",
			code == -ERESTART ? "the rules changed meanwhile" : strerror(-code));
	label = &b->labels[sequence - 1];
	return error_set(e, code, "nftables: %s %s%s%s: %s", label->what, label->name,
		label->detail ? ": " : "", label->detail ? label->detail : "", strerror(-code));
}

/* Looks at the acknowledgements in a buffer.  0, or the first refusal. */
static int take_acks(
	const struct batch *b, const char *buffer, ssize_t n, uint32_t *acks, struct error *e)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
	int left = (int)n, code;

	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		uint32_t sequence = message->nlmsg_seq - FIRST_OF_BATCH;

		if (message->nlmsg_type != NLMSG_ERROR || sequence > b->n_labels ||
			mnl_nlmsg_get_payload_len(message) < sizeof(code))
			continue;
		memcpy(&code, mnl_nlmsg_get_payload(message), sizeof(code));
		if (code)
			return refusal(b, sequence, code, e);
		(*acks)++;
	}
	return 0;
}

static int read_acks(const struct batch *b, int fd, char *buffer, struct error *e)
{
	uint32_t acks = 0;

	while (acks < b->n_labels) {
		ssize_t n = recv(fd, buffer, READ_ROOM, MSG_DONTWAIT);
		int error;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(e, errno == EAGAIN ? -ENOBUFS : -errno,
				"nftables: %u of %u acknowledgements came: %s", acks, b->n_labels,
				strerror(errno));
		error = take_acks(b, buffer, n, &acks, e);
		if (error)
			return error;
	}
	return 0;
}

/* An earlier batch of the socket may have ended at its first refusal. */
static void drop_old_acks(int fd, char *buffer)
{
	while (recv(fd, buffer, READ_ROOM, MSG_DONTWAIT) >= 0 || errno == ENOBUFS || errno == EINTR)
		;
}

int batch_commit(struct batch *b, struct mnl_socket *socket, struct error *e)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int fd = mnl_socket_get_fd(socket), error = 0;
	char *buffer = malloc(READ_ROOM);
	ssize_t sent;

	if (b->failed || !buffer || !reserve(b)) {
		error = error_set(e, -ENOMEM, "nftables transaction: out of memory");
		goto out;
	}
	put_edge(b, NFNL_MSG_BATCH_END, 0);
	make_room(fd, b->used, b->n_labels);
	drop_old_acks(fd, buffer);
	do
		sent = sendto(
			fd, b->bytes, b->used, 0, (const struct sockaddr *)&kernel, sizeof(kernel));
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		error = error_set(e, -errno, "nftables transaction of %zu bytes: %s", b->used,
			strerror(errno));
	else
		error = read_acks(b, fd, buffer, e);
out:
	free(buffer);
	return error;
}
