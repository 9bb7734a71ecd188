/*
 * resolver.c - look-ups and the questions they share.
 *
 * A look-up that the table of names cannot answer joins the question of its name, or begins
 * it: two DNS queries, one for each family of addresses.  Their on_reply() only puts the
 * question on the ready list; settle() does the rest from the loop, never inside c-ares, so
 * a callback may ask again or cancel as it likes.
 *
 * A question has one timer.  It first runs to the end of the whole answer.  Once one family
 * has addresses it runs for RESOLVER_DELAY, then on to the end for the other family, and
 * meanwhile the name is answered at once with what there is.  At the end the name and its
 * waiters leave the question; c-ares cannot cancel one query, so the question itself stays,
 * nameless, until both replies came.
 */
#include "daemon/net/resolver.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/net/dns.h"
#include "daemon/net/names.h"

enum { FAMILIES = 2 }; /* by enum dns_type */

struct family {
	struct dns_query query; /* first: on_reply() goes from it to its family */
	struct lookup_question *question;
	bool done; /* else there is no answer: DNS_TIMEOUT, no addresses */
};

struct lookup_question {
	struct resolver *resolver;
	struct name *name; /* NULL: over, only c-ares is not done with it */
	struct lookup *first, **last;
	size_t waiters;
	ev_timer timer;
	double left;  /* seconds of the whole answer when `timer` runs out */
	bool partial; /* the delay is over: answer with what there is */
	bool ready;   /* on the ready list */
	int replies;  /* still to come */
	struct lookup_question *next_ready;
	struct family families[FAMILIES];
};

struct resolver {
	struct ev_loop *loop;
	struct resolver_options options;
	struct dns *dns;
	ev_prepare settle; /* never started, only fed: the ready list is not empty */
	struct lookup_question *ready;
	size_t n_questions;
	struct names *hosts; /* NULL: none; only read */
	struct names names;
	struct resolver_counts counts;
};

/* One thread writes, others read. */
static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static void count_seconds(double *seconds, double more)
{
	double sum = *seconds + more;

	__atomic_store(seconds, &sum, __ATOMIC_RELAXED);
}

static void count_status(struct resolver_counts *counts, enum resolver_status status)
{
	uint64_t *counters[] = {
		[RESOLVER_OK] = &counts->ok,
		[RESOLVER_NO_NAME] = &counts->no_name,
		[RESOLVER_FAILED] = &counts->failed,
		[RESOLVER_TIMEOUT] = &counts->timeout,
		[RESOLVER_FULL] = &counts->full,
	};

	count(counters[status]);
}

/* --- look-ups and their question --- */

static void join(struct lookup_question *question, struct lookup *lookup)
{
	lookup->question = question;
	lookup->next = NULL;
	lookup->prev = question->last;
	*question->last = lookup;
	question->last = &lookup->next;
	question->waiters++;
}

static void leave(struct lookup *lookup)
{
	struct lookup_question *question = lookup->question;

	*lookup->prev = lookup->next;
	*(lookup->next ? &lookup->next->prev : &question->last) = lookup->prev;
	question->waiters--;
	lookup->question = NULL;
}

/* Callbacks may cancel any look-up and begin others; none can join this question any more. */
static void answer_waiters(struct lookup_question *question, const struct resolver_answer *answer)
{
	struct resolver *resolver = question->resolver;
	struct lookup *lookup;

	while ((lookup = question->first)) {
		leave(lookup);
		lookup->answer = *answer;
		lookup->took = ev_now(resolver->loop) - lookup->started;
		count_status(&resolver->counts, answer->status);
		count_seconds(&resolver->counts.seconds, lookup->took);
		lookup->on_answer(lookup);
	}
}

/* --- replies to an answer --- */

static bool has_addresses(const struct family *family)
{
	return family->done && family->query.error == DNS_OK;
}

static enum resolver_status status_of(enum dns_error error)
{
	switch (error) {
	case DNS_OK:
		return RESOLVER_OK;
	case DNS_NO_DATA:
	case DNS_NO_NAME:
		return RESOLVER_NO_NAME;
	case DNS_TIMEOUT:
		return RESOLVER_TIMEOUT;
	case DNS_NO_ROOM:
		return RESOLVER_FULL;
	default:
		return RESOLVER_FAILED;
	}
}

/* Addresses of either family are an answer.  NXDOMAIN is about the name, whatever was asked
 * of it (RFC 8020); "no data" says nothing about the family that failed, and what a server
 * said tells more than a timeout. */
static enum dns_error error_of(const struct lookup_question *question)
{
	enum dns_error six = question->families[DNS_AAAA].query.error;
	enum dns_error four = question->families[DNS_A].query.error;

	if (six == DNS_OK || four == DNS_OK)
		return DNS_OK;
	if (six == DNS_NO_NAME || four == DNS_NO_NAME)
		return DNS_NO_NAME;
	if (six == DNS_NO_DATA)
		return four;
	return six == DNS_TIMEOUT && four != DNS_NO_DATA ? four : six;
}

static bool has_addr(const struct resolver_answer *answer, const struct addr *addr)
{
	for (size_t i = 0; i < answer->n_addrs; i++)
		if (addr_equal(&answer->addrs[i], addr))
			return true;
	return false;
}

static void add_addrs(struct resolver_answer *answer, const struct family *family, size_t most)
{
	for (size_t i = 0; i < family->query.n_addrs && i < most; i++)
		if (!has_addr(answer, &family->query.addrs[i]))
			answer->addrs[answer->n_addrs++] = family->query.addrs[i];
}

static double smaller(double a, double b)
{
	return a < b ? a : b;
}

static bool failed(const struct family *family)
{
	return family->query.error != DNS_OK && status_of(family->query.error) != RESOLVER_NO_NAME;
}

/* Seconds that the addresses there are stand for. */
static double addrs_ttl(const struct lookup_question *question)
{
	const struct resolver_options *options = &question->resolver->options;
	double ttl = options->max_ttl;

	for (const struct family *f = question->families; f < question->families + FAMILIES; f++)
		if (has_addresses(f))
			ttl = smaller(ttl,
				f->query.ttl > options->min_ttl ? f->query.ttl : options->min_ttl);
	return ttl;
}

/* What is known by now.  Each family has half of the places, and what the other one leaves. */
static void compose(const struct lookup_question *question, struct resolver_answer *answer)
{
	const struct family *six = &question->families[DNS_AAAA];
	const struct family *four = &question->families[DNS_A];
	size_t half = RESOLVER_ADDRS / 2;

	answer->status = status_of(error_of(question));
	answer->cached = false;
	answer->partial = failed(six) || failed(four); /* DNS_TIMEOUT until there is a reply */
	answer->ttl = addrs_ttl(question);
	answer->n_addrs = 0;
	add_addrs(answer, six,
		RESOLVER_ADDRS - (four->query.n_addrs < half ? four->query.n_addrs : half));
	add_addrs(answer, four, RESOLVER_ADDRS - answer->n_addrs);
}

/* Seconds that an answer may be kept. */
static double ttl_of(const struct lookup_question *question)
{
	const struct resolver_options *options = &question->resolver->options;
	double ttl = addrs_ttl(question);

	for (const struct family *f = question->families; f < question->families + FAMILIES; f++)
		if (failed(f))
			ttl = smaller(
				ttl, f->query.error == DNS_NO_ROOM ? 0 : RESOLVER_FAILURE_TTL);
	return error_of(question) == DNS_OK ? ttl : smaller(ttl, options->negative_ttl);
}

static void keep(struct lookup_question *question, const struct resolver_answer *answer)
{
	struct names *names = &question->resolver->names;
	struct name *name = question->name;
	double ttl = ttl_of(question);

	question->name = NULL;
	name->question = NULL;
	if (ttl > 0 && name_set_addrs(name, answer->addrs, answer->n_addrs)) {
		name->status = (uint8_t)answer->status;
		name->partial = answer->partial;
		name->expires = clock_monotonic() + ttl;
		names_keep(names, name);
	} else {
		names_remove(names, name);
	}
}

/* --- a question's life --- */

static void question_free(struct lookup_question *question)
{
	ev_timer_stop(question->resolver->loop, &question->timer);
	question->resolver->n_questions--;
	free(question);
}

/* Everything is known, or nothing more is waited for. */
static void finish(struct lookup_question *question)
{
	struct resolver_answer answer;

	ev_timer_stop(question->resolver->loop, &question->timer);
	compose(question, &answer);
	keep(question, &answer);
	answer_waiters(question, &answer);
	if (question->replies == 0 && !question->ready)
		question_free(question);
}

static void set_timer(struct lookup_question *question, double seconds)
{
	struct ev_loop *loop = question->resolver->loop;

	ev_timer_stop(loop, &question->timer);
	ev_timer_set(&question->timer, seconds, 0.0);
	ev_timer_start(loop, &question->timer);
}

/* One family is known: from now on the other one has only a moment. */
static void begin_delay(struct lookup_question *question)
{
	double left;

	if (question->left > 0 || question->partial || !ev_is_active(&question->timer))
		return;
	left = ev_timer_remaining(question->resolver->loop, &question->timer);
	if (left <= RESOLVER_DELAY)
		return;
	question->left = left - RESOLVER_DELAY;
	set_timer(question, RESOLVER_DELAY);
}

static void settle(struct lookup_question *question)
{
	const struct family *six = &question->families[DNS_AAAA];
	const struct family *four = &question->families[DNS_A];

	if (question->name && six->done && four->done)
		finish(question);
	else if (question->name && (has_addresses(six) || has_addresses(four)))
		begin_delay(question);
	else if (question->replies == 0)
		question_free(question);
}

static void on_settle(struct ev_loop *loop, ev_prepare *w, int revents)
{
	struct resolver *resolver = w->data;
	struct lookup_question *question;

	(void)loop, (void)revents;
	while ((question = resolver->ready)) {
		resolver->ready = question->next_ready;
		question->ready = false;
		settle(question);
	}
}

static void answer_in_part(struct lookup_question *question)
{
	struct resolver_answer answer;

	question->partial = true;
	set_timer(question, question->left);
	question->left = 0;
	compose(question, &answer);
	answer_waiters(question, &answer);
}

static void on_question_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct lookup_question *question = timer->data;

	(void)loop, (void)revents;
	if (question->left > 0) {
		answer_in_part(question);
		return;
	}
	for (int i = 0; i < FAMILIES; i++)
		question->families[i].done = true; /* with DNS_TIMEOUT, if it was not */
	finish(question);
}

/* --- asking --- */

static void on_reply(struct dns_query *query)
{
	struct family *family = (struct family *)query;
	struct lookup_question *question = family->question;
	struct resolver *resolver = question->resolver;

	question->replies--;
	family->done = true;
	if (!question->ready) {
		question->ready = true;
		question->next_ready = resolver->ready;
		resolver->ready = question;
	}
	ev_feed_event(resolver->loop, &resolver->settle, EV_CUSTOM);
}

static struct lookup_question *question_new(struct resolver *resolver, struct name *name)
{
	struct lookup_question *question = calloc(1, sizeof(*question));

	if (!question)
		return NULL;
	question->resolver = resolver;
	question->name = name;
	name->question = question;
	question->last = &question->first;
	ev_init(&question->timer, on_question_timer);
	question->timer.data = question;
	for (int type = 0; type < FAMILIES; type++) {
		struct family *family = &question->families[type];

		family->question = question;
		family->query = (struct dns_query){
			.on_reply = on_reply, .type = (enum dns_type)type, .error = DNS_TIMEOUT};
	}
	resolver->n_questions++;
	return question;
}

static void send_queries(struct lookup_question *question)
{
	struct resolver *resolver = question->resolver;

	set_timer(question, resolver->options.timeout);
	question->replies = FAMILIES;
	for (int type = 0; type < FAMILIES; type++)
		dns_ask(resolver->dns, question->name->text, &question->families[type].query);
}

/* The question of a name that is new or whose answer has expired.  NULL: no memory. */
static struct lookup_question *begin(struct resolver *resolver, struct text text, struct name *name)
{
	struct lookup_question *question;

	if (!name)
		name = names_add(&resolver->names, text);
	else
		names_pin(&resolver->names, name);
	if (!name)
		return NULL;
	question = question_new(resolver, name);
	if (question)
		send_queries(question);
	else
		names_remove(&resolver->names, name);
	return question;
}

static bool is_localhost(struct text name)
{
	static const struct text localhost = {"localhost", 9}, below = {".localhost", 10};

	if (text_equal(name, localhost))
		return true;
	return name.length > below.length &&
	       memcmp(name.at + name.length - below.length, below.at, below.length) == 0;
}

/* RFC 6761 6.3: never asked of a server. */
static void answer_localhost(struct resolver_answer *answer)
{
	static const struct addr loopback[] = {
		{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
		{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}},
	};

	answer->status = RESOLVER_OK;
	answer->ttl = INFINITY;
	answer->n_addrs = COUNT_OF(loopback);
	memcpy(answer->addrs, loopback, sizeof(loopback));
}

static void answer_kept(struct resolver_answer *answer, const struct name *name)
{
	answer->status = name->status;
	answer->partial = name->partial;
	answer->ttl = name->expires - clock_monotonic();
	answer->n_addrs = name->n_addrs;
	if (name->n_addrs > 0)
		memcpy(answer->addrs, name->addrs, name->n_addrs * sizeof(*name->addrs));
}

/* What can be said without asking a server.  False: that is nothing. */
static bool answer_known(const struct name *name, struct text text, struct resolver_answer *answer)
{
	if (is_localhost(text))
		answer_localhost(answer);
	else if (text.length == 0 || text.length > NAME_LENGTH)
		answer->status = RESOLVER_NO_NAME;
	else if (name && name->question && name->question->partial)
		compose(name->question, answer);
	else if (name && !name->question && name->expires > clock_monotonic())
		answer_kept(answer, name);
	else
		return false;
	answer->cached = true;
	return true;
}

/* Joins the question of the name, or begins it.  False: a limit, or no memory. */
static bool ask(
	struct resolver *resolver, struct text text, struct name *name, struct lookup *lookup)
{
	struct lookup_question *question = name ? name->question : NULL;

	if (question ? question->waiters >= resolver->options.waiters
		     : resolver->n_questions >= resolver->options.queries)
		return false;
	if (!question)
		question = begin(resolver, text, name);
	if (!question)
		return false;
	join(question, lookup);
	return true;
}

bool resolver_ask(struct resolver *resolver, struct text text, struct lookup *lookup,
	void (*on_answer)(struct lookup *))
{
	struct name *name = resolver->hosts ? names_find(resolver->hosts, text) : NULL;

	if (!name)
		name = names_find(&resolver->names, text);
	CHECK(!lookup->question);
	lookup->answer.n_addrs = 0;
	lookup->answer.cached = false;
	lookup->answer.partial = false;
	lookup->answer.ttl = 0;
	lookup->started = ev_now(resolver->loop);
	lookup->took = 0;
	lookup->on_answer = on_answer;
	count(&resolver->counts.asked);
	if (answer_known(name, text, &lookup->answer))
		count(&resolver->counts.cache_hits);
	else if (ask(resolver, text, name, lookup))
		return false;
	else
		lookup->answer.status = RESOLVER_FULL;
	count_status(&resolver->counts, lookup->answer.status);
	return true;
}

void resolver_cancel(struct lookup *lookup)
{
	if (lookup->question)
		leave(lookup);
}

/* --- the resolver --- */

struct resolver *resolver_new(
	struct ev_loop *loop, const struct resolver_options *options, struct error *e)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver || !names_init(&resolver->names, options->cache_names)) {
		error_set(e, -ENOMEM, "resolver: no memory");
		goto out;
	}
	resolver->loop = loop;
	resolver->options = *options;
	resolver->options.servers = NULL; /* the caller's */
	ev_init(&resolver->settle, on_settle);
	resolver->settle.data = resolver;
	resolver->dns = dns_new(loop, options->servers, options->n_servers, options->timeout, e);
	if (!resolver->dns)
		goto out;
	return resolver;
out:
	resolver_free(resolver);
	return NULL;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	dns_free(resolver->dns);
	if (resolver->loop) {
		on_settle(resolver->loop, &resolver->settle, 0); /* the last replies */
		ev_clear_pending(resolver->loop, &resolver->settle);
	}
	CHECK(resolver->n_questions == 0);
	names_fini(&resolver->names);
	free(resolver);
}

void resolver_set_hosts(struct resolver *resolver, struct names *hosts)
{
	resolver->hosts = hosts;
}

const struct resolver_counts *resolver_counts(const struct resolver *resolver)
{
	return &resolver->counts;
}

const char *resolver_status_name(enum resolver_status status)
{
	static const char *const names[] = {
		[RESOLVER_OK] = "ok",
		[RESOLVER_NO_NAME] = "nxdomain",
		[RESOLVER_FAILED] = "failed",
		[RESOLVER_TIMEOUT] = "timeout",
		[RESOLVER_FULL] = "full",
	};

	return names[status];
}
