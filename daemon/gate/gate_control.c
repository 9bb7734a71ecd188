/*
 * gate_control.c - what the control socket is asked for, by method and path.
 *
 * docs/egretctl.md lists them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/gate/explain.h"
#include "daemon/gate/gate_parts.h"
#include "daemon/gate/status.h"

static void status(struct gate *g, struct control_client *client, const struct control_request *r)
{
	struct status status = {.edition = g->now,
		.counts = &g->counts,
		.gate = getpid(),
		.proxy = child_pid(g->child),
		.learnt = learnt_count(learning_table(g->learning)),
		.reloading = g->next != NULL,
		.role = g->started->role,
		.peers = g->peers,
		.released = &g->released,
		.flows = g->flows};

	(void)r;
	reload_fill_counts(g);
	control_json(client, 200, status_json(&status));
}

static void reload_files(
	struct gate *g, struct control_client *client, const struct control_request *r)
{
	(void)r;
	if (g->stopping) {
		control_error(client, 409, "egretd is shutting down");
		return;
	}
	g->waiting[g->n_waiting++] = client;
	reload(g);
}

/* ---- explain ---- */

static bool read_addresses(
	const struct control_request *r, struct explain_ask *ask, struct error *e)
{
	char text[CONTROL_HEAD];

	control_parameter(r, "address", 0, text, sizeof(text));
	ask->resolved = text[0] != 0;
	if (strcmp(text, "none") == 0)
		return true;
	while (control_parameter(r, "address", ask->n_addrs, text, sizeof(text))) {
		if (ask->n_addrs == EXPLAIN_ADDRS)
			return error_set(e, 0, "want at most %d addresses", EXPLAIN_ADDRS);
		if (!addr_parse(&ask->addrs[ask->n_addrs], text_of(text)))
			return error_set(e, 0, "address = %.64s: want an IP address", text);
		ask->n_addrs++;
	}
	return true;
}

static void explain_flow(
	struct gate *g, struct control_client *client, const struct control_request *r)
{
	char source[64], method[CONTROL_HEAD], target[4096], protocol[CONTROL_HEAD];
	struct explain_ask ask = {.source = source, .target = target};
	struct error e = {""};
	json_t *answer = NULL;

	control_parameter(r, "source", 0, source, sizeof(source));
	control_parameter(r, "target", 0, target, sizeof(target));
	if (control_parameter(r, "method", 0, method, sizeof(method)))
		ask.method = method;
	if (control_parameter(r, "protocol", 0, protocol, sizeof(protocol)))
		ask.protocol = protocol;
	if (read_addresses(r, &ask, &e))
		answer = explain(g->now, &ask, &e);
	if (answer)
		control_json(client, 200, answer);
	else
		control_error(client, 400, e.text);
}

/* ---- the kernel ---- */

static void nat_plan(struct gate *g, struct control_client *client, const struct control_request *r)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)r;
	if (!out) {
		control_error(client, 503, "no memory");
		return;
	}
	datapath_print(g->now->datapath, out);
	fclose(out);
	control_json(client, 200, json_pack("{s:o}", "plan", json_string(text)));
	free(text);
}

static void nat_show(struct gate *g, struct control_client *client, const struct control_request *r)
{
	(void)r;
	control_json(client, 200, gate_nat_show(g));
}

static void nat_verify(
	struct gate *g, struct control_client *client, const struct control_request *r)
{
	(void)r;
	control_json(client, 200, gate_nat_verify(g));
}

/* ---- what the proxy knows ---- */

static void rules(struct gate *g, struct control_client *client, const struct control_request *r)
{
	(void)r;
	gate_ask(g, client, "rules", gate_nat_counts(g));
}

static void cache(struct gate *g, struct control_client *client, const struct control_request *r)
{
	(void)r;
	gate_ask(g, client, "cache", NULL);
}

/* Asks the proxy `what`, with these parameters as words behind it; "-" stands for one that is not
 * given.  The first is required where `required` says so. */
static void ask_words(struct gate *g, struct control_client *client,
	const struct control_request *r, const char *what, const char *const *names, size_t n,
	bool required)
{
	char text[512], value[CONTROL_HEAD], why[64];
	size_t length = (size_t)snprintf(text, sizeof(text), "%s", what);

	for (size_t i = 0; i < n; i++) {
		bool given = control_parameter(r, names[i], 0, value, sizeof(value));

		if (given ? !value[0] || strpbrk(value, " \t\n\v\f\r") || strcmp(value, "-") == 0 ||
					strlen(value) + length + 2 > sizeof(text)
			  : required && i == 0) {
			snprintf(why, sizeof(why), "%s: want one word", names[i]);
			control_error(client, 400, why);
			return;
		}
		length += (size_t)snprintf(
			text + length, sizeof(text) - length, " %s", given ? value : "-");
	}
	gate_ask(g, client, text, NULL);
}

static void connections(
	struct gate *g, struct control_client *client, const struct control_request *r)
{
	static const char *const names[] = {"limit", "source", "partner"};

	ask_words(g, client, r, "connections", names, COUNT_OF(names), false);
}

static void kill_connection(
	struct gate *g, struct control_client *client, const struct control_request *r)
{
	static const char *const names[] = {"id"};

	ask_words(g, client, r, "kill", names, COUNT_OF(names), true);
}

static void dns(struct gate *g, struct control_client *client, const struct control_request *r)
{
	static const char *const names[] = {"name", "source", "port"};

	ask_words(g, client, r, "dns", names, COUNT_OF(names), true);
}

static void purge(struct gate *g, struct control_client *client, const struct control_request *r)
{
	static const char *const kinds[] = {"url", "prefix", "partner", "tag"};
	char value[4096], text[4200];

	for (size_t i = 0; i < COUNT_OF(kinds); i++)
		if (control_parameter(r, kinds[i], 0, value, sizeof(value))) {
			snprintf(text, sizeof(text), "%s %s", kinds[i], value);
			gate_cache_purge(g, client, text);
			return;
		}
	control_error(client, 400, "want url, prefix, partner or tag");
}

/* ---- other nodes ---- */

static void release(struct gate *g, struct control_client *client, const struct control_request *r)
{
	char which[64];

	control_parameter(r, "address", 0, which, sizeof(which));
	gate_peers_command(g, client, true, which);
}

static void claim(struct gate *g, struct control_client *client, const struct control_request *r)
{
	char which[64];

	control_parameter(r, "address", 0, which, sizeof(which));
	gate_peers_command(g, client, false, which);
}

static const struct route {
	const char *path;
	bool post, nat;
	void (*run)(struct gate *, struct control_client *, const struct control_request *);
} routes[] = {
	{"/status", false, false, status},
	{"/reload", true, false, reload_files},
	{"/explain", false, false, explain_flow},
	{"/rules", false, false, rules},
	{"/nat/plan", false, true, nat_plan},
	{"/nat/show", false, true, nat_show},
	{"/nat/verify", false, true, nat_verify},
	{"/cache", false, false, cache},
	{"/cache/purge", true, false, purge},
	{"/dns", false, false, dns},
	{"/connections", false, false, connections},
	{"/connections/kill", true, false, kill_connection},
	{"/release", true, false, release},
	{"/claim", true, false, claim},
};

static void not_found(struct control_client *client)
{
	json_t *paths = json_array();

	for (size_t i = 0; i < COUNT_OF(routes); i++)
		json_array_append_new(paths,
			json_sprintf("%s %s", routes[i].post ? "POST" : "GET", routes[i].path));
	control_json(client, 404, json_pack("{s:s, s:o}", "error", "no such path", "paths", paths));
}

void gate_control_on_request(
	void *arg, struct control_client *client, const struct control_request *r)
{
	struct gate *g = arg;

	for (size_t i = 0; i < COUNT_OF(routes); i++) {
		const struct route *route = &routes[i];

		if (strcmp(route->path, r->path) != 0)
			continue;
		if (route->post != r->post)
			control_error(client, 405, route->post ? "want POST" : "want GET");
		else if (route->nat && !g->now->datapath)
			control_error(
				client, 409, "[nat] enable = no: nothing is asked of the kernel");
		else
			route->run(g, client, r);
		return;
	}
	not_found(client);
}
