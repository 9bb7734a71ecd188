/*
 * routing_state.c - the kernel's rules and routes, to be held against a struct routing.
 *
 * The kernel is asked for the routes of one table and protocol only (strict checking, Linux 4.20):
 * a node that speaks BGP may have a million others.  What it sends is looked at all the same.
 */
#include "nat/routing_state.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "acl/cidrs.h"
#include "nat/rtnetlink.h"

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

static bool is_of(const struct nlmsghdr *message, uint16_t add, uint16_t delete, size_t header)
{
	const uint8_t *family = mnl_nlmsg_get_payload(message);

	return (message->nlmsg_type == add || message->nlmsg_type == delete) &&
	       mnl_nlmsg_get_payload_len(message) >= header &&
	       (family[0] == AF_INET || family[0] == AF_INET6);
}

bool routing_read_route(const struct nlmsghdr *message, struct routing_route *route)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr, *to = NULL;
	struct addr via = {{0}};
	uint32_t device = 0;

	if (!is_of(message, RTM_NEWROUTE, RTM_DELROUTE, sizeof(*rtm)) ||
		(rtm->rtm_flags & RTM_F_CLONED))
		return false;
	*route = (struct routing_route){
		.type = rtm->rtm_type,
		.tos = rtm->rtm_tos,
		.protocol = rtm->rtm_protocol,
		.table = rtm->rtm_table,
	};
	mnl_attr_for_each (attr, message, sizeof(*rtm)) {
		switch (mnl_attr_get_type(attr)) {
		case RTA_TABLE:
			route->table = mnl_attr_get_u32(attr);
			break;
		case RTA_PRIORITY:
			route->metric = mnl_attr_get_u32(attr);
			break;
		case RTA_DST:
			to = attr;
			break;
		case RTA_OIF:
			device = mnl_attr_get_u32(attr);
			break;
		case RTA_GATEWAY:
			rtnetlink_addr(attr, &via);
			break;
		}
	}
	if (route->type == RTN_UNICAST) { /* the others name loopback, or nothing */
		route->device = device;
		route->via = via;
	}
	return rtnetlink_cidr(rtm->rtm_family, to, rtm->rtm_dst_len, &route->to);
}

static void copy_name(char out[16], const struct nlattr *attr)
{
	size_t size = mnl_attr_get_payload_len(attr);

	memcpy(out, mnl_attr_get_payload(attr), size < 15 ? size : 15);
}

/* What narrows a rule that has no field here.  Some kernels send such attributes with a value that
 * says "any". */
static bool narrows(const struct nlattr *attr)
{
	switch (mnl_attr_get_type(attr)) {
	case FRA_SUPPRESS_IFGROUP:
	case FRA_SUPPRESS_PREFIXLEN:
		return mnl_attr_get_u32(attr) != UINT32_MAX;
	case FRA_L3MDEV:
	case FRA_IP_PROTO:
		return mnl_attr_get_u8(attr) != 0;
	case FRA_FLOW:
	case FRA_TUN_ID:
	case FRA_UID_RANGE:
	case FRA_SPORT_RANGE:
	case FRA_DPORT_RANGE:
		return true;
	}
	return false;
}

static void read_rule_attr(struct routing_rule *rule, const struct nlattr *attr)
{
	switch (mnl_attr_get_type(attr)) {
	case FRA_PRIORITY:
		rule->priority = mnl_attr_get_u32(attr);
		break;
	case FRA_TABLE:
		rule->table = mnl_attr_get_u32(attr);
		break;
	case FRA_GOTO:
		rule->target = mnl_attr_get_u32(attr);
		break;
	case FRA_FWMARK:
		rule->mark = mnl_attr_get_u32(attr);
		break;
	case FRA_FWMASK:
		rule->mask = mnl_attr_get_u32(attr);
		break;
	case FRA_PROTOCOL:
		rule->protocol = mnl_attr_get_u8(attr);
		break;
	case FRA_IIFNAME:
		copy_name(rule->input, attr);
		break;
	case FRA_OIFNAME:
		copy_name(rule->output, attr);
		break;
	default:
		rule->narrowed = rule->narrowed || narrows(attr);
	}
}

bool routing_read_rule(const struct nlmsghdr *message, struct routing_rule *rule)
{
	const struct fib_rule_hdr *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr, *from = NULL, *to = NULL;

	if (!is_of(message, RTM_NEWRULE, RTM_DELRULE, sizeof(*header)))
		return false;
	*rule = (struct routing_rule){
		.family = header->family,
		.has_from = header->src_len > 0,
		.has_to = header->dst_len > 0,
		.inverted = (header->flags & FIB_RULE_INVERT) != 0,
		.tos = header->tos,
		.action = header->action,
		.table = header->table,
	};
	mnl_attr_for_each (attr, message, sizeof(*header)) {
		if (mnl_attr_get_type(attr) == FRA_SRC)
			from = attr;
		else if (mnl_attr_get_type(attr) == FRA_DST)
			to = attr;
		else
			read_rule_attr(rule, attr);
	}
	return rtnetlink_cidr(header->family, from, header->src_len, &rule->from) &&
	       rtnetlink_cidr(header->family, to, header->dst_len, &rule->to);
}

static void print_action(const struct routing_rule *rule, FILE *out)
{
	static const char *const actions[] = {
		[FR_ACT_NOP] = "nop",
		[FR_ACT_BLACKHOLE] = "blackhole",
		[FR_ACT_UNREACHABLE] = "unreachable",
		[FR_ACT_PROHIBIT] = "prohibit",
	};

	if (rule->action == FR_ACT_GOTO)
		fprintf(out, " goto %u", rule->target);
	else if (rule->action < COUNT_OF(actions) && actions[rule->action])
		fprintf(out, " %s", actions[rule->action]);
	else if (rule->table == RT_TABLE_MAIN)
		fputs(" lookup main", out);
	else if (rule->table == RT_TABLE_LOCAL)
		fputs(" lookup local", out);
	else
		fprintf(out, " lookup %u", rule->table);
}

const char *routing_print_rule(const struct routing_rule *rule, char out[ROUTING_TEXT])
{
	FILE *stream = fmemopen(out, ROUTING_TEXT, "w");
	char text[ADDR_TEXT + 4];

	out[0] = '\0';
	if (!stream)
		return out;
	fprintf(stream, "ip%s rule %u:%s", rule->family == AF_INET6 ? " -6" : "", rule->priority,
		rule->inverted ? " not" : "");
	if (rule->has_from)
		fprintf(stream, " from %s", cidr_print(&rule->from, text));
	if (rule->has_to)
		fprintf(stream, " to %s", cidr_print(&rule->to, text));
	if (rule->mark || rule->mask)
		fprintf(stream, " fwmark 0x%x", rule->mark);
	if (rule->mask && rule->mask != UINT32_MAX)
		fprintf(stream, "/0x%x", rule->mask);
	if (rule->input[0])
		fprintf(stream, " iif %s", rule->input);
	if (rule->output[0])
		fprintf(stream, " oif %s", rule->output);
	print_action(rule, stream);
	fclose(stream);
	return out;
}

int routing_compare_routes(const void *left, const void *right)
{
	const struct routing_route *a = left, *b = right;
	int order = cidrs_in_order(&a->to, &b->to);

	if (order)
		return order;
	if (a->metric != b->metric)
		return a->metric < b->metric ? -1 : 1;
	if (a->type != b->type)
		return a->type - b->type;
	if (a->device != b->device)
		return a->device < b->device ? -1 : 1;
	order = memcmp(&a->via, &b->via, sizeof(a->via));
	return order ? order : a->tos - b->tos;
}

static int ask(struct mnl_socket *socket, struct nlmsghdr *request, mnl_cb_t each, void *arg)
{
	int error = netlink_ask(socket, request, each, arg);

	/* ENOENT: there is no such table. */
	return error == -ENOENT || error == -EAFNOSUPPORT || error == -EOPNOTSUPP ? 0 : error;
}

int routing_ask_routes(
	struct mnl_socket *socket, uint32_t table, uint8_t protocol, mnl_cb_t each, void *arg)
{
	int on = 1, error = 0;

	mnl_socket_setsockopt(socket, NETLINK_GET_STRICT_CHK, &on, sizeof(on)); /* best effort */
	for (int i = 0; i < 2 && !error; i++) {
		_Alignas(struct nlmsghdr) char buffer[256] = {0};
		struct nlmsghdr *request = rtnetlink_request(buffer, RTM_GETROUTE, NLM_F_DUMP,
			i ? AF_INET6 : AF_INET, sizeof(struct rtmsg));
		struct rtmsg *rtm = mnl_nlmsg_get_payload(request);

		rtm->rtm_protocol = protocol;
		mnl_attr_put_u32(request, RTA_TABLE, table);
		error = ask(socket, request, each, arg);
	}
	return error;
}

int routing_ask_rules(struct mnl_socket *socket, mnl_cb_t each, void *arg)
{
	int error = 0;

	for (int i = 0; i < 2 && !error; i++) {
		_Alignas(struct nlmsghdr) char buffer[256] = {0};
		struct nlmsghdr *request = rtnetlink_request(buffer, RTM_GETRULE, NLM_F_DUMP,
			i ? AF_INET6 : AF_INET, sizeof(struct fib_rule_hdr));

		error = ask(socket, request, each, arg);
	}
	return error;
}

/* Room for one more; false without memory. */
static bool reserve(void **at, size_t n, size_t *room, size_t size)
{
	size_t wanted = *room ? 2 * *room : 64;
	void *grown;

	if (n < *room)
		return true;
	grown = reallocarray(*at, wanted, size);
	if (!grown)
		return false;
	*at = grown;
	*room = wanted;
	return true;
}

bool routing_is_in(uint32_t number, uint32_t first, uint32_t n)
{
	return number >= first && number - first < n;
}

struct loading {
	struct routing_state *state;
	const struct routing *routing; /* NULL: what is stale */
	uint32_t table, priority, n;   /* then: what is not */
};

/* A guard's rule, the one in front of it, or a way's. */
static bool has_our_form(const struct routing_rule *rule)
{
	if (rule->inverted || rule->narrowed || rule->has_to || rule->tos || rule->output[0] ||
		rule->action != FR_ACT_TO_TBL)
		return false;
	if (rule->input[0])
		return strcmp(rule->input, "lo") == 0 && rule->has_from &&
		       rule->table == RT_TABLE_MAIN && !rule->mask;
	return rule->table > RT_TABLE_LOCAL && rule->mask && rule->has_from == !rule->mark;
}

static bool is_stale_rule(const struct loading *loading, const struct routing_rule *rule)
{
	return has_our_form(rule) && !routing_is_in(loading->priority, rule->priority, loading->n);
}

static bool is_stale_route(const struct loading *loading, const struct routing_route *route)
{
	return route->table > RT_TABLE_LOCAL &&
	       !routing_is_in(route->table, loading->table, loading->n) &&
	       (route->type == RTN_THROW || route->type == RTN_UNREACHABLE ||
		       (route->type == RTN_UNICAST && route->metric == ROUTING_METRIC_WAY));
}

static int out_of_memory(void)
{
	errno = ENOMEM;
	return MNL_CB_ERROR;
}

static int on_route(const struct nlmsghdr *message, void *arg)
{
	struct loading *loading = arg;
	struct routing_state *state = loading->state;
	struct routing_route route;

	if (!routing_read_route(message, &route) || route.protocol != RTNETLINK_PROTOCOL ||
		!(loading->routing ? route.table == loading->routing->table
				   : is_stale_route(loading, &route)))
		return MNL_CB_OK;
	if (!reserve((void **)&state->routes, state->n_routes, &state->routes_room, sizeof(route)))
		return out_of_memory();
	state->routes[state->n_routes++] = route;
	return MNL_CB_OK;
}

/* A guard has the place in front of its own, too. */
static bool is_about(const struct routing *routing, const struct routing_rule *rule)
{
	return rule->table == routing->table || rule->priority == routing->priority ||
	       (!routing->mark && rule->priority + 1 == routing->priority);
}

static int on_rule(const struct nlmsghdr *message, void *arg)
{
	struct loading *loading = arg;
	struct routing_state *state = loading->state;
	struct routing_rule rule;

	if (!routing_read_rule(message, &rule) || rule.protocol != RTNETLINK_PROTOCOL ||
		!(loading->routing ? is_about(loading->routing, &rule)
				   : is_stale_rule(loading, &rule)))
		return MNL_CB_OK;
	if (!reserve((void **)&state->rules, state->n_rules, &state->rules_room, sizeof(rule)))
		return out_of_memory();
	rule.message = malloc(message->nlmsg_len);
	if (!rule.message)
		return out_of_memory();
	memcpy(rule.message, message, message->nlmsg_len);
	state->rules[state->n_rules++] = rule;
	return MNL_CB_OK;
}

/* A table that changes while it is dumped may show a route twice. */
static void sort_routes(struct routing_state *state)
{
	struct routing_route *routes = state->routes;
	size_t kept = 0;

	if (state->n_routes)
		qsort(routes, state->n_routes, sizeof(*routes), routing_compare_routes);
	for (size_t i = 0; i < state->n_routes; i++)
		if (kept == 0 || routing_compare_routes(&routes[kept - 1], &routes[i]) != 0)
			routes[kept++] = routes[i];
	state->n_routes = kept;
}

/* `table`: 0: all. */
static int load(struct loading *loading, struct mnl_socket *socket, uint32_t table, struct error *e)
{
	int error;

	*loading->state = (struct routing_state){0};
	error = routing_ask_rules(socket, on_rule, loading);
	if (!error)
		error = routing_ask_routes(socket, table, RTNETLINK_PROTOCOL, on_route, loading);
	return error ? error_set(e, error, "reading rules and routes: %s", strerror(-error)) : 0;
}

int routing_state_load(struct routing_state *state, struct mnl_socket *socket,
	const struct routing *routing, struct error *e)
{
	struct loading loading = {.state = state, .routing = routing};
	int error = load(&loading, socket, routing->table, e);

	sort_routes(state);
	return error;
}

int routing_state_load_stale(struct routing_state *state, struct mnl_socket *socket, uint32_t table,
	uint32_t priority, uint32_t n, struct error *e)
{
	struct loading loading = {.state = state, .table = table, .priority = priority, .n = n};

	return load(&loading, socket, 0, e);
}

void routing_state_fini(struct routing_state *state)
{
	for (size_t i = 0; i < state->n_rules; i++)
		free(state->rules[i].message);
	free(state->rules);
	free(state->routes);
	*state = (struct routing_state){0};
}
