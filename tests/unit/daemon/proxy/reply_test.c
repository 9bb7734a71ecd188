/* What egret itself says, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "daemon/proxy/reply.h"

#define DATE "Mon, 23 Nov 2026 08:02:21 GMT"

static const struct {
	struct reply reply;
	const char *wanted;
} replies[] = {
	{{.status = 429,
		 .error = "http_request_denied",
		 .details = "partner \"x\"\xff",
		 .retry_after = 6,
		 .keep_alive = true},
		"HTTP/1.1 429 Too Many Requests\r\nDate: " DATE "\r\n"
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 20\r\nCache-Control: "
		"no-store\r\n"
		"Proxy-Status: egret; error=http_request_denied; details=\"partner \\\"x\\\"?\"\r\n"
		"Retry-After: 6\r\nConnection: keep-alive\r\n\r\negret: partner \"x\"\xff\n"},
	{{.status = 502, .error = "dns_error", .rcode = "NXDOMAIN", .head_only = true},
		"HTTP/1.1 502 Bad Gateway\r\nDate: " DATE
		"\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Length: 19\r\nCache-Control: no-store\r\n"
		"Proxy-Status: egret; error=dns_error; rcode=\"NXDOMAIN\"; details=\"Bad "
		"Gateway\"\r\n"
		"Connection: close\r\n\r\n"},
	{{.status = 405, .allow = "GET, HEAD", .body = {"no\n", 3}},
		"HTTP/1.1 405 Method Not Allowed\r\nDate: " DATE
		"\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Length: 3\r\nCache-Control: no-store\r\nAllow: GET, HEAD\r\nConnection: "
		"close\r\n\r\nno\n"},
	{{.status = 200, .type = "application/json", .body = {"{}", 2}},
		"HTTP/1.1 200 OK\r\nDate: " DATE
		"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
		"Cache-Control: no-store\r\nConnection: close\r\n\r\n{}"},
};

static void says_why_in_words_and_in_proxy_status(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(replies); i++) {
		struct buffer_pool pool = {NULL, 0};
		struct conn conn = {.fd = -1};

		assert_true(reply_put(&conn, &pool, &replies[i].reply, "egret", DATE) >= 0);
		assert_int_equal(buffer_held(conn.out), strlen(replies[i].wanted));
		assert_memory_equal(conn.out->data, replies[i].wanted, strlen(replies[i].wanted));
		buffer_put(&pool, conn.out);
		buffer_pool_fini(&pool);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(says_why_in_words_and_in_proxy_status)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
