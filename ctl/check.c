/*
 * check.c - are the files good?
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ctl/files.h"
#include "ctl/print.h"
#include "daemon/ascii_json.h"

/* "acl.ini:14: what": its parts. */
static json_t *error_json(const char *text)
{
	json_t *answer = json_pack("{s:b, s:o}", "ok", false, "error", ascii_json(text));
	const char *colon = strchr(text, ':');
	char *end;
	long line = colon ? strtol(colon + 1, &end, 10) : 0;

	if (line > 0 && *end == ':') {
		json_object_set_new(answer, "file", ascii_json_n(text, (size_t)(colon - text)));
		json_object_set_new(answer, "line", json_integer(line));
	}
	return answer;
}

static int bad(const struct ctl *ctl, const struct error *e)
{
	if (ctl->json)
		print_json(error_json(e->text));
	else
		fprintf(stderr, "%s\n", e->text);
	return CTL_NO;
}

static int good(const struct ctl *ctl, const struct edition *edition)
{
	char text[EDITION_TEXT];

	edition_print(edition, text);
	if (ctl->json)
		print_json(json_pack("{s:b, s:o, s:I, s:s}", "ok", true, "text", ascii_json(text),
			"sections", (json_int_t)policy_n_sections(edition->policy), "digest",
			edition->digest));
	else
		printf("ok: %s\n", text);
	return CTL_OK;
}

int check_run(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option options[] = {
		{"role", required_argument, NULL, 'r'}, {NULL, 0, NULL, 0}};
	enum role role = ROLE_GATEWAY;
	const enum role *given = NULL;
	struct edition *edition;
	struct error e;
	int option, status;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != 'r' ||
			(strcmp(optarg, "agent") != 0 && strcmp(optarg, "gateway") != 0))
			return CTL_USAGE;
		role = strcmp(optarg, "agent") == 0 ? ROLE_AGENT : ROLE_GATEWAY;
		given = &role;
	}
	if (argc - optind > 1)
		return CTL_USAGE;
	edition = files_edition(optind < argc ? argv[optind] : DEFAULT_CONFIG, given, &e);
	status = edition ? good(ctl, edition) : bad(ctl, &e);
	edition_free(edition);
	return status;
}
