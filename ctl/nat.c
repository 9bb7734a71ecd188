/*
 * nat.c - the kernel's part: planned, in force, and held against each other.
 */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ctl/ask.h"
#include "ctl/files.h"
#include "ctl/print.h"

/* ---- plan ---- */

static int refuse(const struct ctl *ctl, const char *why)
{
	if (ctl->json)
		print_json(json_pack("{s:s}", "error", why));
	else
		printf("error: %s\n", why);
	return CTL_NO;
}

static int plan_of_files(const struct ctl *ctl, const char *config)
{
	struct error e;
	struct edition *edition = files_edition(config, NULL, &e);
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	if (!edition)
		return refuse(ctl, e.text);
	out = open_memstream(&text, &size);
	CHECK(out);
	if (edition->datapath)
		datapath_print(edition->datapath, out);
	else
		fputs("# [nat] enable = no: nothing is asked of the kernel\n", out);
	fclose(out);
	if (ctl->json)
		print_json(json_pack("{s:s}", "plan", text));
	else
		print_text(text);
	free(text);
	edition_free(edition);
	return CTL_OK;
}

int nat_plan_run(const struct ctl *ctl, int argc, char **argv)
{
	const char *config = NULL;
	json_t *answer;
	int option, status;

	optind = 0;
	while ((option = getopt(argc, argv, "c:")) != -1) {
		if (option != 'c')
			return CTL_USAGE;
		config = optarg;
	}
	if (optind != argc)
		return CTL_USAGE;
	if (config)
		return plan_of_files(ctl, config);
	status = ask_get(ctl, "/nat/plan", &answer);
	if (status)
		return status;
	if (ctl->json) {
		print_json(answer);
	} else {
		print_text(print_string(answer, "plan"));
		json_decref(answer);
	}
	return CTL_OK;
}

/* ---- show ---- */

static void print_egress(const struct ctl *ctl, const json_t *list)
{
	static const char *const heads[] = {"EGRESS ADDRESS", "IS", "BY"};
	struct table *table = table_new(ctl, heads, COUNT_OF(heads));
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one) {
		bool here = print_true(one, "here");
		const char *gateway = print_string(one, "gateway");

		table_cell(table, PLAIN, "%s", print_string(one, "address"));
		table_cell(table,
			here         ? GREEN
			: gateway[0] ? YELLOW
				     : RED,
			"%s%s",
			here         ? "here"
			: gateway[0] ? "on gateway "
				     : "nowhere known: nothing leaves with it",
			here ? "" : gateway);
		table_cell(table, PLAIN, "%s", print_true(one, "managed") ? "egretd" : "others");
	}
	table_print(table, SIZE_MAX / 16);
}

static void print_denied(const struct ctl *ctl, const json_t *list)
{
	static const char *const heads[] = {"REFUSED FOR", "REASON", "PACKETS"};
	struct table *table;
	const json_t *one;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	table = table_new(ctl, heads, COUNT_OF(heads));
	json_array_foreach (list, i, one) {
		const char *section = print_string(one, "section");

		table_cell(table, PLAIN, "%s", section[0] ? section : "no section");
		table_cell(table, PLAIN, "%s", print_string(one, "reason"));
		table_cell(table, print_integer(one, "packets") ? RED : PLAIN, "%lld",
			(long long)print_integer(one, "packets"));
	}
	putchar('\n');
	table_print(table, SIZE_MAX / 16);
}

static void print_state(const struct ctl *ctl, json_t *answer)
{
	const char *trouble = print_string(answer, "trouble"), *part;
	const json_t *one;
	json_int_t elements = 0;
	json_t *times;
	size_t i;

	json_array_foreach (json_object_get(answer, "sets"), i, one)
		elements += print_integer(one, "elements");
	printf("table inet %s: chains %lld, sets %zu with elements %lld, classes %zu\n",
		print_string(answer, "table"), (long long)print_integer(answer, "chains"), i,
		(long long)elements, json_array_size(json_object_get(answer, "classes")));
	printf("put right:");
	json_object_foreach(json_object_get(answer, "repairs"), part, times)
		printf(" %s %lld", part, (long long)json_integer_value(times));
	putchar('\n');
	if (trouble[0]) {
		print_colour(ctl, RED);
		printf("trouble: ");
		print_text(trouble);
		print_colour(ctl, PLAIN);
		putchar('\n');
	}
	putchar('\n');
	print_egress(ctl, json_object_get(answer, "egress"));
	print_denied(ctl, json_object_get(answer, "denied"));
}

int nat_show_run(const struct ctl *ctl, int argc, char **argv)
{
	json_t *answer;
	int status;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	status = ask_get(ctl, "/nat/show", &answer);
	if (status)
		return status;
	if (ctl->json) {
		print_json(answer);
	} else {
		print_state(ctl, answer);
		json_decref(answer);
	}
	return CTL_OK;
}

/* ---- verify ---- */

int nat_verify_run(const struct ctl *ctl, int argc, char **argv)
{
	const json_t *part;
	json_t *answer;
	int status;
	size_t i;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	status = ask_get(ctl, "/nat/verify", &answer);
	if (status)
		return status;
	status = print_true(answer, "ok") ? CTL_OK : CTL_NO;
	if (ctl->json) {
		print_json(answer);
		return status;
	}
	json_array_foreach (json_object_get(answer, "parts"), i, part) {
		bool ok = print_true(part, "ok");
		const char *error = print_string(part, "error");

		printf("%-10s ", print_string(part, "part"));
		print_colour(ctl, ok ? GREEN : RED);
		print_text(ok ? "as planned" : error[0] ? error : "not as planned");
		print_colour(ctl, PLAIN);
		putchar('\n');
	}
	json_decref(answer);
	return status;
}
