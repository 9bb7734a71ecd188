/*
 * inquiry_parts.h - for the files that together are the inquiry, and for no others.
 */
#pragma once

#include "daemon/net/resolver.h"
#include "daemon/proxy/generation.h"
#include "daemon/proxy/inquiry.h"
#include "daemon/proxy/survey.h"
#include "daemon/proxy/worker.h"

#define INQUIRY_NAMES 8 /* looked up at a time */
#define INQUIRY_LOOKS 8 /* at the connections, that wait for the one under way */

/* One name being looked up. */
struct inquiry_name {
	struct inquiry *inquiry;
	bool busy;
	uint64_t number;
	char name[256];
	struct query query; /* whose; client all zero: nobody's */
	bool asked;         /* for somebody */
	struct lookup lookup;
};

/* A look at the connections that waits. */
struct inquiry_look {
	uint64_t number;
	struct survey_ask ask;
};

struct inquiry {
	struct shared *shared;
	int channel;
	struct survey *survey; /* under way; NULL: none */
	uint64_t survey_question;
	struct inquiry_look looks[INQUIRY_LOOKS]; /* the first n_looks */
	size_t n_looks;
	struct resolver *resolver;     /* NULL: not needed yet */
	struct generation *generation; /* whose hosts the resolver has; NULL: none */
	struct inquiry_name names[INQUIRY_NAMES];
};

void inquiry_tell(struct inquiry *inquiry, uint64_t number, json_t *answer); /* takes it over */
void inquiry_refuse(struct inquiry *inquiry, uint64_t number, const char *why);

/* inquiry_dns.c */
void inquiry_dns(struct inquiry *inquiry, uint64_t number, const char *name, const char *source,
	const char *port);
void inquiry_dns_fini(struct inquiry *inquiry);
