#include "daemon/proxy/survey.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ascii_json.h"
#include "daemon/proxy/client.h"
#include "daemon/proxy/tunnel.h"
#include "daemon/proxy/worker.h"

#define TARGET 200 /* bytes of a target that are told */

/* A row that outlives its connection. */
struct kept {
	struct survey_row row;
	char section[80], method[16], target[TARGET];
};

/* A worker's. */
struct part {
	const struct survey_ask *ask;
	struct kept *rows; /* room for ask->limit */
	size_t n, matching, all;
	bool killed;
	atomic_bool done; /* the last that the worker touches */
};

struct survey {
	struct survey_ask ask;
	uint64_t number;
	unsigned n_parts;
	struct part parts[];
};

void survey_fill(struct survey_row *row, const struct record *record)
{
	row->origin = record->origin;
	row->egress = record->egress;
	row->has_egress = record->has_egress;
	row->decided = record->decided;
	row->section =
		record->decided && record->verdict.section ? record->verdict.section->name : NULL;
	row->method = record->method;
	row->target = record->target;
	row->from_client = record->from_client;
	row->to_client = record->to_client;
}

struct survey *survey_new(const struct survey_ask *ask, unsigned n_workers, uint64_t number)
{
	struct survey *s = calloc(1, sizeof(*s) + n_workers * sizeof(s->parts[0]));

	if (!s)
		return NULL;
	s->ask = *ask;
	s->number = number;
	s->n_parts = n_workers;
	for (unsigned i = 0; i < n_workers; i++) {
		s->parts[i].ask = &s->ask;
		s->parts[i].rows = calloc(ask->limit + 1, sizeof(*s->parts[i].rows));
		if (!s->parts[i].rows) {
			survey_free(s);
			return NULL;
		}
	}
	return s;
}

void survey_free(struct survey *s)
{
	for (unsigned i = 0; s && i < s->n_parts; i++)
		free(s->parts[i].rows);
	free(s);
}

/* ---- in the workers ---- */

static bool wanted(const struct survey_ask *ask, const struct survey_row *row)
{
	if (ask->has_source && !addr_equal(&ask->source, &row->client.addr))
		return false;
	return !ask->partner[0] || (row->section && strcmp(ask->partner, row->section) == 0);
}

static struct text keep(char *to, size_t size, struct text text)
{
	size_t n = text.length < size ? text.length : size - 1;

	if (n)
		memcpy(to, text.at, n);
	return (struct text){to, n};
}

static void on_row(void *arg, const struct survey_row *row)
{
	struct part *p = arg;
	struct kept *k;

	p->all++;
	if (!wanted(p->ask, row))
		return;
	p->matching++;
	if (p->n == p->ask->limit)
		return;
	k = &p->rows[p->n++];
	k->row = *row;
	k->row.method = keep(k->method, sizeof(k->method), row->method);
	k->row.target = keep(k->target, sizeof(k->target), row->target);
	if (row->section) {
		keep(k->section, sizeof(k->section), text_of(row->section));
		k->row.section = k->section;
	}
}

void survey_take_part(struct survey *s, struct worker *w)
{
	struct part *p = &s->parts[w->index];

	w->surveyed = s->number;
	if (s->ask.kill) {
		p->killed = clients_kill(w, s->ask.kill) || tunnels_kill(w, s->ask.kill);
	} else {
		clients_each(w, on_row, p);
		tunnels_each(w, on_row, p);
	}
	atomic_store(&p->done, true);
}

/* ---- in the main thread ---- */

bool survey_is_done(const struct survey *s, struct worker *const *workers)
{
	for (unsigned i = 0; i < s->n_parts; i++)
		if (!atomic_load(&workers[i]->ended) && !atomic_load(&s->parts[i].done))
			return false;
	return true;
}

static json_t *endpoint_or_null(const struct endpoint *endpoint)
{
	char text[ENDPOINT_TEXT];

	return endpoint->port ? json_string(endpoint_print(endpoint, text)) : json_null();
}

static json_t *row_json(const struct survey_row *row)
{
	char egress[ADDR_TEXT];
	json_t *one = json_pack("{s:I, s:s, s:o, s:o, s:o, s:o}", "id", (json_int_t)row->id,
		"state", row->state, "client", endpoint_or_null(&row->client), "section",
		row->section ? json_string(row->section) : json_null(), "method",
		ascii_json_n(row->method.at ? row->method.at : "", row->method.length), "target",
		ascii_json_n(row->target.at ? row->target.at : "", row->target.length));

	json_object_set_new(one, "origin", endpoint_or_null(&row->origin));
	json_object_set_new(one, "egress",
		row->has_egress ? json_string(addr_print(&row->egress, egress)) : json_null());
	json_object_set_new(one, "captured", json_boolean(row->captured));
	json_object_set_new(one, "seconds", json_real(row->seconds));
	json_object_set_new(one, "idle", json_real(row->idle));
	json_object_set_new(one, "from_client", json_integer((json_int_t)row->from_client));
	json_object_set_new(one, "to_client", json_integer((json_int_t)row->to_client));
	return one;
}

static json_t *rows(const struct survey *s)
{
	json_t *list = json_array();
	size_t all = 0, matching = 0, told = 0;

	for (unsigned i = 0; i < s->n_parts; i++) {
		const struct part *p = &s->parts[i];

		if (!atomic_load(&p->done))
			continue;
		all += p->all;
		matching += p->matching;
		for (size_t r = 0; r < p->n && told < s->ask.limit; r++, told++)
			json_array_append_new(list, row_json(&p->rows[r].row));
	}
	return json_pack("{s:I, s:I, s:I, s:o}", "all", (json_int_t)all, "matching",
		(json_int_t)matching, "left_out", (json_int_t)(matching - told), "connections",
		list);
}

json_t *survey_answer(const struct survey *s)
{
	bool killed = false;

	if (!s->ask.kill)
		return rows(s);
	for (unsigned i = 0; i < s->n_parts; i++)
		killed = killed || (atomic_load(&s->parts[i].done) && s->parts[i].killed);
	return killed ? json_pack("{s:I}", "killed", (json_int_t)s->ask.kill) : NULL;
}
