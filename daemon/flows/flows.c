/*
 * flows.c - events and dumps as they come in the loop.
 *
 * An overflow of the event socket loses events, and the kernel goes on losing them, without another
 * word, until the socket is empty.  So a dump begins only after the socket was emptied; from then
 * on nothing is missed, or the overflow is told again and another dump follows.  And a dump counts
 * as over only when the socket was emptied behind it: a flow that it did not name has ended, and
 * the event of that may still wait.
 *
 * The event socket is open exactly while there is a log.
 */
#include "daemon/flows/flows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/flows/flow_book.h"
#include "daemon/log/log.h"

#define RECEIVE_BUFFER (16 << 20) /* about 30,000 events */
#define EVENTS_A_TURN 1000
#define DUMP_A_TURN (64 << 10) /* bytes: about 200 flows */
#define FLUSH_EVERY 1.0        /* seconds */
#define DUMP_EVERY 60.0        /* seconds, while flows are there whose end may not be told */
#define LOOK_EVERY 10.0        /* seconds, without events */
#define DUMP_PAUSE 1.0         /* seconds between dumps, at least; or ... */
#define DUMP_SHARE 4           /* ... so many times as long as the last one took */

enum dump_state {
	IDLE,
	DUMPING,
	EMPTYING /* the dump has been read, the event socket not yet */
};

struct flows {
	struct ev_loop *loop;
	struct flow_book *book;
	uint64_t overflows, dumps;
	enum dump_state state;
	bool overflowed;    /* a dump is wanted as soon as the event socket is empty */
	bool again;         /* a dump is wanted after the one under way */
	bool troubled;      /* the last dump failed, which was told */
	double began, next; /* monotonic: of the last dump; the next not before */
	int receive_buffer;
	double look_every;
	ev_io events, dump;
	ev_timer flush, wait, regular;
};

/* ---- dump ---- */

/* Now, or after the one under way, or after the pause. */
static void want_dump(struct flows *f)
{
	double pause = f->next - clock_monotonic();

	if (f->state != IDLE)
		f->again = true;
	if (f->state != IDLE || ev_is_active(&f->wait) || ev_is_pending(&f->wait))
		return;
	ev_now_update(f->loop);
	ev_timer_set(&f->wait, pause > 0 ? pause : 0, 0);
	ev_timer_start(f->loop, &f->wait);
}

static void fail(struct flows *f, const char *why)
{
	if (!f->troubled)
		log_warn("%s; trying on", why);
	f->troubled = true;
}

static void start_dump(struct flows *f)
{
	struct error e;
	int fd = conntrack_dump_open(0, &e);

	f->again = false;
	f->began = clock_monotonic();
	f->next = f->began + DUMP_PAUSE;
	if (fd < 0) {
		fail(f, e.text);
		want_dump(f);
		return;
	}
	flow_book_dump_begin(f->book);
	f->state = DUMPING;
	ev_io_set(&f->dump, fd, EV_READ);
	ev_io_start(f->loop, &f->dump);
}

static void end_dump(struct flows *f, int error)
{
	double now = clock_monotonic(), pause = (now - f->began) * DUMP_SHARE;
	struct error e;

	ev_io_stop(f->loop, &f->dump);
	close(f->dump.fd);
	f->next = now + (pause > DUMP_PAUSE ? pause : DUMP_PAUSE);
	f->state = error ? IDLE : EMPTYING;
	if (!error) {
		f->troubled = false;
		return;
	}
	error_set(&e, error, "conntrack dump: %s", strerror(-error));
	fail(f, e.text);
	flow_book_dump_finish(f->book, false, ev_time());
	f->again = true;
}

static void finish_dump(struct flows *f)
{
	f->state = IDLE;
	f->dumps++;
	flow_book_dump_finish(f->book, true, ev_time());
}

/* ---- what the loop calls ---- */

static void on_event(void *arg, enum conntrack_event event, const struct flow *flow)
{
	struct flows *f = arg;

	flow_book_event(f->book, event, flow, ev_time());
}

static bool has_events(const struct flows *f)
{
	return ev_is_active(&f->events);
}

static void drain(struct flows *f)
{
	enum conntrack_drained drained =
		has_events(f) ? conntrack_events_drain(f->events.fd, on_event, f, EVENTS_A_TURN)
			      : CONNTRACK_EMPTY;

	if (drained == CONNTRACK_LOST) {
		f->overflows++;
		f->overflowed = true;
	}
	if (drained != CONNTRACK_EMPTY)
		return; /* the loop comes back */
	if (f->state == EMPTYING)
		finish_dump(f);
	if (f->overflowed || (f->again && f->state == IDLE))
		want_dump(f);
	f->overflowed = false;
}

static void on_events(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	drain(io->data);
}

static void on_dumped(void *arg, const struct flow *flow)
{
	struct flows *f = arg;

	flow_book_dump_flow(f->book, flow, ev_time());
}

static void on_dump(struct ev_loop *loop, ev_io *io, int revents)
{
	struct flows *f = io->data;
	int result = conntrack_dump_step(io->fd, on_dumped, f, DUMP_A_TURN);

	(void)loop;
	(void)revents;
	if (result == 1)
		return;
	end_dump(f, result);
	drain(f);
}

static void on_wait(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	start_dump(timer->data);
}

static void on_regular(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct flows *f = timer->data;

	(void)loop;
	(void)revents;
	if (!has_events(f) || flow_book_needs_dumps(f->book))
		want_dump(f);
}

static void on_flush(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct flows *f = timer->data;

	(void)loop;
	(void)revents;
	flow_log_flush(flow_book_log(f->book));
}

/* ---- begin and end ---- */

static void init_watchers(struct flows *f)
{
	ev_io_init(&f->events, on_events, -1, EV_READ);
	ev_io_init(&f->dump, on_dump, -1, EV_READ);
	ev_timer_init(&f->flush, on_flush, FLUSH_EVERY, FLUSH_EVERY);
	ev_timer_init(&f->wait, on_wait, 0, 0);
	ev_timer_init(&f->regular, on_regular, 0, 0);
	f->events.data = f->dump.data = f;
	f->flush.data = f->wait.data = f->regular.data = f;
}

static void stop_io(struct flows *f, ev_io *io)
{
	bool open = ev_is_active(io);

	ev_io_stop(f->loop, io);
	if (open)
		close(io->fd);
}

/* fd: of events that are to be followed; -1: none. */
static void follow_events(struct flows *f, int fd)
{
	double every = fd >= 0 ? DUMP_EVERY : f->look_every;

	stop_io(f, &f->events);
	f->overflowed = false;
	if (fd >= 0) {
		ev_io_set(&f->events, fd, EV_READ);
		ev_io_start(f->loop, &f->events);
	}
	f->regular.repeat = every;
	ev_now_update(f->loop);
	ev_timer_again(f->loop, &f->regular);
	if (f->state == EMPTYING)
		drain(f);
}

/* Nothing has changed when it fails. */
static int set_log(struct flows *f, const char *path, struct error *e)
{
	bool open = path && !has_events(f), shut = !path && has_events(f);
	int fd = open ? conntrack_events_open(f->receive_buffer, e) : -1, error;

	if (open && fd < 0)
		return fd;
	error = flow_log_open(flow_book_log(f->book), path, e);
	if (error && fd >= 0)
		close(fd);
	if (error)
		return error;
	if (open || shut)
		follow_events(f, fd);
	return 0;
}

struct flows *flows_new(struct ev_loop *loop, const struct flows_config *config,
	const char *(*name_of)(void *arg, uint32_t mark, const struct flow *flow), void *arg,
	struct error *e)
{
	struct flows *f = calloc(1, sizeof(*f));
	struct flow_book *book = flow_book_new(config, name_of, arg);

	if (!f || !book) {
		error_set(e, -ENOMEM, "no memory");
		flow_book_free(book);
		free(f);
		return NULL;
	}
	*f = (struct flows){.loop = loop,
		.book = book,
		.receive_buffer = config->receive_buffer ? config->receive_buffer : RECEIVE_BUFFER,
		.look_every = config->dump_every > 0 ? config->dump_every : LOOK_EVERY};
	init_watchers(f);
	follow_events(f, -1);
	if (set_log(f, config->log, e)) {
		flows_free(f);
		return NULL;
	}
	ev_timer_start(loop, &f->flush);
	start_dump(f);
	return f;
}

void flows_free(struct flows *f)
{
	if (!f)
		return;
	stop_io(f, &f->events);
	stop_io(f, &f->dump);
	ev_timer_stop(f->loop, &f->flush);
	ev_timer_stop(f->loop, &f->wait);
	ev_timer_stop(f->loop, &f->regular);
	flow_book_free(f->book);
	free(f);
}

int flows_reopen(struct flows *f, struct error *e)
{
	return flow_log_open(flow_book_log(f->book), flows_log(f), e);
}

int flows_set_log(struct flows *f, const char *path, struct error *e)
{
	int error = set_log(f, path, e);

	if (!error)
		want_dump(f);
	return error;
}

const char *flows_log(const struct flows *f)
{
	return flow_log_path(flow_book_log(f->book));
}

void flows_resync(struct flows *f)
{
	want_dump(f);
}

struct flows_counts flows_counts(const struct flows *f)
{
	struct flows_counts counts = flow_book_counts(f->book);

	counts.overflows = f->overflows;
	counts.dumps = f->dumps;
	return counts;
}

void flows_partners(const struct flows *f,
	void (*each)(void *arg, const struct flows_partner *partner), void *arg)
{
	flow_book_partners(f->book, each, arg);
}

size_t flows_busiest(const struct flows *f, struct port_use *out, size_t max)
{
	return ports_busiest(flow_book_ports(f->book), out, max);
}

unsigned flows_port_range(const struct flows *f)
{
	return ports_range(flow_book_ports(f->book));
}
