#include "daemon/gate/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log/log.h"

#define FILES_PER_CONNECTION 4 /* client, origin, and a pipe while a tunnel's bytes wait in it */
#define FILES_BESIDES 1024

/* A pipe or terminal is opened anew: O_NONBLOCK on a shared one would be everybody's. */
static int open_standard(int fd)
{
	char path[32];
	struct stat st;
	int copy = -1;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
		copy = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return copy >= 0 ? copy : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int setup_log_file(const char *what, const char *target, int *fd, struct error *e)
{
	*fd = -1;
	if (strcmp(target, "off") == 0)
		return 0;
	if (strcmp(target, "stdout") == 0)
		*fd = open_standard(STDOUT_FILENO);
	else if (strcmp(target, "stderr") == 0)
		*fd = open_standard(STDERR_FILENO);
	else
		*fd = open(target,
			O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
	if (*fd < 0)
		return error_set(e, -errno, "%s %s: %s", what, target, strerror(errno));
	return 0;
}

int setup_access_log(const char *target, int *fd, struct error *e)
{
	return setup_log_file("access log", target, fd, e);
}

void setup_open_files(pid_t pid, size_t max_connections)
{
	rlim_t want = FILES_PER_CONNECTION * (rlim_t)max_connections + FILES_BESIDES;
	struct rlimit limit;

	if (prlimit(pid, RLIMIT_NOFILE, NULL, &limit) < 0 || limit.rlim_cur >= want)
		return;
	if (limit.rlim_max < want &&
		prlimit(pid, RLIMIT_NOFILE, &(struct rlimit){want, want}, NULL) == 0)
		return;
	limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
	if (prlimit(pid, RLIMIT_NOFILE, &limit, NULL) < 0 || limit.rlim_cur < want)
		log_warn("%llu open files are allowed, max-connections = %zu may need %llu: raise "
			 "the hard limit (ulimit -Hn, LimitNOFILE=)",
			(unsigned long long)limit.rlim_cur, max_connections,
			(unsigned long long)want);
}

unsigned setup_workers(unsigned configured)
{
	cpu_set_t cpus;
	int n;

	if (configured)
		return configured;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		return (unsigned)CPU_COUNT(&cpus);
	n = (int)sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned)n : 1;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The strings lie where the kernel put them, which /proc/PID/environ shows. */
static void forget_environment(void)
{
	for (char **variable = environ; variable && *variable; variable++)
		explicit_bzero(*variable, strlen(*variable));
	clearenv();
}

static int cache_failed(int fd, const char *directory, const char *step, struct error *e)
{
	int error = -errno;

	if (fd >= 0)
		close(fd);
	return error_set(e, error, "%s/cache.store: %s: %s", directory, step,
		error == -EWOULDBLOCK ? "another egretd has it" : strerror(-error));
}

/* The proxy gets the descriptor; a link in its place is not followed. */
int setup_cache_file(const char *directory, size_t size, struct error *e)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (snprintf(path, sizeof(path), "%s/cache.store", directory) >= (int)sizeof(path))
		return error_set(e, -ENAMETOOLONG, "%s: %s", directory, strerror(ENAMETOOLONG));
	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return error_set(e, -errno, "%s: %s", directory, strerror(errno));
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return cache_failed(fd, directory, "opening", e);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return cache_failed(fd, directory, "locking", e);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return cache_failed(fd, directory, "it is no file", e);
	}
	if ((uint64_t)st.st_size != size && ftruncate(fd, (off_t)size) < 0)
		return cache_failed(fd, directory, "giving it its size", e);
	return fd;
}

void setup_proxy_process(int channel, int file, const struct listener_list *listeners)
{
	size_t n = 0;
	int *keep = malloc((listeners->n + 2) * sizeof(*keep));
	unsigned from = STDERR_FILENO + 1;

	CHECK(keep);
	keep[n++] = channel;
	if (file >= 0)
		keep[n++] = file;
	for (size_t i = 0; i < listeners->n; i++)
		keep[n++] = listeners->at[i].fd;
	qsort(keep, n, sizeof(*keep), by_number);
	for (size_t i = 0; i < n; i++) {
		if ((unsigned)keep[i] > from)
			close_range(from, (unsigned)keep[i] - 1, 0);
		from = (unsigned)keep[i] + 1;
	}
	close_range(from, ~0U, 0);
	free(keep);
	forget_environment();
	prctl(PR_SET_NAME, "egretd-proxy");
}
