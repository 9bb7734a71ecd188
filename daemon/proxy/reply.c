#include "daemon/proxy/reply.h"

#include <stdio.h>
#include <string.h>

#define HEAD_ROOM 2048 /* bytes of our own head, details included */
#define DETAILS_MAX 512

static const struct {
	int status;
	const char *phrase;
} phrases[] = {
	{200, "OK"},
	{400, "Bad Request"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{414, "URI Too Long"},
	{417, "Expectation Failed"},
	{421, "Misdirected Request"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
};

const char *reply_phrase(int status)
{
	for (size_t i = 0; i < COUNT_OF(phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return "Error";
}

/* An sf-string (RFC 8941 3.3.3) without its quotes. */
static void print_details(char out[DETAILS_MAX], const char *details)
{
	size_t n = 0;

	for (; *details && n + 2 < DETAILS_MAX; details++) {
		unsigned char c = *details;

		if (c == '"' || c == '\\')
			out[n++] = '\\';
		out[n++] = c < 0x20 || c > 0x7e ? '?' : c;
	}
	out[n] = 0;
}

ssize_t reply_put(struct conn *conn, struct buffer_pool *pool, const struct reply *reply,
	const char *name, const char *date)
{
	char details[DETAILS_MAX], text[DETAILS_MAX + 16];
	struct text body = reply->body;
	struct buffer *out;
	FILE *head;

	print_details(details, reply->details ? reply->details : reply_phrase(reply->status));
	if (body.length == 0) {
		snprintf(text, sizeof(text), "egret: %s\n",
			reply->details ? reply->details : reply_phrase(reply->status));
		body = text_of(text);
	}
	out = conn_out(conn, pool, HEAD_ROOM + body.length);
	if (!out)
		return -1;
	head = fmemopen(out->data + out->end, HEAD_ROOM, "w");
	if (!head)
		return -1;
	fprintf(head,
		"HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		"Cache-Control: no-store\r\n",
		reply->status, reply_phrase(reply->status), date,
		reply->type ? reply->type : "text/plain; charset=utf-8", body.length);
	if (reply->error) {
		fprintf(head, "Proxy-Status: %s; error=%s", name, reply->error);
		if (reply->rcode)
			fprintf(head, "; rcode=\"%s\"", reply->rcode);
		fprintf(head, "; details=\"%s\"\r\n", details);
	}
	if (reply->allow)
		fprintf(head, "Allow: %s\r\n", reply->allow);
	if (reply->retry_after)
		fprintf(head, "Retry-After: %llu\r\n", (unsigned long long)reply->retry_after);
	fprintf(head, "Connection: %s\r\n\r\n", reply->keep_alive ? "keep-alive" : "close");
	fflush(head);
	out->end += ftell(head);
	fclose(head);
	if (reply->head_only)
		return 0;
	memcpy(out->data + out->end, body.at, body.length);
	out->end += body.length;
	return (ssize_t)body.length;
}
