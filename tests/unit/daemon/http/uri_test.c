/*
 * uri_test.c - where a request target wants to go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "daemon/http/uri.h"

#define HTTP SCHEME_HTTP
#define HTTPS SCHEME_HTTPS
#define NONE SCHEME_NONE
#define V6 "2001:db8::1"

static int parse(struct uri *uri, struct text target, enum method method)
{
	struct head_error error = {0, NULL};
	char *copy = malloc(target.length ? target.length : 1);
	CHECK(copy);
	memcpy(copy, target.at, target.length);
	struct head request = {.target = {copy, target.length}, .method_id = method};
	int failed = uri_parse(&request, uri, &error);
	assert_int_equal(error.status, failed ? 400 : 0);
	assert_int_equal(error.text != NULL, failed != 0);
	if (!failed && uri->path.at >= copy && uri->path.at <= copy + target.length)
		uri->path.at = target.at + (uri->path.at - copy);
	free(copy);
	return failed;
}

static const struct {
	const char *target;
	enum method method;
	enum scheme scheme;
	const char *host;
	uint16_t port;
	const char *path;
	const char *field; /* Host */
	bool is_address;
	bool slash;
} good[] = {
	{"http://h/", METHOD_GET, HTTP, "h", 80, "/", "h", false, false},
	{"HTTP://EXAMPLE.com/A%2f?b=C", METHOD_GET, HTTP, "example.com", 80, "/A%2f?b=C",
		"example.com", false, false},
	{"https://h/x", METHOD_GET, HTTPS, "h", 443, "/x", "h", false, false},
	{"https://h:80/x", METHOD_GET, HTTPS, "h", 80, "/x", "h:80", false, false},
	{"http://h:443/x", METHOD_GET, HTTP, "h", 443, "/x", "h:443", false, false},
	{"http://h:80/x", METHOD_GET, HTTP, "h", 80, "/x", "h", false, false},
	{"http://h:/x", METHOD_GET, HTTP, "h", 80, "/x", "h", false, false},
	{"http://h:65535/x", METHOD_GET, HTTP, "h", 65535, "/x", "h:65535", false, false},
	{"http://h:1", METHOD_GET, HTTP, "h", 1, "/", "h:1", false, false},
	{"http://h", METHOD_GET, HTTP, "h", 80, "/", "h", false, false},
	{"http://h?q=/", METHOD_GET, HTTP, "h", 80, "?q=/", "h", false, true},
	{"http://h:8080?", METHOD_GET, HTTP, "h", 8080, "?", "h:8080", false, true},
	{"http://h//x//..//", METHOD_GET, HTTP, "h", 80, "//x//..//", "h", false, false},
	{"http://h/?a?b", METHOD_GET, HTTP, "h", 80, "/?a?b", "h", false, false},
	{"http://h/@:80", METHOD_GET, HTTP, "h", 80, "/@:80", "h", false, false},
	{"http://h/-._~!$&'()*+,;=:@%41?[a]{b}|c^d`/", METHOD_GET, HTTP, "h", 80,
		"/-._~!$&'()*+,;=:@%41?[a]{b}|c^d`/", "h", false, false},
	{"http://a.b./", METHOD_GET, HTTP, "a.b", 80, "/", "a.b", false, false},
	{"http://192.0.2.1:8080/", METHOD_GET, HTTP, "192.0.2.1", 8080, "/", "192.0.2.1:8080", true,
		false},
	{"http://[2001:DB8:0::1]/x", METHOD_GET, HTTP, V6, 80, "/x", "[" V6 "]", true, false},
	{"http://[2001:db8::1]:8080/", METHOD_GET, HTTP, V6, 8080, "/", "[" V6 "]:8080", true,
		false},
	{"http://[::ffff:192.0.2.1]/", METHOD_GET, HTTP, "192.0.2.1", 80, "/", "192.0.2.1", true,
		false},
	{"http://h", METHOD_OPTIONS, HTTP, "h", 80, "*", "h", false, false},
	{"http://h:81", METHOD_OPTIONS, HTTP, "h", 81, "*", "h:81", false, false},
	{"http://h/", METHOD_OPTIONS, HTTP, "h", 80, "/", "h", false, false},
	{"http://h?q", METHOD_OPTIONS, HTTP, "h", 80, "?q", "h", false, true},
	{"h:443", METHOD_CONNECT, NONE, "h", 443, "", "h:443", false, false},
	{"H.Example:80", METHOD_CONNECT, NONE, "h.example", 80, "", "h.example:80", false, false},
	{"192.0.2.1:443", METHOD_CONNECT, NONE, "192.0.2.1", 443, "", "192.0.2.1:443", true, false},
	{"[2001:db8::1]:443", METHOD_CONNECT, NONE, V6, 443, "", "[" V6 "]:443", true, false},
};

static void finds_host_port_and_path(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		struct uri uri;
		char field[HOST_MAX + 8];
		if (parse(&uri, text_of(good[i].target), good[i].method))
			fail_msg("refused: %s", good[i].target);
		assert_int_equal(uri.scheme, good[i].scheme);
		assert_string_equal(uri.host, good[i].host);
		assert_int_equal(uri.host_length, strlen(good[i].host));
		assert_int_equal(uri.port, good[i].port);
		assert_int_equal(uri.is_address, good[i].is_address);
		assert_true(text_equal(uri.path, text_of(good[i].path)));
		assert_int_equal(uri.path_slash, good[i].slash);

		size_t length = uri_host_field(&uri, field, sizeof(field));
		assert_int_equal(length, strlen(good[i].field));
		assert_memory_equal(field, good[i].field, length);
		assert_int_equal(uri_host_field(&uri, field, length), length);
		assert_int_equal(uri_host_field(&uri, field, length - 1), 0);
	}
}

static const struct {
	const char *target;
	enum method method;
} bad[] = {
	{"", METHOD_GET},
	{"/", METHOD_GET},
	{"/path", METHOD_GET},
	{"*", METHOD_OPTIONS},
	{"//h/", METHOD_GET},
	{"h", METHOD_GET},
	{"h:80", METHOD_GET},
	{"http:", METHOD_GET},
	{"http:/", METHOD_GET},
	{"http:/h/", METHOD_GET},
	{"http://", METHOD_GET},
	{"http:///", METHOD_GET},
	{"http://?q", METHOD_GET},
	{"http://:80/", METHOD_GET},
	{"http:\\\\h/", METHOD_GET},
	{"ftp://h/", METHOD_GET},
	{"httpx://h/", METHOD_GET},
	{"ws://h/", METHOD_GET},
	{"http://u@h/", METHOD_GET},
	{"http://u:p@h/", METHOD_GET},
	{"http://@h/", METHOD_GET},
	{"http://h@/", METHOD_GET},
	{"http://h:80@i/", METHOD_GET},
	{"http://h#/", METHOD_GET},
	{"http://h/#f", METHOD_GET},
	{"http://h/?q#f", METHOD_GET},
	{"http://h\\/", METHOD_GET},
	{"http://h/\\", METHOD_GET},
	{"http://h/\"", METHOD_GET},
	{"http://h/\"41", METHOD_GET},
	{"http://h/<", METHOD_GET},
	{"http://h/>", METHOD_GET},
	{"http://h/%", METHOD_GET},
	{"http://h/%4", METHOD_GET},
	{"http://h/%4g", METHOD_GET},
	{"http://h/%g4", METHOD_GET},
	{"http://h/?%u0041", METHOD_GET},
	{"http://%68/", METHOD_GET},
	{"http://h%00/", METHOD_GET},
	{"http://h,i/", METHOD_GET},
	{"http://h;i/", METHOD_GET},
	{"http://a..b/", METHOD_GET},
	{"http://.a/", METHOD_GET},
	{"http://h:0/", METHOD_GET},
	{"http://h:00080/", METHOD_GET},
	{"http://h:+80/", METHOD_GET},
	{"http://h:65536/", METHOD_GET},
	{"http://h:99999999999999999999/", METHOD_GET},
	{"http://h:8o/", METHOD_GET},
	{"http://h:80:80/", METHOD_GET},
	{"http://2130706433/", METHOD_GET},
	{"http://0x7f.1/", METHOD_GET},
	{"http://0177.0.0.1/", METHOD_GET},
	{"http://127.1/", METHOD_GET},
	{"http://1.2.3.4.5/", METHOD_GET},
	{"http://256.0.0.1/", METHOD_GET},
	{"http://::1/", METHOD_GET},
	{"http://[::1/", METHOD_GET},
	{"http://[::1]x/", METHOD_GET},
	{"http://[::1]80/", METHOD_GET},
	{"http://x[::1]/", METHOD_GET},
	{"http://[]/", METHOD_GET},
	{"http://[", METHOD_GET},
	{"http://[h]/", METHOD_GET},
	{"http://[127.0.0.1]/", METHOD_GET},
	{"http://[fe80::1%25eth0]/", METHOD_GET},
	{"h", METHOD_CONNECT},
	{"h:", METHOD_CONNECT},
	{":443", METHOD_CONNECT},
	{"", METHOD_CONNECT},
	{"/", METHOD_CONNECT},
	{"h:443/", METHOD_CONNECT},
	{"h:443?", METHOD_CONNECT},
	{"u@h:443", METHOD_CONNECT},
	{"http://h:443", METHOD_CONNECT},
	{"https://h:443/", METHOD_CONNECT},
	{"h:0", METHOD_CONNECT},
	{"h:0443", METHOD_CONNECT},
	{"h:65536", METHOD_CONNECT},
	{"[::1]", METHOD_CONNECT},
	{"[::1]:", METHOD_CONNECT},
	{"::1:443", METHOD_CONNECT},
	{"[::1:443", METHOD_CONNECT},
};

static void refuses_other_targets(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct uri uri;
		if (!parse(&uri, text_of(bad[i].target), bad[i].method))
			fail_msg("taken: %s", bad[i].target);
	}
}

static bool is_path_byte(int byte)
{
	return byte > 0x20 && byte < 0x7f && !strchr("\"#%<>\\", byte);
}

static bool is_host_byte(int byte)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= 'a' && byte <= 'z') || byte == '.' || byte == '-' || byte == '_' ||
	       byte == '/' || byte == '?' || byte == ':'; /* these end it */
}

static void decides_on_every_byte(void **state)
{
	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		char path[] = "http://h/a@b", host[] = "http://ab@80/";
		struct uri uri;
		*strchr(path, '@') = (char)byte;
		*strchr(host, '@') = (char)byte;
		struct text text = {path, sizeof(path) - 1};
		assert_int_equal(parse(&uri, text, METHOD_GET) == 0, is_path_byte(byte));
		text = (struct text){host, sizeof(host) - 1};
		bool good_host = is_host_byte(byte) && byte != '.'; /* "ab.80" is no name */
		assert_int_equal(parse(&uri, text, METHOD_GET) == 0, good_host);
	}
}

static void takes_the_longest_name(void **state)
{
	char target[600] = "http://";
	struct uri uri;
	(void)state;
	for (int i = 0; i < 126; i++)
		strcat(target, "a.");
	strcat(target, "b:65535");
	assert_int_equal(parse(&uri, text_of(target), METHOD_GET), 0);
	assert_int_equal(uri.host_length, 253);
	char field[HOST_MAX + 8];
	assert_int_equal(uri_host_field(&uri, field, sizeof(field)), 253 + 6);
	strcpy(strchr(target, 'b'), "bc/");
	assert_int_equal(parse(&uri, text_of(target), METHOD_GET), -1);
}

static const struct {
	const char *target, *host;
	enum method method;
	const char *name; /* NULL: refused */
	uint16_t port;
	const char *path;
} captured[] = {
	{"/", "h", METHOD_GET, "h", 80, "/"},
	{"/a%2f?b=C", "EXAMPLE.com.", METHOD_GET, "example.com", 80, "/a%2f?b=C"},
	{"//x/y", "h", METHOD_GET, "h", 80, "//x/y"},
	{"/http://other/", "h", METHOD_GET, "h", 80, "/http://other/"},
	{"/", "h:80", METHOD_POST, "h", 80, "/"},
	{"/", "h:8080", METHOD_GET, "h", 8080, "/"},
	{"/", "192.0.2.7", METHOD_GET, "192.0.2.7", 80, "/"},
	{"/", "[2001:DB8::1]:80", METHOD_GET, V6, 80, "/"},
	{"*", "h", METHOD_OPTIONS, "h", 80, "*"},
	{"http://h/x", "h", METHOD_GET, "h", 80, "/x"},
	{"http://h:80/x", "H.", METHOD_GET, "h", 80, "/x"},
	{"http://h?x", "h:80", METHOD_GET, "h", 80, "?x"},
	{"http://h", "h", METHOD_OPTIONS, "h", 80, "*"},
	{"http://h/x", "other", METHOD_GET, NULL, 0, NULL},
	{"http://h/x", "h:8080", METHOD_GET, NULL, 0, NULL},
	{"http://h:8080/x", "h", METHOD_GET, NULL, 0, NULL},
	{"http://192.0.2.7/x", "192.0.2.8", METHOD_GET, NULL, 0, NULL},
	{"http://h/x", "", METHOD_GET, NULL, 0, NULL},
	{"https://h/x", "h", METHOD_GET, NULL, 0, NULL},
	{"http://user@h/x", "h", METHOD_GET, NULL, 0, NULL},
	{"*", "h", METHOD_GET, NULL, 0, NULL},
	{"", "h", METHOD_GET, NULL, 0, NULL},
	{"x", "h", METHOD_GET, NULL, 0, NULL},
	{"?x", "h", METHOD_GET, NULL, 0, NULL},
	{"/#x", "h", METHOD_GET, NULL, 0, NULL},
	{"/%zz", "h", METHOD_GET, NULL, 0, NULL},
	{"/", "", METHOD_GET, NULL, 0, NULL},
	{"/", "h:0", METHOD_GET, NULL, 0, NULL},
	{"/", "user@h", METHOD_GET, NULL, 0, NULL},
	{"/", "0x7f.1", METHOD_GET, NULL, 0, NULL},
	{"h:443", "h:443", METHOD_CONNECT, NULL, 0, NULL},
	{"/", "h", METHOD_CONNECT, NULL, 0, NULL},
};

static void a_captured_request_goes_where_host_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(captured); i++) {
		struct head request = {.target = text_of(captured[i].target),
			.host = text_of(captured[i].host),
			.method_id = captured[i].method};
		struct head_error error = {0, NULL};
		struct uri uri;
		int failed = uri_parse_captured(&request, &uri, &error);

		if ((captured[i].name == NULL) != (failed != 0))
			fail_msg("%s of %s", captured[i].target, captured[i].host);
		if (failed) {
			assert_int_equal(error.status, 400);
			assert_non_null(error.text);
			continue;
		}
		assert_string_equal(uri.host, captured[i].name);
		assert_int_equal(uri.port, captured[i].port);
		assert_int_equal(uri.scheme, SCHEME_HTTP);
		assert_true(text_equal(uri.path, text_of(captured[i].path)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_host_port_and_path),
		cmocka_unit_test(refuses_other_targets),
		cmocka_unit_test(decides_on_every_byte),
		cmocka_unit_test(a_captured_request_goes_where_host_says),
		cmocka_unit_test(takes_the_longest_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
