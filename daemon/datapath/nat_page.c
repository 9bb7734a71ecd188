#include "daemon/datapath/nat_page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/siphash.h"
#include "daemon/log/log.h"
#include "daemon/sealed.h"

#define EVERY 1.0         /* seconds, while it is read */
#define RARELY 15.0       /* seconds, while it is not */
#define READ_WITHIN 150.0 /* seconds from a scrape: two slow scrapers' intervals */

struct nat_page {
	struct ev_loop *loop;
	struct nat_page_events events;
	ev_timer timer;
	ev_tstamp made, scraped; /* 0: never */
	struct siphash sent;     /* the page that the proxy has; zero: none */
};

/* Nobody chooses pages that collide: a fixed key will do. */
static struct siphash digest_of(struct text page)
{
	static const struct siphash_key key;

	return siphash(&key, page.at, page.length);
}

static void send_page(struct nat_page *p, struct text page)
{
	struct siphash digest = digest_of(page);
	int fd, error;

	if (memcmp(&digest, &p->sent, sizeof(digest)) == 0)
		return;
	fd = sealed_new("egret-nat-metrics", page);
	error = fd < 0 ? fd : p->events.send(p->events.arg, fd);
	if (fd >= 0)
		close(fd);
	if (!error)
		p->sent = digest;
	else if (error != -EAGAIN && error != -ENOTCONN)
		log_warn("the proxy does not take NAT's metrics: %s", strerror(-error));
}

static void wait_for(struct nat_page *p, double seconds)
{
	ev_timer_stop(p->loop, &p->timer);
	ev_timer_set(&p->timer, seconds, 0);
	ev_timer_start(p->loop, &p->timer);
}

static void make(struct nat_page *p)
{
	struct nat_metrics *metrics = nat_metrics_begin(NAT_METRICS_MOST);
	struct text page;
	char *text = NULL;

	ev_now_update(p->loop);
	p->made = ev_now(p->loop);
	if (metrics) {
		p->events.fill(p->events.arg, metrics);
		text = nat_metrics_finish(metrics, &page.length);
	}
	if (text) {
		page.at = text;
		send_page(p, page);
	}
	free(text);
	wait_for(p, p->made - p->scraped < READ_WITHIN ? EVERY : RARELY);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	make(timer->data);
}

struct nat_page *nat_page_new(struct ev_loop *loop, const struct nat_page_events *events)
{
	struct nat_page *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = loop;
	p->events = *events;
	ev_timer_init(&p->timer, on_timer, 0, 0);
	p->timer.data = p;
	return p;
}

void nat_page_free(struct nat_page *p)
{
	if (!p)
		return;
	ev_timer_stop(p->loop, &p->timer);
	free(p);
}

void nat_page_begin(struct nat_page *p)
{
	memset(&p->sent, 0, sizeof(p->sent));
	make(p);
}

/* The clock may have been set back: then it is made once more. */
void nat_page_scraped(struct nat_page *p)
{
	ev_tstamp since;

	ev_now_update(p->loop);
	since = ev_now(p->loop) - p->made;
	p->scraped = ev_now(p->loop);
	if (since < 0 || since >= EVERY)
		make(p);
	else
		wait_for(p, EVERY - since);
}
