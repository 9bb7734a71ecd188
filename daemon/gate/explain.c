#include "daemon/gate/explain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "acl/egress.h"
#include "daemon/ascii_json.h"
#include "daemon/http/uri.h"

/* A flow, as both sides are asked about it. */
struct asked {
	struct query query; /* of the proxy, which speaks TCP */
	uint8_t protocol;   /* of NAT */
	struct uri uri;
	char method[METHOD_MAX + 1];
};

static const char *kind_name(const struct section *s)
{
	return s->kind == SECTION_PARTNER ? "partner" : "block";
}

static json_t *place(const struct section *s)
{
	return s ? json_pack("{s:s, s:s, s:o, s:i}", "kind", kind_name(s), "name", s->name, "file",
			   ascii_json(s->file), "line", s->line)
		 : json_null();
}

/* ---- the question ---- */

static int parse(const struct explain_ask *ask, struct asked *f, struct error *e)
{
	struct head_error wrong = {0, "want a target: host:port, or http://host/path"};
	const char *method = ask->method;
	struct head head = {.target = text_of(ask->target)};

	if (!addr_parse(&f->query.client, text_of(ask->source)))
		return error_set(
			e, -EINVAL, "%.64s: want the source as an IP address", ask->source);
	if (!method)
		method = strstr(ask->target, "://") ? "GET" : "CONNECT";
	if (strlen(method) > METHOD_MAX)
		return error_set(e, -EINVAL, "%.64s...: want a method of at most %d bytes", method,
			METHOD_MAX);
	strcpy(f->method, method);
	f->query.connect = strcmp(method, "CONNECT") == 0;
	head.method = text_of(method);
	head.method_id = f->query.connect ? METHOD_CONNECT : METHOD_OTHER;
	f->query.protocol = PROTOCOL_TCP;
	if (ask->protocol && strcmp(ask->protocol, "udp") == 0)
		f->protocol = IPPROTO_UDP;
	else if (ask->protocol && strcmp(ask->protocol, "tcp") != 0)
		return error_set(e, -EINVAL, "%.64s: want tcp or udp", ask->protocol);
	if (head.target.length == 0 || uri_parse(&head, &f->uri, &wrong) < 0)
		return error_set(e, -EINVAL, "%.200s: %s", ask->target, wrong.text);
	return 0;
}

static void fill_query(const struct explain_ask *ask, struct asked *f)
{
	struct query *q = &f->query;

	q->port = f->uri.port;
	q->addrs = f->uri.is_address ? &f->uri.addr : ask->addrs;
	q->n_addrs = f->uri.is_address ? 1 : ask->n_addrs;
	q->resolved = f->uri.is_address || ask->resolved;
	if (!f->uri.is_address)
		q->host = (struct text){f->uri.host, f->uri.host_length};
}

/* ---- the proxy ---- */

struct sections {
	json_t *list;
	json_int_t left_out;
};

static void on_section(void *arg, const struct section *s, enum considered considered)
{
	static const char *const names[N_CONSIDERED] = {
		[CONSIDERED_ELSEWHERE] = "other-destination",
		[CONSIDERED_UNRESOLVED] = "unresolved",
		[CONSIDERED_NOT_ALL] = "not-all-addresses",
		[CONSIDERED_PORT] = "port",
		[CONSIDERED_PROTOCOL] = "protocol",
		[CONSIDERED_SOURCE] = "source",
		[CONSIDERED_UNNAMED] = "unnamed",
		[CONSIDERED_REPORTS] = "reports",
		[CONSIDERED_DECIDES] = "decides",
		[CONSIDERED_AFTER] = "after",
	};
	struct sections *all = arg;
	json_t *one;

	if (json_array_size(all->list) >= EXPLAIN_SECTIONS &&
		(considered == CONSIDERED_ELSEWHERE || considered == CONSIDERED_AFTER)) {
		all->left_out++;
		return;
	}
	one = place(s);
	json_object_set_new(one, "considered", json_string(names[considered]));
	json_array_append_new(all->list, one);
}

/* Each address that would be dialled, as the guard judges it. */
static json_t *guard(const struct edition *edition, const struct asked *f, const struct verdict *v)
{
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (size_t i = 0; i < f->query.n_addrs && v->action == ACTION_ALLOW; i++) {
		const struct addr *addr = &f->query.addrs[i];
		const struct section *block = NULL;
		enum reason reason = policy_guard(edition->policy, &f->query, v, addr, &block);

		json_array_append_new(list,
			json_pack("{s:s, s:s, s:b, s:s, s:o}", "address", addr_print(addr, text),
				"class", addr_class_name(addr_classify(addr)), "dialled",
				reason == REASON_MATCHED, "reason", reason_name(reason), "block",
				place(block)));
	}
	return list;
}

static bool dials_some(const json_t *guarded)
{
	const json_t *one;
	size_t i;

	json_array_foreach (guarded, i, one)
		if (json_is_true(json_object_get(one, "dialled")))
			return true;
	return json_array_size(guarded) == 0;
}

static json_t *proxy(const struct edition *edition, const struct asked *f)
{
	struct verdict v = policy_decide(edition->policy, &f->query);
	struct sections sections = {.list = json_array()};
	json_t *guarded = guard(edition, f, &v), *answer;
	bool reaches = dials_some(guarded);
	char text[2048];

	policy_consider(edition->policy, &f->query, &v, on_section, &sections);
	policy_explain(&f->query, &v, text, sizeof(text));
	answer = json_pack("{s:s, s:s, s:o, s:o, s:o, s:b}", "verdict",
		v.action == ACTION_RESOLVE            ? "depends"
		: v.action == ACTION_DENY || !reaches ? "deny"
						      : "allow",
		"reason", reason_name(v.reason), "text", ascii_json(text), "decided_by",
		place(v.section), "reported_by", place(v.reporter), "report", v.reported);
	json_object_set_new(answer, "addresses", guarded);
	json_object_set_new(answer, "sections", sections.list);
	json_object_set_new(answer, "sections_left_out", json_integer(sections.left_out));
	return answer;
}

/* ---- NAT ---- */

static const struct plan_owner *owner_of(const struct datapath *d, const struct addr *addr)
{
	for (size_t i = 0; i < d->n_owners; i++)
		if (addr_equal(&d->owners[i].addr, addr))
			return &d->owners[i];
	return NULL;
}

/* The egress addresses of a class, and where each is. */
static json_t *egresses(const struct edition *edition, const struct plan_class *class,
	const struct addr *source, const struct addr *to, const struct addr **chosen)
{
	const struct section *s = class->section < 0 ? NULL
						     : policy_section(edition->datapath->policy,
							       (size_t) class->section);
	const struct addr *at = s ? s->egress : edition->egress;
	size_t n = s ? s->n_egress : edition->n_egress;
	enum spread spread = s ? s->spread : edition->config->spread;
	const struct datapath *d = edition->datapath;
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (size_t i = 0; i < n; i++) {
		const struct plan_owner *owner = owner_of(d, &at[i]);

		if (addr_is_v4(&at[i]) != addr_is_v4(to))
			continue;
		json_array_append_new(list,
			json_pack("{s:s, s:b, s:o}", "address", addr_print(&at[i], text), "here",
				plan_address_is_in(d->addresses, d->n_addresses, &at[i]), "gateway",
				owner ? json_string(
						edition->config->gateways.at[owner->gateway].name)
				      : json_null()));
	}
	*chosen = egress_choose(at, n, spread, to, source, 0);
	if (spread == SPREAD_CONNECTION && json_array_size(list) > 1)
		*chosen = NULL; /* each connection has one of its own */
	return list;
}

static json_t *translated(const struct edition *edition, const struct plan_packet *p,
	const struct plan_class *class, uint32_t mark)
{
	const struct datapath *d = edition->datapath;
	const struct addr *chosen;
	const struct plan_owner *owner;
	char text[ADDR_TEXT];
	json_t *all, *answer;
	const char *fate;

	if (!class || class->local)
		return json_pack("{s:s}", "fate", "local");
	all = egresses(edition, class, &p->source, &p->destination, &chosen);
	owner = chosen ? owner_of(d, chosen) : NULL;
	fate = json_array_size(all) == 0 ? "no-egress-address"
	       : !chosen || plan_address_is_in(d->addresses, d->n_addresses, chosen) ? "translated"
	       : owner                                                               ? "steered"
		       : "no-egress-address";
	answer = json_pack("{s:s, s:o}", "fate", fate, "egress", all);
	snprintf(text, sizeof(text), "0x%08x", mark);
	json_object_set_new(answer, "class", json_string(text));
	json_object_set_new(
		answer, "source", chosen ? json_string(addr_print(chosen, text)) : json_null());
	json_object_set_new(answer, "steered_to",
		owner ? json_string(edition->config->gateways.at[owner->gateway].name)
		      : json_null());
	return answer;
}

/* What the kernel does with the first packet to `addr`, when it does not go to the proxy. */
static json_t *nat_of(const struct edition *edition, const struct asked *f, const struct addr *addr)
{
	const struct datapath *d = edition->datapath;
	const struct plan_packet p = {
		.source = f->query.client,
		.destination = *addr,
		.protocol = f->protocol,
		.port = f->query.port,
	};
	struct plan_decision decision = plan_decide(d->plan, &p);
	int section = plan_section(d->plan, d->policy, &p);
	const struct plan_counter *counter =
		decision.counter ? plan_counter(d->plan, decision.counter) : NULL;
	char text[ADDR_TEXT];
	json_t *answer;

	if (decision.fate == PLAN_LEFT_ALONE)
		answer = json_pack("{s:s}", "fate", "left-alone");
	else if (decision.fate == PLAN_REFUSED)
		answer = json_pack(
			"{s:s, s:s}", "fate", "rejected", "reason", counter ? counter->reason : "");
	else
		answer = translated(edition, &p, plan_class(d->plan, decision.mark), decision.mark);
	json_object_set_new(answer, "destination", json_string(addr_print(addr, text)));
	json_object_set_new(answer, "decided_by",
		decision.fate == PLAN_LEFT_ALONE || section < 0
			? json_null()
			: place(policy_section(d->policy, (size_t)section)));
	return answer;
}

static json_t *nat(const struct edition *edition, const struct asked *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->query.n_addrs; i++)
		if (addr_is_v4(&f->query.addrs[i]) == addr_is_v4(&f->query.client))
			json_array_append_new(list, nat_of(edition, f, &f->query.addrs[i]));
	return list;
}

json_t *explain(const struct edition *edition, const struct explain_ask *ask, struct error *e)
{
	struct asked f = {.protocol = IPPROTO_TCP};
	json_t *answer;

	if (parse(ask, &f, e) < 0)
		return NULL;
	fill_query(ask, &f);
	answer = json_pack("{s:s, s:o, s:o, s:s}", "source", ask->source, "method",
		ascii_json(f.method), "target", ascii_json(ask->target), "protocol",
		f.protocol == IPPROTO_UDP ? "udp" : "tcp");
	if (!answer) {
		error_set(e, -ENOMEM, "no memory, or the target is no text");
		return NULL;
	}
	json_object_set_new(answer, "name",
		f.uri.is_address ? json_null() : ascii_json_n(f.uri.host, f.uri.host_length));
	json_object_set_new(answer, "generation", json_integer((json_int_t)edition->number));
	json_object_set_new(answer, "proxy", proxy(edition, &f));
	json_object_set_new(answer, "nat", edition->datapath ? nat(edition, &f) : json_null());
	return answer;
}
