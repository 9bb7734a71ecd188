/*
 * who.c - reads the attribution log from front to back, FILE.1 and then FILE, as one stream.
 *
 * A flow has a line at its begin and one at its end, which repeats the begin's time: so what has
 * ended is judged by its last line alone, and only what has not ended yet is remembered, PENDING
 * flows at most.  Lines that do not name the address are not even parsed.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/addr.h"
#include "base/check.h"
#include "ctl/ask.h"
#include "ctl/print.h"
#include "ctl/when.h"

#define PENDING 10000
#define BLOCK (1 << 20) /* bytes read at once; a longer line is passed over */

/* What was asked. */
struct question {
	char needle[ENDPOINT_TEXT + 32]; /* what a line that matters contains */
	const char *protocol;            /* NULL: any */
	bool timed;
	struct when when;
	const char *log; /* NULL: ask egretd */
	bool json;
};

/* Not yet ended, as far as was read. */
struct pending {
	json_t *line;
	double start; /* 0: not known */
};

struct search {
	const struct question *question;
	struct pending *pending; /* in order of their begins */
	size_t n;
	json_t *last; /* without a time: the one that ended last */
	size_t found;
	json_t *json; /* the flows found, where JSON is wanted */
	bool forgot;  /* more than PENDING */
};

static const char *text_in(const json_t *line, const char *field)
{
	const char *text = json_string_value(json_object_get(line, field));

	return text ? text : "-";
}

static double time_in(const json_t *line, const char *field)
{
	struct when when;

	return when_parse(text_in(line, field), 0, &when) ? when.from : 0;
}

/* ---- the answer ---- */

static void print_field(const char *name, const char *text)
{
	printf("%s=", name);
	for (; *text; text++)
		putchar(*text > ' ' && *text <= '~' ? *text : '?');
	putchar(' ');
}

static void print_number(const char *name, const json_t *line, const char *field, char behind)
{
	const json_t *number = json_object_get(line, field);

	if (json_is_integer(number))
		printf("%s=%lld%c", name, (long long)json_integer_value(number), behind);
	else
		printf("%s=-%c", name, behind);
}

static void print_found(struct search *s, const json_t *line, const char *reason)
{
	static const char *const fields[] = {
		"pod", "partner", "protocol", "source", "destination", "translated_destination"};

	s->found++;
	if (s->question->json) {
		json_t *found = json_deep_copy(line);

		json_object_set_new(found, "reason", json_string(reason));
		json_array_append_new(s->json, found);
		return;
	}
	for (size_t i = 0; i < COUNT_OF(fields); i++)
		print_field(fields[i], text_in(line, fields[i]));
	print_field("start", text_in(line, "start"));
	print_field("end", text_in(line, "end"));
	print_number("bytes_original", line, "bytes_original", ' ');
	print_number("bytes_reply", line, "bytes_reply", ' ');
	printf("reason=%s\n", reason);
}

/* A flow that has ended, at `end`. */
static void judge(struct search *s, json_t *line, double start, double end, const char *reason)
{
	const struct question *q = s->question;

	if (!q->timed) {
		json_decref(s->last);
		s->last = json_incref(line);
		json_object_set_new(s->last, "reason", json_string(reason));
	} else if (start <= q->when.to && end >= q->when.from) {
		print_found(s, line, reason);
	}
}

/* ---- lines ---- */

static bool is_same_flow(const json_t *a, const json_t *b)
{
	static const char *const fields[] = {"protocol", "translated_destination", "source"};

	for (size_t i = 0; i < COUNT_OF(fields); i++)
		if (strcmp(text_in(a, fields[i]), text_in(b, fields[i])) != 0)
			return false;
	return true;
}

static size_t find_pending(const struct search *s, const json_t *line)
{
	size_t i = 0;

	while (i < s->n && !is_same_flow(s->pending[i].line, line))
		i++;
	return i;
}

static void remove_pending(struct search *s, size_t i)
{
	json_decref(s->pending[i].line);
	s->n--;
	memmove(s->pending + i, s->pending + i + 1, (s->n - i) * sizeof(*s->pending));
}

static void on_start(struct search *s, json_t *line)
{
	double start = time_in(line, "start");
	size_t i = find_pending(s, line);

	if (i < s->n) {
		json_t *before = s->pending[i].line;

		if (json_equal(json_object_get(before, "id"), json_object_get(line, "id")) &&
			json_object_get(line, "resync"))
			return; /* egretd was started again, and found it still there */
		judge(s, before, s->pending[i].start, time_in(line, "time"), "unknown");
		remove_pending(s, i);
	}
	if (s->n == PENDING) {
		s->forgot = true;
		remove_pending(s, 0);
	}
	s->pending[s->n++] = (struct pending){json_incref(line), start};
}

static void on_end(struct search *s, json_t *line)
{
	double start = time_in(line, "start");
	size_t i = find_pending(s, line);

	if (i < s->n) {
		if (start == 0) {
			start = s->pending[i].start;
			json_object_set(
				line, "start", json_object_get(s->pending[i].line, "start"));
		}
		remove_pending(s, i);
	}
	judge(s, line, start, time_in(line, "end"), text_in(line, "reason"));
}

static void on_line(struct search *s, const char *text, size_t length)
{
	json_t *line = json_loadb(text, length, 0, NULL);
	const char *event = text_in(line, "event"), *protocol = s->question->protocol;

	if (!protocol || strcmp(text_in(line, "protocol"), protocol) == 0) {
		if (strcmp(event, "start") == 0)
			on_start(s, line);
		else if (strcmp(event, "end") == 0)
			on_end(s, line);
	}
	json_decref(line);
}

/* The lines of a block, of which the last may be half.  `whole`: the first is not.  How many bytes
 * are done with. */
static size_t take_block(struct search *s, const char *block, size_t length, bool *whole)
{
	const char *needle = s->question->needle, *at = block, *hit;
	const char *last = memrchr(block, '\n', length);

	if (!last) {
		*whole = *whole && length < BLOCK;
		return *whole ? 0 : length;
	}
	if (!*whole)
		at = (const char *)memchr(block, '\n', length) + 1;
	*whole = true;
	while ((hit = memmem(at, (size_t)(last + 1 - at), needle, strlen(needle)))) {
		const char *begin = memrchr(at, '\n', (size_t)(hit - at));
		const char *end = memchr(hit, '\n', (size_t)(last + 1 - hit));

		begin = begin ? begin + 1 : at;
		on_line(s, begin, (size_t)(end - begin));
		at = end + 1;
	}
	return (size_t)(last + 1 - block);
}

static void read_lines(struct search *s, FILE *in)
{
	static char block[BLOCK];
	size_t length = 0, got, done;
	bool whole = true;

	while ((got = fread(block + length, 1, sizeof(block) - length, in)) > 0) {
		length += got;
		done = take_block(s, block, length, &whole);
		length -= done;
		memmove(block, block + done, length);
	}
}

/* What has not ended until the log's end. */
static void finish(struct search *s)
{
	const struct question *q = s->question;

	for (size_t i = 0; i < s->n; i++)
		if (!q->timed || s->pending[i].start <= q->when.to)
			print_found(s, s->pending[i].line, "open");
	if (!q->timed && s->found == 0 && s->last)
		print_found(s, s->last, text_in(s->last, "reason"));
	if (s->forgot)
		fprintf(stderr, "egretctl: more than %d open flows: the oldest are left out\n",
			PENDING);
	while (s->n > 0)
		json_decref(s->pending[--s->n].line);
	json_decref(s->last);
	free(s->pending);
}

/* ---- files ---- */

static bool is_same_file(FILE *a, FILE *b)
{
	struct stat one, other;

	return fstat(fileno(a), &one) == 0 && fstat(fileno(b), &other) == 0 &&
	       one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static int search_log(const struct question *q, const char *path)
{
	struct search s = {.question = q,
		.pending = calloc(PENDING, sizeof(*s.pending)),
		.json = json_array()};
	char rotated[4096];
	FILE *now = fopen(path, "re"), *before = NULL;

	if (snprintf(rotated, sizeof(rotated), "%s.1", path) < (int)sizeof(rotated))
		before = fopen(rotated, "re");
	if (!s.pending || (!now && !before)) {
		fprintf(stderr, "egretctl: %s: %s\n", path, strerror(errno));
		free(s.pending);
		json_decref(s.json);
		return CTL_NO;
	}
	if (before && !(now && is_same_file(now, before))) /* rotated in this moment */
		read_lines(&s, before);
	if (now)
		read_lines(&s, now);
	finish(&s);
	if (before)
		fclose(before);
	if (now)
		fclose(now);
	if (q->json)
		print_json(json_incref(s.json));
	json_decref(s.json);
	if (s.found == 0)
		fputs("egretctl: nobody, as far as the log goes back\n", stderr);
	return s.found == 0;
}

/* The log of the egretd that runs, to be freed, or NULL and the reason is printed. */
static char *ask_for_log(const struct ctl *ctl, int *result)
{
	char *path = NULL;
	const char *log;
	json_t *status;

	*result = ask_get(ctl, "/status", &status);
	if (*result)
		return NULL;
	*result = CTL_NO;
	log = json_string_value(json_object_get(json_object_get(status, "flows"), "log"));
	if (log && log[0] == '/')
		path = strdup(log);
	else if (log)
		fprintf(stderr, "egretctl: the flow log goes to %s: name a file with --log\n", log);
	else
		fputs("egretctl: egretd keeps no flow log: set [nat] flow-log\n", stderr);
	json_decref(status);
	return path;
}

/* ---- the command line ---- */

static bool read_question(struct question *q, int argc, char **argv)
{
	static const struct option options[] = {{"at", required_argument, NULL, 'a'},
		{"protocol", required_argument, NULL, 'p'}, {"log", required_argument, NULL, 'l'},
		{NULL, 0, NULL, 0}};
	struct endpoint endpoint;
	char text[ENDPOINT_TEXT];
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'a')
			q->timed = when_parse(optarg, time(NULL), &q->when);
		else if (option == 'p')
			q->protocol = optarg;
		else if (option == 'l')
			q->log = optarg;
		if (option == '?' || (option == 'a' && !q->timed))
			return false;
	}
	if (q->protocol && strcmp(q->protocol, "tcp") != 0 && strcmp(q->protocol, "udp") != 0)
		return false;
	if (optind + 1 != argc || !endpoint_parse(&endpoint, text_of(argv[optind])))
		return false;
	snprintf(q->needle, sizeof(q->needle), "\"translated_source\":\"%s\"",
		endpoint_print(&endpoint, text));
	return true;
}

int who_run(const struct ctl *ctl, int argc, char **argv)
{
	struct question question = {.json = ctl->json};
	char *log;
	int status = CTL_NO;

	if (!read_question(&question, argc, argv))
		return CTL_USAGE;
	log = question.log ? strdup(question.log) : ask_for_log(ctl, &status);
	if (!log)
		return status;
	status = search_log(&question, log);
	free(log);
	return status;
}
