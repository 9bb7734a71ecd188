/*
 * key_test.c - under which names responses are kept.
 */
#include "daemon/cache/key.h"
#include "tests/unit/daemon/cache/heads.h"

static bool parse(struct uri *uri, struct text target)
{
	struct head head = {.method_id = METHOD_GET, .target = target};
	struct head_error error;
	return uri_parse(&head, uri, &error) == 0;
}

/* RFC 9111 2, RFC 9110 4.2.3 */
static const struct {
	const char *uri, *ignore, *key; /* `ignore`: separated by blanks */
} keys[] = {
	{"http://h", "", "p http://h/"},
	{"http://h/", "", "p http://h/"},
	{"HTTP://EXAMPLE.org:80/", "", "p http://example.org/"},
	{"http://example.org.:/", "", "p http://example.org/"},
	{"http://h:8080/", "", "p http://h:8080/"},
	{"http://h:443/", "", "p http://h:443/"},
	{"https://h:443/a", "", "p https://h/a"},
	{"https://h:80/a", "", "p https://h:80/a"},
	{"http://192.0.2.1/", "", "p http://192.0.2.1/"},
	{"http://[2001:DB8::0:1]:81/", "", "p http://[2001:db8::1]:81/"},
	/* path and query byte by byte */
	{"http://h/a/../b//c/.", "", "p http://h/a/../b//c/."},
	{"http://h/%7Ea", "", "p http://h/%7Ea"},
	{"http://h/%7ea", "", "p http://h/%7ea"},
	{"http://h/~a", "", "p http://h/~a"},
	{"http://h/A", "", "p http://h/A"},
	{"http://h?b", "", "p http://h/?b"},
	{"http://h/?", "", "p http://h/?"},
	{"http://h/?a=1&b=2", "", "p http://h/?a=1&b=2"},
	{"http://h/?b=2&a=1", "", "p http://h/?b=2&a=1"},
	{"http://h/?a=1&&", "", "p http://h/?a=1&&"},
	/* keys to ignore */
	{"http://h/?a=1&b=2&c=3", "b", "p http://h/?a=1&c=3"},
	{"http://h/?a=1&b=2", "a", "p http://h/?b=2"},
	{"http://h/?a=1&b=2", "b", "p http://h/?a=1"},
	{"http://h/?a=1&b=2", "a b", "p http://h/"},
	{"http://h?a=1", "a", "p http://h/"},
	{"http://h?b&a=1", "a", "p http://h/?b"},
	{"http://h/?a&b&a=&a=2=3", "a", "p http://h/?b"},
	{"http://h/?A=1&aa=1&b=a", "a", "p http://h/?A=1&aa=1&b=a"},
	{"http://h/?%61=1", "a", "p http://h/?%61=1"},
	{"http://h/?utm_a=1&x=1&utm_b&utm_=2&utm=3", "utm_*", "p http://h/?x=1&utm=3"},
	{"http://h/?a=1&b", "*", "p http://h/"},
	{"http://h/?a=1&&b=2", "a b", "p http://h/?"},
	{"http://h/?", "a", "p http://h/?"},
	{"http://h/?=1&b", "a", "p http://h/?=1&b"},
	{"http://h/a=1&b?a=1?b&c", "a", "p http://h/a=1&b?c"},
	{"http://h/a", "a", "p http://h/a"},
};

static size_t split(const char *words, struct text out[8])
{
	size_t n = 0;
	while (*words) {
		size_t length = strcspn(words, " ");
		out[n++] = (struct text){words, length};
		words += length + (words[length] == ' ');
	}
	return n;
}

static void makes_keys_of_what_tells_resources_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		struct uri uri;
		struct text ignore[8];
		char out[200];
		size_t n = split(keys[i].ignore, ignore);
		assert_true(parse(&uri, text_of(keys[i].uri)));
		size_t length = key_make(out, sizeof(out), TEXT("p"), &uri, ignore, n);
		if (!text_equal((struct text){out, length}, text_of(keys[i].key)))
			fail_msg("%s without %s: %.*s", keys[i].uri, keys[i].ignore, (int)length,
				out);
		for (size_t size = 0; size < length; size++) {
			char *room = heads_copy(out, size);
			assert_int_equal(key_make(room, size, TEXT("p"), &uri, ignore, n), 0);
			free(room);
		}
	}
}

static void makes_no_key_of_what_is_no_resource(void **state)
{
	struct head head = {.method_id = METHOD_CONNECT, .target = TEXT("h:443")};
	struct head_error error;
	struct uri uri;
	char out[100];
	(void)state;
	assert_int_equal(uri_parse(&head, &uri, &error), 0);
	assert_int_equal(key_make(out, sizeof(out), TEXT("p"), &uri, NULL, 0), 0);
	head = (struct head){.method_id = METHOD_OPTIONS, .target = TEXT("http://h")};
	assert_int_equal(uri_parse(&head, &uri, &error), 0);
	assert_int_equal(key_make(out, sizeof(out), TEXT("p"), &uri, NULL, 0), 0);
}

#define BASE "http://h/b/c/d?q"

static const struct {
	const char *base, *reference, *key; /* "": another origin, or no URI */
} references[] = {
	/* RFC 3986 5.4.1, on http */
	{BASE, "g", "http://h/b/c/g"},
	{BASE, "./g", "http://h/b/c/g"},
	{BASE, "g/", "http://h/b/c/g/"},
	{BASE, "/g", "http://h/g"},
	{BASE, "?y", "http://h/b/c/d?y"},
	{BASE, "g?y", "http://h/b/c/g?y"},
	{BASE, "#s", "http://h/b/c/d?q"},
	{BASE, "g#s", "http://h/b/c/g"},
	{BASE, "g?y#s", "http://h/b/c/g?y"},
	{BASE, ";x", "http://h/b/c/;x"},
	{BASE, "g;x?y#s", "http://h/b/c/g;x?y"},
	{BASE, "", "http://h/b/c/d?q"},
	{BASE, ".", "http://h/b/c/"},
	{BASE, "./", "http://h/b/c/"},
	{BASE, "..", "http://h/b/"},
	{BASE, "../", "http://h/b/"},
	{BASE, "../g", "http://h/b/g"},
	{BASE, "../..", "http://h/"},
	{BASE, "../../g", "http://h/g"},
	/* RFC 3986 5.4.2 */
	{BASE, "../../../g", "http://h/g"},
	{BASE, "/./g", "http://h/g"},
	{BASE, "/../g", "http://h/g"},
	{BASE, "g.", "http://h/b/c/g."},
	{BASE, "..g", "http://h/b/c/..g"},
	{BASE, "./../g", "http://h/b/g"},
	{BASE, "./g/.", "http://h/b/c/g/"},
	{BASE, "g/../h", "http://h/b/c/h"},
	{BASE, "g;x=1/../y", "http://h/b/c/y"},
	{BASE, "g?y/../x", "http://h/b/c/g?y/../x"},
	{BASE, "/a//../b", "http://h/a/b"},
	/* bases without a path */
	{"http://h", "g", "http://h/g"},
	{"http://h?q", "g", "http://h/g"},
	{"http://h?q", "", "http://h/?q"},
	{"http://h?q", "?y", "http://h/?y"},
	{"http://h:81/a", "b", "http://h:81/b"},
	/* absolute, and of the same origin or not */
	{BASE, "http://h/x", "http://h/x"},
	{BASE, "HTTP://H:80/x#f", "http://h/x"},
	{BASE, "http://h", "http://h/"},
	{BASE, "http://h?x", "http://h/?x"},
	{BASE, "http://h/a/../x", "http://h/x"},
	{BASE, "//h/x", "http://h/x"},
	{"https://h/a", "//h/x", "https://h/x"},
	{BASE, "http://i/x", ""},
	{BASE, "http://h.i/x", ""},
	{BASE, "http://h:81/x", ""},
	{BASE, "https://h/x", ""},
	{BASE, "https://h:80/x", ""},
	{BASE, "//i/x", ""},
	{BASE, "http://u@h/x", ""},
	{BASE, "http://h@i/x", ""},
	{BASE, "http:g", ""},
	{BASE, "http:/g", ""},
	{BASE, "http:", ""},
	{BASE, "mailto:a@h", ""},
	{BASE, "g:h", ""},
	{BASE, "///x", ""},
	{BASE, "a b", ""},
	{BASE, "/%zz", ""},
	{BASE, "/\xe4", ""},
	{BASE, "\\\\h\\x", ""},
};

static void resolves_references_within_the_origin(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(references); i++) {
		struct uri base;
		char out[200], want[200];
		size_t length = strlen(references[i].reference);
		char *copy = heads_copy(references[i].reference, length);
		assert_true(parse(&base, text_of(references[i].base)));
		length = key_of_location(
			out, sizeof(out), TEXT("p"), &base, (struct text){copy, length}, NULL, 0);
		snprintf(want, sizeof(want), "%s%s", references[i].key[0] ? "p " : "",
			references[i].key);
		if (!text_equal((struct text){out, length}, text_of(want)))
			fail_msg("%s at %s: \"%.*s\", not \"%s\"", references[i].reference,
				references[i].base, (int)length, out, want);
		free(copy);
	}
}

static void resolves_to_the_same_key_as_a_request(void **state)
{
	static const struct text ignore = TEXT("utm_*");
	struct uri uri;
	char out[100];
	(void)state;
	assert_true(parse(&uri, TEXT("http://h/a?utm_x=1&b")));
	size_t length =
		key_of_location(out, sizeof(out), TEXT("p"), &uri, TEXT("?utm_y=1&b"), &ignore, 1);
	assert_true(text_equal((struct text){out, length}, TEXT("p http://h/a?b")));
}

static void gives_no_key_to_what_is_too_long(void **state)
{
	static char long_path[KEY_REFERENCE_MAX + 1] = "/";
	static char out[2 * KEY_REFERENCE_MAX];
	struct uri base;
	(void)state;
	memset(long_path + 1, 'a', sizeof(long_path) - 1);
	assert_true(parse(&base, TEXT("http://h/")));
	size_t most = KEY_REFERENCE_MAX - strlen("http://h");
	assert_int_equal(key_of_location(out, sizeof(out), TEXT("p"), &base,
				 (struct text){long_path, most}, NULL, 0),
		KEY_REFERENCE_MAX + 2);
	assert_int_equal(key_of_location(out, sizeof(out), TEXT("p"), &base,
				 (struct text){long_path, most + 1}, NULL, 0),
		0);
}

static void reads_nothing_behind_its_bytes(void **state)
{
	static const char *const words[] = {"/", "..", ".", "//", "http:", "https://", "h", "?",
		"#", "a", "&", "=", ":80", "/../", "/./", "%41", "@"};
	static const struct text ignore[] = {TEXT("a"), TEXT("h*")};
	uint64_t random = 1;
	struct uri base;
	(void)state;
	assert_true(parse(&base, TEXT("http://h/b/c?d")));
	for (int i = 0; i < heads_rounds(100000); i++) {
		char text[100], out[150];
		size_t length = heads_babble(&random, words, COUNT_OF(words), text, sizeof(text));
		char *copy = heads_copy(text, length);
		length = key_of_location(
			out, sizeof(out), TEXT("p"), &base, (struct text){copy, length}, ignore, 2);
		assert_true(length == 0 || memcmp(out, "p http://h/", 11) == 0);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_keys_of_what_tells_resources_apart),
		cmocka_unit_test(makes_no_key_of_what_is_no_resource),
		cmocka_unit_test(resolves_references_within_the_origin),
		cmocka_unit_test(resolves_to_the_same_key_as_a_request),
		cmocka_unit_test(gives_no_key_to_what_is_too_long),
		cmocka_unit_test(reads_nothing_behind_its_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
