/*
 * sysctl.c - kernel parameters under /proc/sys: read, compared, set.
 */
#include "nat/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define OWN "/proc/sys"
#define NODE "/host/proc/sys" /* where a container, whose own is read-only, is given the node's */

/* -1 with errno. */
static int open_below(const char *root, const char *path, int flags)
{
	char full[PATH_MAX];

	if (snprintf(full, sizeof(full), "%s/%s", root, path) >= (int)sizeof(full)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(full, flags | O_CLOEXEC);
}

int sysctl_read(const char *path, char value[SYSCTL_VALUE], struct error *e)
{
	int fd = open_below(OWN, path, O_RDONLY), error = 0;
	ssize_t n = -1;

	if (fd >= 0)
		n = read(fd, value, SYSCTL_VALUE - 1);
	if (n < 0)
		error = error_set(e, -errno, "reading sysctl %s: %s", path, strerror(errno));
	value[n < 0 ? 0 : n] = '\0';
	value[strcspn(value, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
	return error;
}

static bool same_words(const char *a, const char *b)
{
	static const char blank[] = " \t\n";

	for (;;) {
		size_t n;

		a += strspn(a, blank);
		b += strspn(b, blank);
		n = strcspn(a, blank);
		if (n != strcspn(b, blank) || memcmp(a, b, n) != 0)
			return false;
		if (n == 0)
			return true;
		a += n;
		b += n;
	}
}

static int set(const struct sysctl *sysctl, struct error *e)
{
	size_t length = strlen(sysctl->value);
	int fd = open_below(OWN, sysctl->path, O_WRONLY), error = 0;
	bool contained = fd < 0 && errno == EROFS;

	if (contained)
		fd = open_below(NODE, sysctl->path, O_WRONLY);
	if (fd < 0 && contained)
		error = error_set(e, -EROFS,
			"setting sysctl %s = %s: /proc/sys is read-only: set it on the node, or "
			"mount the node's /proc/sys/net at /host/proc/sys/net",
			sysctl->path, sysctl->value);
	else if (fd < 0 || write(fd, sysctl->value, length) != (ssize_t)length)
		error = error_set(e, -errno, "setting sysctl %s = %s: %s", sysctl->path,
			sysctl->value, strerror(errno));
	if (fd >= 0)
		close(fd);
	return error;
}

int sysctl_apply(const struct sysctl *list, size_t n, struct error *e)
{
	char value[SYSCTL_VALUE];
	int changed = 0;

	for (size_t i = 0; i < n; i++) {
		int error = sysctl_read(list[i].path, value, e);

		if (!error && same_words(value, list[i].value))
			continue;
		if (!error)
			error = set(&list[i], e);
		if (error)
			return error;
		changed++;
	}
	return changed;
}

int sysctl_matches(const struct sysctl *list, size_t n, struct error *e)
{
	char value[SYSCTL_VALUE];

	for (size_t i = 0; i < n; i++) {
		int error = sysctl_read(list[i].path, value, e);

		if (error)
			return error;
		if (!same_words(value, list[i].value))
			return 0;
	}
	return 1;
}
