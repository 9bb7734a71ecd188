/*
 * policy_section_test.c - what a section holds of what acl.ini says.
 */
#include "policy_world.h"

static void a_section_says_what_the_file_says(void **state)
{
	struct policy *policy = policy_of(
		"; comment\n\n[group g]\ncidr = 10.42.3.0/24, 10.42.3.7, fd42::7\n"
		"[partner stripe]\nhosts = api.stripe.com, *.stripe.com, .x.test, *, 192.0.2.1\n"
		"cidr = 198.51.100.0/24, 2001:db8::/32, 198.51.100.7\nports = 8443, 443, 444\n"
		"protocol = tcp\nfrom = g, pods\negress-ip = 203.0.113.10, 2001:db8::10\n"
		"rate = 10/1m\nburst = 5\nrate-per = source+host\nmode = report\n"
		"[block b]\nhosts = b.test\n");
	const struct section *s = policy_section(policy, 0), *b = policy_section(policy, 1);
	static const char *const hosts[] = {
		"api.stripe.com", "*.stripe.com", ".x.test", "*", "192.0.2.1"};
	struct addr v4 = address("1.2.3.4"), v6 = address("::5");
	char print[ADDR_TEXT + 4];
	size_t i;

	(void)state;
	assert_int_equal(policy_n_sections(policy), 2);
	assert_int_equal(s->kind, SECTION_PARTNER);
	assert_string_equal(s->name, "stripe");
	assert_string_equal(s->file, "acl.ini");
	assert_int_equal(s->line, 5);
	assert_true(s->report && s->has_hosts);
	assert_int_equal(s->n_ports, 2);
	assert_int_equal(s->ports[0].first, 443);
	assert_int_equal(s->ports[0].last, 444);
	assert_int_equal(s->ports[1].first, 8443);
	assert_int_equal(s->protocol, PROTOCOL_TCP);
	assert_int_equal(s->cidrs.n, 2);
	assert_string_equal(cidr_print(&s->cidrs.at[0], print), "198.51.100.0/24");
	assert_string_equal(cidr_print(&s->cidrs.at[1], print), "2001:db8::/32");
	assert_int_equal(s->from.n, 2); /* within the pods */
	assert_string_equal(addr_print(section_egress(s, &v4), print), "203.0.113.10");
	assert_string_equal(addr_print(section_egress(s, &v6), print), "2001:db8::10");
	assert_true(s->rate_ns == 6000000000u);
	assert_int_equal(s->rate_burst, 5);
	assert_string_equal(s->rate_text, "10/1m");
	assert_int_equal(s->rate_per, RATE_PER_SOURCE_HOST);
	for (i = 0; i < COUNT_OF(hosts); i++)
		assert_string_equal(section_host(policy, s, i), hosts[i]);
	assert_null(section_host(policy, s, i));

	assert_int_equal(b->kind, SECTION_BLOCK);
	assert_int_equal(b->index, 1);
	assert_int_equal(b->line, 16);
	assert_int_equal(b->n_ports, 0);
	assert_int_equal(b->protocol, PROTOCOL_ANY);
	assert_int_equal(b->from.n, 2);
	assert_int_equal(b->rate_ns, 0);
	assert_null(b->rate_text);
	assert_null(section_egress(b, &v4));
	assert_string_equal(section_host(policy, b, 0), "b.test");
	assert_null(section_host(policy, b, 1));
	assert_true(section_admits(b, &v4) && section_admits(b, &v6));
	assert_false(section_admits(s, &v4));
	policy_put(policy);
}

static void a_partner_says_how_it_is_left_for(void **state)
{
	struct policy *policy = policy_of(
		"[partner all]\nhosts = a.test, b.test\ncidr = 10.0.0.0/8\n"
		"egress-ip = 9.0.0.1, 2001:db8::1, 9.0.0.2\nspread = connection\nnat = resolve\n"
		"source-connections = 1000000\n"
		"[partner six]\nhosts = *\negress-ip = 9.0.0.1, ::1, ::2\nspread = source\n"
		"[partner none]\nhosts = *\n"
		"[partner many]\nhosts = *\negress-ip = 9.0.0.1, 9.0.0.2, 9.0.0.3, 9.0.0.4, "
		"9.0.0.5, 9.0.0.6, 9.0.0.7, 9.0.0.8, 9.0.0.9, 9.0.0.10, 9.0.0.11, 9.0.0.12, "
		"9.0.0.13, 9.0.0.14, 9.0.0.15, 9.0.0.16, ::1, ::2, ::3, ::4, ::5, ::6, ::7, ::8, "
		"::9, ::a, ::b, ::c, ::d, ::e, ::f, ::10\n");
	const struct section *all = policy_section(policy, 0), *six = policy_section(policy, 1);
	const struct section *none = policy_section(policy, 2), *many = policy_section(policy, 3);
	struct addr v6 = address("2001:db8::7");
	char print[ADDR_TEXT];

	(void)state;
	assert_int_equal(all->n_egress, 3);
	assert_string_equal(addr_print(&all->egress[2], print), "9.0.0.2");
	assert_int_equal(all->spread, SPREAD_CONNECTION);
	assert_true(all->resolve);
	assert_int_equal(all->source_connections, 1000000);
	assert_int_equal(six->spread, SPREAD_SOURCE);
	assert_string_equal(addr_print(section_egress(six, &v6), print), "::1");
	assert_int_equal(none->n_egress, 0);
	assert_int_equal(none->spread, SPREAD_SOURCE);
	assert_false(none->resolve);
	assert_int_equal(none->source_connections, 0);
	assert_int_equal(many->n_egress, 32);
	assert_string_equal(addr_print(&many->egress[31], print), "::10");
	policy_put(policy);
}

static void a_partner_says_what_is_stored_and_for_whom(void **state)
{
	struct policy *policy =
		policy_of("[partner all]\nhosts = a.test\ncache = yes\ncache-per = group\n"
			  "cache-min-lifetime = 90s\ncache-max-lifetime = 7d\n"
			  "cache-ignore-query = utm_*, fbclid\ncache-surrogate = yes\n"
			  "[partner plain]\nhosts = b.test\ncache = yes\n"
			  "[partner no]\nhosts = c.test\ncache = no\n"
			  "[partner none]\nhosts = d.test\n");
	const struct section_cache *all = policy_section(policy, 0)->cache;
	const struct section_cache *plain = policy_section(policy, 1)->cache;

	(void)state;
	assert_true(policy_caches(policy));
	assert_int_equal(all->per, CACHE_PER_GROUP);
	assert_int_equal(all->min_lifetime, 90);
	assert_int_equal(all->max_lifetime, 604800);
	assert_int_equal(all->n_ignored, 2);
	assert_true(text_equal(all->ignored[0], TEXT("utm_*")));
	assert_true(text_equal(all->ignored[1], TEXT("fbclid")));
	assert_int_equal(plain->per, CACHE_PER_PARTNER);
	assert_int_equal(plain->min_lifetime, 0);
	assert_true(plain->max_lifetime == UINT64_MAX);
	assert_int_equal(plain->n_ignored, 0);
	assert_true(all->surrogate && !plain->surrogate);
	assert_null(policy_section(policy, 2)->cache);
	assert_null(policy_section(policy, 3)->cache);
	policy_put(policy);
	policy = policy_of("[partner no]\nhosts = c.test\ncache = no\n");
	assert_false(policy_caches(policy));
	policy_put(policy);
}

static void a_rate_is_tokens_per_period(void **state)
{
	static const struct {
		const char *rate;
		uint64_t ns;
		uint32_t burst;
	} cases[] = {
		{"1/s", 1000000000, 1},
		{"100/m", 600000000, 100},
		{"3/1s", 333333334, 3},
		{"5/10s", 2000000000, 5},
		{"24/d", 3600000000000, 24},
		{"2/2h", 3600000000000, 2},
		{"1000000000/1s", 1, 1000000000},
		{"1/365d", 31536000000000000, 1},
	};
	char text[128];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT_OF(cases); i++) {
		struct policy *policy;

		snprintf(text, sizeof(text), "[partner p]\nhosts = *\nrate = %s\n", cases[i].rate);
		policy = policy_of(text);
		assert_true(policy_section(policy, 0)->rate_ns == cases[i].ns);
		assert_int_equal(policy_section(policy, 0)->rate_burst, cases[i].burst);
		policy_put(policy);
	}
}

static void a_client_knows_its_groups(void **state)
{
	struct policy *policy = policy_of("[group b]\ncidr = 10.42.3.0/24\n"
					  "[group a]\ncidr = 10.42.0.0/16\n"
					  "[group c]\ncidr = 8.8.8.8\n");
	struct addr pod = address("10.42.3.1"), other = address("8.8.8.8"),
		    none = address("1.1.1.1");
	const char *names[3] = {NULL, NULL, NULL};

	(void)state;
	assert_int_equal(policy_groups(policy, &pod, names, 2), 3);
	assert_string_equal(names[0], "pods");
	assert_string_equal(names[1], "b");
	assert_null(names[2]);
	assert_int_equal(policy_groups(policy, &pod, names, 3), 3);
	assert_string_equal(names[2], "a");
	assert_int_equal(policy_groups(policy, &other, names, 3), 1);
	assert_string_equal(names[0], "c");
	assert_int_equal(policy_groups(policy, &none, NULL, 0), 0);
	assert_true(policy_is_pod(policy, &pod));
	assert_false(policy_is_pod(policy, &other));
	policy_put(policy);
}

static void expect_nets(const struct cidr_list *list, const char *wanted)
{
	char got[512] = "", text[ADDR_TEXT + 4];

	for (size_t i = 0; i < list->n; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i ? " " : "",
			cidr_print(&list->at[i], text));
	assert_string_equal(got, wanted);
}

static void groups_say_whose_connections_are_captured(void **state)
{
	struct policy *policy =
		policy_of("[group a]\ncidr = fd42::7, 10.42.3.0/24\ncapture = http\n"
			  "[group b]\ncidr = 10.42.0.0/16\n"
			  "capture = https, http\n"
			  "[group c]\ncidr = 10.99.0.0/16\n");
	const char *file;
	int line;

	(void)state;
	expect_nets(policy_captured(policy, CAPTURE_HTTP), "10.42.0.0/16 fd42::7");
	expect_nets(policy_captured(policy, CAPTURE_HTTPS), "10.42.0.0/16");
	assert_string_equal(policy_capturing_group(policy, &file, &line), "a");
	assert_string_equal(file, "acl.ini");
	assert_int_equal(line, 3);
	policy_put(policy);
	policy = policy_of("[group c]\ncidr = 10.99.0.0/16\n");
	assert_null(policy_capturing_group(policy, &file, &line));
	expect_nets(policy_captured(policy, CAPTURE_HTTP), "");
	policy_put(policy);
}

static void an_address_that_nobody_named_passes_by_cidr_only(void **state)
{
	static const char *const partners[] = {"[partner p]\nhosts = *\n",
		"[partner p]\nhosts = 45.0.0.1\n", "[partner p]\ncidr = 45.0.0.0/24\n",
		"[block b]\nhosts = 45.0.0.1\n[partner p]\ncidr = 45.0.0.0/24\n",
		"[partner q]\nhosts = *\n[partner p]\ncidr = 45.0.0.0/24\n",
		"[partner p]\nhosts = 45.0.0.1\nmode = report\n"};
	static const bool passes[] = {false, false, true, false, true, false};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(partners); i++) {
		struct policy *policy = policy_of(partners[i]);
		struct question q;
		struct verdict v;

		ask(&q, "10.42.0.1 CONNECT 45.0.0.1:443");
		v = policy_decide(policy, &q.query);
		assert_int_equal(v.action, i == 3 ? ACTION_DENY : ACTION_ALLOW);
		q.query.unnamed = true;
		v = policy_decide(policy, &q.query);
		assert_int_equal(v.action, passes[i] ? ACTION_ALLOW : ACTION_DENY);
		if (passes[i])
			assert_string_equal(v.section->name, "p");
		policy_put(policy);
	}
}

static void a_reference_keeps_the_policy(void **state)
{
	struct policy *policy = policy_of("[partner p]\nhosts = *\n");

	(void)state;
	assert_ptr_equal(policy_get(policy), policy);
	policy_put(policy);
	assert_string_equal(policy_section(policy, 0)->name, "p");
	policy_put(policy);
	policy_put(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_section_says_what_the_file_says),
		cmocka_unit_test(a_partner_says_how_it_is_left_for),
		cmocka_unit_test(a_partner_says_what_is_stored_and_for_whom),
		cmocka_unit_test(a_rate_is_tokens_per_period),
		cmocka_unit_test(a_client_knows_its_groups),
		cmocka_unit_test(groups_say_whose_connections_are_captured),
		cmocka_unit_test(an_address_that_nobody_named_passes_by_cidr_only),
		cmocka_unit_test(a_reference_keeps_the_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
