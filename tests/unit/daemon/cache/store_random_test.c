/* Long random sequences against a model, and several threads at once. */
#include "tests/unit/daemon/cache/store_world.h"

#define KEYS 120
#define VARIANTS 3

/* What may be found under a key and variant: the newest that was finished, if anything. */
struct model {
	uint64_t seed[KEYS][VARIANTS];
	uint64_t response_time[KEYS][VARIANTS];
	uint64_t next_seed;
	struct random random;
	size_t found;
};

static const char *vary_of(uint64_t variant)
{
	static const char *const varies[VARIANTS] = {"", "a=1\n", "a=2\n"};

	return varies[variant];
}

static const char *key_of(uint64_t number)
{
	static __thread char key[32];

	snprintf(key, sizeof(key), "http://a/%d", (int)number);
	return key;
}

static bool has_vary(void *arg, const struct stored *stored)
{
	return text_equal(stored->vary, text_of(arg));
}

static uint64_t some_length(struct random *random)
{
	uint64_t kind = random_below(random, 10);

	return kind == 0  ? 0
	       : kind < 6 ? random_below(random, 5000)
	       : kind < 9 ? random_below(random, 150000)
			  : random_below(random, 1500000);
}

static void put(struct store *store, struct model *model, uint64_t key, uint64_t variant)
{
	uint64_t length = some_length(&model->random), seed = ++model->next_seed;
	bool known = random_below(&model->random, 2), abort = random_below(&model->random, 10) == 0;
	struct fill *fill = world_begin(store, key_of(key), vary_of(variant), seed, length, known);
	int error;

	if (!fill)
		return;
	error = world_append(fill, seed, 0, length);
	assert_true(error == 0 || error == -ENOSPC);
	if (abort || error) {
		fill_abort(fill);
	} else {
		fill_finish(fill);
		model->seed[key][variant] = seed;
		model->response_time[key][variant] = seed;
	}
	fill_put(fill);
}

static struct stored *find(struct store *store, struct model *model, uint64_t key, uint64_t variant)
{
	struct stored *stored =
		world_find_fit(store, key_of(key), has_vary, (void *)vary_of(variant));

	if (!stored)
		return NULL;
	model->found++;
	assert_int_not_equal(model->seed[key][variant], 0);
	assert_true(text_equal(stored->key, text_of(key_of(key))));
	assert_int_equal(stored->meta.response_time, model->response_time[key][variant]);
	return stored;
}

static void read_one(struct store *store, struct model *model, uint64_t key, uint64_t variant)
{
	struct stored *stored = find(store, model, key, variant);

	if (!stored)
		return;
	assert_int_equal(world_check_body(stored, model->seed[key][variant]), STORE_READY);
	store_put(stored);
}

static void refresh(struct store *store, struct model *model, uint64_t key, uint64_t variant)
{
	struct stored *stored = find(store, model, key, variant);
	struct cache_meta meta;
	char head[128];
	int error;

	if (!stored)
		return;
	world_head(head, sizeof(head), model->seed[key][variant], stored->length);
	world_meta(&meta, ++model->next_seed);
	error = store_refresh(store, stored, text_of(head), &meta);
	if (!error)
		model->response_time[key][variant] = model->next_seed;
	else
		assert_true(error == -ENOSPC || error == -EAGAIN || error == -ENOENT);
	store_put(stored);
}

static void remove_some(struct store *store, struct model *model, uint64_t key, uint64_t variant)
{
	struct stored *stored;

	if (random_below(&model->random, 2)) {
		store_remove(store, text_of(key_of(key)));
		memset(model->seed[key], 0, sizeof(model->seed[key]));
		return;
	}
	stored = find(store, model, key, variant);
	if (!stored)
		return;
	store_remove_one(store, stored);
	model->seed[key][variant] = 0;
	store_put(stored);
}

static bool ends_in_3(void *arg, const struct stored *stored)
{
	(void)arg;
	return stored->key.at[stored->key.length - 1] == '3';
}

static void on_done(void *arg, size_t removed)
{
	(void)removed;
	sem_post(arg);
}

static void purge(struct store *store, struct model *model)
{
	sem_t done;

	sem_init(&done, 0, 0);
	assert_int_equal(store_purge(store, ends_in_3, on_done, &done), 0);
	sem_wait(&done);
	for (uint64_t key = 3; key < KEYS; key += 10)
		memset(model->seed[key], 0, sizeof(model->seed[key]));
}

static void step(struct store *store, struct model *model)
{
	uint64_t key = random_below(&model->random, KEYS);
	uint64_t variant = random_below(&model->random, VARIANTS);
	uint64_t what = random_below(&model->random, 1000);

	if (what < 400)
		put(store, model, key, variant);
	else if (what < 800)
		read_one(store, model, key / 4, variant);
	else if (what < 930)
		refresh(store, model, key, variant);
	else if (what < 995)
		remove_some(store, model, key, variant);
	else
		purge(store, model);
}

static void check_all(struct store *store, struct model *model)
{
	for (uint64_t key = 0; key < KEYS; key++)
		for (uint64_t variant = 0; variant < VARIANTS; variant++)
			read_one(store, model, key, variant);
}

/* A slow keeper refuses much, so that more steps are needed. */
#define STEPS 6000
#define MOST_STEPS 600000

static bool is_enough(struct store *store, const struct model *model)
{
	struct store_counts counts = world_counts(store);

	return model->found > 1000 && counts.evicted > 100 && counts.carried > 100;
}

static void random_steps_in_memory_agree_with_a_model(void **state)
{
	struct model *model = calloc(1, sizeof(*model));
	struct store *store = world_memory(SMALLEST);

	(void)state;
	model->random.state = 1;
	for (int i = 0; i < STEPS || (i < MOST_STEPS && !is_enough(store, model)); i++)
		step(store, model);
	check_all(store, model);
	assert_true(model->found > 1000);
	assert_true(world_counts(store).evicted > 100);
	assert_true(world_counts(store).carried > 100);
	assert_int_equal(world_counts(store).corrupt, 0);
	store_free(store);
	free(model);
}

static void random_steps_on_disk_agree_with_a_model_over_restarts(void **state)
{
	struct model *model = calloc(1, sizeof(*model));
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);
	uint64_t evicted = 0;

	(void)state;
	model->random.state = 2;
	for (int i = 0; i < STEPS || (i < MOST_STEPS && (model->found <= 1000 || evicted <= 100));
		i++) {
		step(store, model);
		if (random_below(&model->random, 300))
			continue;
		evicted += world_counts(store).evicted;
		assert_int_equal(world_counts(store).corrupt, 0);
		assert_true(world_counts(store).disk);
		store_free(store);
		store = world_disk(fd, SMALLEST);
		if (random_below(&model->random, 3) == 0)
			check_all(store, model);
	}
	check_all(store, model);
	assert_true(model->found > 1000);
	assert_true(evicted > 100);
	store_free(store);
	close(fd);
	free(model);
}

/* ---- threads ---- */

#define ENOUGH 300 /* objects found */

struct crowd {
	struct store *store;
	atomic_uint_fast64_t seeds, found;
};

struct member {
	struct crowd *crowd;
	struct random random;
	pthread_t thread;
};

static void crowd_step(struct member *member)
{
	struct store *store = member->crowd->store;
	uint64_t key = random_below(&member->random, 40), what = random_below(&member->random, 100);

	if (what < 40) {
		world_try_put(store, key_of(key), vary_of(what % VARIANTS),
			1 + atomic_fetch_add(&member->crowd->seeds, 1),
			random_below(&member->random, what ? 30000 : 1000000), what % 2);
	} else if (what < 80) {
		if (world_check(store, key_of(key)))
			atomic_fetch_add(&member->crowd->found, 1);
	} else if (what < 90) {
		struct stored *stored = world_find(store, key_of(key));
		char head[200];

		if (stored) {
			memcpy(head, stored->head.at, stored->head.length);
			if (store_refresh(store, stored, (struct text){head, stored->head.length},
				    &stored->meta))
				store_remove_one(store, stored);
			store_put(stored);
		}
	} else if (what < 98) {
		store_remove(store, text_of(key_of(key)));
	} else {
		world_counts(store);
	}
}

static void *crowd_run(void *arg)
{
	struct member *member = arg;

	/* Where the disk is slow there is often no room, and less is found. */
	for (int i = 0; i < 1500 || (i < 100000 && atomic_load(&member->crowd->found) <= ENOUGH);
		i++)
		crowd_step(member);
	return NULL;
}

static void run_crowd(struct store *store)
{
	struct crowd crowd = {.store = store};
	struct member members[3];

	for (uint64_t i = 0; i < 3; i++) {
		members[i] = (struct member){.crowd = &crowd, .random = {i * 77}};
		assert_int_equal(
			pthread_create(&members[i].thread, NULL, crowd_run, &members[i]), 0);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(members[i].thread, NULL);
	assert_true(crowd.found > ENOUGH);
	assert_int_equal(world_counts(store).corrupt, 0);
}

static void threads_in_memory_never_see_a_wrong_byte(void **state)
{
	struct store *store = world_memory(SMALLEST);

	(void)state;
	run_crowd(store);
	store_free(store);
}

static void threads_on_disk_never_see_a_wrong_byte(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *store = world_disk(fd, SMALLEST);

	(void)state;
	run_crowd(store);
	store_free(store);
	store = world_disk(fd, SMALLEST);
	run_crowd(store);
	store_free(store);
	close(fd);
}

/* ---- followers ---- */

struct follower {
	struct fill *fill;
	uint64_t seed, from, got;
	enum store_result end;
	pthread_t thread;
};

static void *follow(void *arg)
{
	struct follower *follower = arg;
	uint64_t offset = follower->from;
	struct piece piece;

	for (;;) {
		follower->end = world_read_fill(follower->fill, offset, &piece);
		if (follower->end == STORE_FAILED || piece.length == 0)
			break;
		if (!body_is(piece.at, follower->seed, offset, piece.length))
			abort();
		offset += piece.length;
		follower->got += piece.length;
	}
	fill_put(follower->fill);
	return NULL;
}

static void lead(struct store *store, uint64_t length, bool known, bool abort)
{
	struct fill *fill = world_begin(store, "led", "", 9, length, known);
	struct follower followers[4];

	assert_non_null(fill);
	for (uint64_t i = 0; i < 4; i++) {
		followers[i] = (struct follower){.fill = fill_get(fill),
			.seed = 9,
			.from = i * 1000 < length ? i * 1000 : length};
		pthread_create(&followers[i].thread, NULL, follow, &followers[i]);
	}
	for (uint64_t at = 0, n; at < length; at += n) {
		n = length - at < 7777 ? length - at : 7777;
		assert_int_equal(world_append(fill, 9, at, at + n), 0);
	}
	if (abort)
		fill_abort(fill);
	else
		fill_finish(fill);
	fill_put(fill);
	for (int i = 0; i < 4; i++) {
		pthread_join(followers[i].thread, NULL);
		assert_int_equal(followers[i].end, abort ? STORE_FAILED : STORE_READY);
		assert_int_equal(followers[i].got, length - followers[i].from);
	}
	assert_int_equal(world_check(store, "led"), abort ? 0 : 9);
	store_remove(store, TEXT("led"));
}

static void followers_see_exactly_what_is_written_and_how_it_ends(void **state)
{
	int fd = world_file(SMALLEST);
	struct store *stores[2] = {world_memory(SMALLEST), world_disk(fd, SMALLEST)};

	(void)state;
	for (int i = 0; i < 2; i++) {
		for (int how = 0; how < 4; how++) {
			lead(stores[i], 1000000, how & 1, how & 2);
			lead(stores[i], 5, how & 1, how & 2);
			lead(stores[i], 0, how & 1, how & 2);
		}
		store_free(stores[i]);
	}
	close(fd);
}

static void one_that_waits_for_bytes_can_give_up(void **state)
{
	struct store *store = world_memory(SMALLEST);
	struct fill *fill = world_begin(store, "k", "", 1, 100, true);
	struct waiting waiting[3];
	struct piece piece;
	int rung;

	(void)state;
	for (int i = 0; i < 3; i++) {
		waiting_init(&waiting[i]);
		assert_int_equal(fill_read(fill, 0, &piece), STORE_LATER);
		assert_true(fill_wait(fill, (uint64_t)i * 10, &waiting[i].waiter));
	}
	store_cancel(store, &waiting[1].waiter);
	assert_int_equal(world_append(fill, 1, 0, 15), 0);
	for (int i = 0; i < 3; i++) {
		sem_getvalue(&waiting[i].rung, &rung);
		assert_int_equal(rung, i == 0);
	}
	fill_put(fill);
	sem_getvalue(&waiting[1].rung, &rung);
	assert_int_equal(rung, 0);
	sem_getvalue(&waiting[2].rung, &rung);
	assert_int_equal(rung, 1);
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_steps_in_memory_agree_with_a_model),
		cmocka_unit_test(random_steps_on_disk_agree_with_a_model_over_restarts),
		cmocka_unit_test(threads_in_memory_never_see_a_wrong_byte),
		cmocka_unit_test(threads_on_disk_never_see_a_wrong_byte),
		cmocka_unit_test(followers_see_exactly_what_is_written_and_how_it_ends),
		cmocka_unit_test(one_that_waits_for_bytes_can_give_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
