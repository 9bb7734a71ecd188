#include "daemon/gate/status.h"

#include <stdio.h>

#include "daemon/ascii_json.h"
#include "daemon/version.h"

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
		json_array_append_new(list, ascii_json(all->at[i]));
	return list;
}

/* Of the endpoint that is nearest to its last port. */
static json_t *busiest(const struct flows *flows)
{
	char egress[ADDR_TEXT], partner[ENDPOINT_TEXT], protocol[FLOW_PROTOCOL_TEXT];
	struct port_use use;
	struct endpoint endpoint;

	if (flows_busiest(flows, &use, 1) == 0)
		return json_null();
	endpoint = (struct endpoint){use.partner, use.port};
	return json_pack("{s:s, s:s, s:s, s:I, s:I}", "egress", addr_print(&use.egress, egress),
		"partner", endpoint_print(&endpoint, partner), "protocol",
		flow_protocol_print(use.protocol, protocol), "used", (json_int_t)use.used, "ports",
		(json_int_t)flows_port_range(flows));
}

static json_t *flows(const struct flows *all)
{
	struct flows_counts counts;
	const char *log;

	if (!all)
		return json_null();
	counts = flows_counts(all);
	log = flows_log(all);
	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "log",
		log ? ascii_json(log) : json_null(), "now", (json_int_t)counts.flows, "started",
		(json_int_t)counts.started, "ended", (json_int_t)counts.ended, "overflows",
		(json_int_t)counts.overflows, "unseen", (json_int_t)counts.unseen, "table_full",
		(json_int_t)counts.table_full, "lines_lost", (json_int_t)counts.lines_lost,
		"busiest", busiest(all));
}

static json_t *addresses(const struct addr *addrs, size_t n)
{
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(addr_print(&addrs[i], text)));
	return list;
}

static json_t *path(const struct peers_view *view, const struct peers_path *one)
{
	char at[ENDPOINT_TEXT];

	return json_pack("{s:i, s:s, s:b, s:o, s:o}", "ip_version",
		addr_is_v4(&one->at.addr) ? 4 : 6, "at", endpoint_print(&one->at, at), "up",
		one->up, "rtt", one->up && !view->self ? json_real(one->rtt) : json_null(), "since",
		one->since > 0 ? json_real(one->since) : json_null());
}

static json_t *gateway(const struct peers_view *view)
{
	char digest[2 * PEER_DIGEST + 1];
	json_t *asked = json_array();

	for (size_t i = 0; i < view->n_paths; i++)
		json_array_append_new(asked, path(view, &view->paths[i]));
	for (size_t i = 0; i < PEER_DIGEST; i++)
		snprintf(digest + 2 * i, 3, "%02x", view->digest[i]);
	return json_pack("{s:s, s:b, s:b, s:o, s:s, s:o}", "name", view->name, "self", view->self,
		"up", view->up, "paths", asked, "digest", digest, "owned",
		addresses(view->owned, view->n_owned));
}

static json_t *gateways(const struct peers *peers)
{
	json_t *list = json_array();

	for (size_t i = 0; peers && i < peers_count(peers); i++) {
		const struct peers_view view = peers_view(peers, i);

		json_array_append_new(list, gateway(&view));
	}
	return list;
}

static json_t *released(const struct released *r)
{
	return !r ? json_array() : r->all ? json_string("all") : addresses(r->at, r->n);
}

static json_t *number_or_null(pid_t pid)
{
	return pid ? json_integer(pid) : json_null();
}

json_t *status_json(const struct status *s)
{
	const struct gate_counts *counts = s->counts;
	const struct edition *edition = s->edition;
	json_t *root = json_pack("{s:s, s:I, s:s, s:b, s:o, s:b, s:f, s:f}", "version",
		EGRET_VERSION, "generation", (json_int_t)edition->number, "digest", edition->digest,
		"ready", counts->ready, "not_ready", ascii_json(counts->not_ready), "reloading",
		s->reloading, "start_time", counts->start_time, "reload_time", counts->reload_time);

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
		json_pack("{s:b, s:I, s:I, s:o}", "enable", edition->datapath != NULL, "repairs",
			(json_int_t)counts->nat_repairs, "learnt", (json_int_t)s->learnt, "egress",
			egress(edition)));
	json_object_set_new(root, "role", json_string(s->role == ROLE_AGENT ? "agent" : "gateway"));
	json_object_set_new(root, "gateways", gateways(s->peers));
	json_object_set_new(root, "released", released(s->released));
	json_object_set_new(root, "flows", flows(s->flows));
	json_object_set_new(root, "listen",
		s->role == ROLE_AGENT ? json_array() : listeners(&edition->config->listen));
	json_object_set_new(root, "admin", listeners(&edition->config->admin_listen));
	json_object_set_new(root, "files", paths(&edition->paths));
	json_object_set_new(root, "access_log", ascii_json(edition->config->access_log));
	return root;
}
