/*
 * main.c - the command line of egretd.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/gate/control.h"
#include "daemon/gate/edition.h"
#include "daemon/gate/gate.h"
#include "daemon/version.h"
#include "nat/guard.h"
#include "nat/kernel.h"
#include "nat/table.h"
#include "nat/wireguard.h"

#define DEFAULT_CONFIG "/etc/egret/egret.ini"

enum mode { RUN, TEST, PLAN, GUARD, REMOVE };

static const char usage[] =
	"usage: egretd [-c FILE] [-d]        run until SIGTERM; SIGHUP reads the files again\n"
	"       egretd [-c FILE] -t          check egret.ini, acl.ini and all they name\n"
	"       egretd [-c FILE] --plan      print what they ask of the kernel, as nft and a "
	"shell\n"
	"                                    read it\n"
	"       egretd [-c FILE] --guard     put the routing guard into the kernel: until egretd\n"
	"                                    runs, pods reach nothing beyond the cluster\n"
	"       egretd [-c FILE] --remove    take rules and guard out of the kernel; they stay\n"
	"                                    when egretd stops\n"
	"       egretd -v | --help\n"
	"\n"
	"  -c, --config FILE  egret.ini; default " DEFAULT_CONFIG "\n"
	"      --role ROLE    gateway or agent, whatever egret.ini says\n"
	"  -d, --debug        log level debug, whatever egret.ini says\n"
	"  -t, --test         exit status 0: fine; 1: an error, on stderr with file and line\n"
	"  -v, --version      print the version\n";

static int failed(const struct error *e)
{
	fprintf(stderr, "egretd: %s\n", e->text);
	return 1;
}

static int test(const char *path, const enum role *role)
{
	const struct edition_facts facts = {.role = role};
	struct error e;
	struct edition *edition = edition_new(path, &facts, NULL, &e);
	char text[EDITION_TEXT];

	if (!edition)
		return failed(&e);
	printf("ok: %s\n", edition_print(edition, text));
	edition_free(edition);
	return 0;
}

static int print_plan(const char *path, const enum role *role)
{
	const struct edition_facts facts = {.role = role};
	struct error e;
	struct edition *edition = edition_new(path, &facts, NULL, &e);
	struct kernel_features features;
	char text[KERNEL_TEXT];

	if (!edition)
		return failed(&e);
	if (edition->datapath) {
		kernel_features(&features);
		printf("# %s\n\n", kernel_print(&features,
					   edition->config->lock_table == LOCK_TABLE_AUTO, text));
		datapath_print(edition->datapath, stdout);
	} else
		printf("# [nat] enable = no: nothing is asked of the kernel\n");
	edition_free(edition);
	return 0;
}

/* egret.ini alone: the policy may be broken, and the network not be there yet. */
static struct config *read_config(const char *path, struct error *e)
{
	const char *name = strrchr(path, '/') + 1;
	char *dir = strndup(path, (size_t)(name - path));
	struct files *files = dir ? files_new(dir) : NULL;
	struct config *config = NULL;

	if (files)
		config = config_new(files, name, e);
	else
		error_set(e, -ENOMEM, "no memory");
	files_free(files);
	free(dir);
	return config;
}

/* Before the daemon has read a policy, everything outside is out of reach. */
static int install_guard(const struct config *config, struct error *e)
{
	const struct guard_ask ask = {
		.reach = GUARD_ALL,
		.pods = &config->pod_cidr,
		.exclude = &config->exclude_cidr,
		.table = config->route_table,
		.priority = config->rule_priority,
		.mark_mask = config->mark_mask,
	};
	struct guard guard;
	int result = guard_init(&guard, &ask, e);

	if (!result)
		result = routing_check_free(&guard.routing, e);
	if (!result)
		result = routing_apply(&guard.routing, e);
	guard_fini(&guard);
	return result;
}

static int put_guard(const char *path)
{
	struct error e;
	struct config *config = read_config(path, &e);
	bool asked = config && config->nat;
	int result = asked ? install_guard(config, &e) : config ? 0 : -EINVAL;

	config_free(config);
	if (result < 0)
		return failed(&e);
	if (asked)
		printf("the routing guard is in the kernel; changes made: %d\n", result);
	else
		printf("[nat] enable = no: no routing guard is asked for\n");
	return 0;
}

static bool is_ours(const struct config *config, const struct address_list *list, size_t i)
{
	if (list->tells_protocol)
		return list->at[i].protocol == RTNETLINK_PROTOCOL;
	for (size_t j = 0; config->manage_address && j < config->egress_ip.n; j++)
		if (addr_equal(&config->egress_ip.at[j], &list->at[i].addr))
			return true;
	return false;
}

/* What egretd has added.  A kernel that does not tell (before Linux 5.18): the gateway's. */
static int remove_addresses(const struct config *config, struct error *e)
{
	struct address_list list = {0};
	char device[IF_NAMESIZE];
	int result = address_list_load(&list, e);

	for (size_t i = 0; i < list.n && result >= 0; i++)
		if (is_ours(config, &list, i) && if_indextoname(list.at[i].device, device))
			result = address_remove(device, &list.at[i].addr, e);
	address_list_fini(&list);
	return result;
}

/* From the devices of the pods. */
static int remove_leads(const struct config *config, struct error *e)
{
	struct address_list list = {0};
	char device[IF_NAMESIZE];
	int result = address_list_load(&list, e);

	for (size_t i = 0; i < list.n && result >= 0; i++)
		for (size_t j = 0; j < config->pod_cidr.n && result >= 0; j++)
			if (cidr_contains(&config->pod_cidr.at[j], &list.at[i].addr) &&
				wireguard_is_device(list.at[i].device) &&
				if_indextoname(list.at[i].device, device))
				result = wireguard_release(device, e);
	address_list_fini(&list);
	return result;
}

/* The guard last: pods stay shut in until all is gone. */
static int take_out(const struct config *config, struct error *e)
{
	const struct routing guard = {
		.table = config->route_table, .priority = config->rule_priority};
	int result;

	if (config->control && control_answers(config->control))
		return error_set(e, -EBUSY, "egretd is running (it answers at %s): stop it first",
			config->control);
	result = table_remove(config->nat_table, e);
	if (!result)
		result = remove_addresses(config, e);
	if (result >= 0)
		result = remove_leads(config, e);
	for (uint32_t i = WAYS_FIRST; i < WAYS_FIRST + GATEWAYS_MOST && result >= 0; i++) {
		const struct routing way = {.table = config->route_table + i,
			.priority = config->rule_priority - i,
			.mark = 1};

		result = routing_remove(&way, e);
	}
	if (result >= 0)
		result = routing_remove(&guard, e);
	if (result >= 0)
		result = routing_remove_stale(config->route_table, config->rule_priority, 0, e);
	return result;
}

static int remove_all(const char *path)
{
	struct error e;
	struct config *config = read_config(path, &e);
	int result = config ? take_out(config, &e) : -EINVAL;

	config_free(config);
	if (result < 0)
		return failed(&e);
	printf("the nftables rules and the routing guard of egret are not in the kernel any "
	       "more\n");
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

static bool parse_role(const char *text, enum role *role)
{
	*role = strcmp(text, "agent") == 0 ? ROLE_AGENT : ROLE_GATEWAY;
	return *role == ROLE_AGENT || strcmp(text, "gateway") == 0;
}

static int run(enum mode mode, const char *path, bool debug, const enum role *role)
{
	switch (mode) {
	case TEST:
		return test(path, role);
	case PLAN:
		return print_plan(path, role);
	case GUARD:
		return put_guard(path);
	case REMOVE:
		return remove_all(path);
	case RUN:
		break;
	}
	return gate_run(&(struct gate_options){.path = path, .debug = debug, .role = role});
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"debug", no_argument, NULL, 'd'},
		{"guard", no_argument, NULL, 'g'},
		{"help", no_argument, NULL, 'h'},
		{"plan", no_argument, NULL, 'p'},
		{"remove", no_argument, NULL, 'r'},
		{"role", required_argument, NULL, 'R'},
		{"test", no_argument, NULL, 't'},
		{"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	const char *file = DEFAULT_CONFIG;
	enum mode mode = RUN;
	enum role role;
	const enum role *given_role = NULL;
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
		case 'g':
			mode = GUARD;
			break;
		case 'p':
			mode = PLAN;
			break;
		case 'r':
			mode = REMOVE;
			break;
		case 'R':
			if (!parse_role(optarg, &role)) {
				fprintf(stderr, "egretd: --role %s: want gateway or agent\n",
					optarg);
				return 2;
			}
			given_role = &role;
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
	status = run(mode, path, debug, given_role);
	free(path);
	return status;
}
