/*
 * control.c - eight slots, each a client that is read from, waited for, or written to.
 *
 * FREE → READ (until a newline) → HELD (on_line has it) → WRITE → FREE.  One timer a client covers
 * READ and WRITE; HELD lasts as long as its command does, which is bounded by whoever runs it.
 */
#include "daemon/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum state { FREE, READ, HELD, WRITE };

struct control_client {
	struct control *control;
	enum state state;
	ev_io io;
	ev_timer timer;
	char line[CONTROL_LINE];
	size_t length; /* bytes in `line` */
	char *answer;
	size_t sent, left; /* of the answer */
};

struct control {
	struct ev_loop *loop;
	void (*on_line)(void *, struct control_client *, const char *);
	void *arg;
	char *path; /* NULL: not listening */
	ev_io io;
	struct control_client clients[CONTROL_CLIENTS];
};

static void hang_up(struct control_client *c)
{
	ev_io_stop(c->control->loop, &c->io);
	ev_timer_stop(c->control->loop, &c->timer);
	close(c->io.fd);
	free(c->answer);
	c->answer = NULL;
	c->state = FREE;
	if (c->control->path)
		ev_io_start(c->control->loop, &c->control->io); /* there is a slot again */
}

static void enter(struct control_client *c, enum state state)
{
	struct ev_loop *loop = c->control->loop;

	c->state = state;
	ev_io_stop(loop, &c->io);
	ev_timer_stop(loop, &c->timer);
	if (state == HELD)
		return;
	ev_io_set(&c->io, c->io.fd, state == READ ? EV_READ : EV_WRITE);
	ev_io_start(loop, &c->io);
	ev_now_update(loop);
	ev_timer_set(&c->timer, CONTROL_TIMEOUT, 0);
	ev_timer_start(loop, &c->timer);
}

static void step_read(struct control_client *c)
{
	ssize_t got = recv(c->io.fd, c->line + c->length, sizeof(c->line) - c->length, 0);
	char *end;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		hang_up(c);
		return;
	}
	c->length += (size_t)got;
	end = memchr(c->line, '\n', c->length);
	if (!end && c->length < sizeof(c->line))
		return;
	enter(c, HELD);
	if (!end || memchr(c->line, 0, (size_t)(end - c->line))) {
		control_answer(c, end ? "error: want a line of text\n" : "error: line too long\n");
		return;
	}
	*end = 0;
	c->control->on_line(c->control->arg, c, c->line);
}

static void step_write(struct control_client *c)
{
	ssize_t sent = send(c->io.fd, c->answer + c->sent, c->left, MSG_NOSIGNAL);

	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (sent > 0) {
		c->sent += (size_t)sent;
		c->left -= (size_t)sent;
	}
	if (sent < 0 || c->left == 0)
		hang_up(c);
}

static void on_client(struct ev_loop *loop, ev_io *io, int revents)
{
	struct control_client *c = io->data;

	(void)loop;
	(void)revents;
	if (c->state == READ)
		step_read(c);
	else
		step_write(c);
}

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	hang_up(timer->data);
}

void control_answer(struct control_client *c, const char *text)
{
	CHECK(c->state == HELD);
	c->answer = strndup(text, CONTROL_ANSWER);
	if (!c->answer) {
		hang_up(c);
		return;
	}
	c->sent = 0;
	c->left = strlen(c->answer);
	enter(c, WRITE);
}

static void on_connection(struct ev_loop *loop, ev_io *io, int revents)
{
	struct control *control = io->data;
	struct control_client *c = control->clients;
	int fd;

	(void)revents;
	while (c < control->clients + CONTROL_CLIENTS && c->state != FREE)
		c++;
	if (c == control->clients + CONTROL_CLIENTS) {
		ev_io_stop(loop, io); /* hang_up() starts it again */
		return;
	}
	fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	c->length = 0;
	ev_io_set(&c->io, fd, EV_READ);
	enter(c, READ);
}

struct control *control_new(struct ev_loop *loop,
	void (*on_line)(void *, struct control_client *, const char *), void *arg)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control)
		return NULL;
	control->loop = loop;
	control->on_line = on_line;
	control->arg = arg;
	ev_io_init(&control->io, on_connection, -1, EV_READ);
	control->io.data = control;
	for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
		struct control_client *c = &control->clients[i];

		c->control = control;
		ev_io_init(&c->io, on_client, -1, EV_READ);
		ev_timer_init(&c->timer, on_timeout, 0, 0);
		c->io.data = c->timer.data = c;
	}
	return control;
}

static int make_directory_of(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *slash = strrchr(path, '/');

	if (!slash || slash == path)
		return 0;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = 0;
	return mkdir(dir, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

static bool to_sockaddr(struct sockaddr_un *at, const char *path)
{
	*at = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(at->sun_path))
		return false;
	memcpy(at->sun_path, path, strlen(path) + 1);
	return true;
}

bool control_answers(const char *path)
{
	struct sockaddr_un at;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd >= 0 && to_sockaddr(&at, path) &&
		   (connect(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return yes;
}

static int listen_at(const struct sockaddr_un *at)
{
	struct stat st;
	mode_t mask;
	int error, fd;

	if (control_answers(at->sun_path))
		return -EADDRINUSE;
	if (lstat(at->sun_path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return -ENOTSOCK;
		if (unlink(at->sun_path) < 0 && errno != ENOENT)
			return -errno;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	error = bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0 ? -errno : 0;
	umask(mask);
	if (!error && listen(fd, CONTROL_CLIENTS) < 0) {
		error = -errno;
		unlink(at->sun_path);
	}
	if (!error)
		return fd;
	close(fd);
	return error;
}

int control_listen(struct control *control, const char *path, struct error *e)
{
	struct sockaddr_un at;
	int error, fd = -1;

	if (!to_sockaddr(&at, path))
		return error_set(e, -ENAMETOOLONG, "control socket %s: want at most %zu bytes",
			path, sizeof(at.sun_path) - 1);
	error = make_directory_of(path);
	if (!error) {
		fd = listen_at(&at);
		error = fd < 0 ? fd : 0;
	}
	if (error == -EADDRINUSE)
		return error_set(e, error, "egretd is already running: it answers at %s", path);
	if (error)
		return error_set(e, error, "control socket %s: %s", path, strerror(-error));
	control->path = strdup(path);
	if (!control->path) {
		unlink(path);
		close(fd);
		return error_set(e, -ENOMEM, "control socket %s: no memory", path);
	}
	ev_io_set(&control->io, fd, EV_READ);
	ev_io_start(control->loop, &control->io);
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	if (control->path) {
		ev_io_stop(control->loop, &control->io);
		close(control->io.fd);
		unlink(control->path);
		free(control->path);
		control->path = NULL;
	}
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		if (control->clients[i].state != FREE)
			hang_up(&control->clients[i]);
	free(control);
}
