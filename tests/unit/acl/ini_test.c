#include "acl/ini.h"

#include <errno.h>
#include <iniparser/iniparser.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static struct error error;

static const char *value_of(const struct ini *ini, const char *section, const char *key)
{
	for (size_t s = 0; s < ini->n_sections; s++)
		for (size_t k = 0; k < ini->sections[s].n_keys; k++)
			if (strcmp(ini->sections[s].name, section) == 0 &&
				strcmp(ini->sections[s].keys[k].name, key) == 0)
				return ini->sections[s].keys[k].value;
	return NULL;
}

static int quiet(const char *format, ...)
{
	(void)format;
	return 0;
}

/* What iniparser makes of the same text, which it takes only from a path. */
static dictionary *load_with_iniparser(struct text text)
{
	int fd = memfd_create("ini", MFD_CLOEXEC);
	dictionary *d;
	char path[40];

	assert_int_equal(write(fd, text.at, text.length), text.length);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	iniparser_set_error_callback(quiet);
	d = iniparser_load(path);
	close(fd);
	return d;
}

static void expect_same_as_iniparser(const struct ini *ini, struct text text)
{
	dictionary *d = load_with_iniparser(text);

	if (!d)
		fail_msg("iniparser refuses:\n%.*s", (int)text.length, text.at);
	assert_int_equal(iniparser_getnsec(d), ini->n_sections);
	for (size_t s = 0; s < ini->n_sections; s++) {
		const struct ini_section *section = &ini->sections[s];

		assert_int_equal(iniparser_getsecnkeys(d, section->name), section->n_keys);
		for (size_t k = 0; k < section->n_keys; k++) {
			char name[2100];
			const char *theirs;

			snprintf(name, sizeof(name), "%s:%s", section->name, section->keys[k].name);
			theirs = iniparser_getstring(d, name, NULL);
			if (!theirs || strcmp(theirs, section->keys[k].value) != 0)
				fail_msg("%s is '%s' here, '%s' in iniparser:\n%.*s", name,
					section->keys[k].value, theirs, (int)text.length, text.at);
		}
	}
	iniparser_freedict(d);
}

static void values_read_as_iniparser_reads_them(void **state)
{
	static const struct {
		const char *line, *value;
	} good[] = {
		{"key = value", "value"},
		{"key=value", "value"},
		{"  key\t =\t value \t", "value"},
		{"key = a, b, c", "a, b, c"},
		{"key = value ; comment", "value"},
		{"key = value\t# comment ; more", "value"},
		{"key = value ;", "value"},
		{"key =", ""},
		{"key = \"\"", ""},
		{"key = '' ; none", ""},
		{"key = \"\";none", ""},
		{"key = \"a;b # c\"", "a;b # c"},
		{"key = 'a;b # c' # d", "a;b # c"},
		{"key = \"  a \"", "  a "},
		{"key = \" \"", " "},
		{"key = \"it's\"", "it's"},
		{"key = 'say \"a\"'", "say \"a\""},
		{"key = \"a\"; comment with \"quotes\"", "a"},
		{"key = a=b", "a=b"},
		{"key == b", "= b"},
		{"key = [a]", "[a]"},
		{"key = a\\b", "a\\b"},
		{"key = \"a\\\"", "a\\"},
		{"key = b\xc3\xbc", "b\xc3\xbc"},
		{"key = a ; \xf0\x9f\x90\xa6", "a"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		char text[200];
		struct ini ini;
		const char *value;

		snprintf(text, sizeof(text), "[s]\n%s\nend = 1\n", good[i].line);
		if (ini_parse(&ini, "f", text_of(text), &error))
			fail_msg("%s", error.text);
		value = value_of(&ini, "s", "key");
		assert_non_null(value);
		assert_string_equal(value, good[i].value);
		expect_same_as_iniparser(&ini, text_of(text));
		ini_free(&ini);
	}
}

static void sections_and_keys_keep_their_order_and_lines(void **state)
{
	static const char text[] = "\xef\xbb\xbf; first\r\n\r\n[partner \t stripe]\r\nHosts = a\r\n"
				   "\tports = 443 ; tls\r\n# x\r\n [ b ] \r\nx = 1";
	struct ini ini;

	(void)state;
	assert_int_equal(ini_parse(&ini, "f", TEXT(text), &error), 0);
	assert_int_equal(ini.n_sections, 2);
	assert_string_equal(ini.sections[0].name, "partner stripe");
	assert_int_equal(ini.sections[0].line, 3);
	assert_int_equal(ini.sections[0].n_keys, 2);
	assert_string_equal(ini.sections[0].keys[0].name, "Hosts");
	assert_int_equal(ini.sections[0].keys[0].line, 4);
	assert_string_equal(ini.sections[0].keys[1].value, "443");
	assert_int_equal(ini.sections[0].keys[1].line, 5);
	assert_string_equal(ini.sections[1].name, "b");
	assert_int_equal(ini.sections[1].line, 7);
	assert_string_equal(ini.sections[1].keys[0].value, "1");
	ini_free(&ini);
}

static void a_text_without_sections_is_fine(void **state)
{
	static const char *const texts[] = {
		"", "\n", "\r\n\r\n", "; only\n# comments", " \t ", "\xef\xbb\xbf"};
	struct ini ini;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		assert_int_equal(ini_parse(&ini, "f", text_of(texts[i]), &error), 0);
		assert_int_equal(ini.n_sections, 0);
		ini_free(&ini);
	}
	assert_int_equal(ini_parse(&ini, "f", (struct text){NULL, 0}, &error), 0);
	ini_free(&ini);
}

static void mistakes_name_their_line_and_what_was_wanted(void **state)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"a = 1\n", "f:1: a = 1: want a [SECTION] before the first key"},
		{"[s]\n\nhosts\n", "f:3: hosts: want [SECTION], or KEY = VALUE"},
		{"[s]\nx", "f:2: x: want [SECTION]"},
		{"[s]\n= 1\n", "f:2: = 1: want [SECTION]"},
		{"[s]\na b = 1\n", "f:2: a b = 1: want [SECTION]"},
		{"[s]\na:b = 1\n", "f:2: a:b = 1: want [SECTION]"},
		{"[s]\na;b = 1\n", "f:2: a;b = 1: want [SECTION]"},
		{"[s]\n\xef\xbb\xbf"
		 "a = 1\n",
			"f:2: "},
		{"[s\n", "f:1: [s: want [NAME] alone"},
		{"[]\n", "f:1: []: want [NAME] alone"},
		{"[\n", "f:1: [: want [NAME] alone"},
		{"[ ]\n", "f:1: [ ]: want [NAME] alone"},
		{"[s] x\n", "f:1: [s] x: want [NAME] alone"},
		{"[s] ; x\n", "f:1: [s] ; x: want [NAME] alone"},
		{"[s] ; [x]\n", "f:1: [s] ; [x]: want [NAME] alone"},
		{"[a] = [b]\n", "f:1: [a] = [b]: want [NAME] alone"},
		{"[[s]]\n", "f:1: [[s]]: want [NAME] alone"},
		{"[a:b]\n", "f:1: [a:b]: want [NAME] alone"},
		{"[a;b]\n", "f:1: [a;b]: want [NAME] alone"},
		{"[s]\na = b;c\n", "f:2: a = b;c: want quotes around a value with ; or #"},
		{"[s]\na = b#c ; d\n", "f:2: a = b#c ; d: want quotes around"},
		{"[s]\na = #fff\n", "f:2: a = #fff: want a value before the comment"},
		{"[s]\na =; none\n", "f:2: a =; none: want a value before the comment"},
		{"[s]\na = \"b\n", "f:2: a = \"b: want a quote at the end"},
		{"[s]\na = 'b\"\n", "f:2: a = 'b\": want a quote at the end"},
		{"[s]\na = \"\n", "f:2: a = \": want a quote at the end"},
		{"[s]\na = \"b\" c\n", "f:2: a = \"b\" c: want nothing but a comment"},
		{"[s]\na = \"b\"\"c\"\n", "f:2: a = \"b\"\"c\": want nothing but a comment"},
		{"[s]\na = b \"c\"\n", "f:2: a = b \"c\": want quotes around the whole"},
		{"[s]\na = it's\n", "f:2: a = it's: want quotes around the whole"},
		{"[s]\na = b \\\n c\n", "f:2: a = b \\: want the whole value on one line"},
		{"[s]\na = b\\ \n", "f:2: a = b\\: want the whole value on one line"},
		{"[s]\na = b ; c \\\nd = e\n", "f:2: a = b ; c \\: want the whole value"},
		{"[s]\n; c \\\na = b\n", "f:2: ; c \\: want no \\ at the end of a comment"},
		{"[s]\na = b\rc = d\n", "f:2: byte 6 is the control character 0x0d: want text"},
		{"[s]\na = b\x01\n", "f:2: byte 6 is the control character 0x01"},
		{"[s]\n;\x7f\n", "f:2: byte 2 is the control character 0x7f"},
		{"[s]\na = 1\nb = 2\nA = 3\na = 4\n", "f:4: [s] A: want each key once, see line 2"},
		{"[s]\n[t]\n[S]\n[t]\n", "f:3: [S]: want each section once, see line 1"},
		{"[a b]\n[a  b]\n", "f:2: [a b]: want each section once, see line 1"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct ini ini;

		assert_int_equal(ini_parse(&ini, "f", text_of(bad[i].text), &error), -EINVAL);
		if (strncmp(error.text, bad[i].message, strlen(bad[i].message)) != 0)
			fail_msg("'%s', want '%s'", error.text, bad[i].message);
		ini_free(&ini);
	}
}

static void nul_bytes_are_refused(void **state)
{
	static const struct text bad[] = {TEXT("[s]\na = b\0c\n"), TEXT("[s]\n\0"), TEXT("\0"),
		TEXT("[s]\n; x\0\n"), TEXT("[s\0]\n"), TEXT("\xff\xfe[\0s\0]\0")};
	struct ini ini;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		assert_int_equal(ini_parse(&ini, "f", bad[i], &error), -EINVAL);
		ini_free(&ini);
	}
}

static void a_line_may_be_as_long_as_iniparser_takes_and_no_longer(void **state)
{
	char text[1100] = "[s]\na = ";

	(void)state;
	for (int last_line = 0; last_line < 2; last_line++)
		for (size_t length = 1020; length <= 1030; length++) {
			struct ini ini;
			struct text all = {text, 4 + length + (last_line ? 0 : 1)};

			memset(text + 8, 'x', length - 4);
			text[4 + length] = '\n';
			assert_int_equal(
				ini_parse(&ini, "f", all, &error), length <= 1022 ? 0 : -EINVAL);
			if (length <= 1022)
				expect_same_as_iniparser(&ini, all);
			else
				assert_non_null(strstr(error.text, "f:2: a line of 10"));
			ini_free(&ini);
		}
}

/* Lines put together at random: either refused, or read as iniparser reads them. */
static void nothing_that_is_accepted_reads_otherwise_in_iniparser(void **state)
{
	static const char *const pieces[] = {"a", "b", "=", " = ", ";", "#", " ; ", " #", "\"", "'",
		"\"x\"", "\\", "[", "]", "[s]", "\n", "\r\n", "\n", "\t",
		"k1 = ", "\nk2 = ", "\n[t]\n", ":", "=1", "v, w", "\"\"", "''", "\xc3\xbc", " "};
	unsigned random = 1, accepted = 0;

	(void)state;
	for (int i = 0; i < 60000; i++) {
		char text[200] = "[z]\n";
		struct ini ini;
		int n;

		random = random * 1103515245 + 12345;
		n = (int)(random >> 16) % 12;
		for (int k = 0; k < n; k++) {
			random = random * 1103515245 + 12345;
			strcat(text, pieces[(random >> 16) % COUNT_OF(pieces)]);
		}
		if (ini_parse(&ini, "f", text_of(text), &error) == 0) {
			accepted++;
			expect_same_as_iniparser(&ini, text_of(text));
		}
		ini_free(&ini);
	}
	assert_true(accepted > 5000);
}

static void ten_thousand_sections_are_read(void **state)
{
	char *text = malloc(10000 * 100);
	struct ini ini;
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 10000; i++)
		n += (size_t)sprintf(text + n,
			"[partner p%d]\nhosts = a%d.example\nports = 443 ; x\nrate = 10/1m\n", i,
			i);
	assert_int_equal(ini_parse(&ini, "f", (struct text){text, n}, &error), 0);
	assert_int_equal(ini.n_sections, 10000);
	ini_free(&ini);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_read_as_iniparser_reads_them),
		cmocka_unit_test(sections_and_keys_keep_their_order_and_lines),
		cmocka_unit_test(a_text_without_sections_is_fine),
		cmocka_unit_test(mistakes_name_their_line_and_what_was_wanted),
		cmocka_unit_test(nul_bytes_are_refused),
		cmocka_unit_test(a_line_may_be_as_long_as_iniparser_takes_and_no_longer),
		cmocka_unit_test(nothing_that_is_accepted_reads_otherwise_in_iniparser),
		cmocka_unit_test(ten_thousand_sections_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
