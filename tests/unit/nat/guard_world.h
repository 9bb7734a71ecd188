/*
 * guard_world.h - egress_world.h, with packets that only the guard keeps from leaving.
 */
#pragma once

#include "egress_world.h"

#include "nat/backstop.h"

static const char guard_acl[] = "[partner bank]\ncidr = 198.51.100.0/24, 2001:db8:5::/64\n"
				"egress-ip = 203.0.113.10, 2001:db8:1::10\n"
				"[block nowhere]\ncidr = 192.0.2.8\nprotocol = any\n"
				"[partner only-v6]\ncidr = 8.8.8.8, 2001:db8:8::8\n"
				"egress-ip = 2001:db8:1::11\n";

static struct policy *guard_policy;
static struct plan *guard_applied, *guard_backstop;

/* Each test begins without egret. */
static inline void need_guard_world(void)
{
	need_egress_world();
	plan_free(guard_applied);
	policy_put(guard_policy);
	guard_applied = NULL;
	backstop_close();
	plan_free(guard_backstop);
	guard_backstop = backstop_plan(&(struct plan_facts){
		.table = "egret", .ct_mark_mask = 0xfffff000, .guard_priority = 150});
	assert_non_null(guard_backstop);
	guard_policy = NULL;
}

static inline void guard_plan(const char *acl)
{
	struct error e;

	plan_free(guard_applied);
	policy_put(guard_policy);
	guard_policy = policy_of(acl, &dual_stack);
	guard_applied = plan_for(guard_policy, &dual_stack);
	if (table_apply(guard_applied, NULL, NULL, &e))
		fail_msg("%s", e.text);
}

static inline void open_backstop(void)
{
	struct error e;

	if (backstop_open(guard_backstop, &e))
		fail_msg("%s", e.text);
}

/* A packet that has passed prerouting finds the table as it is when somebody has just taken it away
 * or flushed it. */
static inline void guard_is_gone(void)
{
	run("nft 'flush chain inet egret translate; flush chain inet egret guard'");
}

/* TCP resets of no connection: connection tracking calls them invalid, and nothing translates
 * them.  They have come to the guard, and what leaves to the partner, when this returns. */
static inline void send_strays(int version, const char *to, unsigned n)
{
	const uint8_t reset[20] = {
		[0] = 0x30, [1] = 0x39, [2] = 1, [3] = 0xbb, [12] = 0x50, [13] = 4, [15] = 1};
	int fd = flow_socket(flow_world.pod, version, SOCK_RAW, IPPROTO_TCP);

	flow_bind(fd, flow_pod(version), 0);
	flow_connect(fd, to, 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(send(fd, reset, sizeof(reset), 0), (int)sizeof(reset));
	close(fd);
	(void)source_to(version == 4 ? MARKER4 : MARKER6);
}

/* As if the guard had refused `packets` of each of n pairs, from 10.42.0.0 on to 198.51.100.7. */
static inline void put_pairs(unsigned n, unsigned packets)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs("add element inet egret leaks4 {", out);
	for (unsigned i = 0; i < n; i++)
		fprintf(out, "%s 10.42.%u.%u . 198.51.100.7 counter packets %u bytes 60",
			i ? "," : "", i / 256, i % 256, packets);
	fputs(" }\n", out);
	fclose(out);
	assert_int_equal(nft_takes("", text), 0);
	free(text);
}
