#include "ctl/ask.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/print.h"

#define ANSWER_MOST (64 << 20) /* bytes */
#define PATIENCE 60            /* seconds without one more */

void ask_add(char path[ASK_PATH], const char *name, const char *value)
{
	size_t n = strlen(path);

	n += (size_t)snprintf(path + n, ASK_PATH - n, "%c%s=", strchr(path, '?') ? '&' : '?', name);
	for (; *value && n + 4 < ASK_PATH; value++)
		n += (size_t)snprintf(path + n, ASK_PATH - n,
			isalnum((unsigned char)*value) || strchr("-._~", *value) ? "%c" : "%%%02X",
			(unsigned char)*value);
}

static int absent(const struct ctl *ctl, const char *why)
{
	if (ctl->quiet)
		return CTL_ABSENT;
	if (ctl->json)
		print_json(json_pack("{s:s+++}", "error", ctl->socket, ": ", why, ""));
	fprintf(stderr, "egretctl: %s: %s\n", ctl->socket, why);
	return CTL_ABSENT;
}

static int dial(const char *path)
{
	const struct timeval patience = {.tv_sec = PATIENCE};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(at.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(at.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* All that comes, NUL-terminated; NULL with errno. */
static char *receive(int fd)
{
	size_t length = 0, room = 65536;
	char *text = malloc(room);
	ssize_t got = 1;

	while (text && got > 0 && length < ANSWER_MOST) {
		if (length + 1 == room) {
			char *more = realloc(text, room *= 2);

			if (!more)
				break;
			text = more;
		}
		got = recv(fd, text + length, room - length - 1, 0);
		if (got > 0)
			length += (size_t)got;
	}
	if (!text || got != 0) {
		if (got < 0 && errno == EAGAIN)
			errno = ETIMEDOUT;
		free(text);
		return NULL;
	}
	text[length] = 0;
	return text;
}

static char *exchange(int fd, const char *method, const char *path)
{
	char *request = NULL, *answer = NULL;
	int length = asprintf(&request,
		"%s %s HTTP/1.1\r\nHost: egret\r\nConnection: close\r\n\r\n", method, path);

	if (length > 0 && send(fd, request, (size_t)length, MSG_NOSIGNAL) == length)
		answer = receive(fd);
	free(length < 0 ? NULL : request);
	return answer;
}

static int refused(const struct ctl *ctl, int status, json_t *answer)
{
	const char *why = json_string_value(json_object_get(answer, "error"));

	if (ctl->quiet) {
		json_decref(answer);
	} else if (ctl->json) {
		print_json(answer);
	} else {
		print_text("error: ");
		print_text(why ? why : "egretd says no");
		print_text("\n");
		json_decref(answer);
	}
	return status == 503 || status == 504 ? CTL_ABSENT : CTL_NO;
}

static int ask(const struct ctl *ctl, const char *method, const char *path, json_t **answer)
{
	int status = 0, fd = dial(ctl->socket);
	char *text = fd >= 0 ? exchange(fd, method, path) : NULL;
	const char *body = text ? strstr(text, "\r\n\r\n") : NULL;
	int error = errno;

	*answer = NULL;
	if (body && sscanf(text, "HTTP/1.1 %d", &status) == 1)
		*answer = json_loads(body + 4, 0, NULL);
	if (fd >= 0)
		close(fd);
	if (!*answer)
		absent(ctl, text ? "no answer that egretctl understands" : strerror(error));
	free(text);
	if (!*answer)
		return CTL_ABSENT;
	print_disarm(*answer);
	if (status == 200)
		return CTL_OK;
	status = refused(ctl, status, *answer);
	*answer = NULL;
	return status;
}

int ask_get(const struct ctl *ctl, const char *path, json_t **answer)
{
	return ask(ctl, "GET", path, answer);
}

int ask_post(const struct ctl *ctl, const char *path, json_t **answer)
{
	return ask(ctl, "POST", path, answer);
}

int ask_post_and_print(const struct ctl *ctl, const char *path)
{
	json_t *answer;
	int status = ask_post(ctl, path, &answer);

	if (status)
		return status;
	if (ctl->json) {
		print_json(answer);
	} else {
		print_text(print_string(answer, "message"));
		print_text("\n");
		json_decref(answer);
	}
	return CTL_OK;
}
