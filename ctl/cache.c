/*
 * cache.c - what is stored, and how it leaves.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/print.h"

static void print_results(const json_t *results)
{
	static const char *const names[] = {
		"hit", "stale", "validated", "shared", "stored", "passed"};
	json_int_t all = 0, saved = 0;
	char text[16];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		json_int_t n = print_integer(json_object_get(results, names[i]), "requests");

		all += n;
		saved += i < 4 ? n : 0; /* those that needed no body of the origin's */
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *one = json_object_get(results, names[i]);

		printf("  %-10s %10lld requests  %8s bytes\n", names[i],
			(long long)print_integer(one, "requests"),
			print_bytes((double)print_integer(one, "bytes"), text, sizeof(text)));
	}
	if (all)
		printf("  %.1f %% of %lld came without a body from the origin of their own\n",
			100.0 * (double)saved / (double)all, (long long)all);
}

static void print_stats(const json_t *s)
{
	char bytes[16], size[16], index[16];

	printf("%lld responses, %s of %s, in %s%s; %s of memory beside\n",
		(long long)print_integer(s, "objects"),
		print_bytes((double)print_integer(s, "bytes"), bytes, sizeof(bytes)),
		print_bytes((double)print_integer(s, "size"), size, sizeof(size)),
		print_true(s, "disk") ? "a file" : "memory",
		print_true(s, "loading") ? ", still being found again" : "",
		print_bytes((double)print_integer(s, "index_bytes"), index, sizeof(index)));
	printf("stored %lld, left to make room %lld, removed %lld, found no room %lld\n",
		(long long)print_integer(s, "stored"), (long long)print_integer(s, "evicted"),
		(long long)print_integer(s, "removed"), (long long)print_integer(s, "refused"));
	if (print_integer(s, "corrupt") || print_integer(s, "disk_errors"))
		printf("corrupt %lld, failed reads and writes %lld\n",
			(long long)print_integer(s, "corrupt"),
			(long long)print_integer(s, "disk_errors"));
	puts("since the proxy started:");
	print_results(json_object_get(s, "results"));
}

int cache_stats_run(const struct ctl *ctl, int argc, char **argv)
{
	json_t *answer;
	int status;

	(void)argv;
	if (argc != 1)
		return CTL_USAGE;
	status = ask_get(ctl, "/cache", &answer);
	if (status)
		return status;
	if (ctl->json) {
		print_json(answer);
	} else {
		print_stats(answer);
		json_decref(answer);
	}
	return CTL_OK;
}

int cache_purge_run(const struct ctl *ctl, int argc, char **argv)
{
	char path[ASK_PATH] = "/cache/purge";

	if (argc < 2 || argc > 3)
		return CTL_USAGE;
	ask_add(path, argv[1], argc == 3 ? argv[2] : "");
	return ask_post_and_print(ctl, path);
}
