/*
 * traffic.c - what pods send, and the partner that sends it back.
 *
 *   traffic serve PORT      TCP and UDP on PORT: every byte comes back
 *   traffic send TASK...    each is KIND,ADDRESS,PORT,RATE (a second), and for packets made by hand
 *                           (invalid, flood) perhaps ,SOURCE: an address that is not the pod's
 *
 * KIND is one of
 *   tcp       short connections from fresh ports: a byte there and back; closed by FIN and RST in
 * turn stream    one long connection that carries numbered blocks udp       datagrams from fresh
 * ports, short ones and fragmented ones in turn fixed     datagrams from one port ping      ICMP
 * echo, a new identifier every 16 invalid   packets that conntrack cannot place, of every kind
 * (enum shape) flood     a datagram from each port from 1024 on, once
 *
 * The line `report` on stdin is answered by a line of JSON, a member for each task (`forget gaps`
 * too, and gaps are measured from there); the end of stdin is the end.  Nothing here judges: what
 * went wrong is counted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 2.0 /* seconds for an answer */
#define OPEN_MAX_TASK 512
#define BLOCK 1024         /* bytes of a numbered block */
#define LONG_DATAGRAM 3000 /* more than any MTU here */
#define BLOCKS_AHEAD 8
#define FIRST_PORT 1024
#define STREAM_PORTS 20000 /* streams have these to themselves, each pod its own: */
#define STREAM_PORTS_PODS 128
#define STREAM_PORTS_TURNS 96
#define OTHER_PORTS 32768 /* the kernel's own choice, too */

enum kind { TCP, STREAM, UDP, FIXED, PING, INVALID, FLOOD };
static const char *const kinds[] = {"tcp", "stream", "udp", "fixed", "ping", "invalid", "flood"};

struct task;

struct conn {
	struct task *task; /* NULL: free */
	int fd;
	bool connected;
	double since; /* seconds: begun, or answered last */
};

struct task {
	enum kind kind;
	int family;
	const char *text; /* ADDRESS */
	uint16_t port;
	double rate;
	struct sockaddr_storage to, from; /* `from`: the pod's, for what is made by hand */
	socklen_t to_size;
	double due; /* packets that may be sent now */
	struct conn conns[OPEN_MAX_TASK];
	int raw;
	uint64_t sent, answered, lost, refused, resets;
	int error;                  /* errno of the last refusal or reset */
	double gap;                 /* seconds: the longest between two answers; of a stream
				       that it stood still */
	double last_answer;         /* seconds; not of a stream */
	unsigned opened;            /* streams so far */
	uint64_t next_out, next_in; /* stream: numbers of blocks */
	size_t part;                /* bytes of block next_in that came */
	uint8_t block[BLOCK];
};

static int epoll_fd;
static struct task *tasks;
static size_t n_tasks;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("traffic: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- connections and datagrams ------------------------------------------------------------- */

static void count_answer(struct task *t)
{
	double time = now();

	t->answered++;
	if (time - t->last_answer > t->gap)
		t->gap = time - t->last_answer;
	t->last_answer = time;
}

static struct conn *free_conn(struct task *t)
{
	size_t n = t->kind == STREAM || t->kind == FIXED ? 1 : OPEN_MAX_TASK;

	for (size_t i = 0; i < n; i++) {
		if (!t->conns[i].task)
			return &t->conns[i];
	}
	return NULL;
}

static void drop(struct conn *c)
{
	close(c->fd);
	c->task = NULL;
}

static void refuse(struct conn *c, int error)
{
	c->task->refused++;
	c->task->error = error;
	drop(c);
}

/* Opens and connects; NULL when that failed at once, or too many are open. */
static void find_source(struct task *t)
{
	socklen_t size = sizeof(t->from);
	int probe = socket(t->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (connect(probe, (struct sockaddr *)&t->to, t->to_size) != 0 ||
		getsockname(probe, (struct sockaddr *)&t->from, &size) != 0)
		die("%s: %s", t->text, strerror(errno));
	close(probe);
}

/* A gateway that takes a stream over has no other pod's flow at its port: translation to another
 * port would end it. */
static void bind_stream(struct task *t, int fd)
{
	const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)&t->from;
	const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)&t->from;
	const uint8_t *a = (const uint8_t *)&ipv4->sin_addr, *b = ipv6->sin6_addr.s6_addr;
	unsigned pod = t->family == AF_INET6 ? b[7] * 16u + b[15] % 16 : a[2] * 16u + a[3] % 16;
	unsigned turn = t->opened++ % STREAM_PORTS_TURNS;
	struct sockaddr_storage from = t->from;

	((struct sockaddr_in6 *)&from)->sin6_port = htons(
		(uint16_t)(STREAM_PORTS + turn * STREAM_PORTS_PODS + pod % STREAM_PORTS_PODS));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(fd, (struct sockaddr *)&from, t->to_size) != 0)
		die("bind for %s: %s", t->text, strerror(errno));
}

static struct conn *open_conn(struct task *t, int type)
{
	struct conn *c = free_conn(t);
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};

	if (!c)
		return NULL;
	*c = (struct conn){.task = t, .since = now()};
	c->fd = socket(t->family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket: %s", strerror(errno));
	if (t->kind == STREAM)
		bind_stream(t, c->fd);
	if (connect(c->fd, (struct sockaddr *)&t->to, t->to_size) != 0 && errno != EINPROGRESS) {
		refuse(c, errno);
		return NULL;
	}
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
	return c;
}

static void close_tcp(struct conn *c)
{
	struct linger reset = {1, 0};

	if (c->task->answered % 2)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	drop(c);
}

/* Few are under way, so that both sides' buffers always take a whole one. */
static void send_block(struct task *t)
{
	struct conn *c = &t->conns[0];
	uint64_t block[BLOCK / 8] = {t->next_out};
	ssize_t n;

	if (!c->connected || t->next_out - t->next_in >= BLOCKS_AHEAD)
		return;
	n = send(c->fd, block, BLOCK, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0 && n < BLOCK)
		die("stream to %s: part of a block was sent", t->text);
	if (n == BLOCK) {
		t->next_out++;
		t->sent++;
	} else {
		t->error = errno;
	}
}

static void stream_ended(struct conn *c, int error)
{
	struct task *t = c->task;

	if (c->connected)
		t->resets++;
	else
		t->refused++;
	t->error = error;
	drop(c);
}

/* A new stream starts at 0 on both sides. */
static void stream_open(struct task *t)
{
	t->next_out = t->next_in = 0;
	t->part = 0;
	open_conn(t, SOCK_STREAM);
}

static void on_block(struct conn *c)
{
	struct task *t = c->task;
	double time = now();
	uint64_t number;

	memcpy(&number, t->block, sizeof(number));
	if (number != t->next_in)
		die("stream to %s: block %" PRIu64 " instead of %" PRIu64, t->text, number,
			t->next_in);
	t->next_in++;
	t->part = 0;
	t->answered++;
	if (time - c->since > t->gap)
		t->gap = time - c->since;
	c->since = time;
}

static void on_stream(struct conn *c)
{
	struct task *t = c->task;

	for (;;) {
		ssize_t n = recv(c->fd, t->block + t->part, BLOCK - t->part, 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			stream_ended(c, n < 0 ? errno : 0);
			return;
		}
		t->part += (size_t)n;
		if (t->part == BLOCK)
			on_block(c);
	}
}

static void on_answer(struct conn *c)
{
	uint8_t bytes[LONG_DATAGRAM];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		if (c->task->kind == TCP)
			c->task->resets++;
		refuse(c, n < 0 ? errno : 0);
		return;
	}
	count_answer(c->task);
	if (c->task->kind == TCP)
		close_tcp(c);
	else if (c->task->kind == UDP)
		drop(c);
}

static void on_fixed(struct conn *c)
{
	uint8_t bytes[LONG_DATAGRAM];
	ssize_t n;

	while ((n = recv(c->fd, bytes, sizeof(bytes), 0)) >= 0 || errno != EAGAIN) {
		if (n < 0) {
			c->task->refused++;
			c->task->error = errno;
		} else {
			count_answer(c->task);
		}
	}
}

static void on_connected(struct conn *c)
{
	c->connected = true;
	c->since = now();
	if (c->task->kind == TCP && send(c->fd, "x", 1, MSG_NOSIGNAL) < 0)
		refuse(c, errno);
}

static void on_event(struct conn *c, uint32_t events)
{
	bool tcp = c->task && (c->task->kind == TCP || c->task->kind == STREAM);
	int error = 0;
	socklen_t size = sizeof(error);

	if (!c->task) /* closed earlier in this round */
		return;
	if (tcp && !c->connected) {
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error || (events & EPOLLERR)) {
			refuse(c, error);
			return;
		}
		if (!(events & EPOLLOUT))
			return;
		on_connected(c);
	}
	if (!c->task || !(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
		return;
	if (c->task->kind == STREAM)
		on_stream(c);
	else if (c->task->kind == FIXED)
		on_fixed(c);
	else
		on_answer(c);
}

static void send_datagram(struct task *t)
{
	static const uint8_t bytes[LONG_DATAGRAM];
	struct conn *c =
		t->kind == FIXED && t->conns[0].task ? &t->conns[0] : open_conn(t, SOCK_DGRAM);
	size_t size = t->kind == UDP && t->sent % 8 == 7 ? LONG_DATAGRAM : 64;

	if (!c)
		return;
	t->sent++;
	if (send(c->fd, bytes, size, 0) >= 0)
		return;
	t->refused++;
	t->error = errno;
	if (t->kind == UDP)
		drop(c);
}

static void send_ping(struct task *t)
{
	bool v6 = t->family == AF_INET6;
	struct icmphdr echo = {.type = v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO};
	uint16_t sum = 0;

	echo.un.echo.id = htons((uint16_t)((unsigned)getpid() + t->sent / 16));
	echo.un.echo.sequence = htons((uint16_t)t->sent);
	if (!v6) { /* a head of four words, of which the checksum is one */
		uint32_t words = htons(echo.type << 8) + echo.un.echo.id + echo.un.echo.sequence;

		words = (words & 0xffff) + (words >> 16);
		sum = (uint16_t) ~((words & 0xffff) + (words >> 16));
	}
	echo.checksum = sum;
	t->sent++;
	if (sendto(t->raw, &echo, sizeof(echo), 0, (struct sockaddr *)&t->to, t->to_size) < 0) {
		t->refused++;
		t->error = errno;
	}
}

static void on_pong(struct task *t)
{
	uint8_t bytes[2048];
	ssize_t n;

	while ((n = recv(t->raw, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		if (t->family == AF_INET6 ? bytes[0] == ICMP6_ECHO_REPLY
					  : n > 20 && bytes[20] == ICMP_ECHOREPLY)
			count_answer(t);
	}
}

/* ---- packets made by hand ------------------------------------------------------------------ */

enum shape {
	RESET,         /* TCP RST that belongs to nothing */
	SYN_ACK,       /* likewise */
	NO_FLAGS,      /* TCP */
	STRAY_DATA,    /* conntrack may take it for the middle of a connection */
	SYN_FIN,       /* impossible */
	BAD_TCP,       /* checksum */
	OUT_OF_WINDOW, /* data of the stream to the same place, far from where it is */
	BAD_UDP,       /* checksum */
	STRAY_ERROR,   /* ICMP error about a packet that never was */
	OTHER_PROTOCOL,
	STRAY_FIN,
	N_SHAPES
};

#define HAND_PAYLOAD 8

struct hand {
	uint8_t bytes[256];
	size_t head, size; /* of the IP head, of the whole */
	uint8_t protocol;
};

static uint32_t add_words(uint32_t sum, const void *at, size_t size)
{
	const uint8_t *bytes = at;

	for (size_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	if (size % 2)
		sum += (uint32_t)bytes[size - 1] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static uint16_t transport_sum(const struct task *t, const struct hand *h)
{
	size_t size = h->size - h->head;
	uint32_t sum = h->protocol + (uint32_t)size;

	if (h->protocol == IPPROTO_ICMP)
		sum = 0;
	else if (t->family == AF_INET6)
		sum = add_words(sum, h->bytes + 8, 32);
	else
		sum = add_words(sum, h->bytes + 12, 8);
	return fold(add_words(sum, h->bytes + h->head, size));
}

/* The IP head before `size` bytes of `protocol`. */
static void hand_ip(const struct task *t, struct hand *h, uint8_t protocol, size_t size)
{
	h->protocol = protocol;
	h->head = t->family == AF_INET6 ? 40 : 20;
	h->size = h->head + size;
	if (t->family == AF_INET6) {
		struct ip6_hdr *ip = (struct ip6_hdr *)h->bytes;

		ip->ip6_flow = htonl(6u << 28);
		ip->ip6_plen = htons((uint16_t)size);
		ip->ip6_nxt = protocol;
		ip->ip6_hlim = 64;
		ip->ip6_src = ((const struct sockaddr_in6 *)&t->from)->sin6_addr;
		ip->ip6_dst = ((const struct sockaddr_in6 *)&t->to)->sin6_addr;
	} else {
		struct iphdr *ip = (struct iphdr *)h->bytes;

		ip->version = 4;
		ip->ihl = 5;
		ip->ttl = 64;
		ip->protocol = protocol;
		ip->tot_len = htons((uint16_t)h->size);
		ip->saddr = ((const struct sockaddr_in *)&t->from)->sin_addr.s_addr;
		ip->daddr = ((const struct sockaddr_in *)&t->to)->sin_addr.s_addr;
	}
}

static uint16_t random_port(void)
{
	return (uint16_t)(OTHER_PORTS + random() % (65536 - OTHER_PORTS));
}

/* The port of the stream to the same place, or a random one. */
static uint16_t stream_port(const struct task *t)
{
	struct sockaddr_in6 name; /* the port has the same place in both families */
	socklen_t size = sizeof(name);

	for (size_t i = 0; i < n_tasks; i++) {
		if (tasks[i].kind == STREAM && tasks[i].conns[0].connected &&
			strcmp(tasks[i].text, t->text) == 0 && tasks[i].port == t->port &&
			getsockname(tasks[i].conns[0].fd, (struct sockaddr *)&name, &size) == 0)
			return ntohs(name.sin6_port);
	}
	return random_port();
}

static void hand_tcp(const struct task *t, struct hand *h, enum shape shape)
{
	static const uint8_t flags[N_SHAPES] = {[RESET] = TH_RST,
		[SYN_ACK] = TH_SYN | TH_ACK,
		[STRAY_DATA] = TH_ACK | TH_PUSH,
		[SYN_FIN] = TH_SYN | TH_FIN,
		[BAD_TCP] = TH_SYN,
		[OUT_OF_WINDOW] = TH_ACK | TH_PUSH,
		[STRAY_FIN] = TH_FIN | TH_ACK};
	bool data = shape == STRAY_DATA || shape == OUT_OF_WINDOW;
	struct tcphdr *tcp;

	hand_ip(t, h, IPPROTO_TCP, sizeof(*tcp) + (data ? HAND_PAYLOAD : 0));
	tcp = (struct tcphdr *)(h->bytes + h->head);
	tcp->th_sport = htons(shape == OUT_OF_WINDOW ? stream_port(t) : random_port());
	tcp->th_dport = htons(t->port);
	tcp->th_seq = htonl((uint32_t)random() * 2);
	tcp->th_ack = htonl((uint32_t)random() * 2);
	tcp->th_off = 5;
	tcp->th_flags = flags[shape];
	tcp->th_win = htons(1000);
	tcp->th_sum = transport_sum(t, h);
	if (shape == BAD_TCP)
		tcp->th_sum ^= 0x5555;
}

static void hand_udp(const struct task *t, struct hand *h, uint16_t from, bool bad)
{
	struct udphdr *udp;

	hand_ip(t, h, IPPROTO_UDP, sizeof(*udp) + HAND_PAYLOAD);
	udp = (struct udphdr *)(h->bytes + h->head);
	udp->uh_sport = htons(from);
	udp->uh_dport = htons(t->port);
	udp->uh_ulen = htons(sizeof(*udp) + HAND_PAYLOAD);
	udp->uh_sum = transport_sum(t, h);
	if (bad)
		udp->uh_sum ^= 0x5555;
}

/* "Your packet to me found no port": but there was none. */
static void hand_error(const struct task *t, struct hand *h)
{
	bool v6 = t->family == AF_INET6;
	struct task back = {
		.family = t->family, .port = random_port(), .to = t->from, .from = t->to};
	struct hand about = {0};
	struct icmphdr *error;

	hand_udp(&back, &about, t->port, false);
	hand_ip(t, h, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, sizeof(*error) + about.size);
	error = (struct icmphdr *)(h->bytes + h->head);
	error->type = v6 ? ICMP6_DST_UNREACH : ICMP_DEST_UNREACH;
	error->code = v6 ? ICMP6_DST_UNREACH_NOPORT : ICMP_PORT_UNREACH;
	memcpy(error + 1, about.bytes, about.size);
	error->checksum = transport_sum(t, h);
}

static void send_hand(struct task *t, const struct hand *h)
{
	struct sockaddr_storage to = t->to;

	((struct sockaddr_in6 *)&to)->sin6_port = 0; /* the same place in both families */
	t->sent++;
	if (sendto(t->raw, h->bytes, h->size, 0, (struct sockaddr *)&to, t->to_size) < 0) {
		t->refused++;
		t->error = errno;
	}
}

static void send_invalid(struct task *t)
{
	enum shape shape = (enum shape)(t->sent % N_SHAPES);
	struct hand h = {0};

	if (shape == BAD_UDP)
		hand_udp(t, &h, random_port(), true);
	else if (shape == STRAY_ERROR)
		hand_error(t, &h);
	else if (shape == OTHER_PROTOCOL)
		hand_ip(t, &h, 253, HAND_PAYLOAD); /* RFC 3692: for experiments */
	else
		hand_tcp(t, &h, shape);
	send_hand(t, &h);
}

static void send_flood(struct task *t)
{
	struct hand h = {0};

	hand_udp(t, &h, (uint16_t)(FIRST_PORT + t->sent), false);
	send_hand(t, &h);
}

/* ---- the loop ------------------------------------------------------------------------------ */

static void send_one(struct task *t)
{
	switch (t->kind) {
	case TCP:
		if (open_conn(t, SOCK_STREAM))
			t->sent++;
		break;
	case STREAM:
		if (!t->conns[0].task)
			stream_open(t);
		else
			send_block(t);
		break;
	case UDP:
	case FIXED:
		send_datagram(t);
		break;
	case PING:
		send_ping(t);
		break;
	case INVALID:
		send_invalid(t);
		break;
	case FLOOD:
		if (t->sent < 65536 - FIRST_PORT)
			send_flood(t);
		break;
	}
}

/* Who was held up does not catch up: the rate is the most that is sent. */
static void send_due(struct task *t, double time, double last)
{
	double step = time - last < 0.05 ? time - last : 0.05;

	t->due += step * t->rate;
	for (; t->due >= 1; t->due--)
		send_one(t);
}

static void expire(struct task *t, double time)
{
	for (struct conn *c = t->conns; c < t->conns + OPEN_MAX_TASK; c++) {
		if (!c->task || time - c->since < PATIENCE || t->kind == FIXED)
			continue;
		if (t->kind == STREAM && c->connected) {
			if (time - c->since > t->gap)
				t->gap = time - c->since;
			continue;
		}
		t->lost++;
		drop(c);
	}
}

static void report(void)
{
	double time = now();
	const char *comma = "";

	putchar('[');
	for (struct task *t = tasks; t < tasks + n_tasks; t++) {
		const struct conn *c = &t->conns[0];
		bool open = t->kind == STREAM && c->task && c->connected;

		printf("%s{\"kind\":\"%s\",\"to\":\"%s\",\"port\":%u,\"sent\":%" PRIu64
		       ",\"answered\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"refused\":%" PRIu64
		       ",\"resets\":%" PRIu64 ",\"error\":\"%s\",\"open\":%s,\"gap\":%.3f,"
		       "\"silence\":%.3f}",
			comma, kinds[t->kind], t->text, t->port, t->sent, t->answered, t->lost,
			t->refused, t->resets, t->error ? strerror(t->error) : "",
			open ? "true" : "false", t->gap,
			open                ? time - c->since
			: t->kind == STREAM ? 0.0
					    : time - t->last_answer);
		comma = ",";
	}
	puts("]");
	fflush(stdout);
}

/* Gaps are measured from here. */
static void forget_gaps(void)
{
	for (struct task *t = tasks; t < tasks + n_tasks; t++) {
		t->gap = 0;
		t->last_answer = now();
	}
}

/* True while stdin is open. */
static bool on_stdin(void)
{
	char line[64];

	if (!fgets(line, sizeof(line), stdin))
		return false;
	if (strcmp(line, "forget gaps\n") == 0)
		forget_gaps();
	report();
	return true;
}

static void open_raw(struct task *t)
{
	bool v6 = t->family == AF_INET6;
	int protocol = t->kind != PING ? IPPROTO_RAW : v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

	find_source(t);
	t->raw = socket(t->family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (t->raw < 0)
		die("raw socket: %s", strerror(errno));
	if (v6 && t->kind == PING)
		((struct sockaddr_in6 *)&t->to)->sin6_port = 0;
}

static void parse_address(int family, const char *text, struct sockaddr_storage *out)
{
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)out;

	out->ss_family = (sa_family_t)family;
	if (inet_pton(family, text,
		    family == AF_INET6 ? (void *)&ipv6->sin6_addr : (void *)&ipv4->sin_addr) != 1)
		die("%s: want an address", text);
}

static void parse_task(struct task *t, char *text)
{
	const char *kind = strtok(text, ","), *address = strtok(NULL, ","),
		   *port = strtok(NULL, ","), *rate = strtok(NULL, ","), *from = strtok(NULL, ",");

	if (!rate)
		die("want KIND,ADDRESS,PORT,RATE");
	while (t->kind < FLOOD && strcmp(kinds[t->kind], kind) != 0)
		t->kind++;
	t->text = address;
	t->port = (uint16_t)atoi(port);
	t->rate = atof(rate);
	t->family = strchr(address, ':') ? AF_INET6 : AF_INET;
	t->to_size =
		t->family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	parse_address(t->family, address, &t->to);
	((struct sockaddr_in6 *)&t->to)->sin6_port = htons(t->port); /* in both families there */
	if (t->kind == PING || t->kind == INVALID || t->kind == FLOOD)
		open_raw(t);
	else if (t->kind == STREAM)
		find_source(t);
	if (from)
		parse_address(t->family, from, &t->from);
}

static void send_all(void)
{
	struct epoll_event events[256];
	double last = now();

	for (;;) {
		int n = epoll_wait(epoll_fd, events, 256, 1);
		double time = now();

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_event(events[i].data.ptr, events[i].events);
			else if (!on_stdin())
				return;
		}
		for (struct task *t = tasks; t < tasks + n_tasks; t++) {
			if (t->kind == PING)
				on_pong(t);
			send_due(t, time, last);
			if ((int64_t)(time * 10) != (int64_t)(last * 10))
				expire(t, time);
		}
		last = time;
	}
}

/* ---- the partner --------------------------------------------------------------------------- */

static int serve_on(uint16_t port, int type)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct epoll_event e = {.events = EPOLLIN};
	int on = 1, fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0 ||
		(type == SOCK_STREAM && listen(fd, 1024) != 0))
		die("port %u: %s", port, strerror(errno));
	e.data.fd = fd;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
	return fd;
}

static void serve_accept(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
	}
}

static void serve_udp(int fd)
{
	uint8_t bytes[LONG_DATAGRAM];
	struct sockaddr_in6 from;
	socklen_t size = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &size)) >= 0) {
		sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, size);
		size = sizeof(from);
	}
}

/* What does not fit back ends the connection: no block may be lost silently. */
static void serve_tcp(int fd)
{
	uint8_t bytes[65536];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || send(fd, bytes, (size_t)n, MSG_NOSIGNAL) != n)
		close(fd);
}

static void serve(uint16_t port)
{
	int tcp = serve_on(port, SOCK_STREAM), udp = serve_on(port, SOCK_DGRAM);
	struct epoll_event events[256], in = {.events = EPOLLIN, .data.fd = 0};

	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &in);
	puts("ok");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 256, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == 0 && !on_stdin())
				return;
			if (events[i].data.fd == tcp)
				serve_accept(tcp);
			else if (events[i].data.fd == udp)
				serve_udp(udp);
			else if (events[i].data.fd != 0)
				serve_tcp(events[i].data.fd);
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit files = {65536, 65536};
	struct epoll_event in = {.events = EPOLLIN};

	if (argc < 3)
		die("want serve PORT or send TASK...");
	setrlimit(RLIMIT_NOFILE, &files);
	srandom((unsigned)getpid());
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (strcmp(argv[1], "serve") == 0) {
		serve((uint16_t)atoi(argv[2]));
		return 0;
	}
	n_tasks = (size_t)argc - 2;
	tasks = calloc(n_tasks, sizeof(*tasks));
	if (!tasks)
		die("out of memory");
	for (size_t i = 0; i < n_tasks; i++)
		parse_task(&tasks[i], argv[i + 2]);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &in);
	forget_gaps();
	puts("ok");
	fflush(stdout);
	send_all();
	free(tasks);
	return 0;
}
