/*
 * policy_world.h - policies and queries from text.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "acl/policy.h"

struct file {
	const char *name, *text;
};

static inline struct cidr net(const char *text)
{
	struct cidr cidr;

	if (!cidr_parse(&cidr, text_of(text)))
		fail_msg("not a network: %s", text);
	return cidr;
}

static inline struct addr address(const char *text)
{
	struct addr addr;

	if (!addr_parse(&addr, text_of(text)))
		fail_msg("not an address: %s", text);
	return addr;
}

/* The pods are 10.42.0.0/16 and fd42::/64. */
static inline struct policy *parse(struct files *files, struct error *e)
{
	struct cidr pods[] = {net("fd42::/64"), net("10.42.0.0/16")};

	return policy_new(files, "acl.ini", pods, COUNT_OF(pods), e);
}

static inline struct policy *policy_of(const char *text)
{
	struct files *files = files_new("/nonexistent");
	struct policy *policy;
	struct error e;

	assert_non_null(files);
	assert_int_equal(files_put(files, "acl.ini", text_of(text)), 0);
	policy = parse(files, &e);
	if (!policy)
		fail_msg("%s", e.text);
	files_free(files);
	return policy;
}

#define ADDRS_MAX 4

struct question {
	struct query query;
	struct addr addrs[ADDRS_MAX];
	char text[256];
};

/*
 * "10.42.0.1 CONNECT example.com:443 = 192.0.2.1 192.0.2.2": CONNECT, and what follows =, may be
 * missing; "= none" is a name without addresses; an IPv6 target stands in brackets; :53/udp.
 */
static inline const struct query *ask(struct question *q, const char *text)
{
	char *word, *rest, *port;

	*q = (struct question){.query = {.protocol = PROTOCOL_TCP}};
	snprintf(q->text, sizeof(q->text), "%s", text);
	q->query.client = address(strtok_r(q->text, " ", &rest));
	q->query.addrs = q->addrs;
	word = strtok_r(NULL, " ", &rest);
	if (strcmp(word, "CONNECT") == 0) {
		q->query.connect = true;
		word = strtok_r(NULL, " ", &rest);
	}
	port = strrchr(word, ':');
	*port++ = '\0';
	q->query.port = (uint16_t)atoi(port);
	if (strstr(port, "/udp"))
		q->query.protocol = PROTOCOL_UDP;
	if (word[0] == '[')
		q->addrs[q->query.n_addrs++] = address(strtok(word, "[]"));
	else if (addr_parse(&q->addrs[0], text_of(word)))
		q->query.n_addrs++;
	else
		q->query.host = text_of(word);
	if (!strtok_r(NULL, " ", &rest))
		return &q->query;
	q->query.resolved = true;
	while ((word = strtok_r(NULL, " ", &rest)) && strcmp(word, "none") != 0)
		q->addrs[q->query.n_addrs++] = address(word);
	return &q->query;
}

/* "allow NAME", "allow NAME report REPORTER", "deny NAME", "no-match", "not-resolved", "resolve" */
static inline const char *answer(const struct verdict *v, char *out, size_t size)
{
	if (v->action == ACTION_RESOLVE)
		snprintf(out, size, "resolve");
	else if (!v->section)
		snprintf(out, size, "%s", reason_name(v->reason));
	else
		snprintf(out, size, "%s %s%s%s", v->action == ACTION_ALLOW ? "allow" : "deny",
			v->section->name, v->reported ? " report " : "",
			v->reported ? v->reporter->name : "");
	return out;
}

struct expectation {
	const char *question, *answer;
};

static inline void expect(const char *policy_text, const struct expectation *expected, size_t n)
{
	struct policy *policy = policy_of(policy_text);
	struct question q;
	char got[256];
	size_t i;

	for (i = 0; i < n; i++) {
		struct verdict v = policy_decide(policy, ask(&q, expected[i].question));

		if (strcmp(answer(&v, got, sizeof(got)), expected[i].answer) != 0)
			fail_msg("%s: %s, not %s", expected[i].question, got, expected[i].answer);
	}
	policy_put(policy);
}

#define EXPECT(policy, ...)                                                                        \
	do {                                                                                       \
		static const struct expectation expected[] = {__VA_ARGS__};                        \
		expect(policy, expected, COUNT_OF(expected));                                      \
	} while (0)

/* A growing text. */
struct writing {
	char *at;
	size_t size;
	FILE *out;
};

static inline void writing_begin(struct writing *w)
{
	w->out = open_memstream(&w->at, &w->size);
	assert_non_null(w->out);
}
