/*
 * main.c - the command line of egretd.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/edition.h"
#include "daemon/gate.h"
#include "daemon/version.h"
#include "nat/table.h"

#define DEFAULT_CONFIG "/etc/egret/egret.ini"

enum mode { RUN, TEST, PLAN, REMOVE };

static const char usage[] =
	"usage: egretd [-c FILE] [-d]        run the gateway until SIGTERM; SIGHUP reads the files "
	"again\n"
	"       egretd [-c FILE] -t          check egret.ini, acl.ini and all they name\n"
	"       egretd [-c FILE] --plan      print the nftables rules that they ask for, as nft reads "
	"them\n"
	"       egretd [-c FILE] --remove    take the rules out of the kernel; they stay when egretd "
	"stops\n"
	"       egretd -v | --help\n"
	"\n"
	"  -c, --config FILE  egret.ini; default " DEFAULT_CONFIG "\n"
	"  -d, --debug        log level debug, whatever egret.ini says\n"
	"  -t, --test         exit status 0: fine; 1: an error, on stderr with file and line\n"
	"  -v, --version      print the version\n";

static int failed(const struct error *e)
{
	fprintf(stderr, "egretd: %s\n", e->text);
	return 1;
}

static int test(const char *path)
{
	struct error e;
	struct edition *edition = edition_new(path, NULL, NULL, &e);
	char text[EDITION_TEXT];

	if (!edition)
		return failed(&e);
	printf("ok: %s\n", edition_print(edition, text));
	edition_free(edition);
	return 0;
}

static int print_plan(const char *path)
{
	struct error e;
	struct edition *edition = edition_new(path, NULL, NULL, &e);

	if (!edition)
		return failed(&e);
	if (edition->plan)
		plan_print(edition->plan, stdout);
	else
		printf("# [nat] enable = no: nothing is asked of the kernel\n");
	edition_free(edition);
	return 0;
}

/* The policy may be broken by now: only egret.ini is read. */
static int remove_table(const char *path)
{
	struct error e;
	char *dir = strndup(path, (size_t)(strrchr(path, '/') - path) + 1);
	struct files *files = dir ? files_new(dir) : NULL;
	struct config *config = files ? config_new(files, strrchr(path, '/') + 1, &e) : NULL;
	int error = -EINVAL;

	if (!files) {
		error_set(&e, -ENOMEM, "no memory");
	} else if (config && config->control && control_answers(config->control)) {
		error_set(&e, -EBUSY, "egretd is running (it answers at %s): stop it first",
			config->control);
	} else if (config)
		error = table_remove(config->nat_table, &e);
	config_free(config);
	files_free(files);
	free(dir);
	if (error)
		return failed(&e);
	printf("the nftables rules of egret are not in the kernel any more\n");
	return 0;
}

/* Symbolic links stay as they are: they are watched. */
static char *absolute(const char *path)
{
	char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0), *out = NULL;

	if (path[0] == '/')
		return strdup(path);
	if (cwd && asprintf(&out, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, path) < 0)
		out = NULL;
	free(cwd);
	return out;
}

/* Whoever starts us may have closed 0, 1 or 2; no socket may become one of them. */
static void keep_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int run(enum mode mode, const char *path, bool debug)
{
	switch (mode) {
	case TEST:
		return test(path);
	case PLAN:
		return print_plan(path);
	case REMOVE:
		return remove_table(path);
	case RUN:
		break;
	}
	return gate_run(&(struct gate_options){.path = path, .debug = debug});
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"debug", no_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{"plan", no_argument, NULL, 'p'},
		{"remove", no_argument, NULL, 'r'},
		{"test", no_argument, NULL, 't'},
		{"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	const char *file = DEFAULT_CONFIG;
	enum mode mode = RUN;
	bool debug = false;
	int option, status;
	char *path;

	keep_standard_fds();
	while ((option = getopt_long(argc, argv, "c:dhtv", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			file = optarg;
			break;
		case 'd':
			debug = true;
			break;
		case 'p':
			mode = PLAN;
			break;
		case 'r':
			mode = REMOVE;
			break;
		case 't':
			mode = TEST;
			break;
		case 'v':
			printf("egretd %s\n", EGRET_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	path = absolute(file);
	if (!path) {
		fprintf(stderr, "egretd: %s: %s\n", file, strerror(errno));
		return 1;
	}
	status = run(mode, path, debug);
	free(path);
	return status;
}
