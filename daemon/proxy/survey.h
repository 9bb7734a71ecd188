/*
 * survey.h - one look at the connections of all workers, or the end of one of them.
 *
 * A connection is its worker's alone, so each worker copies its own into a part of its own, between
 * two turns of its loop; the main thread reads the parts when all are done.  How much a worker
 * copies is bounded, so that no loop is held up.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/text.h"

#define SURVEY_ROWS 1000 /* told at most */

struct worker;
struct record;
struct survey;

/* One connection, as it is now. */
struct survey_row {
	uint64_t id;
	struct endpoint client, origin; /* origin.port 0: none */
	struct addr egress;
	bool has_egress, captured, decided;
	const char *state;   /* static: "idle", "relaying", "tunnel" ... */
	const char *section; /* NULL: none; lives as long as the row's connection */
	struct text method, target;
	double seconds; /* since the request's first byte */
	double idle;    /* of a tunnel: since the last byte */
	uint64_t from_client, to_client;
};

/* What a record says. */
void survey_fill(struct survey_row *row, const struct record *record);

struct survey_ask {
	size_t limit;    /* rows, SURVEY_ROWS at most */
	bool has_source; /* only those of this client */
	struct addr source;
	char partner[80]; /* only of this section; "": of all */
	uint64_t kill;    /* not a look: ends the one with this id; 0: a look */
};

/* `number` is not that of the last one.  NULL: no memory. */
struct survey *survey_new(const struct survey_ask *ask, unsigned n_workers, uint64_t number);
void survey_free(struct survey *survey); /* accepts NULL; when survey_is_done() */

/* In the worker's thread; once for each survey: w->surveyed tells. */
void survey_take_part(struct survey *survey, struct worker *worker);

/* In the main thread. */
bool survey_is_done(const struct survey *survey, struct worker *const *workers);
json_t *survey_answer(const struct survey *survey); /* NULL: nothing has the id to be killed */
