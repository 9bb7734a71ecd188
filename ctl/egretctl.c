/*
 * egretctl.c - finds the command, and tells how all of them are used.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/command.h"
#include "daemon/version.h"

static const char options[] = "  -s SOCKET   egretd's control socket; default " DEFAULT_SOCKET "\n"
			      "  --json      the answer as JSON, with every command\n"
			      "  --help      of a command, behind it: more\n"
			      "  --version\n"
			      "\n"
			      "Exit status: 0 done, yes; 1 no, or refused; 2 a wrong command line; "
			      "3 egretd is not there.\n";

static void print_usage(FILE *out)
{
	fputs("usage: egretctl [-s SOCKET] [--json] COMMAND ...\n\n", out);
	for (size_t i = 0; i < n_commands; i++) {
		char line[128];

		snprintf(line, sizeof(line), "%s %s", commands[i].name, commands[i].arguments);
		if (strlen(line) > 30)
			fprintf(out, "  %s\n  %-30s  %s\n", line, "", commands[i].summary);
		else
			fprintf(out, "  %-30s  %s\n", line, commands[i].summary);
	}
	fprintf(out, "\n%s", options);
}

static void print_help(const struct command *c, FILE *out)
{
	fprintf(out, "usage: egretctl [-s SOCKET] %s%s%s\n", c->name, c->arguments[0] ? " " : "",
		c->arguments);
	if (out == stderr)
		return;
	fprintf(out, "\n%c%s.\n", c->summary[0] - 'a' + 'A', c->summary + 1);
	if (c->help[0])
		fprintf(out, "\n%s\n", c->help);
}

/* The table, for other programs. */
static int print_table(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n_commands; i++)
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", commands[i].name,
				"arguments", commands[i].arguments, "summary", commands[i].summary,
				"help", commands[i].help, "words", commands[i].words));
	json_dumpf(list, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(list);
	return CTL_OK;
}

/* Begins with the words of `name`?  How many they are; 0: no. */
static int words_of(const char *name, int argc, char **argv)
{
	int n = 0;

	while (*name) {
		size_t length = strcspn(name, " ");

		if (n == argc || strlen(argv[n]) != length || memcmp(argv[n], name, length) != 0)
			return 0;
		n++;
		name += length;
		name += *name == ' ';
	}
	return n;
}

static const struct command *find(int argc, char **argv, int *words)
{
	static char *purge[] = {"cache", "purge"};

	for (size_t i = 0; i < n_commands; i++)
		if ((*words = words_of(commands[i].name, argc, argv)))
			return &commands[i];
	*words = 1;
	if (argc > 0 && strcmp(argv[0], "purge") == 0)
		return find(2, purge, &(int){0});
	return NULL;
}

static int help(const struct ctl *ctl, int argc, char **argv)
{
	const struct command *c;
	int words;

	if (argc == 0 && ctl->json)
		return print_table();
	if (argc == 0) {
		print_usage(stdout);
		return CTL_OK;
	}
	c = find(argc, argv, &words);
	if (c)
		print_help(c, stdout);
	else
		print_usage(stderr);
	return c ? CTL_OK : CTL_USAGE;
}

/* A group without its second word: "nat". */
static bool print_group(const char *word)
{
	size_t length = strlen(word);
	bool any = false;

	for (size_t i = 0; i < n_commands; i++)
		if (strncmp(commands[i].name, word, length) == 0 &&
			commands[i].name[length] == ' ') {
			fprintf(stderr, "%s egretctl [-s SOCKET] %s %s\n",
				any ? "      " : "usage:", commands[i].name, commands[i].arguments);
			any = true;
		}
	return any;
}

static int run(const struct ctl *ctl, int argc, char **argv, bool wants_help)
{
	const struct command *c;
	int words, status;

	if (argc > 0 && strcmp(argv[0], "help") == 0)
		return help(ctl, argc - 1, argv + 1);
	if (wants_help)
		return help(ctl, argc, argv);
	c = find(argc, argv, &words);
	if (!c) {
		if (argc == 0 || !print_group(argv[0]))
			print_usage(stderr);
		return CTL_USAGE;
	}
	status = c->run(ctl, argc - words + 1, argv + words - 1);
	if (status == CTL_USAGE)
		print_help(c, stderr);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("egretctl: stdout");
		return status ? status : CTL_NO;
	}
	return status;
}

/* What all commands take stands anywhere.  How many words are left. */
static int take_common(struct ctl *ctl, int argc, char **argv, bool *wants_help)
{
	int n = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			ctl->json = true;
		else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			*wants_help = true;
		else
			argv[n++] = argv[i];
	}
	argv[n] = NULL;
	return n;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {
		.socket = DEFAULT_SOCKET, .colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR")};
	bool wants_help = false;

	argc = take_common(&ctl, argc - 1, ++argv, &wants_help);
	if (argc > 1 && strcmp(argv[0], "-s") == 0) {
		ctl.socket = argv[1];
		argc -= 2;
		argv += 2;
	}
	if (argc > 0 && strcmp(argv[0], "--version") == 0) {
		puts("egretctl " EGRET_VERSION);
		return CTL_OK;
	}
	return run(&ctl, argc, argv, wants_help);
}
