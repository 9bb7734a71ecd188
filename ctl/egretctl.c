/*
 * egretctl.c - sends one command to egretd's control socket and prints the answer.
 *
 * Exit status: 0 for an answer, 1 for an error (which starts with "error:", or there is no
 * answer), 2 for a wrong command line.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/egret/control.sock"
#define LINE_MAX_BYTES 4096

static const char usage[] =
	"usage: egretctl [-s SOCKET] status | reload | explain CLIENT METHOD TARGET | help\n"
	"\n"
	"  status    what is in force, as JSON\n"
	"  reload    read the files again; answers when the new ones are in force, or says why "
	"not\n"
	"  explain   what would be decided, e.g. explain 10.42.3.7 CONNECT api.example.com:443\n"
	"  -s        default " DEFAULT_SOCKET "\n";

static int fail(const char *what)
{
	fprintf(stderr, "egretctl: %s: %s\n", what, strerror(errno));
	return 1;
}

/* The words with one space between them and a newline.  False: too long. */
static bool join(char **words, int n, char line[LINE_MAX_BYTES])
{
	size_t length = 0;

	for (int i = 0; i < n; i++) {
		int wrote = snprintf(line + length, LINE_MAX_BYTES - length, "%s%c", words[i],
			i + 1 < n ? ' ' : '\n');

		length += (size_t)wrote;
		if (length >= LINE_MAX_BYTES)
			return false;
	}
	return true;
}

static int talk(int fd, const char *line)
{
	char buffer[4096], start[6] = "";
	size_t all = 0;
	ssize_t got;

	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		return fail("send");
	while ((got = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
		for (size_t i = all; i < sizeof(start) && i - all < (size_t)got; i++)
			start[i] = buffer[i - all];
		all += (size_t)got;
		fwrite(buffer, 1, (size_t)got, stdout);
	}
	if (got < 0)
		return fail("receive");
	if (fflush(stdout) != 0)
		return fail("stdout");
	if (all == 0)
		fputs("egretctl: no answer\n", stderr);
	return all == 0 || memcmp(start, "error:", sizeof(start)) == 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	const char *path = DEFAULT_SOCKET;
	char line[LINE_MAX_BYTES];
	int option, fd;

	while ((option = getopt(argc, argv, "+s:h")) != -1) {
		if (option == 's') {
			path = optarg;
			continue;
		}
		fputs(usage, option == 'h' ? stdout : stderr);
		return option == 'h' ? 0 : 2;
	}
	if (optind == argc || strlen(path) >= sizeof(at.sun_path) ||
		!join(argv + optind, argc - optind, line)) {
		fputs(usage, stderr);
		return 2;
	}
	memcpy(at.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return fail(path);
	return talk(fd, line);
}
