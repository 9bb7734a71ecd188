#include "daemon/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static char *text;
static size_t length;

static void what_was_sealed_is_read(void **state)
{
	static const char *const texts[] = {"", "a", "two\nlines\n"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		int fd = sealed_new("test", text_of(texts[i]));

		assert_true(fd >= 0);
		for (int twice = 0; twice < 2; twice++) {
			assert_int_equal(sealed_read(fd, 100, &text, &length), 0);
			assert_int_equal(length, strlen(texts[i]));
			assert_string_equal(text, texts[i]);
			free(text);
		}
		close(fd);
	}
}

static void what_was_sealed_cannot_be_changed(void **state)
{
	int fd = sealed_new("test", TEXT("text"));

	(void)state;
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 2), -1);
	assert_int_equal(ftruncate(fd, 5), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	close(fd);
}

static void what_is_larger_than_expected_is_not_read(void **state)
{
	int fd = sealed_new("test", TEXT("12345"));

	(void)state;
	assert_int_equal(sealed_read(fd, 4, &text, &length), -EFBIG);
	assert_int_equal(sealed_read(fd, 5, &text, &length), 0);
	free(text);
	close(fd);
}

static void what_could_still_change_is_not_read(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(sealed_read(fd, 100, &text, &length), -EPERM);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
	assert_int_equal(sealed_read(fd, 100, &text, &length), -EPERM);
	assert_int_equal(sealed_read(null, 100, &text, &length), -EINVAL);
	close(null);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_sealed_is_read),
		cmocka_unit_test(what_was_sealed_cannot_be_changed),
		cmocka_unit_test(what_is_larger_than_expected_is_not_read),
		cmocka_unit_test(what_could_still_change_is_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
