/*
 * What the client meant to reach is known twice: by the address that it chose, which the kernel
 * remembers, and by the name that it says.  The policy judges the name; the address has to be one
 * of the name's (exchange.c), so that no allowed name leads to another place.
 *
 * A connection that was made to the listener itself has no other address.  It is refused: it would
 * be captured for ever.
 */
#include "daemon/proxy/capture.h"

#include <errno.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/net/client_hello.h"
#include "daemon/proxy/worker.h"

#define HTTP_PORT 80
#define TLS_PORT 443
#define ORIGINAL_DST6 80 /* IP6T_SO_ORIGINAL_DST, whose header knows another struct in6_addr */

/* RFC 8446 6 */
#define ALERT 21
#define FATAL 2
enum alert {
	ALERT_ACCESS_DENIED = 49,
	ALERT_DECODE_ERROR = 50,
	ALERT_INTERNAL_ERROR = 80,
	ALERT_UNRECOGNIZED_NAME = 112,
};

static bool find_original(int fd, struct endpoint *original)
{
	struct sockaddr_storage sa = {0}, own_sa = {0};
	socklen_t length = sizeof(sa), own_length = sizeof(own_sa);
	struct endpoint own;
	bool v4;

	if (getsockname(fd, (struct sockaddr *)&own_sa, &own_length) < 0)
		return false;
	v4 = own_sa.ss_family == AF_INET;
	if (getsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? SO_ORIGINAL_DST : ORIGINAL_DST6,
		    &sa, &length) < 0)
		return false;
	return endpoint_from_sockaddr(&own, (struct sockaddr *)&own_sa) &&
	       endpoint_from_sockaddr(original, (struct sockaddr *)&sa) &&
	       !(addr_equal(&own.addr, &original->addr) && own.port == original->port);
}

enum client_state capture_begin(struct client *c)
{
	if (!find_original(c->conn.fd, &c->original))
		return CLIENT_REFUSE;
	c->tls = c->original.port == TLS_PORT;
	if (c->tls)
		return CLIENT_READ_HELLO;
	return c->original.port == HTTP_PORT ? CLIENT_READ_HEAD : CLIENT_REFUSE;
}

enum next capture_refuse(struct client *c)
{
	struct exchange *x = exchange_new(c);

	client_reset(c);
	if (!x)
		return CLOSE;
	x->record.verdict = (struct verdict){.action = ACTION_DENY, .reason = REASON_LOOP};
	x->record.decided = true;
	x->record.ending = ENDING_DENIED;
	x->record.detail = "made to the port for captured connections, not redirected to it";
	return CLOSE;
}

ssize_t capture_put_alert(struct client *c, int status)
{
	enum alert alert = ALERT_INTERNAL_ERROR;
	struct buffer *out = conn_out(&c->conn, &c->worker->buffers, 7);

	if (!out)
		return -1;
	if (status == 403 || status == 429)
		alert = ALERT_ACCESS_DENIED;
	else if (status == 421)
		alert = ALERT_UNRECOGNIZED_NAME;
	else if (status == 400 || status == 408)
		alert = ALERT_DECODE_ERROR;
	memcpy(out->data + out->end, (const uint8_t[]){ALERT, 3, 3, 0, 2, FATAL, (uint8_t)alert},
		7);
	out->end += 7;
	return 0;
}

static enum next refuse(struct client *c, enum ending ending, int status, const char *why)
{
	return client_answer(c, ending, &(struct reply){.status = status, .details = why});
}

/* The hello as a request, which may be no more than that it came. */
static bool begin(struct client *c, const char *host, uint16_t port)
{
	static const char method[] = "TLS";
	struct exchange *x = exchange_new(c);
	bool bracket = host && strchr(host, ':');
	int length;

	c->keep_alive = false;
	if (!x)
		return false;
	length = asprintf(&x->line, "%s%s%s%s:%u", method, bracket ? "[" : "", host ? host : "",
		bracket ? "]" : "", port);
	if (length < 0) {
		x->line = NULL;
		return false;
	}
	x->record.method = (struct text){x->line, strlen(method)};
	x->record.target = (struct text){x->line + strlen(method), (size_t)length - strlen(method)};
	return true;
}

static enum next bad_hello(struct client *c, int status, const char *why)
{
	char original[ADDR_TEXT];

	if (!begin(c, addr_print(&c->original.addr, original), c->original.port))
		return CLOSE;
	return refuse(c, status == 408 ? ENDING_CLIENT_TIMEOUT : ENDING_BAD_REQUEST, status, why);
}

static enum next decide(struct client *c, const struct client_hello *hello)
{
	bool named = hello->name_length > 0;
	struct uri uri = {.port = c->original.port, .is_address = !named};
	struct text name = {hello->name, hello->name_length};

	if (named && host_canonical(name, uri.host, &uri.addr) != HOST_NAME)
		return bad_hello(c, 421, "server_name: want a host name");
	if (!named) {
		uri.addr = c->original.addr;
		addr_print(&uri.addr, uri.host);
	}
	uri.host_length = strlen(uri.host);
	if (!begin(c, uri.host, uri.port))
		return CLOSE;
	c->exchange->uri = uri;
	if (c->over_limit)
		return refuse(c, ENDING_FULL, 503, "full: [proxy] max-connections is reached");
	return exchange_ask(c, true, !named);
}

enum next capture_read_hello(struct client *c)
{
	for (;;) {
		struct client_hello hello;
		ssize_t n;

		if (c->conn.in) {
			switch (client_hello_read(buffer_text(c->conn.in), &hello)) {
			case HELLO_DONE:
				return decide(c, &hello);
			case HELLO_BAD:
				return bad_hello(c, 400, hello.error);
			case HELLO_MORE:
				break;
			}
			if (c->head_since == 0)
				c->head_since = c->worker->now;
		}
		if (c->timed_out && c->conn.in)
			return bad_hello(c, 408, "the ClientHello took too long");
		if (c->timed_out || c->conn.eof)
			return CLOSE;
		if (!c->conn.readable)
			return WAIT;
		n = conn_receive(&c->conn, &c->worker->buffers);
		if (n == -EAGAIN)
			return WAIT;
		if (n == -ENOBUFS)
			return bad_hello(c, 400, "the ClientHello is larger than 16 KiB");
		if (n <= 0)
			return CLOSE;
	}
}

bool capture_agrees(struct client *c)
{
	struct exchange *x = c->exchange;
	bool found = false;

	for (size_t i = 0; i < x->query.n_addrs && !found; i++)
		found = addr_equal(&x->query.addrs[i], &c->original.addr);
	if (!found || x->query.port != c->original.port)
		return false;
	x->addrs[0] = c->original.addr;
	x->query.addrs = x->addrs;
	x->query.n_addrs = 1;
	return true;
}

enum next capture_misdirected(struct client *c)
{
	struct exchange *x = c->exchange;
	char details[HOST_MAX + 200], original[ENDPOINT_TEXT];

	x->record.verdict.action = ACTION_DENY;
	x->record.verdict.reason = REASON_ORIGINAL_ADDRESS;
	snprintf(details, sizeof(details),
		"the connection was made to %s, which is none of %.*s port %u%s",
		endpoint_print(&c->original, original), (int)x->uri.host_length, x->uri.host,
		x->query.port, x->lookup.answer.partial ? ", as far as the DNS answers" : "");
	return client_answer(c, ENDING_DENIED,
		&(struct reply){
			.status = 421, .error = "destination_ip_prohibited", .details = details});
}
