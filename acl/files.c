/*
 * files.c - the exact bytes that one generation is made from.
 *
 * A set is an array of (name, text), sorted by name, so that the same files have the same digest in
 * whatever order a parser asked for them.  On disk, texts are read whole into memory: a mapped file
 * could change under the parser. Listing a directory loads what it lists, and what it lists is then
 * answered from the array, in the gate and in the proxy alike.
 *
 * Packed: a struct pack, then for each entry a struct pack_entry, the name with its NUL, and the
 * text.  The proxy trusts none of it before every length has been held against the size, nor a
 * memfd that could still be written.
 */
#include "acl/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sha256.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX ((size_t)256 << 20)           /* bytes of all texts */
#define PACK_MAX (FILES_MAX + FILES_MAX / 4)    /* with names */
#define PACK_MAGIC UINT64_C(0x3173656c69666765) /* "egfiles1" */
#define PACK_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct file {
	const char *name;
	struct text text;
};

struct files {
	char *dir;
	struct file *at;
	size_t n, room;
	size_t bytes;  /* of all texts */
	char **listed; /* directories that are in `at` whole */
	size_t n_listed;
	void *map; /* an unpacked set lives in it; NULL: names and texts are on the heap */
	size_t map_length;
};

struct pack {
	uint64_t magic, n;
};

struct pack_entry {
	uint64_t name_length, text_length;
};

struct files *files_new(const char *dir)
{
	struct files *files = calloc(1, sizeof(*files));

	if (!files)
		return NULL;
	files->dir = strdup(dir);
	if (!files->dir) {
		free(files);
		return NULL;
	}
	return files;
}

void files_free(struct files *files)
{
	if (!files)
		return;
	for (size_t i = 0; i < files->n && !files->map; i++) {
		free((char *)files->at[i].name);
		free((char *)files->at[i].text.at);
	}
	for (size_t i = 0; i < files->n_listed; i++)
		free(files->listed[i]);
	if (files->map)
		munmap(files->map, files->map_length);
	free(files->listed);
	free(files->at);
	free(files->dir);
	free(files);
}

/* The first entry whose name is not below `name`, and whether it is that name. */
static size_t find(const struct files *files, const char *name, bool *found)
{
	size_t first = 0, end = files->n;

	*found = false;
	while (first < end) {
		size_t middle = first + (end - first) / 2;
		int order = strcmp(files->at[middle].name, name);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

/* Takes `text.at` over when it returns 0. */
static int insert(struct files *files, size_t at, const char *name, struct text text)
{
	char *copy;

	if (files->n == files->room) {
		size_t room = files->room ? 2 * files->room : 8;
		struct file *grown = reallocarray(files->at, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		files->at = grown;
		files->room = room;
	}
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	memmove(files->at + at + 1, files->at + at, (files->n - at) * sizeof(*files->at));
	files->at[at] = (struct file){copy, text};
	files->n++;
	files->bytes += text.length;
	return 0;
}

/* Reads `fd` to its end, at most `max` bytes; `size` is what is expected. */
static int read_all(int fd, size_t size, size_t max, struct text *out)
{
	size_t room = (size < max ? size : max) + 1; /* one more, to see the end */
	size_t length = 0;
	char *buffer = malloc(room);
	int error = 0;

	while (buffer) {
		ssize_t n = read(fd, buffer + length, room - length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			error = n < 0 ? -errno : 0;
			break;
		}
		length += (size_t)n;
		if (length > max) {
			error = -EFBIG;
			break;
		}
		if (length == room) { /* it grows while we read */
			char *grown = realloc(buffer, room * 2);

			if (!grown)
				free(buffer);
			buffer = grown;
			room *= 2;
		}
	}
	if (!buffer)
		return -ENOMEM;
	if (error) {
		free(buffer);
		return error;
	}
	*out = (struct text){buffer, length};
	return 0;
}

char *files_path(const struct files *files, const char *name)
{
	char *path = NULL;

	if (name[0] == '/' || files->map)
		return strdup(name);
	return asprintf(&path, "%s/%s", files->dir, name) < 0 ? NULL : path;
}

static int open_below(const struct files *files, const char *name, int flags)
{
	char *path = files_path(files, name);
	int fd;

	if (!path) {
		errno = ENOMEM;
		return -1;
	}
	fd = open(path, flags | O_CLOEXEC);
	free(path);
	return fd;
}

static int load(const struct files *files, const char *name, struct text *out, struct error *e)
{
	int fd = open_below(files, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int error;

	if (fd < 0)
		return error_set(e, -errno, "%s: %s", name, strerror(errno));
	if (fstat(fd, &st) < 0)
		error = error_set(e, -errno, "%s: %s", name, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		error = error_set(e, -EINVAL, "%s: want a regular file", name);
	else
		error = read_all(fd, (size_t)st.st_size, FILES_MAX - files->bytes, out);
	if (error == -EFBIG)
		error_set(e, error, "%s: want at most %zu MiB in all files together", name,
			FILES_MAX >> 20);
	else if (error && error != -EINVAL)
		error_set(e, error, "%s: %s", name, strerror(-error));
	close(fd);
	return error;
}

int files_get(struct files *files, const char *name, struct text *out, struct error *e)
{
	bool found;
	size_t at = find(files, name, &found);
	struct text text;
	int error;

	if (found) {
		*out = files->at[at].text;
		return 0;
	}
	if (files->map)
		return error_set(e, -ENOENT, "%s: not among the files of this generation", name);
	error = load(files, name, &text, e);
	if (error)
		return error;
	error = insert(files, at, name, text);
	if (error) {
		free((char *)text.at);
		return error_set(e, error, "%s: %s", name, strerror(-error));
	}
	*out = text;
	return 0;
}

int files_put(struct files *files, const char *name, struct text text)
{
	bool found;
	size_t at = find(files, name, &found);
	char *copy;
	int error;

	if (found || files->map)
		return -EEXIST;
	if (text.length > FILES_MAX - files->bytes)
		return -EFBIG;
	copy = malloc(text.length + 1);
	if (!copy)
		return -ENOMEM;
	if (text.length)
		memcpy(copy, text.at, text.length);
	error = insert(files, at, name, (struct text){copy, text.length});
	if (error)
		free(copy);
	return error;
}

/* "x.ini", and not hidden: ConfigMaps and editors keep their own things in hidden names. */
static bool is_ini_name(const char *name)
{
	size_t length = strlen(name);

	return length > 4 && name[0] != '.' && strcmp(name + length - 4, ".ini") == 0;
}

static int load_listed(struct files *files, const char *dir, DIR *stream, struct error *e)
{
	struct dirent *entry;
	struct text text;
	int error = 0;

	while (!error && (errno = 0, entry = readdir(stream))) {
		char *name = NULL;

		if (!is_ini_name(entry->d_name))
			continue;
		if (asprintf(&name, "%s/%s", dir, entry->d_name) < 0)
			return error_set(e, -ENOMEM, "%s: %s", dir, strerror(ENOMEM));
		error = files_get(files, name, &text, e);
		free(name);
	}
	if (!error && errno)
		error = error_set(e, -errno, "%s: %s", dir, strerror(errno));
	return error;
}

static int remember_listed(struct files *files, const char *dir)
{
	char **grown = reallocarray(files->listed, files->n_listed + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	files->listed = grown;
	grown[files->n_listed] = strdup(dir);
	if (!grown[files->n_listed])
		return -ENOMEM;
	files->n_listed++;
	return 0;
}

/* Loads every *.ini of `dir`, at the first call. */
static int list(struct files *files, const char *dir, struct error *e)
{
	DIR *stream;
	int fd, error;

	for (size_t i = 0; i < files->n_listed; i++)
		if (strcmp(files->listed[i], dir) == 0)
			return 0;
	fd = open_below(files, dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0 && errno != ENOENT)
		return error_set(e, -errno, "%s: %s", dir, strerror(errno));
	if (fd >= 0) {
		stream = fdopendir(fd);
		if (!stream) {
			error = error_set(e, -errno, "%s: %s", dir, strerror(errno));
			close(fd);
			return error;
		}
		error = load_listed(files, dir, stream, e);
		closedir(stream);
		if (error)
			return error;
	}
	error = remember_listed(files, dir);
	return error ? error_set(e, error, "%s: %s", dir, strerror(-error)) : 0;
}

/* The name of the first "dir/x.ini" behind `last` (NULL: of all). */
static const char *next_ini(const struct files *files, const char *dir, const char *last)
{
	size_t length = strlen(dir);
	bool found;
	size_t at = find(files, last ? last : dir, &found);

	for (at += found; at < files->n; at++) {
		const char *name = files->at[at].name;

		if (strncmp(name, dir, length) != 0)
			return NULL;
		if (name[length] == '/' && !strchr(name + length + 1, '/') &&
			is_ini_name(name + length + 1))
			return name;
	}
	return NULL;
}

int files_each_ini(struct files *files, const char *dir,
	int (*each)(void *arg, const char *name, struct error *e), void *arg, struct error *e)
{
	int error = files->map ? 0 : list(files, dir, e);
	const char *name = NULL;

	/* By name, not by index: `each` may ask for more files. */
	while (!error && (name = next_ini(files, dir, name)))
		error = each(arg, name, e);
	return error;
}

static void write_packed(const struct files *files, FILE *out)
{
	struct pack pack = {PACK_MAGIC, files->n};

	fwrite(&pack, sizeof(pack), 1, out);
	for (size_t i = 0; i < files->n; i++) {
		const struct file *file = &files->at[i];
		struct pack_entry entry = {strlen(file->name), file->text.length};

		fwrite(&entry, sizeof(entry), 1, out);
		fwrite(file->name, 1, entry.name_length + 1, out);
		fwrite(file->text.at, 1, file->text.length, out);
	}
}

int files_pack(const struct files *files, struct error *e)
{
	int fd = memfd_create("egret-files", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	FILE *out = copy < 0 ? NULL : fdopen(copy, "w");
	int error = 0;

	if (!out) {
		error = -errno;
		if (copy >= 0)
			close(copy);
		goto out;
	}
	write_packed(files, out);
	if (fflush(out) != 0)
		error = -errno;
	if (fclose(out) != 0 && !error)
		error = -errno;
	if (!error && fcntl(fd, F_ADD_SEALS, PACK_SEALS) < 0)
		error = -errno;
out:
	if (!error)
		return fd;
	if (fd >= 0)
		close(fd);
	return error_set(e, error, "packing the files: %s", strerror(-error));
}

/* Reads the entry at `*at` and moves `*at` behind it. */
static bool take_entry(const char *map, size_t length, size_t *at, struct file *out)
{
	struct pack_entry entry;
	size_t left = length - *at;

	if (left < sizeof(entry))
		return false;
	memcpy(&entry, map + *at, sizeof(entry));
	left -= sizeof(entry);
	if (entry.name_length >= left || entry.text_length > left - entry.name_length - 1)
		return false;
	out->name = map + *at + sizeof(entry);
	if (memchr(out->name, '\0', entry.name_length + 1) != out->name + entry.name_length)
		return false;
	out->text = (struct text){out->name + entry.name_length + 1, entry.text_length};
	*at += sizeof(entry) + entry.name_length + 1 + entry.text_length;
	return true;
}

/* 0, -ENOMEM, or -EBADMSG for what files_pack() does not write. */
static int read_packed(struct files *files)
{
	const char *map = files->map;
	size_t at = sizeof(struct pack);
	struct pack pack;

	memcpy(&pack, map, sizeof(pack));
	if (pack.magic != PACK_MAGIC ||
		pack.n > (files->map_length - at) / (sizeof(struct pack_entry) + 1))
		return -EBADMSG;
	files->at = calloc(pack.n + 1, sizeof(*files->at));
	if (!files->at)
		return -ENOMEM;
	for (; files->n < pack.n; files->n++) {
		struct file *file = &files->at[files->n];

		if (!take_entry(map, files->map_length, &at, file) ||
			(files->n > 0 && strcmp(file[-1].name, file->name) >= 0))
			return -EBADMSG;
		files->bytes += file->text.length;
	}
	return at == files->map_length && files->bytes <= FILES_MAX ? 0 : -EBADMSG;
}

/* The size of a packed set that nobody can change any more, or -errno. */
static ssize_t sealed_size(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((seals & PACK_SEALS) != PACK_SEALS)
		return -EPERM;
	if (st.st_size < (off_t)sizeof(struct pack) || st.st_size > (off_t)PACK_MAX)
		return -EBADMSG;
	return st.st_size;
}

struct files *files_unpack(int fd, struct error *e)
{
	ssize_t size = sealed_size(fd);
	struct files *files = NULL;
	int error = size < 0 ? (int)size : 0;

	if (error)
		goto out;
	files = files_new("");
	if (!files) {
		error = -ENOMEM;
		goto out;
	}
	files->map = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (files->map == MAP_FAILED) {
		error = -errno;
		files->map = NULL;
		goto out;
	}
	files->map_length = (size_t)size;
	error = read_packed(files);
out:
	if (!error)
		return files;
	files_free(files);
	error_set(e, error, "unpacking the files: %s", strerror(-error));
	return NULL;
}

void files_digest(const struct files *files, char out[FILES_DIGEST_TEXT])
{
	SHA2_CTX context;

	SHA256Init(&context);
	for (size_t i = 0; i < files->n; i++) {
		const struct file *file = &files->at[i];
		struct pack_entry entry = {strlen(file->name), file->text.length};

		SHA256Update(&context, (const uint8_t *)&entry, sizeof(entry));
		SHA256Update(&context, (const uint8_t *)file->name, entry.name_length);
		SHA256Update(&context, (const uint8_t *)file->text.at, entry.text_length);
	}
	SHA256End(&context, out);
}
