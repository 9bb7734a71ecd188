/*
 * control_test.c - what Cache-Control, CDN-Cache-Control and Surrogate-Control are read as.
 */
#include "daemon/cache/control.h"
#include "tests/unit/daemon/cache/heads.h"

#define MOST CONTROL_MOST
#define NONE CONTROL_NONE

/* A struct control as text, so that a case says only what is set. */
static void print(const struct control *c, char out[500])
{
	const struct {
		const char *name;
		bool set;
	} flags[] = {
		{"no-store", c->no_store},
		{"no-cache", c->no_cache},
		{"private", c->is_private},
		{"public", c->is_public},
		{"must-revalidate", c->must_revalidate},
		{"proxy-revalidate", c->proxy_revalidate},
		{"must-understand", c->must_understand},
		{"no-transform", c->no_transform},
		{"only-if-cached", c->only_if_cached},
		{"immutable", c->immutable},
	};
	const struct {
		const char *name;
		int64_t value;
	} numbers[] = {
		{"max-age", c->max_age},
		{"s-maxage", c->s_maxage},
		{"min-fresh", c->min_fresh},
		{"max-stale", c->max_stale},
		{"stale-while-revalidate", c->stale_while_revalidate},
		{"stale-if-error", c->stale_if_error},
	};
	char *at = out;
	*at = '\0';
	for (size_t i = 0; i < COUNT_OF(flags); i++)
		if (flags[i].set)
			at += sprintf(at, "%s ", flags[i].name);
	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		if (numbers[i].value == CONTROL_ANY)
			at += sprintf(at, "%s=any ", numbers[i].name);
		else if (numbers[i].value != NONE)
			at += sprintf(at, "%s=%lld ", numbers[i].name, (long long)numbers[i].value);
	if (at == out && c->present)
		at += sprintf(at, "something ");
	if (at > out)
		at[-1] = '\0';
}

/* `value`: field lines, separated by LF. */
static const struct {
	const char *section, *value, *want;
} controls[] = {
	{"5.2", "", ""},
	{"5.2", " ,, , ", ""},
	{"5.2", "no-store", "no-store"},
	{"5.2", "NO-STORE", "no-store"},
	{"5.2", "No-Cache,PRIVATE , pUbLiC", "no-cache private public"},
	{"5.2", ",,no-store,,max-age=5,", "no-store max-age=5"},
	{"5.2", "\tno-store\t,\tmax-age=5", "no-store max-age=5"},
	{"5.2", "must-revalidate, proxy-revalidate, must-understand, no-transform, immutable",
		"must-revalidate proxy-revalidate must-understand no-transform immutable"},
	{"5.2.1", "only-if-cached, min-fresh=3, max-stale=4, max-age=0",
		"only-if-cached max-age=0 min-fresh=3 max-stale=4"},
	{"RFC 5861", "stale-while-revalidate=30, stale-if-error=60",
		"stale-while-revalidate=30 stale-if-error=60"},
	/* both forms of an argument */
	{"5.2", "max-age=\"60\"", "max-age=60"},
	{"5.2", "MAX-AGE=\"60\"", "max-age=60"},
	{"5.2", "s-maxage=\"60\",max-age=\"7\"", "max-age=7 s-maxage=60"},
	{"RFC 9110 5.6.4", "max-age=\"\\6\\0\"", "max-age=60"},
	{"5.2", "max-age=003600", "max-age=3600"},
	{"5.2.2.4", "no-cache=\"Set-Cookie\"", "no-cache"},
	{"5.2.2.4", "no-cache=Set-Cookie", "no-cache"},
	{"5.2.2.7", "private=\"a, no-store, b\"", "private"},
	{"5.2.2.5", "no-store=1", "no-store"},
	{"5.2.2.5", "no-store=\"\"", "no-store"},
	{"5.2.2.5", "no-store;x", "no-store"},
	{"5.2.2.5", "no-store x", "no-store"},
	/* what an argument would permit it does not */
	{"5.2.2.9", "public=1", "something"},
	{"5.2.2.9", "public x", "something"},
	{"5.2.2.3", "must-understand=\"\"", "something"},
	/* names that are not the ones */
	{"5.2.3", "no-stores, xno-store, no-stor, no_store", "something"},
	{"5.2.3", "foo, max-age=3", "max-age=3"},
	{"5.2.3", "foo=bar, max-age=3", "max-age=3"},
	{"5.2.3", "=no-store, \"no-store\"", "something"},
	/* quoted strings hold no directives */
	{"5.2", "x=\"no-store\"", "something"},
	{"5.2", "x=\"foo=bar,max-age=3\"", "something"},
	{"5.2", "x=\"foo=bar,max-age=3\", max-age=4", "max-age=4"},
	{"5.2", "max-age=4, x=\"max-age=3600\"", "max-age=4"},
	{"5.2", "x=\"a\\\",no-store,\\\"\", max-age=4", "max-age=4"},
	{"5.2", "x=\"a\\\\\",no-store", "no-store"},
	{"5.2", "x=\"\",no-store", "no-store"},
	/* a string without an end */
	{"5.2", "x=\"no-st", "no-store"},
	{"5.2", "max-age=60, x=\"", "no-store max-age=60"},
	{"5.2", "x=\"a\\\"", "no-store"},
	{"5.2", "x=\"a\\", "no-store"},
	/* numbers */
	{"1.2.2", "max-age=2147483647", "max-age=2147483647"},
	{"1.2.2", "max-age=2147483648", "max-age=2147483648"},
	{"1.2.2", "max-age=99999999999999999999999999999999999999999", "max-age=2147483648"},
	{"4.2.1", "max-age", "max-age=0"},
	{"4.2.1", "max-age=", "max-age=0"},
	{"4.2.1", "max-age=\"\"", "max-age=0"},
	{"4.2.1", "max-age=-3600", "max-age=0"},
	{"4.2.1", "max-age=+3600", "max-age=0"},
	{"4.2.1", "max-age=3600.0", "max-age=0"},
	{"4.2.1", "max-age=3600s", "max-age=0"},
	{"4.2.1", "max-age=a3600", "max-age=0"},
	{"4.2.1", "max-age=0x10", "max-age=0"},
	{"4.2.1", "max-age='3600'", "max-age=0"},
	{"4.2.1", "max-age =3600", "max-age=0"},
	{"4.2.1", "max-age= 3600", "max-age=0"},
	{"4.2.1", "max-age=36 00", "max-age=0"},
	{"4.2.1", "max-age=\"60\"0", "max-age=0"},
	{"4.2.1", "max-age=60;x", "max-age=0"},
	{"4.2.1", "s-maxage=x", "s-maxage=0"},
	{"5.2.1.3", "min-fresh=x", "min-fresh=2147483648"},
	{"5.2.1.2", "max-stale", "max-stale=any"},
	{"5.2.1.2", "max-stale=x", "max-stale=0"},
	{"5.2.1.2", "max-stale, max-stale=5", "max-stale=5"},
	/* several: the most restrictive */
	{"4.2.1", "max-age=5, max-age=3, max-age=9", "max-age=3"},
	{"4.2.1", "max-age=5\nmax-age=3\nMax-Age=x", "max-age=0"},
	{"4.2.1", "min-fresh=5, min-fresh=9, min-fresh=1", "min-fresh=9"},
	{"5.2", "no-store\nmax-age=3", "no-store max-age=3"},
};

static const struct {
	const char *section, *value, *want; /* NULL: not a dictionary */
} targeted[] = {
	{"RFC 9213 2.1", "", ""},
	{"RFC 9213 2.1", "max-age=60", "max-age=60"},
	{"RFC 9213 2.1", "max-age=60, no-store,\tprivate ,public",
		"no-store private public max-age=60"},
	{"RFC 9213 2.1", "max-age=60\nno-cache", "no-cache max-age=60"},
	{"RFC 9213 2.1", "no-cache=\"a, b\"", "no-cache"},
	{"RFC 9213 2.1", "none", "something"},
	{"RFC 9213 2.1", "max-age=60;foo;bar=1;  baz=\"x\"", "max-age=60"},
	{"RFC 9213 2.1", "no-store=?1, public=?1", "no-store public"},
	{"RFC 9213 2.1", "no-store=?0, public=?0", "something"},
	{"RFC 9213 2.1", "public=1, must-understand=x", "something"},
	{"RFC 9213 2.1", "no-store=1, private=x", "no-store private"},
	{"RFC 9213 2.1", "max-age=60.5", "max-age=0"},
	{"RFC 9213 2.1", "max-age=\"60\"", "max-age=0"},
	{"RFC 9213 2.1", "max-age", "max-age=0"},
	{"RFC 9213 2.1", "max-age=-1", "max-age=0"},
	{"RFC 9213 2.1", "max-age=(60)", "max-age=0"},
	{"RFC 9111 1.2.2", "max-age=999999999999999", "max-age=2147483648"},
	{"RFC 8941 3.2", "max-age=1, max-age=60", "max-age=60"},
	{"RFC 8941 3.2", "max-age=60\nmax-age=1", "max-age=1"},
	{"RFC 8941 3.2", "no-store, no-store=?0", "something"},
	{"RFC 8941 3.3", "a=tok/en:x, b=*, c=:YWJj:, d=\"q\\\"\\\\\", e=(1 \"2\";p   ), f=-1.125",
		"something"},
	{"RFC 8941 3.2", " max-age=1 ", "max-age=1"},
	{"RFC 8941 4.2", "MAX-AGE=60", NULL},
	{"RFC 8941 4.2", "max-age =60", NULL},
	{"RFC 8941 4.2", "max-age= 60", NULL},
	{"RFC 8941 4.2", "max-age=60,", NULL},
	{"RFC 8941 4.2", "max-age=60,,no-store", NULL},
	{"RFC 8941 4.2", ",max-age=60", NULL},
	{"RFC 8941 4.2", "\tmax-age=60", NULL},
	{"RFC 8941 4.2", "max-age=60 no-store", NULL},
	{"RFC 8941 4.2", "max-age=", NULL},
	{"RFC 8941 4.2", "max-age=60;", NULL},
	{"RFC 8941 4.2", "max-age=60 ;a", NULL},
	{"RFC 8941 4.2", "max-age=1000000000000000", NULL},
	{"RFC 8941 4.2", "a=1234567890123.1", NULL},
	{"RFC 8941 4.2", "a=1.", NULL},
	{"RFC 8941 4.2", "a=1.1234", NULL},
	{"RFC 8941 4.2", "a=-", NULL},
	{"RFC 8941 4.2", "a=+1", NULL},
	{"RFC 8941 4.2", "a=\"x", NULL},
	{"RFC 8941 4.2", "a=\"x\\y\"", NULL},
	{"RFC 8941 4.2", "a=\"x\\", NULL},
	{"RFC 8941 4.2", "a=\"\xe4\"", NULL},
	{"RFC 8941 4.2", "a=?2", NULL},
	{"RFC 8941 4.2", "a=?", NULL},
	{"RFC 8941 4.2", "a=:YWJj", NULL},
	{"RFC 8941 4.2", "a=:Y WJj:", NULL},
	{"RFC 8941 4.2", "a=(1 2", NULL},
	{"RFC 8941 4.2", "a=(1,2)", NULL},
	{"RFC 8941 4.2", "a=(1\"2\")", NULL},
	{"RFC 8941 4.2", "1a=1", NULL},
	{"RFC 8941 4.2", "a=@x", NULL},
};

static const struct {
	const char *value, *want;
} surrogates[] = {
	{"", ""},
	{"max-age=60", "max-age=60"},
	{"no-store", "no-store"},
	{"no-store-remote", "no-store"},
	{"MaX-aGe=60, content=\"ESI/1.0\"", "max-age=60"},
	{"max-age=60+30", "max-age=60 stale-while-revalidate=30"},
	{"max-age=60+", "max-age=60 stale-while-revalidate=0"},
	{"max-age=60+x", "max-age=60 stale-while-revalidate=0"},
	{"max-age=99999999999", "max-age=2147483648"},
	{"max-age", "max-age=0"},
	{"max-age =60", "max-age=0"},
	{"max-age=x", "max-age=0"},
	{"max-age=60, max-age=30", "max-age=30"},
	{"max-age=60\nno-store", "no-store max-age=60"},
	/* for whom it is */
	{"max-age=60;egret", "max-age=60"},
	{"max-age=60 ; EGRET ", "max-age=60"},
	{"max-age=60;other", ""},
	{"max-age=60;egret2, no-store;eg", ""},
	{"max-age=60;egret, no-store;other", "max-age=60"},
	{"max-age=60+30;egret", "max-age=60 stale-while-revalidate=30"},
	/* nothing that it says is known: others count */
	{"content=\"ESI/1.0\"", ""},
	{"private, s-maxage=60, no-cache", ""},
	/* a string without an end */
	{"max-age=60, x=\"a", "no-store max-age=60"},
};

enum dialect { PLAIN, TARGETED, SURROGATE };

static bool add(struct control *control, struct text value, enum dialect dialect)
{
	if (dialect == TARGETED)
		return control_add_targeted(control, value);
	if (dialect == SURROGATE)
		control_add_surrogate(control, value, TEXT("egret"));
	else
		control_add(control, value);
	return true;
}

/* Each line in memory of its own length. */
static bool add_lines(struct control *control, const char *lines, enum dialect dialect)
{
	bool good = true;
	control_init(control);
	for (const char *line = lines; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		size_t length = strcspn(line, "\n");
		char *copy = heads_copy(line, length);
		good = add(control, (struct text){copy, length}, dialect) && good;
		free(copy);
	}
	return good;
}

static void reads_directives_in_every_form(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(controls); i++) {
		struct control control;
		char is[500];
		add_lines(&control, controls[i].value, PLAIN);
		print(&control, is);
		if (strcmp(is, controls[i].want))
			fail_msg("%s: \"%s\": %s, not %s", controls[i].section, controls[i].value,
				is, controls[i].want);
		assert_int_equal(control.present, controls[i].want[0] != '\0');
	}
}

static void reads_targeted_fields_as_dictionaries_or_not_at_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(targeted); i++) {
		struct control control;
		char is[500];
		bool good = add_lines(&control, targeted[i].value, TARGETED);
		print(&control, is);
		if (good != (targeted[i].want != NULL) || (good && strcmp(is, targeted[i].want)))
			fail_msg("%s: \"%s\": %s, not %s", targeted[i].section, targeted[i].value,
				good ? is : "not read",
				targeted[i].want ? targeted[i].want : "not read");
	}
}

static void reads_what_is_said_to_this_surrogate(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(surrogates); i++) {
		struct control control;
		char is[500];
		add_lines(&control, surrogates[i].value, SURROGATE);
		print(&control, is);
		if (strcmp(is, surrogates[i].want))
			fail_msg("\"%s\": %s, not %s", surrogates[i].value, is, surrogates[i].want);
		assert_int_equal(control.present, surrogates[i].want[0] != '\0');
	}
}

static void reads_nothing_behind_its_bytes(void **state)
{
	static const char *const words[] = {"max-age", "no-store", "private", "=", "\"", "\\", ",",
		" ", "60", "-", ".", ";", "?1", "(", ")", ":", "max-stale", "99999999999", "+",
		"egret"};
	uint64_t random = 1;
	(void)state;
	for (int i = 0; i < heads_rounds(200000); i++) {
		char text[100];
		struct control control;
		size_t length = heads_babble(&random, words, COUNT_OF(words), text, sizeof(text));
		char *copy = heads_copy(text, length);
		for (enum dialect dialect = PLAIN; dialect <= SURROGATE; dialect++) {
			control_init(&control);
			(void)add(&control, (struct text){copy, length}, dialect);
			assert_true(control.max_age >= NONE && control.max_age <= MOST);
		}
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_directives_in_every_form),
		cmocka_unit_test(reads_targeted_fields_as_dictionaries_or_not_at_all),
		cmocka_unit_test(reads_what_is_said_to_this_surrogate),
		cmocka_unit_test(reads_nothing_behind_its_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
