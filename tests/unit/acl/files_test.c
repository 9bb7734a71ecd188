#include "acl/files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/egret-files-XXXXXX";
static struct error error;

static void path_of(char out[300], const char *name)
{
	snprintf(out, 300, "%s/%s", dir, name);
}

static void write_file(const char *name, const char *text)
{
	char path[300];
	FILE *file;

	path_of(path, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make_directory(void **state)
{
	char path[300];

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	path_of(path, "acl.d");
	return mkdir(path, 0700);
}

static int remove_directory(void **state)
{
	char command[400];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static void expect(struct files *files, const char *name, const char *want)
{
	struct text text;

	if (files_get(files, name, &text, &error))
		fail_msg("%s", error.text);
	assert_true(text_equal(text, text_of(want)));
}

static void a_text_is_read_once_and_kept(void **state)
{
	struct files *files = files_new(dir);
	struct text first, second;
	char path[300];

	(void)state;
	write_file("a.ini", "one");
	assert_int_equal(files_get(files, "a.ini", &first, &error), 0);
	write_file("a.ini", "two");
	assert_int_equal(files_get(files, "a.ini", &second, &error), 0);
	assert_ptr_equal(first.at, second.at);
	expect(files, "a.ini", "one");
	path_of(path, "a.ini");
	expect(files, path, "two");
	write_file("empty", "");
	expect(files, "empty", "");
	expect(files, "/proc/sys/kernel/ostype", "Linux\n"); /* of no size that stat(2) knows */
	files_free(files);
}

static void what_cannot_be_read_is_named(void **state)
{
	struct files *files = files_new(dir);
	struct text text;
	char path[300];

	(void)state;
	path_of(path, "fifo");
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(files_get(files, "nowhere", &text, &error), -ENOENT);
	assert_string_equal(error.text, "nowhere: No such file or directory");
	assert_int_equal(files_get(files, "acl.d", &text, &error), -EINVAL);
	assert_int_equal(files_get(files, "fifo", &text, &error), -EINVAL);
	assert_string_equal(error.text, "fifo: want a regular file");
	assert_int_equal(files_get(files, "", &text, &error), -EINVAL);
	write_file("huge", "");
	path_of(path, "huge");
	assert_int_equal(truncate(path, ((off_t)256 << 20) + 1), 0);
	assert_int_equal(files_get(files, "huge", &text, &error), -EFBIG);
	assert_int_equal(unlink(path), 0);
	files_free(files);
}

static void a_given_text_comes_before_the_disk_and_only_once(void **state)
{
	struct files *files = files_new(dir);

	(void)state;
	write_file("b.ini", "disk");
	assert_int_equal(files_put(files, "b.ini", TEXT("given")), 0);
	assert_int_equal(files_put(files, "b.ini", TEXT("again")), -EEXIST);
	assert_int_equal(files_put(files, "none", (struct text){NULL, 0}), 0);
	expect(files, "b.ini", "given");
	expect(files, "none", "");
	files_free(files);
}

static void paths_are_below_the_directory_or_absolute(void **state)
{
	struct files *files = files_new("/etc/egret");
	char *path;

	(void)state;
	path = files_path(files, "lists/a.txt");
	assert_string_equal(path, "/etc/egret/lists/a.txt");
	free(path);
	path = files_path(files, "/a.txt");
	assert_string_equal(path, "/a.txt");
	free(path);
	files_free(files);
}

struct seen {
	struct files *files;
	char names[500];
	const char *stop;
};

static int see(void *arg, const char *name, struct error *e)
{
	struct seen *seen = arg;
	struct text text;

	(void)e;
	strcat(seen->names, name);
	strcat(seen->names, " ");
	if (files_put(seen->files, "a-file-more", TEXT("")) == -ENOMEM)
		return -ENOMEM;
	if (seen->stop && strcmp(name, seen->stop) == 0)
		return -ERANGE;
	return files_get(seen->files, name, &text, e);
}

static void directories_are_listed_in_name_order_on_disk_and_unpacked(void **state)
{
	static const char want[] = "acl.d/10.ini acl.d/9.ini acl.d/A.ini acl.d/b.ini ";
	struct files *files = files_new(dir), *copy;
	struct seen seen = {.files = files};
	int fd;

	(void)state;
	write_file("acl.d/b.ini", "b");
	write_file("acl.d/A.ini", "A");
	write_file("acl.d/9.ini", "9");
	write_file("acl.d/10.ini", "10");
	write_file("acl.d/.hidden.ini", "");
	write_file("acl.d/b.ini~", "");
	write_file("acl.d/readme", "");
	write_file("acl.d/.ini", "");
	write_file("acl.d-more.ini", "");
	expect(files, "acl.d-more.ini", "");
	expect(files, "acl.d/readme", "");
	assert_int_equal(files_put(files, "acl.d/deep/x.ini", TEXT("")), 0);
	assert_int_equal(files_each_ini(files, "acl.d", see, &seen, &error), 0);
	assert_string_equal(seen.names, want);

	write_file("acl.d/later.ini", "");
	seen = (struct seen){.files = files};
	assert_int_equal(files_each_ini(files, "acl.d", see, &seen, &error), 0);
	assert_string_equal(seen.names, want);

	fd = files_pack(files, &error);
	copy = files_unpack(fd, &error);
	assert_non_null(copy);
	close(fd);
	seen = (struct seen){.files = copy, .stop = "acl.d/9.ini"};
	assert_int_equal(files_each_ini(copy, "acl.d", see, &seen, &error), -ERANGE);
	assert_string_equal(seen.names, "acl.d/10.ini acl.d/9.ini ");
	assert_int_equal(files_each_ini(copy, "nowhere", see, &seen, &error), 0);
	files_free(copy);
	assert_int_equal(files_each_ini(files, "nowhere", see, &seen, &error), 0);
	assert_int_equal(files_each_ini(files, "acl.d/readme", see, &seen, &error), -ENOTDIR);
	files_free(files);
}

static void a_packed_set_is_the_same_set(void **state)
{
	struct files *files = files_new(dir), *copy;
	char digest[FILES_DIGEST_TEXT], other[FILES_DIGEST_TEXT];
	struct text text;
	int fd;

	(void)state;
	write_file("egret.ini", "[nat]\n");
	expect(files, "egret.ini", "[nat]\n");
	assert_int_equal(files_put(files, "zeros", TEXT("\0\0")), 0);
	assert_int_equal(files_put(files, "empty-one", TEXT("")), 0);
	fd = files_pack(files, &error);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	copy = files_unpack(fd, &error);
	assert_non_null(copy);
	close(fd);
	expect(copy, "egret.ini", "[nat]\n");
	expect(copy, "empty-one", "");
	assert_int_equal(files_get(copy, "zeros", &text, &error), 0);
	assert_true(text_equal(text, TEXT("\0\0")));
	assert_int_equal(files_get(copy, "acl.d/b.ini", &text, &error), -ENOENT);
	assert_int_equal(files_put(copy, "new", TEXT("")), -EEXIST);
	files_digest(files, digest);
	files_digest(copy, other);
	assert_string_equal(digest, other);
	files_free(copy);
	files_free(files);
}

static void the_digest_tells_names_and_texts_apart_and_not_their_order(void **state)
{
	static const struct {
		const char *name[2], *text[2];
	} rows[] = {
		{{"a", "b"}, {"x", "y"}},
		{{"b", "a"}, {"y", "x"}},
		{{"a", "b"}, {"y", "x"}},
		{{"a", "b"}, {"xy", ""}},
		{{"a", "bx"}, {"", "y"}},
	};
	char digest[COUNT_OF(rows)][FILES_DIGEST_TEXT];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct files *files = files_new("");

		for (int k = 0; k < 2; k++)
			assert_int_equal(
				files_put(files, rows[i].name[k], text_of(rows[i].text[k])), 0);
		files_digest(files, digest[i]);
		assert_int_equal(strlen(digest[i]), 64);
		files_free(files);
	}
	assert_string_equal(digest[0], digest[1]);
	for (size_t i = 2; i < COUNT_OF(rows); i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(digest[i], digest[k]);
}

static int memfd_of(const void *bytes, size_t length, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(write(fd, bytes, length), length);
	if (seals)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

#define ALL_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static void a_set_that_can_still_change_is_not_unpacked(void **state)
{
	static const int missing[] = {F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL};
	struct files *files = files_new("");
	char bytes[1000];
	ssize_t length;
	int fd;

	(void)state;
	assert_int_equal(files_put(files, "a", TEXT("x")), 0);
	fd = files_pack(files, &error);
	length = pread(fd, bytes, sizeof(bytes), 0);
	close(fd);
	files_free(files);
	fd = memfd_of(bytes, (size_t)length, ALL_SEALS);
	files = files_unpack(fd, &error);
	assert_non_null(files);
	files_free(files);
	close(fd);
	for (size_t i = 0; i < COUNT_OF(missing); i++) {
		fd = memfd_of(bytes, (size_t)length, ALL_SEALS & ~missing[i]);
		assert_null(files_unpack(fd, &error));
		close(fd);
	}
	assert_null(files_unpack(-1, &error));
	fd = open("/dev/null", O_RDONLY);
	assert_null(files_unpack(fd, &error));
	close(fd);
}

/* Cut at every length, and with every byte of it another: refused, or a set like any other. */
static void a_damaged_set_is_refused_or_harmless(void **state)
{
	struct files *files = files_new("");
	char bytes[1000], digest[FILES_DIGEST_TEXT];
	ssize_t length;
	int fd;

	(void)state;
	assert_int_equal(files_put(files, "a", TEXT("text")), 0);
	assert_int_equal(files_put(files, "bcd", TEXT("")), 0);
	fd = files_pack(files, &error);
	length = pread(fd, bytes, sizeof(bytes), 0);
	assert_in_range(length, 40, 200);
	close(fd);
	files_free(files);
	for (ssize_t n = 0; n < length; n++) {
		fd = memfd_of(bytes, (size_t)n, ALL_SEALS);
		assert_null(files_unpack(fd, &error));
		close(fd);
	}
	for (ssize_t at = 0; at < length; at++)
		for (int change = 1; change < 256; change++) {
			bytes[at] ^= (char)change;
			fd = memfd_of(bytes, (size_t)length, ALL_SEALS);
			files = files_unpack(fd, &error);
			if (files)
				files_digest(files, digest);
			files_free(files);
			close(fd);
			bytes[at] ^= (char)change;
		}
	bytes[32] = 'z'; /* the first name, behind the second now */
	fd = memfd_of(bytes, (size_t)length, ALL_SEALS);
	assert_null(files_unpack(fd, &error));
	close(fd);
	bytes[32] = 'a';
	bytes[length] = 'x';
	fd = memfd_of(bytes, (size_t)length + 1, ALL_SEALS);
	assert_null(files_unpack(fd, &error));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_is_read_once_and_kept),
		cmocka_unit_test(what_cannot_be_read_is_named),
		cmocka_unit_test(a_given_text_comes_before_the_disk_and_only_once),
		cmocka_unit_test(paths_are_below_the_directory_or_absolute),
		cmocka_unit_test(directories_are_listed_in_name_order_on_disk_and_unpacked),
		cmocka_unit_test(a_packed_set_is_the_same_set),
		cmocka_unit_test(the_digest_tells_names_and_texts_apart_and_not_their_order),
		cmocka_unit_test(a_set_that_can_still_change_is_not_unpacked),
		cmocka_unit_test(a_damaged_set_is_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
