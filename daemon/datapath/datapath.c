/*
 * datapath.c - everything that an edition asks of the kernel.
 *
 *     egress addresses (the gateway's, partners') × addresses of the node → which are here
 *     policy + which are here + learnt addresses → plan
 *     pods + excluded networks + reach of default-egress → routing guard
 */
#include "daemon/datapath/datapath.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "nat/backstop.h"
#include "nat/facts.h"

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct addr));
}

/* All egress addresses, sorted, each once.  NULL without memory. */
static struct addr *egress_addresses(const struct datapath_ask *ask, size_t *n)
{
	size_t room = ask->n_egress + 1, kept = 0;
	struct addr *all;

	for (size_t i = 0; i < policy_n_sections(ask->policy); i++)
		room += policy_section(ask->policy, i)->n_egress;
	all = calloc(room, sizeof(*all));
	*n = 0;
	if (!all)
		return NULL;
	for (size_t i = 0; i < ask->n_egress; i++)
		all[(*n)++] = ask->egress[i];
	for (size_t i = 0; i < policy_n_sections(ask->policy); i++) {
		const struct section *s = policy_section(ask->policy, i);

		for (size_t j = 0; j < s->n_egress; j++)
			all[(*n)++] = s->egress[j];
	}
	qsort(all, *n, sizeof(*all), by_bytes);
	for (size_t i = 0; i < *n; i++)
		if (i == 0 || !addr_equal(&all[i], &all[kept - 1]))
			all[kept++] = all[i];
	*n = kept;
	return all;
}

/* Released, or one of several gateways has not heard the others out about it. */
static bool is_held_back(const struct datapath_ask *ask, const struct addr *addr)
{
	return ask->released &&
	       (released_has(ask->released, addr) ||
		       (ask->config->gateways.n > 1 && released_waits(ask->released, addr)));
}

/* With egress-ip = auto the gateway's. */
static bool is_the_nodes(const struct datapath_ask *ask, const struct addr *addr)
{
	for (size_t i = 0; i < ask->n_egress && ask->config->egress_ip.n == 0; i++)
		if (addr_equal(&ask->egress[i], addr))
			return true;
	return false;
}

static int find_managed(struct datapath *d, const struct datapath_ask *ask, struct error *e)
{
	struct nat_facts facts;
	int error;

	if (!ask->config->manage_address || ask->running->role == ROLE_AGENT)
		return 0;
	error = nat_facts(&facts, ask->config->egress_interface, e);
	if (error)
		return error;
	if (!facts.device[0])
		return error_set(e, -ENODEV,
			"manage-address = yes: there is no default route: want egress-interface");
	memcpy(d->device, facts.device, sizeof(d->device));
	d->manageable = calloc(d->n_wanted + 1, sizeof(*d->manageable));
	d->managed = calloc(d->n_wanted + 1, sizeof(*d->managed));
	if (!d->manageable || !d->managed)
		return error_set(e, -ENOMEM, "no memory for egress addresses");
	for (size_t i = 0; i < d->n_wanted; i++) {
		const struct addr *addr = &d->wanted[i];

		if (is_the_nodes(ask, addr))
			continue;
		d->manageable[d->n_manageable++] = *addr;
		if (!is_held_back(ask, addr))
			d->managed[d->n_managed++] = *addr;
	}
	return 0;
}

static bool is_managed(const struct datapath *d, const struct addr *addr)
{
	return d->n_managed > 0 && bsearch(addr, d->managed, d->n_managed, sizeof(*addr), by_bytes);
}

static bool has_device(const struct datapath *d, const char *name)
{
	for (size_t i = 0; i < d->n_pod_devices; i++)
		if (strcmp(d->pod_devices[i], name) == 0)
			return true;
	return false;
}

/* The bridge of this node's pods, the tunnel to other nodes' pods: their address is a pod
 * network's.
 */
static void find_pod_devices(
	struct datapath *d, const struct cidr_list *pods, const struct address_list *list)
{
	char name[IF_NAMESIZE];

	for (size_t i = 0; i < list->n; i++)
		for (size_t j = 0; j < pods->n && d->n_pod_devices < DATAPATH_DEVICES; j++)
			if (cidr_contains(&pods->at[j], &list->at[i].addr) &&
				if_indextoname(list->at[i].device, name) && !has_device(d, name))
				memcpy(d->pod_devices[d->n_pod_devices++], name, sizeof(name));
}

/* By name: while the list is edited, who knows of owners still has the one before. */
static int gateway_named(const struct gateway_list *gateways, const char *name)
{
	for (size_t i = 0; name && i < gateways->n; i++)
		if (strcmp(gateways->at[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int find_owners(struct datapath *d, const struct datapath_ask *ask, struct error *e)
{
	d->owners = calloc(d->n_wanted + 1, sizeof(*d->owners));
	if (!d->owners)
		return error_set(e, -ENOMEM, "no memory for the owners of egress addresses");
	for (size_t i = 0; i < d->n_wanted && ask->owner_of; i++) {
		int gateway = gateway_named(
			&ask->config->gateways, ask->owner_of(ask->arg, &d->wanted[i]));

		if (gateway >= 0)
			d->owners[d->n_owners++] =
				(struct plan_owner){d->wanted[i], (unsigned)gateway};
	}
	return 0;
}

static int find_addresses(struct datapath *d, const struct datapath_ask *ask, struct error *e)
{
	struct address_list list = {0};
	int error = address_list_load(&list, e);

	d->addresses = calloc(d->n_wanted + 1, sizeof(*d->addresses));
	d->absent = calloc(d->n_wanted + 1, sizeof(*d->absent));
	if (!error && (!d->addresses || !d->absent))
		error = error_set(e, -ENOMEM, "no memory for egress addresses");
	for (size_t i = 0; i < d->n_wanted && !error; i++) {
		const struct addr *addr = &d->wanted[i];
		bool present = address_is_present(&list, addr);

		/* What egretd adds is for egress alone; what was there may be the node's own. */
		if (present || is_managed(d, addr))
			d->addresses[d->n_addresses++] = (struct plan_address){
				*addr, !present || address_is_dedicated(&list, addr)};
		else
			d->absent[d->n_absent++] = *addr;
	}
	if (!error) {
		find_pod_devices(d, &ask->config->pod_cidr, &list);
		error = find_owners(d, ask, e);
	}
	if (!error)
		error = ways_find(
			&d->ways, ask->config, ask->running, &list, d->owners, d->n_owners, e);
	address_list_fini(&list);
	return error;
}

static int find_facts(struct datapath *d, const struct datapath_ask *ask, struct error *e)
{
	int error;

	d->wanted = egress_addresses(ask, &d->n_wanted);
	if (!d->wanted)
		return error_set(e, -ENOMEM, "no memory for egress addresses");
	error = find_managed(d, ask, e);
	return error ? error : find_addresses(d, ask, e);
}

static void free_facts(struct datapath *d)
{
	free(d->wanted);
	free(d->manageable);
	free(d->managed);
	free(d->addresses);
	free(d->absent);
	free(d->owners);
}

/* ---- learnt addresses ---- */

static void on_learnt(
	void *arg, const struct section *section, const char *host, const struct addr *addr)
{
	struct datapath *d = arg;

	d->learnt[d->n_learnt] = (struct plan_learnt){section->index, *addr};
	d->learnt_hosts[d->n_learnt++] = host;
}

static void count_learnt(
	void *arg, const struct section *section, const char *host, const struct addr *addr)
{
	(void)section;
	(void)host;
	(void)addr;
	++*(size_t *)arg;
}

static int list_learnt(struct datapath *d, const struct datapath_ask *ask, struct error *e)
{
	size_t room = 0;

	if (ask->learnt)
		learnt_each(ask->learnt, d->policy, count_learnt, &room);
	d->learnt = calloc(room + 1, sizeof(*d->learnt));
	d->learnt_hosts = calloc(room + 1, sizeof(*d->learnt_hosts));
	if (!d->learnt || !d->learnt_hosts)
		return error_set(e, -ENOMEM, "no memory for addresses of names");
	if (ask->learnt)
		learnt_each(ask->learnt, d->policy, on_learnt, d);
	return 0;
}

/* ---- plan and guard ---- */

static enum plan_fallback fallback_of(const struct config *config)
{
	static const enum plan_fallback fallbacks[] = {
		[DEFAULT_EGRESS_GATEWAY] = PLAN_GATEWAY,
		[DEFAULT_EGRESS_LOCAL] = PLAN_LOCAL,
		[DEFAULT_EGRESS_DENY] = PLAN_DENY,
	};

	return fallbacks[config->default_egress];
}

static bool keeps_flows(const struct datapath_ask *ask)
{
	return ask->config->flow_sync && ask->running->role == ROLE_GATEWAY;
}

/* Agents have no proxy: what they capture goes to a gateway. */
static uint16_t capture_port(const struct config *running)
{
	bool here = running->role != ROLE_AGENT && running->capture_listen.n > 0;

	return here ? running->capture_listen.at[0].port : 0;
}

static int make_plan(struct datapath *d, const struct datapath_ask *ask, struct error *e)
{
	const struct config *config = ask->config, *running = ask->running;
	const char *devices[DATAPATH_DEVICES];
	const struct plan_facts facts = {
		.table = running->nat_table,
		.pods = config->pod_cidr.at,
		.n_pods = config->pod_cidr.n,
		.exclude = config->exclude_cidr.at,
		.n_exclude = config->exclude_cidr.n,
		.egress = ask->egress,
		.n_egress = ask->n_egress,
		.spread = config->spread,
		.fallback = fallback_of(config),
		.devices = devices,
		.n_devices = d->n_pod_devices,
		.gateways = d->ways.gateways,
		.n_gateways = d->ways.n_gateways,
		.owners = d->owners,
		.n_owners = d->n_owners,
		.flow_sync = keeps_flows(ask),
		.addresses = d->addresses,
		.n_addresses = d->n_addresses,
		.absent = d->absent,
		.n_absent = d->n_absent,
		.learnt = d->learnt,
		.n_learnt = d->n_learnt,
		.inbound = config->inbound_ports.at,
		.n_inbound = config->inbound_ports.n,
		.mark_mask = running->mark_mask,
		.ct_mark_mask = running->ct_mark_mask,
		.capture_port = capture_port(running),
		.capture_priority = running->capture_priority,
		.prerouting_priority = running->prerouting_priority,
		.forward_priority = running->forward_priority,
		.translate_priority = running->translate_priority,
		.guard_priority = running->guard_priority,
	};

	for (size_t i = 0; i < d->n_pod_devices; i++)
		devices[i] = d->pod_devices[i];
	d->plan = plan_new(ask->policy, &facts);
	d->backstop = backstop_plan(&facts);
	return d->plan && d->backstop ? 0 : error_set(e, -ENOMEM, "no memory for the NAT plan");
}

static int make_guard(struct datapath *d, const struct datapath_ask *ask, struct error *e)
{
	struct cidr *named = calloc(d->n_learnt + 1, sizeof(*named));
	struct guard_ask guard = {
		.reach = ask->config->default_egress == DEFAULT_EGRESS_LOCAL ? GUARD_NAMED
									     : GUARD_ALL,
		.policy = ask->policy,
		.pods = &ask->config->pod_cidr,
		.exclude = &ask->config->exclude_cidr,
		.named = {named, d->n_learnt},
		.table = ask->running->route_table,
		.priority = ask->running->rule_priority,
		.mark_mask = ask->running->mark_mask,
	};
	int error;

	if (!named)
		return error_set(e, -ENOMEM, "no memory for the routing guard");
	for (size_t i = 0; i < d->n_learnt; i++)
		named[i] = (struct cidr){d->learnt[i].addr, 128};
	error = guard_init(&d->guard, &guard, e);
	free(named);
	for (size_t i = 0; i < d->ways.n_routes; i++) {
		d->ways.routes[i].pass = d->guard.routing.pass;
		d->ways.routes[i].n_pass = d->guard.routing.n_pass;
	}
	return error;
}

/* Accounting costs each packet a little, so only who reads it pays.  A flow that comes back from
 * another gateway has gone on there, beyond its windows here. */
static void list_sysctls(struct datapath *d, const struct datapath_ask *ask)
{
	const struct config *config = ask->config;

	d->sysctls[d->n_sysctls++] = (struct sysctl){"net/ipv4/conf/all/src_valid_mark", "1"};
	if (keeps_flows(ask))
		d->sysctls[d->n_sysctls++] =
			(struct sysctl){"net/netfilter/nf_conntrack_tcp_be_liberal", "1"};
	if (!config->flow_log)
		return;
	d->sysctls[d->n_sysctls++] = (struct sysctl){"net/netfilter/nf_conntrack_acct", "1"};
	d->sysctls[d->n_sysctls++] = (struct sysctl){"net/netfilter/nf_conntrack_timestamp", "1"};
	/* Else the ends of flows are not told that began while no gate listened. */
	d->sysctls[d->n_sysctls++] = (struct sysctl){"net/netfilter/nf_conntrack_events", "1"};
}

struct datapath *datapath_new(const struct datapath_ask *ask, struct error *e)
{
	struct datapath *d = calloc(1, sizeof(*d));
	int error;

	if (!d) {
		error_set(e, -ENOMEM, "no memory for the datapath");
		return NULL;
	}
	d->policy = policy_get(ask->policy);
	list_sysctls(d, ask);
	error = find_facts(d, ask, e);
	if (!error)
		error = list_learnt(d, ask, e);
	if (!error)
		error = make_plan(d, ask, e);
	if (!error)
		error = make_guard(d, ask, e);
	if (!error)
		return d;
	datapath_free(d);
	return NULL;
}

void datapath_free(struct datapath *d)
{
	if (!d)
		return;
	plan_free(d->plan);
	plan_free(d->backstop);
	guard_fini(&d->guard);
	policy_put(d->policy);
	free_facts(d);
	free(d->learnt);
	free(d->learnt_hosts);
	free(d->retired.at);
	free(d->retired_hosts);
	free(d);
}

bool datapath_is_stale(const struct datapath *d, const struct datapath_ask *ask)
{
	struct datapath fresh = {0};
	bool stale = false;

	if (find_facts(&fresh, ask, NULL) == 0) {
		stale = !ways_equal(&fresh.ways, &d->ways) ||
			strcmp(fresh.device, d->device) != 0 ||
			fresh.n_pod_devices != d->n_pod_devices ||
			memcmp(fresh.pod_devices, d->pod_devices, sizeof(d->pod_devices)) != 0 ||
			fresh.n_addresses != d->n_addresses;
		for (size_t i = 0; i < fresh.n_addresses && !stale; i++)
			stale = !addr_equal(&fresh.addresses[i].addr, &d->addresses[i].addr) ||
				fresh.addresses[i].dedicated != d->addresses[i].dedicated;
	}
	free_facts(&fresh);
	return stale;
}

static void print_commands(const struct datapath *d, FILE *out)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < d->n_sysctls; i++)
		fprintf(out, "sysctl -w %s=%s\n", d->sysctls[i].path, d->sysctls[i].value);
	for (size_t i = 0; i < d->n_managed; i++)
		fprintf(out, "ip addr add %s/%s dev %s%s\n", addr_print(&d->managed[i], text),
			addr_is_v4(&d->managed[i]) ? "32" : "128", d->device,
			addr_is_v4(&d->managed[i]) ? "" : " nodad preferred_lft 0");
	routing_print(&d->guard.routing, out);
	for (size_t i = 0; i < d->ways.n_routes; i++)
		routing_print(&d->ways.routes[i], out);
	ways_print_leads(&d->ways, out);
}

void datapath_print(const struct datapath *d, FILE *out)
{
	char *text = NULL;
	size_t size = 0;
	FILE *commands = open_memstream(&text, &size);

	plan_print(d->plan, out);
	fputc('\n', out);
	plan_print(d->backstop, out);
	if (!commands)
		return;
	print_commands(d, commands);
	fclose(commands);
	fputs("\n# And beside the table:\n", out);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		fprintf(out, "# %s\n", line);
	free(text);
}
