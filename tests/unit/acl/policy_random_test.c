/*
 * policy_random_test.c - random policies, held against a matcher that walks all sections.
 */
#include "policy_world.h"

static const char *const some_hosts[] = {"a.test", "b.a.test", "c.b.a.test", "test", "d.test",
	"192.0.2.1", "2001:db8::1", "*", "*.a.test", ".a.test", "*.test", ".b.a.test"};
static const char *const some_nets[] = {"192.0.2.0/24", "192.0.2.0/31", "192.0.2.1",
	"198.51.100.0/24", "2001:db8::/32", "2001:db8::1", "0.0.0.0/0", "::/0", "192.0.0.0/16"};
static const char *const some_addrs[] = {"192.0.2.1", "192.0.2.0", "192.0.2.9", "198.51.100.1",
	"2001:db8::1", "2001:db8::2", "8.8.8.8", "fd00::1"};
static const char *const some_names[] = {
	"a.test", "b.a.test", "c.b.a.test", "test", "d.test", "e.test", "other"};
static const char *const some_ports[] = {NULL, "80", "443", "80-443, 8080", "*"};
static const char *const some_protocols[] = {NULL, "tcp", "udp", "any"};
static const char *const some_sources[] = {
	NULL, "pods", "any", "g", "10.42.1.0/24", "g, 10.42.1.0/24", "fd42::/64"};
static const char *const some_clients[] = {
	"10.42.0.1", "10.42.1.1", "fd42::1", "8.8.8.8", "10.9.0.1"};

struct naive {
	bool block, report;
	unsigned hosts, nets; /* bit masks */
	size_t ports, protocol, from;
};

#define NAIVE_MAX 12

static unsigned chance(unsigned *seed, unsigned n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 16) % n;
}

static bool naive_host(const char *pattern, const struct query *q)
{
	struct text name = q->host;
	struct addr addr;
	bool below = pattern[0] == '*';
	size_t length;

	if (strcmp(pattern, "*") == 0)
		return true;
	if (name.length == 0)
		return addr_parse(&addr, text_of(pattern)) && addr_equal(&addr, &q->addrs[0]);
	if (pattern[0] == '.' && text_equal(name, text_of(pattern + 1)))
		return true;
	if (pattern[0] != '.' && !below)
		return text_equal(name, text_of(pattern));
	pattern += below;
	length = strlen(pattern);
	return name.length > length && memcmp(name.at + name.length - length, pattern, length) == 0;
}

static bool naive_nets(unsigned nets, const struct addr *addr)
{
	size_t i;

	for (i = 0; i < COUNT_OF(some_nets); i++) {
		struct cidr cidr = net(some_nets[i]);

		if (nets >> i & 1 && cidr_contains(&cidr, addr))
			return true;
	}
	return false;
}

static bool naive_scope(const struct naive *s, const struct query *q)
{
	bool pod = (q->client.bytes[12] == 10 && q->client.bytes[13] == 42) ||
		   q->client.bytes[0] == 0xfd;
	bool one =
		q->client.bytes[12] == 10 && q->client.bytes[13] == 42 && q->client.bytes[14] == 1;
	bool g = q->client.bytes[12] == 10 && q->client.bytes[13] == 9;
	const bool from[] = {
		pod || s->block, pod, true, g, one, g || one, q->client.bytes[0] == 0xfd};
	const bool ports[] = {s->block || !q->connect || q->port == 443, q->port == 80,
		q->port == 443, (q->port >= 80 && q->port <= 443) || q->port == 8080, true};

	if (s->protocol == 1 && q->protocol != PROTOCOL_TCP)
		return false;
	if (s->protocol == 2 && q->protocol != PROTOCOL_UDP)
		return false;
	return from[s->from] && ports[s->ports];
}

enum naive_match { NO, YES, UNKNOWN };

static enum naive_match naive_destination(const struct naive *s, const struct query *q)
{
	size_t i;

	for (i = 0; i < COUNT_OF(some_hosts); i++)
		if (s->hosts >> i & 1 && naive_host(some_hosts[i], q))
			return YES;
	if (s->nets == 0)
		return NO;
	if (q->n_addrs == 0)
		return s->block ? NO : UNKNOWN;
	for (i = 0; i < q->n_addrs; i++)
		if (!naive_nets(s->nets, &q->addrs[i]))
			return NO;
	return YES;
}

static void naive_decide(
	const struct naive *s, size_t n, const struct query *q, char *out, size_t size)
{
	int reporter = -1;
	bool missing = false;
	size_t i, look;

	for (look = 0; look < 2; look++) {
		for (i = 0; i < n; i++) {
			enum naive_match match = naive_destination(&s[i], q);

			if (match == NO ||
				(look ? s[i].block || !s[i].report : !naive_scope(&s[i], q)))
				continue;
			if (match == UNKNOWN) {
				missing = true;
				if (!q->resolved) {
					snprintf(out, size, "resolve");
					return;
				}
				continue;
			}
			if (s[i].block && s[i].report) {
				reporter = reporter < 0 ? (int)i : reporter;
				continue;
			}
			reporter = look ? (int)i : reporter;
			if (s[i].block || reporter < 0)
				snprintf(out, size, "%s s%zu", s[i].block ? "deny" : "allow", i);
			else
				snprintf(out, size, "allow s%zu report s%d", i, reporter);
			return;
		}
	}
	snprintf(out, size, missing ? "not-resolved" : "no-match");
}

static void write_some(
	FILE *out, const char *key, const char *const *values, size_t n, unsigned mask)
{
	const char *before = key;
	size_t i;

	for (i = 0; i < n; i++) {
		if (!(mask >> i & 1))
			continue;
		fprintf(out, "%s%s%s", before, before == key ? " = " : "", values[i]);
		before = ", ";
	}
	fprintf(out, "\n");
}

static struct policy *naive_policy(struct naive *s, size_t n, unsigned *seed)
{
	struct policy *policy;
	struct writing w;
	size_t i;

	writing_begin(&w);
	fprintf(w.out, "[group g]\ncidr = 10.9.0.0/16\n");
	for (i = 0; i < n; i++) {
		s[i] = (struct naive){.block = chance(seed, 3) == 0,
			.report = chance(seed, 4) == 0,
			.hosts = chance(seed, 2) ? 1u << chance(seed, COUNT_OF(some_hosts)) : 0,
			.nets = chance(seed, 3) == 0 ? 1u << chance(seed, COUNT_OF(some_nets)) : 0,
			.ports = chance(seed, COUNT_OF(some_ports)),
			.protocol = chance(seed, COUNT_OF(some_protocols)),
			.from = chance(seed, COUNT_OF(some_sources))};
		s[i].nets |=
			s[i].nets && chance(seed, 2) ? 1u << chance(seed, COUNT_OF(some_nets)) : 0;
		if (!s[i].hosts && !s[i].nets)
			s[i].hosts = 1u << chance(seed, COUNT_OF(some_hosts));
		fprintf(w.out, "[%s s%zu]\n", s[i].block ? "block" : "partner", i);
		write_some(w.out, "hosts", some_hosts, COUNT_OF(some_hosts), s[i].hosts);
		write_some(w.out, "cidr", some_nets, COUNT_OF(some_nets), s[i].nets);
		if (some_ports[s[i].ports])
			fprintf(w.out, "ports = %s\n", some_ports[s[i].ports]);
		if (some_protocols[s[i].protocol])
			fprintf(w.out, "protocol = %s\n", some_protocols[s[i].protocol]);
		if (some_sources[s[i].from])
			fprintf(w.out, "from = %s\n", some_sources[s[i].from]);
		if (s[i].report)
			fprintf(w.out, "mode = report\n");
	}
	assert_int_equal(fclose(w.out), 0);
	policy = policy_of(w.at);
	free(w.at);
	return policy;
}

static void random_query(struct question *q, unsigned *seed)
{
	static const uint16_t ports[] = {80, 443, 8080, 22};
	size_t i;

	*q = (struct question){.query = {.protocol = chance(seed, 5) ? PROTOCOL_TCP : PROTOCOL_UDP,
				       .port = ports[chance(seed, COUNT_OF(ports))],
				       .connect = chance(seed, 2),
				       .client = address(some_clients[chance(seed, 5)])}};
	q->query.addrs = q->addrs;
	if (chance(seed, 4) == 0) {
		q->query.n_addrs = 1;
	} else {
		q->query.host = text_of(some_names[chance(seed, COUNT_OF(some_names))]);
		q->query.resolved = chance(seed, 3) > 0;
		q->query.n_addrs = q->query.resolved ? chance(seed, ADDRS_MAX) : 0;
	}
	for (i = 0; i < q->query.n_addrs; i++)
		q->addrs[i] = address(some_addrs[chance(seed, COUNT_OF(some_addrs))]);
}

/* What is decided without looking a name up stays so whatever its addresses are, once the
 * guard has had its say. */
static void check_that_addresses_change_nothing(const struct policy *policy, struct question *q,
	const struct verdict *before, unsigned *seed)
{
	struct query resolved = q->query;
	struct verdict after;
	size_t i;

	for (i = 0; i < ADDRS_MAX; i++)
		q->addrs[i] = address(some_addrs[chance(seed, COUNT_OF(some_addrs))]);
	resolved.resolved = true;
	resolved.n_addrs = 1 + chance(seed, ADDRS_MAX);
	after = policy_decide(policy, &resolved);
	if (before->action == ACTION_DENY || after.action == ACTION_ALLOW) {
		assert_int_equal(after.action, before->action);
		assert_true(before->action == ACTION_DENY || after.section == before->section);
		return;
	}
	for (i = 0; i < resolved.n_addrs; i++)
		assert_int_not_equal(policy_guard(policy, &resolved, before, &q->addrs[i], NULL),
			REASON_MATCHED);
}

/* The one that decided says so, and before it only report mode let pass what fits. */
static void check_considered(void *arg, const struct section *section, enum considered considered)
{
	const struct verdict *v = arg;

	assert_int_equal(considered == CONSIDERED_DECIDES, section == v->section);
	if (considered == CONSIDERED_REPORTS)
		assert_true(section->report && section->kind == SECTION_BLOCK);
}

static void check_what_is_considered(
	const struct policy *policy, const struct query *query, struct verdict *v)
{
	assert_true(policy_consider(policy, query, v, check_considered, v));
}

static void it_decides_like_a_matcher_that_walks_all_sections(void **state)
{
	struct naive sections[NAIVE_MAX];
	unsigned seed = 1, round, i;

	(void)state;
	for (round = 0; round < 1500; round++) {
		size_t n = 1 + chance(&seed, NAIVE_MAX);
		struct policy *policy = naive_policy(sections, n, &seed);

		for (i = 0; i < 60; i++) {
			char got[64], wanted[64];
			struct question q;
			struct verdict v;

			random_query(&q, &seed);
			v = policy_decide(policy, &q.query);
			answer(&v, got, sizeof(got));
			naive_decide(sections, n, &q.query, wanted, sizeof(wanted));
			if (strcmp(got, wanted) != 0) {
				policy_explain(&q.query, &v, q.text, sizeof(q.text));
				fail_msg("round %u: %s, not %s: %s", round, got, wanted, q.text);
			}
			check_what_is_considered(policy, &q.query, &v);
			if (q.query.host.length > 0 && !q.query.resolved &&
				v.action != ACTION_RESOLVE)
				check_that_addresses_change_nothing(policy, &q, &v, &seed);
		}
		policy_put(policy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_decides_like_a_matcher_that_walks_all_sections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
