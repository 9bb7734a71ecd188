/*
 * control.h - the control socket: one line in, text out, close.
 *
 * A unix stream socket of mode 0600: who may open it may command.  It also is the lock that
 * keeps a second gate with the same configuration from starting.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/error.h"

#define CONTROL_CLIENTS 8          /* at a time; one more waits */
#define CONTROL_LINE 4096          /* bytes, with its newline */
#define CONTROL_ANSWER (256 << 10) /* bytes; more are cut */
#define CONTROL_TIMEOUT 5.0        /* seconds to send the line, and to take the answer */

struct control;
struct control_client;

/* `on_line` gets a line without its newline.  It, or whoever it hands the client to, must call
 * control_answer() once; until then the client is held, even when it has hung up. */
struct control *control_new(struct ev_loop *loop,
	void (*on_line)(void *arg, struct control_client *client, const char *line), void *arg);

/* Listens at `path`; a missing directory is made, a socket that nobody listens on any more is
 * replaced.  -EADDRINUSE: another gate answers there.  0 or -errno. */
int control_listen(struct control *control, const char *path, struct error *e) WARN_UNUSED;

/* Sends `text` (copied) and closes. */
void control_answer(struct control_client *client, const char *text);

/* Removes the socket and hangs up on everybody, answered or not.  Accepts NULL. */
void control_free(struct control *control);

/* Does anybody listen at `path`? */
bool control_answers(const char *path);
