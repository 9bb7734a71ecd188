#include "daemon/admin/admin.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/proxy/cached.h"
#include "daemon/proxy/worker.h"

static enum next answer_text(struct client *c, int status, struct text body, const char *type)
{
	return client_answer(
		c, ENDING_DONE, &(struct reply){.status = status, .body = body, .type = type});
}

/* The worker's page with NAT's behind it.  NULL: no memory, and `page` is gone. */
static char *append_nat(struct shared *shared, char *page, size_t *length)
{
	char *whole = page;

	pthread_mutex_lock(&shared->lock);
	if (shared->nat_page_length > 0)
		whole = realloc(page, *length + shared->nat_page_length);
	if (whole && shared->nat_page_length > 0) {
		memcpy(whole + *length, shared->nat_page, shared->nat_page_length);
		*length += shared->nat_page_length;
	}
	pthread_mutex_unlock(&shared->lock);
	if (!whole)
		free(page);
	return whole;
}

static enum next metrics(struct client *c)
{
	struct shared *shared = c->worker->shared;
	unsigned n = shared->n_workers;
	struct metrics *counts[n];
	const struct resolver_counts *resolvers[n];
	struct metrics_facts facts = {.generation = c->worker->generation->number,
		.digest = c->worker->generation->digest,
		.max_connections = worker_config(c->worker)->max_connections};
	struct store_counts cache;
	size_t length;
	enum next next;
	char *page;

	if (shared->cache) {
		store_count(shared->cache->store, &cache);
		facts.cache = &cache;
	}
	for (unsigned i = 0; i < n; i++) {
		counts[i] = shared->workers[i]->metrics;
		resolvers[i] = resolver_counts(shared->workers[i]->resolver);
		facts.access_lost += access_lost(shared->workers[i]->access);
	}
	pthread_mutex_lock(&shared->lock);
	facts.reloads_ok = shared->counts.reloads_ok;
	facts.reloads_failed = shared->counts.reloads_failed;
	facts.reload_time = shared->counts.reload_time;
	facts.start_time = shared->counts.start_time;
	facts.restarts = shared->counts.restarts;
	pthread_mutex_unlock(&shared->lock);
	atomic_store(&shared->scraped, true);
	ev_async_send(shared->main_loop, &shared->wake_main);
	page = metrics_print(counts, resolvers, n, &facts, &length);
	if (page)
		page = append_nat(shared, page, &length);
	if (!page)
		return answer_text(c, 503, TEXT("out of memory\n"), NULL);
	next = answer_text(
		c, 200, (struct text){page, length}, "text/plain; version=0.0.4; charset=utf-8");
	free(page);
	return next;
}

/* Ready: kernel and proxy follow the files as they are on disk, and new connections are taken. */
static enum next ready(struct client *c)
{
	struct shared *shared = c->worker->shared;
	char why[sizeof(shared->counts.not_ready) + 32];
	bool ok;

	pthread_mutex_lock(&shared->lock);
	ok = shared->counts.ready && !shared->draining;
	snprintf(why, sizeof(why), "not ready: %s\n",
		shared->draining ? "draining" : shared->counts.not_ready);
	pthread_mutex_unlock(&shared->lock);
	return ok ? answer_text(c, 200, TEXT("ready\n"), NULL)
		  : answer_text(c, 503, text_of(why), NULL);
}

enum next admin_answer(struct client *c, const struct head *request)
{
	struct text path = request->target;
	const char *query = memchr(path.at, '?', path.length);

	if (query)
		path.length = query - path.at;
	if (request->method_id != METHOD_GET && request->method_id != METHOD_HEAD)
		return client_answer(c, ENDING_DONE,
			&(struct reply){.status = 405,
				.body = TEXT("want GET or HEAD\n"),
				.allow = "GET, HEAD"});
	if (text_equal(path, TEXT("/metrics")))
		return metrics(c);
	if (text_equal(path, TEXT("/readyz")))
		return ready(c);
	if (text_equal(path, TEXT("/healthz")))
		return answer_text(c, 200, TEXT("ok\n"), NULL);
	return answer_text(c, 404, TEXT("want /metrics, /healthz or /readyz\n"), NULL);
}
