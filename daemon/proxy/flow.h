/*
 * flow.h - one message body from one connection to another.
 *
 * Decoded by the framing it came with, framed anew for where it goes.  Small bodies are
 * copied; a large one that needs no framing is spliced.  A flow holds nothing itself:
 * bytes wait in the connections' bounded buffers.
 */
#pragma once

#include "daemon/http/chunk.h"
#include "daemon/http/head.h"
#include "daemon/net/conn.h"
#include "daemon/net/pump.h"

struct flow {
	enum body body; /* how `from` frames it */
	bool rechunk;   /* `to` gets chunked coding */
	bool taken;     /* the whole body has been read from `from` */
	bool pumping;
	uint64_t left; /* BODY_LENGTH */
	struct chunk chunk;
	struct pump pump;
	uint64_t bytes; /* of body, sent on */
};

enum flow_result {
	FLOW_WAIT,
	FLOW_BUSY,       /* the same; a fair share is done, and `from` may be readable still */
	FLOW_DONE,       /* all of it is with the kernel */
	FLOW_FROM_ENDED, /* before the body did: the message is incomplete */
	FLOW_FROM_FAILED,
	FLOW_FROM_BAD,
	FLOW_TO_FAILED,
	FLOW_NO_MEMORY,
};

void flow_init(struct flow *flow, enum body body, uint64_t length, bool rechunk);
/* What comes behind the chunks that it reads goes on, too, where it writes chunks; without memory
 * it does not. */
void flow_keep_trailers(struct flow *flow);
void flow_fini(struct flow *flow, struct pipe_pool *pipes);

/* Moves a bounded amount.  Also sends what already waits in to->out. */
enum flow_result flow_step(struct flow *flow, struct conn *from, struct conn *to,
	struct buffer_pool *buffers, struct pipe_pool *pipes);

/* What to wait for after FLOW_WAIT. */
bool flow_wants_read(const struct flow *flow, const struct conn *from, const struct conn *to);
bool flow_wants_write(const struct flow *flow, const struct conn *to);
