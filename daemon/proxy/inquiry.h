/*
 * inquiry.h - what the control socket asks of the proxy: hits, the cache, connections, names.
 *
 * A question is a line of words: "rules", "cache", "connections LIMIT SOURCE PARTNER", "kill ID",
 * "dns NAME SOURCE PORT"; "-" stands for a word that is not given.  Answered in the main thread;
 * what only a worker knows is asked of it by survey.h.
 */
#pragma once

#include "daemon/channel.h"

struct inquiry;
struct shared;

/* NULL: no memory. */
struct inquiry *inquiry_new(struct shared *shared, int channel);
void inquiry_free(struct inquiry *inquiry); /* before the generation goes; accepts NULL */

void inquiry_take(struct inquiry *inquiry, const struct message *question);
void inquiry_look(struct inquiry *inquiry); /* a worker has done something */
