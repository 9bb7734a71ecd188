#include "daemon/admin/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct section stripe = {
	.kind = SECTION_PARTNER, .name = "stripe", .file = "acl.ini", .line = 14};

static struct record request(const struct section *section, int status)
{
	return (struct record){
		.total = 0.3,
		.dns = -1,
		.connect = -1,
		.first_byte = 0.25,
		.verdict = {.action = ACTION_ALLOW, .reason = REASON_MATCHED, .section = section},
		.decided = true,
		.status = status,
		.from_client = 10,
		.to_client = 1000,
		.ending = ENDING_DONE,
	};
}

static char *page_of(struct metrics *const *workers, size_t n)
{
	static const struct resolver_counts counts = {
		.asked = 7, .cache_hits = 4, .ok = 5, .no_name = 1, .timeout = 1, .seconds = 1.5};
	const struct resolver_counts *resolvers[16] = {&counts, NULL};
	const struct metrics_facts facts = {.generation = 42,
		.digest = "ab12",
		.reloads_ok = 3,
		.reloads_failed = 1,
		.reload_time = 1795420941.5,
		.start_time = 1795420000,
		.restarts = 2,
		.max_connections = 1000,
		.access_lost = 9};
	size_t length;
	char *page = metrics_print(workers, resolvers, n, &facts, &length);

	assert_non_null(page);
	assert_int_equal(length, strlen(page));
	return page;
}

static void expect_lines(const char *page, const char *const *lines, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char line[512];

		snprintf(line, sizeof(line), "\n%s\n", lines[i]);
		if (!strstr(page, line))
			fail_msg("no line %s in\n%s", lines[i], page);
	}
}

/* metrics_check.py beside this file is the judge. */
static void expect_valid(const char *page)
{
	FILE *judge = popen("python3 tests/unit/daemon/admin/metrics_check.py >/dev/null", "w");

	assert_non_null(judge);
	fputs(page, judge);
	assert_int_equal(pclose(judge), 0);
}

static void an_empty_page_is_valid_and_has_every_family(void **state)
{
	struct metrics *m = metrics_new();
	char *page = page_of(&m, 1);
	const char *const lines[] = {
		"# TYPE egret_requests_total counter",
		"egret_client_connections 0",
		"egret_request_duration_seconds_bucket{le=\"+Inf\"} 0",
		"egret_request_duration_seconds_sum 0.000000000",
		"egret_dns_lookups_total 7",
		"egret_dns_cache_hits_total 4",
		"egret_dns_answers_total{result=\"ok\"} 5",
		"egret_dns_wait_seconds_total 1.500",
		"egret_policy_generation 42",
		"egret_policy_info{digest=\"ab12\"} 1",
		"egret_reloads_total{result=\"success\"} 3",
		"egret_reloads_total{result=\"failure\"} 1",
		"egret_reload_last_success_timestamp_seconds 1795420941.500",
		"egret_start_time_seconds 1795420000.000",
		"egret_proxy_restarts_total 2",
		"egret_client_connections_limit 1000",
		"egret_access_log_lines_lost_total 9",
	};

	(void)state;
	expect_lines(page, lines, COUNT_OF(lines));
	expect_valid(page);
	free(page);
	metrics_free(m);
	metrics_free(NULL);
}

static void counts_are_sums_over_workers(void **state)
{
	struct metrics *workers[2] = {metrics_new(), metrics_new()};
	struct record r = request(&stripe, 200);
	const char *const lines[] = {
		"egret_requests_total{partner=\"stripe\",verdict=\"allow\",code=\"2xx\"} 2",
		"egret_requests_total{partner=\"stripe\",verdict=\"deny\",code=\"4xx\"} 1",
		"egret_requests_total{partner=\"-\",verdict=\"deny\",code=\"4xx\"} 1",
		"egret_requests_total{partner=\"-\",verdict=\"-\",code=\"none\"} 1",
		"egret_requests_total{partner=\"stripe\",verdict=\"report\",code=\"5xx\"} 1",
		"egret_bytes_total{direction=\"from_client\",partner=\"stripe\"} 40",
		"egret_bytes_total{direction=\"to_client\",partner=\"stripe\"} 4000",
		"egret_rate_limited_total{partner=\"stripe\"} 1",
		"egret_rate_limited_total{partner=\"-\"} 0",
		"egret_denied_total{reason=\"rate-limited\"} 1",
		"egret_denied_total{reason=\"no-match\"} 1",
		"egret_denied_total{reason=\"matched\"} 0",
		"egret_endings_total{end=\"done\"} 3",
		"egret_endings_total{end=\"rate-limited\"} 1",
		"egret_endings_total{end=\"client-timeout\"} 1",
		"egret_client_connections 1",
		"egret_client_connections_accepted_total 1",
		"egret_client_connections_refused_total 1",
		"egret_tunnels 0",
		"egret_tunnels_opened_total 1",
		"egret_origin_connections 1",
	};
	char *page;

	(void)state;
	metrics_count(workers[0], &r);
	metrics_count(workers[1], &r);
	r = request(&stripe, 429);
	r.verdict = (struct verdict){.reason = REASON_RATE, .section = &stripe};
	r.ending = ENDING_RATE_LIMITED;
	metrics_count(workers[1], &r);
	r = request(NULL, 403);
	r.verdict = (struct verdict){.reason = REASON_NO_MATCH};
	r.ending = ENDING_DENIED;
	metrics_count(workers[0], &r);
	r = request(&stripe, 0);
	r.decided = false;
	r.ending = ENDING_CLIENT_TIMEOUT;
	metrics_count(workers[1], &r);
	r = request(&stripe, 502);
	r.verdict.reported = true;
	metrics_count(workers[1], &r);
	metrics_client(workers[0], 1);
	metrics_client(workers[1], 1);
	metrics_client(workers[1], -1);
	metrics_accepted(workers[1]);
	metrics_refused(workers[0]);
	metrics_tunnel(workers[0], 1);
	metrics_tunnel(workers[0], -1);
	metrics_origin(workers[0], 1);
	page = page_of(workers, 2);
	expect_lines(page, lines, COUNT_OF(lines));
	expect_valid(page);
	free(page);
	metrics_free(workers[0]);
	metrics_free(workers[1]);
}

static void durations_fall_into_inclusive_cumulative_buckets(void **state)
{
	const double connects[] = {0, 0.0005, 0.00050001, 0.3, 60, 61, 1e300, -1, 0.0 / 0.0};
	struct metrics *m = metrics_new();
	struct record r = request(&stripe, 200);
	const char *const lines[] = {
		"egret_connect_seconds_bucket{le=\"0.0005\"} 2",
		"egret_connect_seconds_bucket{le=\"0.001\"} 3",
		"egret_connect_seconds_bucket{le=\"0.25\"} 3",
		"egret_connect_seconds_bucket{le=\"0.5\"} 4",
		"egret_connect_seconds_bucket{le=\"30\"} 4",
		"egret_connect_seconds_bucket{le=\"60\"} 5",
		"egret_connect_seconds_bucket{le=\"+Inf\"} 7",
		"egret_connect_seconds_sum 1000000121.301000010",
		"egret_connect_seconds_count 7",
		"egret_dns_seconds_count 0",
		"egret_request_duration_seconds_count 8",
	};
	char *page;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(connects); i++) {
		r.connect = connects[i];
		r.tunnel = i == 0;
		metrics_count(m, &r);
	}
	page = page_of(&m, 1);
	expect_lines(page, lines, COUNT_OF(lines));
	expect_valid(page);
	free(page);
	metrics_free(m);
}

static void any_name_is_a_valid_label(void **state)
{
	struct metrics *m = metrics_new();
	char name[257];
	struct section s = {.name = name};
	struct record r = request(&s, 200);
	const char *const lines[] = {
		"egret_rate_limited_total{partner=\"a\\\"b\\\\c\\nd\xc3\xa9\xc2\x80\"} 0"};
	char *page;

	(void)state;
	for (int i = 0; i < 255; i++)
		name[i] = (char)(i + 1);
	name[255] = '\0';
	metrics_count(m, &r);
	strcpy(name, "a\"b\\c\nd\xe9\x80");
	metrics_count(m, &r);
	page = page_of(&m, 1);
	expect_lines(page, lines, COUNT_OF(lines));
	expect_valid(page);
	free(page);
	metrics_free(m);
}

static void counts_outlive_the_section_that_they_were_counted_by(void **state)
{
	struct metrics *m = metrics_new();
	const char *const lines[] = {
		"egret_requests_total{partner=\"a\",verdict=\"allow\",code=\"2xx\"} 2",
		"egret_requests_total{partner=\"b\",verdict=\"allow\",code=\"2xx\"} 1",
	};
	const char *const names[] = {"a", "b", "a"};
	char *page;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		char *name = strdup(names[i]);
		struct section s = {.name = name};
		struct record r = request(&s, 200);

		metrics_count(m, &r);
		free(name);
	}
	page = page_of(&m, 1);
	expect_lines(page, lines, COUNT_OF(lines));
	free(page);
	metrics_free(m);
}

static void count_names(struct metrics *m, int from, int to)
{
	for (int i = from; i < to; i++) {
		char name[32];
		struct section s = {.name = name};
		struct record r = request(&s, 200);

		snprintf(name, sizeof(name), "partner-%d", i);
		metrics_count(m, &r);
	}
}

static void names_over_the_limit_count_as_other(void **state)
{
	struct metrics *workers[2] = {metrics_new(), metrics_new()};
	const char *const lines[] = {
		"egret_requests_total{partner=\"other\",verdict=\"allow\",code=\"2xx\"} 502",
		"egret_requests_total{partner=\"partner-9997\",verdict=\"allow\",code=\"2xx\"} 3",
	};
	char *page;

	(void)state;
	count_names(workers[0], 0, METRICS_NAMES + 498);
	count_names(workers[1], 0, 9998);
	count_names(workers[1], 9997, 10000);
	page = page_of(workers, 2);
	expect_lines(page, lines, COUNT_OF(lines));
	expect_valid(page);
	free(page);
	metrics_free(workers[0]);
	metrics_free(workers[1]);
}

static _Atomic bool counting;

static void *count_many(void *arg)
{
	count_names(arg, 0, 5000);
	atomic_store(&counting, false);
	return NULL;
}

static void a_page_may_be_printed_while_names_are_added(void **state)
{
	struct metrics *m = metrics_new();
	pthread_t thread;
	char *page = NULL;

	(void)state;
	atomic_store(&counting, true);
	assert_int_equal(pthread_create(&thread, NULL, count_many, m), 0);
	do {
		free(page);
		page = page_of(&m, 1);
	} while (atomic_load(&counting));
	expect_valid(page);
	pthread_join(thread, NULL);
	free(page);
	metrics_free(m);
}

/* `metrics_test bench`: what a count costs, with few partners and with many. */
static int bench(void)
{
	static char names[8192][32];
	static struct section sections[8192];

	for (size_t many = 1; many <= COUNT_OF(sections); many *= 8192) {
		struct metrics *m = metrics_new();
		struct record r = request(&stripe, 200);
		const size_t n = 3000000;
		struct timespec from, to;

		for (size_t i = 0; i < many; i++) {
			snprintf(names[i], sizeof(names[i]), "some-partner-%zu", i);
			sections[i].name = names[i];
		}
		r.dns = r.connect = 0.01;
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		for (size_t i = 0; i < n; i++) {
			r.verdict.section = &sections[i * 7 & (many - 1)];
			metrics_count(m, &r);
		}
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		printf("%zu partners: %.0f ns\n", many,
			((double)(to.tv_sec - from.tv_sec) * 1e9 +
				(double)(to.tv_nsec - from.tv_nsec)) /
				(double)n);
		metrics_free(m);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_page_is_valid_and_has_every_family),
		cmocka_unit_test(counts_are_sums_over_workers),
		cmocka_unit_test(durations_fall_into_inclusive_cumulative_buckets),
		cmocka_unit_test(any_name_is_a_valid_label),
		cmocka_unit_test(counts_outlive_the_section_that_they_were_counted_by),
		cmocka_unit_test(names_over_the_limit_count_as_other),
		cmocka_unit_test(a_page_may_be_printed_while_names_are_added),
	};

	if (argc > 1 && strcmp(argv[1], "bench") == 0)
		return bench();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
