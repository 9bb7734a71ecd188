/*
 * rules.c - what each section was good for.
 */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "ctl/ask.h"
#include "ctl/print.h"

static json_int_t hits(const json_t *section)
{
	return print_integer(section, "allowed") + print_integer(section, "denied") +
	       print_integer(section, "reported");
}

/* What the kernel has of a section; "-" is what no section names. */
struct kernel {
	json_int_t refused; /* packets */
	json_int_t flows;
	double last; /* Unix time of the last flow's begin */
};

static struct kernel kernel_of(const json_t *answer, const char *name)
{
	const json_t *nat = json_object_get(answer, "nat"), *one;
	struct kernel k = {0};
	size_t i;

	json_array_foreach (json_object_get(nat, "denied"), i, one) {
		const char *section = print_string(one, "section");

		if (strcmp(section[0] ? section : "-", name) == 0)
			k.refused += print_integer(one, "packets");
	}
	json_array_foreach (json_object_get(nat, "flows"), i, one)
		if (strcmp(print_string(one, "section"), name) == 0) {
			k.flows = print_integer(one, "flows");
			k.last = print_real(one, "last");
		}
	return k;
}

static void put_row(struct table *table, const json_t *section, const struct kernel *k)
{
	double last = print_real(section, "last");
	bool nobody = strcmp(print_string(section, "name"), "-") == 0;
	char at[300], ago[16];

	table_cell(table, PLAIN, "%s%s%s", nobody ? "no section" : print_string(section, "kind"),
		nobody ? "" : " ", nobody ? "" : print_string(section, "name"));
	table_cell(table, PLAIN, "%s%s", print_place(section, at, sizeof(at)),
		print_true(section, "report") ? " (report)" : "");
	table_cell(table, PLAIN, "%lld", (long long)print_integer(section, "allowed"));
	table_cell(table, print_integer(section, "denied") ? RED : PLAIN, "%lld",
		(long long)print_integer(section, "denied"));
	table_cell(table, PLAIN, "%lld", (long long)print_integer(section, "reported"));
	table_cell(table, PLAIN, "%lld", (long long)print_integer(section, "rate_limited"));
	table_cell(table, PLAIN, "%lld", (long long)k->flows);
	table_cell(table, k->refused ? RED : PLAIN, "%lld", (long long)k->refused);
	last = k->last > last ? k->last : last;
	if (last > 0)
		table_cell(table, PLAIN, "%s ago",
			print_duration((double)time(NULL) - last, ago, sizeof(ago)));
	else
		table_cell(table, DIM, "never");
}

int rules_run(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option options[] = {
		{"unused", no_argument, NULL, 'u'}, {NULL, 0, NULL, 0}};
	static const char *const heads[] = {"SECTION", "AT", "ALLOWED", "DENIED", "REPORTED",
		"RATE-LIMITED", "NAT-FLOWS", "NAT-REFUSED", "LAST"};
	struct table *table;
	const json_t *one;
	json_t *answer;
	bool unused = false;
	int option, status;
	size_t i;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != 'u')
			return CTL_USAGE;
		unused = true;
	}
	if (optind != argc)
		return CTL_USAGE;
	status = ask_get(ctl, "/rules", &answer);
	if (status)
		return status;
	json_array_foreach (json_object_get(answer, "sections"), i, one) {
		struct kernel k = kernel_of(answer, print_string(one, "name"));

		if (unused && (hits(one) || k.refused || k.flows ||
				      strcmp(print_string(one, "name"), "-") == 0))
			json_array_remove(json_object_get(answer, "sections"), i--);
	}
	if (ctl->json) {
		print_json(answer);
		return CTL_OK;
	}
	table = table_new(ctl, heads, COUNT_OF(heads));
	json_array_foreach (json_object_get(answer, "sections"), i, one) {
		struct kernel k = kernel_of(answer, print_string(one, "name"));

		put_row(table, one, &k);
	}
	table_print(table, SIZE_MAX / 16);
	json_decref(answer);
	return CTL_OK;
}
