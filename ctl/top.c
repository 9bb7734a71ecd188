/*
 * top.c - partners and sources, as they are now: two questions a look, and the differences.
 */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "ctl/ask.h"
#include "ctl/print.h"

#define LOOKS_MOST 1000000000

/* A row of either half. */
struct row {
	char name[80];
	json_int_t connections, tunnels;
	double requests, in, out; /* of a partner: a second; of a source: bytes of what is open */
	json_int_t denied;
	json_int_t total;
};

struct rows {
	struct row *at;
	size_t n;
};

struct look {
	json_t *rules, *connections;
	double when; /* monotonic */
};

static int look(const struct ctl *ctl, struct look *l)
{
	int status = ask_get(ctl, "/rules", &l->rules);

	if (!status)
		status = ask_get(ctl, "/connections", &l->connections);
	l->when = clock_monotonic();
	return status;
}

static void forget(struct look *l)
{
	json_decref(l->rules);
	json_decref(l->connections);
	*l = (struct look){0};
}

/* ---- the rows ---- */

static struct row *row_of(struct rows *rows, const char *name)
{
	for (size_t i = 0; i < rows->n; i++)
		if (strcmp(rows->at[i].name, name) == 0)
			return &rows->at[i];
	if (rows->n % 64 == 0)
		rows->at = realloc(rows->at, (rows->n + 64) * sizeof(*rows->at));
	CHECK(rows->at);
	rows->at[rows->n] = (struct row){0};
	snprintf(rows->at[rows->n].name, sizeof(rows->at[0].name), "%s", name);
	return &rows->at[rows->n++];
}

static json_int_t requests_of(const json_t *section)
{
	return print_integer(section, "allowed") + print_integer(section, "denied") +
	       print_integer(section, "reported");
}

static const json_t *section_in(const json_t *rules, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(rules, "sections"), i, one)
		if (strcmp(print_string(one, "name"), name) == 0)
			return one;
	return NULL;
}

/* What has come since `before`, a second; a proxy that was started again counts from 0. */
static double rate(json_int_t count, json_int_t before, double seconds)
{
	return seconds > 0 && count >= before ? (double)(count - before) / seconds : 0;
}

static void add_section(
	struct rows *rows, const json_t *s, const struct look *before, double seconds)
{
	const json_t *was = section_in(before->rules, print_string(s, "name"));
	struct row *row;

	if (requests_of(s) == 0)
		return;
	row = row_of(rows, print_string(s, "name"));
	row->total = requests_of(s);
	row->denied = print_integer(s, "denied") + print_integer(s, "rate_limited");
	row->requests = rate(row->total, requests_of(was), seconds);
	row->in = rate(print_integer(s, "from_client"), print_integer(was, "from_client"), seconds);
	row->out = rate(print_integer(s, "to_client"), print_integer(was, "to_client"), seconds);
}

static void add_connection(struct rows *partners, struct rows *sources, const json_t *c)
{
	const char *section = print_string(c, "section"), *client = print_string(c, "client");
	bool tunnel = strcmp(print_string(c, "state"), "tunnel") == 0;
	const char *colon = strrchr(client, ':');
	bool v6 = client[0] == '['; /* in brackets */
	char address[64];
	struct row *row;

	snprintf(address, sizeof(address), "%.*s", colon ? (int)(colon - client) - 2 * v6 : 0,
		client + v6);
	row = row_of(sources, address);
	row->connections++;
	row->tunnels += tunnel;
	row->in += (double)print_integer(c, "from_client");
	row->out += (double)print_integer(c, "to_client");
	if (!section[0])
		return;
	row = row_of(partners, section);
	row->connections++;
	row->tunnels += tunnel;
}

static int by_weight(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	double left = x->requests * 1e6 + x->in + x->out + (double)x->connections;
	double right = y->requests * 1e6 + y->in + y->out + (double)y->connections;

	return left != right ? (left < right ? 1 : -1) : strcmp(x->name, y->name);
}

static void collect(const struct look *l, const struct look *before, struct rows *partners,
	struct rows *sources)
{
	double seconds = before->rules ? l->when - before->when : 0;
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(l->rules, "sections"), i, one)
		add_section(partners, one, before, seconds);
	json_array_foreach (json_object_get(l->connections, "connections"), i, one)
		add_connection(partners, sources, one);
	if (partners->n)
		qsort(partners->at, partners->n, sizeof(*partners->at), by_weight);
	if (sources->n)
		qsort(sources->at, sources->n, sizeof(*sources->at), by_weight);
}

/* ---- what is shown ---- */

static void print_partners(const struct ctl *ctl, const struct rows *rows, size_t most)
{
	static const char *const heads[] = {
		"SECTION", "REQ/S", "IN/S", "OUT/S", "CONNS", "TUNNELS", "DENIED", "REQUESTS"};
	struct table *t = table_new(ctl, heads, COUNT_OF(heads));
	char in[16], out[16];

	for (size_t i = 0; i < rows->n; i++) {
		const struct row *r = &rows->at[i];

		table_cell(t, PLAIN, "%s", strcmp(r->name, "-") == 0 ? "no section" : r->name);
		table_cell(t, PLAIN, "%.1f", r->requests);
		table_cell(t, PLAIN, "%s", print_bytes(r->in, in, sizeof(in)));
		table_cell(t, PLAIN, "%s", print_bytes(r->out, out, sizeof(out)));
		table_cell(t, PLAIN, "%lld", (long long)r->connections);
		table_cell(t, PLAIN, "%lld", (long long)r->tunnels);
		table_cell(t, r->denied ? RED : PLAIN, "%lld", (long long)r->denied);
		table_cell(t, PLAIN, "%lld", (long long)r->total);
	}
	table_print(t, most);
}

static void print_sources(const struct ctl *ctl, const struct rows *rows, size_t most)
{
	static const char *const heads[] = {"SOURCE", "CONNS", "TUNNELS", "IN", "OUT"};
	struct table *t = table_new(ctl, heads, COUNT_OF(heads));
	char in[16], out[16];

	for (size_t i = 0; i < rows->n; i++) {
		const struct row *r = &rows->at[i];

		table_cell(t, PLAIN, "%s", r->name);
		table_cell(t, PLAIN, "%lld", (long long)r->connections);
		table_cell(t, PLAIN, "%lld", (long long)r->tunnels);
		table_cell(t, PLAIN, "%s", print_bytes(r->in, in, sizeof(in)));
		table_cell(t, PLAIN, "%s", print_bytes(r->out, out, sizeof(out)));
	}
	table_print(t, most);
}

static json_t *rows_json(const struct rows *rows, bool partners)
{
	json_t *list = json_array(), *one;

	for (size_t i = 0; i < rows->n; i++) {
		const struct row *r = &rows->at[i];

		one = json_pack("{s:s, s:I, s:I, s:f, s:f}", partners ? "section" : "source",
			r->name, "connections", r->connections, "tunnels", r->tunnels,
			partners ? "in_per_second" : "in", r->in,
			partners ? "out_per_second" : "out", r->out);
		if (partners)
			json_object_update_new(one,
				json_pack("{s:f, s:I, s:I}", "requests_per_second", r->requests,
					"denied", r->denied, "requests", r->total));
		json_array_append_new(list, one);
	}
	return list;
}

static size_t screen_rows(bool screen)
{
	struct winsize size;

	if (!screen || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row < 12)
		return screen ? 8 : 1000;
	return (size_t)(size.ws_row - 6) / 2;
}

static void show(
	const struct ctl *ctl, const struct look *l, const struct look *before, bool screen)
{
	struct rows partners = {0}, sources = {0};
	json_int_t left_out = print_integer(l->connections, "left_out");
	size_t most = screen_rows(screen);

	collect(l, before, &partners, &sources);
	if (ctl->json) {
		print_json(json_pack("{s:I, s:I, s:o, s:o}", "connections",
			print_integer(l->connections, "all"), "left_out", left_out, "sections",
			rows_json(&partners, true), "sources", rows_json(&sources, false)));
	} else {
		if (screen)
			printf("\033[H\033[J");
		printf("egret top: %lld connections",
			(long long)print_integer(l->connections, "all"));
		if (left_out)
			printf(", of which %lld are not counted below", (long long)left_out);
		puts("\n");
		print_partners(ctl, &partners, most);
		putchar('\n');
		print_sources(ctl, &sources, most);
	}
	free(partners.at);
	free(sources.at);
	fflush(stdout);
}

/* ---- the screen ---- */

/* True when the person wants to leave. */
static bool wait_for_key(double seconds, bool keyboard)
{
	struct pollfd in = {STDIN_FILENO, POLLIN, 0};
	char key = 0;

	if (poll(&in, keyboard ? 1 : 0, (int)(seconds * 1e3)) <= 0)
		return false;
	return read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 3;
}

static int loop(
	const struct ctl *ctl, double seconds, unsigned long looks, bool screen, bool keyboard)
{
	struct look before = {0}, l = {0};
	int status = 0;

	for (unsigned long i = 0; looks == 0 || i < looks; i++) {
		if (i > 0 && wait_for_key(seconds, keyboard))
			break;
		status = look(ctl, &l);
		if (status)
			break;
		show(ctl, &l, &before, screen);
		forget(&before);
		before = l;
		l = (struct look){0};
	}
	forget(&l);
	forget(&before);
	return status;
}

static const char enter_page[] = "\033[?1049h\033[?25l", leave_page[] = "\033[?25h\033[?1049l";
static struct termios modes; /* of the terminal, before */
static bool keys;            /* there are such */

/* Calls only what a handler of signals may call. */
static void on_signal(int number)
{
	ssize_t written = write(STDOUT_FILENO, leave_page, sizeof(leave_page) - 1);

	(void)written;
	if (keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &modes);
	raise(number); /* SA_RESETHAND: this time it ends the process */
}

static void handle_signals(void (*handler)(int))
{
	static const int ends[] = {SIGHUP, SIGINT, SIGTERM};
	const struct sigaction action = {.sa_handler = handler, .sa_flags = (int)SA_RESETHAND};

	for (size_t i = 0; i < COUNT_OF(ends); i++)
		sigaction(ends[i], &action, NULL);
}

/* Its own page of the terminal; keys come at once, and Ctrl-C as one of them. */
static int run_on_screen(const struct ctl *ctl, double seconds, unsigned long looks)
{
	struct termios raw;
	int status;

	keys = tcgetattr(STDIN_FILENO, &modes) == 0;
	handle_signals(on_signal);
	if (keys) {
		raw = modes;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	fputs(enter_page, stdout);
	status = loop(ctl, seconds, looks, true, keys);
	fputs(leave_page, stdout);
	if (keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &modes);
	fflush(stdout);
	handle_signals(SIG_DFL);
	return status;
}

int top_run(const struct ctl *ctl, int argc, char **argv)
{
	bool screen = isatty(STDOUT_FILENO) && !ctl->json;
	unsigned long looks = screen ? 0 : 1;
	struct look l = {0};
	double seconds = 2;
	int option, status;
	char *end;

	optind = 0;
	while ((option = getopt(argc, argv, "d:n:")) != -1) {
		if (option == 'd')
			seconds = strtod(optarg, &end);
		else if (option == 'n')
			looks = strtoul(optarg, &end, 10);
		if (option == '?' || *end || !(seconds >= 0.1 && seconds <= 3600) ||
			(option == 'n' && (looks == 0 || looks > LOOKS_MOST)))
			return CTL_USAGE;
	}
	if (optind != argc)
		return CTL_USAGE;
	if (!screen)
		return loop(ctl, seconds, looks, false, false);
	status = look(ctl, &l);
	forget(&l);
	if (status)
		return status;
	status = run_on_screen(ctl, seconds, looks);
	if (status && !look(ctl, &l)) /* what is wrong is said on the usual page */
		forget(&l);
	return status;
}
