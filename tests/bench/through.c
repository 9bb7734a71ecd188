/*
 * through.c - traffic through gateways that take turns, both ends of it in one thread.
 *
 *	through packets|connections|bytes|answers FLOWS SIZE MS
 *CLIENT-NS,SERVER-NS,SOURCE/LENGTH,NETWORKS...
 *
 * The sockets of the client are made in one network namespace, those of the server in another, and
 * the thread stays on one CPU.  A packet that goes out through veth is carried through every
 * namespace on its way before send() returns, softirqs included; so the CPU time of this thread is
 * what the packet costs, whatever else the machine does meanwhile.  It is taken in slices of less
 * than a millisecond, one through each gateway and then again: what slows the machine down for
 * longer than that slows all of them down, and their ratios stay.
 *
 * The destinations are spread evenly over the first NETWORKS networks 64.0.0.0/25, 64.0.1.0/25, ...
 * A source outside of SOURCE/LENGTH, a lost datagram or a missing byte is the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net.h"

#define PORT 5000
#define FIRST_NETWORK 0x40000000u
#define MAX_FLOWS 4096
#define MAX_GATEWAYS 24
#define MAX_TURNS 16384
#define BLOCK 262144

struct gateway {
	int client, server; /* namespaces */
	in_addr_t source, mask;
	uint32_t networks;
	int listener;                       /* or the one socket for datagrams */
	int from[MAX_FLOWS], to[MAX_FLOWS]; /* senders, and receivers if flows have their own */
	size_t next;                        /* flow */
	uint64_t units;                     /* that went through, those included that warm up */
	double costs[MAX_TURNS];            /* CPU seconds for a unit */
};

static struct {
	size_t flows, size;
	double seconds;
} plan;

static struct gateway gateways[MAX_GATEWAYS];
static size_t n_gateways, n_turns;
static char block[BLOCK], in[BLOCK];

static double cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int open_namespace(const char *name)
{
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

/* TCP with reno, also of what a listener accepts: no pacing and so no timers. */
static int socket_in(int namespace, int type)
{
	int fd;

	if (setns(namespace, CLONE_NEWNET) < 0)
		die("setns: %s", strerror(errno));
	fd = socket(AF_INET, type, 0);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	if (type == SOCK_STREAM) {
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	}
	return fd;
}

/* Of the i-th flow. */
static struct sockaddr_in destination(const struct gateway *g, size_t i)
{
	uint32_t network = (uint32_t)(i * (uint64_t)g->networks / plan.flows);

	return (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons(PORT),
		.sin_addr.s_addr = htonl(FIRST_NETWORK + (network << 8) + 1 + (uint32_t)(i % 120))};
}

static void check_source(const struct gateway *g, const struct sockaddr_in *from)
{
	char text[INET_ADDRSTRLEN];

	if ((from->sin_addr.s_addr & g->mask) != g->source)
		die("a wrong source: %s", inet_ntop(AF_INET, &from->sin_addr, text, sizeof(text)));
}

static int bind_server(const struct gateway *g, int type)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int fd = socket_in(g->server, type);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		die("bind: %s", strerror(errno));
	if (type == SOCK_STREAM && listen(fd, 4096) < 0)
		die("listen: %s", strerror(errno));
	return fd;
}

/* To the destination of the i-th flow. */
static int connect_through(const struct gateway *g, size_t i, int type)
{
	struct sockaddr_in to = destination(g, i);
	int fd = socket_in(g->client, type);

	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect: %s", strerror(errno));
	return fd;
}

static int accept_checked(const struct gateway *g)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	int fd = accept4(g->listener, (struct sockaddr *)&from, &length, 0);

	if (fd < 0)
		die("accept: %s", strerror(errno));
	check_source(g, &from);
	return fd;
}

/* ---- packets: datagrams one way ----------------------------------------------------------------
 */

static void read_datagrams(const struct gateway *g, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct sockaddr_in from;
		socklen_t length = sizeof(from);

		if (recvfrom(g->listener, in, sizeof(in), 0, (struct sockaddr *)&from, &length) !=
			(ssize_t)plan.size)
			die("a datagram was lost");
		check_source(g, &from);
	}
}

static void send_datagrams(struct gateway *g, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (send(g->from[g->next], block, plan.size, 0) != (ssize_t)plan.size)
			die("send: %s", strerror(errno));
		g->next = (g->next + 1) % plan.flows;
	}
	g->units += n;
}

/* The first packet of each flow does not count. */
static void packets_begin(struct gateway *g)
{
	struct timeval second = {.tv_sec = 1};

	g->listener = bind_server(g, SOCK_DGRAM);
	setsockopt(g->listener, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	for (size_t i = 0; i < plan.flows; i++) {
		g->from[i] = connect_through(g, i, SOCK_DGRAM);
		send_datagrams(g, 1);
		read_datagrams(g, 1);
	}
}

static double packets_turn(struct gateway *g)
{
	const size_t warm = 20, batch = 100;
	double since;

	send_datagrams(g, warm);
	read_datagrams(g, warm);
	since = cpu();
	send_datagrams(g, batch);
	read_datagrams(g, batch);
	since = cpu() - since;
	return since / (double)batch;
}

/* ---- connections: connect, a byte, close ------------------------------------------------------
 */

static void connections_begin(struct gateway *g)
{
	g->listener = bind_server(g, SOCK_STREAM);
}

/* The server closes first: TIME_WAIT is its, and the client's port is free again. */
static void one_connection(struct gateway *g)
{
	int client = connect_through(g, g->next, SOCK_STREAM), server;

	if (send(client, block, 1, 0) != 1)
		die("send: %s", strerror(errno));
	server = accept_checked(g);
	if (recv(server, in, sizeof(in), 0) != 1)
		die("not the byte that was sent");
	close(server);
	if (recv(client, in, sizeof(in), 0) != 0)
		die("no end came");
	close(client);
	g->next = (g->next + 1) % plan.flows;
	g->units++;
}

static double connections_turn(struct gateway *g)
{
	const size_t batch = 10;
	double since;

	one_connection(g);
	since = cpu();
	for (size_t i = 0; i < batch; i++)
		one_connection(g);
	return (cpu() - since) / (double)batch;
}

/* ---- bytes: bulk one way, or the other
 * ----------------------------------------------------------------------
 */

static size_t move_some(int from, int to)
{
	ssize_t n = send(from, block, plan.size, MSG_DONTWAIT);
	size_t moved = 0;

	if (n < 0 && errno != EAGAIN)
		die("send: %s", strerror(errno));
	while ((n = recv(to, in, sizeof(in), MSG_DONTWAIT)) > 0)
		moved += (size_t)n;
	if (n == 0 || errno != EAGAIN)
		die("recv: %s", n == 0 ? "closed" : strerror(errno));
	return moved;
}

static double move(struct gateway *g, size_t bytes)
{
	double since = cpu();
	size_t moved = 0;

	while (moved < bytes) {
		size_t before = moved;

		for (size_t i = 0; i < plan.flows; i++)
			moved += move_some(g->from[i], g->to[i]);
		if (moved == before) { /* a window to open, an ACK that is delayed */
			struct pollfd p = {.fd = g->to[0], .events = POLLIN};

			poll(&p, 1, 1);
		}
	}
	g->units += moved;
	return (cpu() - since) / (double)moved;
}

static void bytes_begin(struct gateway *g)
{
	g->listener = bind_server(g, SOCK_STREAM);
	for (size_t i = 0; i < plan.flows; i++) {
		g->from[i] = connect_through(g, i, SOCK_STREAM);
		g->to[i] = accept_checked(g);
	}
	move(g, 8 << 20); /* windows open */
}

static void answers_begin(struct gateway *g)
{
	g->listener = bind_server(g, SOCK_STREAM);
	for (size_t i = 0; i < plan.flows; i++) {
		g->to[i] = connect_through(g, i, SOCK_STREAM);
		g->from[i] = accept_checked(g);
	}
	move(g, 8 << 20);
}

static double bytes_turn(struct gateway *g)
{
	move(g, 128 << 10);
	return move(g, 1 << 20);
}

/* ---- turns ------------------------------------------------------------------------------------
 */

static const struct mode {
	const char *name;
	void (*begin)(struct gateway *g);
	double (*turn)(struct gateway *g);
} modes[] = {
	{"packets", packets_begin, packets_turn},
	{"connections", connections_begin, connections_turn},
	{"bytes", bytes_begin, bytes_turn},
	{"answers", answers_begin, bytes_turn},
};

static void run(const struct mode *mode)
{
	double end;

	for (size_t i = 0; i < n_gateways; i++)
		mode->begin(&gateways[i]);
	for (size_t i = 0; i < n_gateways; i++)
		mode->turn(&gateways[i]);
	end = now() + plan.seconds;
	while (now() < end && n_turns < MAX_TURNS) {
		for (size_t i = 0; i < n_gateways; i++)
			gateways[i].costs[n_turns] = mode->turn(&gateways[i]);
		n_turns++;
	}
}

/* For each gateway how much went through, and what a unit cost in each turn, in CPU seconds. */
static void print_costs(void)
{
	for (size_t i = 0; i < n_gateways; i++) {
		printf("%s{\"units\": %llu, \"costs\": [", i ? ",\n" : "[",
			(unsigned long long)gateways[i].units);
		for (size_t j = 0; j < n_turns; j++)
			printf("%s%.6g", j ? ", " : "", gateways[i].costs[j]);
		printf("]}");
	}
	printf("]\n");
}

static void parse_gateway(struct gateway *g, char *text)
{
	const char *fields[5];
	uint64_t length;

	for (size_t i = 0; i < 5; i++) {
		fields[i] = strsep(&text, ",/");
		if (!fields[i])
			die("want CLIENT-NS,SERVER-NS,SOURCE/LENGTH,NETWORKS");
	}
	g->client = open_namespace(fields[0]);
	g->server = open_namespace(fields[1]);
	length = number(fields[3], 1, 32, "a prefix length, 1-32");
	g->mask = htonl(~0u << (32 - length));
	if (inet_pton(AF_INET, fields[2], &g->source) != 1)
		die("%s: want an address", fields[2]);
	g->source &= g->mask;
	g->networks = (uint32_t)number(fields[4], 1, 1 << 20, "a number of networks");
}

int main(int argc, char **argv)
{
	if (argc < 6 || argc > 5 + MAX_GATEWAYS)
		die("usage: through packets|connections|bytes|answers FLOWS SIZE MS "
		    "CLIENT-NS,SERVER-NS,SOURCE/LENGTH,NETWORKS...");
	plan.flows = number(argv[2], 1, MAX_FLOWS, "a number of flows, up to 4096");
	plan.size = number(argv[3], 1, BLOCK, "a size");
	plan.seconds = (double)number(argv[4], 1, 60000, "milliseconds") / 1000;
	for (int i = 5; i < argc; i++)
		parse_gateway(&gateways[n_gateways++], argv[i]);
	raise_files(2 * plan.flows * n_gateways + 100);
	memset(block, 'x', sizeof(block));
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (strcmp(modes[i].name, argv[1]) == 0) {
			run(&modes[i]);
			print_costs();
			return 0;
		}
	}
	die("%s: want packets, connections, bytes or answers", argv[1]);
}
