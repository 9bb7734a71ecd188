/*
 * connections.c - clients and tunnels of the proxy.
 */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>

#include "base/check.h"
#include "ctl/ask.h"
#include "ctl/print.h"

static void put_row(struct table *table, const json_t *c)
{
	const char *section = print_string(c, "section"), *origin = print_string(c, "origin");
	const char *egress = print_string(c, "egress");
	char age[16], in[16], out[16];

	table_cell(table, PLAIN, "%lld", (long long)print_integer(c, "id"));
	table_cell(table, PLAIN, "%s", print_string(c, "client"));
	table_cell(table, PLAIN, "%s", print_string(c, "state"));
	table_cell(table, PLAIN, "%s", section[0] ? section : "-");
	table_cell(table, PLAIN, "%s", origin[0] ? origin : "-");
	table_cell(table, PLAIN, "%s", egress[0] ? egress : "-");
	table_cell(table, PLAIN, "%s", print_duration(print_real(c, "seconds"), age, sizeof(age)));
	table_cell(table, PLAIN, "%s",
		print_bytes((double)print_integer(c, "from_client"), in, sizeof(in)));
	table_cell(table, PLAIN, "%s",
		print_bytes((double)print_integer(c, "to_client"), out, sizeof(out)));
	table_cell(table, PLAIN, "%s %s", print_string(c, "method"), print_string(c, "target"));
}

static void print_answer(const struct ctl *ctl, const json_t *answer)
{
	static const char *const heads[] = {"ID", "CLIENT", "STATE", "SECTION", "ORIGIN", "EGRESS",
		"AGE", "IN", "OUT", "REQUEST"};
	struct table *table = table_new(ctl, heads, COUNT_OF(heads));
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(answer, "connections"), i, one)
		put_row(table, one);
	table_print(table, SIZE_MAX / 16);
	printf("%lld of %lld connections", (long long)print_integer(answer, "matching"),
		(long long)print_integer(answer, "all"));
	if (print_integer(answer, "left_out"))
		printf(", %lld of them not shown", (long long)print_integer(answer, "left_out"));
	putchar('\n');
}

int connections_list_run(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option options[] = {{"source", required_argument, NULL, 's'},
		{"partner", required_argument, NULL, 'p'}, {"limit", required_argument, NULL, 'l'},
		{NULL, 0, NULL, 0}};
	char path[ASK_PATH] = "/connections";
	json_t *answer;
	int option, status;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?')
			return CTL_USAGE;
		ask_add(path,
			option == 's'   ? "source"
			: option == 'p' ? "partner"
					: "limit",
			optarg);
	}
	if (optind != argc)
		return CTL_USAGE;
	status = ask_get(ctl, path, &answer);
	if (status)
		return status;
	if (ctl->json) {
		print_json(answer);
	} else {
		print_answer(ctl, answer);
		json_decref(answer);
	}
	return CTL_OK;
}

int connections_kill_run(const struct ctl *ctl, int argc, char **argv)
{
	char path[ASK_PATH] = "/connections/kill";
	json_t *answer;
	int status;

	if (argc != 2)
		return CTL_USAGE;
	ask_add(path, "id", argv[1]);
	status = ask_post(ctl, path, &answer);
	if (status)
		return status;
	if (ctl->json) {
		print_json(answer);
	} else {
		printf("ok killed %lld\n", (long long)print_integer(answer, "killed"));
		json_decref(answer);
	}
	return CTL_OK;
}
