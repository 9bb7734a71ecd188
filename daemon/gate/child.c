/*
 * child.c - a process, its channel, and the timer that starts the next one.
 *
 * Running: `pid` is set, `ended` and `io` are active.  Waiting: `pid` is 0, `timer` is active.  A
 * process that hangs up its channel but does not end cannot be talked to any more: the timer then
 * kills it.
 */
#include "daemon/gate/child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log/log.h"

#define BACKOFF_FIRST 0.1 /* seconds */
#define BACKOFF_MOST 10.0
#define GOOD_LIFE 60.0   /* seconds after which the next end is a first one again */
#define LAST_WORDS 4     /* messages read from one that has ended */
#define HANGUP_GRACE 1.0 /* seconds from the end of its channel to that of the process */

struct child {
	struct ev_loop *loop;
	struct child_events events;
	pid_t pid;
	unsigned uid;
	int channel;
	ev_tstamp born;
	double backoff;
	uint64_t restarts;
	bool retired;
	ev_io io;
	ev_child ended;
	ev_timer timer;
};

static void close_channel(struct child *c)
{
	ev_io_stop(c->loop, &c->io);
	if (c->channel >= 0)
		close(c->channel);
	c->channel = -1;
}

static void wait_for(struct child *c, double seconds)
{
	ev_timer_stop(c->loop, &c->timer);
	ev_now_update(c->loop);
	ev_timer_set(&c->timer, seconds, 0);
	ev_timer_start(c->loop, &c->timer);
}

static void start_later(struct child *c)
{
	if (c->retired)
		return;
	log_info("the proxy is started again in %.1f s", c->backoff);
	wait_for(c, c->backoff);
	c->backoff = c->backoff * 2 < BACKOFF_MOST ? c->backoff * 2 : BACKOFF_MOST;
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct child *c = timer->data;
	struct error e;

	(void)loop;
	(void)revents;
	if (c->pid) {
		log_error("the proxy (pid %d) closed its channel and goes on: killed", (int)c->pid);
		child_kill(c);
		return;
	}
	c->restarts++;
	if (child_start(c, &e) < 0) {
		log_error("%s", e.text);
		start_later(c);
	}
}

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	struct child *c = io->data;
	struct message message;
	int fd, got = channel_receive(c->channel, &message, &fd);

	(void)loop;
	(void)revents;
	if (got == 0)
		return;
	if (got == 1)
		c->events.on_message(c->events.arg, &message, fd);
	if (fd >= 0)
		close(fd);
	if (got == 1)
		return;
	if (got == -EPROTO)
		log_error("the proxy sent a malformed message");
	close_channel(c);
	wait_for(c, got == -EPROTO ? 0 : HANGUP_GRACE);
}

static const char *how_it_ended(int status, char *out, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(
			out, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(out, size, "exit status %d", WEXITSTATUS(status));
	return out;
}

static void on_ended(struct ev_loop *loop, ev_child *ended, int revents)
{
	struct child *c = ended->data;
	char how[64];

	(void)revents;
	if (!WIFEXITED(ended->rstatus) && !WIFSIGNALED(ended->rstatus))
		return;
	ev_child_stop(loop, ended);
	ev_timer_stop(loop, &c->timer);
	for (int i = 0; i < LAST_WORDS && c->channel >= 0; i++)
		on_readable(loop, &c->io, EV_READ);
	close_channel(c);
	c->pid = 0;
	ev_now_update(loop);
	if (ev_now(loop) - c->born >= GOOD_LIFE)
		c->backoff = BACKOFF_FIRST;
	ev_timer_stop(loop, &c->timer);
	c->events.on_end(c->events.arg, how_it_ended(ended->rstatus, how, sizeof(how)));
	start_later(c);
}

struct child *child_new(struct ev_loop *loop, const struct child_events *events)
{
	struct child *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct child){
		.loop = loop, .events = *events, .channel = -1, .backoff = BACKOFF_FIRST};
	ev_io_init(&c->io, on_readable, -1, EV_READ);
	ev_child_init(&c->ended, on_ended, 0, 0);
	ev_timer_init(&c->timer, on_timer, 0, 0);
	c->io.data = c->ended.data = c->timer.data = c;
	return c;
}

void child_free(struct child *c)
{
	if (!c)
		return;
	ev_child_stop(c->loop, &c->ended);
	ev_timer_stop(c->loop, &c->timer);
	close_channel(c);
	free(c);
}

/* Forks with all signals blocked, so that no handler of the gate ever runs in the new process. */
static pid_t fork_quietly(sigset_t *before)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, before);
	return fork();
}

/* The gate says when to end, by the channel: a terminal's Ctrl-C and a service manager's
 * signal reach both processes. */
static void reset_signals(void)
{
	static const int ignored[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM};
	sigset_t none;

	for (int signal = 1; signal < NSIG; signal++)
		sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
	for (size_t i = 0; i < COUNT_OF(ignored); i++)
		sigaction(ignored[i], &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int child_start(struct child *c, struct error *e)
{
	int pair[2], error = channel_open(pair);
	sigset_t before;

	if (error)
		return error_set(e, error, "proxy: channel: %s", strerror(-error));
	fflush(NULL);
	pid_t pid = fork_quietly(&before);
	if (pid == 0) {
		reset_signals();
		exit(c->events.run(c->events.arg, pair[1]));
	}
	error = -errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return error_set(e, error, "proxy: fork: %s", strerror(-error));
	}
	c->pid = pid;
	c->channel = pair[0];
	ev_now_update(c->loop);
	c->born = ev_now(c->loop);
	ev_child_set(&c->ended, pid, 0);
	ev_child_start(c->loop, &c->ended);
	ev_io_set(&c->io, c->channel, EV_READ);
	ev_io_start(c->loop, &c->io);
	c->events.on_start(c->events.arg);
	return 0;
}

void child_retire(struct child *c)
{
	c->retired = true;
	if (!c->pid)
		ev_timer_stop(c->loop, &c->timer);
}

int child_send(struct child *c, const struct message *message, int fd)
{
	return c->channel < 0 ? -ENOTCONN : channel_send(c->channel, message, fd);
}

/* To end another user's process takes CAP_KILL, or to be that user, which CAP_SETUID allows. */
static bool kill_as(unsigned uid, pid_t pid)
{
	int status = -1;
	sigset_t before;
	pid_t killer = fork_quietly(&before);

	if (killer == 0)
		_exit(setresuid(uid, uid, uid) < 0 || kill(pid, SIGKILL) < 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return killer > 0 && waitpid(killer, &status, 0) == killer && status == 0;
}

void child_set_uid(struct child *c, unsigned uid)
{
	c->uid = uid;
}

void child_kill(struct child *c)
{
	if (!c->pid || kill(c->pid, SIGKILL) == 0 || errno != EPERM || kill_as(c->uid, c->pid))
		return;
	log_error("the proxy (pid %d) cannot be killed", (int)c->pid);
}

pid_t child_pid(const struct child *c)
{
	return c->pid;
}

uint64_t child_restarts(const struct child *c)
{
	return c->restarts;
}
