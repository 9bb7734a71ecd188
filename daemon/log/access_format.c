/*
 * The three formats.  The bounds below keep every line under ACCESS_LINE: escaped texts
 * take up to 2,048 + 384 + 256 + 256 + 48 bytes with a mark each, all else less than 850.
 */
#include "daemon/log/access.h"
#include "daemon/log/line.h"

#define TARGET 2048 /* bytes as written */
#define DETAIL 384
#define NAME 256
#define FILE_NAME 256
#define METHOD 48

static void json_text(struct line *line, const char *key, struct text text, size_t most)
{
	line_string(line, key);
	LINE_PUT(line, "\"");
	line_escaped(line, text, ESCAPE_JSON, most);
	LINE_PUT(line, "\"");
}

static void json_seconds(struct line *line, const char *key, double seconds)
{
	line_string(line, key);
	if (seconds >= 0)
		line_seconds(line, seconds);
	else
		LINE_PUT(line, "null");
}

static void json_number(struct line *line, const char *key, uint64_t value)
{
	line_string(line, key);
	line_number(line, value);
}

static void json_bool(struct line *line, const char *key, bool value)
{
	line_string(line, key);
	line_string(line, value ? "true" : "false");
}

static void json_asked(struct line *line, const struct record *record)
{
	LINE_PUT(line, "{\"time\":\"");
	line_time_rfc3339(line, record->when);
	LINE_PUT(line, "\",\"client\":\"");
	line_addr(line, &record->client.addr);
	LINE_PUT(line, "\"");
	json_number(line, ",\"client_port\":", record->client.port);
	if (record->method.length > 0)
		json_text(line, ",\"method\":", record->method, METHOD);
	else
		LINE_PUT(line, ",\"method\":null");
	if (record->target.length > 0)
		json_text(line, ",\"target\":", record->target, TARGET);
	else
		LINE_PUT(line, ",\"target\":null");
}

static void json_place(struct line *line, const struct section *section)
{
	LINE_PUT(line, ",\"policy\":\"");
	line_escaped(line, text_of(section->file), ESCAPE_JSON, FILE_NAME);
	json_number(line, ":", section->line > 0 ? (uint64_t)section->line : 0);
	LINE_PUT(line, "\"");
}

static void json_decided(struct line *line, const struct record *record)
{
	const struct section *section = record->decided ? record->verdict.section : NULL;

	if (section)
		json_text(line, ",\"partner\":", text_of(section->name), NAME);
	else
		LINE_PUT(line, ",\"partner\":null");
	LINE_PUT(line, ",\"verdict\":\"");
	line_string(line, record_verdict(record));
	LINE_PUT(line, "\"");
	if (section)
		json_place(line, section);
	else
		LINE_PUT(line, ",\"policy\":null");
	if (record->decided) {
		LINE_PUT(line, ",\"reason\":\"");
		line_string(line, reason_name(record->verdict.reason));
		LINE_PUT(line, "\"");
	} else {
		LINE_PUT(line, ",\"reason\":null");
	}
}

static void json_done(struct line *line, const struct record *record)
{
	json_number(line, ",\"status\":", record->status > 0 ? (uint64_t)record->status : 0);
	json_number(line, ",\"bytes_in\":", record->from_client);
	json_number(line, ",\"bytes_out\":", record->to_client);
	json_seconds(line, ",\"dns\":", record->dns);
	json_seconds(line, ",\"connect\":", record->connect);
	json_seconds(line, ",\"first_byte\":", record->first_byte);
	json_seconds(line, ",\"total\":", record->total);
	if (record->origin.port) {
		LINE_PUT(line, ",\"origin\":\"");
		line_endpoint(line, &record->origin);
		LINE_PUT(line, "\"");
	} else {
		LINE_PUT(line, ",\"origin\":null");
	}
	if (record->has_egress) {
		LINE_PUT(line, ",\"egress\":\"");
		line_addr(line, &record->egress);
		LINE_PUT(line, "\"");
	} else {
		LINE_PUT(line, ",\"egress\":null");
	}
	json_bool(line, ",\"tunnel\":", record->tunnel);
	json_bool(line, ",\"pooled\":", record->pooled);
	LINE_PUT(line, ",\"end\":\"");
	line_string(line, ending_name(record->ending));
	LINE_PUT(line, "\"");
	if (record->detail)
		json_text(line, ",\"detail\":", text_of(record->detail), DETAIL);
	else
		LINE_PUT(line, ",\"detail\":null");
	LINE_PUT(line, "}");
}

/* Squid's result code: what the proxy did, and how the exchange broke off. */
static const char *squid_code(const struct record *record)
{
	bool timeout = record->ending == ENDING_CLIENT_TIMEOUT ||
		record->ending == ENDING_ORIGIN_TIMEOUT || record->ending == ENDING_IDLE_TIMEOUT;
	bool aborted = record->ending == ENDING_CLIENT_GONE;

	if (record->method.length == 0 || record->ending == ENDING_BAD_REQUEST)
		return aborted ? "NONE_ABORTED" : timeout ? "NONE_TIMEDOUT" : "NONE";
	if (record->ending == ENDING_DENIED || record->ending == ENDING_RATE_LIMITED)
		return "TCP_DENIED";
	if (record->tunnel)
		return aborted ? "TCP_TUNNEL_ABORTED" : timeout ? "TCP_TUNNEL_TIMEDOUT" : "TCP_TUNNEL";
	return aborted ? "TCP_MISS_ABORTED" : timeout ? "TCP_MISS_TIMEDOUT" : "TCP_MISS";
}

static void status_digits(struct line *line, int status)
{
	line_digits(line, status > 0 ? (uint64_t)status : 0, 3);
}

static void squid_target(struct line *line, const struct record *record)
{
	if (record->target.length > 0)
		line_escaped(line, record->target, ESCAPE_URL, TARGET);
	else
		LINE_PUT(line, "error:invalid-request");
}

static void squid(struct line *line, const struct record *record)
{
	line_time_unix(line, record->when + (record->total > 0 ? record->total : 0));
	LINE_PUT(line, " ");
	line_milliseconds(line, record->total);
	LINE_PUT(line, " ");
	line_addr(line, &record->client.addr);
	LINE_PUT(line, " ");
	line_string(line, squid_code(record));
	LINE_PUT(line, "/");
	status_digits(line, record->status);
	LINE_PUT(line, " ");
	line_number(line, record->to_client);
	LINE_PUT(line, " ");
	if (record->method.length > 0)
		line_escaped(line, record->method, ESCAPE_URL, METHOD);
	else
		LINE_PUT(line, "NONE");
	LINE_PUT(line, " ");
	squid_target(line, record);
	if (record->origin.port) {
		LINE_PUT(line, " - HIER_DIRECT/");
		line_addr(line, &record->origin.addr);
		LINE_PUT(line, " -");
	} else {
		LINE_PUT(line, " - HIER_NONE/- -");
	}
}

static void combined(struct line *line, const struct record *record)
{
	line_addr(line, &record->client.addr);
	LINE_PUT(line, " - - [");
	line_time_clf(line, record->when);
	LINE_PUT(line, "] \"");
	if (record->method.length > 0) {
		line_escaped(line, record->method, ESCAPE_C, METHOD);
		LINE_PUT(line, " ");
		line_escaped(line, record->target, ESCAPE_C, TARGET);
		LINE_PUT(line, " HTTP/1.1");
	} else {
		LINE_PUT(line, "-");
	}
	LINE_PUT(line, "\" ");
	status_digits(line, record->status);
	LINE_PUT(line, " ");
	line_number(line, record->to_client);
	LINE_PUT(line, " \"-\" \"-\"");
}

size_t access_format(enum access_format format, const struct record *record, char *out, size_t size)
{
	struct line line = {.at = out, .end = out + size};

	switch (format) {
	case ACCESS_JSON:
		json_asked(&line, record);
		json_decided(&line, record);
		json_done(&line, record);
		break;
	case ACCESS_SQUID:
		squid(&line, record);
		break;
	case ACCESS_COMBINED:
		combined(&line, record);
		break;
	}
	return line.full ? 0 : (size_t)(line.at - out);
}
