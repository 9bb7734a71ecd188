/*
 * guard_test.c - the routing guard as text, from networks and a policy.
 */
#include "helpers.h"

#include "nat/guard.h"

static const char acl[] = "[partner bank]\n"
			  "cidr = 198.51.100.0/24, 2001:db8:5::/64\n"
			  "[partner within]\n"
			  "cidr = 198.51.100.128/25\n"
			  "[partner named]\n"
			  "hosts = example.com\n"
			  "[partner tried]\n"
			  "cidr = 192.0.2.0/25\n"
			  "mode = report\n"
			  "[block cluster]\n"
			  "cidr = 10.0.0.0/8, 192.0.2.128/25\n"
			  "[block service]\n"
			  "cidr = 10.43.9.0/24\n"
			  "[block tried]\n"
			  "cidr = 198.18.0.0/15\n"
			  "mode = report\n";

static char *guard_of(enum guard_reach reach, const char *policy_text, const struct node *node)
{
	struct policy *policy = policy_text ? policy_of(policy_text, node) : NULL;
	struct cidr pods[3], exclude[3];
	struct cidr_list pod_list = {pods, cidrs_of(node->pods, pods)};
	struct cidr_list exclude_list = {exclude, cidrs_of(node->exclude, exclude)};
	struct guard guard;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(guard_init(&guard,
				 &(struct guard_ask){.reach = reach,
					 .policy = policy,
					 .pods = &pod_list,
					 .exclude = &exclude_list,
					 .table = 7099,
					 .priority = 5220,
					 .mark_mask = 0xff000000},
				 NULL),
		0);
	routing_print(&guard.routing, out);
	guard_fini(&guard);
	policy_put(policy);
	fclose(out);
	return text;
}

static const struct {
	const char *name;
	enum guard_reach reach;
	const char *acl;
	struct node node;
	const char *text;
} cases[] = {
	{"everything, of both versions", GUARD_ALL, NULL,
		{.pods = {"10.42.0.0/16", "fd42::/56"}, .exclude = {"10.43.0.0/16", "fd43::/112"}},
		"ip route add unreachable 0.0.0.0/0 table 7099 protocol 230\n"
		"ip route add throw 10.42.0.0/16 table 7099 protocol 230\n"
		"ip route add throw 10.43.0.0/16 table 7099 protocol 230\n"
		"ip -6 route add unreachable ::/0 metric 2 table 7099 protocol 230\n"
		"ip -6 route add throw fd42::/56 metric 1 table 7099 protocol 230\n"
		"ip -6 route add throw fd43::/112 metric 1 table 7099 protocol 230\n"
		"ip rule add pref 5219 from 10.42.0.0/16 iif lo lookup main protocol 230\n"
		"ip -6 rule add pref 5219 from fd42::/56 iif lo lookup main protocol 230\n"
		"ip rule add pref 5220 from 10.42.0.0/16 fwmark 0/0xff000000 lookup 7099 protocol "
		"230\n"
		"ip -6 rule add pref 5220 from fd42::/56 fwmark 0/0xff000000 lookup 7099 protocol "
		"230\n"},
	{"pods of one version, one network in the other", GUARD_ALL, NULL,
		{.pods = {"10.42.0.0/16", "10.42.7.0/24"}, .exclude = {"fd43::/112"}},
		"ip route add unreachable 0.0.0.0/0 table 7099 protocol 230\n"
		"ip route add throw 10.42.0.0/16 table 7099 protocol 230\n"
		"ip rule add pref 5219 from 10.42.0.0/16 iif lo lookup main protocol 230\n"
		"ip rule add pref 5220 from 10.42.0.0/16 fwmark 0/0xff000000 lookup 7099 protocol "
		"230\n"},
	{"what sections name", GUARD_NAMED, acl,
		{.pods = {"10.42.0.0/16"}, .exclude = {"10.43.0.0/16"}},
		"ip route add unreachable 10.0.0.0/8 table 7099 protocol 230\n"
		"ip route add throw 10.42.0.0/16 table 7099 protocol 230\n"
		"ip route add throw 10.43.0.0/16 table 7099 protocol 230\n"
		"ip route add unreachable 192.0.2.0/25 table 7099 protocol 230\n"
		"ip route add unreachable 192.0.2.128/25 table 7099 protocol 230\n"
		"ip route add unreachable 198.51.100.0/24 table 7099 protocol 230\n"
		"ip rule add pref 5219 from 10.42.0.0/16 iif lo lookup main protocol 230\n"
		"ip rule add pref 5220 from 10.42.0.0/16 fwmark 0/0xff000000 lookup 7099 protocol "
		"230\n"},
	{"a section that names everything", GUARD_NAMED, "[partner any]\ncidr = ::/0\n",
		{.pods = {"fd42::/56"}},
		"ip -6 route add unreachable ::/0 metric 2 table 7099 protocol 230\n"
		"ip -6 route add throw fd42::/56 metric 1 table 7099 protocol 230\n"
		"ip -6 rule add pref 5219 from fd42::/56 iif lo lookup main protocol 230\n"
		"ip -6 rule add pref 5220 from fd42::/56 fwmark 0/0xff000000 lookup 7099 protocol "
		"230\n"},
};

static void keeps_in_what_the_policy_is_about(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char *text = guard_of(cases[i].reach, cases[i].acl, &cases[i].node);

		if (strcmp(text, cases[i].text) != 0)
			fail_msg("%s:\n%s\nnot\n%s", cases[i].name, text, cases[i].text);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_in_what_the_policy_is_about),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
