#include "daemon/proxy/flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/http/forward.h"

#define SPLICE_FROM 65536 /* bytes left from which a pipe is worth its system calls */
#define READS 16          /* in one step */

void flow_init(struct flow *flow, enum body body, uint64_t length, bool rechunk)
{
	*flow = (struct flow){.body = body,
		.left = body == BODY_LENGTH ? length : 0,
		.rechunk = rechunk,
		.taken = body == BODY_NONE || (body == BODY_LENGTH && length == 0)};
	chunk_init(&flow->chunk);
}

void flow_keep_trailers(struct flow *flow)
{
	flow->chunk.trailers = malloc(CHUNK_TRAILER_MAX);
}

void flow_fini(struct flow *flow, struct pipe_pool *pipes)
{
	free(flow->chunk.trailers);
	flow->chunk.trailers = NULL;
	pump_fini(&flow->pump, pipes);
}

static void put(struct buffer *out, const void *bytes, size_t n)
{
	memcpy(out->data + out->end, bytes, n);
	out->end += n;
}

static void put_data(struct flow *flow, struct buffer *out, struct text data)
{
	char head[CHUNK_HEAD];

	if (flow->rechunk)
		put(out, head, chunk_head(head, data.length));
	put(out, data.at, data.length);
	if (flow->rechunk)
		put(out, "\r\n", 2);
	flow->bytes += data.length;
}

static void end_body(struct flow *flow, struct buffer *out)
{
	flow->taken = true;
	if (flow->rechunk)
		put(out, CHUNK_LAST, sizeof(CHUNK_LAST) - 1);
}

/* With trailers, where there are any and there is memory for them. */
static void end_chunks(struct flow *flow, struct conn *to, struct buffer_pool *buffers)
{
	struct text trailers = {flow->chunk.trailers, flow->chunk.n_trailers};
	struct buffer *out =
		flow->rechunk && trailers.length > 2
			? conn_out(to, buffers, sizeof(CHUNK_LAST) - 1 + trailers.length)
			: NULL;

	if (!out) {
		end_body(flow, to->out);
		return;
	}
	flow->taken = true;
	put(out, "0\r\n", 3);
	out->end += (uint32_t)forward_trailers(out->data + out->end, trailers);
	put(out, "\r\n", 2);
}

/* Room that put_data() and end_body() need beyond the data. */
#define OVERHEAD (CHUNK_HEAD + 2 + sizeof(CHUNK_LAST) - 1)

static bool take_plain(
	struct flow *flow, struct conn *from, struct buffer *out, struct buffer_pool *buffers)
{
	struct text data = buffer_text(from->in);
	size_t room = buffer_room(out) - OVERHEAD;

	if (data.length > room)
		data.length = room;
	if (flow->body == BODY_LENGTH && data.length > flow->left)
		data.length = flow->left;
	put_data(flow, out, data);
	conn_consume(from, buffers, data.length);
	if (flow->body == BODY_LENGTH && (flow->left -= data.length) == 0)
		end_body(flow, out);
	return true;
}

static bool take_chunked(
	struct flow *flow, struct conn *from, struct conn *to, struct buffer_pool *buffers)
{
	struct buffer *out = to->out;
	struct text all = buffer_text(from->in), in = all, data;
	bool good = true;

	while (!flow->taken && in.length > 0 && buffer_room(out) > OVERHEAD) {
		struct text some = in;
		size_t room = buffer_room(out) - OVERHEAD;
		enum chunk_result r;

		if (some.length > room)
			some.length = room;
		r = chunk_next(&flow->chunk, &some, &data);
		in.length -= some.at - in.at;
		in.at = some.at;
		if (r == CHUNK_DATA)
			put_data(flow, out, data);
		else if (r == CHUNK_END)
			end_chunks(flow, to, buffers);
		else if (r == CHUNK_BAD) {
			good = false;
			break;
		}
	}
	conn_consume(from, buffers, all.length - in.length);
	return good;
}

/* From `in` to `out`, as far as there is room. */
static enum flow_result take(
	struct flow *flow, struct conn *from, struct conn *to, struct buffer_pool *buffers)
{
	if (flow->taken || buffer_held(from->in) == 0)
		return FLOW_WAIT;
	if (!to->out && !conn_out(to, buffers, BUFFER_SIZE))
		return FLOW_NO_MEMORY;
	buffer_compact(to->out);
	if (buffer_room(to->out) <= OVERHEAD)
		return FLOW_WAIT;
	if (flow->body == BODY_CHUNKED)
		return take_chunked(flow, from, to, buffers) ? FLOW_WAIT : FLOW_FROM_BAD;
	take_plain(flow, from, to->out, buffers);
	return FLOW_WAIT;
}

static bool should_pump(const struct flow *flow, const struct conn *from, const struct conn *to)
{
	return !flow->taken && !flow->rechunk && buffer_held(from->in) == 0 && !to->out &&
	       (flow->body == BODY_CLOSE ||
		       (flow->body == BODY_LENGTH && flow->left >= SPLICE_FROM));
}

static enum flow_result pump(
	struct flow *flow, struct conn *from, struct conn *to, struct pipe_pool *pipes)
{
	switch (pump_step(&flow->pump, pipes, from, to, &flow->bytes)) {
	case PUMP_WAIT:
		return FLOW_WAIT;
	case PUMP_BUSY:
		return FLOW_BUSY;
	case PUMP_END:
		if (flow->body == BODY_LENGTH && flow->pump.left > 0)
			return FLOW_FROM_ENDED;
		flow->taken = true;
		return FLOW_DONE;
	case PUMP_FROM_FAILED:
		return FLOW_FROM_FAILED;
	case PUMP_TO_FAILED:
		return FLOW_TO_FAILED;
	case PUMP_NO_PIPE:
		break;
	}
	return FLOW_NO_MEMORY;
}

/* The sender has closed.  FLOW_WAIT: that ends the body, and step on. */
static enum flow_result on_end(struct flow *flow, struct conn *to, struct buffer_pool *buffers)
{
	if (flow->body != BODY_CLOSE)
		return FLOW_FROM_ENDED;
	if (!conn_out(to, buffers, OVERHEAD))
		return FLOW_NO_MEMORY;
	end_body(flow, to->out);
	return FLOW_WAIT;
}

/* Reads once.  FLOW_BUSY: there is something to do now. */
static enum flow_result receive(
	struct flow *flow, struct conn *from, struct conn *to, struct buffer_pool *buffers)
{
	ssize_t n = 0;

	if (!from->eof && !from->readable)
		return FLOW_WAIT;
	if (!from->eof)
		n = conn_receive(from, buffers);
	if (n > 0)
		return FLOW_BUSY;
	if (n == 0) {
		enum flow_result r = on_end(flow, to, buffers);

		return r == FLOW_WAIT ? FLOW_BUSY : r;
	}
	if (n == -EAGAIN)
		return FLOW_WAIT;
	return n == -ENOMEM ? FLOW_NO_MEMORY : FLOW_FROM_FAILED;
}

enum flow_result flow_step(struct flow *flow, struct conn *from, struct conn *to,
	struct buffer_pool *buffers, struct pipe_pool *pipes)
{
	for (int reads = 0;;) {
		enum flow_result r;
		int error;

		if (flow->pumping)
			return pump(flow, from, to, pipes);
		r = take(flow, from, to, buffers);
		if (r != FLOW_WAIT)
			return r;
		error = conn_send(to, buffers);
		if (error == -EAGAIN)
			return FLOW_WAIT;
		if (error)
			return FLOW_TO_FAILED;
		if (flow->taken)
			return FLOW_DONE;
		if (buffer_held(from->in) > 0)
			continue;
		if (should_pump(flow, from, to)) {
			flow->pump.left = flow->body == BODY_LENGTH ? flow->left : PUMP_ENDLESS;
			flow->pumping = true;
			continue;
		}
		if (reads++ == READS) /* here, where all that is left is in the socket */
			return FLOW_BUSY;
		r = receive(flow, from, to, buffers);
		if (r != FLOW_BUSY)
			return r;
	}
}

bool flow_wants_read(const struct flow *flow, const struct conn *from, const struct conn *to)
{
	return !flow->taken && !from->eof && !flow_wants_write(flow, to);
}

bool flow_wants_write(const struct flow *flow, const struct conn *to)
{
	return to->blocked && (buffer_held(to->out) > 0 || flow->pump.held > 0);
}
