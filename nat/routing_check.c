/*
 * routing_check.c - who else uses the table, the priority or the mark bits of the routing guard.
 */
#include <errno.h>
#include <linux/fib_rules.h>
#include <stdlib.h>
#include <string.h>

#include "nat/routing_state.h"
#include "nat/rtnetlink.h"

struct check {
	const struct routing *routing;
	struct error *e;
	int error; /* -EADDRINUSE: somebody is there */
};

static void in_use(struct check *check, const char *key, uint32_t value, bool hex, const char *by,
	uint8_t protocol)
{
	char name[4], number[16];

	if (check->error)
		return; /* the first is enough */
	snprintf(number, sizeof(number), hex ? "0x%08x" : "%u", value);
	check->error =
		error_set(check->e, -EADDRINUSE, "[nat] %s = %s: is in use: %s by protocol %s", key,
			number, by, rtnetlink_protocol_name(protocol, name));
}

static int on_route(const struct nlmsghdr *message, void *arg)
{
	struct check *check = arg;
	struct routing_route route;
	char text[ADDR_TEXT + 4];

	if (routing_read_route(message, &route) && route.table == check->routing->table &&
		route.protocol != RTNETLINK_PROTOCOL)
		in_use(check, "route-table", check->routing->table, false,
			cidr_print(&route.to, text), route.protocol);
	return MNL_CB_OK;
}

/* A rule for one whole mark is not concerned with ours unless it wants one of our bits. */
static bool looks_at(const struct routing_rule *rule, uint32_t bits)
{
	return (rule->mask == UINT32_MAX ? rule->mark : rule->mask) & bits;
}

static int on_rule(const struct nlmsghdr *message, void *arg)
{
	struct check *check = arg;
	const struct routing *routing = check->routing;
	struct routing_rule rule;
	char text[ROUTING_TEXT];

	if (!routing_read_rule(message, &rule) || rule.protocol == RTNETLINK_PROTOCOL)
		return MNL_CB_OK;
	routing_print_rule(&rule, text);
	if (rule.priority == routing->priority)
		in_use(check, "rule-priority", rule.priority, false, text, rule.protocol);
	else if (rule.action == FR_ACT_TO_TBL && rule.table == routing->table)
		in_use(check, "route-table", rule.table, false, text, rule.protocol);
	else if (looks_at(&rule, routing->mark_mask))
		in_use(check, "mark-mask", routing->mark_mask, true, text, rule.protocol);
	return MNL_CB_OK;
}

static int check_once(struct check *check)
{
	struct mnl_socket *socket;
	int error = netlink_open(NETLINK_ROUTE, &socket, check->e);

	if (error)
		return error;
	check->error = 0;
	error = routing_ask_routes(socket, check->routing->table, 0, on_route, check);
	if (!error && !check->error)
		error = routing_ask_rules(socket, on_rule, check);
	mnl_socket_close(socket);
	if (error)
		error_set(check->e, error, "reading rules and routes: %s", strerror(-error));
	return error;
}

int routing_check_free(const struct routing *routing, struct error *e)
{
	struct check check = {.routing = routing, .e = e};
	int error = -EINTR;

	for (int i = 0; i < RTNETLINK_ATTEMPTS && error == -EINTR; i++)
		error = check_once(&check);
	return error ? error : check.error;
}
