/*
 * control.c - eight slots, each a client that is read from, waited for, or written to.
 *
 * FREE → READ (until a head is whole) → HELD (on_request has it) → WRITE → FREE.  One timer a
 * client covers READ and WRITE; HELD lasts as long as its command does, which is bounded by whoever
 * runs it.
 */
#include "daemon/gate/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/ascii_json.h"
#include "daemon/http/head.h"

#define FIELDS 32        /* in a request's head */
#define ACCEPT_PAUSE 0.1 /* seconds, when there is no file descriptor left */

enum state { FREE, READ, HELD, WRITE };

struct control_client {
	struct control *control;
	enum state state;
	ev_io io;
	ev_timer timer;
	char head[CONTROL_HEAD];
	size_t length, seen; /* bytes in `head`, and of these looked at */
	char *answer;
	size_t sent, left; /* of the answer */
};

struct control {
	struct ev_loop *loop;
	void (*on_request)(void *, struct control_client *, const struct control_request *);
	void *arg;
	char *path; /* NULL: not listening */
	ev_io io;
	ev_timer again; /* no descriptor was free */
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

static const char *reason_phrase(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 409:
		return "Conflict";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	default:
		return status < 500 ? "Bad Request" : "Internal Server Error";
	}
}

void control_body(struct control_client *c, int status, const char *type, struct text body)
{
	int head;

	CHECK(c->state == HELD);
	c->answer = malloc(body.length + 256);
	if (!c->answer) {
		hang_up(c);
		return;
	}
	head = snprintf(c->answer, 256,
		"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		"Connection: close\r\n\r\n",
		status, reason_phrase(status), type, body.length);
	memcpy(c->answer + head, body.at, body.length);
	c->sent = 0;
	c->left = (size_t)head + body.length;
	enter(c, WRITE);
}

void control_json(struct control_client *c, int status, json_t *answer)
{
	char *text = answer ? json_dumps(answer, JSON_INDENT(2)) : NULL;
	size_t length = text ? strlen(text) : 0;

	json_decref(answer);
	if (length >= CONTROL_ANSWER)
		control_error(c, 500, "the answer is too large");
	else if (!text)
		control_body(c, 503, "application/json", TEXT("{\"error\": \"no memory\"}\n"));
	else {
		text[length] = '\n'; /* where the NUL was */
		control_body(c, status, "application/json", (struct text){text, length + 1});
	}
	free(text);
}

void control_error(struct control_client *c, int status, const char *why)
{
	control_json(c, status, json_pack("{s:o}", "error", ascii_json(why)));
}

void control_answer(struct control_client *c, const char *text)
{
	bool refused = strncmp(text, "error: ", 7) == 0;
	const char *from = refused ? text + 7 : text;
	char *copy = strndup(from, strcspn(from, "\n"));

	if (!copy || refused)
		control_error(c, copy ? 409 : 503, copy ? copy : "no memory");
	else
		control_json(c, 200, json_pack("{s:o}", "message", ascii_json(copy)));
	free(copy);
}

/* ---- requests ---- */

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* The byte of a percent escape; 0: it is none. */
static int escaped(const char *at)
{
	int high = hex(at[1]), low = high < 0 ? -1 : hex(at[2]);

	return low < 0 ? 0 : high << 4 | low;
}

static bool decodable(const char *query)
{
	while ((query = strchr(query, '%')) && escaped(query))
		query++;
	return !query;
}

/* One value up to its '&': percent escapes and '+'.  False: too long. */
static bool decode(const char *from, char *out, size_t size)
{
	size_t n = 0;

	for (; *from && *from != '&'; from++) {
		int byte = *from == '+' ? ' ' : (unsigned char)*from;

		if (*from == '%') {
			byte = escaped(from);
			from += 2;
		}
		if (n + 1 >= size)
			return false;
		out[n++] = (char)byte;
	}
	out[n] = 0;
	return true;
}

bool control_parameter(
	const struct control_request *request, const char *name, size_t nth, char *out, size_t size)
{
	size_t length = strlen(name);
	const char *at = request->query;

	out[0] = 0;
	while (*at) {
		if (strncmp(at, name, length) == 0 && at[length] == '=' && nth-- == 0)
			return decode(at + length + 1, out, size) || (out[0] = 0);
		at += strcspn(at, "&");
		at += *at == '&';
	}
	return false;
}

static void take_request(struct control_client *c, const struct head *head)
{
	struct control_request request = {.post = head->method_id == METHOD_POST,
		.path = (char *)head->target.at,
		.query = ""};
	char *end = (char *)head->target.at + head->target.length, *query;

	*end = 0; /* the blank before the version */
	query = strchr(request.path, '?');
	if (query) {
		*query = 0;
		request.query = query + 1;
	}
	if (head->method_id != METHOD_GET && head->method_id != METHOD_POST)
		control_error(c, 405, "want GET or POST");
	else if (head->body != BODY_NONE && head->body_length > 0)
		control_error(c, 400, "want parameters behind a '?', and no body");
	else if (!decodable(request.query))
		control_error(c, 400, "want bytes as %01 to %FF");
	else
		c->control->on_request(c->control->arg, c, &request);
}

static void step_read(struct control_client *c)
{
	static const struct head_limits limits = {CONTROL_HEAD, CONTROL_HEAD, FIELDS};
	ssize_t got = recv(c->io.fd, c->head + c->length, sizeof(c->head) - c->length, 0);
	struct field fields[FIELDS];
	struct head head = {.fields = fields};
	struct head_error wrong;
	enum head_result result;
	struct text in;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		hang_up(c);
		return;
	}
	c->length += (size_t)got;
	in = (struct text){c->head, c->length};
	result = head_find(in, true, &c->seen, &limits, &wrong);
	if (result == HEAD_MORE && c->length < sizeof(c->head))
		return;
	enter(c, HELD);
	if (result == HEAD_MORE)
		wrong = (struct head_error){431, "the request is too long"};
	else if (result == HEAD_DONE)
		result = head_request(in, &limits, &head, &wrong);
	if (result == HEAD_DONE)
		take_request(c, &head);
	else
		control_error(c, 400, wrong.text);
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
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			ev_io_stop(loop, io);
			ev_timer_set(&control->again, ACCEPT_PAUSE, 0);
			ev_timer_start(loop, &control->again);
		}
		return;
	}
	c->length = c->seen = 0;
	ev_io_set(&c->io, fd, EV_READ);
	enter(c, READ);
}

static void on_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct control *control = timer->data;

	(void)revents;
	ev_io_start(loop, &control->io);
}

struct control *control_new(struct ev_loop *loop,
	void (*on_request)(void *, struct control_client *, const struct control_request *),
	void *arg)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control)
		return NULL;
	control->loop = loop;
	control->on_request = on_request;
	control->arg = arg;
	ev_io_init(&control->io, on_connection, -1, EV_READ);
	ev_timer_init(&control->again, on_again, 0, 0);
	control->io.data = control->again.data = control;
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
		ev_timer_stop(control->loop, &control->again);
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
