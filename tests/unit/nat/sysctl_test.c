/*
 * sysctl_test.c - kernel parameters of a network namespace of its own.
 */
#include "helpers.h"

#include <sys/mount.h>

#include "nat/sysctl.h"

static const struct sysctl wanted[] = {
	{"net/ipv4/conf/all/src_valid_mark", "1"},
	{"net/ipv4/ip_local_port_range", "20000 30000"},
};

/* What a new namespace has of its own differs: "all" is what the first namespace's is. */
static void enter_unset_namespace(void)
{
	enter_new_namespace();
	run("sysctl -qw net.ipv4.conf.all.src_valid_mark=0");
}

static int apply(void)
{
	struct error e = {0};
	int result = sysctl_apply(wanted, COUNT_OF(wanted), &e);

	if (result < 0)
		fail_msg("%s", e.text);
	return result;
}

static void sets_what_differs(void **state)
{
	char value[SYSCTL_VALUE];

	(void)state;
	enter_unset_namespace();
	assert_int_equal(sysctl_matches(wanted, COUNT_OF(wanted), NULL), 0);
	assert_int_equal(apply(), 2);
	assert_int_equal(sysctl_matches(wanted, COUNT_OF(wanted), NULL), 1);
	assert_int_equal(apply(), 0);
	run("sysctl -qw net.ipv4.conf.all.src_valid_mark=0");
	assert_int_equal(sysctl_matches(wanted, COUNT_OF(wanted), NULL), 0);
	assert_int_equal(apply(), 1);
	assert_int_equal(sysctl_read(wanted[1].path, value, NULL), 0);
	assert_string_equal(value, "20000\t30000");
}

static void a_value_that_is_right_need_not_be_writable(void **state)
{
	struct error e = {0};

	(void)state;
	enter_unset_namespace();
	assert_int_equal(apply(), 2);
	if (unshare(CLONE_NEWNS) || mount("none", "/", "none", MS_REC | MS_PRIVATE, ""))
		skip();
	/* A new proc shows the namespace we are in now. */
	assert_int_equal(mount("proc", "/proc", "proc", MS_RDONLY, NULL), 0);
	assert_int_equal(apply(), 0);
	run("test ! -w /proc/sys/net/ipv4/conf/all/src_valid_mark");
	assert_int_equal(sysctl_apply(&(struct sysctl){wanted[0].path, "0"}, 1, &e), -EROFS);
	assert_string_equal(e.text,
		"setting sysctl net/ipv4/conf/all/src_valid_mark = 0: /proc/sys is read-only: set "
		"it on "
		"the node, or mount the node's /proc/sys/net at /host/proc/sys/net");
	assert_int_equal(umount("/proc"), 0);
}

static void says_which_is_not_there(void **state)
{
	static const struct sysctl missing = {"net/ipv4/conf/nowhere0/forwarding", "1"};
	struct error e = {0};

	(void)state;
	assert_int_equal(sysctl_apply(&missing, 1, &e), -ENOENT);
	assert_string_equal(e.text, "reading sysctl net/ipv4/conf/nowhere0/forwarding:"
				    " No such file or directory");
	assert_int_equal(sysctl_matches(&missing, 1, &e), -ENOENT);
}

static void says_what_the_kernel_does_not_take(void **state)
{
	static const struct sysctl wrong = {"net/ipv4/ip_local_port_range", "9 8"};
	struct error e = {0};

	(void)state;
	enter_new_namespace();
	assert_int_equal(sysctl_apply(&wrong, 1, &e), -EINVAL);
	assert_string_equal(
		e.text, "setting sysctl net/ipv4/ip_local_port_range = 9 8: Invalid argument");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_what_differs),
		cmocka_unit_test(a_value_that_is_right_need_not_be_writable),
		cmocka_unit_test(says_which_is_not_there),
		cmocka_unit_test(says_what_the_kernel_does_not_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
