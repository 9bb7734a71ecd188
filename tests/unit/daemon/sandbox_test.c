/*
 * Each case drops everything in a process of its own, tries something, and says by its exit
 * status whether that was refused.
 */
#include "daemon/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define UID 65532
#define GID 65531

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* 0: `attempt` answered true in the sandbox. */
static int in_sandbox(int (*attempt)(void))
{
	struct error e;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (sandbox_drop(UID, GID, &e) < 0) {
			fprintf(stderr, "%s\n", e.text);
			_exit(99);
		}
		_exit(attempt() ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int ids_are_gone(void)
{
	if (getuid() == UID)
		return geteuid() == UID && getgid() == GID && getegid() == GID &&
		       getgroups(0, NULL) == 0 && setuid(0) < 0 && setgid(0) < 0;
	return getuid() != 0; /* a plain user keeps its own */
}

static int no_capability_is_left(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	for (int i = 0; i < 2; i++)
		if (data[i].effective || data[i].permitted || data[i].inheritable)
			return 0;
	for (int cap = 0; cap <= 40; cap++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) != 0 ||
			(getuid() == UID && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) != 0))
			return 0;
	return 1;
}

static int flags_are_set(void)
{
	struct rlimit core;

	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && prctl(PR_GET_DUMPABLE) == 0 &&
	       prctl(PR_GET_SECCOMP) == 2 && getrlimit(RLIMIT_CORE, &core) == 0 &&
	       core.rlim_max == 0;
}

static int refused(long result)
{
	return result < 0 && errno == EPERM;
}

static int programs_are_refused(void)
{
	char *const argv[] = {"true", NULL};

	return refused(execv("/bin/true", argv)) &&
	       refused(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, NULL, 0));
}

static int processes_are_refused(void)
{
	return SANITIZED || (refused(fork()) && refused(vfork()));
}

static int files_to_write_are_refused(void)
{
	return refused(open("/tmp/x", O_WRONLY)) && refused(open("/tmp/x", O_RDWR)) &&
	       refused(open("/tmp/x", O_RDONLY | O_CREAT, 0600)) &&
	       refused(openat(AT_FDCWD, "/tmp/x", O_WRONLY | O_TRUNC)) &&
	       refused(syscall(SYS_openat2, AT_FDCWD, "/tmp/x", NULL, 0)) &&
	       refused(unlink("/tmp/x")) && refused(rename("/tmp/x", "/tmp/y")) &&
	       refused(mkdir("/tmp/x", 0700)) && refused(chmod("/tmp/x", 0700));
}

static int files_to_read_are_there(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && close(fd) == 0;
}

static int kernel_interfaces_are_refused(void)
{
	return refused(mount("none", "/tmp", "tmpfs", 0, NULL)) &&
	       refused(unshare(CLONE_NEWUSER)) && refused(syscall(SYS_bpf, 0, NULL, 0)) &&
	       refused(syscall(SYS_keyctl, 0, 0, 0, 0, 0)) &&
	       refused(syscall(SYS_init_module, NULL, 0, "")) &&
	       refused(syscall(SYS_io_uring_setup, 1, NULL)) &&
	       refused(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)) &&
	       (SANITIZED || refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)));
}

static int signals_to_others_are_refused(void)
{
	siginfo_t info = {.si_code = SI_QUEUE};

	return refused(kill(getppid(), 0)) && refused(kill(getpid(), 0)) &&
	       refused(syscall(SYS_tgkill, getppid(), getppid(), 0)) &&
	       refused(syscall(SYS_rt_sigqueueinfo, getppid(), 0, &info)) &&
	       refused(syscall(SYS_rt_tgsigqueueinfo, getppid(), getppid(), 0, &info));
}

/* O_ASYNC sends a signal of the caller's choice to whom the descriptor belongs. */
static int descriptors_are_given_to_nobody(void)
{
	const struct f_owner_ex parent = {F_OWNER_PID, getppid()};
	int in[2], owner = getppid();

	return pipe2(in, O_CLOEXEC) == 0 && refused(fcntl(in[0], F_SETOWN, getppid())) &&
	       refused(fcntl(in[0], F_SETOWN_EX, &parent)) &&
	       refused(ioctl(in[0], FIOSETOWN, &owner)) && refused(ioctl(in[0], SIOCSPGRP, &owner));
}

/* The kernel looks at 32 bits of the command. */
static int typing_into_a_terminal_is_refused(void)
{
	static const unsigned long above = 1UL << 32;

	return refused(ioctl(0, TIOCSTI, "x")) && refused(ioctl(0, TIOCLINUX, "\2")) &&
	       refused(syscall(SYS_ioctl, 0, TIOCSTI | above, "x")) &&
	       refused(syscall(SYS_ioctl, 0, TIOCLINUX | above, "\2"));
}

static int a_signal_to_itself_is_there(void)
{
	return signal(SIGUSR1, SIG_IGN) != SIG_ERR && raise(SIGUSR1) == 0;
}

static int only_network_sockets_are_made(void)
{
	int tcp = socket(AF_INET6, SOCK_STREAM, 0), unix_one = socket(AF_UNIX, SOCK_STREAM, 0);

	return tcp >= 0 && unix_one >= 0 && socket(AF_PACKET, SOCK_RAW, 0) < 0 &&
	       errno == EAFNOSUPPORT && socket(AF_ALG, SOCK_SEQPACKET, 0) < 0 &&
	       errno == EAFNOSUPPORT;
}

static void *thread(void *arg)
{
	return arg;
}

static int threads_pipes_and_splice_are_there(void)
{
	pthread_t id;
	void *result;
	int in[2], out[2];

	return pthread_create(&id, NULL, thread, in) == 0 && pthread_join(id, &result) == 0 &&
	       result == in && pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
	       write(in[1], "x", 1) == 1 && splice(in[0], NULL, out[1], NULL, 1, 0) == 1;
}

static void everything_is_given_up(void **state)
{
	(void)state;
	assert_int_equal(in_sandbox(ids_are_gone), 0);
	assert_int_equal(in_sandbox(no_capability_is_left), 0);
	assert_int_equal(in_sandbox(flags_are_set), 0);
}

static void what_a_proxy_has_no_use_for_is_refused(void **state)
{
	(void)state;
	assert_int_equal(in_sandbox(programs_are_refused), 0);
	assert_int_equal(in_sandbox(processes_are_refused), 0);
	assert_int_equal(in_sandbox(files_to_write_are_refused), 0);
	assert_int_equal(in_sandbox(kernel_interfaces_are_refused), 0);
	assert_int_equal(in_sandbox(signals_to_others_are_refused), 0);
	assert_int_equal(in_sandbox(descriptors_are_given_to_nobody), 0);
	assert_int_equal(in_sandbox(typing_into_a_terminal_is_refused), 0);
	assert_int_equal(in_sandbox(only_network_sockets_are_made), 0);
}

static void what_a_proxy_needs_is_there(void **state)
{
	(void)state;
	assert_int_equal(in_sandbox(files_to_read_are_there), 0);
	assert_int_equal(in_sandbox(threads_pipes_and_splice_are_there), 0);
	assert_int_equal(in_sandbox(a_signal_to_itself_is_there), 0);
}

static void a_step_that_silently_does_nothing_is_an_error(void **state)
{
	struct error e;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0)
		/* -1 means "as it is" to setresuid() */
		_exit(sandbox_drop((unsigned)-1, GID, &e) < 0 &&
					strstr(e.text, "not what was asked for")
				? 0
				: 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_given_up),
		cmocka_unit_test(what_a_proxy_has_no_use_for_is_refused),
		cmocka_unit_test(what_a_proxy_needs_is_there),
		cmocka_unit_test(a_step_that_silently_does_nothing_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
