/*
 * explain.c - one flow, section by section.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "ctl/ask.h"
#include "ctl/files.h"
#include "ctl/print.h"
#include "daemon/gate/explain.h"

struct question {
	struct explain_ask ask;
	const char *config;                       /* NULL: of egretd */
	const char *addresses[EXPLAIN_ADDRS + 1]; /* the same, for egretd */
	size_t n_addresses;
};

/* ---- the answer ---- */

static const char *words_for(const char *considered)
{
	static const struct {
		const char *name, *words;
	} all[] = {
		{"other-destination", "names other destinations"},
		{"unresolved", "names networks, and the name's addresses are not known"},
		{"not-all-addresses", "its networks do not hold all addresses of the name"},
		{"port", "names the destination, but not this port"},
		{"protocol", "names the destination, but not tcp"},
		{"source", "names the destination, but not for this source"},
		{"unnamed", "names the destination, which was not asked for by name"},
		{"reports", "report mode: it would have decided"},
		{"decides", "decides"},
		{"after", "stands behind the one that decides"},
	};

	for (size_t i = 0; i < COUNT_OF(all); i++)
		if (strcmp(all[i].name, considered) == 0)
			return all[i].words;
	return considered;
}

static void print_sections(const struct ctl *ctl, const json_t *proxy)
{
	static const char *const heads[] = {"SECTION", "AT", "CONSIDERED"};
	struct table *table = table_new(ctl, heads, COUNT_OF(heads));
	bool allowed = strcmp(print_string(proxy, "verdict"), "allow") == 0;
	json_int_t left_out = print_integer(proxy, "sections_left_out");
	const json_t *one;
	char at[300];
	size_t i;

	json_array_foreach (json_object_get(proxy, "sections"), i, one) {
		const char *considered = print_string(one, "considered");
		bool decides = strcmp(considered, "decides") == 0;
		enum colour colour = decides ? (allowed ? GREEN : RED) : PLAIN;

		table_cell(table, colour, "%s %s", print_string(one, "kind"),
			print_string(one, "name"));
		table_cell(table, colour, "%s", print_place(one, at, sizeof(at)));
		table_cell(table, colour, "%s", words_for(considered));
	}
	putchar('\n');
	table_print(table, i);
	if (left_out)
		printf("and %lld further sections, which do not matter here\n",
			(long long)left_out);
}

static void print_guard(const json_t *addresses)
{
	const json_t *one;
	size_t i;

	json_array_foreach (addresses, i, one)
		printf("  %s (%s): %s\n", print_string(one, "address"), print_string(one, "class"),
			print_true(one, "dialled") ? "may be dialled" : "is not dialled");
}

static void print_egress(const json_t *nat)
{
	const json_t *one;
	size_t i;

	if (print_string(nat, "source")[0])
		printf("%s", print_string(nat, "source"));
	else
		json_array_foreach (json_object_get(nat, "egress"), i, one)
			printf("%s%s", i ? " or " : "", print_string(one, "address"));
}

static void print_nat(const json_t *nat)
{
	const char *fate = print_string(nat, "fate");
	const json_t *by = json_object_get(nat, "decided_by");
	char at[300];

	printf("NAT, to %s: ", print_string(nat, "destination"));
	if (strcmp(fate, "left-alone") == 0) {
		printf("not egret's: no pod's, or within the cluster");
	} else if (strcmp(fate, "rejected") == 0) {
		printf("rejected (%s)", print_string(nat, "reason"));
	} else if (strcmp(fate, "local") == 0) {
		printf("as if egret were not there");
	} else if (strcmp(fate, "no-egress-address") == 0) {
		printf("dropped: no egress address of its version is here or known elsewhere");
	} else {
		printf(strcmp(fate, "steered") == 0 ? "brought to gateway %s, leaves from "
						    : "leaves from ",
			print_string(nat, "steered_to"));
		print_egress(nat);
		printf(" (class %s)", print_string(nat, "class"));
	}
	if (json_is_object(by))
		printf(", by %s %s (%s)", print_string(by, "kind"), print_string(by, "name"),
			print_place(by, at, sizeof(at)));
	putchar('\n');
}

static void print_answer(const struct ctl *ctl, const json_t *answer)
{
	const json_t *proxy = json_object_get(answer, "proxy"), *nat, *all, *guard;
	size_t i;

	print_text(print_string(proxy, "text"));
	guard = json_object_get(proxy, "addresses");
	if (json_array_size(guard) > 0) {
		puts("\n\nthe address guard:");
		print_guard(guard);
	} else {
		puts("");
	}
	print_sections(ctl, proxy);
	all = json_object_get(answer, "nat");
	putchar('\n');
	if (json_is_null(all))
		puts("NAT is off");
	else if (json_array_size(all) == 0)
		puts("NAT goes by addresses of the source's version: there is none, or --address "
		     "tells");
	json_array_foreach (all, i, nat)
		print_nat(nat);
}

static int finish(const struct ctl *ctl, json_t *answer)
{
	bool denied =
		strcmp(print_string(json_object_get(answer, "proxy"), "verdict"), "deny") == 0;

	if (ctl->json) {
		print_json(answer);
	} else {
		print_answer(ctl, answer);
		json_decref(answer);
	}
	return denied ? CTL_NO : CTL_OK;
}

/* ---- who is asked ---- */

static int ask_files(const struct ctl *ctl, const struct question *q)
{
	struct error e;
	struct edition *edition = files_edition(q->config, NULL, &e);
	json_t *answer = edition ? explain(edition, &q->ask, &e) : NULL;

	edition_free(edition);
	if (answer)
		return finish(ctl, answer);
	if (ctl->json)
		print_json(json_pack("{s:s}", "error", e.text));
	else
		printf("error: %s\n", e.text);
	return CTL_NO;
}

static int ask_once(const struct ctl *ctl, const struct question *q, json_t **answer)
{
	char path[ASK_PATH] = "/explain";

	ask_add(path, "source", q->ask.source);
	if (q->ask.method)
		ask_add(path, "method", q->ask.method);
	ask_add(path, "target", q->ask.target);
	if (q->ask.protocol)
		ask_add(path, "protocol", q->ask.protocol);
	for (size_t i = 0; i < q->n_addresses; i++)
		ask_add(path, "address", q->addresses[i]);
	return ask_get(ctl, path, answer);
}

/* The target's name, looked up by egretd, for the guard and NAT.  False: it cannot. */
static bool look_up(const struct ctl *ctl, struct question *q, const char *name, json_t **dns)
{
	const struct ctl quietly = {.socket = ctl->socket, .quiet = true};
	char path[ASK_PATH] = "/dns";
	const json_t *list;

	ask_add(path, "name", name);
	if (ask_get(&quietly, path, dns))
		return false;
	list = json_object_get(*dns, "addresses");
	for (size_t i = 0; i < json_array_size(list) && i < EXPLAIN_ADDRS; i++)
		q->addresses[q->n_addresses++] = print_string(json_array_get(list, i), "address");
	if (strcmp(print_string(*dns, "status"), "nxdomain") == 0)
		q->addresses[q->n_addresses++] = "none";
	return q->n_addresses > 0;
}

/* As the proxy does, a name that is denied whatever its addresses is not looked up. */
static int ask_egretd(const struct ctl *ctl, struct question *q)
{
	json_t *answer, *dns = NULL;
	int status = ask_once(ctl, q, &answer);
	const char *name, *verdict;

	if (status)
		return status;
	name = print_string(answer, "name");
	verdict = print_string(json_object_get(answer, "proxy"), "verdict");
	if (name[0] && q->n_addresses == 0 && strcmp(verdict, "deny") != 0 &&
		look_up(ctl, q, name, &dns)) {
		json_decref(answer);
		status = ask_once(ctl, q, &answer);
	}
	json_decref(dns);
	return status ? status : finish(ctl, answer);
}

static bool read_options(struct question *q, int argc, char **argv)
{
	static const struct option options[] = {{"address", required_argument, NULL, 'a'},
		{"protocol", required_argument, NULL, 'p'}, {NULL, 0, NULL, 0}};
	struct explain_ask *ask = &q->ask;
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		if (option == 'c') {
			q->config = optarg;
		} else if (option == 'p') {
			ask->protocol = optarg;
		} else if (option == 'a' && q->n_addresses == 0 && strcmp(optarg, "none") == 0) {
			q->addresses[q->n_addresses++] = optarg;
			ask->resolved = true;
		} else if (option != 'a' || ask->n_addrs == EXPLAIN_ADDRS ||
			   !addr_parse(&ask->addrs[ask->n_addrs], text_of(optarg))) {
			return false;
		} else {
			q->addresses[q->n_addresses++] = optarg;
			ask->n_addrs++;
			ask->resolved = true;
		}
	}
	if (argc - optind < 2 || argc - optind > 3)
		return false;
	ask->source = argv[optind];
	ask->method = argc - optind == 3 ? argv[optind + 1] : NULL;
	ask->target = argv[argc - 1];
	return true;
}

int explain_run(const struct ctl *ctl, int argc, char **argv)
{
	struct question q = {0};

	if (!read_options(&q, argc, argv))
		return CTL_USAGE;
	return q.config ? ask_files(ctl, &q) : ask_egretd(ctl, &q);
}
