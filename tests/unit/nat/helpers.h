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

static inline struct plan *plan_for(const struct policy *policy, const struct node *node)
{
	struct cidr pods[3], exclude[3];
	struct addr egress[3];
	struct plan_facts facts = {
		.table = "egret", .pods = pods, .exclude = exclude, .egress = egress};
	struct plan *plan;

	facts.n_pods = cidrs_of(node->pods, pods);
	facts.n_exclude = cidrs_of(node->exclude, exclude);
	for (; facts.n_egress < 3 && node->egress[facts.n_egress]; facts.n_egress++)
		egress[facts.n_egress] = addr_of(node->egress[facts.n_egress]);
	plan = plan_new(policy, &facts);
	assert_non_null(plan);
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
