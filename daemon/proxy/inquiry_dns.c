/*
 * inquiry_dns.c - a name as the gateway sees it: looked up by a resolver like the workers', and
 * each address judged.
 */
#include <stdlib.h>
#include <string.h>

#include "acl/host.h"
#include "daemon/proxy/inquiry_parts.h"

static bool holds(const struct cidr_list *list, const struct addr *addr)
{
	for (size_t i = 0; i < list->n; i++)
		if (cidr_contains(&list->at[i], addr))
			return true;
	return false;
}

/* The sections whose networks name the address. */
static json_t *named_by(const struct policy *policy, const struct addr *addr)
{
	json_t *list = json_array();

	for (size_t i = 0; i < policy_n_sections(policy); i++)
		if (holds(&policy_section(policy, i)->cidrs, addr))
			json_array_append_new(list, json_string(policy_section(policy, i)->name));
	return list;
}

static json_t *judge(const struct policy *policy, const struct inquiry_name *n,
	const struct verdict *verdict, const struct addr *addr)
{
	enum addr_class class = addr_classify(addr);
	const struct section *block = NULL;
	char text[ADDR_TEXT];
	json_t *one = json_pack("{s:s, s:s, s:b, s:o}", "address", addr_print(addr, text), "class",
		addr_class_name(class), "public", class == ADDR_GLOBAL, "named_by",
		named_by(policy, addr));

	if (verdict && verdict->action == ACTION_ALLOW) {
		enum reason reason = policy_guard(policy, &n->query, verdict, addr, &block);

		json_object_set_new(one, "dialled", json_boolean(reason == REASON_MATCHED));
		json_object_set_new(one, "reason", json_string(reason_name(reason)));
	}
	return one;
}

static json_t *verdict_json(const struct verdict *v)
{

	return json_pack("{s:s, s:s, s:o}", "verdict", v->action == ACTION_ALLOW ? "allow" : "deny",
		"reason", reason_name(v->reason), "section",
		v->section ? json_string(v->section->name) : json_null());
}

static void tell(struct inquiry_name *n)
{
	const struct resolver_answer *answer = &n->lookup.answer;
	const struct policy *policy = n->inquiry->generation->policy;
	json_t *list = json_array(), *told;
	struct verdict verdict;

	n->query.host = text_of(n->name);
	n->query.addrs = answer->addrs;
	n->query.n_addrs = answer->status == RESOLVER_OK ? answer->n_addrs : 0;
	n->query.resolved = true;
	if (n->asked)
		verdict = policy_decide(policy, &n->query);
	for (size_t i = 0; i < n->query.n_addrs; i++)
		json_array_append_new(
			list, judge(policy, n, n->asked ? &verdict : NULL, &answer->addrs[i]));
	told = json_pack("{s:s, s:s, s:b, s:b, s:f, s:o, s:o}", "name", n->name, "status",
		resolver_status_name(answer->status), "cached", answer->cached, "partial",
		answer->partial, "took", n->lookup.took, "ttl",
		n->query.n_addrs && answer->ttl < 1e9 ? json_real(answer->ttl) : json_null(),
		"addresses", list);
	if (n->asked)
		json_object_set_new(told, "proxy", verdict_json(&verdict));
	n->busy = false;
	inquiry_tell(n->inquiry, n->number, told);
}

static void on_answer(struct lookup *lookup)
{
	tell((struct inquiry_name *)((char *)lookup - offsetof(struct inquiry_name, lookup)));
}

/* The names of the present hosts-file come before DNS. */
static bool follow(struct inquiry *q, struct error *e)
{
	struct generation *now = q->shared->generation;

	if (now == q->generation)
		return true;
	if (!q->resolver)
		q->resolver = generation_resolver(now, q->shared->main_loop, e);
	else
		resolver_set_hosts(q->resolver, &now->hosts);
	if (!q->resolver)
		return false;
	generation_put(q->generation);
	q->generation = generation_get(now);
	return true;
}

static const char *read_question(
	struct inquiry_name *n, const char *name, const char *source, const char *port)
{
	struct addr addr;
	char *end;
	unsigned long number = strcmp(port, "-") == 0 ? 443 : strtoul(port, &end, 10);

	if (host_canonical(text_of(name), n->name, &addr) != HOST_NAME)
		return "want a name to look up";
	if (number == 0 || number > 65535 || (strcmp(port, "-") != 0 && *end))
		return "port: want a number, 1-65535";
	n->query =
		(struct query){.connect = true, .protocol = PROTOCOL_TCP, .port = (uint16_t)number};
	n->asked = strcmp(source, "-") != 0;
	if (n->asked && !addr_parse(&n->query.client, text_of(source)))
		return "source: want an IP address";
	return NULL;
}

void inquiry_dns(
	struct inquiry *q, uint64_t number, const char *name, const char *source, const char *port)
{
	struct inquiry_name *n = q->names;
	struct error e = {"no memory"};
	const char *wrong;

	while (n < q->names + INQUIRY_NAMES && n->busy)
		n++;
	if (n == q->names + INQUIRY_NAMES) {
		inquiry_refuse(q, number, "too many names are being looked up");
		return;
	}
	wrong = read_question(n, name, source, port);
	if (wrong || !follow(q, &e)) {
		inquiry_refuse(q, number, wrong ? wrong : e.text);
		return;
	}
	n->busy = true;
	n->number = number;
	memset(&n->lookup, 0, sizeof(n->lookup));
	if (resolver_ask(q->resolver, text_of(n->name), &n->lookup, on_answer))
		tell(n);
}

void inquiry_dns_fini(struct inquiry *q)
{
	for (size_t i = 0; i < INQUIRY_NAMES; i++)
		if (q->names[i].busy)
			resolver_cancel(&q->names[i].lookup);
	resolver_free(q->resolver);
	generation_put(q->generation);
}
