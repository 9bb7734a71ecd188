/*
 * Each case has a directory of its own, a watch on some paths in it, an edit as people and
 * programs make them, and whether it counts.
 */
#include "daemon/gate/watch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];
static struct ev_loop *loop;
static int changes;

static void on_change(void *arg)
{
	(void)arg;
	changes++;
	ev_break(loop, EVBREAK_ALL);
}

static void on_late(struct ev_loop *l, ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	ev_break(l, EVBREAK_ALL);
}

/* Runs the loop until a change or for `seconds`; true: there was one. */
static bool changed_within(double seconds)
{
	ev_timer late;
	int before = changes;

	ev_now_update(loop);
	ev_timer_init(&late, on_late, seconds, 0);
	ev_timer_start(loop, &late);
	ev_run(loop, 0);
	ev_timer_stop(loop, &late);
	return changes != before;
}

static void sh(const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "cd %s && { %s; }", root, command);
	assert_int_equal(system(line), 0);
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/watch-test-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	loop = ev_default_loop(0);
	changes = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sh("cd / && rm -rf \"$OLDPWD\"");
	return 0;
}

static struct watch *watch_three(void)
{
	static char paths[3][128];
	const char *const at[] = {paths[0], paths[1], paths[2]};
	struct watch *watch = watch_new(loop, on_change, NULL);
	struct timespec now;
	struct error e;

	snprintf(paths[0], sizeof(paths[0]), "%s/etc/acl.ini", root);
	snprintf(paths[1], sizeof(paths[1]), "%s/etc/acl.d/", root);
	snprintf(paths[2], sizeof(paths[2]), "%s/etc/lists/hosts.txt", root);
	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec++;
	assert_non_null(watch);
	assert_int_equal(watch_set(watch, at, 3, &now, &e), 0);
	return watch;
}

static const struct edit {
	const char *before, *edit;
	bool counts;
} edits[] = {
	/* written in place */
	{"mkdir etc; echo a > etc/acl.ini", "echo b >> etc/acl.ini", true},
	/* an editor: new file, renamed over */
	{"mkdir etc; echo a > etc/acl.ini", "echo b > etc/.acl.swp; mv etc/.acl.swp etc/acl.ini",
		true},
	/* an editor: old one renamed away, new one made */
	{"mkdir etc; echo a > etc/acl.ini", "mv etc/acl.ini etc/acl.ini~; echo b > etc/acl.ini",
		true},
	{"mkdir etc; echo a > etc/acl.ini", "rm etc/acl.ini", true},
	{"mkdir etc; echo a > etc/acl.ini", "chmod 600 etc/acl.ini", true},
	{"mkdir etc", "echo a > etc/acl.ini", true},
	/* what stands beside it */
	{"mkdir etc; echo a > etc/acl.ini", "echo b > etc/access.log", false},
	{"mkdir etc; echo a > etc/acl.ini", "echo b > etc/.acl.ini.swp", false},
	{"mkdir etc; echo a > etc/acl.ini", "mkdir etc/sub; echo a > etc/sub/acl.ini", false},
	{"mkdir etc; echo a > etc/acl.ini", "echo a > acl.ini", false},
	{"mkdir etc; echo a > etc/acl.ini", "cat etc/acl.ini > /dev/null; ls etc", false},
	/* acl.d */
	{"mkdir -p etc/acl.d", "echo a > etc/acl.d/team.ini", true},
	{"mkdir -p etc/acl.d; echo a > etc/acl.d/team.ini", "rm etc/acl.d/team.ini", true},
	{"mkdir -p etc/acl.d", "echo a > etc/acl.d/README", false},
	{"mkdir -p etc/acl.d", "echo a > etc/acl.d/.team.ini", false},
	{"mkdir etc", "mkdir etc/acl.d", true},
	/* a list in a directory that is not there yet */
	{"mkdir etc", "mkdir etc/lists; echo a > etc/lists/hosts.txt", true},
	{"mkdir -p etc/lists", "echo a > etc/lists/hosts.txt", true},
	{"mkdir -p etc/lists", "echo a > etc/lists/other.txt", false},
	/* the way to it */
	{"mkdir etc; echo a > etc/acl.ini", "mv etc old; mkdir etc; echo b > etc/acl.ini", true},
	{"mkdir etc; echo a > etc/acl.ini", "rm -r etc", true},
	{"true", "mkdir etc; echo a > etc/acl.ini", true},
	{"mkdir one two; ln -s one etc; echo a > one/acl.ini; echo b > two/acl.ini",
		"ln -s two new; mv -T new etc", true},
	{"mkdir etc real; echo a > real/acl.ini; ln -s ../real/acl.ini etc/acl.ini",
		"echo b >> real/acl.ini", true},
	{"mkdir etc real; echo a > real/acl.ini; ln -s ../real/acl.ini etc/acl.ini",
		"echo b >> real/other", false},
	/* a ConfigMap */
	{"mkdir -p etc/..1; echo a > etc/..1/acl.ini; ln -s ..1 etc/..data; ln -s ..data/acl.ini "
	 "etc/acl.ini",
		"mkdir etc/..2; echo b > etc/..2/acl.ini; ln -s ..2 etc/..tmp; mv -T etc/..tmp "
		"etc/..data; rm -r etc/..1",
		true},
};

static void an_edit_counts_when_it_is_on_the_way_to_a_watched_file(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(edits); i++) {
		const struct edit *edit = &edits[i];
		struct watch *watch;

		sh(edit->before);
		watch = watch_three();
		assert_false(changed_within(0.01));
		sh(edit->edit);
		if (changed_within(edit->counts ? 5.0 : 0.27) != edit->counts)
			fail_msg("%s, then %s", edit->before, edit->edit);
		watch_free(watch);
		sh("rm -rf * .[!.]* || true");
	}
}

static void every_edit_counts_also_after_directories_were_made_anew(void **state)
{
	struct watch *watch;

	(void)state;
	sh("mkdir etc; echo a > etc/acl.ini");
	watch = watch_three();
	for (int i = 0; i < 2; i++) {
		sh("rm -r etc");
		assert_true(changed_within(5));
		sh("mkdir etc");
		assert_true(changed_within(5));
		sh("echo a > etc/acl.ini");
		assert_true(changed_within(5));
		sh("mkdir etc/acl.d");
		assert_true(changed_within(5));
		sh("echo b > etc/acl.d/x.ini");
		assert_true(changed_within(5));
		assert_false(changed_within(0.27));
	}
	watch_free(watch);
}

static void every_swap_of_a_configmap_counts(void **state)
{
	struct watch *watch;
	char command[512];

	(void)state;
	sh("mkdir -p etc/..0; echo 0 > etc/..0/acl.ini; ln -s ..0 etc/..data; "
	   "ln -s ..data/acl.ini etc/acl.ini");
	watch = watch_three();
	for (int i = 1; i < 3; i++) {
		snprintf(command, sizeof(command),
			"mkdir etc/..%d; echo %d > etc/..%d/acl.ini; ln -s ..%d etc/..tmp; "
			"mv -T etc/..tmp etc/..data; rm -r etc/..%d",
			i, i, i, i, i - 1);
		sh(command);
		assert_true(changed_within(5));
		assert_false(changed_within(0.27));
	}
	watch_free(watch);
}

static void a_burst_is_one_change(void **state)
{
	struct watch *watch;

	(void)state;
	sh("mkdir etc");
	watch = watch_three();
	for (int i = 0; i < 5; i++) {
		sh("echo a >> etc/acl.ini");
		assert_false(changed_within(WATCH_QUIET / 4));
	}
	assert_true(changed_within(5));
	assert_false(changed_within(0.27));
	watch_free(watch);
}

static void a_burst_without_end_is_a_change_all_the_same(void **state)
{
	struct watch *watch;
	double begin;

	(void)state;
	sh("mkdir etc");
	watch = watch_three();
	begin = ev_time();
	do
		sh("echo a >> etc/acl.ini");
	while (!changed_within(WATCH_QUIET / 4) && ev_time() < begin + 10);
	assert_int_equal(changes, 1);
	assert_true(ev_time() - begin < WATCH_LONGEST + 1);
	watch_free(watch);
}

static void what_changed_before_the_watch_counts_when_it_is_later_than_the_reading(void **state)
{
	struct watch *watch = watch_new(loop, on_change, NULL);
	struct timespec read_at;
	char path[128];
	const char *const paths[] = {path};
	struct error e;

	(void)state;
	snprintf(path, sizeof(path), "%s/acl.ini", root);
	clock_gettime(CLOCK_REALTIME, &read_at);
	sh("echo a > acl.ini");
	assert_int_equal(watch_set(watch, paths, 1, &read_at, &e), 0);
	assert_true(changed_within(5));
	assert_int_equal(watch_set(watch, paths, 1, &read_at, &e), 0);
	assert_false(changed_within(0.27)); /* the same paths: nothing new */
	watch_free(watch);
}

/* Counts what /proc says of this process' inotify descriptors. */
static int count_in_proc(const char *command)
{
	char line[256];
	FILE *out;
	int n = -1;

	snprintf(line, sizeof(line), "cd /proc/%d && %s", (int)getpid(), command);
	out = popen(line, "r");
	assert_non_null(out);
	assert_int_equal(fscanf(out, "%d", &n), 1);
	pclose(out);
	return n;
}

static int descriptor(void)
{
	return count_in_proc("basename $(find fd -lname anon_inode:inotify)");
}

static int watches(void)
{
	return count_in_proc("cat fdinfo/* 2>/dev/null | grep -c ^inotify || true");
}

/* To close one waits for the kernel (fsnotify's SRCU), on a busy node for a long time. */
static void a_change_neither_closes_the_descriptor_nor_leaves_watches_behind(void **state)
{
	struct watch *watch;
	int fd, n;

	(void)state;
	sh("mkdir 1 2; ln -s 1 etc; echo a > 1/acl.ini; echo a > 2/acl.ini");
	watch = watch_three();
	fd = descriptor();
	n = watches();
	for (int i = 0; i < 2; i++) {
		sh("ln -s 2 new; mv -T new etc; mv 1 3; mv 2 1; mv 3 2");
		assert_true(changed_within(5));
		assert_false(changed_within(0.27));
		assert_int_equal(descriptor(), fd);
		assert_int_equal(watches(), n);
	}
	watch_free(watch);
	assert_int_equal(watches(), 0);
}

int main(void)
{
#define TEST_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST_CASE(an_edit_counts_when_it_is_on_the_way_to_a_watched_file),
		TEST_CASE(every_edit_counts_also_after_directories_were_made_anew),
		TEST_CASE(every_swap_of_a_configmap_counts),
		TEST_CASE(a_burst_is_one_change),
		TEST_CASE(a_burst_without_end_is_a_change_all_the_same),
		TEST_CASE(what_changed_before_the_watch_counts_when_it_is_later_than_the_reading),
		TEST_CASE(a_change_neither_closes_the_descriptor_nor_leaves_watches_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
