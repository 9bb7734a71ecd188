/*
 * head_fuzz.c - any bytes as a head, and what was taken sent on and read again.
 */
#include <stdlib.h>

#include "base/check.h"
#include "daemon/http/forward.h"
#include "daemon/http/head.h"
#include "daemon/http/uri.h"

#define FIELDS 64

static const struct head_limits limits = {.line = 512, .bytes = 4096, .fields = FIELDS};
static const struct head_limits wide = {.line = 8192, .bytes = 65536, .fields = FIELDS + 8};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_span(struct text span, struct text in)
{
	CHECK(span.length == 0 || (span.at >= in.at && span.at + span.length <= in.at + in.length));
}

static void check_spans(const struct head *head, struct text in)
{
	CHECK(head->length <= in.length && head->n_fields <= FIELDS);
	check_span(head->method, in);
	check_span(head->target, in);
	check_span(head->phrase, in);
	check_span(head->host, in);
	for (size_t i = 0; i < head->n_fields; i++) {
		check_span(head->fields[i].name, in);
		check_span(head->fields[i].value, in);
	}
}

/* Whole, or byte by byte: the same end; and what parses has been found. */
static void check_found(struct text in, bool request, enum head_result parsed, size_t length)
{
	struct head_error error;
	size_t whole = 0, steps = 0;
	enum head_result found = head_find(in, request, &whole, &limits, &error);
	enum head_result result = HEAD_MORE;
	for (size_t have = 0; have <= in.length && result == HEAD_MORE; have++)
		result = head_find((struct text){in.at, have}, request, &steps, &limits, &error);
	CHECK(result == found && (found != HEAD_DONE || steps == whole));
	CHECK(parsed != HEAD_DONE || (found == HEAD_DONE && whole == length));
	CHECK(found != HEAD_DONE || parsed != HEAD_MORE);
}

static void check_request(struct text in)
{
	struct field *fields = malloc(sizeof(*fields) * FIELDS), again_fields[FIELDS + 8];
	CHECK(fields);
	struct head head = {.fields = fields}, again = {.fields = again_fields};
	struct head_error error;
	struct uri uri;
	char out[4096 + FORWARD_EXTRA(5)];

	enum head_result result = head_request(in, &limits, &head, &error);
	check_found(in, true, result, head.length);
	if (result == HEAD_DONE) {
		check_spans(&head, in);
		forward_is_loop(&head, TEXT("egret"));
	}
	if (result == HEAD_DONE && head.method_id != METHOD_CONNECT &&
		uri_parse(&head, &uri, &error) == 0) {
		size_t length = forward_request(out, sizeof(out), &head, &uri, TEXT("egret"));
		CHECK(length > 0);
		CHECK(head_request((struct text){out, length}, &wide, &again, &error) == HEAD_DONE);
		CHECK(again.length == length && again.body == head.body && again.keep_alive);
		CHECK(again.body_length == head.body_length && again.minor == 1);
		CHECK(text_equal(again.method, head.method) && again.n_fields <= head.n_fields + 3);
		CHECK(again.expect_continue == head.expect_continue);
		CHECK(text_equal(again.upgrade, head.upgrade));
		CHECK(again.trailers == (head.trailers && head.upgrade.length == 0));
		CHECK(forward_is_loop(&again, TEXT("egret")));
	}
	free(fields);
}

static void check_response(struct text in, enum method method, int minor)
{
	struct field *fields = malloc(sizeof(*fields) * FIELDS), again_fields[FIELDS + 8];
	CHECK(fields);
	struct text asked = TEXT("websocket, x");
	struct head head = {.fields = fields, .upgrade = asked};
	struct head again = {.fields = again_fields, .upgrade = asked};
	struct head_error error;
	char out[4096 + FORWARD_EXTRA(5)];

	enum head_result result = head_response(in, &limits, method, &head, &error);
	check_found(in, false, result, head.length);
	CHECK(result != HEAD_BAD || error.status == 502);
	if (result == HEAD_DONE) {
		check_spans(&head, in);
		size_t length = forward_response(out, sizeof(out), &head, true, minor, FRAMING_SAME,
			TEXT("egret"), TEXT("Sun, 06 Nov 1994 08:49:37 GMT"),
			(struct text){NULL, 0});
		struct text text = {out, length};
		CHECK(length > 0);
		CHECK(head_response(text, &wide, method, &again, &error) == HEAD_DONE);
		CHECK(again.length == length && again.status == head.status);
		CHECK(text_equal(again.upgrade, head.upgrade));
		CHECK(again.body == (head.body == BODY_CHUNKED && !minor ? BODY_CLOSE : head.body));
		CHECK(again.body_length == head.body_length && again.n_fields <= head.n_fields + 4);
	}
	free(fields);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum method methods[] = {METHOD_GET, METHOD_HEAD, METHOD_CONNECT};
	if (size == 0)
		return 0;
	struct text in = {(const char *)data + 1, size - 1};
	check_request(in);
	check_response(in, methods[data[0] % 3], data[0] & 4 ? 1 : 0);
	return 0;
}
