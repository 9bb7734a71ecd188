/*
 * The facts are gathered once, as JSON; the text is printed from the same object.
 */
#include "daemon/proxy/info.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/proxy/worker.h"
#include "daemon/version.h"
#include "nat/facts.h"

#define PARTNERS_MAX 200 /* shown */
#define HOSTS_MAX 20     /* shown of one partner */
#define GROUPS_MAX 64

static json_t *strings_of_groups(const struct policy *policy, const struct addr *client)
{
	const char *names[GROUPS_MAX];
	size_t n = policy_groups(policy, client, names, GROUPS_MAX);
	json_t *list = json_array();

	for (size_t i = 0; i < n && i < GROUPS_MAX; i++)
		json_array_append_new(list, json_string(names[i]));
	return list;
}

static json_t *destinations(const struct policy *policy, const struct section *s)
{
	json_t *list = json_array();
	char text[ADDR_TEXT + 4];
	const char *host;

	for (size_t i = 0; i < HOSTS_MAX && (host = section_host(policy, s, i)); i++)
		json_array_append_new(list, json_string(host));
	for (size_t i = 0; i < HOSTS_MAX && i < s->cidrs.n; i++)
		json_array_append_new(list, json_string(cidr_print(&s->cidrs.at[i], text)));
	return list;
}

static json_t *ports(const struct section *s)
{
	char text[16];
	json_t *list = json_array();

	for (size_t i = 0; i < s->n_ports; i++) {
		if (s->ports[i].first == s->ports[i].last)
			snprintf(text, sizeof(text), "%u", s->ports[i].first);
		else
			snprintf(text, sizeof(text), "%u-%u", s->ports[i].first, s->ports[i].last);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

/* What this client's connections may leave from: one address of each version, or all of them. */
static json_t *egress(const struct client *c, const struct generation *g, const struct section *s)
{
	bool all = generation_spread(g, s) == SPREAD_CONNECTION, none;
	json_t *list = json_array();
	const struct addr *at;
	size_t n = generation_egresses(g, s, &at);
	char text[ADDR_TEXT];

	for (size_t i = 0; i < n; i++)
		if (all ||
			addr_equal(&at[i], generation_egress(g, s, &at[i], &c->at.addr, 0, &none)))
			json_array_append_new(list, json_string(addr_print(&at[i], text)));
	return list;
}

static json_t *partner(struct client *c, const struct generation *g, const struct section *s)
{
	static const char *const per[] = {"partner", "source", "source+host"};
	json_t *p = json_pack("{s:s, s:o, s:o, s:o, s:s}", "name", s->name, "to",
		destinations(g->policy, s), "ports", ports(s), "egress", egress(c, g, s), "mode",
		s->report ? "report" : "enforce");
	struct limit limit;

	if (json_array_size(json_object_get(p, "egress")) == 0 && g->config->nat)
		json_object_set_new(p, "leaves", json_false());
	if (generation_spread(g, s) == SPREAD_CONNECTION &&
		json_array_size(json_object_get(p, "egress")) > 1)
		json_object_set_new(p, "spread", json_string("connection"));
	if (s->rate_ns == 0)
		return p;
	json_object_set_new(p, "rate", json_string(s->rate_text));
	json_object_set_new(p, "burst", json_integer(s->rate_burst));
	json_object_set_new(p, "rate-per", json_string(per[s->rate_per]));
	if (s->rate_per != RATE_PER_SOURCE_HOST) {
		limits_look(c->worker->shared->limits, s, &c->at.addr, TEXT(""),
			worker_ns(c->worker), &limit);
		json_object_set_new(p, "left", json_integer(limit.left));
	}
	return p;
}

static json_t *partners(struct client *c, const struct generation *g, size_t *more)
{
	json_t *list = json_array();

	*more = 0;
	for (size_t i = 0; i < policy_n_sections(g->policy); i++) {
		const struct section *s = policy_section(g->policy, i);

		if (s->kind != SECTION_PARTNER || !section_admits(s, &c->at.addr))
			continue;
		if (json_array_size(list) < PARTNERS_MAX)
			json_array_append_new(list, partner(c, g, s));
		else
			++*more;
	}
	return list;
}

/* Why a client is not seen as a pod, and what to do about it; NULL for a pod. */
static const char *hint(const struct client *c, const struct generation *g)
{
	if (policy_is_pod(g->policy, &c->at.addr))
		return NULL;
	if (addr_classify(&c->at.addr) == ADDR_LOOPBACK || nat_address_is_local(&c->at.addr))
		return "this address is the gateway node's own, not a pod's: the request was made "
		       "on the "
		       "node itself, or by a pod with hostNetwork";
	return "this address is not in [gateway] pod-cidr: a pod that connects to a node's address "
	       "is "
	       "masqueraded by the network plugin and arrives with its node's address; let pods "
	       "connect "
	       "to the gateway's address inside the pod network (of cni0 or flannel.1)";
}

static json_t *facts(struct client *c)
{
	const struct generation *g = c->exchange->generation;
	char address[ADDR_TEXT];
	const char *why = hint(c, g);
	size_t more;
	json_t *list = partners(c, g, &more);
	json_t *all = json_pack("{s:s, s:s, s:o, s:b, s:o, s:I, s:I, s:s}", "version",
		EGRET_VERSION, "client", addr_print(&c->at.addr, address), "groups",
		strings_of_groups(g->policy, &c->at.addr), "pod", why == NULL, "partners", list,
		"partners-not-shown", (json_int_t)more, "generation", (json_int_t)g->number,
		"digest", g->digest);

	if (why)
		json_object_set_new(all, "hint", json_string(why));
	return all;
}

static void print_list(FILE *out, const char *label, const json_t *list, const char *none)
{
	const json_t *value;
	size_t i;

	fprintf(out, "%s", label);
	json_array_foreach (list, i, value)
		fprintf(out, "%s%s", i ? ", " : "", json_string_value(value));
	fprintf(out, "%s\n", json_array_size(list) ? "" : none);
}

static void print_partner(FILE *out, const json_t *p)
{
	fprintf(out, "\n  %s%s\n", json_string_value(json_object_get(p, "name")),
		strcmp(json_string_value(json_object_get(p, "mode")), "report") ? ""
										: " (report only)");
	print_list(out, "    to      ", json_object_get(p, "to"), "-");
	print_list(out, "    ports   ", json_object_get(p, "ports"), "any (CONNECT: 443)");
	print_list(out, "    egress  ", json_object_get(p, "egress"),
		json_object_get(p, "leaves") ? "none, so nothing leaves" : "chosen by the kernel");
	if (json_object_get(p, "spread"))
		fputs("    spread  each connection has one of them\n", out);
	if (!json_object_get(p, "rate"))
		return;
	fprintf(out, "    rate    %s, burst %lld, per %s",
		json_string_value(json_object_get(p, "rate")),
		(long long)json_integer_value(json_object_get(p, "burst")),
		json_string_value(json_object_get(p, "rate-per")));
	if (json_object_get(p, "left"))
		fprintf(out, ", %lld left now",
			(long long)json_integer_value(json_object_get(p, "left")));
	fputc('\n', out);
}

static char *print_text(const json_t *all)
{
	const json_t *list = json_object_get(all, "partners"), *p;
	const char *why = json_string_value(json_object_get(all, "hint"));
	char *text = NULL;
	size_t size, i;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fprintf(out, "This is egret %s, policy generation %lld.\n\n",
		json_string_value(json_object_get(all, "version")),
		(long long)json_integer_value(json_object_get(all, "generation")));
	fprintf(out, "You are %s", json_string_value(json_object_get(all, "client")));
	print_list(out, ", in groups: ", json_object_get(all, "groups"), "none");
	if (why)
		fprintf(out, "Not a pod: %s.\n", why);
	fprintf(out, "\nYou may reach %s\n",
		json_array_size(list) ? "these partners:"
				      : "nothing: no partner names you in `from`.");
	json_array_foreach (list, i, p)
		print_partner(out, p);
	if (json_integer_value(json_object_get(all, "partners-not-shown")))
		fprintf(out, "\n  and %lld more\n",
			(long long)json_integer_value(json_object_get(all, "partners-not-shown")));
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

static bool wants_json(const struct head *request)
{
	for (size_t i = 0; i < request->n_fields; i++)
		if (text_equal_nocase(request->fields[i].name, TEXT("accept")) &&
			memmem(request->fields[i].value.at, request->fields[i].value.length,
				"application/json", strlen("application/json")))
			return true;
	return false;
}

enum next info_answer(struct client *c, const struct head *request)
{
	bool json = wants_json(request);
	json_t *all = facts(c);
	char *text = json ? json_dumps(all, JSON_INDENT(2)) : print_text(all);
	struct reply reply = {.status = text ? 200 : 503};
	enum next next;

	if (text) {
		reply.type = json ? "application/json" : NULL;
		reply.body = text_of(text);
	}
	next = client_answer(c, text ? ENDING_DONE : ENDING_FULL, &reply);
	json_decref(all);
	free(text);
	return next;
}
