/*
 * The three formats.  The bounds below keep every line under ACCESS_LINE: escaped texts
 * take up to 2,048 + 384 + 2 * 192 + 96 + 48 bytes with a mark each, all else less than 850.
 */
#include "daemon/log/access.h"
#include "daemon/log/line.h"

#define TARGET 2048 /* bytes as written */
#define DETAIL 384
#define NAME 96
#define FILE_NAME 192
#define METHOD 48

static void json_text(struct line *line, struct text text, size_t most)
{
	LINE_PUT(line, "\"");
	line_escaped(line, text, ESCAPE_JSON, most);
	LINE_PUT(line, "\"");
}

/* A text that has nothing to escape, or null. */
static void json_word(struct line *line, const char *word)
{
	if (!word) {
		LINE_PUT(line, "null");
		return;
	}
	LINE_PUT(line, "\"");
	line_string(line, word);
	LINE_PUT(line, "\"");
}

static void json_optional(struct line *line, struct text text, size_t most)
{
	if (text.length > 0)
		json_text(line, text, most);
	else
		LINE_PUT(line, "null");
}

static void json_seconds(struct line *line, double seconds)
{
	if (seconds >= 0)
		line_seconds(line, seconds);
	else
		LINE_PUT(line, "null");
}

static void json_bool(struct line *line, bool value)
{
	if (value)
		LINE_PUT(line, "true");
	else
		LINE_PUT(line, "false");
}

/* Where a section stands, or null. */
static void json_place(struct line *line, const struct section *section)
{
	if (!section) {
		LINE_PUT(line, "null");
		return;
	}
	LINE_PUT(line, "\"");
	line_escaped(line, text_of(section->file), ESCAPE_JSON, FILE_NAME);
	LINE_PUT(line, ":");
	line_number(line, section->line > 0 ? (uint64_t)section->line : 0);
	LINE_PUT(line, "\"");
}

static void json_asked(struct line *line, const struct record *record)
{
	LINE_PUT(line, "{\"time\":\"");
	line_time_rfc3339(line, record->when);
	LINE_PUT(line, "\",\"client\":\"");
	line_addr(line, &record->client.addr);
	LINE_PUT(line, "\",\"client_port\":");
	line_number(line, record->client.port);
	LINE_PUT(line, ",\"method\":");
	json_optional(line, record->method, METHOD);
	LINE_PUT(line, ",\"target\":");
	json_optional(line, record->target, TARGET);
}

static void json_decided(struct line *line, const struct record *record)
{
	const struct section *section = record->decided ? record->verdict.section : NULL;

	LINE_PUT(line, ",\"partner\":");
	json_optional(line, section ? text_of(section->name) : (struct text){0}, NAME);
	LINE_PUT(line, ",\"verdict\":");
	json_word(line, record_verdict(record));
	LINE_PUT(line, ",\"policy\":");
	json_place(line, section);
	LINE_PUT(line, ",\"reporter\":");
	json_place(line, record->decided ? record->verdict.reporter : NULL);
	LINE_PUT(line, ",\"reason\":");
	json_word(line, record->decided ? reason_name(record->verdict.reason) : NULL);
}

static void json_carried(struct line *line, const struct record *record)
{
	LINE_PUT(line, ",\"status\":");
	line_number(line, record->status > 0 ? (uint64_t)record->status : 0);
	LINE_PUT(line, ",\"bytes_in\":");
	line_number(line, record->from_client);
	LINE_PUT(line, ",\"bytes_out\":");
	line_number(line, record->to_client);
	LINE_PUT(line, ",\"dns\":");
	json_seconds(line, record->dns);
	LINE_PUT(line, ",\"connect\":");
	json_seconds(line, record->connect);
	LINE_PUT(line, ",\"first_byte\":");
	json_seconds(line, record->first_byte);
	LINE_PUT(line, ",\"total\":");
	json_seconds(line, record->total);
}

static void json_origin(struct line *line, const struct record *record)
{
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
}

static void json(struct line *line, const struct record *record)
{
	json_asked(line, record);
	json_decided(line, record);
	json_carried(line, record);
	json_origin(line, record);
	LINE_PUT(line, ",\"tunnel\":");
	json_bool(line, record->tunnel);
	LINE_PUT(line, ",\"pooled\":");
	json_bool(line, record->pooled);
	LINE_PUT(line, ",\"captured\":");
	json_bool(line, record->captured);
	LINE_PUT(line, ",\"cache\":");
	json_word(line, record->cache ? cache_result_name(record->cache) : NULL);
	LINE_PUT(line, ",\"end\":");
	json_word(line, ending_name(record->ending));
	LINE_PUT(line, ",\"detail\":");
	json_optional(line, record->detail ? text_of(record->detail) : (struct text){0}, DETAIL);
	LINE_PUT(line, "}");
}

/* Squid's result code: what the proxy did, and how the exchange broke off. */
static const char *squid_code(const struct record *record)
{
	bool timeout = record->ending == ENDING_CLIENT_TIMEOUT ||
		       record->ending == ENDING_ORIGIN_TIMEOUT ||
		       record->ending == ENDING_IDLE_TIMEOUT;
	bool aborted = record->ending == ENDING_CLIENT_GONE;

	if (record->method.length == 0 || record->ending == ENDING_BAD_REQUEST)
		return aborted ? "NONE_ABORTED" : timeout ? "NONE_TIMEDOUT" : "NONE";
	if (record->ending == ENDING_DENIED || record->ending == ENDING_RATE_LIMITED)
		return "TCP_DENIED";
	if (record->tunnel)
		return aborted   ? "TCP_TUNNEL_ABORTED"
		       : timeout ? "TCP_TUNNEL_TIMEDOUT"
				 : "TCP_TUNNEL";
	if (aborted || timeout)
		return aborted ? "TCP_MISS_ABORTED" : "TCP_MISS_TIMEDOUT";
	switch (record->cache) {
	case CACHE_RESULT_HIT:
	case CACHE_RESULT_SHARED:
		return "TCP_HIT";
	case CACHE_RESULT_STALE:
		return "TCP_STALE_HIT";
	case CACHE_RESULT_VALIDATED:
		return "TCP_REFRESH_UNMODIFIED";
	default:
		return "TCP_MISS";
	}
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
		json(&line, record);
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
