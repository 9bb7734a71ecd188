/*
 * forward.c - messages as a proxy sends them on.
 *
 * A writer that remembers when something did not fit, so that a message reads as the
 * list of its lines.  Every line is written from parsed spans: what the next parser reads is what
 * this one read.
 */
#include "daemon/http/forward.h"

#include "base/check.h"
#include "daemon/http/bytes.h"
#include "daemon/http/field.h"

struct writer {
	char *at, *end;
	bool full;
};

static void put(struct writer *w, const char *bytes, size_t length)
{
	if ((size_t)(w->end - w->at) < length) {
		w->full = true;
		return;
	}
	memcpy(w->at, bytes, length);
	w->at += length;
}

#define PUT(w, literal) put((w), (literal), sizeof(literal) - 1)

static void put_text(struct writer *w, struct text text)
{
	if (text.length)
		put(w, text.at, text.length);
}

static void put_number(struct writer *w, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);
	do
		digits[--at] = (char)('0' + number % 10);
	while (number /= 10);
	put(w, digits + at, sizeof(digits) - at);
}

static void put_number_field(struct writer *w, const char *name, int64_t number)
{
	put(w, name, strlen(name));
	PUT(w, ": ");
	put_number(w, (uint64_t)number);
	PUT(w, "\r\n");
}

/* No space behind the colon where none was, so that a head never grows by its fields. */
static void put_field(struct writer *w, const struct field *field)
{
	bool tight = field->name.at + field->name.length + 1 == field->value.at;
	put_text(w, field->name);
	put(w, ": ", tight ? 1 : 2);
	put_text(w, field->value);
	PUT(w, "\r\n");
}

static void put_via(struct writer *w, int minor, struct text name)
{
	put(w, minor ? "Via: 1.1 " : "Via: 1.0 ", 9);
	put_text(w, name);
	PUT(w, "\r\n");
}

static size_t finish(struct writer *w, const char *out)
{
	PUT(w, "\r\n");
	return w->full ? 0 : (size_t)(w->at - out);
}

static void put_request_field(
	struct writer *w, const struct head *request, const struct field *field)
{
	if (field->hop)
		return;
	switch (field->id) {
	case FIELD_HOST:
	case FIELD_CONTENT_LENGTH:
		return;
	case FIELD_EXPECT:
		if (request->expect_continue)
			put_field(w, field);
		return;
	case FIELD_MAX_FORWARDS:
		if (request->max_forwards > 0)
			put_number_field(w, "Max-Forwards", request->max_forwards - 1);
		else
			put_field(w, field);
		return;
	default:
		put_field(w, field);
	}
}

static void put_upgrade(struct writer *w, struct text protocols)
{
	if (protocols.length == 0)
		return;
	PUT(w, "Connection: Upgrade\r\nUpgrade: ");
	put_text(w, protocols);
	PUT(w, "\r\n");
}

static void put_host(struct writer *w, const struct uri *uri)
{
	PUT(w, "Host: ");
	size_t length = uri_host_field(uri, w->at, (size_t)(w->end - w->at));
	w->full |= length == 0;
	w->at += length;
	PUT(w, "\r\n");
}

size_t forward_request(
	char *out, size_t size, const struct head *request, const struct uri *uri, struct text name)
{
	struct writer w = {out, out + size, false};

	put_text(&w, request->method);
	put(&w, " /", uri->path_slash ? 2 : 1);
	put_text(&w, uri->path);
	PUT(&w, " HTTP/1.1\r\n");
	put_host(&w, uri);
	for (size_t i = 0; i < request->n_fields; i++)
		put_request_field(&w, request, &request->fields[i]);
	if (request->body == BODY_LENGTH)
		put_number_field(&w, "Content-Length", (int64_t)request->body_length);
	else if (request->body == BODY_CHUNKED)
		PUT(&w, "Transfer-Encoding: chunked\r\n");
	if (request->trailers && request->upgrade.length == 0)
		PUT(&w, "Connection: TE\r\nTE: trailers\r\n");
	put_upgrade(&w, request->upgrade);
	put_via(&w, request->minor, name);
	return finish(&w, out);
}

static bool is_condition(const struct field *field)
{
	enum field_id id = field->id;
	return id == FIELD_IF_MATCH || id == FIELD_IF_NONE_MATCH || id == FIELD_IF_RANGE ||
	       id == FIELD_IF_MODIFIED_SINCE || id == FIELD_IF_UNMODIFIED_SINCE ||
	       id == FIELD_RANGE || field->hop;
}

static bool is_personal(const struct field *field)
{
	return field->id == FIELD_FORWARDED;
}

static bool is_personal_or_capability(const struct field *field)
{
	return is_personal(field) || field->id == FIELD_SURROGATE_CAPABILITY;
}

/* What forward_request() has written, but for some fields. */
static void put_again(
	struct writer *w, const struct head *request, bool (*is_left_out)(const struct field *))
{
	put_text(w, request->method);
	PUT(w, " ");
	put_text(w, request->target);
	PUT(w, " HTTP/1.1\r\n");
	for (size_t i = 0; i < request->n_fields; i++)
		if (!is_left_out(&request->fields[i]))
			put_field(w, &request->fields[i]);
}

static void put_line(struct writer *w, const char *name, struct text value)
{
	put(w, name, strlen(name));
	PUT(w, ": ");
	put_text(w, value);
	PUT(w, "\r\n");
}

size_t forward_conditions(char *out, size_t size, const struct head *request,
	const struct forward_conditions *conditions)
{
	struct writer w = {out, out + size, false};

	put_again(&w, request, is_condition);
	if (conditions->etag.length)
		put_line(&w, "If-None-Match", conditions->etag);
	if (conditions->last_modified.length)
		put_line(&w, "If-Modified-Since", conditions->last_modified);
	return finish(&w, out);
}

size_t forward_for_all(char *out, size_t size, const struct head *request, bool surrogate)
{
	struct writer w = {out, out + size, false};

	put_again(&w, request, surrogate ? is_personal_or_capability : is_personal);
	if (surrogate)
		PUT(&w, "Surrogate-Capability: " SURROGATE_DEVICE "=\"Surrogate/1.0\"\r\n");
	return finish(&w, out);
}

static void put_status_line(struct writer *w, const struct head *response)
{
	PUT(w, "HTTP/1.1 ");
	put_number(w, (uint64_t)response->status);
	PUT(w, " ");
	put_text(w, response->phrase);
	PUT(w, "\r\n");
}

/* Do chunks go to the client? */
static bool is_chunked(const struct head *response, int client_minor, enum framing framing)
{
	if (client_minor == 0 || framing == FRAMING_CLOSE)
		return false;
	return response->body == BODY_CHUNKED ||
	       (response->body == BODY_CLOSE && framing == FRAMING_CHUNKED);
}

static void put_framing(struct writer *w, const struct head *response, bool keep_alive,
	int client_minor, enum framing framing)
{
	bool endless = response->body == BODY_CHUNKED || response->body == BODY_CLOSE;
	if (response->content_length >= 0) {
		put_number_field(w, "Content-Length", response->content_length);
	} else if (is_chunked(response, client_minor, framing)) {
		PUT(w, "Transfer-Encoding: chunked\r\n");
		endless = false;
	}
	if (response->status < 200)
		return;
	if (!keep_alive || endless)
		PUT(w, "Connection: close\r\n");
	else if (client_minor == 0)
		PUT(w, "Connection: keep-alive\r\n");
}

size_t forward_response(char *out, size_t size, const struct head *response, bool keep_alive,
	int client_minor, enum framing framing, struct text name, struct text date,
	struct text lines)
{
	struct writer w = {out, out + size, false};
	bool dated = response->status < 200;

	put_status_line(&w, response);
	for (size_t i = 0; i < response->n_fields; i++) {
		const struct field *field = &response->fields[i];
		if ((field->hop && !(field->id == FIELD_TRAILER && framing == FRAMING_TRAILERS)) ||
			field->id == FIELD_CONTENT_LENGTH)
			continue;
		dated |= field->id == FIELD_DATE;
		put_field(&w, field);
	}
	if (!dated) {
		PUT(&w, "Date: ");
		put_text(&w, date);
		PUT(&w, "\r\n");
	}
	put_framing(&w, response, keep_alive, client_minor, framing);
	put_upgrade(&w, response->upgrade);
	put_via(&w, response->minor, name);
	put_text(&w, lines);
	return finish(&w, out);
}

static bool may_be_trailer(struct text name)
{
	static const struct text content = TEXT("content-"),
				 no[] = {TEXT("alt-svc"), TEXT("authentication-info"),
					 TEXT("cookie"), TEXT("forwarded"), TEXT("retry-after"),
					 TEXT("set-cookie"), TEXT("set-cookie2"), TEXT("warning"),
					 TEXT("www-authenticate")};

	if (field_id_of(name) != FIELD_OTHER)
		return false;
	if (name.length >= content.length &&
		text_equal_nocase((struct text){name.at, content.length}, content))
		return text_equal_nocase(name, TEXT("content-digest"));
	for (size_t i = 0; i < COUNT_OF(no); i++)
		if (text_equal_nocase(name, no[i]))
			return false;
	return true;
}

size_t forward_trailers(char *out, struct text trailers)
{
	struct writer w = {out, out + trailers.length, false};
	const char *at = trailers.at, *end = at + trailers.length, *colon;

	while (at < end && (colon = memchr(at, ':', (size_t)(end - at))) != NULL) {
		const char *stop = bytes_skip_value(colon, end);
		const char *value = bytes_skip_space(colon + 1, stop), *last = stop;
		struct field field = {.name = bytes_span(at, colon)};

		while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
			last--;
		field.value = bytes_span(value, last);
		if (may_be_trailer(field.name))
			put_field(&w, &field);
		at = stop + 2;
	}
	CHECK(!w.full);
	return (size_t)(w.at - out);
}

/* Behind a comment, which may hold comments and escapes (RFC 9110 5.6.5). */
static const char *skip_comment(const char *at, const char *end)
{
	for (unsigned depth = 0; at < end; at++) {
		if (*at == '\\' && at + 1 < end)
			at++;
		else if (*at == '(')
			depth++;
		else if (*at == ')' && --depth == 0)
			return at + 1;
	}
	return end;
}

static const char *skip_word(const char *at, const char *end)
{
	while (at < end && *at != ' ' && *at != '\t' && *at != ',' && *at != '(')
		at++;
	return at;
}

/* Via = #( protocol RWS received-by [ RWS comment ] ) */
static bool via_names(struct text via, struct text name)
{
	const char *at = via.at, *end = via.at + via.length;
	while (at < end) {
		at = bytes_skip_space(skip_word(bytes_skip_space(at, end), end), end);
		const char *by = at;
		at = skip_word(by, end);
		if (text_equal_nocase(bytes_span(by, at), name))
			return true;
		while (at < end && *at != ',')
			at = *at == '(' ? skip_comment(at, end) : at + 1;
		if (at < end)
			at++;
	}
	return false;
}

bool forward_is_loop(const struct head *request, struct text name)
{
	for (size_t i = 0; i < request->n_fields; i++)
		if (request->fields[i].id == FIELD_VIA && via_names(request->fields[i].value, name))
			return true;
	return false;
}
