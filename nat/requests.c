/*
 * requests.c - many changes of the kernel's routing with few system calls.
 *
 * The kernel works off all messages of one sendmsg() before that returns, refuses each on its own
 * and acknowledges those that ask for it.  Only the last does: its answer comes after all refusals
 * of the others.  A chunk is small enough for the refusals of all to fit in a receive buffer of
 * default size.
 */
#include "nat/requests.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#define ROOM (64 * 1024)
#define MOST 128                  /* messages at a time */
#define FIRST_SEQUENCE (1U << 30) /* below are netlink_ask()'s */

void requests_init(
	struct requests *r, struct mnl_socket *socket, requests_describe *describe, struct error *e)
{
	*r = (struct requests){
		.socket = socket,
		.describe = describe,
		.e = e,
		.bytes = malloc(ROOM),
		.first = FIRST_SEQUENCE,
	};
	if (!r->bytes)
		r->error = error_set(e, -ENOMEM, "routing: out of memory");
	r->broken = !r->bytes;
}

void requests_fini(struct requests *r)
{
	free(r->bytes);
	*r = (struct requests){0};
}

/* The message with that sequence number; the last for one beyond them. */
static struct nlmsghdr *message_of(const struct requests *r, uint32_t sequence)
{
	char *at = r->bytes;

	for (uint32_t i = 0; i + 1 < r->n && ((struct nlmsghdr *)at)->nlmsg_seq != sequence; i++)
		at += MNL_ALIGN(((struct nlmsghdr *)at)->nlmsg_len);
	return (struct nlmsghdr *)at;
}

/* RTM_NEW*, RTM_DEL* and RTM_GET* follow each other. */
static bool deletes(uint16_t type)
{
	return (type - RTM_BASE) % 4 == 1;
}

static bool is_as_wanted(uint16_t type, int code)
{
	if (deletes(type))
		return code == -ENOENT || code == -ESRCH;
	return code == -EEXIST;
}

static void take_answer(struct requests *r, uint32_t sequence, int code)
{
	const struct nlmsghdr *message = message_of(r, sequence);
	char text[REQUESTS_TEXT];

	if (code == 0)
		return;
	r->done--;
	if (!r->error && !is_as_wanted(message->nlmsg_type, code))
		r->error = error_set(r->e, code, "%s %s: %s",
			deletes(message->nlmsg_type) ? "delete" : "add", r->describe(message, text),
			strerror(-code));
}

/* True when the last answer was among them. */
static bool take_answers(struct requests *r, const char *buffer, ssize_t n)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
	int left = (int)n, code;
	bool complete = false;

	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		uint32_t index = message->nlmsg_seq - r->first;

		if (message->nlmsg_type != NLMSG_ERROR || index >= r->n ||
			mnl_nlmsg_get_payload_len(message) < sizeof(code))
			continue;
		memcpy(&code, mnl_nlmsg_get_payload(message), sizeof(code));
		take_answer(r, message->nlmsg_seq, code);
		complete = complete || index == r->n - 1;
	}
	return complete;
}

static int exchange(struct requests *r)
{
	_Alignas(struct nlmsghdr) char buffer[8 * 1024];
	bool complete = false;

	if (mnl_socket_sendto(r->socket, r->bytes, r->used) < 0)
		return error_set(r->e, -errno, "changing the routing: %s", strerror(errno));
	r->done += r->n;
	while (!complete) {
		ssize_t n = mnl_socket_recvfrom(r->socket, buffer, sizeof(buffer));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(
				r->e, -errno, "changing the routing: answers: %s", strerror(errno));
		complete = take_answers(r, buffer, n);
	}
	return 0;
}

static void flush(struct requests *r)
{
	int error;

	if (r->broken || r->n == 0)
		return;
	message_of(r, r->first + r->n - 1)->nlmsg_flags |= NLM_F_ACK;
	error = exchange(r);
	if (error) {
		r->broken = true;
		r->error = error;
	}
	r->first += r->n;
	r->n = 0;
	r->used = 0;
}

int requests_flush(struct requests *r)
{
	flush(r);
	return r->error;
}

struct nlmsghdr *requests_open(
	struct requests *r, uint16_t type, uint16_t flags, uint8_t family, size_t size)
{
	struct nlmsghdr *message;
	uint8_t *header;

	if (r->n == MOST || ROOM - r->used < REQUESTS_MESSAGE)
		flush(r);
	if (r->broken)
		return NULL;
	memset(r->bytes + r->used, 0, REQUESTS_MESSAGE); /* libmnl leaves gaps */
	message = mnl_nlmsg_put_header(r->bytes + r->used);
	message->nlmsg_type = type;
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	message->nlmsg_seq = r->first + r->n;
	header = mnl_nlmsg_put_extra_header(message, size);
	header[0] = family;
	return message;
}

void requests_close(struct requests *r, struct nlmsghdr *message)
{
	if (!message)
		return;
	r->used += MNL_ALIGN(message->nlmsg_len);
	r->n++;
}
