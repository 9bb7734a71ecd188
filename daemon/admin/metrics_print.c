/*
 * The page for /metrics is a sum over workers, and no snapshot: a request may be in one
 * family and not yet in the next.  But a histogram's count is the sum of its buckets as they were
 * read.
 */
#include "daemon/admin/metrics_parts.h"
#include "daemon/admin/metrics_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "daemon/version.h"

static const char *const code_names[CODES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

static uint64_t get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

struct page {
	FILE *out;
	struct metrics *const *workers;
	size_t n_workers;
};

static void print_value(
	FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	metrics_text_family(out, name, type, help);
	fprintf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void print_seconds(
	FILE *out, const char *name, const char *type, const char *help, double value)
{
	metrics_text_family(out, name, type, help);
	fprintf(out, "%s %.3f\n", name, isfinite(value) ? value : 0);
}

/* What every worker counts at `offset` in its struct, together. */
static uint64_t sum_at(const struct page *page, size_t offset)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < page->n_workers; i++)
		sum += get((const _Atomic uint64_t *)((const char *)page->workers[i] + offset));
	return sum;
}

static void print_connections(const struct page *page)
{
	static const struct {
		const char *name, *type, *help;
		size_t offset;
	} numbers[] = {
		{"egret_client_connections", "gauge", "Open client connections.",
			offsetof(struct metrics, clients)},
		{"egret_client_connections_accepted_total", "counter",
			"Client connections accepted.", offsetof(struct metrics, accepted)},
		{"egret_client_connections_refused_total", "counter",
			"Client connections refused because max-connections were open.",
			offsetof(struct metrics, refused)},
		{"egret_tunnels", "gauge", "Open tunnels.", offsetof(struct metrics, tunnels)},
		{"egret_tunnels_opened_total", "counter", "Tunnels opened.",
			offsetof(struct metrics, tunnels_opened)},
		{"egret_origin_connections", "gauge", "Connections to origins, idle ones included.",
			offsetof(struct metrics, origins)},
	};

	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		uint64_t sum = sum_at(page, numbers[i].offset);

		metrics_text_family(page->out, numbers[i].name, numbers[i].type, numbers[i].help);
		fprintf(page->out, "%s %lld\n", numbers[i].name, (long long)sum);
	}
}

static void print_outcomes(const struct page *page)
{
	metrics_text_family(
		page->out, "egret_denied_total", "counter", "Requests denied, by reason.");
	for (size_t i = 0; i < REASONS; i++)
		fprintf(page->out, "egret_denied_total{reason=\"%s\"} %llu\n",
			reason_name((enum reason)i),
			(unsigned long long)sum_at(
				page, offsetof(struct metrics, denied) + i * sizeof(uint64_t)));
	metrics_text_family(page->out, "egret_endings_total", "counter",
		"Exchanges and tunnels that are over, by how they ended.");
	for (size_t i = 0; i < N_ENDINGS; i++)
		fprintf(page->out, "egret_endings_total{end=\"%s\"} %llu\n",
			ending_name((enum ending)i),
			(unsigned long long)sum_at(
				page, offsetof(struct metrics, endings) + i * sizeof(uint64_t)));
}

static void print_cache_results(const struct page *page)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} families[] = {
		{"egret_cache_requests_total",
			"Requests to partners that are cached, by what the cache did.",
			offsetof(struct metrics, cache)},
		{"egret_cache_bytes_total", "Bytes of bodies to clients of these requests.",
			offsetof(struct metrics, cache_bytes)},
	};

	for (size_t f = 0; f < COUNT_OF(families); f++) {
		metrics_text_family(page->out, families[f].name, "counter", families[f].help);
		for (size_t i = CACHE_RESULT_NONE + 1; i < N_CACHE_RESULTS; i++)
			fprintf(page->out, "%s{result=\"%s\"} %llu\n", families[f].name,
				cache_result_name((enum cache_result)i),
				(unsigned long long)sum_at(
					page, families[f].offset + i * sizeof(uint64_t)));
	}
}

static void print_cache(FILE *out, const struct store_counts *c)
{
	print_value(out, "egret_cache_objects", "gauge", "Responses stored now.", c->objects);
	print_value(out, "egret_cache_bytes", "gauge", "Bytes of segments in use.", c->bytes);
	print_value(out, "egret_cache_size_bytes", "gauge", "[cache] size.", c->size);
	print_value(out, "egret_cache_disk", "gauge",
		"1: on disk.  0: in memory, as configured or after an error.", c->disk);
	print_value(out, "egret_cache_loading", "gauge",
		"1: what is on disk is still being found again.", c->loading);
	print_value(out, "egret_cache_stored_total", "counter", "Responses stored.", c->stored);
	print_value(out, "egret_cache_evicted_total", "counter",
		"Responses that left to make room.", c->evicted);
	print_value(out, "egret_cache_removed_total", "counter",
		"Responses invalidated, replaced or purged.", c->removed);
	print_value(out, "egret_cache_carried_total", "counter",
		"Responses kept when their segment was reclaimed.", c->carried);
	print_value(out, "egret_cache_refused_total", "counter", "Responses that found no room.",
		c->refused);
	print_value(out, "egret_cache_corrupt_total", "counter",
		"Records that were not what had been written, and are gone.", c->corrupt);
	print_value(out, "egret_cache_disk_errors_total", "counter", "Failed reads and writes.",
		c->disk_errors);
}

static void print_histogram(
	const struct page *page, const char *name, const char *help, size_t offset)
{
	uint64_t count = 0, sum = sum_at(page, offset + offsetof(struct histogram, sum));

	metrics_text_family(page->out, name, "histogram", help);
	for (size_t i = 0; i < BUCKETS; i++) {
		count += sum_at(
			page, offset + offsetof(struct histogram, buckets) + i * sizeof(uint64_t));
		fprintf(page->out, "%s_bucket{le=\"%s\"} %llu\n", name,
			i < BUCKETS - 1 ? metrics_bounds[i].text : "+Inf",
			(unsigned long long)count);
	}
	fprintf(page->out, "%s_sum %llu.%09llu\n", name, (unsigned long long)(sum / 1000000000),
		(unsigned long long)(sum % 1000000000));
	fprintf(page->out, "%s_count %llu\n", name, (unsigned long long)count);
}

static void print_histograms(const struct page *page)
{
	print_histogram(page, "egret_request_duration_seconds",
		"From a request's first byte to its response's last; tunnels are not in it.",
		offsetof(struct metrics, total));
	print_histogram(page, "egret_first_byte_seconds",
		"From a request's first byte to the first byte of the origin's response.",
		offsetof(struct metrics, first_byte));
	print_histogram(page, "egret_connect_seconds", "Connecting to an origin.",
		offsetof(struct metrics, connect));
	print_histogram(page, "egret_dns_seconds", "Waiting for the addresses of a name.",
		offsetof(struct metrics, dns));
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct partner *const *)a)->name, (*(struct partner *const *)b)->name);
}

struct partners {
	struct partner **at; /* of all workers, sorted by name */
	size_t n;
};

static bool collect_partners(const struct page *page, struct partners *partners)
{
	struct partner *newest[page->n_workers + 1];
	size_t n = 0;

	for (size_t i = 0; i < page->n_workers; i++) {
		newest[i] = atomic_load_explicit(&page->workers[i]->newest, memory_order_acquire);
		for (struct partner *p = newest[i]; p; p = p->next)
			n++;
	}
	partners->at = malloc((n + 1) * sizeof(struct partner *));
	if (!partners->at)
		return false;
	for (size_t i = 0; i < page->n_workers; i++)
		for (struct partner *p = newest[i]; p; p = p->next)
			partners->at[partners->n++] = p;
	qsort(partners->at, n, sizeof(struct partner *), by_name);
	return true;
}

/* What the first `n` of `partners` count at `offset`, together. */
static uint64_t sum_partners(struct partner *const *partners, size_t n, size_t offset)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += get((const _Atomic uint64_t *)((const char *)partners[i] + offset));
	return sum;
}

static void print_requests(FILE *out, struct partner *const *same, size_t n)
{
	for (unsigned i = 0; i < N_OUTCOMES * CODES; i++) {
		uint64_t sum = sum_partners(
			same, n, offsetof(struct partner, requests) + i * sizeof(uint64_t));

		if (sum == 0)
			continue;
		fputs("egret_requests_total{partner=\"", out);
		metrics_text_label(out, same[0]->name);
		fprintf(out, "\",verdict=\"%s\",code=\"%s\"} %llu\n",
			outcome_name((enum outcome)(i / CODES)), code_names[i % CODES],
			(unsigned long long)sum);
	}
}

static void print_direction(FILE *out, const char *direction, const char *partner, uint64_t sum)
{
	fprintf(out, "egret_bytes_total{direction=\"%s\",partner=\"", direction);
	metrics_text_label(out, partner);
	fprintf(out, "\"} %llu\n", (unsigned long long)sum);
}

static void print_bytes(FILE *out, struct partner *const *same, size_t n)
{
	print_direction(out, "from_client", same[0]->name,
		sum_partners(same, n, offsetof(struct partner, from_client)));
	print_direction(out, "to_client", same[0]->name,
		sum_partners(same, n, offsetof(struct partner, to_client)));
}

static void print_rate_limited(FILE *out, struct partner *const *same, size_t n)
{
	fputs("egret_rate_limited_total{partner=\"", out);
	metrics_text_label(out, same[0]->name);
	fprintf(out, "\"} %llu\n",
		(unsigned long long)sum_partners(same, n, offsetof(struct partner, rate_limited)));
}

static void each_partner(FILE *out, const struct partners *partners,
	void (*print)(FILE *out, struct partner *const *same, size_t n))
{
	size_t n;

	for (size_t i = 0; i < partners->n; i += n) {
		for (n = 1; i + n < partners->n; n++)
			if (strcmp(partners->at[i]->name, partners->at[i + n]->name) != 0)
				break;
		print(out, partners->at + i, n);
	}
}

static void print_partners(FILE *out, const struct partners *partners)
{
	metrics_text_family(out, "egret_requests_total", "counter",
		"Requests and CONNECTs that are over, by partner, verdict and class of status.");
	each_partner(out, partners, print_requests);
	metrics_text_family(out, "egret_bytes_total", "counter",
		"Bytes of bodies and tunnels, by partner and direction.");
	each_partner(out, partners, print_bytes);
	metrics_text_family(out, "egret_rate_limited_total", "counter",
		"Requests answered 429 because the partner's rate was used up.");
	each_partner(out, partners, print_rate_limited);
}

static void print_dns(FILE *out, const struct resolver_counts *const *resolvers, size_t n)
{
	struct resolver_counts sum = {0};

	for (size_t i = 0; i < n; i++) {
		const struct resolver_counts *c = resolvers[i];
		double seconds;

		if (!c)
			continue;
		sum.asked += __atomic_load_n(&c->asked, __ATOMIC_RELAXED);
		sum.cache_hits += __atomic_load_n(&c->cache_hits, __ATOMIC_RELAXED);
		sum.ok += __atomic_load_n(&c->ok, __ATOMIC_RELAXED);
		sum.no_name += __atomic_load_n(&c->no_name, __ATOMIC_RELAXED);
		sum.failed += __atomic_load_n(&c->failed, __ATOMIC_RELAXED);
		sum.timeout += __atomic_load_n(&c->timeout, __ATOMIC_RELAXED);
		sum.full += __atomic_load_n(&c->full, __ATOMIC_RELAXED);
		__atomic_load(&c->seconds, &seconds, __ATOMIC_RELAXED);
		sum.seconds += seconds;
	}
	const struct {
		enum resolver_status status;
		uint64_t n;
	} answers[] = {
		{RESOLVER_OK, sum.ok},
		{RESOLVER_NO_NAME, sum.no_name},
		{RESOLVER_FAILED, sum.failed},
		{RESOLVER_TIMEOUT, sum.timeout},
		{RESOLVER_FULL, sum.full},
	};

	print_value(out, "egret_dns_lookups_total", "counter", "Look-ups of names.", sum.asked);
	print_value(out, "egret_dns_cache_hits_total", "counter",
		"Look-ups answered from the cache.", sum.cache_hits);
	metrics_text_family(
		out, "egret_dns_answers_total", "counter", "Answers to look-ups, by result.");
	for (size_t i = 0; i < COUNT_OF(answers); i++)
		fprintf(out, "egret_dns_answers_total{result=\"%s\"} %llu\n",
			resolver_status_name(answers[i].status), (unsigned long long)answers[i].n);
	print_seconds(out, "egret_dns_wait_seconds_total", "counter",
		"Time that look-ups waited for DNS servers.", sum.seconds);
}

static void print_facts(FILE *out, const struct metrics_facts *facts)
{
	print_value(out, "egret_policy_generation", "gauge",
		"Number of the policy generation in force.", facts->generation);
	metrics_text_family(out, "egret_policy_info", "gauge",
		"SHA-256 of the files that the generation in force was made from.");
	fputs("egret_policy_info{digest=\"", out);
	metrics_text_label(out, facts->digest ? facts->digest : "");
	fputs("\"} 1\n", out);
	metrics_text_family(out, "egret_reloads_total", "counter", "Reloads, by result.");
	fprintf(out, "egret_reloads_total{result=\"success\"} %llu\n",
		(unsigned long long)facts->reloads_ok);
	fprintf(out, "egret_reloads_total{result=\"failure\"} %llu\n",
		(unsigned long long)facts->reloads_failed);
	print_seconds(out, "egret_reload_last_success_timestamp_seconds", "gauge",
		"Unix time of the last reload that succeeded.", facts->reload_time);
	print_seconds(out, "egret_start_time_seconds", "gauge", "Unix time when egretd started.",
		facts->start_time);
	print_value(out, "egret_proxy_restarts_total", "counter",
		"Times that the gate started the proxy again.", facts->restarts);
	print_value(out, "egret_client_connections_limit", "gauge", "max-connections.",
		facts->max_connections);
	print_value(out, "egret_access_log_lines_lost_total", "counter",
		"Access log lines that their target did not take.", facts->access_lost);
	metrics_text_family(out, "egret_build_info", "gauge", "The version of egretd.");
	fprintf(out, "egret_build_info{version=\"%s\"} 1\n", EGRET_VERSION);
}

char *metrics_print(struct metrics *const *workers, const struct resolver_counts *const *resolvers,
	size_t n_workers, const struct metrics_facts *facts, size_t *length)
{
	struct page page = {.workers = workers, .n_workers = n_workers};
	struct partners partners = {0};
	char *text = NULL;

	if (!collect_partners(&page, &partners))
		return NULL;
	page.out = open_memstream(&text, length);
	if (!page.out)
		goto out;
	print_partners(page.out, &partners);
	print_connections(&page);
	print_outcomes(&page);
	print_cache_results(&page);
	print_histograms(&page);
	print_dns(page.out, resolvers, n_workers);
	if (facts->cache)
		print_cache(page.out, facts->cache);
	print_facts(page.out, facts);
	if ((ferror(page.out) | fclose(page.out)) != 0) {
		free(text);
		text = NULL;
	}
out:
	free(partners.at);
	return text;
}
