#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/ascii_json.h"
#include "daemon/proxy/cached.h"
#include "daemon/proxy/inquiry_parts.h"
#include "daemon/sealed.h"

static int send_answer(struct inquiry *q, uint64_t number, struct text text)
{
	const struct message m = {.type = MESSAGE_TOLD, .number = number};
	int fd = sealed_new("egret-answer", text);
	int error = fd < 0 ? fd : channel_send(q->channel, &m, fd);

	if (fd >= 0)
		close(fd);
	return error;
}

void inquiry_refuse(struct inquiry *q, uint64_t number, const char *why)
{
	struct message m = {.type = MESSAGE_TOLD, .number = number};

	snprintf(m.text, sizeof(m.text), "%s", why);
	if (channel_send(q->channel, &m, -1) < 0)
		return; /* the gate's patience ends the question */
}

void inquiry_tell(struct inquiry *q, uint64_t number, json_t *answer)
{
	char *text = answer ? json_dumps(answer, JSON_INDENT(2)) : NULL;
	int error = text ? send_answer(q, number, text_of(text)) : -ENOMEM;

	if (error)
		inquiry_refuse(q, number, strerror(-error));
	json_decref(answer);
	free(text);
}

/* ---- rules ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *rule(const struct section *s, const struct metrics_partner *p)
{
	return json_pack("{s:s, s:s, s:o, s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "kind",
		s->kind == SECTION_PARTNER ? "partner" : "block", "name", s->name, "file",
		ascii_json(s->file), "line", s->line, "report", s->report, "allowed",
		(json_int_t)p->requests[OUTCOME_ALLOW], "denied",
		(json_int_t)p->requests[OUTCOME_DENY], "reported",
		(json_int_t)p->requests[OUTCOME_REPORT], "rate_limited",
		(json_int_t)p->rate_limited, "from_client", (json_int_t)p->from_client, "to_client",
		(json_int_t)p->to_client, "last", p->last > 0 ? json_real(p->last) : json_null());
}

static void tell_rules(struct inquiry *q, uint64_t number)
{
	const struct policy *policy = q->shared->generation->policy;
	size_t n = policy_n_sections(policy);
	const char **names = calloc(n + 2, sizeof(*names));
	struct metrics_partner *counts = calloc(n + 2, sizeof(*counts));
	json_t *list = json_array();

	for (size_t i = 0; names && i < n; i++)
		names[i] = policy_section(policy, i)->name;
	if (names && counts) {
		names[n] = "-"; /* what no section decided */
		qsort(names, n + 1, sizeof(*names), by_name);
		for (unsigned i = 0; i < q->shared->n_workers; i++)
			metrics_add_partners(q->shared->workers[i]->metrics, names, n + 1, counts);
		for (size_t i = 0; i <= n; i++) {
			static const struct section none = {
				.kind = SECTION_BLOCK, .name = "-", .file = ""};
			const struct section *s = i < n ? policy_section(policy, i) : &none;
			const char **at = bsearch(&s->name, names, n + 1, sizeof(*names), by_name);

			json_array_append_new(list, rule(s, &counts[at - names]));
		}
	}
	free(names);
	free(counts);
	inquiry_tell(q, number,
		json_pack("{s:I, s:o}", "generation", (json_int_t)q->shared->generation->number,
			"sections", list));
}

/* ---- the cache ---- */

static json_t *results(const struct inquiry *q)
{
	uint64_t counts[N_CACHE_RESULTS] = {0}, bytes[N_CACHE_RESULTS] = {0};
	json_t *all = json_object();

	for (unsigned i = 0; i < q->shared->n_workers; i++)
		metrics_add_cache(q->shared->workers[i]->metrics, counts, bytes);
	for (unsigned i = 0; i < N_CACHE_RESULTS; i++)
		json_object_set_new(all, cache_result_name((enum cache_result)i),
			json_pack("{s:I, s:I}", "requests", (json_int_t)counts[i], "bytes",
				(json_int_t)bytes[i]));
	return all;
}

static json_t *number_of(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static void tell_cache(struct inquiry *q, uint64_t number)
{
	struct store_counts c;

	if (!q->shared->cache) {
		inquiry_refuse(q, number,
			"nothing is cached: no partner has `cache = yes`, or [cache] size is off");
		return;
	}
	store_count(q->shared->cache->store, &c);
	inquiry_tell(q, number,
		json_pack("{s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			"objects", number_of(c.objects), "bytes", number_of(c.bytes), "size",
			number_of(c.size), "index_bytes", number_of(c.index_bytes), "disk", c.disk,
			"loading", c.loading, "stored", number_of(c.stored), "evicted",
			number_of(c.evicted), "removed", number_of(c.removed), "carried",
			number_of(c.carried), "refused", number_of(c.refused), "corrupt",
			number_of(c.corrupt), "disk_errors", number_of(c.disk_errors), "results",
			results(q)));
}

/* ---- connections ---- */

static void start_survey(struct inquiry *q, uint64_t number, const struct survey_ask *ask)
{
	struct shared *s = q->shared;

	q->survey = survey_new(ask, s->n_workers, number);
	if (!q->survey) {
		inquiry_refuse(q, number, "no memory");
		return;
	}
	q->survey_question = number;
	pthread_mutex_lock(&s->lock);
	s->survey = q->survey;
	s->survey_number = number;
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < s->n_workers; i++)
		worker_wake(s->workers[i]);
}

static void start_next(struct inquiry *q)
{
	while (!q->survey && q->n_looks > 0) {
		struct inquiry_look next = q->looks[0];

		memmove(q->looks, q->looks + 1, --q->n_looks * sizeof(q->looks[0]));
		start_survey(q, next.number, &next.ask);
	}
}

static void begin_survey(struct inquiry *q, uint64_t number, const struct survey_ask *ask)
{
	if (q->n_looks == INQUIRY_LOOKS) {
		inquiry_refuse(q, number, "too many look at the connections");
		return;
	}
	q->looks[q->n_looks++] = (struct inquiry_look){number, *ask};
	start_next(q);
}

void inquiry_look(struct inquiry *q)
{
	struct shared *s = q->shared;
	json_t *answer;

	if (!q->survey || !survey_is_done(q->survey, s->workers))
		return;
	pthread_mutex_lock(&s->lock);
	s->survey = NULL;
	pthread_mutex_unlock(&s->lock);
	answer = survey_answer(q->survey);
	if (answer)
		inquiry_tell(q, q->survey_question, answer);
	else
		inquiry_refuse(q, q->survey_question, "no connection has this id");
	survey_free(q->survey);
	q->survey = NULL;
	start_next(q);
}

static void list_connections(struct inquiry *q, uint64_t number, const char *limit,
	const char *source, const char *partner)
{
	struct survey_ask ask = {.limit = SURVEY_ROWS};
	char *end;

	if (strcmp(limit, "-") != 0) {
		unsigned long n = strtoul(limit, &end, 10);

		if (*end || n == 0 || n > SURVEY_ROWS) {
			inquiry_refuse(q, number, "limit: want a number, 1-1000");
			return;
		}
		ask.limit = n;
	}
	if (strcmp(source, "-") != 0) {
		ask.has_source = true;
		if (!addr_parse(&ask.source, text_of(source))) {
			inquiry_refuse(q, number, "source: want an IP address");
			return;
		}
	}
	if (strcmp(partner, "-") != 0)
		snprintf(ask.partner, sizeof(ask.partner), "%s", partner);
	begin_survey(q, number, &ask);
}

static void kill_connection(struct inquiry *q, uint64_t number, const char *id)
{
	struct survey_ask ask = {0};
	char *end;

	ask.kill = strtoull(id, &end, 10);
	if (!isdigit((unsigned char)id[0]) || *end || ask.kill == 0)
		inquiry_refuse(q, number, "id: want the number of a connection");
	else
		begin_survey(q, number, &ask);
}

/* ---- the questions ---- */

void inquiry_take(struct inquiry *q, const struct message *m)
{
	char what[16], a[260], b[80], c[80];
	int n = sscanf(m->text, "%15s %259s %79s %79s", what, a, b, c);

	if (!q->shared->workers)
		inquiry_refuse(q, m->number, "the proxy has not begun yet");
	else if (n == 1 && strcmp(what, "rules") == 0)
		tell_rules(q, m->number);
	else if (n == 1 && strcmp(what, "cache") == 0)
		tell_cache(q, m->number);
	else if (n == 4 && strcmp(what, "connections") == 0)
		list_connections(q, m->number, a, b, c);
	else if (n == 2 && strcmp(what, "kill") == 0)
		kill_connection(q, m->number, a);
	else if (n == 4 && strcmp(what, "dns") == 0)
		inquiry_dns(q, m->number, a, b, c);
	else
		inquiry_refuse(q, m->number, "the proxy does not know this question");
}

struct inquiry *inquiry_new(struct shared *shared, int channel)
{
	struct inquiry *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->shared = shared;
	q->channel = channel;
	for (size_t i = 0; i < INQUIRY_NAMES; i++)
		q->names[i].inquiry = q;
	return q;
}

void inquiry_free(struct inquiry *q)
{
	if (!q)
		return;
	inquiry_dns_fini(q);
	survey_free(q->survey);
	free(q);
}
