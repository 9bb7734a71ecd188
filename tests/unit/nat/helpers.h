/*
 * helpers.h - what the tests of nat/ share: plans from a policy's text, network namespaces that
 * vanish with the process, and nft run as a command.
 */
#pragma once

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nat/plan.h"

/* The node that most tests plan for, as text. */
struct node {
	const char *pods[3], *exclude[3], *egress[3]; /* NULL ends */
	enum plan_fallback fallback;
	enum spread spread;
	const char *away[3]; /* egress addresses that are not on the node */
	struct {
		const char *device[2], *via[2], *link[2]; /* link: NULL: `via` alone */
	} gateways[3];
	struct {
		const char *addr;
		unsigned gateway;
	} owners[3];              /* sorted */
	const char *dedicated[3]; /* of those that are */
	const char *devices[3];
	const struct ports *inbound;
	bool flow_sync;
	uint16_t capture_port;
	size_t n_inbound;
	const char *learnt[5]; /* "SECTION ADDRESS", in file order */
};

static const struct node dual_stack __attribute__((unused)) = {
	.pods = {"10.42.0.0/16", "fd42::/56"},
	.exclude = {"10.43.0.0/16", "fd43::/112"},
	.egress = {"203.0.113.9", "2001:db8:1::9"},
};

static inline struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_true(addr_parse(&addr, text_of(text)));
	return addr;
}

static inline struct cidr cidr_of(const char *text)
{
	struct cidr cidr;

	assert_true(cidr_parse(&cidr, text_of(text)));
	return cidr;
}

static inline size_t cidrs_of(const char *const texts[3], struct cidr out[3])
{
	size_t n = 0;

	for (; n < 3 && texts[n]; n++)
		out[n] = cidr_of(texts[n]);
	return n;
}

static inline struct policy *policy_of(const char *acl, const struct node *node)
{
	struct files *files = files_new("/nonexistent");
	struct cidr pods[3];
	size_t n = cidrs_of(node->pods, pods);
	struct policy *policy;
	struct error e;

	assert_non_null(files);
	assert_int_equal(files_put(files, "acl.ini", text_of(acl)), 0);
	policy = policy_new(files, "acl.ini", pods, n, &e);
	if (!policy)
		fail_msg("%s", e.text);
	files_free(files);
	return policy;
}

static inline void address_is_here(struct plan_facts *facts, struct plan_address *out,
	const struct node *node, const struct addr *addr)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < 3 && node->away[i]; i++)
		if (strcmp(addr_print(addr, text), node->away[i]) == 0)
			return;
	out[facts->n_addresses].addr = *addr;
	for (size_t i = 0; i < 3 && node->dedicated[i]; i++)
		if (strcmp(addr_print(addr, text), node->dedicated[i]) == 0)
			out[facts->n_addresses].dedicated = true;
	facts->n_addresses++;
}

static inline size_t gateways_of(const struct node *node, struct plan_gateway out[3])
{
	size_t n = 0;

	for (; n < 3 && (node->gateways[n].device[0] || node->gateways[n].device[1]); n++) {
		out[n] = (struct plan_gateway){.number = (uint32_t)n + 2};
		for (size_t v = 0; v < 2; v++) {
			out[n].device[v] = node->gateways[n].device[v];
			if (!out[n].device[v])
				continue;
			out[n].via[v] = addr_of(node->gateways[n].via[v]);
			out[n].link[v] =
				cidr_of(node->gateways[n].link[v] ? node->gateways[n].link[v]
								  : node->gateways[n].via[v]);
		}
	}
	return n;
}

static inline size_t owners_of(const struct node *node, struct plan_owner out[3])
{
	size_t n = 0;

	for (; n < 3 && node->owners[n].addr; n++)
		out[n] =
			(struct plan_owner){addr_of(node->owners[n].addr), node->owners[n].gateway};
	return n;
}

static inline int by_address(const void *a, const void *b)
{
	return memcmp(&((const struct plan_address *)a)->addr,
		&((const struct plan_address *)b)->addr, sizeof(struct addr));
}

/* Those of sections that the policy has. */
static inline size_t learnt_of(
	const struct policy *policy, const struct node *node, struct plan_learnt out[5])
{
	char section[65], text[ADDR_TEXT];
	size_t n = 0;

	for (size_t i = 0; i < 5 && node->learnt[i]; i++) {
		assert_int_equal(sscanf(node->learnt[i], "%64s %45s", section, text), 2);
		for (size_t j = 0; j < policy_n_sections(policy); j++)
			if (strcmp(policy_section(policy, j)->name, section) == 0)
				out[n++] = (struct plan_learnt){(unsigned)j, addr_of(text)};
	}
	return n;
}

static inline struct plan *plan_for(const struct policy *policy, const struct node *node)
{
	struct cidr pods[3], exclude[3];
	struct addr egress[3];
	struct plan_learnt learnt[5];
	struct plan_gateway gateways[3];
	struct plan_owner owners[3];
	struct plan_address *addresses = calloc(20000, sizeof(*addresses));
	struct plan_facts facts = {
		.table = "egret",
		.pods = pods,
		.exclude = exclude,
		.egress = egress,
		.addresses = addresses,
		.fallback = node->fallback,
		.spread = node->spread,
		.gateways = gateways,
		.n_gateways = gateways_of(node, gateways),
		.owners = owners,
		.n_owners = owners_of(node, owners),
		.flow_sync = node->flow_sync,
		.learnt = learnt,
		.n_learnt = learnt_of(policy, node, learnt),
		.inbound = node->inbound,
		.n_inbound = node->n_inbound,
		.mark_mask = 0xff000000,
		.ct_mark_mask = 0xfffff000,
		.capture_port = node->capture_port,
		.capture_priority = -110,
		.prerouting_priority = -90,
		.forward_priority = -10,
		.translate_priority = 90,
		.guard_priority = 150,
	};
	struct plan *plan;

	facts.n_pods = cidrs_of(node->pods, pods);
	facts.n_exclude = cidrs_of(node->exclude, exclude);
	for (; facts.n_egress < 3 && node->egress[facts.n_egress]; facts.n_egress++) {
		egress[facts.n_egress] = addr_of(node->egress[facts.n_egress]);
		address_is_here(&facts, addresses, node, &egress[facts.n_egress]);
	}
	for (size_t i = 0; i < policy_n_sections(policy); i++)
		for (size_t j = 0; j < policy_section(policy, i)->n_egress; j++)
			address_is_here(
				&facts, addresses, node, &policy_section(policy, i)->egress[j]);
	facts.devices = node->devices;
	while (facts.n_devices < 3 && node->devices[facts.n_devices])
		facts.n_devices++;
	qsort(addresses, facts.n_addresses, sizeof(*addresses), by_address);
	plan = plan_new(policy, &facts);
	assert_non_null(plan);
	free(addresses);
	return plan;
}

static inline struct plan *plan_of(const char *acl, const struct node *node)
{
	struct policy *policy = policy_of(acl, node);
	struct plan *plan = plan_for(policy, node);

	policy_put(policy);
	return plan;
}

static inline char *print_plan(const struct plan *plan)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	plan_print(plan, out);
	fclose(out);
	return text;
}

/* Partners with so many networks that the maps are in parts.  `moved`: one of them that has another
 * size. */
static inline void put_many_networks(FILE *out, unsigned moved)
{
	for (unsigned i = 0; i < 600; i++) {
		if (i % 50 == 0)
			fprintf(out, "\n[partner four%u]\negress-ip = 203.0.113.%u\ncidr = ", i,
				10 + i / 50 % 2);
		fprintf(out, "%s198.51.%u.%u/%u", i % 50 ? ", " : "", 100 + i / 64, i * 4 & 255,
			i == moved ? 32 : 31);
	}
	for (unsigned i = 0; i < 600; i++) {
		if (i % 40 == 0)
			fprintf(out, "\n[partner six%u]\negress-ip = 2001:db8:1::%u\ncidr = ", i,
				10 + i / 40 % 2);
		fprintf(out, "%s2001:db8::%x/%u", i % 40 ? ", " : "", i * 4,
			i == moved ? 128 : 127);
	}
	fputc('\n', out);
}

static inline char *many_networks_acl(unsigned moved)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	put_many_networks(out, moved);
	fclose(out);
	return text;
}

/* All that can be read; the caller frees it. */
static inline char *read_all(FILE *in)
{
	char *text = NULL;
	size_t size = 0;

	assert_non_null(in);
	if (getdelim(&text, &size, '\0', in) < 0) {
		free(text);
		text = strdup("");
	}
	return text;
}

/* Runs a command of the shell, which has to succeed, and returns what it says. */
static inline char *output_of(const char *command)
{
	FILE *in = popen(command, "r");
	char *text = read_all(in);

	if (pclose(in) != 0)
		fail_msg("failed: %s\n%s", command, text);
	return text;
}

static inline void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void run(const char *format, ...)
{
	char command[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	free(output_of(command));
}

/* `nft OPTIONS -f -` with `text`.  Its exit status. */
static inline int nft_takes(const char *options, const char *text)
{
	char command[64];
	FILE *out;

	snprintf(command, sizeof(command), "nft %s -f -", options);
	out = popen(command, "w");
	assert_non_null(out);
	fputs(text, out);
	return pclose(out);
}

/* Moves this process to a network namespace of its own.  Without the privilege the test is skipped.
 */
static inline void enter_new_namespace(void)
{
	if (unshare(CLONE_NEWNET) == 0)
		return;
	print_message("[  SKIP  ] needs root, to make network namespaces: %s\n", strerror(errno));
	skip();
}

/* One more, which has no duplicate address detection; a descriptor for enter(). */
static inline int new_namespace(void)
{
	int fd;

	enter_new_namespace();
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	run("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0; ip link "
	    "set lo up");
	return fd;
}

static inline void enter(int namespace)
{
	assert_int_equal(setns(namespace, CLONE_NEWNET), 0);
}
