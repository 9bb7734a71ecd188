/*
 * judge.c - sees every IP packet that comes in from a gateway, and says which had a wrong source.
 *
 *   judge LINK...    judges what comes in on any link of its network namespace but these
 *
 * Commands are lines on stdin, each answered by a line on stdout; its end is the judge's end.
 *
 *   watch NAME NETWORK PROTOCOL PORT   packets to there; the first watch that matches judges.
 *                                      PROTOCOL is a number or `any`, PORT 0 any; several
 *                                      networks may be watched under one name
 *   allow NAME TIME [NETWORK]...       the only right sources from TIME on (seconds since 1970)
 *   begin                              judges from here; what came before belongs to nobody
 *   report                             a line of JSON: what was seen, what of it was wrong
 *
 * A packet is judged by its own time stamp, taken when it left the gateway.  A command may come
 * after packets that it is about: each pair of source and destination remembers its last packet,
 * and `allow` judges that again.  What the gateway sends itself, which no hop has counted down, and
 * link-local and multicast packets (ND, MLD) are only counted.  A frame that a bridge floods to
 * everybody, and is for another host, is not looked at.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256
#define SNAP 128                 /* bytes looked at of a packet */
#define SOCKET_BUFFER (64 << 20) /* bytes */
#define WATCHES 64
#define PAIRS 16384 /* a power of two */
#define LINKS 64
#define HOPS 64 /* that everybody here gives a packet; one is forwarded with less */

/* An IPv4 address is IPv4-mapped. */
struct network {
	struct in6_addr address;
	unsigned length; /* of the prefix, in 128 bits */
};

struct epoch {
	int64_t since; /* ns */
	struct network *sources;
	size_t n_sources;
};

struct watch {
	char name[64];
	struct network to;
	int protocol;         /* -1: any */
	unsigned port;        /* 0: any */
	struct epoch *epochs; /* in order of time */
	size_t n_epochs;
};

struct packet {
	int64_t stamp; /* ns */
	struct in6_addr source, destination;
	int protocol;
	bool has_ports;
	unsigned source_port, port, tcp_flags;
	unsigned hops; /* that it may still make */
};

struct pair {
	const struct watch *watch; /* NULL: a free slot */
	struct in6_addr source, destination;
	uint64_t packets, wrong;
	int64_t first, last, first_wrong, last_wrong;
	struct packet example, latest; /* the first wrong one, the last one */
};

static struct watch watches[WATCHES];
static size_t n_watches;
static struct pair pairs[PAIRS];
static size_t n_pairs;
static uint64_t n_packets, n_local, n_own, n_unwatched, n_drops, n_strange;
static bool begun; /* what comes before is not judged */
static char **far_links;
static int n_far_links;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("judge: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

/* ---- networks and times ------------------------------------------------------------------- */

static struct in6_addr mapped(const void *ipv4)
{
	struct in6_addr a = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	memcpy(&a.s6_addr[12], ipv4, 4);
	return a;
}

static struct network parse_network(const char *text)
{
	struct network n = {.length = 128};
	char address[64];
	const char *slash = strchr(text, '/');
	struct in_addr ipv4;

	snprintf(address, sizeof(address), "%.*s", slash ? (int)(slash - text) : 60, text);
	if (slash)
		n.length = (unsigned)atoi(slash + 1);
	if (inet_pton(AF_INET, address, &ipv4) == 1) {
		n.address = mapped(&ipv4);
		if (slash)
			n.length += 96;
	} else if (inet_pton(AF_INET6, address, &n.address) != 1) {
		die("%s: want a network", text);
	}
	return n;
}

static bool holds(const struct network *n, const struct in6_addr *a)
{
	unsigned whole = n->length / 8, rest = n->length % 8;

	if (memcmp(n->address.s6_addr, a->s6_addr, whole) != 0)
		return false;
	return rest == 0 || ((n->address.s6_addr[whole] ^ a->s6_addr[whole]) >> (8 - rest)) == 0;
}

static const char *print_address(const struct in6_addr *a, char out[INET6_ADDRSTRLEN])
{
	if (IN6_IS_ADDR_V4MAPPED(a))
		inet_ntop(AF_INET, &a->s6_addr[12], out, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, a, out, INET6_ADDRSTRLEN);
	return out;
}

/* "1764108000.123456789": a double has not the digits. */
static int64_t parse_time(const char *text)
{
	char *end, digits[10] = "000000000";
	int64_t ns = strtoll(text, &end, 10) * 1000000000;

	if (*end == '.') {
		size_t n = strlen(end + 1);

		memcpy(digits, end + 1, n < 9 ? n : 9);
	}
	return ns + strtoll(digits, NULL, 10);
}

/* ---- the judgement ------------------------------------------------------------------------ */

static bool right(const struct watch *w, const struct in6_addr *source, int64_t stamp)
{
	for (size_t i = w->n_epochs; i-- > 0;) {
		const struct epoch *e = &w->epochs[i];

		if (e->since > stamp)
			continue;
		for (size_t n = 0; n < e->n_sources; n++) {
			if (holds(&e->sources[n], source))
				return true;
		}
		return false;
	}
	return false;
}

static const struct watch *find_watch(const struct packet *p)
{
	for (const struct watch *w = watches; w < watches + n_watches; w++) {
		if (holds(&w->to, &p->destination) &&
			(w->protocol < 0 || w->protocol == p->protocol) &&
			(w->port == 0 || (p->has_ports && w->port == p->port)))
			return w;
	}
	return NULL;
}

static struct pair *find_pair(const struct watch *w, const struct packet *p)
{
	uint64_t hash = (uint64_t)(w - watches) * 31;
	struct pair *pair;

	for (int i = 0; i < 16; i++) {
		hash = (hash ^ p->source.s6_addr[i]) * 1099511628211u;
		hash = (hash ^ p->destination.s6_addr[i]) * 1099511628211u;
	}
	for (size_t i = hash ^ (hash >> 32);; i++) {
		pair = &pairs[i & (PAIRS - 1)];
		if (!pair->watch)
			break;
		if (pair->watch == w && IN6_ARE_ADDR_EQUAL(&pair->source, &p->source) &&
			IN6_ARE_ADDR_EQUAL(&pair->destination, &p->destination))
			return pair;
	}
	if (++n_pairs > PAIRS / 2)
		die("too many pairs of source and destination");
	*pair = (struct pair){.watch = w, .source = p->source, .destination = p->destination};
	pair->first = p->stamp;
	return pair;
}

static void condemn(struct pair *pair, const struct packet *p)
{
	if (pair->wrong++ == 0) {
		pair->first_wrong = p->stamp;
		pair->example = *p;
	}
	pair->last_wrong = p->stamp;
}

static void judge(const struct packet *p)
{
	const struct watch *w = find_watch(p);
	struct pair *pair;

	if (!begun)
		return;
	n_packets++;
	if (!w) {
		n_unwatched++;
		return;
	}
	pair = find_pair(w, p);
	pair->packets++;
	pair->latest = *p;
	pair->last = p->stamp;
	if (!right(w, &p->source, p->stamp))
		condemn(pair, p);
}

/* ---- packets ------------------------------------------------------------------------------ */

static void read_ports(struct packet *p, const uint8_t *at, size_t size)
{
	if ((p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) || size < 4)
		return;
	p->has_ports = true;
	p->source_port = (unsigned)at[0] << 8 | at[1];
	p->port = (unsigned)at[2] << 8 | at[3];
	if (p->protocol == IPPROTO_TCP && size >= 14)
		p->tcp_flags = at[13];
}

static bool read_ipv4(struct packet *p, const uint8_t *at, size_t size)
{
	size_t head = (size_t)(at[0] & 15) * 4;

	if (size < 20)
		return false;
	p->source = mapped(at + 12);
	p->destination = mapped(at + 16);
	p->protocol = at[9];
	p->hops = at[8];
	if (((at[6] & 0x1f) | at[7]) == 0 && size > head)
		read_ports(p, at + head, size - head);
	return true;
}

static bool read_ipv6(struct packet *p, const uint8_t *at, size_t size)
{
	size_t head = 40;
	bool first = true;

	if (size < 40)
		return false;
	memcpy(&p->source, at + 8, 16);
	memcpy(&p->destination, at + 24, 16);
	p->protocol = at[6];
	p->hops = at[7];
	while (size >= head + 8) {
		bool fragment = p->protocol == IPPROTO_FRAGMENT;

		if (!fragment && p->protocol != IPPROTO_HOPOPTS && p->protocol != IPPROTO_DSTOPTS &&
			p->protocol != IPPROTO_ROUTING)
			break;
		if (fragment)
			first = (at[head + 2] | (at[head + 3] & 0xf8)) == 0;
		p->protocol = at[head];
		head += fragment ? 8 : ((size_t)at[head + 1] + 1) * 8;
	}
	if (first && size > head)
		read_ports(p, at + head, size - head);
	return true;
}

static bool is_local(const struct packet *p)
{
	const uint8_t *to = p->destination.s6_addr;

	if (IN6_IS_ADDR_V4MAPPED(&p->destination))
		return to[12] >= 224;
	return to[0] == 0xff || IN6_IS_ADDR_LINKLOCAL(&p->source) ||
	       IN6_IS_ADDR_UNSPECIFIED(&p->source);
}

/* An index is given once in a namespace, so the answer can be kept.  A link that is gone by now
 * was the gateway's: the others stay. */
static bool is_far(int index)
{
	static struct {
		int index;
		bool far;
	} known[LINKS];
	static size_t n_known;
	char name[IF_NAMESIZE] = "";
	bool far = false;

	for (size_t i = 0; i < n_known; i++) {
		if (known[i].index == index)
			return known[i].far;
	}
	if (!if_indextoname((unsigned)index, name))
		return false;
	for (int i = 0; i < n_far_links; i++)
		far = far || strcmp(far_links[i], name) == 0;
	if (n_known < LINKS) {
		known[n_known].index = index;
		known[n_known++].far = far;
	}
	return far;
}

static int64_t stamp_of(struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec t;

			memcpy(&t, CMSG_DATA(c), sizeof(t));
			return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
		}
	}
	die("a packet without a time stamp");
}

static void on_packet(struct msghdr *message, const uint8_t *at, size_t size)
{
	const struct sockaddr_ll *link = message->msg_name;
	uint16_t type = ntohs(link->sll_protocol);
	struct packet p = {0};

	if ((type != ETH_P_IP && type != ETH_P_IPV6) || link->sll_pkttype == PACKET_OTHERHOST ||
		is_far(link->sll_ifindex))
		return;
	p.stamp = stamp_of(message);
	if (!(type == ETH_P_IP ? read_ipv4(&p, at, size) : read_ipv6(&p, at, size)))
		n_strange++;
	else if (is_local(&p))
		n_local++;
	else if (p.hops >= HOPS)
		n_own++;
	else
		judge(&p);
}

static void drain(int fd)
{
	static uint8_t bytes[BATCH][SNAP];
	static char control[BATCH][128];
	static struct sockaddr_ll from[BATCH];
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	int n;

	do {
		for (int i = 0; i < BATCH; i++) {
			parts[i] = (struct iovec){bytes[i], SNAP};
			messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
				.msg_namelen = sizeof(from[i]),
				.msg_iov = &parts[i],
				.msg_iovlen = 1,
				.msg_control = control[i],
				.msg_controllen = sizeof(control[i])};
		}
		n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < n; i++)
			on_packet(&messages[i].msg_hdr, bytes[i], messages[i].msg_len);
	} while (n == BATCH);
	if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENETDOWN)
		die("recvmmsg: %s", strerror(errno));
}

/* Loopback and what the namespace itself sends is left out in the kernel. */
static int open_capture(void)
{
	struct sock_filter incoming[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, SNAP),
	};
	struct sock_fprog program = {sizeof(incoming) / sizeof(incoming[0]), incoming};
	struct sockaddr_ll all = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int size = SOCKET_BUFFER, on = 1;
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) != 0 ||
		bind(fd, (struct sockaddr *)&all, sizeof(all)) != 0)
		die("packet socket: %s", strerror(errno));
	return fd;
}

/* ---- commands ----------------------------------------------------------------------------- */

static const char *word(void)
{
	return strtok(NULL, " \n");
}

static void on_watch(void)
{
	struct watch *w = &watches[n_watches];
	const char *name = word(), *to = word(), *protocol = word(), *port = word();

	if (!port || n_watches == WATCHES)
		die("want: watch NAME NETWORK PROTOCOL PORT, at most %d of them", WATCHES);
	snprintf(w->name, sizeof(w->name), "%s", name);
	w->to = parse_network(to);
	w->protocol = strcmp(protocol, "any") == 0 ? -1 : atoi(protocol);
	w->port = (unsigned)atoi(port);
	n_watches++;
}

/* What was judged by an older epoch than its stamp asks for, is judged again. */
static void judge_again(const struct watch *w, int64_t since)
{
	for (struct pair *p = pairs; p < pairs + PAIRS; p++) {
		if (p->watch == w && p->last > since && p->last_wrong < p->last &&
			!right(w, &p->source, p->last))
			condemn(p, &p->latest);
	}
}

static void add_epoch(struct watch *w, struct epoch e)
{
	if (w->n_epochs > 0 && w->epochs[w->n_epochs - 1].since > e.since)
		die("watch %s: times go backwards", w->name);
	w->epochs = reallocarray(w->epochs, w->n_epochs + 1, sizeof(*w->epochs));
	w->epochs[w->n_epochs++] = e;
	judge_again(w, e.since);
}

static void on_allow(void)
{
	const char *name = word(), *since = word(), *source;
	struct epoch e = {0};
	bool found = false;

	if (!since)
		die("want: allow NAME TIME [NETWORK]...");
	e.since = parse_time(since);
	while ((source = word())) {
		e.sources = reallocarray(e.sources, e.n_sources + 1, sizeof(*e.sources));
		e.sources[e.n_sources++] = parse_network(source);
	}
	for (struct watch *w = watches; w < watches + n_watches; w++) {
		if (strcmp(w->name, name) == 0) {
			add_epoch(w, e);
			found = true;
		}
	}
	if (!found)
		die("no watch %s", name);
}

static void print_pair(const struct pair *p)
{
	char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];

	printf("{\"watch\":\"%s\",\"source\":\"%s\",\"destination\":\"%s\",\"packets\":%" PRIu64
	       ",\"first\":%.6f,\"last\":%.6f,\"wrong\":%" PRIu64,
		p->watch->name, print_address(&p->source, source),
		print_address(&p->destination, destination), p->packets, (double)p->first / 1e9,
		(double)p->last / 1e9, p->wrong);
	if (p->wrong > 0)
		printf(",\"first_wrong\":%.6f,\"last_wrong\":%.6f,\"example\":"
		       "\"protocol %d, port %u to %u, flags %#x\"",
			(double)p->first_wrong / 1e9, (double)p->last_wrong / 1e9,
			p->example.protocol, p->example.source_port, p->example.port,
			p->example.tcp_flags);
	putchar('}');
}

static void on_report(int fd)
{
	struct tpacket_stats stats;
	socklen_t size = sizeof(stats);
	const char *comma = "";

	drain(fd);
	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) != 0)
		die("PACKET_STATISTICS: %s", strerror(errno));
	n_drops += stats.tp_drops;
	printf("{\"packets\":%" PRIu64 ",\"local\":%" PRIu64 ",\"own\":%" PRIu64
	       ",\"unwatched\":%" PRIu64 ",\"strange\":%" PRIu64 ",\"drops\":%" PRIu64
	       ",\"pairs\":[",
		n_packets, n_local, n_own, n_unwatched, n_strange, n_drops);
	for (const struct pair *p = pairs; p < pairs + PAIRS; p++) {
		if (p->watch) {
			fputs(comma, stdout);
			print_pair(p);
			comma = ",";
		}
	}
	puts("]}");
}

static void on_command(int fd, char *line)
{
	const char *command = strtok(line, " \n");

	if (command && strcmp(command, "report") == 0) {
		on_report(fd);
	} else {
		if (command && strcmp(command, "watch") == 0)
			on_watch();
		else if (command && strcmp(command, "allow") == 0)
			on_allow();
		else if (command && strcmp(command, "begin") == 0)
			begun = true; /* the packets before were drained */
		else
			die("want watch, allow, begin or report");
		puts("ok");
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int fd = open_capture();
	static char line[65536];

	far_links = argv + 1;
	n_far_links = argc - 1;
	puts("ok");
	fflush(stdout);
	for (;;) {
		struct pollfd wait[] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};

		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		drain(fd);
		if (wait[1].revents) { /* one line at a time: the other side waits for the answer */
			if (!fgets(line, sizeof(line), stdin))
				return 0;
			on_command(fd, line);
		}
	}
}
