/*
 * routing_state.h - the kernel's rules and routes, to be held against a struct routing.
 */
#pragma once

#include "nat/netlink.h"
#include "nat/routing.h"

#define ROUTING_TEXT 256

struct routing_route {
	struct cidr to;
	uint8_t type, tos, protocol;
	uint32_t table, metric;
	uint32_t device; /* index; of a unicast route, as all below */
	struct addr via;
};

struct routing_rule {
	uint8_t family;
	bool has_from, has_to;
	struct cidr from, to;
	bool inverted; /* "not" */
	bool narrowed; /* by more than the fields here */
	uint8_t tos, action, protocol;
	uint32_t priority, table, target, mark, mask;
	char input[16], output[16]; /* devices; "": any */
	bool wanted;                /* the caller's */
	struct nlmsghdr *message;   /* NULL, or a copy of the kernel's */
};

/* False when the message is of another type or family. */
bool routing_read_route(const struct nlmsghdr *message, struct routing_route *route);
bool routing_read_rule(const struct nlmsghdr *message, struct routing_rule *rule);

/* "ip rule 5210: from 10.0.0.0/8 fwmark 0x80000/0xff0000 lookup 52".  Returns `out`. */
const char *routing_print_rule(const struct routing_rule *rule, char out[ROUTING_TEXT]);

/* In the order of networks; then by what else the kernel tells routes apart. */
int routing_compare_routes(const void *left, const void *right);

#define ROUTING_METRIC_WAY 100

/* `n` numbers from `first` on. */
bool routing_is_in(uint32_t number, uint32_t first, uint32_t n);

/* What is ours in the table or of the priority. */
struct routing_state {
	struct routing_route *routes; /* sorted, no two alike */
	size_t n_routes, routes_room;
	struct routing_rule *rules; /* with their messages */
	size_t n_rules, rules_room;
};

/* 0, -EINTR when the dump was torn, -errno with `e` set.  routing_state_fini() in every case. */
int routing_state_load(struct routing_state *state, struct mnl_socket *socket,
	const struct routing *routing, struct error *e) WARN_UNUSED;
/* What looks as if it were ours but for these numbers (routing_remove_stale()); the routes are not
 * sorted. */
int routing_state_load_stale(struct routing_state *state, struct mnl_socket *socket, uint32_t table,
	uint32_t priority, uint32_t n, struct error *e) WARN_UNUSED;
void routing_state_fini(struct routing_state *state);

/* Every route of the table, and of one protocol unless that is 0; every rule.  As netlink_ask(),
 * and a family that this kernel does not have has none. */
int routing_ask_routes(struct mnl_socket *socket, uint32_t table, uint8_t protocol, mnl_cb_t each,
	void *arg) WARN_UNUSED;
int routing_ask_rules(struct mnl_socket *socket, mnl_cb_t each, void *arg) WARN_UNUSED;
