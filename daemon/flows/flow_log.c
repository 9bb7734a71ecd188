/*
 * flow_log.c - lines, a buffer, and a file.
 *
 * A full disk may take half a line.  The other half then stands first in the buffer, and goes to
 * the same file or nowhere.
 */
#include "daemon/flows/flow_log.h"

#include <errno.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log/line.h"
#include "daemon/log/log.h"
#include "daemon/log/sink.h"
#include "daemon/gate/setup.h"

#define BUFFER (256 * 1024)

/* ---- lines ---- */

static bool is_icmp(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* `port` where the protocol has them; of ICMP a source has its echo identifier. */
static void put_end(
	struct line *out, const char *field, const struct addr *addr, uint16_t port, bool with_port)
{
	const struct endpoint endpoint = {*addr, port};

	line_string(out, field);
	if (with_port)
		line_endpoint(out, &endpoint);
	else
		line_addr(out, addr);
}

static void put_ends(struct line *out, const struct flow *flow)
{
	const struct flow_tuple *o = &flow->original, *r = &flow->reply;
	bool ports = flow_has_ports(o->protocol), id = ports || is_icmp(o->protocol);

	put_end(out, "\",\"pod\":\"", &o->src, 0, false);
	put_end(out, "\",\"source\":\"", &o->src, o->sport, id);
	put_end(out, "\",\"destination\":\"", &o->dst, o->dport, ports);
	put_end(out, "\",\"translated_source\":\"", &r->dst, ports ? r->dport : r->sport, id);
	put_end(out, "\",\"translated_destination\":\"", &r->src, r->sport, ports);
	LINE_PUT(out, "\"");
}

static void put_text(struct line *out, const char *field, const char *value)
{
	line_string(out, field);
	if (!value) {
		LINE_PUT(out, "null");
		return;
	}
	LINE_PUT(out, "\"");
	line_escaped(out, text_of(value), ESCAPE_JSON, 256);
	LINE_PUT(out, "\"");
}

static void put_time(struct line *out, const char *field, double when)
{
	line_string(out, field);
	if (!(when > 0)) {
		LINE_PUT(out, "null");
		return;
	}
	LINE_PUT(out, "\"");
	line_time_rfc3339(out, when);
	LINE_PUT(out, "\"");
}

static void put_count(struct line *out, const char *field, bool counted, uint64_t value)
{
	line_string(out, field);
	if (counted)
		line_number(out, value);
	else
		LINE_PUT(out, "null");
}

static void put_outcome(struct line *out, const struct flow_line *line)
{
	const struct flow *flow = line->flow;

	put_time(out, ",\"end\":", line->end);
	LINE_PUT(out, ",\"duration\":");
	if (line->start > 0 && line->end > 0)
		line_seconds(out, line->end - line->start);
	else
		LINE_PUT(out, "null");
	put_count(out, ",\"packets_original\":", flow->counted, flow->packets[FLOW_ORIGINAL]);
	put_count(out, ",\"packets_reply\":", flow->counted, flow->packets[FLOW_REPLY]);
	put_count(out, ",\"bytes_original\":", flow->counted, flow->bytes[FLOW_ORIGINAL]);
	put_count(out, ",\"bytes_reply\":", flow->counted, flow->bytes[FLOW_REPLY]);
	put_text(out, ",\"reason\":", line->reason);
}

size_t flow_line_print(const struct flow_line *line, char out[FLOW_LINE])
{
	struct line to = {.at = out, .end = out + FLOW_LINE};
	char protocol[FLOW_PROTOCOL_TEXT];

	put_time(&to, "{\"time\":", line->time);
	put_text(&to, ",\"event\":", line->reason ? "end" : "start");
	put_text(&to, ",\"partner\":", line->partner);
	LINE_PUT(&to, ",\"protocol\":\"");
	line_string(&to, flow_protocol_print(line->flow->original.protocol, protocol));
	put_ends(&to, line->flow);
	LINE_PUT(&to, ",\"id\":");
	line_number(&to, line->flow->id);
	put_time(&to, ",\"start\":", line->start);
	if (line->reason)
		put_outcome(&to, line);
	if (line->resync)
		LINE_PUT(&to, ",\"resync\":true");
	LINE_PUT(&to, "}\n");
	CHECK(!to.full);
	return (size_t)(to.at - out);
}

const char *flow_reason(const struct flow *flow)
{
	if (flow->portid)
		return "deleted";
	if (flow->original.protocol != IPPROTO_TCP)
		return "timeout";
	switch (flow->tcp_state) {
	case TCP_CONNTRACK_NONE:
		return "ended";
	case TCP_CONNTRACK_LAST_ACK:
	case TCP_CONNTRACK_TIME_WAIT:
		return "closed";
	case TCP_CONNTRACK_CLOSE:
		return "reset";
	default:
		return "timeout";
	}
}

/* ---- buffer and file ---- */

struct flow_log {
	struct sink sink; /* fd -1: off */
	char *path;
	int error; /* of the last write, as far as it was told; 0: fine */
	bool torn; /* the first line in the buffer is the rest of one */
	uint64_t lost;
	size_t length;
	char buffer[BUFFER];
};

struct flow_log *flow_log_new(void)
{
	struct flow_log *log = malloc(sizeof(*log));

	if (!log)
		return NULL;
	log->path = NULL;
	log->error = 0;
	log->torn = false;
	log->lost = 0;
	log->length = 0;
	sink_init(&log->sink, -1);
	return log;
}

static void drop_front(struct flow_log *log, size_t length)
{
	log->length -= length;
	memmove(log->buffer, log->buffer + length, log->length);
}

/* The next piece to write: all, or as many whole lines as the sink takes at once. */
static size_t next_piece(const struct flow_log *log, size_t from)
{
	size_t length = log->length - from;
	const char *last;

	if (length <= log->sink.piece)
		return length;
	last = memrchr(log->buffer + from, '\n', log->sink.piece);
	CHECK(last);
	return (size_t)(last + 1 - (log->buffer + from));
}

/* Told once, not at every flush.  A full pipe is what the counter is for. */
static void tell(struct flow_log *log, int error)
{
	if (error == EAGAIN || error == EINTR || error == log->error)
		return;
	log->error = error;
	if (error)
		log_warn("flow log %s: %s: lines wait, and are lost when the buffer is full",
			log->path, strerror(error));
}

void flow_log_flush(struct flow_log *log)
{
	size_t done = 0;
	ssize_t n = 0;

	if (log->length == 0 || log->sink.fd < 0)
		return;
	while (done < log->length) {
		n = sink_write(&log->sink, log->buffer + done, next_piece(log, done));
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	tell(log, n < 0 ? (int)-n : 0);
	if (done == 0)
		return;
	log->torn = log->buffer[done - 1] != '\n';
	drop_front(log, done);
}

/* The half line that the file did not take has no place in another one. */
static void drop_torn(struct flow_log *log)
{
	char *end;

	if (!log->torn)
		return;
	end = memchr(log->buffer, '\n', log->length);
	CHECK(end);
	drop_front(log, (size_t)(end + 1 - log->buffer));
	log->torn = false;
	log->lost++;
}

static void drop_all(struct flow_log *log)
{
	for (size_t i = 0; i < log->length; i++)
		log->lost += log->buffer[i] == '\n';
	log->length = 0;
}

int flow_log_open(struct flow_log *log, const char *path, struct error *e)
{
	char *copy = path ? strdup(path) : NULL;
	int fd = -1, error = path && !copy ? error_set(e, -ENOMEM, "flow log: no memory") : 0;

	if (!error && path)
		error = setup_log_file("flow log", path, &fd, e);
	if (error) {
		free(copy);
		return error;
	}
	flow_log_flush(log);
	drop_torn(log);
	if (log->sink.fd >= 0)
		close(log->sink.fd);
	free(log->path);
	log->path = copy;
	log->error = 0;
	sink_init(&log->sink, fd);
	if (fd < 0)
		drop_all(log);
	return 0;
}

const char *flow_log_path(const struct flow_log *log)
{
	return log->path;
}

void flow_log_free(struct flow_log *log)
{
	if (!log)
		return;
	flow_log_flush(log);
	if (log->sink.fd >= 0)
		close(log->sink.fd);
	free(log->path);
	free(log);
}

void flow_log_write(struct flow_log *log, const struct flow_line *line)
{
	if (log->sink.fd < 0)
		return;
	if (sizeof(log->buffer) - log->length < FLOW_LINE)
		flow_log_flush(log);
	if (sizeof(log->buffer) - log->length < FLOW_LINE)
		log->lost++;
	else
		log->length += flow_line_print(line, log->buffer + log->length);
}

uint64_t flow_log_lost(const struct flow_log *log)
{
	return log->lost;
}
