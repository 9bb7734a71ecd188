/*
 * conntrack.c - what the kernel says of its flows: all of them, their number, and their coming and
 * going.
 *
 * A dump has a socket of its own, so nothing else comes from it.  The kernel fills it as it is
 * read, one buffer ahead, so it cannot overflow.  Events can: the kernel does not wait for whoever
 * listens.  (It would, if asked with NETLINK_BROADCAST_ERROR: then a reader that is too slow keeps
 * dead flows in the table until it is full, and new ones are dropped.  A log is not worth that.)
 */
#include "nat/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_compat.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nat/netlink.h"

#define ATTEMPTS 5
#define PATIENCE 30000 /* milliseconds without a word from the kernel */
#define READ_ROOM (64 * 1024)

static int open_socket(const char *what, struct error *e)
{
	/* Unbound, it would hear no events. */
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	int error;

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0)
		return fd;
	error = error_set(e, -errno, "%s: %s", what, strerror(errno));
	if (fd >= 0)
		close(fd);
	return error;
}

static struct nlmsghdr *put_question(char *buffer, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *nfgen;

	message->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	nfgen = mnl_nlmsg_put_extra_header(message, sizeof(*nfgen));
	*nfgen = (struct nfgenmsg){.nfgen_family = family, .version = NFNETLINK_V0};
	return message;
}

/* ---- dump ---- */

int conntrack_dump_open(int version, struct error *e)
{
	_Alignas(struct nlmsghdr) char buffer[MNL_NLMSG_HDRLEN + 64] = {0};
	uint8_t family = version == 4 ? AF_INET : version == 6 ? AF_INET6 : AF_UNSPEC;
	struct nlmsghdr *message = put_question(buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP, family);
	int fd = open_socket("conntrack dump", e);
	int error;

	if (fd < 0 || send(fd, message, message->nlmsg_len, 0) >= 0)
		return fd;
	error = error_set(e, -errno, "conntrack dump: %s", strerror(errno));
	close(fd);
	return error;
}

struct dump {
	void (*each)(void *, const struct flow *);
	void *arg;
};

/* As conntrack_dump_step(). */
static int take_message(const struct dump *d, const struct nlmsghdr *message)
{
	struct flow flow;
	int code = 0;

	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		return -EINTR;
	if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
		if (mnl_nlmsg_get_payload_len(message) >= sizeof(code))
			memcpy(&code, mnl_nlmsg_get_payload(message), sizeof(code));
		return code < 0 ? code : 0;
	}
	if (flow_read(&flow, message))
		d->each(d->arg, &flow);
	return 1;
}

static int take_messages(const struct dump *d, const char *buffer, ssize_t n)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
	int left = (int)n, result = 1;

	while (result == 1 && mnl_nlmsg_ok(message, left)) {
		result = take_message(d, message);
		message = mnl_nlmsg_next(message, &left);
	}
	return result;
}

int conntrack_dump_step(
	int fd, void (*each)(void *arg, const struct flow *flow), void *arg, size_t budget)
{
	_Alignas(struct nlmsghdr) char buffer[READ_ROOM];
	const struct dump dump = {each, arg};
	int result = 1;
	size_t done = 0;

	while (result == 1 && done < budget) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 1 : -errno;
		done += (size_t)n;
		result = n > 0 ? take_messages(&dump, buffer, n) : -EIO;
	}
	return result;
}

static int each_once(
	int version, void (*each)(void *, const struct flow *), void *arg, struct error *e)
{
	int fd = conntrack_dump_open(version, e), result = 1;

	if (fd < 0)
		return fd;
	while (result == 1) {
		int ready = poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, PATIENCE);

		if (ready > 0)
			result = conntrack_dump_step(fd, each, arg, SIZE_MAX);
		else if (ready == 0)
			result = -ETIMEDOUT;
		else if (errno != EINTR)
			result = -errno;
	}
	close(fd);
	return result < 0 ? error_set(e, result, "conntrack dump: %s", strerror(-result)) : 0;
}

int conntrack_each(
	int version, void (*each)(void *arg, const struct flow *flow), void *arg, struct error *e)
{
	int error = -EINTR;

	for (unsigned attempt = 0; attempt < ATTEMPTS && error == -EINTR; attempt++)
		error = each_once(version, each, arg, e);
	return error;
}

/* ---- statistics ---- */

static uint32_t u32_of(const struct nlattr *attr)
{
	return mnl_attr_get_payload_len(attr) >= sizeof(uint32_t) ? ntohl(mnl_attr_get_u32(attr))
								  : 0;
}

static int on_cpu(const struct nlmsghdr *message, void *arg)
{
	struct conntrack_stats *stats = arg;
	const struct nlattr *attr;

	mnl_attr_for_each (attr, message, sizeof(struct nfgenmsg))
		switch (mnl_attr_get_type(attr)) {
		case CTA_STATS_INVALID:
			stats->invalid += u32_of(attr);
			break;
		case CTA_STATS_INSERT_FAILED:
			stats->insert_failed += u32_of(attr);
			break;
		case CTA_STATS_DROP:
			stats->drop += u32_of(attr);
			break;
		case CTA_STATS_EARLY_DROP:
			stats->early_drop += u32_of(attr);
			break;
		case CTA_STATS_ERROR:
			stats->error += u32_of(attr);
			break;
		case CTA_STATS_SEARCH_RESTART:
			stats->search_restart += u32_of(attr);
			break;
		}
	return MNL_CB_OK;
}

static int on_global(const struct nlmsghdr *message, void *arg)
{
	struct conntrack_stats *stats = arg;
	const struct nlattr *attr;

	mnl_attr_for_each (attr, message, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == CTA_STATS_GLOBAL_ENTRIES)
			stats->entries = u32_of(attr);
		else if (mnl_attr_get_type(attr) == CTA_STATS_GLOBAL_MAX_ENTRIES)
			stats->max = u32_of(attr);
	return MNL_CB_OK;
}

int conntrack_stats(struct conntrack_stats *stats, struct error *e)
{
	_Alignas(struct nlmsghdr) char buffer[MNL_NLMSG_HDRLEN + 64] = {0};
	struct mnl_socket *socket;
	int error = netlink_open(NETLINK_NETFILTER, &socket, e);

	if (error)
		return error;
	*stats = (struct conntrack_stats){0};
	error = netlink_ask(socket,
		put_question(buffer, IPCTNL_MSG_CT_GET_STATS_CPU, NLM_F_DUMP, AF_UNSPEC), on_cpu,
		stats);
	if (!error) /* one message that says it is of several: the acknowledgement ends them */
		error = netlink_ask(socket,
			put_question(buffer, IPCTNL_MSG_CT_GET_STATS, NLM_F_ACK, AF_UNSPEC),
			on_global, stats);
	mnl_socket_close(socket);
	return error ? error_set(e, error, "conntrack statistics: %s", strerror(-error)) : 0;
}

/* ---- events ---- */

int conntrack_events_open(int room, struct error *e)
{
	static const int groups[] = {NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_DESTROY};
	int fd = open_socket("conntrack events", e);
	int error;

	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	for (size_t i = 0; i < COUNT_OF(groups); i++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i],
			    sizeof(groups[i]))) {
			error = error_set(e, -errno, "conntrack events: %s", strerror(errno));
			close(fd);
			return error;
		}
	return fd;
}

struct drain {
	void (*on_event)(void *, enum conntrack_event, const struct flow *);
	void *arg;
};

static unsigned take_events(const struct drain *d, const char *buffer, ssize_t n)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
	int left = (int)n;
	unsigned taken = 0;
	struct flow flow;

	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		unsigned type = NFNL_MSG_TYPE(message->nlmsg_type);

		taken++;
		if ((type == IPCTNL_MSG_CT_NEW || type == IPCTNL_MSG_CT_DELETE) &&
			flow_read(&flow, message))
			d->on_event(d->arg,
				type == IPCTNL_MSG_CT_NEW ? CONNTRACK_NEW : CONNTRACK_DESTROY,
				&flow);
	}
	return taken;
}

enum conntrack_drained conntrack_events_drain(int fd,
	void (*on_event)(void *arg, enum conntrack_event event, const struct flow *flow), void *arg,
	unsigned budget)
{
	_Alignas(struct nlmsghdr) char buffer[16 * 1024];
	const struct drain drain = {on_event, arg};
	unsigned taken = 0;

	while (taken < budget) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENOBUFS ? CONNTRACK_LOST : CONNTRACK_EMPTY;
		taken += n > 0 ? take_events(&drain, buffer, n) : 1;
	}
	return CONNTRACK_MORE;
}
