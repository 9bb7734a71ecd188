/*
 * gate_ask.c - questions that only the proxy can answer: the client is held until it does, or for
 * PATIENCE.
 *
 * The answer is JSON text, which goes on to the client as it is: the gate does not parse it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/gate/gate_parts.h"
#include "daemon/sealed.h"

#define PATIENCE 20.0 /* seconds; [dns] timeout is at most 60, and 5 unless it is set */

static struct control_client *finish(struct gate_question *q)
{
	struct control_client *client = q->client;

	ev_timer_stop(q->gate->loop, &q->timer);
	free(q->with);
	q->with = NULL;
	q->client = NULL;
	return client;
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	control_error(finish(timer->data), 504, "the proxy does not answer");
}

void gate_ask_init(struct gate *g)
{
	for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
		struct gate_question *q = &g->asked[i];

		q->gate = g;
		ev_timer_init(&q->timer, on_timer, 0, 0);
		q->timer.data = q;
	}
}

/* There is one for each client. */
static struct gate_question *free_question(struct gate *g)
{
	size_t i = 0;

	while (i < CONTROL_CLIENTS && g->asked[i].client)
		i++;
	CHECK(i < CONTROL_CLIENTS);
	return &g->asked[i];
}

void gate_ask(struct gate *g, struct control_client *client, const char *text, json_t *with)
{
	struct gate_question *q = free_question(g);
	struct message m;

	memset(&m, 0, sizeof(m));
	m.type = MESSAGE_ASK;
	m.number = ++g->question;
	if (strlen(text) >= sizeof(m.text)) {
		json_decref(with);
		control_error(client, 400, "want at most 500 bytes");
		return;
	}
	strcpy(m.text, text);
	q->client = client;
	q->number = m.number;
	q->with = with ? json_dumps(with, JSON_COMPACT) : NULL;
	json_decref(with);
	if (!child_pid(g->child) || child_send(g->child, &m, -1) < 0) {
		control_error(finish(q), 503, "the proxy does not run, or does not listen");
		return;
	}
	ev_now_update(g->loop);
	ev_timer_set(&q->timer, PATIENCE, 0);
	ev_timer_start(g->loop, &q->timer);
}

/* The proxy's object, with ours as its first field. */
static void pass_on(struct gate_question *q, const char *body, size_t length)
{
	bool object = length >= 2 && body[0] == '{' && body[1] != '}';
	char *text = NULL;
	int n;

	if (!q->with || !object) {
		control_body(finish(q), 200, "application/json", (struct text){body, length});
		return;
	}
	n = asprintf(&text, "{\"nat\": %s,%s", q->with, body + 1);
	if (n < 0)
		control_error(finish(q), 503, "no memory");
	else
		control_body(finish(q), 200, "application/json", (struct text){text, (size_t)n});
	free(n < 0 ? NULL : text);
}

void gate_ask_told(struct gate *g, const struct message *message, int fd)
{
	struct gate_question *q = g->asked;
	char *body = NULL;
	size_t length;
	int error;

	while (q < g->asked + CONTROL_CLIENTS && (!q->client || q->number != message->number))
		q++;
	if (q == g->asked + CONTROL_CLIENTS)
		return; /* too late */
	if (fd < 0) {
		control_error(finish(q), 409, message->text);
		return;
	}
	error = sealed_read(fd, CONTROL_ANSWER, &body, &length);
	if (error)
		control_error(finish(q), 500, strerror(-error));
	else
		pass_on(q, body, length);
	free(body);
}

void gate_ask_proxy_ended(struct gate *g)
{
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		if (g->asked[i].client)
			control_error(finish(&g->asked[i]), 503, "the proxy ended meanwhile");
}
