/*
 * sandbox.c - privileges go in an order in which each step still may take the next.
 *
 * Bounding set (needs CAP_SETPCAP), groups, gid, uid, then the capability sets themselves;
 * afterwards everything is read back, because a step that silently did nothing is the
 * one that matters.
 */
#include "daemon/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define LEAK_CHECK true /* its tracer is a process that attaches to us */
#else
#define LEAK_CHECK false
#endif

static int failed(struct error *e, const char *step)
{
	int code = errno ? -errno : -EPERM;

	return error_set(e, code, "drop privileges: %s: %s", step, strerror(-code));
}

static int drop_bounds(struct error *e)
{
	capng_get_caps_process();
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		return 0; /* no_new_privs makes what is left of it useless */
	capng_clear(CAPNG_SELECT_BOTH);
	return capng_apply(CAPNG_SELECT_BOUNDS) == 0 ? 0 : failed(e, "bounding set");
}

static int drop_ids(unsigned uid, unsigned gid, struct error *e)
{
	if (setgroups(0, NULL) < 0)
		return failed(e, "setgroups");
	if (setresgid(gid, gid, gid) < 0)
		return failed(e, "setresgid");
	if (setresuid(uid, uid, uid) < 0)
		return failed(e, "setresuid");
	return 0;
}

static int drop_capabilities(struct error *e)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return failed(e, "capabilities");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return failed(e, "ambient set");
	return 0;
}

static bool ids_are(unsigned uid, unsigned gid)
{
	uid_t u[3];
	gid_t g[3];

	return getresuid(&u[0], &u[1], &u[2]) == 0 && getresgid(&g[0], &g[1], &g[2]) == 0 &&
	       u[0] == uid && u[1] == uid && u[2] == uid && g[0] == gid && g[1] == gid &&
	       g[2] == gid && getgroups(0, NULL) == 0;
}

static int verify(bool was_root, unsigned uid, unsigned gid, struct error *e)
{
	errno = 0;
	if (was_root && !ids_are(uid, gid))
		return failed(e, "uid and gid are not what was asked for");
	if (was_root && uid != 0 && (setresuid(-1, 0, -1) == 0 || setresgid(-1, 0, -1) == 0))
		return failed(e, "root can be taken back");
	errno = 0;
	capng_get_caps_process();
	if (capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
		return failed(e, "capabilities are left");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return failed(e, "no_new_privs is not set");
	return 0;
}

/* Refused whatever the arguments. */
static const int refused[] = {
	/* programs, other processes, signals to them */
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(kill),
	SCMP_SYS(tkill),
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(rt_tgsigqueueinfo),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(kcmp),
	SCMP_SYS(process_madvise),
	/* names in the file system */
	SCMP_SYS(creat),
	SCMP_SYS(openat2),
	SCMP_SYS(truncate),
	SCMP_SYS(link),
	SCMP_SYS(linkat),
	SCMP_SYS(symlink),
	SCMP_SYS(symlinkat),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(rmdir),
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(chown),
	SCMP_SYS(fchown),
	SCMP_SYS(lchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(setxattr),
	SCMP_SYS(fsetxattr),
	SCMP_SYS(lsetxattr),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(fanotify_init),
	/* mounts and namespaces */
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsmount),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fspick),
	SCMP_SYS(open_tree),
	SCMP_SYS(move_mount),
	SCMP_SYS(mount_setattr),
	/* the kernel itself */
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(reboot),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(personality),
	SCMP_SYS(acct),
	SCMP_SYS(quotactl),
	SCMP_SYS(syslog),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(adjtimex),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(modify_ldt),
	SCMP_SYS(vhangup),
	SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
};

static int refuse(scmp_filter_ctx filter, int error, int call, unsigned n, struct scmp_arg_cmp when)
{
	return seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(error), call, n, &when);
}

/* One bit of an argument is set, or (`set` 0) is not. */
static struct scmp_arg_cmp bit(unsigned argument, uint64_t mask, bool set)
{
	return SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, mask, set ? mask : 0);
}

/* The kernel looks at 32 bits of a command, the filter at 64. */
static int refuse_command(scmp_filter_ctx f, int call, unsigned command)
{
	return refuse(f, EPERM, call, 1, SCMP_CMP(1, SCMP_CMP_MASKED_EQ, UINT32_MAX, command));
}

/* Signals: tgkill() to others, and O_ASYNC, which sends one to whom a descriptor belongs.  And what
 * types into a terminal. */
static int refuse_commands(scmp_filter_ctx f)
{
	static const unsigned owners[] = {F_SETOWN, F_SETOWN_EX};
	static const unsigned ioctls[] = {FIOSETOWN, SIOCSPGRP, TIOCSTI, TIOCLINUX};
	const struct scmp_arg_cmp others = SCMP_CMP(0, SCMP_CMP_NE, (scmp_datum_t)getpid());
	int error = refuse(f, EPERM, SCMP_SYS(tgkill), 1, others);

	for (size_t i = 0; i < COUNT_OF(owners) && !error; i++)
		error = refuse_command(f, SCMP_SYS(fcntl), owners[i]);
	for (size_t i = 0; i < COUNT_OF(ioctls) && !error; i++)
		error = refuse_command(f, SCMP_SYS(ioctl), ioctls[i]);
	return error;
}

static int add_rules(scmp_filter_ctx f)
{
	static const int writing[] = {O_WRONLY, O_RDWR, O_CREAT};
	const struct scmp_arg_cmp always = {0};
	int error = 0;

	for (size_t i = 0; i < COUNT_OF(refused) && !error; i++)
		error = refuse(f, EPERM, refused[i], 0, always);
	for (size_t i = 0; i < COUNT_OF(writing) && !error; i++) {
		error = refuse(f, EPERM, SCMP_SYS(open), 1, bit(1, (uint64_t)writing[i], true));
		if (!error)
			error = refuse(
				f, EPERM, SCMP_SYS(openat), 1, bit(2, (uint64_t)writing[i], true));
	}
	if (!error) /* packet, alg, vsock, xdp ... */
		error = refuse(
			f, EAFNOSUPPORT, SCMP_SYS(socket), 1, SCMP_CMP(0, SCMP_CMP_GT, AF_NETLINK));
	if (!error)
		error = refuse_commands(f);
	if (error || LEAK_CHECK)
		return error;
	error = refuse(f, EPERM, SCMP_SYS(ptrace), 0, always);
	if (!error) /* threads only; glibc falls back to clone() where clone3() is not there */
		error = refuse(f, EPERM, SCMP_SYS(clone), 1, bit(0, CLONE_THREAD, false));
	if (!error)
		error = refuse(f, ENOSYS, SCMP_SYS(clone3), 0, always);
	if (!error)
		error = refuse(f, EPERM, SCMP_SYS(fork), 0, always);
	return error ? error : refuse(f, EPERM, SCMP_SYS(vfork), 0, always);
}

static int filter_calls(struct error *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int error = filter ? add_rules(filter) : -ENOMEM;

	if (!error)
		error = seccomp_load(filter);
	if (error)
		error_set(e, error, "drop privileges: seccomp: %s", strerror(-error));
	seccomp_release(filter);
	return error;
}

int sandbox_drop(unsigned uid, unsigned gid, struct error *e)
{
	bool root = geteuid() == 0;
	int error;

	if (setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}) < 0)
		return failed(e, "core limit");
	error = drop_bounds(e);
	if (!error && root)
		error = drop_ids(uid, gid, e);
	if (!error)
		error = drop_capabilities(e);
	if (error)
		return error;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed(e, "no_new_privs");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return failed(e, "dumpable");
	error = verify(root, uid, gid, e);
	return error ? error : filter_calls(e);
}
