#include "daemon/status.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/version.h"

/* Paths and the texts of files are bytes; JSON is UTF-8. */
static json_t *ascii(const char *bytes)
{
	char *copy = strdup(bytes);
	json_t *string;

	for (char *at = copy; at && *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	string = copy ? json_string(copy) : NULL;
	free(copy);
	return string;
}

static json_t *egress(const struct edition *edition)
{
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (size_t i = 0; i < edition->n_egress; i++)
		json_array_append_new(list, json_string(addr_print(&edition->egress[i], text)));
	return list;
}

static json_t *listeners(const struct endpoint_list *endpoints)
{
	json_t *list = json_array();
	char text[ENDPOINT_TEXT];

	for (size_t i = 0; i < endpoints->n; i++)
		json_array_append_new(list, json_string(endpoint_print(&endpoints->at[i], text)));
	return list;
}

static json_t *paths(const struct path_list *all)
{
	json_t *list = json_array();

	for (size_t i = 0; i < all->n; i++)
		json_array_append_new(list, ascii(all->at[i]));
	return list;
}

static json_t *number_or_null(pid_t pid)
{
	return pid ? json_integer(pid) : json_null();
}

char *status_print(const struct status *s)
{
	const struct gate_counts *counts = s->counts;
	const struct edition *edition = s->edition;
	json_t *root = json_pack("{s:s, s:I, s:s, s:b, s:o, s:b, s:f, s:f}", "version",
		EGRET_VERSION, "generation", (json_int_t)edition->number, "digest", edition->digest,
		"ready", counts->ready, "not_ready", ascii(counts->not_ready), "reloading",
		s->reloading, "start_time", counts->start_time, "reload_time", counts->reload_time);
	char *text = NULL, *line = NULL;

	if (!root)
		return NULL;
	json_object_set_new(root, "reloads",
		json_pack("{s:I, s:I}", "ok", (json_int_t)counts->reloads_ok, "failed",
			(json_int_t)counts->reloads_failed));
	json_object_set_new(root, "gate", json_pack("{s:i}", "pid", (int)s->gate));
	json_object_set_new(root, "proxy",
		json_pack("{s:o, s:I}", "pid", number_or_null(s->proxy), "restarts",
			(json_int_t)counts->restarts));
	json_object_set_new(root, "nat",
		json_pack("{s:b, s:I, s:o}", "enable", edition->plan != NULL, "repairs",
			(json_int_t)counts->nat_repairs, "egress", egress(edition)));
	json_object_set_new(root, "listen", listeners(&edition->config->listen));
	json_object_set_new(root, "admin", listeners(&edition->config->admin_listen));
	json_object_set_new(root, "files", paths(&edition->paths));
	text = json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}
