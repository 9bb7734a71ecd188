/*
 * command.h - what egretctl can do: one table entry a command.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define DEFAULT_SOCKET "/run/egret/control.sock"
#define DEFAULT_CONFIG "/etc/egret/egret.ini"

/* Exit statuses. */
enum {
	CTL_OK = 0,
	CTL_NO = 1,     /* the answer is no, or the question was refused */
	CTL_USAGE = 2,  /* a wrong command line */
	CTL_ABSENT = 3, /* egretd, or the part of it that knows, is not there */
};

/* What was given before or behind the command, for all of them. */
struct ctl {
	const char *socket;
	bool json;
	bool colour;
	bool quiet; /* what egretd refuses is not printed */
};

struct command {
	const char *name;      /* "nat plan" */
	const char *arguments; /* "[-c FILE]"; "" without */
	const char *summary;   /* one line */
	const char *help;      /* more lines, or "" */
	const char *words;     /* options and fixed words that may follow, for completion */
	/* argv[0] is the command's last word.  CTL_USAGE prints how it is used. */
	int (*run)(const struct ctl *ctl, int argc, char **argv);
};

extern const struct command commands[];
extern const size_t n_commands;

int status_run(const struct ctl *ctl, int argc, char **argv);
int reload_run(const struct ctl *ctl, int argc, char **argv);
int release_run(const struct ctl *ctl, int argc, char **argv);
int claim_run(const struct ctl *ctl, int argc, char **argv);
int check_run(const struct ctl *ctl, int argc, char **argv);
int explain_run(const struct ctl *ctl, int argc, char **argv);
int rules_run(const struct ctl *ctl, int argc, char **argv);
int nat_plan_run(const struct ctl *ctl, int argc, char **argv);
int nat_show_run(const struct ctl *ctl, int argc, char **argv);
int nat_verify_run(const struct ctl *ctl, int argc, char **argv);
int cache_stats_run(const struct ctl *ctl, int argc, char **argv);
int cache_purge_run(const struct ctl *ctl, int argc, char **argv);
int dns_run(const struct ctl *ctl, int argc, char **argv);
int connections_list_run(const struct ctl *ctl, int argc, char **argv);
int connections_kill_run(const struct ctl *ctl, int argc, char **argv);
int tail_run(const struct ctl *ctl, int argc, char **argv);
int top_run(const struct ctl *ctl, int argc, char **argv);
int who_run(const struct ctl *ctl, int argc, char **argv);
