/*
 * resolver.c - look-ups, questions, and c-ares in a libev loop.
 *
 * A look-up that the table of names cannot answer joins the question of its name, or begins
 * it: two c-ares queries, one for each family of addresses.  c-ares calls on_reply(), which
 * only notes the result and puts the question on the ready list; settle() does the rest from
 * the loop, never inside c-ares, so a callback may ask again or cancel as it likes.
 *
 * A question has one timer.  It first runs to the end of the whole answer.  Once one family
 * has addresses it runs for RESOLVER_DELAY, then on to the end for the other family, and
 * meanwhile the name is answered at once with what there is.  At the end the name and its
 * waiters leave the question; c-ares cannot cancel one query, so the question itself stays,
 * nameless, until both replies came.
 */
#include "daemon/net/resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/net/hosts.h"
#include "daemon/net/names.h"

#define EDNS_SIZE 1232 /* no fragments: what DNS flag day 2020 settled on */
#define MOST_SERVERS 8 /* of each, c-ares opens one UDP and one TCP socket */

enum { FAMILY_6, FAMILY_4, FAMILIES };

struct family {
	struct lookup_question *question;
	bool done;
	int error; /* ARES_SUCCESS: there are addresses */
	int ttl;   /* seconds, the least of all */
	size_t n;
	struct addr addrs[RESOLVER_ADDRS];
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
	ares_channel channel;
	ev_timer timer; /* c-ares' retries */
	ev_io sockets[2 * MOST_SERVERS];
	ev_prepare settle; /* never started, only fed: the ready list is not empty */
	struct lookup_question *ready;
	size_t n_questions;
	struct names names;
	struct resolver_counts counts;
};

static double monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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
	return family->done && family->error == ARES_SUCCESS;
}

static enum resolver_status status_of(int error)
{
	switch (error) {
	case ARES_SUCCESS:
		return RESOLVER_OK;
	case ARES_ENODATA:
	case ARES_ENOTFOUND:
	case ARES_EBADNAME:
		return RESOLVER_NO_NAME;
	case ARES_ETIMEOUT:
		return RESOLVER_TIMEOUT;
	case ARES_ENOMEM:
		return RESOLVER_FULL;
	default:
		return RESOLVER_FAILED;
	}
}

/* Addresses of either family are an answer.  NXDOMAIN is about the name, whatever was asked
 * of it (RFC 8020); "no data" says nothing about the family that failed, and what a server
 * said tells more than a timeout. */
static int error_of(const struct lookup_question *question)
{
	int six = question->families[FAMILY_6].error;
	int four = question->families[FAMILY_4].error;

	if (six == ARES_SUCCESS || four == ARES_SUCCESS)
		return ARES_SUCCESS;
	if (six == ARES_ENOTFOUND || four == ARES_ENOTFOUND)
		return ARES_ENOTFOUND;
	if (six == ARES_ENODATA)
		return four;
	return six == ARES_ETIMEOUT && four != ARES_ENODATA ? four : six;
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
	for (size_t i = 0; i < family->n && i < most; i++)
		if (!has_addr(answer, &family->addrs[i]))
			answer->addrs[answer->n_addrs++] = family->addrs[i];
}

/* What is known by now.  Each family has half of the places, and what the other one leaves. */
static void compose(const struct lookup_question *question, struct resolver_answer *answer)
{
	const struct family *six = &question->families[FAMILY_6];
	const struct family *four = &question->families[FAMILY_4];
	size_t half = RESOLVER_ADDRS / 2;

	answer->status = status_of(error_of(question));
	answer->cached = false;
	answer->n_addrs = 0;
	add_addrs(answer, six, RESOLVER_ADDRS - (four->n < half ? four->n : half));
	add_addrs(answer, four, RESOLVER_ADDRS - answer->n_addrs);
}

static double smaller(double a, double b)
{
	return a < b ? a : b;
}

static bool failed(const struct family *family)
{
	return family->error != ARES_SUCCESS && status_of(family->error) != RESOLVER_NO_NAME;
}

/* Seconds that an answer may be kept. */
static double ttl_of(const struct lookup_question *question)
{
	const struct resolver_options *options = &question->resolver->options;
	double ttl = options->max_ttl;

	for (const struct family *f = question->families; f < question->families + FAMILIES; f++) {
		if (f->error == ARES_SUCCESS)
			ttl = smaller(ttl, f->ttl > options->min_ttl ? f->ttl : options->min_ttl);
		else if (failed(f))
			ttl = smaller(ttl, RESOLVER_FAILURE_TTL);
	}
	return error_of(question) == ARES_SUCCESS ? ttl : smaller(ttl, options->negative_ttl);
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
		name->expires = monotonic() + ttl;
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
	const struct family *six = &question->families[FAMILY_6];
	const struct family *four = &question->families[FAMILY_4];

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
		question->families[i].done = true; /* with ARES_ETIMEOUT, if it was not */
	finish(question);
}

/* --- c-ares --- */

static int parse4(struct family *family, const unsigned char *reply, int length)
{
	struct ares_addrttl records[RESOLVER_ADDRS];
	int n = RESOLVER_ADDRS;
	int error = ares_parse_a_reply(reply, length, NULL, records, &n);

	for (int i = 0; error == ARES_SUCCESS && i < n; i++) {
		struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = records[i].ipaddr};
		struct endpoint e;

		if (family->n == 0 || records[i].ttl < family->ttl)
			family->ttl = records[i].ttl;
		if (endpoint_from_sockaddr(&e, (struct sockaddr *)&sa))
			family->addrs[family->n++] = e.addr;
	}
	return error;
}

static int parse6(struct family *family, const unsigned char *reply, int length)
{
	struct ares_addr6ttl records[RESOLVER_ADDRS];
	int n = RESOLVER_ADDRS;
	int error = ares_parse_aaaa_reply(reply, length, NULL, records, &n);

	for (int i = 0; error == ARES_SUCCESS && i < n; i++) {
		if (family->n == 0 || records[i].ttl < family->ttl)
			family->ttl = records[i].ttl;
		memcpy(family->addrs[family->n++].bytes, &records[i].ip6addr, 16);
	}
	return error;
}

static void on_reply(void *arg, int error, int timeouts, unsigned char *reply, int length)
{
	struct family *family = arg;
	struct lookup_question *question = family->question;
	struct resolver *resolver = question->resolver;

	(void)timeouts;
	question->replies--;
	if (question->name) {
		if (error == ARES_SUCCESS)
			error = family == &question->families[FAMILY_6]
					? parse6(family, reply, length)
					: parse4(family, reply, length);
		if (error == ARES_SUCCESS && family->n == 0)
			error = ARES_ENODATA; /* a chain of CNAMEs that ends in nothing */
		family->error = error;
		family->done = true;
	}
	if (!question->ready) {
		question->ready = true;
		question->next_ready = resolver->ready;
		resolver->ready = question;
	}
	ev_feed_event(resolver->loop, &resolver->settle, EV_CUSTOM);
}

/* After each call into c-ares: when does it want to be called next? */
static void arm(struct resolver *resolver)
{
	struct timeval t;

	ev_timer_stop(resolver->loop, &resolver->timer);
	if (!ares_timeout(resolver->channel, NULL, &t))
		return;
	ev_timer_set(&resolver->timer, (double)t.tv_sec + 1e-6 * (double)t.tv_usec + 1e-3, 0.0);
	ev_timer_start(resolver->loop, &resolver->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct resolver *resolver = timer->data;

	(void)loop, (void)revents;
	ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(resolver);
}

static void on_socket(struct ev_loop *loop, ev_io *io, int revents)
{
	struct resolver *resolver = io->data;

	(void)loop;
	ares_process_fd(resolver->channel, revents & EV_READ ? io->fd : ARES_SOCKET_BAD,
		revents & EV_WRITE ? io->fd : ARES_SOCKET_BAD);
	arm(resolver);
}

/* The watcher of `fd`, or one that is free. */
static ev_io *watcher_of(struct resolver *resolver, int fd)
{
	ev_io *idle = NULL;

	for (size_t i = 0; i < COUNT_OF(resolver->sockets); i++) {
		ev_io *io = &resolver->sockets[i];

		if (!ev_is_active(io))
			idle = io;
		else if (io->fd == fd)
			return io;
	}
	return idle;
}

/* c-ares says what it wants to know of a socket; nothing: it is about to close it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct resolver *resolver = arg;
	ev_io *io = watcher_of(resolver, fd);

	if (!io)
		return; /* then c-ares' timeouts are the answer */
	ev_io_stop(resolver->loop, io);
	if (!readable && !writable)
		return;
	ev_io_set(io, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	ev_io_start(resolver->loop, io);
}

/* --- asking --- */

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
	for (int i = 0; i < FAMILIES; i++) {
		question->families[i].question = question;
		question->families[i].error = ARES_ETIMEOUT;
	}
	resolver->n_questions++;
	return question;
}

static void send_queries(struct lookup_question *question)
{
	static const int types[FAMILIES] = {[FAMILY_6] = T_AAAA, [FAMILY_4] = T_A};
	struct resolver *resolver = question->resolver;

	set_timer(question, resolver->options.timeout);
	question->replies = FAMILIES;
	for (int i = 0; i < FAMILIES; i++)
		ares_query(resolver->channel, question->name->text, C_IN, types[i], on_reply,
			&question->families[i]);
	arm(resolver);
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
	answer->n_addrs = COUNT_OF(loopback);
	memcpy(answer->addrs, loopback, sizeof(loopback));
}

static void answer_kept(struct resolver_answer *answer, const struct name *name)
{
	answer->status = name->status;
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
	else if (name && !name->question && name->expires > monotonic())
		answer_kept(answer, name);
	else
		return false;
	answer->cached = true;
	return true;
}

/* Joins the question of the name, or begins it.  False: a limit, or no memory. */
static bool ask(struct resolver *resolver, struct text text, struct name *name,
	struct lookup *lookup)
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
	struct name *name = names_find(&resolver->names, text);

	CHECK(!lookup->question);
	lookup->answer.n_addrs = 0;
	lookup->answer.cached = false;
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

/* c-ares doubles the time of a try after each round of all servers: 1, 2 and 4 times the
 * first for three rounds.  All of it has to fit into the timeout. */
static void divide_timeout(struct ares_options *o, double timeout, size_t n_servers)
{
	double parts = n_servers > 1 ? 3.0 * (double)n_servers : 7.0;
	double first = 1000.0 * timeout / parts;

	o->tries = n_servers > 1 ? 2 : 3;
	o->timeout = first < 1.0 ? 1 : (int)first;
}

static int open_channel(struct resolver *resolver, size_t n_servers, struct error *e)
{
	struct ares_options o = {
		.flags = ARES_FLAG_EDNS,
		.ednspsz = EDNS_SIZE,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = resolver,
	};
	int error;

	divide_timeout(&o, resolver->options.timeout, n_servers);
	error = ares_init_options(&resolver->channel, &o,
		ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
			ARES_OPT_SOCK_STATE_CB | ARES_OPT_DOMAINS | ARES_OPT_NOROTATE);
	if (error == ARES_SUCCESS)
		return 0;
	resolver->channel = NULL;
	return error_set(e, -EIO, "resolver: c-ares: %s", ares_strerror(error));
}

/* How many servers resolv.conf named; c-ares asks as many as it names. */
static size_t count_servers(struct resolver *resolver)
{
	struct ares_addr_port_node *servers = NULL;
	size_t n = 0;

	if (ares_get_servers_ports(resolver->channel, &servers) != ARES_SUCCESS)
		return 0;
	for (const struct ares_addr_port_node *s = servers; s; s = s->next)
		n++;
	ares_free_data(servers);
	return n;
}

static int set_servers(struct resolver *resolver, const struct resolver_options *options,
	struct error *e)
{
	char list[MOST_SERVERS * (ENDPOINT_TEXT + 1)] = "";
	size_t length = 0;
	int error;

	if (options->n_servers > MOST_SERVERS)
		return error_set(e, -EINVAL, "resolver: %zu servers: want at most %d",
			options->n_servers, MOST_SERVERS);
	for (size_t i = 0; i < options->n_servers; i++) {
		char text[ENDPOINT_TEXT];

		length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s",
			i ? "," : "", endpoint_print(&options->servers[i], text));
	}
	error = ares_set_servers_ports_csv(resolver->channel, list);
	if (error != ARES_SUCCESS)
		return error_set(e, -EINVAL, "resolver: servers %s: %s", list, ares_strerror(error));
	return 0;
}

/* The times of the tries depend on the number of servers, which without a list of our own is
 * known only when c-ares has read resolv.conf: then it starts a second time. */
static int open_ares(struct resolver *resolver, const struct resolver_options *options,
	struct error *e)
{
	int r = open_channel(resolver, options->n_servers, e);

	if (r < 0)
		return r;
	if (options->n_servers > 0)
		return set_servers(resolver, options, e);
	size_t n = count_servers(resolver);

	if (n <= 1)
		return 0;
	ares_destroy(resolver->channel);
	return open_channel(resolver, n, e);
}

static void library_init(void)
{
	CHECK(ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS);
}

struct resolver *resolver_new(struct ev_loop *loop, const struct resolver_options *options,
	struct error *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	pthread_once(&once, library_init);
	if (!resolver || !names_init(&resolver->names, options->cache_names)) {
		error_set(e, -ENOMEM, "resolver: no memory");
		goto out;
	}
	resolver->loop = loop;
	resolver->options = *options;
	resolver->options.servers = NULL; /* the caller's */
	resolver->options.hosts = (struct text){0};
	ev_init(&resolver->timer, on_timer);
	resolver->timer.data = resolver;
	ev_init(&resolver->settle, on_settle);
	resolver->settle.data = resolver;
	for (size_t i = 0; i < COUNT_OF(resolver->sockets); i++) {
		ev_init(&resolver->sockets[i], on_socket);
		resolver->sockets[i].data = resolver;
	}
	if (hosts_add(&resolver->names, options->hosts, e) < 0 || open_ares(resolver, options, e) < 0)
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
	if (resolver->channel)
		ares_destroy(resolver->channel); /* every query replies ARES_EDESTRUCTION */
	if (resolver->loop) {
		on_settle(resolver->loop, &resolver->settle, 0);
		ev_clear_pending(resolver->loop, &resolver->settle);
		ev_timer_stop(resolver->loop, &resolver->timer);
	}
	CHECK(resolver->n_questions == 0);
	names_fini(&resolver->names);
	free(resolver);
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
