/* Flipped bits, and disks that fail. */
#include <sys/mount.h>

#include "tests/unit/daemon/cache/store_keys.h"

static void copy_file(int to, int from, uint64_t size)
{
	char *bytes = malloc(size);

	assert_int_equal(pread(from, bytes, size, 0), size);
	assert_int_equal(pwrite(to, bytes, size, 0), size);
	free(bytes);
}

static void flip(int fd, uint64_t at, int bit)
{
	char byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= (char)(1 << bit);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

/* The n-th segment that holds something, from 1 on; 0: there are fewer. */
static uint64_t used_segment(int fd, int n)
{
	char magic[8];

	for (uint64_t at = 4096; at + SEGMENT <= SMALLEST; at += SEGMENT) {
		assert_int_equal(pread(fd, magic, 8, (off_t)at), 8);
		if (memcmp(magic, "egretCS", 8) == 0 && --n == 0)
			return at;
	}
	return 0;
}

static void flip_some(int fd, uint64_t base, uint64_t from, uint64_t below, int times)
{
	static struct random random = {11};

	for (int i = 0; i < times; i++)
		flip(fd, base + from + random_below(&random, below), (int)random_below(&random, 8));
}

/* How many of 40 objects are lost when bits are flipped at a place of all segments. */
static size_t lost_by_flips(int good, uint64_t from, uint64_t below, int times)
{
	int bad = world_file(SMALLEST);
	size_t lost = 0;

	for (int round = 0; round < 20; round++) {
		struct store *store;
		uint64_t base;

		copy_file(bad, good, SMALLEST);
		for (int n = 1; (base = used_segment(good, n)) != 0; n++)
			flip_some(bad, base, from, below, times);
		store = world_disk(bad, SMALLEST);
		lost += 40 - check_store(store);
		for (uint64_t i = 0; i < 30 && round % 4 == 3; i++)
			world_put(store, key_of(1000 + i), 1000 + i, 200000);
		check_store(store);
		store_free(store);
	}
	close(bad);
	return lost;
}

static void a_flipped_bit_anywhere_never_gives_a_wrong_byte(void **state)
{
	int good = world_file(SMALLEST), bad;
	struct store *store = world_disk(good, SMALLEST);
	size_t lost;

	(void)state;
	for (uint64_t i = 1; i <= 40; i++)
		world_put_as(store, key_of(i), "", i, length_of(i), i % 3);
	store_free(store);
	/* a segment's header; the first record; everything; directories */
	lost = lost_by_flips(good, 0, 32, 1);
	assert_int_equal(lost, 20 * 40);
	assert_true(lost_by_flips(good, 64, 400, 1) >= 20);
	lost = lost_by_flips(good, 64, SEGMENT - 64, 20);
	assert_true(lost > 100 && lost < 20 * 40);
	lost = lost_by_flips(good, SEGMENT - 72 * 4, 72 * 4, 1);
	assert_true(lost > 20 && lost < 20 * 40);
	/* the file's header */
	for (int i = 0; i < 56; i++) {
		bad = world_file(SMALLEST);
		copy_file(bad, good, SMALLEST);
		flip(bad, (uint64_t)i, i % 8);
		store = world_disk(bad, SMALLEST);
		assert_int_equal(check_store(store), 0);
		store_free(store);
		close(bad);
	}
	close(good);
}

static void damage_while_it_runs_never_gives_a_wrong_byte(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);
	struct random random = {12};

	(void)state;
	fill_store(store);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	/* Directories: what they name can no longer be told from them when they are reclaimed. */
	for (uint64_t s = 0; s < 63; s++)
		for (int i = 0; i < 20; i++)
			flip(fd, 4096 + (s + 1) * 262144 - 1 - random_below(&random, 72 * 20), 3);
	for (uint64_t i = 0; i < 600; i++) {
		world_put(store, key_of(1000 + i), 1000 + i, 60000);
		if (i % 50 == 0)
			check_store(store);
	}
	check_store(store);
	store_free(store);
	close(fd);
}

/* Where these bytes of a body are in the file. */
static uint64_t locate(int fd, uint64_t seed, uint64_t offset)
{
	char *bytes = malloc(SMALLEST), wanted[32], *at;
	uint64_t found;

	body_fill(wanted, seed, offset, sizeof(wanted));
	assert_int_equal(pread(fd, bytes, SMALLEST, 0), SMALLEST);
	at = memmem(bytes, SMALLEST, wanted, sizeof(wanted));
	assert_non_null(at);
	found = (uint64_t)(at - bytes);
	free(bytes);
	return found;
}

/* Until what was asked for has been carried away from where it was. */
static void move_on(struct store *store, const char *key)
{
	uint64_t carried = world_counts(store).carried;

	for (uint64_t i = 0; i < 900 && world_counts(store).carried < carried + 3; i++) {
		store_put(world_find(store, key));
		world_put(store, key_of(1000 + i), 1000 + i, 60000);
	}
}

static void damage_is_not_carried_along_as_if_it_were_sound(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);

	(void)state;
	world_put(store, "large", 7, 250000);
	store_free(store);
	flip(fd, locate(fd, 7, 200000), 1);
	store = world_disk(fd, SMALLEST);
	move_on(store, "large");
	assert_int_equal(world_check(store, "large"), 0);
	assert_true(world_counts(store).corrupt >= 1);
	store_free(store);
	close(fd);
}

static void a_part_whose_slot_is_damaged_takes_its_object_along(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);
	uint64_t base;

	(void)state;
	world_put(store, "large", 7, 250000);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	assert_int_equal(world_check(store, "large"), 7);
	for (int n = 1; (base = used_segment(fd, n)) != 0; n++)
		for (uint64_t slot = 1; slot < 4; slot++)
			flip(fd, base + SEGMENT - (slot + 1) * 72 + 70, 1);
	for (int i = 0; i < 4; i++)
		move_on(store, "large");
	assert_int_equal(world_check(store, "large"), 0);
	store_free(store);
	close(fd);
}

static void a_file_that_is_cut_off_ends_in_memory_only(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);

	(void)state;
	fill_store(store);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	assert_int_equal(ftruncate(fd, 4096 + 5 * 262144 + 1000), 0);
	assert_true(check_store(store) < KEYS);
	WAIT_UNTIL(!world_counts(store).disk);
	for (uint64_t i = 0; i < 200; i++) {
		world_put(store, key_of(i), i + 1, 60000);
		assert_int_equal(world_check(store, key_of(i)), i + 1);
	}
	assert_true(world_counts(store).disk_errors >= 1);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	check_store(store);
	assert_true(world_counts(store).disk);
	store_free(store);
	close(fd);
}

static void a_full_disk_ends_in_memory_only_and_what_was_removed_stays_so(void **state)
{
	char path[] = "/tmp/store_full.XXXXXX", file[64];
	struct store *store;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	if (mount("none", path, "tmpfs", 0, "size=4m")) {
		rmdir(path);
		skip();
	}
	snprintf(file, sizeof(file), "%s/cache", path);
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, SMALLEST), 0);
	store = world_disk(fd, SMALLEST);
	world_put(store, "removed", 1, 1000);
	for (uint64_t i = 0; i < 300; i++) {
		world_put(store, key_of(i), i + 1, 60000);
		assert_int_equal(world_check(store, key_of(i)), i + 1);
	}
	WAIT_UNTIL(!world_counts(store).disk);
	for (uint64_t i = 0; i < 300; i++) {
		uint64_t seed = world_check(store, key_of(i));

		assert_true(seed == 0 || seed == i + 1);
	}
	store_remove(store, TEXT("removed"));
	assert_true(world_counts(store).objects > 5);
	assert_true(world_counts(store).objects < 50);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	assert_null(world_find(store, "removed"));
	store_free(store);
	close(fd);
	assert_int_equal(umount(path), 0);
	rmdir(path);
}

static void a_file_that_may_not_be_written_ends_in_memory_only(void **state)
{
	int fd = world_file(SMALLEST), read_only;
	struct store *store = world_disk(fd, SMALLEST);
	char path[64];

	(void)state;
	fill_store(store);
	store_free(store);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	store = world_disk(read_only, SMALLEST);
	assert_false(world_counts(store).disk);
	world_put(store, "k", 5, 100000);
	assert_int_equal(world_check(store, "k"), 5);
	store_free(store);
	close(read_only);
	close(fd);
}

static void a_file_of_something_else_is_begun_anew(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store;
	char *bytes = malloc(SMALLEST);

	(void)state;
	body_fill(bytes, 1, 0, SMALLEST);
	assert_int_equal(pwrite(fd, bytes, SMALLEST, 0), SMALLEST);
	free(bytes);
	store = world_disk(fd, SMALLEST);
	assert_int_equal(world_counts(store).objects, 0);
	fill_store(store);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	assert_true(check_store(store) > 100);
	store_free(store);
	assert_int_equal(ftruncate(fd, SMALLEST * 2), 0);
	store = world_disk(fd, SMALLEST * 2);
	assert_int_equal(world_counts(store).objects, 0);
	store_free(store);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flipped_bit_anywhere_never_gives_a_wrong_byte),
		cmocka_unit_test(damage_while_it_runs_never_gives_a_wrong_byte),
		cmocka_unit_test(damage_is_not_carried_along_as_if_it_were_sound),
		cmocka_unit_test(a_part_whose_slot_is_damaged_takes_its_object_along),
		cmocka_unit_test(a_file_that_is_cut_off_ends_in_memory_only),
		cmocka_unit_test(a_full_disk_ends_in_memory_only_and_what_was_removed_stays_so),
		cmocka_unit_test(a_file_that_may_not_be_written_ends_in_memory_only),
		cmocka_unit_test(a_file_of_something_else_is_begun_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
