#include "daemon/gate/listen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 4096

static int set(int fd, int level, int option)
{
	return setsockopt(fd, level, option, &(int){1}, sizeof(int));
}

static int open_one(const struct endpoint *at)
{
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(at, &sa);
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	int error;

	if (fd < 0)
		return -errno;
	if (set(fd, SOL_SOCKET, SO_REUSEADDR) == 0 && set(fd, SOL_SOCKET, SO_REUSEPORT) == 0 &&
		set(fd, IPPROTO_IP, IP_FREEBIND) == 0 &&
		(sa.ss_family == AF_INET || set(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0) &&
		bind(fd, (struct sockaddr *)&sa, length) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

static int add(struct listener_list *list, const struct endpoint_list *addresses,
	enum listener_kind kind, unsigned workers, struct error *e)
{
	static const char *const prefixes[] = {[LISTENER_PROXY] = "",
		[LISTENER_CAPTURE] = "capture-",
		[LISTENER_ADMIN] = "admin "};

	for (size_t i = 0; i < addresses->n; i++)
		for (unsigned worker = 0; worker < workers; worker++) {
			const struct endpoint *at = &addresses->at[i];
			int fd = open_one(at);
			char text[ENDPOINT_TEXT];

			if (fd < 0)
				return error_set(e, fd, "%slisten %s: %s", prefixes[kind],
					endpoint_print(at, text), strerror(-fd));
			list->at[list->n++] = (struct listener){fd, kind, worker, *at};
		}
	return 0;
}

int listen_open(
	struct listener_list *list, const struct config *config, unsigned workers, struct error *e)
{
	size_t most =
		(config->listen.n + config->capture_listen.n) * workers + config->admin_listen.n;
	bool proxy = config->role != ROLE_AGENT;
	int error;

	list->n = 0;
	list->at = calloc(most ? most : 1, sizeof(*list->at));
	if (!list->at)
		return error_set(e, -ENOMEM, "no memory for %zu listeners", most);
	error = proxy ? add(list, &config->listen, LISTENER_PROXY, workers, e) : 0;
	if (!error && proxy)
		error = add(list, &config->capture_listen, LISTENER_CAPTURE, workers, e);
	if (!error)
		error = add(list, &config->admin_listen, LISTENER_ADMIN, 1, e);
	if (error)
		listen_close(list);
	return error;
}

void listen_close(struct listener_list *list)
{
	while (list->n)
		close(list->at[--list->n].fd);
	free(list->at);
	list->at = NULL;
}
