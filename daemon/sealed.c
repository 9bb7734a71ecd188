#include "daemon/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static int write_all(int fd, struct text text)
{
	while (text.length > 0) {
		ssize_t n = write(fd, text.at, text.length);

		if (n < 0)
			return -errno;
		text.at += n;
		text.length -= (size_t)n;
	}
	return 0;
}

int sealed_new(const char *name, struct text text)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error = fd < 0 ? -errno : write_all(fd, text);

	if (!error && fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		error = -errno;
	if (!error)
		return fd;
	if (fd >= 0)
		close(fd);
	return error;
}

/* The size cannot change after the seals were seen. */
static int check(int fd, size_t most, size_t *length)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0)
		return -errno;
	if ((seals & SEALS) != SEALS)
		return -EPERM;
	if (fstat(fd, &st) < 0)
		return -errno;
	*length = (size_t)st.st_size;
	return *length > most ? -EFBIG : 0;
}

static int read_all(int fd, char *text, size_t length)
{
	for (size_t at = 0; at < length;) {
		ssize_t n = pread(fd, text + at, length - at, (off_t)at);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}

int sealed_read(int fd, size_t most, char **text, size_t *length)
{
	int error = check(fd, most, length);

	if (error)
		return error;
	*text = malloc(*length + 1);
	if (!*text)
		return -ENOMEM;
	error = read_all(fd, *text, *length);
	(*text)[*length] = '\0';
	if (error) {
		free(*text);
		*text = NULL;
	}
	return error;
}
