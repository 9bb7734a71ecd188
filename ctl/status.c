/*
 * status.c - status, reload, release, claim.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "ctl/ask.h"
#include "ctl/print.h"

static void print_list(const char *name, const json_t *list)
{
	const json_t *one;
	size_t i;

	if (json_array_size(list) == 0 && !json_is_string(list))
		return;
	printf("%-10s", name);
	if (json_is_string(list)) /* "all" */
		print_text(json_string_value(list));
	json_array_foreach (list, i, one) {
		print_text(i ? ", " : "");
		print_text(json_string_value(one) ? json_string_value(one) : "");
	}
	putchar('\n');
}

static void print_nat(const json_t *status)
{
	const json_t *nat = json_object_get(status, "nat");
	const json_t *flows = json_object_get(status, "flows");
	const json_t *busiest = json_object_get(flows, "busiest");

	if (!print_true(nat, "enable")) {
		puts("nat       off");
		return;
	}
	printf("nat       on, %lld address%s of names, put right %lld times, %lld flows\n",
		(long long)print_integer(nat, "learnt"),
		print_integer(nat, "learnt") == 1 ? "" : "es",
		(long long)print_integer(nat, "repairs"), (long long)print_integer(flows, "now"));
	print_list("egress", json_object_get(nat, "egress"));
	if (json_is_object(busiest))
		printf("ports     %lld of %lld in use from %s to %s (%s), the busiest\n",
			(long long)print_integer(busiest, "used"),
			(long long)print_integer(busiest, "ports"), print_string(busiest, "egress"),
			print_string(busiest, "partner"), print_string(busiest, "protocol"));
	if (print_integer(flows, "lines_lost"))
		printf("flow log  %lld lines are lost\n",
			(long long)print_integer(flows, "lines_lost"));
}

static void print_gateways(const struct ctl *ctl, const json_t *gateways)
{
	static const char *const heads[] = {"GATEWAY", "STATE", "HAS"};
	struct table *table;
	const json_t *one, *addr;
	size_t i, j;

	if (json_array_size(gateways) == 0)
		return;
	table = table_new(ctl, heads, COUNT_OF(heads));
	json_array_foreach (gateways, i, one) {
		char has[400] = "";

		json_array_foreach (json_object_get(one, "owned"), j, addr) {
			size_t n = strlen(has);

			snprintf(has + n, sizeof(has) - n, "%s%s", j ? ", " : "",
				json_string_value(addr));
		}
		table_cell(table, PLAIN, "%s", print_string(one, "name"));
		if (print_true(one, "self"))
			table_cell(table, PLAIN, "this node");
		else
			table_cell(table, print_true(one, "up") ? GREEN : RED, "%s",
				print_true(one, "up") ? "up" : "down");
		table_cell(table, PLAIN, "%s", has);
	}
	putchar('\n');
	table_print(table, i);
}

static void print_head(const struct ctl *ctl, const json_t *status)
{
	const json_t *reloads = json_object_get(status, "reloads");
	bool ready = print_true(status, "ready");
	double now = (double)time(NULL);
	char up[16], since[16];

	printf("egretd %s, %s, generation %lld, ", print_string(status, "version"),
		print_string(status, "role"), (long long)print_integer(status, "generation"));
	print_colour(ctl, ready ? GREEN : RED);
	print_text(ready ? "ready" : "not ready: ");
	if (!ready)
		print_text(print_string(status, "not_ready"));
	print_colour(ctl, PLAIN);
	printf("\nup        %s, files read %s ago; %lld edits taken, %lld refused%s\n",
		print_duration(now - print_real(status, "start_time"), up, sizeof(up)),
		print_duration(now - print_real(status, "reload_time"), since, sizeof(since)),
		(long long)print_integer(reloads, "ok"),
		(long long)print_integer(reloads, "failed"),
		print_true(status, "reloading") ? "; one is on its way" : "");
}

int status_run(const struct ctl *ctl, int argc, char **argv)
{
	json_t *status;
	int result;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	result = ask_get(ctl, "/status", &status);
	if (result)
		return result;
	if (ctl->json) {
		print_json(status);
		return CTL_OK;
	}
	print_head(ctl, status);
	printf("processes gate %lld, proxy %lld, started again %lld times\n",
		(long long)print_integer(json_object_get(status, "gate"), "pid"),
		(long long)print_integer(json_object_get(status, "proxy"), "pid"),
		(long long)print_integer(json_object_get(status, "proxy"), "restarts"));
	print_list("listen", json_object_get(status, "listen"));
	print_list("admin", json_object_get(status, "admin"));
	print_nat(status);
	print_list("released", json_object_get(status, "released"));
	printf("files     ");
	print_text(json_string_value(json_array_get(json_object_get(status, "files"), 0)));
	printf(" and what it names, sha256 %.12s\n", print_string(status, "digest"));
	print_gateways(ctl, json_object_get(status, "gateways"));
	json_decref(status);
	return CTL_OK;
}

int reload_run(const struct ctl *ctl, int argc, char **argv)
{
	(void)argv;
	return argc == 1 ? ask_post_and_print(ctl, "/reload") : CTL_USAGE;
}

static int about_address(const struct ctl *ctl, const char *what, int argc, char **argv)
{
	char path[ASK_PATH];

	if (argc != 2)
		return CTL_USAGE;
	strcpy(path, what);
	ask_add(path, "address", argv[1]);
	return ask_post_and_print(ctl, path);
}

int release_run(const struct ctl *ctl, int argc, char **argv)
{
	return about_address(ctl, "/release", argc, argv);
}

int claim_run(const struct ctl *ctl, int argc, char **argv)
{
	return about_address(ctl, "/claim", argc, argv);
}
