/*
 * tail.c - the access log's last lines that fit, and those that come.
 *
 * A line that does not contain what is looked for is not even parsed.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "ctl/ask.h"
#include "ctl/print.h"

#define LINES_MOST 100000
#define LINE 4096      /* bytes: the longest that egretd writes */
#define LOOK_AGAIN 200 /* milliseconds, at the end of the file */

struct filter {
	const char *source, *partner, *verdict, *status; /* NULL: any */
	char needle[128]; /* what a line that fits contains; "": nothing in particular */
};

struct tail {
	const struct ctl *ctl;
	struct filter filter;
	const char *path; /* "-": the standard input */
	size_t lines;
	bool follow;
	char **last; /* the last `lines` that fit: a ring */
	size_t n;    /* that were put there */
};

/* ---- a line ---- */

static bool has(const json_t *line, const char *field, const char *wanted)
{
	return !wanted || strcmp(print_string(line, field), wanted) == 0;
}

/* "404", or "4xx". */
static bool has_status(const json_t *line, const char *wanted)
{
	char status[16];

	if (!wanted)
		return true;
	snprintf(status, sizeof(status), "%lld", (long long)print_integer(line, "status"));
	return strcmp(status, wanted) == 0 ||
	       (strcmp(wanted + 1, "xx") == 0 && wanted[0] == status[0] && status[1]);
}

static bool fits(const struct filter *f, const json_t *line)
{
	return json_is_object(line) && has(line, "client", f->source) &&
	       has(line, "partner", f->partner) && has(line, "verdict", f->verdict) &&
	       has_status(line, f->status);
}

static void print_padded(const char *text, size_t width)
{
	size_t length = strlen(text);

	print_word(text);
	printf("%*s", length < width ? (int)(width - length) : 0, "");
}

/* "10:03:07.042", of RFC 3339. */
static void print_clock(const char *time)
{
	char clock[13] = "";

	if (strlen(time) > 11)
		snprintf(clock, sizeof(clock), "%s", time + 11);
	print_padded(clock, 14);
}

static void print_line(const struct ctl *ctl, const char *text)
{
	json_t *line = ctl->json ? NULL : json_loads(text, 0, NULL);
	const char *verdict = print_string(line, "verdict"), *detail = print_string(line, "detail");
	char bytes[16], total[16];

	if (!line) {
		print_text(text);
		return;
	}
	print_clock(print_string(line, "time"));
	print_padded(print_string(line, "client"), 16);
	print_colour(ctl, print_colour_of(verdict));
	print_padded(verdict, 6);
	print_colour(ctl, PLAIN);
	printf(" %3lld %6s %7s  ", (long long)print_integer(line, "status"),
		print_duration(print_real(line, "total"), total, sizeof(total)),
		print_bytes((double)print_integer(line, "bytes_out"), bytes, sizeof(bytes)));
	print_word(print_string(line, "partner")[0] ? print_string(line, "partner") : "-");
	print_word(" ");
	print_word(print_string(line, "method"));
	print_word(" ");
	print_word(print_string(line, "target"));
	if (strcmp(print_string(line, "end"), "done") != 0) {
		print_word("  ");
		print_word(print_string(line, "end"));
	}
	if (detail[0]) {
		print_word(": ");
		print_word(detail);
	}
	putchar('\n');
	json_decref(line);
}

/* ---- the file ---- */

static bool wanted(const struct tail *t, const char *text)
{
	json_t *line;
	bool yes;

	if (t->filter.needle[0] && !strstr(text, t->filter.needle))
		return false;
	line = json_loads(text, 0, NULL);
	yes = fits(&t->filter, line);
	json_decref(line);
	return yes;
}

static void keep(struct tail *t, const char *text)
{
	char **slot = &t->last[t->n++ % t->lines];

	free(*slot);
	*slot = strdup(text);
	CHECK(*slot);
}

static void print_kept(struct tail *t)
{
	size_t n = t->n < t->lines ? t->n : t->lines;

	for (size_t i = t->n - n; i < t->n; i++)
		print_line(t->ctl, t->last[i % t->lines]);
	for (size_t i = 0; i < n; i++)
		free(t->last[i]);
	t->n = 0;
	free(t->last);
	t->last = NULL;
}

/* To the end of what is there.  A line without its newline waits.  False: it cannot be read. */
static bool read_lines(struct tail *t, FILE *in, char *line, size_t *length)
{
	while (fgets(line + *length, (int)(2 * LINE - *length), in)) {
		*length = strlen(line);
		if (*length == 0) /* a NUL in a file that is no log */
			continue;
		if (line[*length - 1] != '\n' && *length + 1 < 2 * LINE)
			continue;
		*length = 0;
		if (!wanted(t, line))
			continue;
		if (t->last && t->lines > 0)
			keep(t, line);
		else if (!t->last)
			print_line(t->ctl, line);
	}
	if (ferror(in)) {
		fprintf(stderr, "egretctl: %s: %s\n", t->path, strerror(errno));
		return false;
	}
	clearerr(in);
	return true;
}

/* The log was moved away, and another one begun, or it was emptied where it is. */
static FILE *reopen(const char *path, FILE *in)
{
	struct stat now, before;
	FILE *next;

	if (in == stdin || stat(path, &now) < 0 || fstat(fileno(in), &before) < 0)
		return in;
	if (now.st_ino == before.st_ino && now.st_dev == before.st_dev) {
		if (now.st_size < ftell(in))
			rewind(in);
		return in;
	}
	next = fopen(path, "re");
	if (!next)
		return in;
	fclose(in);
	return next;
}

/* Without a filter the end of a long file suffices. */
static void skip(const struct tail *t, FILE *in)
{
	const struct filter *f = &t->filter;
	long want = (long)(t->lines + 1) * LINE;
	int byte;

	if (f->source || f->partner || f->verdict || f->status || fseek(in, 0, SEEK_END) < 0)
		return;
	if (ftell(in) <= want) {
		rewind(in);
		return;
	}
	fseek(in, -want, SEEK_END);
	while ((byte = getc(in)) != EOF && byte != '\n')
		;
}

static int show(struct tail *t)
{
	const struct timespec pause = {0, LOOK_AGAIN * 1000000L};
	FILE *in = strcmp(t->path, "-") == 0 ? stdin : fopen(t->path, "re"), *next;
	static char line[2 * LINE];
	size_t length = 0;
	bool readable;

	if (!in) {
		fprintf(stderr, "egretctl: %s: %s\n", t->path, strerror(errno));
		return CTL_NO;
	}
	t->last = calloc(t->lines + 1, sizeof(*t->last));
	CHECK(t->last);
	if (in != stdin)
		skip(t, in);
	if (in == stdin && t->follow)
		print_kept(t); /* a pipe has no end: nothing is held back */
	readable = read_lines(t, in, line, &length);
	if (t->last)
		print_kept(t);
	while (readable && t->follow && in != stdin && fflush(stdout) == 0) {
		next = reopen(t->path, in);
		length = next == in ? length : 0;
		in = next;
		readable = read_lines(t, in, line, &length);
		nanosleep(&pause, NULL);
	}
	if (in != stdin)
		fclose(in);
	return readable ? CTL_OK : CTL_NO;
}

/* The log of the egretd that runs, to be freed; NULL and *result. */
static char *ask_for_log(const struct ctl *ctl, int *result)
{
	json_t *status;
	const char *log;
	char *path = NULL;

	*result = ask_get(ctl, "/status", &status);
	if (*result)
		return NULL;
	*result = CTL_NO;
	log = print_string(status, "access_log");
	if (log[0] == '/')
		path = strdup(log);
	else
		fprintf(stderr,
			"egretctl: the access log goes to %s: name a file, or - for a pipe\n", log);
	json_decref(status);
	return path;
}

static void choose_needle(struct filter *f)
{
	if (f->source)
		snprintf(f->needle, sizeof(f->needle), "\"client\":\"%s\"", f->source);
	else if (f->partner)
		snprintf(f->needle, sizeof(f->needle), "\"partner\":\"%s\"", f->partner);
	else if (f->verdict)
		snprintf(f->needle, sizeof(f->needle), "\"verdict\":\"%s\"", f->verdict);
}

static bool read_options(struct tail *t, int argc, char **argv)
{
	static const struct option options[] = {{"follow", no_argument, NULL, 'f'},
		{"source", required_argument, NULL, 's'}, {"partner", required_argument, NULL, 'p'},
		{"verdict", required_argument, NULL, 'v'}, {"status", required_argument, NULL, 'S'},
		{NULL, 0, NULL, 0}};
	struct filter *f = &t->filter;
	int option;
	char *end;

	optind = 0;
	while ((option = getopt_long(argc, argv, "fn:", options, NULL)) != -1) {
		switch (option) {
		case 'f':
			t->follow = true;
			break;
		case 'n':
			t->lines = strtoul(optarg, &end, 10);
			if (*end || !*optarg || t->lines > LINES_MOST)
				return false;
			break;
		case 's':
			f->source = optarg;
			break;
		case 'p':
			f->partner = optarg;
			break;
		case 'v':
			f->verdict = optarg;
			if (strcmp(optarg, "allow") != 0 && strcmp(optarg, "deny") != 0 &&
				strcmp(optarg, "report") != 0)
				return false;
			break;
		case 'S':
			f->status = optarg;
			if (strlen(optarg) != 3)
				return false;
			break;
		default:
			return false;
		}
	}
	choose_needle(f);
	t->path = optind < argc ? argv[optind] : NULL;
	return argc - optind <= 1;
}

int tail_run(const struct ctl *ctl, int argc, char **argv)
{
	struct tail t = {.ctl = ctl, .lines = 10};
	char *log = NULL;
	int status;

	if (!read_options(&t, argc, argv))
		return CTL_USAGE;
	if (t.follow)
		setvbuf(stdout, NULL, _IOLBF, 0); /* into a pipe, too */
	if (!t.path)
		t.path = log = ask_for_log(ctl, &status);
	if (!t.path)
		return status;
	status = show(&t);
	free(log);
	return status;
}
