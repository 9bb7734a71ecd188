/*
 * control.h - the control socket: an HTTP request in, JSON out, close.
 *
 * A unix stream socket of mode 0600: who may open it may command.  It also is the lock that
 * keeps a second gate with the same configuration from starting.
 */
#pragma once

#include <ev.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/error.h"
#include "base/text.h"

#define CONTROL_CLIENTS 8        /* at a time; one more waits */
#define CONTROL_HEAD 8192        /* bytes of a request */
#define CONTROL_ANSWER (8 << 20) /* bytes of JSON; more is an error */
#define CONTROL_TIMEOUT 5.0      /* seconds to send the request, and to take the answer */

struct control;
struct control_client;

struct control_request {
	bool post;         /* else GET */
	const char *path;  /* "/status" */
	const char *query; /* "a=1&b=2", as sent; "" without */
};

/* The value of the `nth` (from 0) parameter of this name, decoded.  False, and `out` is "", when
 * there is none or it does not fit. */
bool control_parameter(const struct control_request *request, const char *name, size_t nth,
	char *out, size_t size);

/* `on_request` gets a request, which lives until it returns.  It, or whoever it hands the client
 * to, must call one of the functions that answer once; until then the client is held, even when it
 * has hung up. */
struct control *control_new(struct ev_loop *loop,
	void (*on_request)(
		void *arg, struct control_client *client, const struct control_request *request),
	void *arg);

/* Listens at `path`; a missing directory is made, a socket that nobody listens on any more is
 * replaced.  -EADDRINUSE: another gate answers there.  0 or -errno. */
int control_listen(struct control *control, const char *path, struct error *e) WARN_UNUSED;

/* Each of these sends an answer and closes. */
void control_json(struct control_client *client, int status, json_t *answer);   /* takes it over */
void control_error(struct control_client *client, int status, const char *why); /* {"error": WHY} */
/* "error: WHY\n" becomes an error (409), other lines {"message": TEXT}. */
void control_answer(struct control_client *client, const char *text);
void control_body(struct control_client *client, int status, const char *type, struct text body);

/* Removes the socket and hangs up on everybody, answered or not.  Accepts NULL. */
void control_free(struct control *control);

/* Does anybody listen at `path`? */
bool control_answers(const char *path);
