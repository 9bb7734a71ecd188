/*
 * routing.c - a routing table of ours, and the rules that lead to it.
 *
 * What is asked for becomes a sorted list of routes, and so does what the kernel has; one walk
 * over both finds the differences.  They are sent in the order in which nothing is ever open that
 * should be shut: new routes, new rules, old rules, old routes.
 *
 * The kernel tells two IPv6 routes to one network apart by their metric only, so each type has a
 * metric of its own, and a network can change its type without a moment in which it has none.  The
 * metrics are below those that other programs use.  IPv4 routes have none: ours goes before
 * another's to the same network (no NLM_F_EXCL, no NLM_F_APPEND: "ip route prepend").
 */
#include "nat/routing.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "acl/cidrs.h"
#include "nat/requests.h"
#include "nat/routing_state.h"
#include "nat/rtnetlink.h"

#define METRIC6_THROW 1
#define METRIC6_UNREACHABLE 2
#define METRIC_NO_WAY 4000000

/* The routes that are asked for: sorted, and none that changes nothing. */
struct wanted {
	struct routing_route *routes;
	size_t n;
};

static bool has_pods_of(const struct routing *routing, bool v4)
{
	for (size_t i = 0; i < routing->n_pods; i++)
		if (cidr_is_v4(&routing->pods[i]) == v4)
			return true;
	return false;
}

static void add_routes(struct wanted *wanted, const struct routing *routing,
	const struct cidr *nets, size_t n, uint8_t type)
{
	uint32_t metric6 = type == RTN_THROW ? METRIC6_THROW : METRIC6_UNREACHABLE;
	bool has[2] = {has_pods_of(routing, false), has_pods_of(routing, true)};

	for (size_t i = 0; i < n; i++) {
		bool v4 = cidr_is_v4(&nets[i]);

		if (has[v4])
			wanted->routes[wanted->n++] = (struct routing_route){
				.to = nets[i],
				.type = type,
				.table = routing->table,
				.protocol = RTNETLINK_PROTOCOL,
				.metric = v4 ? 0 : metric6,
			};
	}
}

/* By network; of two to the same, the one that passes comes first. */
static int passes_first(const void *left, const void *right)
{
	const struct routing_route *a = left, *b = right;
	int order = cidrs_in_order(&a->to, &b->to);

	return order ? order : (b->type == RTN_THROW) - (a->type == RTN_THROW);
}

static bool holds(const struct routing_route *outer, const struct routing_route *inner)
{
	return outer && cidr_contains(&outer->to, &inner->to.addr);
}

/* A wider network stands before those in it: what a pass network holds is dropped, and so is what
 * has the type of the network around it. */
static void prune(struct wanted *wanted)
{
	const struct routing_route *pass = NULL, *refuse = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < wanted->n; i++) {
		struct routing_route *route = &wanted->routes[kept];

		*route = wanted->routes[i];
		if (holds(pass, route) || (route->type != RTN_THROW && holds(refuse, route)))
			continue;
		if (route->type == RTN_THROW)
			pass = route;
		else
			refuse = route;
		kept++;
	}
	wanted->n = kept;
}

/* What stays when the device goes is the unreachable one. */
static void add_way(struct wanted *wanted, const struct routing *routing, const struct cidr *all)
{
	const struct routing_way *way = &routing->ways[!cidr_is_v4(all)];
	struct routing_route route = {
		.to = *all,
		.type = RTN_UNICAST,
		.table = routing->table,
		.protocol = RTNETLINK_PROTOCOL,
		.metric = ROUTING_METRIC_WAY,
		.device = if_nametoindex(way->device),
		.via = way->via,
	};

	if (route.device)
		wanted->routes[wanted->n++] = route;
	route.type = RTN_UNREACHABLE;
	route.metric = METRIC_NO_WAY;
	route.device = 0;
	route.via = (struct addr){{0}};
	wanted->routes[wanted->n++] = route;
}

static bool wanted_make(struct wanted *wanted, const struct routing *routing)
{
	*wanted = (struct wanted){
		.routes = calloc(routing->n_pass + routing->n_refuse + 2 * routing->n_pods + 1,
			sizeof(*wanted->routes)),
	};
	if (!wanted->routes)
		return false;
	add_routes(wanted, routing, routing->pass, routing->n_pass, RTN_THROW);
	add_routes(wanted, routing, routing->refuse, routing->n_refuse, RTN_UNREACHABLE);
	qsort(wanted->routes, wanted->n, sizeof(*wanted->routes), passes_first);
	prune(wanted);
	for (size_t i = 0; routing->mark && i < routing->n_pods; i++)
		add_way(wanted, routing, &routing->pods[i]);
	qsort(wanted->routes, wanted->n, sizeof(*wanted->routes), routing_compare_routes);
	return true;
}

static const char *type_name(uint8_t type)
{
	return type == RTN_THROW         ? "throw"
	       : type == RTN_UNREACHABLE ? "unreachable"
	       : type == RTN_UNICAST     ? "unicast"
					 : "another";
}

static const char *describe(const struct nlmsghdr *message, char out[REQUESTS_TEXT])
{
	char text[ROUTING_TEXT];
	struct routing_route route;
	struct routing_rule rule;

	if (routing_read_rule(message, &rule))
		snprintf(out, REQUESTS_TEXT, "%s", routing_print_rule(&rule, text));
	else if (routing_read_route(message, &route))
		snprintf(out, REQUESTS_TEXT, "ip route %s %s table %u", type_name(route.type),
			cidr_print(&route.to, text), route.table);
	else
		snprintf(out, REQUESTS_TEXT, "a message of type %u", message->nlmsg_type);
	return out;
}

static void put_route(struct requests *to, uint16_t type, const struct routing_route *route)
{
	bool add = type == RTM_NEWROUTE;
	struct nlmsghdr *message = requests_open(to, type, add ? NLM_F_CREATE : 0,
		cidr_is_v4(&route->to) ? AF_INET : AF_INET6, sizeof(struct rtmsg));
	struct rtmsg *rtm;

	if (!message)
		return;
	rtm = mnl_nlmsg_get_payload(message);
	rtm->rtm_dst_len = rtnetlink_prefix_length(&route->to);
	rtm->rtm_tos = route->tos;
	rtm->rtm_protocol = RTNETLINK_PROTOCOL;
	rtm->rtm_scope = add ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE; /* any */
	rtm->rtm_type = route->type;
	mnl_attr_put_u32(message, RTA_TABLE, route->table);
	if (rtm->rtm_dst_len)
		rtnetlink_put_addr(message, RTA_DST, &route->to.addr);
	if (route->metric)
		mnl_attr_put_u32(message, RTA_PRIORITY, route->metric);
	if (route->device) {
		rtm->rtm_flags = RTNH_F_ONLINK;
		mnl_attr_put_u32(message, RTA_OIF, route->device);
		rtnetlink_put_addr(message, RTA_GATEWAY, &route->via);
	}
	requests_close(to, message);
}

/* What `a` has and `b` has not, both sorted: how many; sent as RTM_`type`, unless `to` is NULL. */
static size_t differ_routes(const struct routing_route *a, size_t n_a,
	const struct routing_route *b, size_t n_b, struct requests *to, uint16_t type)
{
	size_t n = 0, j = 0;

	for (size_t i = 0; i < n_a; i++) {
		while (j < n_b && routing_compare_routes(&b[j], &a[i]) < 0)
			j++;
		if (j < n_b && routing_compare_routes(&b[j], &a[i]) == 0)
			continue;
		n++;
		if (to)
			put_route(to, type, &a[i]);
	}
	return n;
}

/* What there is a rule for: a network of pods, and in a guard the node's own address there. */
struct wanted_rule {
	struct cidr from;
	bool local; /* what the node itself sends: to the main table */
};

static size_t count_rules(const struct routing *routing)
{
	return routing->mark ? routing->n_pods : 2 * routing->n_pods;
}

static struct wanted_rule wanted_rule(const struct routing *routing, size_t i)
{
	return (struct wanted_rule){
		routing->pods[i % routing->n_pods], !routing->mark && i < routing->n_pods};
}

static uint32_t priority_of(const struct routing *routing, const struct wanted_rule *rule)
{
	return routing->priority - rule->local;
}

static void put_new_rule(
	struct requests *to, const struct routing *routing, const struct wanted_rule *rule)
{
	const struct cidr *pods = &rule->from;
	struct nlmsghdr *message = requests_open(to, RTM_NEWRULE, NLM_F_CREATE,
		cidr_is_v4(pods) ? AF_INET : AF_INET6, sizeof(struct fib_rule_hdr));
	struct fib_rule_hdr *header;

	if (!message)
		return;
	header = mnl_nlmsg_get_payload(message);
	header->src_len = rtnetlink_prefix_length(pods);
	header->action = FR_ACT_TO_TBL;
	if (header->src_len)
		rtnetlink_put_addr(message, FRA_SRC, &pods->addr);
	mnl_attr_put_u32(message, FRA_PRIORITY, priority_of(routing, rule));
	if (rule->local) {
		mnl_attr_put_strz(message, FRA_IIFNAME, "lo");
	} else {
		mnl_attr_put_u32(message, FRA_FWMARK, routing->mark);
		mnl_attr_put_u32(message, FRA_FWMASK, routing->mark_mask);
	}
	mnl_attr_put_u32(message, FRA_TABLE, rule->local ? RT_TABLE_MAIN : routing->table);
	mnl_attr_put_u8(message, FRA_PROTOCOL, RTNETLINK_PROTOCOL);
	requests_close(to, message);
}

/* As the kernel described it, so that it finds just this one. */
static void put_old_rule(struct requests *to, const struct nlmsghdr *found)
{
	const size_t header = sizeof(struct fib_rule_hdr);
	size_t size = mnl_nlmsg_get_payload_len(found);
	const uint8_t *payload = mnl_nlmsg_get_payload(found);
	struct nlmsghdr *message;

	if (size > REQUESTS_MESSAGE - MNL_NLMSG_HDRLEN)
		return;
	message = requests_open(to, RTM_DELRULE, 0, payload[0], header);
	if (!message)
		return;
	memcpy(mnl_nlmsg_get_payload(message), payload, size);
	message->nlmsg_len = (uint32_t)(MNL_NLMSG_HDRLEN + size);
	requests_close(to, message);
}

static bool is_rule_for(
	const struct routing_rule *rule, const struct routing *r, const struct wanted_rule *wanted)
{
	bool local = wanted->local;

	return !rule->inverted && !rule->narrowed && !rule->has_to && rule->tos == 0 &&
	       strcmp(rule->input, local ? "lo" : "") == 0 && rule->output[0] == '\0' &&
	       rule->action == FR_ACT_TO_TBL && rule->table == (local ? RT_TABLE_MAIN : r->table) &&
	       rule->priority == priority_of(r, wanted) && rule->mark == (local ? 0 : r->mark) &&
	       rule->mask == (local ? 0 : r->mark_mask) &&
	       cidrs_in_order(&rule->from, &wanted->from) == 0;
}

/* Rules that are asked for and not there.  Those that are there are marked. */
static size_t add_rules(
	const struct routing *routing, struct routing_state *state, struct requests *to)
{
	size_t n = 0;

	for (size_t i = 0; i < count_rules(routing); i++) {
		struct wanted_rule rule = wanted_rule(routing, i);
		size_t j = 0;

		while (j < state->n_rules && !is_rule_for(&state->rules[j], routing, &rule))
			j++;
		if (j < state->n_rules) {
			state->rules[j].wanted = true;
			continue;
		}
		n++;
		if (to)
			put_new_rule(to, routing, &rule);
	}
	return n;
}

/* Rules that are not marked: nobody asks for them, or they are there twice. */
static size_t delete_rules(const struct routing_state *state, struct requests *to)
{
	size_t n = 0;

	for (size_t i = 0; i < state->n_rules; i++) {
		if (state->rules[i].wanted)
			continue;
		n++;
		if (to)
			put_old_rule(to, state->rules[i].message);
	}
	return n;
}

/* The number of differences.  They are sent, unless `to` is NULL; nothing is deleted before all
 * that is missing has been added. */
static size_t differ(const struct routing *routing, const struct wanted *wanted,
	struct routing_state *state, struct requests *to)
{
	size_t n;

	n = differ_routes(
		wanted->routes, wanted->n, state->routes, state->n_routes, to, RTM_NEWROUTE);
	n += add_rules(routing, state, to);
	if (to && requests_flush(to))
		return n;
	n += delete_rules(state, to);
	n += differ_routes(
		state->routes, state->n_routes, wanted->routes, wanted->n, to, RTM_DELROUTE);
	return n;
}

/* The number of differences, or -errno.  They are sent unless `done` is NULL, to which the number
 * of changes is added that the kernel made. */
static int compare(const struct routing *routing, size_t *done, struct error *e)
{
	struct mnl_socket *socket;
	struct routing_state state = {0};
	struct requests requests = {0};
	struct wanted wanted = {0};
	int result = netlink_open(NETLINK_ROUTE, &socket, e);
	size_t n;

	if (result)
		return result;
	result = routing_state_load(&state, socket, routing, e);
	if (!result && !wanted_make(&wanted, routing))
		result = error_set(e, -ENOMEM, "routing: out of memory");
	if (result)
		goto out;
	if (done)
		requests_init(&requests, socket, describe, e);
	n = differ(routing, &wanted, &state, done ? &requests : NULL);
	result = done ? requests_flush(&requests) : 0;
	if (!result)
		result = (int)n;
	if (done)
		*done += requests.done;
out:
	requests_fini(&requests);
	free(wanted.routes);
	routing_state_fini(&state);
	mnl_socket_close(socket);
	return result;
}

/* A dump was torn, or answers are lost. */
static bool is_worth_repeating(int error)
{
	return error == -EINTR || error == -ENOBUFS;
}

/* What was sent is compared again: the kernel takes some rules for the same that are not (one with
 * "not", say), so that which of two was deleted only shows then. */
int routing_apply(const struct routing *routing, struct error *e)
{
	size_t done = 0;
	int result = 0;

	for (int i = 0; i < RTNETLINK_ATTEMPTS; i++) {
		result = compare(routing, &done, e);
		if (result == 0)
			return (int)done;
		if (result < 0 && !is_worth_repeating(result))
			return result;
	}
	return result < 0 ? result
			  : error_set(e, -EBUSY,
				    "the routing guard: somebody else has or changes rules of "
				    "priority %u or routes of table %u",
				    routing->priority, routing->table);
}

int routing_matches(const struct routing *routing, struct error *e)
{
	int result = -EINTR;

	for (int i = 0; i < RTNETLINK_ATTEMPTS && is_worth_repeating(result); i++)
		result = compare(routing, NULL, e);
	return result < 0 ? result : result == 0;
}

int routing_remove(const struct routing *routing, struct error *e)
{
	const struct routing nothing = {
		.table = routing->table, .priority = routing->priority, .mark = routing->mark};

	return routing_apply(&nothing, e);
}

/* Rules first.  The number of changes, 0 when there is nothing that is stale, or -errno. */
static int remove_stale_once(
	uint32_t table, uint32_t priority, uint32_t n, size_t *done, struct error *e)
{
	struct mnl_socket *socket;
	struct routing_state state = {0};
	struct requests requests = {0};
	int result = netlink_open(NETLINK_ROUTE, &socket, e);

	if (result)
		return result;
	result = routing_state_load_stale(&state, socket, table, priority, n, e);
	if (!result) {
		requests_init(&requests, socket, describe, e);
		delete_rules(&state, &requests);
		differ_routes(state.routes, state.n_routes, NULL, 0, &requests, RTM_DELROUTE);
		result = requests_flush(&requests);
		*done += requests.done;
		if (!result)
			result = (int)(state.n_rules + state.n_routes);
	}
	requests_fini(&requests);
	routing_state_fini(&state);
	mnl_socket_close(socket);
	return result;
}

int routing_remove_stale(uint32_t table, uint32_t priority, uint32_t n, struct error *e)
{
	size_t done = 0;
	int result = 0;

	for (int i = 0; i < RTNETLINK_ATTEMPTS; i++) {
		result = remove_stale_once(table, priority, n, &done, e);
		if (result == 0 || (result < 0 && !is_worth_repeating(result)))
			break;
	}
	return result < 0 ? result : (int)done;
}

static void print_route(const struct routing_route *route, FILE *out)
{
	char text[ADDR_TEXT + 4], device[IF_NAMESIZE] = "";

	fprintf(out, "ip%s route add %s %s", cidr_is_v4(&route->to) ? "" : " -6",
		type_name(route->type), cidr_print(&route->to, text));
	if (route->device && if_indextoname(route->device, device))
		fprintf(out, " via %s dev %s onlink", addr_print(&route->via, text), device);
	if (route->metric)
		fprintf(out, " metric %u", route->metric);
	fprintf(out, " table %u protocol %u\n", route->table, RTNETLINK_PROTOCOL);
}

static void print_rule(const struct routing *routing, const struct wanted_rule *rule, FILE *out)
{
	char text[ADDR_TEXT + 4];

	fprintf(out, "ip%s rule add pref %u", cidr_is_v4(&rule->from) ? "" : " -6",
		priority_of(routing, rule));
	if (rtnetlink_prefix_length(&rule->from) > 0)
		fprintf(out, " from %s", cidr_print(&rule->from, text));
	if (rule->local) {
		fprintf(out, " iif lo lookup main protocol %u\n", RTNETLINK_PROTOCOL);
		return;
	}
	fprintf(out, routing->mark ? " fwmark 0x%x" : " fwmark %x", routing->mark);
	fprintf(out, "/0x%x lookup %u protocol %u\n", routing->mark_mask, routing->table,
		RTNETLINK_PROTOCOL);
}

void routing_print(const struct routing *routing, FILE *out)
{
	struct wanted wanted;

	if (!wanted_make(&wanted, routing)) {
		fputs("# no memory for the routing\n", out);
		return;
	}
	for (size_t i = 0; i < wanted.n; i++)
		print_route(&wanted.routes[i], out);
	for (size_t i = 0; i < count_rules(routing); i++) {
		struct wanted_rule rule = wanted_rule(routing, i);

		print_rule(routing, &rule, out);
	}
	free(wanted.routes);
}
