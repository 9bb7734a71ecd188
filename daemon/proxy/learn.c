/*
 * learn.c - each name goes in a circle:
 *
 *	QUEUED ─→ ASKING ─→ UNTOLD ─→ ASLEEP ─→ QUEUED
 *
 * QUEUED: in the queue, as only so many names are asked at a time.  ASKING: its look-up waits.
 * UNTOLD: the gate does not read just now.  ASLEEP: its timer runs.  move() is the only place that
 * changes the state.
 *
 * The resolver's cache makes a new generation cheap: what was known before is not asked again.
 */
#include "daemon/proxy/learn.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "daemon/log/log.h"
#include "daemon/net/resolver.h"

#define AT_ONCE 64  /* names asked at the same time, or [dns] queries */
#define SOONEST 1.0 /* seconds from an answer to the next question */
#define LATEST 300.0
#define RETRY_MOST 60.0  /* seconds from a failure to the next question */
#define JITTER 0.05      /* of the delay, and at most JITTER_MOST */
#define JITTER_MOST 1.0  /* seconds: until then NAT may lack what pods know already */
#define TELL_AGAIN 0.005 /* seconds, when the gate does not read */
#define NAMES_MOST 65536

enum state { ASLEEP, QUEUED, ASKING, UNTOLD };

struct name_asked {
	struct learn *learn;
	uint32_t section, host;
	enum state state;
	ev_timer timer;
	struct lookup lookup;
	TAILQ_ENTRY(name_asked) list; /* QUEUED or UNTOLD */
	double delay;                 /* seconds to sleep, once told */
	double retry;                 /* the last delay after a failure; 0: there was none */
	bool heard;                   /* there was an answer, or a failure */
	bool complained;              /* of an address that may not be */
};

TAILQ_HEAD(name_list, name_asked);

struct learn {
	struct ev_loop *loop;
	int (*tell)(void *arg, const struct message *message);
	void *arg;
	struct resolver *resolver;     /* NULL: not needed yet */
	struct generation *generation; /* NULL: there are no names */
	struct name_asked *names;
	size_t n_names, n_asking, n_heard;
	bool told_all; /* LEARNT_ALL */
	struct name_list queued, untold;
	ev_timer again; /* runs while there is something untold */
	unsigned short seed[3];
};

static void ask_next(struct learn *l);

static void move(struct name_asked *n, enum state state)
{
	struct learn *l = n->learn;

	if (n->state == QUEUED)
		TAILQ_REMOVE(&l->queued, n, list);
	else if (n->state == UNTOLD)
		TAILQ_REMOVE(&l->untold, n, list);
	else if (n->state == ASKING)
		l->n_asking--;
	else
		ev_timer_stop(l->loop, &n->timer);
	n->state = state;
	if (state == QUEUED) {
		TAILQ_INSERT_TAIL(&l->queued, n, list);
	} else if (state == UNTOLD) {
		TAILQ_INSERT_TAIL(&l->untold, n, list);
	} else if (state == ASKING) {
		l->n_asking++;
	} else {
		ev_timer_set(&n->timer, n->delay, 0);
		ev_timer_start(l->loop, &n->timer);
	}
}

static const struct section *section_of(const struct name_asked *n)
{
	return policy_section(n->learn->generation->policy, n->section);
}

static const char *host_of(const struct name_asked *n)
{
	return section_host(n->learn->generation->policy, section_of(n), n->host);
}

/* ---- telling ---- */

static void complain(struct name_asked *n, const struct addr *addr, const char *why)
{
	char text[ADDR_TEXT];

	if (!n->complained)
		log_warn("partner %s: %s resolves to %s, which is %s: NAT does not follow it there",
			section_of(n)->name, host_of(n), addr_print(addr, text), why);
	n->complained = true;
}

static void fill(struct name_asked *n, struct message_learnt *told)
{
	const struct resolver_answer *answer = &n->lookup.answer;

	told->section = n->section;
	told->host = n->host;
	told->partial = answer->partial;
	told->ttl = fmin(fmax(answer->ttl, 0), LEARNT_TTL_MOST);
	for (size_t i = 0; i < answer->n_addrs && told->n < LEARNT_TOLD; i++) {
		const char *why = learnt_refuses(n->learn->generation->config, &answer->addrs[i]);

		if (why)
			complain(n, &answer->addrs[i], why);
		else
			told->addrs[told->n++] = answer->addrs[i];
	}
}

/* False: not now. */
static bool tell(struct name_asked *n)
{
	struct message message;

	memset(&message, 0, sizeof(message));
	message.type = MESSAGE_LEARNT;
	message.number = n->learn->generation->number;
	fill(n, &message.learnt);
	if (n->learn->tell(n->learn->arg, &message) == -EAGAIN)
		return false;
	move(n, ASLEEP);
	return true;
}

/* False: not now. */
static bool tell_all(struct learn *l)
{
	const struct message message = {
		.type = MESSAGE_LEARNT_ALL, .number = l->generation->number};

	if (l->told_all || l->n_heard < l->n_names)
		return true;
	l->told_all = l->tell(l->arg, &message) != -EAGAIN;
	return l->told_all;
}

static void tell_untold(struct learn *l)
{
	struct name_asked *n;

	while ((n = TAILQ_FIRST(&l->untold)) && tell(n))
		;
	if (!n && tell_all(l))
		ev_timer_stop(l->loop, &l->again);
	else if (!ev_is_active(&l->again))
		ev_timer_again(l->loop, &l->again);
}

static void on_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	tell_untold(timer->data);
}

/* ---- asking ---- */

static bool is_answer(enum resolver_status status)
{
	return status == RESOLVER_OK || status == RESOLVER_NO_NAME;
}

static double retry_delay(struct name_asked *n, double first)
{
	n->retry = n->retry > 0 ? 2 * n->retry : fmax(first, SOONEST);
	n->retry = fmin(n->retry, RETRY_MOST);
	return n->retry;
}

/* Seconds until the name is asked again.  A version that is not known may just be late. */
static double next_delay(struct name_asked *n)
{
	const struct resolver_answer *answer = &n->lookup.answer;
	double delay = answer->ttl;

	if (answer->status != RESOLVER_OK) {
		delay = retry_delay(n, n->learn->generation->config->dns_negative_ttl);
	} else if (answer->partial) {
		delay = fmin(delay, retry_delay(n, SOONEST));
	} else {
		n->retry = 0;
	}
	delay = fmin(fmax(delay, SOONEST), LATEST);
	return delay + erand48(n->learn->seed) * fmin(JITTER * delay, JITTER_MOST);
}

static void take_answer(struct name_asked *n)
{
	enum resolver_status status = n->lookup.answer.status;
	bool first_failure = status != RESOLVER_OK && n->retry == 0;

	n->delay = next_delay(n);
	if (first_failure)
		log_warn("partner %s: no addresses of %s for NAT (%s): %s", section_of(n)->name,
			host_of(n), resolver_status_name(status),
			is_answer(status) ? "those of before go when their time is over"
					  : "those of before stay");
	n->learn->n_heard += !n->heard;
	n->heard = true;
	move(n, is_answer(status) ? UNTOLD : ASLEEP);
	tell_untold(n->learn);
}

static void on_answer(struct lookup *lookup)
{
	struct name_asked *n =
		(struct name_asked *)((char *)lookup - offsetof(struct name_asked, lookup));

	take_answer(n);
	ask_next(n->learn);
}

static void ask_next(struct learn *l)
{
	size_t queries = l->generation->config->dns_queries;
	size_t at_once = queries < AT_ONCE ? queries : AT_ONCE;
	struct name_asked *n;

	ev_now_update(l->loop);
	while (l->n_asking < at_once && (n = TAILQ_FIRST(&l->queued))) {
		move(n, ASKING);
		if (resolver_ask(l->resolver, text_of(host_of(n)), &n->lookup, on_answer))
			take_answer(n);
	}
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct name_asked *n = timer->data;

	(void)loop;
	(void)revents;
	move(n, QUEUED);
	ask_next(n->learn);
}

/* ---- a generation ---- */

static void forget(struct learn *l)
{
	for (size_t i = 0; i < l->n_names; i++) {
		resolver_cancel(&l->names[i].lookup);
		ev_timer_stop(l->loop, &l->names[i].timer);
	}
	free(l->names);
	l->names = NULL;
	l->n_names = l->n_asking = l->n_heard = 0;
	l->told_all = false;
	TAILQ_INIT(&l->queued);
	TAILQ_INIT(&l->untold);
	ev_timer_stop(l->loop, &l->again);
	if (l->resolver)
		resolver_set_hosts(l->resolver, NULL);
	generation_put(l->generation);
	l->generation = NULL;
}

static bool has_resolver(struct learn *l, struct generation *generation)
{
	struct error e;

	if (l->resolver) {
		resolver_set_hosts(l->resolver, &generation->hosts);
		return true;
	}
	l->resolver = generation_resolver(generation, l->loop, &e);
	if (!l->resolver)
		log_error("nat = resolve does not work: %s", e.text);
	return l->resolver;
}

/* Calls `each` for every host that is looked up; returns how many there are. */
static size_t each_name(const struct policy *policy,
	void (*each)(struct learn *l, uint32_t section, uint32_t host), struct learn *l)
{
	size_t n = 0;

	for (size_t i = 0; i < policy_n_sections(policy); i++) {
		const struct section *section = policy_section(policy, i);

		if (!section->resolve)
			continue;
		for (size_t j = 0; n < NAMES_MOST && section_host(policy, section, j); j++, n++)
			if (each)
				each(l, (uint32_t)i, (uint32_t)j);
	}
	return n;
}

static void add_name(struct learn *l, uint32_t section, uint32_t host)
{
	struct name_asked *n = &l->names[l->n_names++];

	*n = (struct name_asked){.learn = l, .section = section, .host = host};
	ev_timer_init(&n->timer, on_timer, 0, 0);
	n->timer.data = n;
	move(n, QUEUED);
}

void learn_follow(struct learn *l, struct generation *generation)
{
	size_t n = each_name(generation->policy, NULL, l);

	forget(l);
	if (n == 0)
		return;
	l->names = calloc(n, sizeof(*l->names));
	if (!l->names) {
		log_error("nat = resolve does not work: out of memory");
		return;
	}
	if (!has_resolver(l, generation))
		return;
	l->generation = generation_get(generation);
	each_name(generation->policy, add_name, l);
	if (n == NAMES_MOST)
		log_warn("nat = resolve looks up the first %d names and no more", NAMES_MOST);
	ask_next(l);
}

struct learn *learn_new(
	struct ev_loop *loop, int (*tell_gate)(void *arg, const struct message *message), void *arg)
{
	struct learn *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->loop = loop;
	l->tell = tell_gate;
	l->arg = arg;
	TAILQ_INIT(&l->queued);
	TAILQ_INIT(&l->untold);
	ev_timer_init(&l->again, on_again, TELL_AGAIN, TELL_AGAIN);
	l->again.data = l;
	if (getrandom(l->seed, sizeof(l->seed), GRND_NONBLOCK) < 0)
		l->seed[0] = (unsigned short)(uintptr_t)l;
	return l;
}

void learn_free(struct learn *l)
{
	if (!l)
		return;
	forget(l);
	resolver_free(l->resolver);
	free(l);
}
