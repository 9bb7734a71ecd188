/*
 * dns.c - a name as the gateway sees it.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "ctl/ask.h"
#include "ctl/print.h"

/* Without a source: a partner's `cidr` would have to name it. */
static bool may_be_dialled(const json_t *address)
{
	const json_t *dialled = json_object_get(address, "dialled");

	return dialled ? json_is_true(dialled) : print_true(address, "public");
}

static const char *judgement(const json_t *address)
{
	if (json_object_get(address, "dialled"))
		return print_true(address, "dialled") ? "may be dialled"
		       : strcmp(print_string(address, "reason"), "address") == 0
			       ? "is not dialled: not public, and the partner does not name it by "
				 "cidr"
			       : "is not dialled: a block names it";
	return print_true(address, "public")
		       ? "may be dialled"
		       : "is dialled only for a partner that names it by cidr";
}

static void print_addresses(const struct ctl *ctl, const json_t *list)
{
	static const char *const heads[] = {"ADDRESS", "CLASS", "NAMED BY", "THE GUARD"};
	struct table *table = table_new(ctl, heads, COUNT_OF(heads));
	const json_t *one, *name;
	size_t i, j;

	json_array_foreach (list, i, one) {
		char names[256] = "";

		json_array_foreach (json_object_get(one, "named_by"), j, name) {
			size_t n = strlen(names);

			snprintf(names + n, sizeof(names) - n, "%s%s", j ? ", " : "",
				json_string_value(name));
		}
		table_cell(table, PLAIN, "%s", print_string(one, "address"));
		table_cell(table, PLAIN, "%s",
			print_true(one, "public") ? "public" : print_string(one, "class"));
		table_cell(table, PLAIN, "%s", names[0] ? names : "-");
		table_cell(table, may_be_dialled(one) ? GREEN : RED, "%s", judgement(one));
	}
	table_print(table, i);
}

static void print_answer(const struct ctl *ctl, const json_t *answer)
{
	const json_t *proxy = json_object_get(answer, "proxy");
	const json_t *ttl = json_object_get(answer, "ttl");
	char took[16];

	printf("%s: %s, ", print_string(answer, "name"), print_string(answer, "status"));
	if (print_true(answer, "cached"))
		printf("known already");
	else
		printf("after %s", print_duration(print_real(answer, "took"), took, sizeof(took)));
	if (json_is_number(ttl))
		printf(", for %.0f s", json_number_value(ttl));
	puts(print_true(answer, "partial") ? ", one IP version is missing" : "");
	if (json_array_size(json_object_get(answer, "addresses")) > 0)
		print_addresses(ctl, json_object_get(answer, "addresses"));
	if (!proxy)
		return;
	printf("the policy: ");
	print_colour(ctl, print_colour_of(print_string(proxy, "verdict")));
	printf("%s", print_string(proxy, "verdict"));
	print_colour(ctl, PLAIN);
	printf(" (%s%s%s)\n", print_string(proxy, "reason"),
		print_string(proxy, "section")[0] ? ", " : "", print_string(proxy, "section"));
}

int dns_run(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option options[] = {{"source", required_argument, NULL, 's'},
		{"port", required_argument, NULL, 'p'}, {NULL, 0, NULL, 0}};
	char path[ASK_PATH] = "/dns";
	const json_t *one;
	json_t *answer;
	int option, status;
	size_t i;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?')
			return CTL_USAGE;
		ask_add(path, option == 's' ? "source" : "port", optarg);
	}
	if (optind + 1 != argc)
		return CTL_USAGE;
	ask_add(path, "name", argv[optind]);
	status = ask_get(ctl, path, &answer);
	if (status)
		return status;
	status = CTL_NO;
	json_array_foreach (json_object_get(answer, "addresses"), i, one)
		if (may_be_dialled(one))
			status = CTL_OK;
	if (strcmp(print_string(json_object_get(answer, "proxy"), "verdict"), "deny") == 0)
		status = CTL_NO;
	if (ctl->json) {
		print_json(answer);
	} else {
		print_answer(ctl, answer);
		json_decref(answer);
	}
	return status;
}
