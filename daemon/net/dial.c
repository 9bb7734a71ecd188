/*
 * dial.c - happy eyeballs.
 *
 * dial_start() puts the addresses in the order of dialling and begins with the first.  The
 * next one begins when an attempt fails or DIAL_STAGGER passes, whichever is sooner.  The
 * first connection wins and the others are closed.  Every event ends in go_on(), which
 * starts what is due, and either finishes or leaves the right timers running.
 *
 * System calls are the cost, so a plain dial is socket, setsockopt, connect, epoll_ctl: an
 * attempt waits for EV_READ and EV_WRITE, and as libev reports an error as both, EV_WRITE
 * alone says "connected" without asking for SO_ERROR.
 */
#include "daemon/net/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

static void close_attempt(struct dial *dial, ev_io *io)
{
	ev_io_stop(dial->loop, io);
	close(io->fd);
}

static bool nothing_open(const struct dial *dial)
{
	for (size_t i = 0; i < DIAL_OPEN; i++)
		if (ev_is_active(&dial->attempts[i]))
			return false;
	return true;
}

/* Leaves the dial as if it had never been started, but for its result. */
static void stop(struct dial *dial)
{
	for (size_t i = 0; i < DIAL_OPEN; i++)
		if (ev_is_active(&dial->attempts[i]))
			close_attempt(dial, &dial->attempts[i]);
	ev_timer_stop(dial->loop, &dial->stagger);
	ev_timer_stop(dial->loop, &dial->deadline);
	dial->loop = NULL;
}

static void finish(struct dial *dial)
{
	dial->took = ev_now(dial->loop) - dial->started;
	stop(dial);
	dial->on_done(dial);
}

static struct endpoint endpoint_of(const struct dial *dial, size_t index)
{
	return (struct endpoint){.addr = dial->addrs[index], .port = dial->port};
}

static bool said_by_the_network(int error)
{
	return error == ECONNREFUSED || error == ECONNRESET || error == EHOSTUNREACH ||
	       error == ETIMEDOUT;
}

static void failed(struct dial *dial, size_t index, int error)
{
	if (said_by_the_network(dial->error) && !said_by_the_network(error))
		return;
	dial->error = error;
	dial->origin = endpoint_of(dial, index);
}

static void succeeded(struct dial *dial, size_t index, int fd)
{
	dial->fd = fd;
	dial->error = 0;
	dial->origin = endpoint_of(dial, index);
}

/* Chooses the source address and leaves the choice of the port to connect(), which may then
 * use one port to many destinations.  The option is of level IPPROTO_IP for IPv6 as well. */
static int bind_source(int fd, const struct addr *addr)
{
	struct endpoint source = {.addr = *addr};
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&source, &sa);

	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int)) < 0)
		return -errno;
	return bind(fd, (struct sockaddr *)&sa, length) < 0 ? -errno : 0;
}

/* 0: connected; -EINPROGRESS; or why not.  *fd is open in the first two cases. */
static int connect_to(const struct dial *dial, const struct endpoint *to, int *fd)
{
	bool v4 = addr_is_v4(&to->addr), bound = v4 ? dial->has_bind4 : dial->has_bind6;
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(to, &sa);
	int r = 0;

	*fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (*fd < 0)
		return -errno;
	if (bound)
		r = bind_source(*fd, v4 ? &dial->bind4 : &dial->bind6);
	if (r == 0 && setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
		r = -errno;
	if (r == 0 && connect(*fd, (struct sockaddr *)&sa, length) < 0)
		r = bound && errno == EADDRNOTAVAIL ? -EADDRINUSE : -errno;
	if (r < 0 && r != -EINPROGRESS)
		close(*fd);
	return r;
}

/* A place for one more attempt.  With all of them taken the oldest gives way: it had its
 * second, and an address that was not tried yet is the better bet. */
static size_t free_attempt(struct dial *dial)
{
	size_t oldest = 0;

	for (size_t i = 0; i < DIAL_OPEN; i++) {
		if (!ev_is_active(&dial->attempts[i]))
			return i;
		if (dial->attempt_addr[i] < dial->attempt_addr[oldest])
			oldest = i;
	}
	close_attempt(dial, &dial->attempts[oldest]);
	return oldest;
}

/* Tries the next address.  False when that failed at once. */
static bool attempt(struct dial *dial)
{
	size_t index = dial->next++;
	struct endpoint to = endpoint_of(dial, index);
	int fd;
	int r = connect_to(dial, &to, &fd);

	if (r == -EINPROGRESS) {
		size_t place = free_attempt(dial);

		dial->attempt_addr[place] = (uint8_t)index;
		ev_io_set(&dial->attempts[place], fd, EV_READ | EV_WRITE);
		ev_io_start(dial->loop, &dial->attempts[place]);
		return true;
	}
	if (r < 0) {
		failed(dial, index, -r);
		return false;
	}
	succeeded(dial, index, fd);
	return true;
}

static bool is_over(const struct dial *dial)
{
	return dial->fd >= 0 || (dial->next == dial->n_addrs && nothing_open(dial));
}

/* An attempt is due: now, or at once after one that fails. */
static void attempt_next(struct dial *dial)
{
	while (dial->next < dial->n_addrs && !attempt(dial))
		;
	ev_timer_stop(dial->loop, &dial->stagger);
	if (dial->next < dial->n_addrs) {
		ev_timer_set(&dial->stagger, DIAL_STAGGER, 0.0);
		ev_timer_start(dial->loop, &dial->stagger);
	}
}

static void go_on(struct dial *dial)
{
	if (dial->fd < 0)
		attempt_next(dial);
	if (is_over(dial))
		finish(dial);
}

static void on_attempt(struct ev_loop *loop, ev_io *io, int revents)
{
	struct dial *dial = io->data;
	size_t place = (size_t)(io - dial->attempts);
	int error = 0;

	if (revents & EV_ERROR)
		error = EIO;
	else if ((revents & EV_READ) &&
		 getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)}) < 0)
		error = errno;
	ev_io_stop(loop, io);
	if (error == 0) {
		succeeded(dial, dial->attempt_addr[place], io->fd);
	} else {
		close(io->fd);
		failed(dial, dial->attempt_addr[place], error);
	}
	go_on(dial);
}

static void on_stagger(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)revents;
	go_on(timer->data);
}

/* Also fed by dial_start(), when the answer was there at once. */
static void on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct dial *dial = timer->data;

	(void)loop, (void)revents;
	if (!is_over(dial))
		failed(dial, dial->next - 1u, ETIMEDOUT);
	finish(dial);
}

static bool may_dial(const struct dial *dial, const struct addr *addr)
{
	if (!dial->has_bind4 && !dial->has_bind6)
		return true;
	return addr_is_v4(addr) ? dial->has_bind4 : dial->has_bind6;
}

/* The next of `addrs` from *at on that is of the version asked for. */
static const struct addr *next_of(const struct dial_options *options, size_t *at, bool v4)
{
	while (*at < options->n_addrs) {
		const struct addr *addr = &options->addrs[(*at)++];

		if (addr_is_v4(addr) == v4)
			return addr;
	}
	return NULL;
}

/* v6 v4 v6 v4 ..., or v4 first if the first address is: RFC 8305 4 with a count of one. */
static void order(struct dial *dial, const struct dial_options *options)
{
	size_t at[2] = {0, 0};
	bool v4 = addr_is_v4(&options->addrs[0]);

	for (size_t i = 0; i < 2 * options->n_addrs; i++, v4 = !v4) {
		const struct addr *addr = next_of(options, &at[v4], v4);

		if (addr && may_dial(dial, addr))
			dial->addrs[dial->n_addrs++] = *addr;
	}
}

static void reset(struct dial *dial, struct ev_loop *loop, const struct dial_options *options,
	void (*on_done)(struct dial *))
{
	*dial = (struct dial){.fd = -1,
		.error = EADDRNOTAVAIL,
		.started = ev_now(loop),
		.on_done = on_done,
		.loop = loop,
		.port = options->port,
		.has_bind4 = options->bind4,
		.has_bind6 = options->bind6};
	dial->origin = (struct endpoint){.addr = options->addrs[0], .port = options->port};
	if (options->bind4)
		dial->bind4 = *options->bind4;
	if (options->bind6)
		dial->bind6 = *options->bind6;
	for (size_t i = 0; i < DIAL_OPEN; i++) {
		ev_init(&dial->attempts[i], on_attempt);
		dial->attempts[i].data = dial;
	}
	ev_init(&dial->stagger, on_stagger);
	dial->stagger.data = dial;
	ev_timer_init(&dial->deadline, on_deadline, options->timeout, 0.0);
	dial->deadline.data = dial;
}

void dial_start(struct dial *dial, struct ev_loop *loop, const struct dial_options *options,
	void (*on_done)(struct dial *))
{
	CHECK(options->n_addrs >= 1 && options->n_addrs <= RESOLVER_ADDRS);
	reset(dial, loop, options, on_done);
	order(dial, options);
	attempt_next(dial);
	if (is_over(dial))
		ev_feed_event(loop, &dial->deadline, EV_TIMER);
	else
		ev_timer_start(loop, &dial->deadline);
}

void dial_cancel(struct dial *dial)
{
	if (!dial->loop)
		return;
	stop(dial);
	if (dial->fd >= 0)
		close(dial->fd);
	dial->fd = -1;
}
