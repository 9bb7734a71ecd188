/*
 * dns.c - c-ares says which sockets it watches and when it wants to be called; libev obeys.
 */
#include "daemon/net/dns.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define EDNS_SIZE 1232 /* no fragments: what DNS flag day 2020 settled on */

struct dns {
	struct ev_loop *loop;
	ares_channel channel;
	double timeout;
	ev_timer timer;                 /* c-ares' retries */
	ev_io sockets[2 * DNS_SERVERS]; /* one UDP and one TCP socket a server */
};

static int parse4(struct dns_query *query, const unsigned char *reply, int length)
{
	struct ares_addrttl records[DNS_ADDRS];
	int n = DNS_ADDRS;
	int error = ares_parse_a_reply(reply, length, NULL, records, &n);

	for (int i = 0; error == ARES_SUCCESS && i < n; i++) {
		struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = records[i].ipaddr};
		struct endpoint e;

		if (query->n_addrs == 0 || records[i].ttl < query->ttl)
			query->ttl = records[i].ttl;
		if (endpoint_from_sockaddr(&e, (struct sockaddr *)&sa))
			query->addrs[query->n_addrs++] = e.addr;
	}
	return error;
}

static int parse6(struct dns_query *query, const unsigned char *reply, int length)
{
	struct ares_addr6ttl records[DNS_ADDRS];
	int n = DNS_ADDRS;
	int error = ares_parse_aaaa_reply(reply, length, NULL, records, &n);

	for (int i = 0; error == ARES_SUCCESS && i < n; i++) {
		if (query->n_addrs == 0 || records[i].ttl < query->ttl)
			query->ttl = records[i].ttl;
		memcpy(query->addrs[query->n_addrs++].bytes, &records[i].ip6addr, 16);
	}
	return error;
}

static enum dns_error error_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return DNS_OK;
	case ARES_ENODATA:
		return DNS_NO_DATA;
	case ARES_ENOTFOUND:
	case ARES_EBADNAME:
		return DNS_NO_NAME;
	case ARES_ETIMEOUT:
		return DNS_TIMEOUT;
	case ARES_ENOMEM:
		return DNS_NO_ROOM;
	case ARES_ECONNREFUSED: /* no server could be reached: the last system call says why */
		return errno == EMFILE || errno == ENFILE ? DNS_NO_ROOM : DNS_FAILED;
	default:
		return DNS_FAILED;
	}
}

static void on_ares_reply(void *arg, int status, int timeouts, unsigned char *reply, int length)
{
	struct dns_query *query = arg;

	(void)timeouts;
	if (status == ARES_SUCCESS)
		status = query->type == DNS_AAAA ? parse6(query, reply, length)
						 : parse4(query, reply, length);
	if (status == ARES_SUCCESS && query->n_addrs == 0)
		status = ARES_ENODATA; /* a chain of CNAMEs that ends in nothing */
	query->error = error_of(status);
	query->on_reply(query);
}

/* When does c-ares want to be called next? */
static void arm(struct dns *dns)
{
	struct timeval t;

	ev_timer_stop(dns->loop, &dns->timer);
	if (!ares_timeout(dns->channel, NULL, &t))
		return;
	ev_timer_set(&dns->timer, (double)t.tv_sec + 1e-6 * (double)t.tv_usec + 1e-3, 0.0);
	ev_timer_start(dns->loop, &dns->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct dns *dns = timer->data;

	(void)loop, (void)revents;
	errno = 0;
	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(dns);
}

static void on_socket(struct ev_loop *loop, ev_io *io, int revents)
{
	struct dns *dns = io->data;

	(void)loop;
	errno = 0;
	ares_process_fd(dns->channel, revents & EV_READ ? io->fd : ARES_SOCKET_BAD,
		revents & EV_WRITE ? io->fd : ARES_SOCKET_BAD);
	arm(dns);
}

/* The watcher of `fd`, or one that is free. */
static ev_io *watcher_of(struct dns *dns, int fd)
{
	ev_io *idle = NULL;

	for (size_t i = 0; i < COUNT_OF(dns->sockets); i++) {
		ev_io *io = &dns->sockets[i];

		if (!ev_is_active(io))
			idle = io;
		else if (io->fd == fd)
			return io;
	}
	return idle;
}

/* c-ares says what it wants to know of a socket; nothing: it is about to close it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns *dns = arg;
	ev_io *io = watcher_of(dns, fd);

	if (!io)
		return; /* then c-ares' timeouts are the answer */
	ev_io_stop(dns->loop, io);
	if (!readable && !writable)
		return;
	ev_io_set(io, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	ev_io_start(dns->loop, io);
}

void dns_ask(struct dns *dns, const char *name, struct dns_query *query)
{
	query->n_addrs = 0;
	errno = 0;
	ares_query(dns->channel, name, C_IN, query->type == DNS_AAAA ? T_AAAA : T_A, on_ares_reply,
		query);
	arm(dns);
}

/* c-ares doubles the time of a try after each round of all servers: 1, 2 and 4 times the
 * first for three rounds.  All of it has to fit into the timeout. */
static void divide_timeout(struct ares_options *o, double timeout, size_t n_servers)
{
	double parts = n_servers > 1 ? 3.0 * (double)n_servers : 7.0;
	double first = 1000.0 * timeout / parts;

	o->tries = n_servers > 1 ? 2 : 3;
	o->timeout = first < 1.0 ? 1 : (int)first;
}

static int open_channel(struct dns *dns, size_t n_servers, struct error *e)
{
	struct ares_options o = {
		.flags = ARES_FLAG_EDNS,
		.ednspsz = EDNS_SIZE,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = dns,
	};
	int error;

	divide_timeout(&o, dns->timeout, n_servers);
	error = ares_init_options(&dns->channel, &o,
		ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
			ARES_OPT_SOCK_STATE_CB | ARES_OPT_DOMAINS | ARES_OPT_NOROTATE);
	if (error == ARES_SUCCESS)
		return 0;
	dns->channel = NULL;
	return error_set(e, -EIO, "resolver: c-ares: %s", ares_strerror(error));
}

/* How many servers resolv.conf named; c-ares asks as many as it names. */
static size_t count_servers(struct dns *dns)
{
	struct ares_addr_port_node *servers = NULL;
	size_t n = 0;

	if (ares_get_servers_ports(dns->channel, &servers) != ARES_SUCCESS)
		return 0;
	for (const struct ares_addr_port_node *s = servers; s; s = s->next)
		n++;
	ares_free_data(servers);
	return n;
}

static int set_servers(struct dns *dns, const struct endpoint *at, size_t n, struct error *e)
{
	char list[DNS_SERVERS * (ENDPOINT_TEXT + 1)] = "";
	size_t length = 0;
	int error;

	if (n > DNS_SERVERS)
		return error_set(
			e, -EINVAL, "resolver: %zu servers: want at most %d", n, DNS_SERVERS);
	for (size_t i = 0; i < n; i++) {
		char text[ENDPOINT_TEXT];

		length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s",
			i ? "," : "", endpoint_print(&at[i], text));
	}
	error = ares_set_servers_ports_csv(dns->channel, list);
	if (error != ARES_SUCCESS)
		return error_set(
			e, -EINVAL, "resolver: servers %s: %s", list, ares_strerror(error));
	return 0;
}

/* The times of the tries depend on the number of servers, which without a list of our own is
 * known only when c-ares has read resolv.conf: then it starts a second time. */
static int open_ares(struct dns *dns, const struct endpoint *at, size_t n, struct error *e)
{
	int r = open_channel(dns, n, e);

	if (r < 0)
		return r;
	if (n > 0)
		return set_servers(dns, at, n, e);
	n = count_servers(dns);
	if (n <= 1)
		return 0;
	ares_destroy(dns->channel);
	return open_channel(dns, n, e);
}

static void library_init(void)
{
	CHECK(ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS);
}

struct dns *dns_new(struct ev_loop *loop, const struct endpoint *servers, size_t n_servers,
	double timeout, struct error *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct dns *dns = calloc(1, sizeof(*dns));

	pthread_once(&once, library_init);
	if (!dns) {
		error_set(e, -ENOMEM, "resolver: no memory");
		return NULL;
	}
	dns->loop = loop;
	dns->timeout = timeout;
	ev_init(&dns->timer, on_timer);
	dns->timer.data = dns;
	for (size_t i = 0; i < COUNT_OF(dns->sockets); i++) {
		ev_init(&dns->sockets[i], on_socket);
		dns->sockets[i].data = dns;
	}
	if (open_ares(dns, servers, n_servers, e) == 0)
		return dns;
	dns_free(dns);
	return NULL;
}

void dns_free(struct dns *dns)
{
	if (!dns)
		return;
	if (dns->channel)
		ares_destroy(dns->channel);
	ev_timer_stop(dns->loop, &dns->timer);
	free(dns);
}
